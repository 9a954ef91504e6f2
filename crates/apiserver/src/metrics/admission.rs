//! How long admission takes, under upstream's names (`k8s.io/apiserver/pkg/admission/metrics`): each plugin, and all
//! of them together. A histogram is found once and then by its place: a write asks all plugins twice.

use std::sync::OnceLock;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

const BUCKETS_S: [f64; 6] = [0.005, 0.025, 0.1, 0.5, 1.0, 2.5];
const OPERATIONS: [&str; 4] = ["CREATE", "UPDATE", "DELETE", "CONNECT"];
const STEPS: [&str; 2] = ["admit", "validate"];
const REJECTED: [&str; 2] = ["false", "true"];
const KINDS: usize = OPERATIONS.len() * STEPS.len() * REJECTED.len();

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    name: &'static str,
    operation: &'static str,
    r#type: &'static str,
    rejected: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Stepped {
    operation: &'static str,
    r#type: &'static str,
    rejected: &'static str,
}

/// Whether plugins may change the object or see the final one.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Step {
    Admit,
    Validate,
}

/// What an answer is counted under: operation (its place among upstream's four), step, and whether it is a refusal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    pub operation: usize,
    pub step: Step,
    pub rejected: bool,
}

impl Kind {
    fn place(self) -> usize {
        (self.operation * STEPS.len() + self.step as usize) * REJECTED.len() + usize::from(self.rejected)
    }

    fn labels(self) -> (&'static str, &'static str, &'static str) {
        (OPERATIONS[self.operation], STEPS[self.step as usize], REJECTED[usize::from(self.rejected)])
    }
}

type Durations<L> = Family<L, Histogram, fn() -> Histogram>;

pub(crate) struct AdmissionMetrics {
    plugins: Durations<Asked>,
    steps: Durations<Stepped>,
    /// The histograms of each plugin by its place in the list, once there was something to count.
    by_place: OnceLock<Box<[[OnceLock<Histogram>; KINDS]]>>,
    of_steps: [OnceLock<Histogram>; KINDS],
}

impl AdmissionMetrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(BUCKETS_S);
        let (plugins, steps) = (
            Durations::<Asked>::new_with_constructor(histogram),
            Durations::<Stepped>::new_with_constructor(histogram),
        );
        registry.register(
            "apiserver_admission_controller_admission_duration_seconds",
            "Admission controller latency histogram in seconds, identified by name and broken out for each operation and API resource and type (validate or admit)",
            plugins.clone(),
        );
        registry.register(
            "apiserver_admission_step_admission_duration_seconds",
            "Admission sub-step latency histogram in seconds, broken out for each operation and API resource and step type (validate or admit)",
            steps.clone(),
        );
        Self { plugins, steps, by_place: OnceLock::new(), of_steps: Default::default() }
    }

    /// Counts the answer of a plugin, which is at a place of a list of so many.
    pub(crate) fn asked(&self, (place, of): (usize, usize), name: &'static str, kind: Kind, took: Duration) {
        let all = self.by_place.get_or_init(|| (0..of).map(|_| Default::default()).collect());
        let Some(own) = all.get(place) else { return };
        let histogram = own[kind.place()].get_or_init(|| {
            let (operation, r#type, rejected) = kind.labels();
            self.plugins.get_or_create_owned(&Asked { name, operation, r#type, rejected })
        });
        histogram.observe(took.as_secs_f64());
    }

    /// Counts a step.
    pub(crate) fn stepped(&self, kind: Kind, took: Duration) {
        let histogram = self.of_steps[kind.place()].get_or_init(|| {
            let (operation, r#type, rejected) = kind.labels();
            self.steps.get_or_create_owned(&Stepped { operation, r#type, rejected })
        });
        histogram.observe(took.as_secs_f64());
    }
}
