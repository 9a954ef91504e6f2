//! [`Glance`]: the few fields of a pod that decide whether the rest of its object must be read at all.

use std::borrow::Cow;

use informer::Cached;
use k8s_openapi::api::core::v1::Pod;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

/// See the module's documentation. Borrows from the object's bytes.
#[derive(Debug, Deserialize, Default)]
#[serde(default)]
pub(crate) struct Glance<'a> {
    #[serde(borrow)]
    spec: Spec<'a>,
    #[serde(borrow)]
    status: Option<Status<'a>>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Spec<'a> {
    #[serde(borrow)]
    node_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    scheduler_name: Option<Cow<'a, str>>,
    scheduling_gates: Option<Vec<IgnoredAny>>,
    #[serde(borrow)]
    containers: Vec<Container<'a>>,
    #[serde(borrow)]
    init_containers: Option<Vec<Container<'a>>>,
}

/// A container, or its status.
#[derive(Debug, Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Container<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    resources: Option<Resources<'a>>,
    #[serde(borrow)]
    allocated_resources: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(default)]
struct Resources<'a> {
    #[serde(borrow)]
    requests: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Status<'a> {
    #[serde(borrow)]
    phase: Option<Cow<'a, str>>,
    start_time: Option<jiff::Timestamp>,
    #[serde(borrow)]
    nominated_node_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    container_statuses: Option<Vec<Container<'a>>>,
    #[serde(borrow)]
    init_container_statuses: Option<Vec<Container<'a>>>,
}

impl<'a> Glance<'a> {
    /// `None` for an object that cannot be read; decoding the whole object then returns the error.
    pub fn of(pod: &'a Cached<Pod>) -> Option<Self> {
        serde_json::from_slice(pod.item().json()).ok()
    }

    /// Empty for none.
    pub fn node_name(&self) -> &str {
        self.spec.node_name.as_deref().unwrap_or("")
    }

    /// Whether all its containers have ended for good.
    pub fn is_terminal(&self) -> bool {
        let phase = self.status.as_ref().and_then(|status| status.phase.as_deref());
        matches!(phase, Some("Succeeded" | "Failed"))
    }

    /// When the node agent took the pod, in seconds since 1970.
    pub fn started(&self) -> Option<i64> {
        Some(self.status.as_ref()?.start_time?.as_second())
    }

    /// The node on which room is made for the pod; empty for none.
    pub fn nominated_node(&self) -> &str {
        self.status.as_ref().and_then(|status| status.nominated_node_name.as_deref()).unwrap_or("")
    }

    /// The name of the scheduler that the pod asks; empty for none.
    pub fn scheduler(&self) -> &str {
        self.spec.scheduler_name.as_deref().unwrap_or("")
    }

    /// Whether the pod has a scheduling gate.
    pub fn is_gated(&self) -> bool {
        self.spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty())
    }

    /// The result of [`pods::is_settled`], as long as equal amounts are written alike; `false` where they are not.
    pub fn is_settled(&self) -> bool {
        let text = |list: Option<&'a RawValue>| list.map(RawValue::get).filter(|text| *text != "null");
        let containers = || self.spec.containers.iter().chain(self.spec.init_containers.iter().flatten());
        let requests = |c: &Container<'a>| text(c.resources.as_ref().and_then(|r| r.requests));
        let statuses = self.status.iter().flat_map(|status| {
            let all = status.container_statuses.iter().chain(&status.init_container_statuses);
            all.flatten()
        });
        let mut reports = statuses.flat_map(|status| {
            let asked = containers().find(|container| container.name == status.name).map(requests);
            [text(status.allocated_resources), requests(status)].map(|reported| (asked, reported))
        });
        reports.all(|(asked, reported)| reported.is_none() || asked.is_none_or(|asked| asked == reported))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(status: Value, settled: bool) {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p"},
            "spec": {
                "nodeName": "n", "schedulerName": "s", "schedulingGates": [],
                "containers": [{"name": "c", "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}, {"name": "d"}],
            },
            "status": {"phase": "Running", "containerStatuses": status},
        }))
        .expect("a pod");
        let cached = Cached::of(&pod);
        let glance = Glance::of(&cached).expect("a pod");
        assert_eq!((glance.node_name(), glance.is_terminal(), glance.scheduler()), ("n", false, "s"));
        assert!(!glance.is_gated());
        assert_eq!((glance.is_settled(), pods::is_settled(&pod)), (settled, settled));
    }

    fn status(name: &str, extra: &Value) -> Value {
        let mut status =
            json!({"name": name, "image": "i", "imageID": "i", "ready": true, "restartCount": 0});
        for (key, value) in extra.as_object().into_iter().flatten() {
            status[key] = value.clone();
        }
        status
    }

    #[test]
    fn it_sees_what_reading_the_pod_would_say() {
        let asked = json!({"cpu": "1", "memory": "1Gi"});
        check(json!([]), true);
        check(json!([status("c", &json!({})), status("d", &json!({}))]), true);
        let both = json!({"allocatedResources": asked, "resources": {"requests": asked}});
        check(json!([status("c", &both), status("d", &json!({"resources": {}}))]), true);
        check(json!([status("c", &json!({"allocatedResources": {"cpu": "2", "memory": "1Gi"}}))]), false);
        check(json!([status("c", &json!({"resources": {"requests": {"cpu": "1"}}}))]), false);
        check(json!([status("d", &json!({"allocatedResources": {"cpu": "2"}}))]), false);
        check(json!([status("gone", &json!({"allocatedResources": {"cpu": "2"}}))]), true);
    }
}
