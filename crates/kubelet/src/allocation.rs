//! [`Allocation`]: what the node has granted to a pod and its containers. The pod's specification may ask for something
//! else since (in-place resize, KEP-1287, KEP-5419). Pure.
//!
//! Workers see pods as they were granted ([`Allocation::granted`]); whether the node can grant what is asked for is
//! decided by [`crate::admission::resize`].

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// What a pod was granted.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Allocation {
    /// The resources of each container that can be resized, by its name.
    containers: BTreeMap<String, ResourceRequirements>,
    /// Those of the pod as a whole; `None` where nothing is said of the whole.
    whole: Option<Box<ResourceRequirements>>,
}

impl Allocation {
    /// All that the specification asks for.
    pub fn asked(pod: &Pod) -> Self {
        let asked = |container: &Container| (container.name.clone(), resources(container));
        Self {
            containers: pod.spec.iter().flat_map(resizable).map(asked).collect(),
            whole: whole(pod).cloned().map(Box::new),
        }
    }

    /// What a pod has that the node took on before this agent started: its status tells; for a new one, all that it
    /// asks for.
    pub fn reported(pod: &Pod) -> Self {
        let mut found = Self::asked(pod);
        let status = pod.status.iter();
        let statuses = status.flat_map(|s| [&s.container_statuses, &s.init_container_statuses]);
        for status in statuses.flatten().flatten() {
            if let (Some(granted), Some(has)) = (found.containers.get_mut(&status.name), &status.resources) {
                granted.clone_from(has);
            }
        }
        if let Some(granted) = &mut found.whole {
            as_reported(granted, pod);
        }
        found
    }

    /// The resources of a container; `None` for one that cannot be resized.
    pub fn of(&self, container: &str) -> Option<&ResourceRequirements> {
        self.containers.get(container)
    }

    /// Whether the specification asks for exactly this.
    pub fn is_asked_by(&self, pod: &Pod) -> bool {
        let all = pod.spec.iter().flat_map(resizable);
        self.whole.as_deref() == whole(pod)
            && all.into_iter().all(|container| {
                self.containers.get(&container.name).is_none_or(|granted| *granted == resources(container))
            })
    }

    /// The pod as it was granted.
    pub fn granted(&self, pod: Arc<Pod>) -> Arc<Pod> {
        if self.is_asked_by(&pod) {
            return pod;
        }
        let mut granted = Pod::clone(&pod);
        if let Some(spec) = &mut granted.spec {
            spec.resources = self.whole.as_deref().cloned();
            let all = spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten());
            for container in all {
                if let Some(resources) = self.containers.get(&container.name) {
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

/// What the specification says of the pod as a whole.
fn whole(pod: &Pod) -> Option<&ResourceRequirements> {
    pod.spec.as_ref()?.resources.as_ref()
}

/// Takes the amounts of a pod as a whole over from its status, which counts the overhead in.
fn as_reported(granted: &mut ResourceRequirements, pod: &Pod) {
    let Some(status) = &pod.status else { return };
    let limits = status.resources.as_ref().and_then(|has| has.limits.as_ref());
    let overhead = pod.spec.as_ref().and_then(|spec| spec.overhead.as_ref());
    let lists = [(&mut granted.requests, status.allocated_resources.as_ref()), (&mut granted.limits, limits)];
    for (own, told) in lists {
        for (name, amount) in own.iter_mut().flatten() {
            let Some(told) = told.and_then(|told| told.get(name)) else { continue };
            let on_top = overhead.and_then(|overhead| overhead.get(name));
            let parsed = |quantity: &Quantity| quantity.0.parse::<api::quantity::Quantity>().ok();
            *amount = match (on_top.and_then(parsed), parsed(told)) {
                (Some(on_top), Some(told)) => Quantity(told.minus(&on_top).to_string()),
                _ => told.clone(),
            };
        }
    }
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
    fn what_a_pod_has_as_a_whole_is_granted_too() {
        let pod = |cpu: &str, status: Value| -> Arc<Pod> {
            let whole = json!({"requests": {"cpu": cpu}, "limits": {"cpu": cpu}});
            let containers = json!([{"name": "c", "resources": {}}]);
            let spec = json!({"containers": containers, "resources": whole, "overhead": {"cpu": "100m"}});
            Arc::new(serde_json::from_value(json!({"spec": spec, "status": status})).expect("a pod"))
        };
        let granted = Allocation::asked(&pod("1", json!({})));
        assert!(!granted.is_asked_by(&pod("2", json!({}))));
        assert_eq!(granted.granted(pod("2", json!({}))), pod("1", json!({})));
        let status =
            json!({"allocatedResources": {"cpu": "1100m"}, "resources": {"limits": {"cpu": "1100m"}}});
        assert_eq!(Allocation::reported(&pod("2", status)), granted, "less the overhead");
        let none = json!({"spec": {"containers": [{"name": "c"}]}});
        let none: Pod = serde_json::from_value(none).expect("a pod");
        assert!(!Allocation::asked(&none).is_asked_by(&pod("1", json!({}))), "it asks for a whole since");
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
