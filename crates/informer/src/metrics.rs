//! [`Metrics`]: figures of work queues under upstream's names (`k8s.io/component-base/metrics/prometheus/workqueue`),
//! and of controllers' writes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

use crate::plan::Action;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Named {
    name: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Wrote {
    controller: &'static str,
    verb: &'static str,
    code: String,
}

type Seconds = Gauge<f64, std::sync::atomic::AtomicU64>;
type Look = Box<dyn Fn() + Send + Sync>;

fn durations() -> Histogram {
    Histogram::new(exponential_buckets(1e-6, 10.0, 10))
}

/// The families. Clones share them; one that is registered nowhere counts all the same.
#[derive(Clone)]
pub struct Metrics {
    depth: Family<Named, Gauge>,
    adds: Family<Named, Counter>,
    waited: Family<Named, Histogram, fn() -> Histogram>,
    worked: Family<Named, Histogram, fn() -> Histogram>,
    unfinished: Family<Named, Seconds>,
    longest: Family<Named, Seconds>,
    retries: Family<Named, Counter>,
    writes: Family<Wrote, Counter>,
    /// What is found out by looking, right before the figures are shown.
    looks: Arc<Mutex<Vec<Look>>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            depth: Family::default(),
            adds: Family::default(),
            waited: Family::new_with_constructor(durations),
            worked: Family::new_with_constructor(durations),
            unfinished: Family::default(),
            longest: Family::default(),
            retries: Family::default(),
            writes: Family::default(),
            looks: Arc::default(),
        }
    }
}

impl Metrics {
    /// Figures that are shown with the process's.
    pub fn registered(process: &base::Metrics) -> Self {
        let metrics = Self::default();
        process.register(|registry| {
            registry.register("workqueue_depth", "Current depth of workqueue", metrics.depth.clone());
            registry.register(
                "workqueue_adds",
                "Total number of adds handled by workqueue",
                metrics.adds.clone(),
            );
            registry.register(
                "workqueue_queue_duration_seconds",
                "How long in seconds an item stays in workqueue before being requested",
                metrics.waited.clone(),
            );
            registry.register(
                "workqueue_work_duration_seconds",
                "How long in seconds processing an item from workqueue takes",
                metrics.worked.clone(),
            );
            registry.register(
                "workqueue_unfinished_work_seconds",
                "How many seconds of work has done that is in progress and hasn't been observed by work_duration. Large values indicate stuck threads. One can deduce the number of stuck threads by observing the rate at which this increases",
                metrics.unfinished.clone(),
            );
            registry.register(
                "workqueue_longest_running_processor_seconds",
                "How many seconds has the longest running processor for workqueue been running",
                metrics.longest.clone(),
            );
            registry.register(
                "workqueue_retries",
                "Total number of retries handled by workqueue",
                metrics.retries.clone(),
            );
            registry.register(
                "knarr_controller_writes",
                "Writes of controllers' plans by verb and status code; 2xx for those that went well",
                metrics.writes.clone(),
            );
        });
        let looks = metrics.looks.clone();
        process.before_render(move || {
            for look in looks.lock().unwrap_or_else(PoisonError::into_inner).iter() {
                look();
            }
        });
        metrics
    }

    /// The figures of one queue.
    pub(crate) fn queue(&self, name: &'static str) -> QueueFigures {
        let named = Named { name };
        QueueFigures {
            depth: self.depth.get_or_create_owned(&named),
            adds: self.adds.get_or_create_owned(&named),
            waited: self.waited.get_or_create_owned(&named),
            worked: self.worked.get_or_create_owned(&named),
            retries: self.retries.get_or_create_owned(&named),
        }
    }

    /// Has `running` asked, before figures are shown, for how long each worker of the queue has been at it.
    pub(crate) fn watch_running(
        &self,
        name: &'static str,
        running: impl Fn() -> Vec<Duration> + Send + Sync + 'static,
    ) {
        let named = Named { name };
        let unfinished = self.unfinished.get_or_create_owned(&named);
        let longest = self.longest.get_or_create_owned(&named);
        let look = move || {
            let running = running();
            unfinished.set(running.iter().sum::<Duration>().as_secs_f64());
            longest.set(running.iter().max().copied().unwrap_or_default().as_secs_f64());
        };
        self.looks.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(look));
    }

    /// Counts one write of a plan; events are none.
    pub(crate) fn wrote<T>(
        &self,
        controller: &'static str,
        action: &Action,
        result: &Result<T, kube::Error>,
    ) {
        let verb = match action {
            Action::Create { .. } => "create",
            Action::Update { .. } => "update",
            Action::MergePatch { .. } | Action::StrategicPatch { .. } | Action::JsonPatch { .. } => "patch",
            Action::Delete { .. } => "delete",
            Action::DeleteCollection { .. } => "deletecollection",
            Action::Event { .. } | Action::Batch(_) | Action::Series(_) | Action::Told { .. } => return,
        };
        let code = match result {
            Ok(_) => "2xx".to_owned(),
            Err(kube::Error::Api(status)) => status.code.to_string(),
            // As upstream's clients say of a request that got no answer.
            Err(_) => "<error>".to_owned(),
        };
        self.writes.get_or_create(&Wrote { controller, verb, code }).inc();
    }
}

/// The figures of one queue.
#[derive(Debug, Clone)]
pub(crate) struct QueueFigures {
    pub depth: Gauge,
    pub adds: Counter,
    /// From being added to being worked on, in seconds.
    pub waited: Histogram,
    pub worked: Histogram,
    pub retries: Counter,
}
