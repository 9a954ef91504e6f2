//! The decision: the number of pods wanted from what they use, and what the status says of it.

use std::sync::Arc;
use std::time::Duration;

use api::quantity::Quantity;
use api::selector::LabelSelector;
use client::EventType;
use informer::{Action, Plan, Words};
use jiff::Timestamp;
use k8s_openapi::api::autoscaling::v2::{
    ContainerResourceMetricStatus, HorizontalPodAutoscaler, HorizontalPodAutoscalerCondition as Condition,
    HorizontalPodAutoscalerSpec as Spec, HorizontalPodAutoscalerStatus as Status, MetricSpec, MetricStatus,
    MetricTarget, MetricValueStatus, ResourceMetricStatus,
};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::figures::{self, Figures};
use super::others::{self, Fault, Wanted};
use super::rate::{self, Bounds, Memory};
use super::replicas::{self, Asked, Goal, Proposal, Tolerance, milli};
use super::scale::Scale;
use super::values::Values;
use crate::target::update_status;

/// How often an autoscaler is looked at; upstream's `--horizontal-pod-autoscaler-sync-period`.
const PERIOD: Duration = Duration::from_secs(15);
/// Upstream's `--horizontal-pod-autoscaler-tolerance`.
const TOLERANCE: f64 = 0.1;
const ABLE: &str = "AbleToScale";
const ACTIVE: &str = "ScalingActive";
const LIMITED: &str = "ScalingLimited";

/// An autoscaler with what it scales.
#[derive(Debug)]
pub struct Observed {
    pub(super) autoscaler: Arc<HorizontalPodAutoscaler>,
    /// What it scales, or why that cannot be read.
    pub(super) scale: Result<Scale, String>,
    pub(super) pods: Pods,
    pub(super) memory: Memory,
    /// Why the last plan was not carried out.
    pub(super) failure: Option<String>,
    /// When the round began.
    pub(super) now: Timestamp,
}

/// The pods of what is scaled.
#[derive(Debug, Default)]
pub(super) struct Pods {
    pub pods: Vec<Arc<Pod>>,
    /// The autoscalers that have them, this one among them.
    pub rivals: Vec<String>,
    /// What they use, where that was asked.
    pub figures: Option<Result<Vec<Figures>, String>>,
    /// The values of the other metrics, where those were asked for.
    pub values: Values,
}

/// The pods' selector.
///
/// # Errors
/// Why there is none.
pub(super) fn selector(scale: &Scale) -> Result<LabelSelector, String> {
    let parsed = LabelSelector::parse(scale.selector());
    parsed.map_err(|error| error.message)
}

/// Whether there is something to decide by what is measured.
pub(super) fn goes_by_metrics(spec: &Spec, scale: Option<&Scale>, rivals: &[String]) -> bool {
    let Some(scale) = scale.filter(|scale| !scale.selector().is_empty()) else { return false };
    rivals.len() <= 1 && matches!(between(spec, scale.wanted()), Between::Bounds)
}

/// Whether some of it is what the pods use.
pub(super) fn goes_by_figures(spec: &Spec) -> bool {
    spec.metrics.iter().flatten().any(is_of_resource)
}

fn is_of_resource(metric: &MetricSpec) -> bool {
    matches!(&*metric.type_, "Resource" | "ContainerResource")
}

/// Where the number of pods is before anything is measured.
enum Between {
    Disabled,
    Above,
    Below,
    Bounds,
}

fn min(spec: &Spec) -> i32 {
    spec.min_replicas.unwrap_or(1)
}

fn between(spec: &Spec, current: i32) -> Between {
    match current {
        0 if min(spec) != 0 => Between::Disabled,
        _ if current > spec.max_replicas => Between::Above,
        _ if current < min(spec) => Between::Below,
        _ => Between::Bounds,
    }
}

/// What a round has come to.
struct Decision {
    status: Status,
    events: Vec<(&'static str, String)>,
    /// The number to scale to, and why.
    rescale: Option<(i32, String)>,
    /// What the metrics ask for, before it is limited.
    wish: Option<i32>,
    reason: String,
    now: Timestamp,
}

impl Decision {
    fn set(&mut self, type_: &str, holds: bool, reason: &str, message: impl Into<String>) {
        let conditions = self.status.conditions.get_or_insert_default();
        let place = conditions.iter().position(|condition| condition.type_ == type_).unwrap_or_else(|| {
            conditions.push(Condition { type_: type_.to_owned(), ..Condition::default() });
            conditions.len() - 1
        });
        let (condition, status) = (&mut conditions[place], if holds { "True" } else { "False" });
        if condition.status != status {
            condition.last_transition_time = Some(Time(whole_seconds(self.now)));
        }
        condition.status = status.to_owned();
        condition.reason = Some(reason.to_owned());
        condition.message = Some(message.into());
    }

