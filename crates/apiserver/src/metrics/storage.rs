//! Figures of the store, under the names upstream has for etcd (`k8s.io/apiserver/pkg/storage/etcd3/metrics`).

use std::collections::HashSet;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use resources::KindTable;

use crate::cache::{Cache, StoreCalls};

/// What upstream calls its first store.
const CLUSTER: &str = "etcd-0";

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
    objects: Family<Held, Gauge>,
    objects_by_name: Family<Named, Gauge>,
    size_bytes: Family<Place, Gauge>,
}

impl StorageMetrics {
    pub(super) fn register(registry: &mut Registry, calls: &StoreCalls) -> Self {
        calls.register(registry);
        let metrics = Self {
            objects: Family::default(),
            objects_by_name: Family::default(),
            size_bytes: Family::default(),
        };
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

    /// Looks at how much is stored: objects by kind, and the store's size where that is known.
    pub(crate) fn look(&self, table: &KindTable, cache: &Cache, size_bytes: Option<u64>) {
        let mut seen = HashSet::new();
        for row in table.rows().filter(|row| row.is_stored()) {
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
