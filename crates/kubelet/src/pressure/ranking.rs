//! Which pods are ended first, and what they are told.

use std::cmp::Reverse;
use std::fmt::Write;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, Pod};

use super::judge::Starved;
use super::{Signal, is_critical};

/// What a pod uses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    pub memory_bytes: u64,
    /// Of its containers' own layers, their logs and its volumes on the node's file system.
    pub disk_bytes: u64,
    pub inodes: u64,
    pub processes: u64,
    pub containers: Vec<ContainerUsage>,
}

/// What one of its containers uses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerUsage {
    pub name: String,
    pub memory_bytes: u64,
    /// Of its own layer and its logs.
    pub disk_bytes: u64,
}

/// A pod that may be ended.
#[derive(Debug, Clone)]
pub struct Candidate {
    pub pod: Arc<Pod>,
    /// `None` where nobody knows.
    pub usage: Option<Usage>,
}

/// The candidates that may be ended, the first one first: those of which nothing is known, then those that use more than
/// they asked for, then by priority and by how much more they use.
pub fn ranked(mut candidates: Vec<Candidate>, signal: Signal) -> Vec<Candidate> {
    candidates.retain(|candidate| !is_critical(&candidate.pod));
    candidates.sort_by_cached_key(|candidate| {
        let priority = candidate.pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0);
        let name = candidate.pod.metadata.uid.clone();
        let Some(usage) = &candidate.usage else { return (false, false, priority, Reverse(0), name) };
        let requests = pods::requests(&candidate.pod);
        let (used, asked) = match signal {
            Signal::MemoryAvailable => (usage.memory_bytes, requests.memory_bytes),
            Signal::NodefsAvailable => (usage.disk_bytes, requests.ephemeral_bytes),
            Signal::NodefsInodesFree => (usage.inodes, 0),
            Signal::PidAvailable => (usage.processes, 0),
        };
        let more = i64::try_from(used).unwrap_or(i64::MAX).saturating_sub(asked);
        // Of processes nobody asks for some.
        let exceeds = more > 0 || signal == Signal::PidAvailable;
        (true, !exceeds, priority, Reverse(more), name)
    });
    candidates
}

/// What the pod is told, in upstream's words.
pub fn message(candidate: &Candidate, starved: &Starved) -> String {
    let (signal, resource) = (starved.signal, starved.signal.resource());
    let mut text = format!(
        "The node was low on resource: {resource}. Threshold quantity: {}, available: {}. ",
        signal.amount(starved.least),
        signal.amount(starved.available)
    );
    let spec = candidate.pod.spec.as_ref();
    let containers =
        spec.iter().flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()));
    let containers: Vec<&Container> = containers.collect();
    for used in candidate.usage.iter().flat_map(|usage| &usage.containers) {
        let Some(container) = containers.iter().find(|container| container.name == used.name) else {
            continue;
        };
        let amount = match signal {
            Signal::MemoryAvailable => used.memory_bytes,
            Signal::NodefsAvailable => used.disk_bytes,
            Signal::NodefsInodesFree | Signal::PidAvailable => continue,
        };
        let requests = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        let request =
            requests.and_then(|requests| requests.get(resource)).map_or("0", |quantity| quantity.0.as_str());
        let asked = request.parse::<api::quantity::Quantity>().map_or(0, |quantity| quantity.value());
        if i64::try_from(amount).unwrap_or(i64::MAX) > asked {
            let used = signal.amount(amount);
            // Writing to a text cannot fail.
            let _ = write!(
                text,
                "Container {} was using {used}, request is {request}, has larger consumption of {resource}. ",
                container.name
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A pod that asks for so much memory, and what it uses of it.
    fn candidate(name: &str, priority: i32, asked: &str, used_mib: Option<u64>) -> Candidate {
        let resources = json!({"requests": {"memory": asked}});
        let spec = json!({"priority": priority, "containers": [{"name": "c", "resources": resources}]});
        let pod = json!({"metadata": {"uid": name}, "spec": spec});
        let bytes = |mib: u64| mib << 20;
        let usage = used_mib.map(|mib| Usage {
            memory_bytes: bytes(mib),
            containers: vec![ContainerUsage { name: "c".into(), memory_bytes: bytes(mib), disk_bytes: 0 }],
            ..Usage::default()
        });
        Candidate { pod: Arc::new(serde_json::from_value(pod).expect("a pod")), usage }
    }

    #[test]
    fn who_uses_more_than_was_asked_for_goes_first() {
        let all = vec![
            candidate("modest", 0, "500Mi", Some(400)),
            candidate("important", 10, "10Mi", Some(900)),
            candidate("greedy", 0, "10Mi", Some(700)),
            candidate("over", 0, "300Mi", Some(600)),
            candidate("unknown", 5, "10Mi", None),
            candidate("critical", 2_000_000_000, "0", Some(4000)),
            candidate("modest and unimportant", -1, "500Mi", Some(1)),
        ];
        let order: Vec<_> = ranked(all, Signal::MemoryAvailable)
            .into_iter()
            .filter_map(|c| c.pod.metadata.uid.clone())
            .collect();
        assert_eq!(order, ["unknown", "greedy", "over", "important", "modest and unimportant", "modest"]);
    }

    #[test]
    fn a_pod_is_told_in_upstreams_words() {
        let starved =
            Starved { signal: Signal::MemoryAvailable, is_hard: true, least: 100 << 20, available: 51_200 };
        assert_eq!(
            message(&candidate("a", 0, "10Mi", Some(20)), &starved),
            "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Ki. Container c was using 20Mi, \
             request is 10Mi, has larger consumption of memory. "
        );
        assert_eq!(
            message(&candidate("a", 0, "50Mi", Some(20)), &starved),
            "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Ki. "
        );
    }
}
