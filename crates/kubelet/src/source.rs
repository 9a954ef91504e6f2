//! The source of this node's pods.

use informer::{Cache, Delta, Informers, Scope};
use k8s_openapi::api::core::v1::Pod;

use crate::worker::PodNews;
use crate::workers::Workers;

/// A source of pods.
pub enum PodSource {
    /// The pods the API binds to this node.
    Api(Cache<Pod>),
}

impl PodSource {
    /// Follows the pods with `spec.nodeName` equal to `node`.
    pub fn api(informers: &Informers, node: &str) -> Self {
        Self::Api(informers.cache_of(Scope::fields(format!("spec.nodeName={node}"))))
    }

    /// Delivers every pod there is, and then every change, to the workers; returns once the first complete
    /// list was delivered.
    pub async fn connect(&self, workers: &Workers) {
        let Self::Api(cache) = self;
        cache.wait_synced().await;
        let workers = workers.clone();
        cache.subscribe(move |delta| {
            let Some(pod) = delta.object().typed().cloned() else { return };
            workers.deliver(match delta {
                Delta::Applied { .. } => PodNews::Current(pod),
                Delta::Deleted(_) => PodNews::Gone(pod),
            });
        });
    }
}
