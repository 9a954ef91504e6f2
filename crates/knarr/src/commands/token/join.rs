//! The command line by which a machine joins with a token.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use resources::bootstrap_token::Token;

use crate::api_error::words;
use crate::joining::cluster_info::{self, ClusterInfo};

/// Where the API is, and by which CA, is what machines are told anyway.
///
/// # Errors
/// When the ConfigMap `cluster-info` cannot be read.
pub(super) async fn command(client: &Client, token: &Token) -> Result<String> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), cluster_info::NAMESPACE);
    let map = maps.get(cluster_info::NAME).await.map_err(words).context("failed to get join command")?;
    let info = ClusterInfo::read(&map).context("failed to get join command")?;
    Ok(format!(
        "knarr agent --server {} --token {token} --discovery-token-ca-cert-hash {}",
        info.server,
        info.ca_hash()?
    ))
}
