//! Whether the node runs short of something, and which pods it then ends first. Pure.
//!
//! Start at [`judge::Judge`]: from observations to conditions of the node and to what has to be won back.
//! [`thresholds`] are the settings, [`ranking`] says whose turn it is (upstream `pkg/kubelet/eviction`).

pub mod judge;
pub mod ranking;
pub mod thresholds;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Pod, Taint};

use crate::origin::is_static;

/// From this priority on a pod is critical (upstream `SystemCriticalPriority`).
const CRITICAL_PRIORITY: i32 = 2_000_000_000;

/// What is observed, in the order in which it is won back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Signal {
    MemoryAvailable,
    NodefsAvailable,
    NodefsInodesFree,
    PidAvailable,
}

impl Signal {
    /// Upstream's name, as in thresholds.
    pub fn name(self) -> &'static str {
        match self {
            Self::MemoryAvailable => "memory.available",
            Self::NodefsAvailable => "nodefs.available",
            Self::NodefsInodesFree => "nodefs.inodesFree",
            Self::PidAvailable => "pid.available",
        }
    }

    /// What the pods use of it.
    pub fn resource(self) -> &'static str {
        match self {
            Self::MemoryAvailable => "memory",
            Self::NodefsAvailable => "ephemeral-storage",
            Self::NodefsInodesFree => "inodes",
            Self::PidAvailable => "pids",
        }
    }

    pub fn condition(self) -> Condition {
        match self {
            Self::MemoryAvailable => Condition::Memory,
            Self::NodefsAvailable | Self::NodefsInodesFree => Condition::Disk,
            Self::PidAvailable => Condition::Pid,
        }
    }

    /// An amount of it as a quantity is written.
    pub fn amount(self, amount: u64) -> String {
        match self {
            Self::MemoryAvailable | Self::NodefsAvailable => {
                with_suffix(amount, 1024, &["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"])
            }
            Self::NodefsInodesFree | Self::PidAvailable => {
                with_suffix(amount, 1000, &["k", "M", "G", "T", "P", "E"])
            }
        }
    }
}

/// The whole amount with the largest suffix that leaves it whole, as upstream's canonical form.
fn with_suffix(mut amount: u64, step: u64, suffixes: &[&str]) -> String {
    let mut suffix = "";
    for next in suffixes {
        if amount == 0 || !amount.is_multiple_of(step) {
            break;
        }
        (amount, suffix) = (amount / step, next);
    }
    format!("{amount}{suffix}")
}

/// A condition of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    Memory,
    Disk,
    Pid,
}

impl Condition {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "MemoryPressure",
            Self::Disk => "DiskPressure",
            Self::Pid => "PIDPressure",
        }
    }
}

/// How much is left, and how much there is in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observation {
    pub available: u64,
    pub capacity: u64,
}

/// What the node is short of, for those who tell others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    pub conditions: BTreeSet<Condition>,
    /// Why that is not known.
    pub problem: Option<String>,
}

/// What could be observed.
pub type Observations = BTreeMap<Signal, Observation>;

/// Whether the node must keep the pod whatever it is short of.
pub fn is_critical(pod: &Pod) -> bool {
    let priority = pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0);
    is_static(pod) || priority >= CRITICAL_PRIORITY
}

/// Why a node with these conditions does not take a new pod on, if it does not.
pub fn refusal(pod: &Pod, conditions: &BTreeSet<Condition>) -> Option<String> {
    if conditions.is_empty() || is_critical(pod) {
        return None;
    }
    if conditions.iter().eq([&Condition::Memory]) {
        let taint = Taint {
            key: "node.kubernetes.io/memory-pressure".into(),
            effect: "NoSchedule".into(),
            ..Taint::default()
        };
        let mut tolerations = pod.spec.iter().flat_map(|spec| spec.tolerations.iter().flatten());
        if pods::qos_class(pod) != "BestEffort" || tolerations.any(|t| pods::tolerates_taint(t, &taint)) {
            return None;
        }
    }
    let names: Vec<&str> = conditions.iter().map(|condition| condition.as_str()).collect();
    Some(format!("The node had condition: [{}]. ", names.join(" ")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn amounts_are_written_as_upstream_does() {
        let memory = |bytes| Signal::MemoryAvailable.amount(bytes);
        assert_eq!(
            [memory(0), memory(1500), memory(100 << 20), memory(1 << 40)],
            ["0", "1500", "100Mi", "1Ti"]
        );
        let pids = |count| Signal::PidAvailable.amount(count);
        assert_eq!([pids(999), pids(1000), pids(1500)], ["999", "1k", "1500"]);
    }

    #[test]
    fn a_node_under_pressure_takes_few_pods_on() {
        let why = |spec: serde_json::Value, conditions: &[Condition]| {
            let pod: Pod = serde_json::from_value(json!({"spec": spec})).expect("a pod");
            refusal(&pod, &conditions.iter().copied().collect())
        };
        let best = || json!({"containers": [{"name": "c"}]});
        let burst = json!({"containers": [{"name": "c", "resources": {"requests": {"memory": "1"}}}]});
        let (memory, disk) = (Condition::Memory, Condition::Disk);
        assert_eq!(why(best(), &[]), None);
        assert_eq!(why(best(), &[memory]).as_deref(), Some("The node had condition: [MemoryPressure]. "));
        assert_eq!(why(burst.clone(), &[memory]), None);
        assert_eq!(
            why(burst, &[memory, disk]).as_deref(),
            Some("The node had condition: [MemoryPressure DiskPressure]. ")
        );
        let tolerant = json!({"containers": [{"name": "c"}],
            "tolerations": [{"key": "node.kubernetes.io/memory-pressure", "operator": "Exists"}]});
        assert_eq!(why(tolerant.clone(), &[memory]), None);
        assert!(why(tolerant, &[disk]).is_some());
        assert_eq!(why(json!({"containers": [], "priority": 2_000_000_000}), &[disk]), None);
    }
}
