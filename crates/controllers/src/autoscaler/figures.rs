//! What pods use, as `metrics.k8s.io` says it, and why it does not.

use std::collections::BTreeMap;

use api::selector::LabelSelector;
use jiff::{SignedDuration, Timestamp};
use kube::Client;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::replicas::{Use, milli};

#[derive(Debug, Deserialize)]
struct List {
    #[serde(default)]
    items: Vec<Figures>,
}

/// A `PodMetrics`, of which a few fields are read.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Figures {
    metadata: Name,
    timestamp: Timestamp,
    window: String,
    #[serde(default)]
    containers: Vec<OfContainer>,
}

#[derive(Debug, Clone, Deserialize)]
struct Name {
    name: String,
    #[serde(default)]
    namespace: String,
}

#[derive(Debug, Clone, Deserialize)]
struct OfContainer {
    name: String,
    #[serde(default)]
    usage: BTreeMap<String, String>,
}

/// Asks for the figures of the pods that a selector picks.
pub(super) async fn ask(
    client: &Client,
    namespace: &str,
    selector: &LabelSelector,
) -> Result<Vec<Figures>, String> {
    let selector = selector.to_string();
    let encoded = utf8_percent_encode(&selector, NON_ALPHANUMERIC);
    let path = format!("/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods?labelSelector={encoded}");
    let request = http::Request::get(path).body(Vec::new()).map_err(|error| error.to_string())?;
    let listed: Result<List, kube::Error> = client.request(request).await;
    let unread =
        |error| format!("unable to fetch metrics from resource metrics API: {}", client::message(&error));
    let items = listed.map_err(unread)?.items;
    if items.is_empty() {
        return Err("no metrics returned from resource metrics API".into());
    }
    Ok(items)
}

/// What each pod, or one container of each, uses of a resource.
///
/// # Errors
/// When a pod has no such container.
pub(super) fn of_resource(
    all: &[Figures],
    resource: &str,
    container: Option<&str>,
) -> Result<BTreeMap<String, Use>, String> {
    let mut used = BTreeMap::new();
    for pod in all {
        let of = |container: &OfContainer| container.usage.get(resource).map(|quantity| milli(quantity));
        let amount = match container {
            None => pod.containers.iter().map(of).try_fold(0_i64, |sum, one| Some(sum.saturating_add(one?))),
            Some(name) => {
                let found = pod.containers.iter().find(|container| container.name == name);
                let Name { name: pod, namespace } = &pod.metadata;
                of(found.ok_or_else(|| {
                    format!("failed to get container metrics: container {name} not present in metrics for pod {namespace}/{pod}")
                })?)
            }
        };
        let Some(milli) = amount.filter(|_| !pod.containers.is_empty()) else { continue };
        let window = pod.window.parse().unwrap_or(SignedDuration::from_mins(1));
        used.insert(pod.metadata.name.clone(), Use { milli, at: pod.timestamp, window });
    }
    Ok(used)
}
