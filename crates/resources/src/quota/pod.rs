//! What a pod uses, and what it must say to be counted.

use std::collections::{BTreeMap, BTreeSet};

use api::quantity::{Format, Quantity};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Pod, PodAffinityTerm, PodSpec};
use pods::Side;

use super::names::is_extended;
use super::{Amounts, Traits};

/// Resources that, where they are bounded, every container has to name.
const NAMED: [&str; 6] = ["cpu", "limits.cpu", "limits.memory", "memory", "requests.cpu", "requests.memory"];

/// What the pod's containers and its place use, and until when it counts: a pod that has ended uses nothing any more,
/// nor does one that outstays its grace period.
pub(super) fn usage(pod: &Pod) -> (Amounts, Option<Timestamp>) {
    if pods::is_terminal(pod) {
        return (Amounts::new(), None);
    }
    let used = computed(&pods::quantities(pod, Side::Requests), &pods::quantities(pod, Side::Limits));
    let meta = &pod.metadata;
    let until = meta.deletion_timestamp.as_ref().zip(meta.deletion_grace_period_seconds).and_then(
        |(deletion, grace_s)| {
            let deletion = deletion.0;
            deletion.checked_add(SignedDuration::from_secs(grace_s.clamp(0, 1 << 32))).ok()
        },
    );
    (used, until)
}

/// Requests and limits under the names that quotas have for them.
fn computed(requests: &Amounts, limits: &Amounts) -> Amounts {
    let mut used = Amounts::from([("pods".to_owned(), Quantity::from_units(1, Format::DecimalSi))]);
    for (name, amount) in requests {
        let basic = matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage");
        if basic || name.starts_with("hugepages-") {
            used.insert(name.clone(), *amount);
            used.insert(format!("requests.{name}"), *amount);
        } else if is_extended(name) {
            used.insert(format!("requests.{name}"), *amount);
        }
    }
    for name in ["cpu", "memory", "ephemeral-storage"] {
        if let Some(limit) = limits.get(name) {
            used.insert(format!("limits.{name}"), *limit);
        }
    }
    used
}

/// What scopes ask of a pod.
pub(super) fn traits(pod: &Pod) -> Traits {
    let spec = pod.spec.as_ref();
    Traits {
        terminating: spec.and_then(|s| s.active_deadline_seconds).is_some_and(|s| s >= 0),
        best_effort: pods::qos_class(pod) == "BestEffort",
        cross_namespace: spec.is_some_and(looks_elsewhere),
        priority_class: spec.and_then(|s| s.priority_class_name.clone()).unwrap_or_default(),
        volume_attributes_class: String::new(),
    }
}

/// Whether a term of the pod's affinity names namespaces or selects them.
fn looks_elsewhere(spec: &PodSpec) -> bool {
    let elsewhere = |term: &PodAffinityTerm| {
        term.namespaces.as_ref().is_some_and(|names| !names.is_empty()) || term.namespace_selector.is_some()
    };
    let affinity = spec.affinity.as_ref();
    let together = affinity.and_then(|a| a.pod_affinity.as_ref());
    let apart = affinity.and_then(|a| a.pod_anti_affinity.as_ref());
    let required = [
        together.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref()),
        apart.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref()),
    ];
    let preferred = [
        together.and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_ref()),
        apart.and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_ref()),
    ];
    required.into_iter().flatten().flatten().any(elsewhere)
        || preferred.into_iter().flatten().flatten().any(|weighted| elsewhere(&weighted.pod_affinity_term))
}

/// What a pod lacks that is bounded by one of these names: `must specify cpu for: a,b; memory for: c`.
pub fn missing(pod: &Pod, bounded: &[&str]) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    // What the pod says as a whole, no container has to say.
    let whole = spec.resources.as_ref().map(|resources| {
        let list =
            |list: &Option<BTreeMap<String, _>>| list.iter().flatten().map(|(n, _)| n.clone()).collect();
        (list(&resources.requests), list(&resources.limits))
    });
    let (requests, limits): (BTreeSet<String>, BTreeSet<String>) = whole.unwrap_or_default();
    let said_whole = |name: &str| says(name, |n| requests.contains(n), |n| limits.contains(n));
    let required: BTreeSet<&str> =
        bounded.iter().copied().filter(|name| NAMED.contains(name) && !said_whole(name)).collect();
    let mut lacking: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for container in spec.containers.iter().chain(spec.init_containers.iter().flatten()) {
        for name in required.iter().filter(|name| !container_says(container, name)) {
            lacking.entry(name).or_default().insert(&container.name);
        }
    }
    if lacking.is_empty() {
        return None;
    }
    let told = lacking.iter().map(|(name, containers)| {
        format!("{name} for: {}", containers.iter().copied().collect::<Vec<_>>().join(","))
    });
    Some(format!("must specify {}", told.collect::<Vec<_>>().join("; ")))
}

fn container_says(container: &Container, name: &str) -> bool {
    let has = |side: Side, name: &str| side.of(container).is_some_and(|list| list.contains_key(name));
    says(name, |n| has(Side::Requests, n), |n| has(Side::Limits, n))
}

/// Whether what a quota's name names is said, by a request or a limit.
fn says(name: &str, requests: impl Fn(&str) -> bool, limits: impl Fn(&str) -> bool) -> bool {
    match name.strip_prefix("limits.") {
        Some(limited) => limits(limited),
        None => requests(name.strip_prefix("requests.").unwrap_or(name)),
    }
}
