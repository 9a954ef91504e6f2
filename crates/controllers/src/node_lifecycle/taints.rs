//! The taints that express a node's state.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
const NO_SCHEDULE: &str = "NoSchedule";
const NO_EXECUTE: &str = "NoExecute";

/// Conditions that keep new pods away while they are True.
const PRESSURES: [(&str, &str); 4] = [
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("NetworkUnavailable", "node.kubernetes.io/network-unavailable"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
];

/// The taints a node should have, given whether its pods may be evicted; `None` when it has them.
pub(super) fn changed(node: &Node, ready: &str, evicts: bool, now: Timestamp) -> Option<Vec<Taint>> {
    let present = node.spec.as_ref().and_then(|s| s.taints.clone()).unwrap_or_default();
    let wanted = wanted(node, ready, evicts);
    let is = |taint: &Taint, (key, effect): &(&str, &str)| taint.key == *key && taint.effect == *effect;
    let mut taints: Vec<Taint> = present
        .iter()
        .filter(|taint| !is_ours(taint) || wanted.iter().any(|w| is(taint, w)))
        .cloned()
        .collect();
    for want in &wanted {
        if !taints.iter().any(|taint| is(taint, want)) {
            taints.push(Taint {
                key: want.0.to_owned(),
                effect: want.1.to_owned(),
                value: None,
                time_added: (want.1 == NO_EXECUTE).then_some(Time(now)),
            });
        }
    }
    (taints != present).then_some(taints)
}

fn wanted(node: &Node, ready: &str, evicts: bool) -> Vec<(&'static str, &'static str)> {
    let mut wanted = Vec::new();
    let state = match ready {
        "False" => Some(NOT_READY),
        "Unknown" => Some(UNREACHABLE),
        _ => None,
    };
    if let Some(key) = state {
        wanted.push((key, NO_SCHEDULE));
        if evicts {
            wanted.push((key, NO_EXECUTE));
        }
    }
    for (condition, key) in PRESSURES {
        if super::conditions::find(node, condition).is_some_and(|c| c.status == "True") {
            wanted.push((key, NO_SCHEDULE));
        }
    }
    if node.spec.as_ref().is_some_and(|s| s.unschedulable == Some(true)) {
        wanted.push((UNSCHEDULABLE, NO_SCHEDULE));
    }
    wanted
}

fn is_ours(taint: &Taint) -> bool {
    let state = taint.key == NOT_READY || taint.key == UNREACHABLE;
    let pressure = taint.key == UNSCHEDULABLE || PRESSURES.iter().any(|(_, key)| taint.key == *key);
    (state && taint.effect == NO_EXECUTE) || ((state || pressure) && taint.effect == NO_SCHEDULE)
}
