//! How many pods a metric asks for. Pure. Upstream: `replica_calculator.go` and `metrics/utilization.go`.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Pod};

/// How long a container's start may use CPU that says nothing of its load.
const CPU_INITIALIZATION: SignedDuration = SignedDuration::from_mins(5);
/// How long after its start a pod that turns unready is taken for one that never was ready.
const INITIAL_READINESS: SignedDuration = SignedDuration::from_secs(30);

/// How far a ratio of what is to what should be may be from 1 before anything is done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Tolerance {
    pub up: f64,
    pub down: f64,
}

impl Tolerance {
    fn takes(self, ratio: f64) -> bool {
        ratio >= 1.0 - self.down && ratio <= 1.0 + self.up
    }
}

/// What a pod uses, in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Use {
    pub milli: i64,
    pub at: Timestamp,
    pub window: SignedDuration,
}

/// What is wanted of pods on average.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// In percent of what they request.
    Utilization(i32),
    /// In thousandths.
    Average(i64),
}

/// A resource as an autoscaler speaks of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub resource: &'a str,
    /// Of this container alone.
    pub container: Option<&'a str>,
    pub goal: Goal,
    pub tolerance: Tolerance,
}

/// What a metric asks for, and what it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Proposal {
    pub replicas: i32,
    pub utilization: Option<i32>,
    pub average_milli: i64,
}

/// Pods by what may be concluded from them, those that count left out.
#[derive(Default)]
struct Groups<'a> {
    ready: i32,
    /// Starting: their figures say nothing yet.
    unready: Vec<&'a str>,
    /// Without figures.
    missing: Vec<&'a str>,
}

/// What is compared with the goal.
struct Measure {
    ratio: f64,
    utilization: Option<i32>,
    average_milli: i64,
}

/// How many pods there should be, of which `current` are wanted now.
///
/// # Errors
/// Why that cannot be said, in upstream's words.
pub(super) fn propose(
    pods: &[Arc<Pod>],
    mut used: BTreeMap<String, Use>,
    current: i32,
    asked: Asked<'_>,
    now: Timestamp,
) -> Result<Proposal, String> {
    if pods.is_empty() {
        return Err("no pods returned by selector while calculating replica count".into());
    }
    let groups = sorted(pods, &mut used, asked.resource, now);
    if used.is_empty() {
        return Err("did not receive metrics for targeted pods (pods might be unready)".into());
    }
    let requests = match asked.goal {
        Goal::Utilization(_) => requests(pods, asked)?,
        Goal::Average(_) => BTreeMap::new(),
    };
    let mut milli: BTreeMap<&str, i64> =
        used.iter().map(|(name, used)| (name.as_str(), used.milli)).collect();
    let Measure { ratio, utilization, average_milli } = measure(&milli, &requests, asked.goal)?;
    let proposal = |replicas| Ok(Proposal { replicas, utilization, average_milli });
    // Pods that start would take a part of a load that is too high: until they do they count as idle.
    let starting = !groups.unready.is_empty() && ratio > 1.0;
    if !starting && groups.missing.is_empty() {
        let within = asked.tolerance.takes(ratio);
        return proposal(if within { current } else { ceil(ratio * f64::from(groups.ready)) });
    }
    for name in groups.missing {
        if let Some(assumed) = assumed(ratio, asked.goal, requests.get(name).copied().unwrap_or(0)) {
            milli.insert(name, assumed);
        }
    }
    if starting {
        milli.extend(groups.unready.into_iter().map(|name| (name, 0)));
    }
    let again = measure(&milli, &requests, asked.goal)?.ratio;
    let turns = (ratio < 1.0 && again > 1.0) || (ratio > 1.0 && again < 1.0);
    if asked.tolerance.takes(again) || turns {
        return proposal(current);
    }
    let replicas = ceil(again * milli.len() as f64);
    let backwards = (again < 1.0 && replicas > current) || (again > 1.0 && replicas < current);
    proposal(if backwards { current } else { replicas })
}

/// How many pods there should be for a value of all of them together that is so many times its target.
///
/// # Errors
/// When there are no pods.
pub(super) fn by_ratio(
    pods: &[Arc<Pod>],
    ratio: f64,
    current: i32,
    tolerance: Tolerance,
) -> Result<i32, String> {
    if tolerance.takes(ratio) {
        return Ok(current);
    }
    if pods.is_empty() {
        return Err(
            "unable to calculate ready pods: no pods returned by selector while calculating replica count"
                .into(),
        );
    }
    let is_ready = |pod: &&Arc<Pod>| {
        pods::phase(pod) == "Running"
            && pods::ready_condition(pod).is_some_and(|ready| ready.status == "True")
    };
    let ready = pods.iter().filter(is_ready).count();
    Ok(ceil(ratio * ready as f64))
}

/// How many pods there should be for each to have no more than the target of a value, in thousandths, and what each of
/// the `present` ones has.
pub(super) fn per_pod(sum: i64, target: i64, present: i32, tolerance: Tolerance) -> (i32, i64) {
    let (sum, target) = (sum as f64, target.max(1) as f64);
    let ratio = sum / (target * f64::from(present));
    let replicas = if tolerance.takes(ratio) { present } else { ceil(sum / target) };
    // Saturates where there are none.
    (replicas, (sum / f64::from(present)).ceil() as i64)
}

