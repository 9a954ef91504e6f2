//! What the volumes of claims hold (upstream `pkg/kubelet/metrics/collectors/volume_stats.go`), as it is known when the
//! metrics are read.

use std::sync::{Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::seams::{ClaimFigures, VolumeFigures};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Claim {
    namespace: String,
    persistentvolumeclaim: String,
}

type Figure = fn(&VolumeFigures) -> Option<u64>;

/// Names, texts and what they show. The full stop after each text is added where it is shown.
const FAMILIES: [(&str, &str, Figure); 6] = [
    ("kubelet_volume_stats_capacity_bytes", "Capacity in bytes of the volume", |f| f.capacity_bytes),
    ("kubelet_volume_stats_available_bytes", "Number of available bytes in the volume", |f| {
        f.available_bytes
    }),
    ("kubelet_volume_stats_used_bytes", "Number of used bytes in the volume", |f| f.used_bytes),
    ("kubelet_volume_stats_inodes", "Maximum number of inodes in the volume", |f| f.inodes),
    ("kubelet_volume_stats_inodes_free", "Number of free inodes in the volume", |f| f.inodes_free),
    ("kubelet_volume_stats_inodes_used", "Number of used inodes in the volume", |f| f.inodes_used),
];

/// The families; one reader at a time fills them.
pub struct Volumes {
    families: Mutex<Vec<Family<Claim, Gauge>>>,
}

impl Volumes {
    /// Families that are shown with the node's.
    pub fn registered(node: &base::Metrics) -> Self {
        let families: Vec<Family<Claim, Gauge>> = FAMILIES.iter().map(|_| Family::default()).collect();
        node.register(|registry| {
            for ((name, about, _), family) in FAMILIES.iter().zip(&families) {
                registry.register(*name, *about, family.clone());
            }
        });
        Self { families: Mutex::new(families) }
    }

    /// Has `render` show these figures. A claim that several pods use is shown once.
    pub fn shown<T>(&self, claims: &[ClaimFigures], render: impl FnOnce() -> T) -> T {
        let families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        for ((_, _, figure), family) in FAMILIES.iter().zip(families.iter()) {
            family.clear();
            for claim in claims {
                let labels =
                    Claim { namespace: claim.namespace.clone(), persistentvolumeclaim: claim.claim.clone() };
                if let Some(amount) = figure(&claim.figures) {
                    family.get_or_create(&labels).set(i64::try_from(amount).unwrap_or(i64::MAX));
                }
            }
        }
        render()
    }
}

#[cfg(test)]
mod tests {
    use base::metrics::{Format, strict};

    use super::*;

    #[test]
    fn claims_are_shown_as_they_are_now() {
        let node = base::Metrics::default();
        let volumes = Volumes::registered(&node);
        let claim = |pod: &str, name: &str| ClaimFigures {
            pod_uid: pod.into(),
            volume: "v".into(),
            namespace: "n".into(),
            claim: name.into(),
            figures: VolumeFigures { capacity_bytes: Some(10), inodes: Some(3), ..VolumeFigures::default() },
        };
        let render = || node.render(Format::Prometheus).expect("text");
        let text = volumes.shown(&[claim("a", "c"), claim("b", "c"), claim("b", "d")], render);
        strict::read(&text, Format::Prometheus).unwrap_or_else(|why| panic!("{why}\n{text}"));
        let line = "kubelet_volume_stats_capacity_bytes{namespace=\"n\",persistentvolumeclaim=\"c\"} 10";
        assert_eq!(text.lines().filter(|shown| *shown == line).count(), 1, "{text}");
        assert!(text.contains("kubelet_volume_stats_inodes{") && !text.contains("used_bytes{"), "{text}");
        let text = volumes.shown(&[claim("b", "d")], render);
        assert!(!text.contains("\"c\"") && text.contains("\"d\""), "{text}");
    }
}
