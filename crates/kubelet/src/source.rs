//! The source of this node's pods.

use std::sync::Arc;

use informer::{Cache, Delta, Informers, Scope};
use k8s_openapi::api::core::v1::Pod;

use crate::origin::{is_mirror, of_api};
use crate::worker::PodNews;
use crate::workers::{Workers, is_taken_on};

/// A source of pods. Mirror pods are none: nobody runs what they tell of.
pub enum PodSource {
    /// The pods the API binds to this node.
    Api(Cache<Pod>),
}

impl PodSource {
    /// Follows the pods with `spec.nodeName` equal to `node`.
    pub fn api(informers: &Informers, node: &str) -> Self {
        Self::Api(informers.cache_of(Self::scope(node)))
    }

    /// Which pods of the API are the node's.
    pub fn scope(node: &str) -> Scope {
        Scope::fields(format!("spec.nodeName={node}"))
    }

    /// The pods of this node in the API, its mirror pods included.
    pub fn pods(&self) -> &Cache<Pod> {
        let Self::Api(cache) = self;
        cache
    }

    /// Delivers every pod there is, and then every change, to the workers; returns once the first complete
    /// list was delivered.
    pub async fn connect(&self, workers: &Workers) {
        let Self::Api(cache) = self;
        cache.wait_synced().await;
        for pod in in_order_of_claim(cache) {
            workers.deliver(PodNews::Current(pod));
        }
        let workers = workers.clone();
        cache.subscribe(move |delta| {
            let Some(pod) = delta.object().typed().cloned().map(of_api) else { return };
            if is_mirror(delta.object()) {
                // Nobody asks any more for a pod that has become a mirror while it ran.
                if pod.metadata.uid.as_deref().is_some_and(|uid| workers.knows(uid)) {
                    workers.deliver(PodNews::Gone(pod));
                }
                return;
            }
            workers.deliver(match delta {
                Delta::Applied { .. } => PodNews::Current(pod),
                Delta::Deleted(_) => PodNews::Gone(pod),
            });
        });
    }
}

/// The pods there are: those the node has taken on before, then the others, the oldest first. What runs already must
/// be counted before a new pod is measured against the room that is left.
fn in_order_of_claim(cache: &Cache<Pod>) -> Vec<Arc<Pod>> {
    let present = cache.scan("the node agent starts and meets all its pods at once");
    let mut pods: Vec<_> = present
        .iter()
        .filter(|object| !is_mirror(object))
        .filter_map(|object| object.typed().cloned().map(of_api))
        .collect();
    pods.sort_by_cached_key(|pod| {
        let created = pod.metadata.creation_timestamp.as_ref().map(|t| t.0);
        (!is_taken_on(pod), created, pod.metadata.name.clone())
    });
    pods
}
