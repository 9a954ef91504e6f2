//! [`Metrics`]: what the proxy counts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use base::metrics::Escaped;
use http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

/// The classes of statuses, from 1xx on.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// A Service's namespace and name.
type Name = (String, String);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    namespace: Escaped,
    service: Escaped,
    code: &'static str,
}

/// The figures. Clones share them; those that are registered nowhere count all the same.
#[derive(Clone)]
pub struct Metrics {
    answered: Family<Answered, Counter>,
    /// Who holds the counters of a Service.
    held: Arc<Mutex<HashMap<Name, Weak<Answers>>>>,
    durations: Histogram,
    pub(crate) connections: Gauge,
    pub(crate) refused: Counter,
    pub(crate) retries: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            answered: Family::default(),
            held: Arc::default(),
            durations: Histogram::new(exponential_buckets(0.001, 4.0, 9)),
            connections: Gauge::default(),
            refused: Counter::default(),
            retries: Counter::default(),
        }
    }
}

impl Metrics {
    /// Figures that are shown with the process's.
    pub fn registered(process: &base::Metrics) -> Self {
        let metrics = Self::default();
        process.register(|registry| {
            registry.register(
                "knarr_ingress_requests",
                "Requests answered, by the Service they were for (empty where there was none) and class of status",
                metrics.answered.clone(),
            );
            registry.register(
                "knarr_ingress_response_head_seconds",
                "Time from the head of a request to the head of its response",
                metrics.durations.clone(),
            );
            registry.register(
                "knarr_ingress_connections",
                "Connections of clients",
                metrics.connections.clone(),
            );
            registry.register(
                "knarr_ingress_refused_connections",
                "Connections of clients that were closed because there were too many",
                metrics.refused.clone(),
            );
            registry.register(
                "knarr_ingress_retries",
                "Requests that were given to another endpoint or another connection",
                metrics.retries.clone(),
            );
        });
        metrics
    }

    /// The counters of one Service, which are shown for as long as somebody holds them.
    pub(crate) fn of_service(&self, namespace: &str, service: &str) -> Arc<Answers> {
        let name = (namespace.to_owned(), service.to_owned());
        let mut held = lock(&self.held);
        if let Some(answers) = held.get(&name).and_then(Weak::upgrade) {
            return answers;
        }
        let counters = CLASSES.map(|code| self.answered.get_or_create(&answered(&name, code)).clone());
        let metrics = self.clone();
        let answers = Arc::new(Answers { name: name.clone(), counters, metrics });
        held.insert(name, Arc::downgrade(&answers));
        answers
    }

    pub(crate) fn took(&self, time: Duration) {
        self.durations.observe(time.as_secs_f64());
    }
}

/// The counters of one Service, by class of status.
pub(crate) struct Answers {
    name: Name,
    counters: [Counter; 5],
    metrics: Metrics,
}

impl Answers {
    pub fn count(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        if let Some(counter) = self.counters.get(class) {
            counter.inc();
        }
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        let mut held = lock(&self.metrics.held);
        // Somebody may have asked for the same Service meanwhile.
        if held.get(&self.name).is_some_and(|held| held.strong_count() == 0) {
            held.remove(&self.name);
            for code in CLASSES {
                self.metrics.answered.remove(&answered(&self.name, code));
            }
        }
    }
}

fn answered((namespace, service): &Name, code: &'static str) -> Answered {
    Answered { namespace: Escaped(namespace.clone()), service: Escaped(service.clone()), code }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use base::metrics::Format;

    use super::*;

    #[test]
    fn a_service_is_shown_for_as_long_as_it_has_a_pool() {
        let process = base::Metrics::default();
        let metrics = Metrics::registered(&process);
        let shown = || process.render(Format::Prometheus).expect("text");
        let line = "knarr_ingress_requests_total{namespace=\"ns\",service=\"web\",code=\"2xx\"} 3";
        let (one, two) = (metrics.of_service("ns", "web"), metrics.of_service("ns", "web"));
        one.count(StatusCode::OK);
        two.count(StatusCode::NO_CONTENT);
        drop(one);
        metrics.of_service("ns", "web").count(StatusCode::OK);
        assert!(shown().contains(line), "{}", shown());
        drop(two);
        assert!(!shown().contains("\"web\""), "{}", shown());
    }
}