    fn warn(&mut self, reason: &'static str, message: impl Into<String>) {
        self.events.push((reason, message.into()));
    }
}

/// Times of the API have whole seconds.
fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

pub(super) fn plan(observed: &Observed, now: Timestamp) -> Plan {
    let decision = decide(observed, now);
    let autoscaler = &*observed.autoscaler;
    let about = || client::reference(autoscaler);
    let mut plan = Plan { again_after: Some(PERIOD), ..Plan::nothing() }.because(decision.reason);
    for (reason, message) in decision.events {
        plan.then(Action::Event { about: about(), event_type: EventType::Warning, reason, message });
    }
    if let (Some((replicas, why)), Ok(scale)) = (&decision.rescale, &observed.scale) {
        let size = format!("New size: {replicas}; reason: {why}");
        let write = Action::Update { target: scale.target.clone(), object: scale.to(*replicas) };
        plan.then(write.told(Words {
            about: about(),
            done: ("SuccessfulRescale", size.clone()),
            failed: vec![("FailedRescale", format!("{size}; error: "))],
        }));
    }
    if autoscaler.status.as_ref() != Some(&decision.status) {
        plan.then(update_status(&HorizontalPodAutoscaler {
            status: Some(decision.status),
            ..autoscaler.clone()
        }));
    }
    plan
}

/// What the next rounds must know of this one: what was wished for, by how much the number of pods changes, and when.
pub(super) fn to_remember(observed: &Observed) -> Option<(Vec<i32>, i32, Timestamp)> {
    // Decisions are pure: this is the one that the plan was made of.
    let decision = decide(observed, observed.now);
    let current = observed.scale.as_ref().ok()?.wanted();
    let first = observed.memory.wishes.is_empty().then_some(current);
    let change = decision.rescale.map_or(0, |(replicas, _)| replicas.saturating_sub(current));
    Some((first.into_iter().chain(decision.wish).collect(), change, observed.now))
}

fn decide(observed: &Observed, now: Timestamp) -> Decision {
    let autoscaler = &*observed.autoscaler;
    let mut out = Decision {
        status: autoscaler.status.clone().unwrap_or_default(),
        events: Vec::new(),
        rescale: None,
        wish: None,
        reason: String::new(),
        now,
    };
    let scale = match &observed.scale {
        Ok(scale) => scale,
        Err(why) => {
            out.warn("FailedGetScale", why);
            let message = format!("the HPA controller was unable to get the target's current scale: {why}");
            out.set(ABLE, false, "FailedGetScale", message);
            out.reason = format!("what is scaled cannot be read: {why}");
            return out;
        }
    };
    let current = scale.wanted();
    out.status.current_replicas = Some(current);
    if let Some(why) = &observed.failure {
        let message = format!("the HPA controller was unable to update the target scale: {why}");
        out.set(ABLE, false, "FailedUpdateScale", message);
        out.reason = "the last plan failed".to_owned();
        return out;
    }
    let able = "the HPA controller was able to get the target's current scale";
    out.set(ABLE, true, "SucceededGetScale", able);
    let spec = &autoscaler.spec;
    match between(spec, current) {
        Between::Disabled => {
            let message = "scaling is disabled since the replica count of the target is zero";
            out.set(ACTIVE, false, "ScalingDisabled", message);
            finish(&mut out, current, current, "", None);
        }
        Between::Above => {
            finish(
                &mut out,
                current,
                spec.max_replicas,
                "Current number of replicas above Spec.MaxReplicas",
                None,
            );
        }
        Between::Below => {
            finish(&mut out, current, min(spec), "Current number of replicas below Spec.MinReplicas", None);
        }
        Between::Bounds => measured(&mut out, observed, spec, scale),
    }
    out.reason = format!("{current} pods, {} wanted", out.status.desired_replicas);
    out
}

/// Sets what the round ends with.
fn finish(out: &mut Decision, current: i32, desired: i32, why: &str, metrics: Option<Vec<MetricStatus>>) {
    out.status.desired_replicas = desired;
    out.status.current_metrics = metrics.filter(|metrics| !metrics.is_empty());
    if desired != current {
        let message = format!("the HPA controller was able to update the target scale to {desired}");
        out.set(ABLE, true, "SucceededRescale", message);
        out.status.last_scale_time = Some(Time(whole_seconds(out.now)));
        out.rescale = Some((desired, why.to_owned()));
    }
}

/// Decides by the metrics.
fn measured(out: &mut Decision, observed: &Observed, spec: &Spec, scale: &Scale) {
    let current = scale.wanted();
    if let Err(why) = selected(out, observed, scale) {
        out.status.current_metrics = None;
        out.warn("FailedComputeMetricsReplicas", why);
        return;
    }
    let metrics = spec.metrics.as_deref().unwrap_or_default();
    let (mut wish, mut by, mut statuses) = (0, String::new(), Vec::new());
    let mut invalid: Vec<Fault> = Vec::new();
    for (place, metric) in metrics.iter().enumerate() {
        match asks(metric, place, observed, spec, scale, out.now) {
            Ok(wanted) => {
                statuses.push(wanted.status);
                if wish == 0 || wanted.replicas > wish {
                    (wish, by) = (wanted.replicas, wanted.by);
                }
            }
            Err(fault) => {
                statuses.push(MetricStatus::default());
                out.warn(fault.reason, fault.why.clone());
                invalid.push(fault);
            }
        }
    }
    let none = invalid.len() >= metrics.len();
    if let Some(first) = invalid.first() {
        let message = format!(
            "invalid metrics ({} invalid out of {}), first error is: {}",
            invalid.len(),
            metrics.len(),
            first.told
        );
        // What cannot be measured may be what needs the pods.
        if none || wish < current {
            let why = format!("the HPA was unable to compute the replica count: {}", first.why);
            out.set(ACTIVE, false, first.reason, why);
            out.status.current_metrics = Some(statuses).filter(|statuses| !statuses.is_empty());
            out.warn("FailedComputeMetricsReplicas", message);
            return;
        }
    }
    let message = format!("the HPA was able to successfully calculate a replica count from {by}");
    out.set(ACTIVE, true, "ValidMetricFound", message);
    let why =
        if wish > current { format!("{by} above target") } else { "All metrics below target".to_owned() };
    out.wish = Some(wish);
    let mut memory = observed.memory.clone();
    if memory.wishes.is_empty() {
        memory.wishes.push((out.now, current));
    }
    let bounds = Bounds { min: min(spec), max: spec.max_replicas, current };
    let limit = rate::limit(spec.behavior.as_ref(), &memory, bounds, wish, out.now);
    out.set(ABLE, true, limit.stabilized.0, limit.stabilized.1);
    let (limited, (reason, message)) = limit.limited;
    out.set(LIMITED, limited, reason, message);
    finish(out, current, limit.replicas, &why, Some(statuses));
}

/// Whether the pods can be told from others; what is to be told otherwise.
fn selected(out: &mut Decision, observed: &Observed, scale: &Scale) -> Result<(), String> {
    if scale.selector().is_empty() {
        out.warn("SelectorRequired", "selector is required");
        out.set(ACTIVE, false, "InvalidSelector", "the HPA target's scale is missing a selector");
        return Err("selector is required".into());
    }
    if let Err(error) = selector(scale) {
        let why = format!("couldn't convert selector into a corresponding internal selector object: {error}");
        out.warn("InvalidSelector", &why);
        out.set(ACTIVE, false, "InvalidSelector", &why);
        return Err(why);
    }
    if observed.pods.rivals.len() > 1 {
        let rivals = observed.pods.rivals.join(" ");
        let why =
            format!("pods by selector {} are controlled by multiple HPAs: [{rivals}]", scale.selector());
        out.warn("AmbiguousSelector", &why);
        out.set(ACTIVE, false, "AmbiguousSelector", &why);
        return Err(why);
    }
    Ok(())
}

/// What the metric in this place asks for.
fn asks(
    metric: &MetricSpec,
    place: usize,
    observed: &Observed,
    spec: &Spec,
    scale: &Scale,
    now: Timestamp,
) -> Result<Wanted, Fault> {
    let current = scale.wanted();
    let wanted = |(proposal, by): (Proposal, String)| Wanted {
        replicas: proposal.replicas,
        by,
        status: shown(metric, &proposal),
    };
    match (&*metric.type_, &metric.resource, &metric.container_resource) {
        ("Resource", Some(source), _) => {
            let asked = of_resource(observed, spec, (&source.name, None, &source.target), current, now);
            let fault = |why: String| Fault {
                reason: "FailedGetResourceMetric",
                told: format!("failed to get {} resource metric value: {why}", source.name),
                why,
            };
            asked.map(wanted).map_err(fault)
        }
        ("ContainerResource", _, Some(source)) => {
            let container = Some(&*source.container);
            let asked = of_resource(observed, spec, (&source.name, container, &source.target), current, now);
            let fault = |why: String| Fault {
                reason: "FailedGetContainerResourceMetric",
                told: format!("failed to get {} container metric value: {why}", source.name),
                why,
            };
            asked.map(wanted).map_err(fault)
        }
        _ => {
            let values = match observed.pods.values.get(place).and_then(Option::as_ref) {
                Some(Ok(values)) => Ok(values.as_slice()),
                Some(Err(why)) => Err(why.clone()),
                None => Err("it was not asked for".to_owned()),
            };
            let namespace = observed.autoscaler.metadata.namespace.as_deref().unwrap_or_default();
            let (pods, tolerance) = (observed.pods.pods.as_slice(), tolerance(spec));
            others::asks(metric, &others::Case { namespace, pods, tolerance, scale, now, values })
        }
    }
}

fn of_resource(
    observed: &Observed,
    spec: &Spec,
    (resource, container, target): (&str, Option<&str>, &MetricTarget),
    current: i32,
    now: Timestamp,
) -> Result<(Proposal, String), String> {
    let goal = match (&target.average_value, target.average_utilization) {
        (Some(average), _) => Goal::Average(milli(&average.0)),
        (None, Some(percent)) => Goal::Utilization(percent),
        (None, None) => {
            let why = "invalid resource metric source: neither an average utilization target nor an average value \
                       (usage) target was set";
            return Err(why.into());
        }
    };
    let what = if matches!(goal, Goal::Average(_)) { "usage" } else { "utilization" };
    let failed = |why: String| format!("failed to get {resource} {what}: {why}");
    let unread = |why: String| failed(format!("unable to get metrics for resource {resource}: {why}"));
    let asked = observed.pods.figures.as_ref().ok_or_else(|| unread("they were not asked for".into()))?;
    let all = asked.as_ref().map_err(|why| unread(why.clone()))?;
    let used = figures::of_resource(all, resource, container).map_err(unread)?;
    let asked = Asked { resource, container, goal, tolerance: tolerance(spec) };
    let proposal = replicas::propose(&observed.pods.pods, used, current, asked, now).map_err(failed)?;
    let of = if container.is_some() { "container resource" } else { "resource" };
    let name = match goal {
        Goal::Average(_) => format!("{resource} {of}"),
        Goal::Utilization(_) => format!("{resource} {of} utilization (percentage of request)"),
    };
    Ok((proposal, name))
}

fn tolerance(spec: &Spec) -> Tolerance {
    let behavior = spec.behavior.as_ref();
    let of = |tolerance: Option<&ApiQuantity>| {
        let given = tolerance.and_then(|quantity| quantity.0.parse::<Quantity>().ok());
        given.map_or(TOLERANCE, |quantity| quantity.approximate())
    };
    Tolerance {
        up: of(behavior.and_then(|behavior| behavior.scale_up.as_ref()?.tolerance.as_ref())),
        down: of(behavior.and_then(|behavior| behavior.scale_down.as_ref()?.tolerance.as_ref())),
    }
}

/// What a metric is now.
fn shown(metric: &MetricSpec, proposal: &Proposal) -> MetricStatus {
    let current = MetricValueStatus {
        average_utilization: proposal.utilization,
        average_value: Some(ApiQuantity(Quantity::from_millis(proposal.average_milli).to_string())),
        value: None,
    };
    let mut status = MetricStatus { type_: metric.type_.clone(), ..MetricStatus::default() };
    match (&metric.resource, &metric.container_resource) {
        (Some(source), _) => {
            status.resource = Some(ResourceMetricStatus { current, name: source.name.clone() });
        }
        (None, Some(source)) => {
            status.container_resource = Some(ContainerResourceMetricStatus {
                container: source.container.clone(),
                current,
                name: source.name.clone(),
            });
        }
        (None, None) => {}
    }
    status
}
