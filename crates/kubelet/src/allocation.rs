//! [`Allocation`]: what the node has granted to the containers of a pod, whose specification may ask for something else
//! since (in-place resize, KEP-1287). Pure.
//!
//! Workers see pods as they were granted ([`Allocation::granted`]); whether the node can grant what is asked for is
//! decided by [`crate::admission::resize`].

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, ResourceRequirements};

/// The resources of each container that can be resized, by its name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Allocation(BTreeMap<String, ResourceRequirements>);

impl Allocation {
    /// All that the specification asks for.
    pub fn asked(pod: &Pod) -> Self {
        let asked = |container: &Container| (container.name.clone(), resources(container));
        Self(pod.spec.iter().flat_map(resizable).map(asked).collect())
    }

    /// What a pod has that the node took on before this agent started: its status tells; for a new one, all that it
    /// asks for.
    pub fn reported(pod: &Pod) -> Self {
        let mut found = Self::asked(pod);
        let status = pod.status.iter();
        let statuses = status.flat_map(|s| [&s.container_statuses, &s.init_container_statuses]);
        for status in statuses.flatten().flatten() {
            if let (Some(granted), Some(has)) = (found.0.get_mut(&status.name), &status.resources) {
                granted.clone_from(has);
            }
        }
        found
    }

    /// The resources of a container; `None` for one that cannot be resized.
    pub fn of(&self, container: &str) -> Option<&ResourceRequirements> {
        self.0.get(container)
    }

    /// Whether the specification asks for exactly this.
    pub fn is_asked_by(&self, pod: &Pod) -> bool {
        let all = pod.spec.iter().flat_map(resizable);
        all.into_iter().all(|container| {
            self.0.get(&container.name).is_none_or(|granted| *granted == resources(container))
        })
    }

    /// The pod as it was granted.
    pub fn granted(&self, pod: Arc<Pod>) -> Arc<Pod> {
        if self.is_asked_by(&pod) {
            return pod;
        }
        let mut granted = Pod::clone(&pod);
        if let Some(spec) = &mut granted.spec {
            let all = spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten());
            for container in all {
                if let Some(resources) = self.0.get(&container.name) {
                    container.resources = Some(resources.clone());
                }
            }
        }
        Arc::new(granted)
    }
}

/// Why a pod keeps what it was granted, although its specification asks for something else.
#[derive(Debug, Clone, PartialEq)]
pub struct PendingResize {
    /// The node is too small; otherwise the room is taken by others for now.
    pub infeasible: bool,
    pub message: String,
    /// What the specification asks for.
    pub asked: Allocation,
}

impl PendingResize {
    /// The reason in the pod's condition.
    pub fn reason(&self) -> &'static str {
        if self.infeasible { "Infeasible" } else { "Deferred" }
    }
}

/// The containers whose resources may change while they run.
fn resizable(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    let sidecars = spec.init_containers.iter().flatten().filter(|container| pods::is_sidecar(container));
    spec.containers.iter().chain(sidecars)
}

fn resources(container: &Container) -> ResourceRequirements {
    container.resources.clone().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(cpu: &str, status: Value) -> Arc<Pod> {
        let pod = json!({
            "spec": {
                "containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}, {"name": "free"}],
                "initContainers": [{"name": "once", "resources": {"requests": {"cpu": cpu}}}],
            },
            "status": status,
        });
        Arc::new(serde_json::from_value(pod).expect("a pod"))
    }

    #[test]
    fn a_pod_is_seen_as_it_was_granted() {
        let before = pod("1", json!({}));
        let granted = Allocation::asked(&before);
        assert!(granted.is_asked_by(&before));
        assert!(Arc::ptr_eq(&granted.granted(before.clone()), &before), "nothing is copied");
        let wants_more = pod("2", json!({}));
        assert!(!granted.is_asked_by(&wants_more));
        let seen = granted.granted(wants_more);
        let cpu = |container: &Container| {
            container.resources.as_ref().map(|r| r.requests.clone().unwrap_or_default()["cpu"].0.clone())
        };
        let spec = seen.spec.as_ref().expect("a specification");
        assert_eq!(cpu(&spec.containers[0]).as_deref(), Some("1"));
        let once = &spec.init_containers.as_ref().expect("one")[0];
        assert_eq!(cpu(once).as_deref(), Some("2"), "it does not run beside the others");
    }

    #[test]
    fn a_restarted_agent_reads_from_the_status_what_was_granted() {
        let status = json!({"containerStatuses": [
            {"name": "c", "resources": {"requests": {"cpu": "1"}}},
            {"name": "free"},
        ]});
        let found = Allocation::reported(&pod("2", status));
        assert_eq!(found, Allocation::asked(&pod("1", json!({}))));
        assert_eq!(Allocation::reported(&pod("2", json!({}))), Allocation::asked(&pod("2", json!({}))));
    }
}
