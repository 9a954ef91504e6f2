//! What is counted of registrations that are not served, under upstream's names.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Named {
    name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Unserved {
    name: String,
    reason: &'static str,
}

/// The families. Clones share them.
#[derive(Clone, Default)]
pub struct Metrics {
    unavailable: Family<Named, Gauge>,
    /// Only a gauge can be called as upstream's counter beside the other one.
    failures: Family<Unserved, Gauge>,
    /// The reason of each that is not served, by name: a change counts once.
    reasons: Arc<Mutex<BTreeMap<String, &'static str>>>,
}

impl Metrics {
    /// Figures that are shown with the process's.
    pub fn registered(process: &base::Metrics) -> Self {
        let metrics = Self::default();
        let all = metrics.clone();
        process.register(|registry| {
            registry.register(
                "aggregator_unavailable_apiservice",
                "Gauge of APIServices which are marked as unavailable broken down by APIService name",
                all.unavailable,
            );
            registry.register(
                "aggregator_unavailable_apiservice_total",
                "Counter of APIServices which are marked as unavailable broken down by APIService name and reason",
                all.failures,
            );
        });
        metrics
    }

    /// A registration is served, or why not.
    pub(super) fn saw(&self, name: &str, reason: Option<&'static str>) {
        let mut reasons = self.reasons.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match reason {
            Some(reason) => reasons.insert(name.to_owned(), reason),
            None => reasons.remove(name),
        };
        let named = Named { name: name.to_owned() };
        self.unavailable.get_or_create(&named).set(i64::from(reason.is_some()));
        if let Some(reason) = reason.filter(|reason| before != Some(reason)) {
            self.failures.get_or_create(&Unserved { name: named.name, reason }).inc();
        }
    }

    /// A registration is gone.
    pub(super) fn forget(&self, name: &str) {
        self.reasons.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        self.unavailable.remove(&Named { name: name.to_owned() });
    }
}
