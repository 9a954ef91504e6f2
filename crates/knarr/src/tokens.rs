//! Bootstrap tokens, by which machines join: made and deleted through the API. `secret` is what a token is made of.

mod secret;

use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{DeleteParams, PostParams, WatchEvent, WatchParams};
use kube::{Api, Client};
use resources::bootstrap_token::{self, NAMESPACE, Token};

use crate::api_error::words;
use crate::arguments::WantedToken;
use crate::joining::cluster_info;

/// How long it may take until machines can join with a token.
const SIGNING_PATIENCE: Duration = Duration::from_secs(10);

/// The Secrets that tokens are.
pub fn secrets(client: &Client) -> Api<Secret> {
    Api::namespaced(client.clone(), NAMESPACE)
}

/// Makes a token; returns once machines can join with the token, where it is for that.
///
/// # Errors
/// Says what is wrong with what is wanted, or what the API refused.
pub async fn create(client: &Client, wanted: &WantedToken, now: Timestamp) -> Result<Token> {
    let (token, secret) = secret::secret(wanted, now)?;
    if let Err(error) = secrets(client).create(&PostParams::default(), &secret).await {
        if client::is_already_exists(&error) {
            bail!("a token with id {:?} already exists", token.id);
        }
        return Err(words(error)).context("failed to create the bootstrap token");
    }
    if wanted.usages.iter().any(|usage| usage == "signing") {
        signed(client, &token.id, wanted.ttl).await?;
    }
    Ok(token)
}

/// Deletes the token of the id.
///
/// # Errors
/// When there is none, or the API refuses.
pub async fn delete(client: &Client, id: &str) -> Result<()> {
    let deleted = secrets(client).delete(&bootstrap_token::secret_name(id), &DeleteParams::default()).await;
    deleted.map_err(words).with_context(|| format!("failed to delete bootstrap token {id:?}"))?;
    Ok(())
}

/// Waits until what machines are told of the cluster is signed with the token, at most as long as the token lives (zero
/// for ever).
async fn signed(client: &Client, id: &str, lives: Duration) -> Result<()> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), cluster_info::NAMESPACE);
    let watched = WatchParams::default().fields(&format!("metadata.name={}", cluster_info::NAME));
    let appears = async {
        let mut changes = maps.watch(&watched, "0").await.map_err(words)?.boxed();
        while let Some(change) = changes.next().await {
            match change.map_err(words)? {
                WatchEvent::Added(map) | WatchEvent::Modified(map)
                    if cluster_info::signature(&map, id).is_some() =>
                {
                    return Ok(());
                }
                WatchEvent::Error(status) => bail!("{}", status.message),
                _ => {}
            }
        }
        bail!("the API ended the watch")
    };
    let expires = !lives.is_zero() && lives < SIGNING_PATIENCE;
    match tokio::time::timeout(if expires { lives } else { SIGNING_PATIENCE }, appears).await {
        Ok(done) => done.context("waiting until machines can join with the token"),
        Err(_) if expires => bail!(
            "the token has expired before the ConfigMap {}/{} was signed with it: give it a longer --ttl",
            cluster_info::NAMESPACE,
            cluster_info::NAME
        ),
        Err(_) => bail!(
            "the token exists, but the ConfigMap {}/{} is not signed with it: no machine can join with it yet",
            cluster_info::NAMESPACE,
            cluster_info::NAME
        ),
    }
}
