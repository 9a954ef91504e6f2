//! [`StoreCalls`]: how often the store is called and how long that takes, under the names that upstream has for etcd
//! (`k8s.io/apiserver/pkg/storage/etcd3/metrics`).

use std::future::Future;

use api::GroupResource;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use store::{Revision, Store};
use tokio::time::Instant;

/// Upstream's.
const BUCKETS_S: [f64; 23] = [
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0,
    20.0, 30.0, 45.0, 60.0,
];
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    operation: &'static str,
    group: String,
    resource: String,
}

/// See the module's documentation. Clones share the counts.
#[derive(Debug, Clone)]
pub struct StoreCalls {
    durations: Family<Asked, Histogram>,
    requests: Family<Asked, Counter>,
    errors: Family<Asked, Counter>,
}

impl Default for StoreCalls {
    fn default() -> Self {
        Self {
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS_S)),
            requests: Family::default(),
            errors: Family::default(),
        }
    }
}

impl StoreCalls {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "etcd_request_duration_seconds",
            "Etcd request latency in seconds for each operation and object type",
            self.durations.clone(),
        );
        registry.register(
            "etcd_requests",
            "Etcd request counts for each operation and object type",
            self.requests.clone(),
        );
        registry.register(
            "etcd_request_errors",
            "Etcd failed request counts for each operation and object type",
            self.errors.clone(),
        );
    }

    /// The store's revision; asking for it is counted as a `get` of no resource. Of etcd the revision is learnt by a read.
    pub(crate) async fn revision(&self, store: &dyn Store) -> Result<Revision, store::Error> {
        self.timed("get", &GroupResource::new("", ""), store.revision()).await
    }

    /// Runs a call of the store about a resource, and counts it. A conflict is an answer, no error.
    pub(crate) async fn timed<T>(
        &self,
        operation: &'static str,
        GroupResource { group, resource }: &GroupResource,
        call: impl Future<Output = Result<T, store::Error>>,
    ) -> Result<T, store::Error> {
        let started = Instant::now();
        let answer = call.await;
        let asked = Asked { operation, group: group.clone(), resource: resource.clone() };
        self.durations.get_or_create(&asked).observe(started.elapsed().as_secs_f64());
        self.requests.get_or_create(&asked).inc();
        if matches!(&answer, Err(error) if !matches!(error, store::Error::Conflict { .. })) {
            self.errors.get_or_create(&asked).inc();
        }
        answer
    }
}
