//! What `/metrics/probes` shows: probes by container and result (upstream `pkg/kubelet/prober`).

use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;

use super::DEFAULT_BUCKETS_S;
use crate::planner::ProbeKind;

/// How a probe went, in upstream's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeResult {
    Successful,
    Failed,
    Unknown,
}

impl ProbeResult {
    const ALL: [Self; 3] = [Self::Successful, Self::Failed, Self::Unknown];

    const fn label(self) -> &'static str {
        match self {
            Self::Successful => "successful",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Probe {
    container: String,
    namespace: String,
    pod: String,
    probe_type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Counted {
    container: String,
    namespace: String,
    pod: String,
    pod_uid: String,
    probe_type: &'static str,
    result: &'static str,
}

/// The families. Clones share them.
#[derive(Debug, Clone)]
pub struct Probes {
    total: Family<Counted, Counter>,
    took: Family<Probe, Histogram, fn() -> Histogram>,
}

impl Default for Probes {
    fn default() -> Self {
        Self {
            total: Family::default(),
            took: Family::new_with_constructor(|| Histogram::new(DEFAULT_BUCKETS_S)),
        }
    }
}

impl Probes {
    /// Shows the families.
    pub fn register(&self, shown: &base::Metrics) {
        shown.register(|registry| {
            registry.register(
                "prober_probe",
                "Cumulative number of a liveness, readiness or startup probe for a container by result",
                self.total.clone(),
            );
            registry.register(
                "prober_probe_duration_seconds",
                "Duration in seconds for a probe response",
                self.took.clone(),
            );
        });
    }

    /// The figures of one probe, which are shown until the returned value is dropped.
    pub fn of(&self, pod: &ObjectReference, container: &str, kind: ProbeKind) -> ProbeFigures {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        ProbeFigures {
            families: self.clone(),
            pod_uid: text(&pod.uid),
            probe: Probe {
                container: container.to_owned(),
                namespace: text(&pod.namespace),
                pod: text(&pod.name),
                probe_type: kind.title(),
            },
        }
    }
}

/// The figures of one probe of one container.
#[derive(Debug)]
pub struct ProbeFigures {
    families: Probes,
    pod_uid: String,
    probe: Probe,
}

impl ProbeFigures {
    /// A probe has been tried.
    pub fn tried(&self, result: ProbeResult, took: Duration) {
        self.families.total.get_or_create(&self.counted(result)).inc();
        self.families.took.get_or_create(&self.probe).observe(took.as_secs_f64());
    }

    fn counted(&self, result: ProbeResult) -> Counted {
        let Probe { container, namespace, pod, probe_type } = self.probe.clone();
        Counted {
            container,
            namespace,
            pod,
            pod_uid: self.pod_uid.clone(),
            probe_type,
            result: result.label(),
        }
    }
}

impl Drop for ProbeFigures {
    /// Figures of pods that are gone would be kept for ever.
    fn drop(&mut self) {
        for result in ProbeResult::ALL {
            self.families.total.remove(&self.counted(result));
        }
        self.families.took.remove(&self.probe);
    }
}

#[cfg(test)]
mod tests {
    use base::metrics::{Format, strict};

    use super::*;

    #[test]
    fn probes_are_counted_until_they_end() {
        let (shown, probes) = (base::Metrics::default(), Probes::default());
        probes.register(&shown);
        let pod = ObjectReference {
            name: Some("p".into()),
            namespace: Some("n".into()),
            uid: Some("u".into()),
            ..ObjectReference::default()
        };
        let figures = probes.of(&pod, "c", ProbeKind::Readiness);
        figures.tried(ProbeResult::Successful, Duration::from_millis(7));
        figures.tried(ProbeResult::Failed, Duration::from_millis(7));
        figures.tried(ProbeResult::Failed, Duration::from_millis(7));
        let text = shown.render(Format::Prometheus).expect("text");
        strict::read(&text, Format::Prometheus).unwrap_or_else(|why| panic!("{why}\n{text}"));
        let labels = r#"container="c",namespace="n",pod="p""#;
        for line in [
            format!(
                "prober_probe_total{{{labels},pod_uid=\"u\",probe_type=\"Readiness\",result=\"failed\"}} 2"
            ),
            format!("prober_probe_duration_seconds_count{{{labels},probe_type=\"Readiness\"}} 3"),
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} is not in\n{text}");
        }
        drop(figures);
        let text = shown.render(Format::Prometheus).expect("text");
        assert!(!text.contains("Readiness"), "{text}");
    }
}
