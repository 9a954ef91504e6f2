//! `knarr token`: the tokens by which machines join the cluster. Flags, output and messages are those of
//! `kubeadm token`.
//!
//! `created` makes Secrets of tokens, `listed` shows them, `join` writes the command line that joins.

mod created;
mod join;
mod listed;

use std::time::Duration;

use anyhow::{Context, Result, bail};
use base::{Clock, SystemClock};
use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{DeleteParams, ListParams, PostParams, WatchEvent, WatchParams};
use kube::{Api, Client};
use resources::bootstrap_token::{self, ID_PATTERN, NAMESPACE, PATTERN, SECRET_TYPE};

use super::say;
use crate::admin;
use crate::api_error::words;
use crate::arguments::{NewToken, Token};
use crate::joining::cluster_info;
use crate::layout::Layout;
use crate::which::layout_of;

/// How long `create` waits until machines can join with the token.
const SIGNING_PATIENCE: Duration = Duration::from_secs(10);

/// Runs one of the token commands.
///
/// # Errors
/// Says what is wrong with the arguments, or what the API refused.
pub async fn run(command: &Token) -> Result<()> {
    match command {
        Token::Create(new) => create(new).await,
        Token::List(which) => list(&layout_of(which)?).await,
        Token::Delete { which, tokens } => delete(&layout_of(which)?, tokens).await,
        Token::Generate => say(&format!("{}\n", bootstrap_token::Token::generate())),
    }
}

/// The administrator's client.
fn client(layout: &Layout) -> Result<Client> {
    Ok(client::https(&admin::of(layout)?)?)
}

fn secrets(client: &Client) -> Api<Secret> {
    Api::namespaced(client.clone(), NAMESPACE)
}

async fn create(new: &NewToken) -> Result<()> {
    let layout = layout_of(&new.which)?;
    let client = client(&layout)?;
    let (token, secret) = created::secret(new, SystemClock.now())?;
    if let Err(error) = secrets(&client).create(&PostParams::default(), &secret).await {
        if client::is_already_exists(&error) {
            bail!("a token with id {:?} already exists", token.id);
        }
        return Err(words(error)).context("failed to create the bootstrap token");
    }
    if new.usages.iter().any(|usage| usage == "signing") {
        signed(&client, &token.id).await?;
    }
    match new.print_join_command {
        true => say(&format!("{}\n", join::command(&client, &token).await?)),
        false => say(&format!("{token}\n")),
    }
}

/// Waits until what machines are told of the cluster is signed with the token.
async fn signed(client: &Client, id: &str) -> Result<()> {
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
    match tokio::time::timeout(SIGNING_PATIENCE, appears).await {
        Ok(done) => done.context("waiting until machines can join with the token"),
        Err(_) => bail!(
            "the token exists, but the ConfigMap {}/{} is not signed with it: no machine can join with it yet",
            cluster_info::NAMESPACE,
            cluster_info::NAME
        ),
    }
}

async fn list(layout: &Layout) -> Result<()> {
    let parameters = ListParams::default().fields(&format!("type={SECRET_TYPE}"));
    let found = secrets(&client(layout)?).list(&parameters).await;
    let found = found.map_err(words).context("failed to list bootstrap tokens")?;
    let (shown, complaints) = listed::table(&found.items, SystemClock.now())?;
    for complaint in complaints {
        eprintln!("{complaint}");
    }
    say(&shown)
}

async fn delete(layout: &Layout, tokens: &[String]) -> Result<()> {
    let api = secrets(&client(layout)?);
    for text in tokens {
        let id = match bootstrap_token::Token::parse(text) {
            Some(token) => token.id,
            None if bootstrap_token::is_id(text) => text.clone(),
            None => bail!("given token {text:?} didn't match pattern {ID_PATTERN:?} or {PATTERN:?}"),
        };
        api.delete(&bootstrap_token::secret_name(&id), &DeleteParams::default())
            .await
            .map_err(words)
            .with_context(|| format!("failed to delete bootstrap token {id:?}"))?;
        say(&format!("bootstrap token {id:?} deleted\n"))?;
    }
    Ok(())
}
