//! [`PodInfo`]: what the rules need to know of a pod, worked out once.

use std::sync::Arc;

use informer::Key;
use k8s_openapi::api::core::v1::{NodeSelectorTerm, Pod, PreferredSchedulingTerm, Toleration};

use crate::relations::Relations;
use crate::resources::{Amounts, nonzero_requests, requests};

/// A port of the node that a pod wants for itself.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPort {
    /// Empty for all addresses.
    pub ip: String,
    pub protocol: String,
    pub port: i32,
}

impl HostPort {
    /// Whether the two cannot be on one node.
    pub fn clashes(&self, other: &Self) -> bool {
        let any = |ip: &str| ip.is_empty() || ip == "0.0.0.0";
        self.port == other.port
            && self.protocol == other.protocol
            && (any(&self.ip) || any(&other.ip) || self.ip == other.ip)
    }
}

/// A pod as the scheduler sees it.
#[derive(Debug, Clone)]
pub struct PodInfo {
    pub key: Key,
    pub uid: String,
    pub priority: i32,
    pub node_name: Option<String>,
    pub requests: Amounts,
    /// CPU (thousandths) and memory (bytes) with assumed minimums, for comparing nodes.
    pub nonzero: (i64, i64),
    pub host_ports: Vec<HostPort>,
    pub node_selector: Vec<(String, String)>,
    /// Terms of the required node affinity; `None` when there is none.
    pub required_affinity: Option<Vec<NodeSelectorTerm>>,
    pub preferred_affinity: Vec<PreferredSchedulingTerm>,
    pub tolerations: Vec<Toleration>,
    pub can_preempt: bool,
    /// What it has to do with other pods.
    pub relations: Arc<Relations>,
    /// For the event and the condition.
    pub object: Arc<Pod>,
}

impl PodInfo {
    pub fn new(pod: &Arc<Pod>) -> Self {
        let spec = pod.spec.clone().unwrap_or_default();
        let affinity = spec.affinity.unwrap_or_default();
        let node_affinity = affinity.node_affinity.unwrap_or_default();
        let nonzero = nonzero_requests(pod);
        Self {
            key: Key::of(&**pod),
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            priority: spec.priority.unwrap_or(0),
            node_name: spec.node_name.filter(|name| !name.is_empty()),
            requests: requests(pod),
            nonzero,
            host_ports: host_ports(pod),
            node_selector: spec.node_selector.unwrap_or_default().into_iter().collect(),
            required_affinity: node_affinity
                .required_during_scheduling_ignored_during_execution
                .map(|selector| selector.node_selector_terms),
            preferred_affinity: node_affinity
                .preferred_during_scheduling_ignored_during_execution
                .unwrap_or_default(),
            tolerations: spec.tolerations.unwrap_or_default(),
            can_preempt: spec.preemption_policy.as_deref() != Some("Never"),
            relations: Arc::new(Relations::of(pod)),
            object: pod.clone(),
        }
    }

    pub fn tolerates(&self, key: &str, value: &str, effect: &str) -> bool {
        self.tolerations.iter().any(|t| tolerates(t, key, value, effect))
    }
}

/// Whether a toleration covers a taint (`k8s.io/api/core/v1/toleration.go`).
pub fn tolerates(toleration: &Toleration, key: &str, value: &str, effect: &str) -> bool {
    if toleration.effect.as_deref().is_some_and(|e| !e.is_empty() && e != effect) {
        return false;
    }
    let wanted = toleration.key.as_deref().unwrap_or("");
    if !wanted.is_empty() && wanted != key {
        return false;
    }
    match toleration.operator.as_deref().unwrap_or("Equal") {
        "Exists" => true,
        "Equal" | "" => !wanted.is_empty() && toleration.value.as_deref().unwrap_or("") == value,
        _ => false,
    }
}

/// Whether the pod holds resources of its node: it has one and has not ended.
pub fn holds_resources(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or("");
    pod.spec.as_ref().is_some_and(|s| s.node_name.as_deref().is_some_and(|n| !n.is_empty()))
        && phase != "Succeeded"
        && phase != "Failed"
}

fn host_ports(pod: &Pod) -> Vec<HostPort> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let sidecars =
        spec.init_containers.iter().flatten().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    spec.containers
        .iter()
        .chain(sidecars)
        .flat_map(|container| container.ports.iter().flatten())
        .filter_map(|port| {
            let number = port.host_port.filter(|number| *number > 0)?;
            Some(HostPort {
                ip: port.host_ip.clone().unwrap_or_default(),
                protocol: port.protocol.clone().unwrap_or_else(|| "TCP".into()),
                port: number,
            })
        })
        .collect()
}
