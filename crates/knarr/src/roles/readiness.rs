//! Waits until nodes are Ready according to the API, no matter where the nodes run.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use base::Supervisor;
use informer::Informers;
use k8s_openapi::api::core::v1::Node;
use kube::Client;

const CONTROL_PLANE_LABEL: &str = "node-role.kubernetes.io/control-plane";

/// Waits until every node named is Ready, but not longer than `patience`; what is returned names each that
/// is not yet, and says why. The first one is labelled as the control plane's: a node may not give itself a role.
///
/// # Errors
/// When the label cannot be written.
pub async fn wait_ready(
    client: Client,
    names: &[String],
    supervisor: &Supervisor,
    patience: Duration,
) -> Result<Vec<(String, String)>> {
    let Some(first) = names.first() else { return Ok(Vec::new()) };
    let waiting = Supervisor::new(supervisor.shutdown().child());
    let nodes = Informers::new(client.clone(), waiting.clone()).cache::<Node>();
    let labels = BTreeMap::from([(CONTROL_PLANE_LABEL.to_owned(), String::new())]);
    kubelet::node::roles::set(client, first, &labels).await.context("labelling the control plane's node")?;
    let all = nodes.wait_until(|nodes| {
        names.iter().all(|name| nodes.get("", name).is_some_and(|node| takes_pods(&node)))
    });
    let late = match tokio::time::timeout(patience, all).await {
        Ok(_) => Vec::new(),
        Err(_) => {
            let why_not =
                |name: &String| Some((name.clone(), why_not(name, nodes.get("", name).as_deref())?));
            names.iter().filter_map(why_not).collect()
        }
    };
    waiting.shutdown().start();
    Ok(late)
}

/// The line for a node that takes no pods.
fn why_not(name: &str, node: Option<&Node>) -> Option<String> {
    let Some(node) = node else { return Some(format!("node {name} has not been registered")) };
    if takes_pods(node) {
        return None;
    }
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let message = conditions.filter(|c| c.type_ == "Ready").find_map(|c| c.message.clone());
    Some(format!("node {name} is not Ready: {}", message.as_deref().unwrap_or("it has not said why")))
}

/// Whether a node is Ready and the control plane has taken note: its not-ready taint is gone.
fn takes_pods(node: &Node) -> bool {
    let mut taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    is_ready(node) && !taints.any(|taint| taint.key == "node.kubernetes.io/not-ready")
}

/// Whether a node's Ready condition is true.
pub fn is_ready(node: &Node) -> bool {
    node.status
        .iter()
        .flat_map(|s| s.conditions.iter().flatten())
        .any(|c| c.type_ == "Ready" && c.status == "True")
}
