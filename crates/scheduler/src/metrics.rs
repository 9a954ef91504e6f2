//! [`Metrics`]: the scheduler's figures under upstream's names (`pkg/scheduler/metrics/metrics.go`).

use std::borrow::Cow;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Scheduled,
    Unschedulable,
    /// The decision or the binding failed.
    Error,
}

/// Where pods wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    Active,
    BackingOff,
    Unschedulable,
    Gated,
}

/// What brings a pod into a queue: upstream's labels of events (`pkg/scheduler/framework/events.go`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    PodAdd,
    PodUpdate,
    AttemptFailure,
    BackoffComplete,
    /// Nobody else waited.
    PopFromBackoff,
    Timeout,
    AssignedPodAdd,
    AssignedPodUpdate,
    AssignedPodDelete,
    NodeAdd,
    NodeDelete,
    NodeAllocatable,
    NodeLabel,
    NodeTaint,
    NamespaceUpdate,
    ClaimUpdate,
    VolumeUpdate,
    DeviceClaimUpdate,
    DevicesUpdate,
}

/// How much the scheduler holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    pub nodes: usize,
    /// Pods that are on nodes.
    pub pods: usize,
    /// How many of these pods are still being bound.
    pub assumed: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Attempts {
    result: &'static str,
    profile: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Waiting {
    queue: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Came {
    queue: &'static str,
    event: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Tried {
    attempts: Cow<'static, str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Sort {
    r#type: &'static str,
}

type Durations<L> = Family<L, Histogram, fn() -> Histogram>;

/// Pods that came into the queues. Clones share the counts.
#[derive(Debug, Clone, Default)]
pub struct Incoming(Family<Came, Counter>);

/// The families. Clones share them; those that are registered nowhere count all the same.
#[derive(Debug, Clone)]
pub struct Metrics {
    attempts: Family<Attempts, Counter>,
    attempt_took: Durations<Attempts>,
    decision_took: Histogram,
    pending: Family<Waiting, Gauge>,
    waited: Durations<Tried>,
    tries: Histogram,
    incoming: Incoming,
    cache: Family<Sort, Gauge>,
    preemptions: Counter,
    victims: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        let from_milliseconds = || Histogram::new(exponential_buckets(0.001, 2.0, 15));
        let from_hundredths = || Histogram::new(exponential_buckets(0.01, 2.0, 20));
        Self {
            attempts: Family::default(),
            attempt_took: Family::new_with_constructor(from_milliseconds),
            decision_took: from_milliseconds(),
            pending: Family::default(),
            waited: Family::new_with_constructor(from_hundredths),
            tries: Histogram::new(exponential_buckets(1.0, 2.0, 5)),
            incoming: Incoming::default(),
            cache: Family::default(),
            preemptions: Counter::default(),
            victims: Histogram::new(exponential_buckets(1.0, 2.0, 7)),
        }
    }
}

impl Metrics {
    /// Figures that are shown with the process's.
    pub fn registered(process: &base::Metrics) -> Self {
        let metrics = Self::default();
        process.register(|registry| {
            registry.register(
                "scheduler_schedule_attempts",
                "Number of attempts to schedule pods, by the result. 'unschedulable' means a pod could not be scheduled, while 'error' means an internal scheduler problem",
                metrics.attempts.clone(),
            );
            registry.register(
                "scheduler_scheduling_attempt_duration_seconds",
                "Scheduling attempt latency in seconds (scheduling algorithm + binding)",
                metrics.attempt_took.clone(),
            );
            registry.register(
                "scheduler_scheduling_algorithm_duration_seconds",
                "Scheduling algorithm latency in seconds",
                metrics.decision_took.clone(),
            );
            registry.register(
                "scheduler_pending_pods",
                "Number of pending pods, by the queue type. 'active' means number of pods in activeQ; 'backoff' means number of pods in backoffQ; 'unschedulable' means number of pods in unschedulablePods that the scheduler attempted to schedule and failed; 'gated' is the number of unschedulable pods that the scheduler never attempted to schedule because they are gated",
                metrics.pending.clone(),
            );
            registry.register(
                "scheduler_pod_scheduling_sli_duration_seconds",
                "E2e latency for a pod being scheduled, from the time the pod enters the scheduling queue and might involve multiple scheduling attempts",
                metrics.waited.clone(),
            );
            registry.register(
                "scheduler_pod_scheduling_attempts",
                "Number of attempts to successfully schedule a pod",
                metrics.tries.clone(),
            );
            registry.register(
                "scheduler_queue_incoming_pods",
                "Number of pods added to scheduling queues by event and queue type",
                metrics.incoming.0.clone(),
            );
            registry.register(
                "scheduler_cache_size",
                "Number of nodes, pods, and assumed (bound) pods in the scheduler cache",
                metrics.cache.clone(),
            );
            registry.register(
                "scheduler_preemption_attempts",
                "Total preemption attempts in the cluster till now",
                metrics.preemptions.clone(),
            );
            registry.register(
                "scheduler_preemption_victims",
                "Number of selected preemption victims",
                metrics.victims.clone(),
            );
        });
        metrics
    }

    /// The counts of pods that come into queues.
    pub fn incoming(&self) -> &Incoming {
        &self.incoming
    }

    /// An attempt ended, its binding included, after so long.
    pub fn attempted(&self, profile: &str, outcome: Outcome, took: Duration) {
        let labels = Attempts { result: outcome.label(), profile: profile.to_owned() };
        self.attempts.get_or_create(&labels).inc();
        self.attempt_took.get_or_create(&labels).observe(took.as_secs_f64());
    }

    #[cfg(test)]
    pub fn count(&self, profile: &str, outcome: Outcome) -> u64 {
        let labels = Attempts { result: outcome.label(), profile: profile.to_owned() };
        self.attempts.get_or_create(&labels).get()
    }

    /// A decision took so long.
    pub fn decided(&self, took: Duration) {
        self.decision_took.observe(took.as_secs_f64());
    }

    /// It was looked for pods to evict, and so many were found.
    pub fn preempted(&self, victims: usize) {
        self.preemptions.inc();
        if victims > 0 {
            self.victims.observe(victims as f64);
        }
    }

    /// A pod was bound at the attempt of this number, so long after it was first tried.
    pub fn placed(&self, attempts: u32, waited: Duration) {
        // Upstream's `getAttemptsLabel`.
        let label = if attempts >= 15 { Cow::from("15+") } else { Cow::from(attempts.to_string()) };
        self.waited.get_or_create(&Tried { attempts: label }).observe(waited.as_secs_f64());
        self.tries.observe(f64::from(attempts));
    }

    /// Shows how much the scheduler holds and how many pods wait in each way.
    pub fn show(&self, sizes: Sizes, waiting: impl Fn(Queue) -> usize) {
        for queue in [Queue::Active, Queue::BackingOff, Queue::Unschedulable, Queue::Gated] {
            self.pending.get_or_create(&Waiting { queue: queue.label() }).set(gauge(waiting(queue)));
        }
        let Sizes { nodes, pods, assumed } = sizes;
        for (sort, size) in [("nodes", nodes), ("pods", pods), ("assumed_pods", assumed)] {
            self.cache.get_or_create(&Sort { r#type: sort }).set(gauge(size));
        }
    }
}

fn gauge(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

impl Incoming {
    /// A pod comes into a queue.
    pub fn came(&self, queue: Queue, why: Why) {
        self.0.get_or_create(&Came { queue: queue.label(), event: why.label() }).inc();
    }

    #[cfg(test)]
    pub fn count(&self, queue: Queue, why: Why) -> u64 {
        self.0.get_or_create(&Came { queue: queue.label(), event: why.label() }).get()
    }
}

impl Outcome {
    const fn label(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Unschedulable => "unschedulable",
            Self::Error => "error",
        }
    }
}

impl Queue {
    const fn label(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::BackingOff => "backoff",
            Self::Unschedulable => "unschedulable",
            Self::Gated => "gated",
        }
    }
}

impl Why {
    const fn label(self) -> &'static str {
        match self {
            Self::PodAdd => "UnschedulablePodAdd",
            Self::PodUpdate => "UnschedulablePodUpdate",
            Self::AttemptFailure => "ScheduleAttemptFailure",
            Self::BackoffComplete => "BackoffComplete",
            Self::PopFromBackoff => "PopFromBackoffQ",
            Self::Timeout => "UnschedulableTimeout",
            Self::AssignedPodAdd => "AssignedPodAdd",
            Self::AssignedPodUpdate => "AssignedPodUpdate",
            Self::AssignedPodDelete => "AssignedPodDelete",
            Self::NodeAdd => "NodeAdd",
            Self::NodeDelete => "NodeDelete",
            Self::NodeAllocatable => "NodeUpdateNodeAllocatable",
            Self::NodeLabel => "NodeUpdateNodeLabel",
            Self::NodeTaint => "NodeUpdateNodeTaint",
            Self::NamespaceUpdate => "NamespaceUpdate",
            Self::ClaimUpdate => "PersistentVolumeClaimUpdate",
            Self::VolumeUpdate => "PersistentVolumeUpdate",
            Self::DeviceClaimUpdate => "ResourceClaimUpdate",
            Self::DevicesUpdate => "ResourceSliceUpdate",
        }
    }
}

#[cfg(test)]
mod tests {
    use base::metrics::{Format, strict};

    use super::*;

    #[test]
    fn all_are_shown_under_upstreams_names() {
        let process = base::Metrics::default();
        let metrics = Metrics::registered(&process);
        metrics.attempted("s", Outcome::Scheduled, Duration::from_millis(3));
        metrics.decided(Duration::from_millis(1));
        metrics.placed(1, Duration::from_millis(20));
        metrics.placed(15, Duration::from_secs(20));
        metrics.incoming().came(Queue::Active, Why::PodAdd);
        metrics.show(Sizes { nodes: 2, pods: 1, assumed: 0 }, |queue| usize::from(queue == Queue::Active));
        let text = process.render(Format::Prometheus).expect("text");
        let families = strict::read(&text, Format::Prometheus).unwrap_or_else(|why| panic!("{why}\n{text}"));
        for (name, kind) in [
            ("scheduler_schedule_attempts_total", "counter"),
            ("scheduler_scheduling_attempt_duration_seconds", "histogram"),
            ("scheduler_scheduling_algorithm_duration_seconds", "histogram"),
            ("scheduler_pending_pods", "gauge"),
            ("scheduler_pod_scheduling_sli_duration_seconds", "histogram"),
            ("scheduler_pod_scheduling_attempts", "histogram"),
            ("scheduler_queue_incoming_pods_total", "counter"),
            ("scheduler_cache_size", "gauge"),
        ] {
            assert_eq!(families.get(name).map(String::as_str), Some(kind), "{name}");
        }
        for line in [
            "scheduler_schedule_attempts_total{result=\"scheduled\",profile=\"s\"} 1",
            "scheduler_scheduling_attempt_duration_seconds_bucket{le=\"0.004\",result=\"scheduled\",profile=\"s\"} 1",
            "scheduler_pending_pods{queue=\"active\"} 1",
            "scheduler_pending_pods{queue=\"gated\"} 0",
            "scheduler_pod_scheduling_sli_duration_seconds_count{attempts=\"1\"} 1",
            "scheduler_pod_scheduling_sli_duration_seconds_count{attempts=\"15+\"} 1",
            "scheduler_queue_incoming_pods_total{queue=\"active\",event=\"UnschedulablePodAdd\"} 1",
            "scheduler_cache_size{type=\"nodes\"} 2",
            "scheduler_cache_size{type=\"assumed_pods\"} 0",
        ] {
            assert!(text.lines().any(|held| held == line), "{line}\n{text}");
        }
    }
}
