//! [`PodInfo`]: what the rules need to know of a pod, worked out once.

use std::sync::Arc;

use informer::Key;
use k8s_openapi::api::core::v1::{Pod, Toleration};
use pods::{Amounts, HostPort, NodeRequirements, Preference};

use crate::relations::Relations;

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
    /// Node selector and required node affinity.
    pub node_requirements: NodeRequirements,
    pub preferred_nodes: Vec<Preference>,
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
        Self {
            key: Key::of(&**pod),
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            priority: spec.priority.unwrap_or(0),
            node_name: spec.node_name.clone().filter(|name| !name.is_empty()),
            requests: pods::requests(pod),
            nonzero: pods::nonzero_requests(pod),
            host_ports: pods::host_ports(pod),
            node_requirements: NodeRequirements::of(&spec),
            preferred_nodes: pods::preferences(&spec),
            tolerations: spec.tolerations.unwrap_or_default(),
            can_preempt: spec.preemption_policy.as_deref() != Some("Never"),
            relations: Arc::new(Relations::of(pod)),
            object: pod.clone(),
        }
    }

    pub fn tolerates(&self, key: &str, value: &str, effect: &str) -> bool {
        self.tolerations.iter().any(|t| pods::tolerates(t, key, value, effect))
    }
}
