//! Figures of priority levels and flow schemas (upstream: `k8s.io/apiserver/pkg/util/flowcontrol/metrics`).

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::demand::Need;
use super::shares::Bounds;

const DURATIONS_S: [f64; 12] = [0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0];
const LENGTHS: [f64; 8] = [0.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0];
const SEATS: [f64; 4] = [1.0, 2.0, 4.0, 10.0];

type Fraction = Gauge<f64, AtomicU64>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    flow_schema: Arc<str>,
    priority_level: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfLevel {
    priority_level: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refused {
    #[prometheus(flatten)]
    of: Of,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Waited {
    execute: &'static str,
    #[prometheus(flatten)]
    of: Of,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Executed {
    #[prometheus(flatten)]
    of: Of,
    r#type: &'static str,
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// All of them.
#[derive(Debug, Clone)]
pub(crate) struct FairnessMetrics {
    rejected: Family<Refused, Counter>,
    dispatched: Family<Of, Counter>,
    waiting: Family<Of, Gauge>,
    executing: Family<Of, Gauge>,
    seats: Family<Of, Gauge>,
    wait: Histograms<Waited>,
    execution: Histograms<Executed>,
    lengths: Histograms<Of>,
    widths: Histograms<Of>,
    /// By name, with what each says.
    levels: Vec<(&'static str, &'static str, Family<OfLevel, Fraction>)>,
    fair_fraction: Fraction,
}

impl Default for FairnessMetrics {
    fn default() -> Self {
        let durations: fn() -> Histogram = || Histogram::new(DURATIONS_S);
        let levels = [
            ("nominal_limit_seats", "Nominal number of execution seats configured for each priority level"),
            (
                "lower_limit_seats",
                "Configured lower bound on number of execution seats available to each priority level",
            ),
            (
                "upper_limit_seats",
                "Configured upper bound on number of execution seats available to each priority level",
            ),
            (
                "current_limit_seats",
                "current derived number of execution seats available to each priority level",
            ),
            ("demand_seats_high_watermark", "High watermark, over last adjustment period, of demand_seats"),
            ("demand_seats_average", "Time-weighted average, over last adjustment period, of demand_seats"),
            (
                "demand_seats_stdev",
                "Time-weighted standard deviation, over last adjustment period, of demand_seats",
            ),
            ("demand_seats_smoothed", "Smoothed seat demands"),
            ("target_seats", "Seat allocation targets"),
        ];
        Self {
            rejected: Family::default(),
            dispatched: Family::default(),
            waiting: Family::default(),
            executing: Family::default(),
            seats: Family::default(),
            wait: Family::new_with_constructor(durations),
            execution: Family::new_with_constructor(durations),
            lengths: Family::new_with_constructor(|| Histogram::new(LENGTHS)),
            widths: Family::new_with_constructor(|| Histogram::new(SEATS)),
            levels: levels.into_iter().map(|(name, help)| (name, help, Family::default())).collect(),
            fair_fraction: Fraction::default(),
        }
    }
}

impl FairnessMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("apiserver_flowcontrol");
        registry.register(
            "rejected_requests",
            "Number of requests rejected by API Priority and Fairness subsystem",
            self.rejected.clone(),
        );
        registry.register(
            "dispatched_requests",
            "Number of requests executed by API Priority and Fairness subsystem",
            self.dispatched.clone(),
        );
        registry.register(
            "current_inqueue_requests",
            "Number of requests currently pending in queues of the API Priority and Fairness subsystem",
            self.waiting.clone(),
        );
        registry.register(
            "current_executing_requests",
            "Number of requests in initial (for a WATCH) or any (for a non-WATCH) execution stage in the API Priority and Fairness subsystem",
            self.executing.clone(),
        );
        registry.register(
            "current_executing_seats",
            "Concurrency (number of seats) occupied by the currently executing (initial stage for a WATCH, any stage otherwise) requests in the API Priority and Fairness subsystem",
            self.seats.clone(),
        );
        registry.register(
            "request_wait_duration_seconds",
            "Length of time a request spent waiting in its queue",
            self.wait.clone(),
        );
        registry.register(
            "request_execution_seconds",
            "Duration of initial stage (for a WATCH) or any (for a non-WATCH) stage of request execution in the API Priority and Fairness subsystem",
            self.execution.clone(),
        );
        registry.register(
            "request_queue_length_after_enqueue",
            "Length of queue in the API Priority and Fairness subsystem, as seen by each request after it is enqueued",
            self.lengths.clone(),
        );
        registry.register(
            "work_estimated_seats",
            "Number of estimated seats (maximum of initial and final seats) associated with requests in API Priority and Fairness",
            self.widths.clone(),
        );
        for (name, help, family) in &self.levels {
            registry.register(*name, *help, family.clone());
        }
        registry.register(
            "seat_fair_frac",
            "Fair fraction of server's concurrency to allocate to each priority level that can use it",
            self.fair_fraction.clone(),
        );
    }

    /// Those of a flow schema's requests.
    pub(super) fn of(&self, flow_schema: &Arc<str>, priority_level: &Arc<str>) -> Figures {
        let of = Of { flow_schema: flow_schema.clone(), priority_level: priority_level.clone() };
        let wait = |execute| self.wait.get_or_create_owned(&Waited { execute, of: of.clone() });
        let execution = |r#type| self.execution.get_or_create_owned(&Executed { of: of.clone(), r#type });
        Figures {
            dispatched: self.dispatched.get_or_create_owned(&of),
            waiting: self.waiting.get_or_create_owned(&of),
            executing: self.executing.get_or_create_owned(&of),
            seats: self.seats.get_or_create_owned(&of),
            waited: wait("true"),
            waited_in_vain: wait("false"),
            regular: execution("regular"),
            watch: execution("watch"),
            lengths: self.lengths.get_or_create_owned(&of),
            widths: self.widths.get_or_create_owned(&of),
            rejected: self.rejected.clone(),
            of,
        }
    }

    /// What a level has now.
    pub(super) fn show(&self, level: &Arc<str>, bounds: &Bounds, need: &Need, target: f64, limit: u32) {
        let values = [
            f64::from(bounds.nominal),
            f64::from(bounds.lower),
            f64::from(bounds.upper),
            f64::from(limit),
            need.highest,
            need.average,
            need.deviation,
            need.smoothed,
            target,
        ];
        let of = OfLevel { priority_level: level.clone() };
        for ((_, _, family), value) in self.levels.iter().zip(values) {
            family.get_or_create(&of).set(value);
        }
    }

    pub(super) fn show_fraction(&self, fraction: f64) {
        self.fair_fraction.set(fraction);
    }
}

/// The figures of one flow schema's requests, at hand.
#[derive(Debug)]
pub(super) struct Figures {
    of: Of,
    rejected: Family<Refused, Counter>,
    pub dispatched: Counter,
    pub waiting: Gauge,
    pub executing: Gauge,
    pub seats: Gauge,
    waited: Histogram,
    waited_in_vain: Histogram,
    regular: Histogram,
    watch: Histogram,
    pub lengths: Histogram,
    pub widths: Histogram,
}

impl Figures {
    pub fn reject(&self, reason: &'static str) {
        self.rejected.get_or_create(&Refused { of: self.of.clone(), reason }).inc();
    }

    /// A wait that ended with the request being worked on, or not.
    pub fn waited(&self, executed: bool, time: Duration) {
        let histogram = if executed { &self.waited } else { &self.waited_in_vain };
        histogram.observe(time.as_secs_f64());
    }

    pub fn executed(&self, watch: bool, time: Duration) {
        let histogram = if watch { &self.watch } else { &self.regular };
        histogram.observe(time.as_secs_f64());
    }
}
