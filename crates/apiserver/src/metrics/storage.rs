//! Figures of the store, under the names upstream has for etcd (`k8s.io/apiserver/pkg/storage/etcd3/metrics`).

use std::collections::HashSet;
use std::future::Future;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use resources::{KindTable, Resource};
use tokio::time::Instant;

use crate::cache::Cache;

/// Upstream's.
const BUCKETS_S: [f64; 23] = [
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0,
    20.0, 30.0, 45.0, 60.0,
];
/// What upstream calls its first store.
const CLUSTER: &str = "etcd-0";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    operation: &'static str,
    group: String,
    resource: String,
}

/// Upstream's older name of a resource: `deployments.apps`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Named {
    resource: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Held {
    group: String,
    resource: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Place {
    storage_cluster_id: &'static str,
}

pub(crate) struct StorageMetrics {
    durations: Family<Asked, Histogram>,
    requests: Family<Asked, Counter>,
    errors: Family<Asked, Counter>,
    objects: Family<Held, Gauge>,
    objects_by_name: Family<Named, Gauge>,
    size_bytes: Family<Place, Gauge>,
}

impl StorageMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS_S)),
            requests: Family::default(),
            errors: Family::default(),
            objects: Family::default(),
            objects_by_name: Family::default(),
            size_bytes: Family::default(),
        };
        registry.register(
            "etcd_request_duration_seconds",
            "Etcd request latency in seconds for each operation and object type",
            metrics.durations.clone(),
        );
        registry.register(
            "etcd_requests",
            "Etcd request counts for each operation and object type",
            metrics.requests.clone(),
        );
        registry.register(
            "etcd_request_errors",
            "Etcd failed request counts for each operation and object type",
            metrics.errors.clone(),
        );
        registry.register(
            "apiserver_resource_objects",
            "Number of stored objects at the time of last check split by kind",
            metrics.objects.clone(),
        );
        registry.register(
            "apiserver_storage_objects",
            "[DEPRECATED, consider using apiserver_resource_objects instead] Number of stored objects at the time of last check split by kind",
            metrics.objects_by_name.clone(),
        );
        registry.register(
            "apiserver_storage_size_bytes",
            "Size of the storage database file physically allocated in bytes",
            metrics.size_bytes.clone(),
        );
        metrics
    }

    /// Runs a call of the store, and counts it. A conflict is an answer, no error.
    pub(crate) async fn timed<T>(
        &self,
        operation: &'static str,
        row: &Resource,
        call: impl Future<Output = Result<T, store::Error>>,
    ) -> Result<T, store::Error> {
        let started = Instant::now();
        let answer = call.await;
        let asked = Asked { operation, group: row.group.to_string(), resource: row.plural.to_string() };
        self.durations.get_or_create(&asked).observe(started.elapsed().as_secs_f64());
        self.requests.get_or_create(&asked).inc();
        if matches!(&answer, Err(error) if !matches!(error, store::Error::Conflict { .. })) {
            self.errors.get_or_create(&asked).inc();
        }
        answer
    }

    /// Looks at how much is stored: objects by kind, and the store's size where that is known.
    pub(crate) fn look(&self, table: &KindTable, cache: &Cache, size_bytes: Option<u64>) {
        let mut seen = HashSet::new();
        for row in table.rows().filter(|row| row.question.is_none()) {
            // Versions of a kind are one place.
            if !seen.insert(row.storage_prefix.clone()) {
                continue;
            }
            let Some(held) = cache.resource(&row.storage_prefix) else { continue };
            let count = i64::try_from(held.len()).unwrap_or(i64::MAX);
            let (group, resource) = (row.group.to_string(), row.plural.to_string());
            self.objects.get_or_create(&Held { group, resource }).set(count);
            self.objects_by_name
                .get_or_create(&Named { resource: row.group_resource().to_string() })
                .set(count);
        }
        if let Some(bytes) = size_bytes {
            let place = Place { storage_cluster_id: CLUSTER };
            self.size_bytes.get_or_create(&place).set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
    }
}