/// What a pod without figures is taken to use: that which changes the number of pods the least.
fn assumed(ratio: f64, goal: Goal, request_milli: i64) -> Option<i64> {
    match goal {
        Goal::Utilization(target) if ratio < 1.0 => {
            Some(request_milli.saturating_mul(i64::from(target.max(100))) / 100)
        }
        Goal::Utilization(_) if ratio > 1.0 => Some(0),
        Goal::Utilization(_) => None,
        Goal::Average(target) if ratio < 1.0 => Some(target),
        Goal::Average(_) => Some(0),
    }
}

/// Sorts the pods, and takes away the figures that do not count.
fn sorted<'a>(
    pods: &'a [Arc<Pod>],
    used: &mut BTreeMap<String, Use>,
    resource: &str,
    now: Timestamp,
) -> Groups<'a> {
    let mut groups = Groups::default();
    for pod in pods {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let phase = pods::phase(pod);
        if pod.metadata.deletion_timestamp.is_some() || phase == "Failed" {
            used.remove(name);
            continue;
        }
        let Some(seen) = used.get(name).filter(|_| phase != "Pending") else {
            let group = if phase == "Pending" { &mut groups.unready } else { &mut groups.missing };
            group.push(name);
            used.remove(name);
            continue;
        };
        if resource == "cpu" && starts(pod, seen, now) {
            groups.unready.push(name);
            used.remove(name);
            continue;
        }
        groups.ready += 1;
    }
    groups
}

/// Whether what the pod uses is still of its start.
fn starts(pod: &Pod, used: &Use, now: Timestamp) -> bool {
    let started = pod.status.as_ref().and_then(|status| status.start_time.as_ref());
    let (Some(ready), Some(started)) = (pods::ready_condition(pod), started) else { return true };
    let changed = ready.last_transition_time.as_ref().map_or(Timestamp::MIN, |time| time.0);
    let is_unready = ready.status == "False";
    if started.0 + CPU_INITIALIZATION > now {
        return is_unready || used.at.duration_since(changed) < used.window;
    }
    is_unready && started.0 + INITIAL_READINESS > changed
}

/// What each pod requests, in thousandths.
fn requests<'a>(pods: &'a [Arc<Pod>], asked: Asked<'_>) -> Result<BTreeMap<&'a str, i64>, String> {
    let each = pods.iter().map(|pod| {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        Ok((name, requested(pod, name, asked)?))
    });
    each.collect()
}

fn requested(pod: &Pod, name: &str, asked: Asked<'_>) -> Result<i64, String> {
    let Some(spec) = &pod.spec else { return Ok(0) };
    let Asked { resource, container: only, .. } = asked;
    let whole = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref()?.get(resource));
    if let (None, Some(whole)) = (only, whole) {
        return Ok(milli(&whole.0));
    }
    let sidecars = spec.init_containers.iter().flatten().filter(|init| pods::is_sidecar(init));
    let all = sidecars.chain(&spec.containers).filter(|c| only.is_none_or(|only| only == c.name));
    let mut sum = None;
    for container in all {
        let Some(request) = request(container, resource) else {
            return Err(format!(
                "missing request for {resource} in container {} of Pod {name}",
                container.name
            ));
        };
        sum = Some(sum.unwrap_or(0_i64).saturating_add(request));
    }
    match (sum, only) {
        (None, Some(only)) => Err(format!("container {only} not found in Pod {name}")),
        (sum, _) => Ok(sum.unwrap_or(0)),
    }
}

fn request(container: &Container, resource: &str) -> Option<i64> {
    let quantity = container.resources.as_ref()?.requests.as_ref()?.get(resource)?;
    Some(milli(&quantity.0))
}

/// A quantity in thousandths; the API lets nothing else in than quantities.
pub(super) fn milli(quantity: &str) -> i64 {
    quantity.parse().map_or(0, |quantity: api::quantity::Quantity| quantity.milli_value())
}

fn measure(
    used: &BTreeMap<&str, i64>,
    requests: &BTreeMap<&str, i64>,
    goal: Goal,
) -> Result<Measure, String> {
    match goal {
        Goal::Utilization(target) => {
            let known = used.iter().filter_map(|(name, milli)| Some((*milli, *requests.get(name)?)));
            let (mut sum, mut requested, mut count) = (0_i128, 0_i128, 0_i128);
            for (milli, request) in known {
                sum += i128::from(milli);
                requested += i128::from(request);
                count += 1;
            }
            if requested == 0 {
                return Err("no metrics returned matched known pods".into());
            }
            let utilization = i32::try_from(sum * 100 / requested).unwrap_or(i32::MAX);
            Ok(Measure {
                ratio: f64::from(utilization) / f64::from(target.max(1)),
                utilization: Some(utilization),
                average_milli: i64::try_from(sum / count.max(1)).unwrap_or(i64::MAX),
            })
        }
        Goal::Average(target) => {
            let sum: i128 = used.values().map(|milli| i128::from(*milli)).sum();
            let count = i128::try_from(used.len()).unwrap_or(1).max(1);
            let average_milli = i64::try_from(sum / count).unwrap_or(i64::MAX);
            Ok(Measure {
                ratio: average_milli as f64 / target.max(1) as f64,
                utilization: None,
                average_milli,
            })
        }
    }
}

fn ceil(number: f64) -> i32 {
    // Saturates.
    number.ceil() as i32
}
