//! Pods and pod templates: the spec's own fields. Containers and volumes have their own files.

use api::Object;
use api::quantity::Quantity;
use serde_json::{Map, Value};

use super::{container, resource_list, volume};
use crate::fill::{self, Fields};

/// The lists of containers in a pod's spec.
const CONTAINERS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];
/// What a pod may ask for as a whole, besides huge pages.
const POD_LEVEL: [&str; 2] = ["cpu", "memory"];

/// A pod: what templates get, and what only pods get.
pub(crate) fn pod(object: &mut Object) {
    let Some(spec) = fill::object(&mut object.0, "spec") else { return };
    pod_spec(spec);
    // Pods of before the API refused it have one, and it counts as this (upstream's strategy).
    if spec.get("terminationGracePeriodSeconds").and_then(Value::as_i64).is_some_and(|seconds| seconds < 0) {
        spec.insert("terminationGracePeriodSeconds".to_owned(), 1.into());
    }
    for list in ["containers", "initContainers"] {
        for container in fill::items(spec, list) {
            if let Some(resources) = fill::within(container, "resources") {
                resource_list::complete(resources, "limits", "requests");
            }
        }
    }
    pod_level_requests(spec);
    fill::value(spec, "enableServiceLinks", true);
    if spec.get("hostNetwork").and_then(Value::as_bool) == Some(true) {
        for list in ["containers", "initContainers"] {
            for container in fill::items(spec, list) {
                container::host_ports(container);
            }
        }
    }
    fill_hosts_from_ips(object);
}

/// A `PodTemplate` object.
pub(crate) fn pod_template(object: &mut Object) {
    template(&mut object.0);
}

/// The pod template under `template`, which is made if need be.
pub(super) fn template(map: &mut Fields) {
    fill::object(map, "template");
    given_template(map);
}

/// The pod template under `template`, where there is one.
pub(super) fn given_template(map: &mut Fields) {
    let spec = fill::within(map, "template").and_then(|template| fill::object(template, "spec"));
    if let Some(spec) = spec {
        pod_spec(spec);
    }
}

fn pod_spec(spec: &mut Fields) {
    fill::text(spec, "dnsPolicy", "ClusterFirst");
    fill::text(spec, "restartPolicy", "Always");
    fill::value(spec, "securityContext", Map::new());
    fill::value(spec, "terminationGracePeriodSeconds", 30);
    fill::text(spec, "schedulerName", "default-scheduler");
    service_account(spec);
    for list in CONTAINERS {
        for item in fill::items(spec, list) {
            container::container(item);
        }
    }
    for item in fill::items(spec, "volumes") {
        volume::volume(item);
    }
    if let Some(resources) = fill::within(spec, "resources") {
        resource_list::round_requirements(resources);
    }
    resource_list::round(spec, "overhead");
}

/// The old name of the field has the same value as the new one.
fn service_account(spec: &mut Fields) {
    let new = fill::str_of(spec, "serviceAccountName");
    let old = fill::str_of(spec, "serviceAccount");
    if !new.is_empty() {
        if new != old {
            let name = new.to_owned();
            spec.insert("serviceAccount".into(), name.into());
        }
    } else if !old.is_empty() {
        let name = old.to_owned();
        spec.insert("serviceAccountName".into(), name.into());
    }
}

/// Requests of the pod as a whole: what its containers ask for, else the pod's limits.
fn pod_level_requests(spec: &mut Fields) {
    let limited = spec
        .get("resources")
        .is_some_and(|r| r.get("limits").and_then(Value::as_object).is_some_and(|limits| !limits.is_empty()));
    if !limited {
        return;
    }
    let asked: Vec<(&str, Quantity)> =
        POD_LEVEL.iter().filter_map(|name| Some((*name, container_requests(spec, name)?))).collect();
    let Some(resources) = fill::within(spec, "resources") else { return };
    if !asked.is_empty()
        && let Some(requests) = fill::object(resources, "requests")
    {
        for (name, amount) in asked {
            fill::value(requests, name, amount.to_string());
        }
    }
    resource_list::complete(resources, "limits", "requests");
}

/// What the containers of a pod need of a resource: the sum of those that run together, or the
/// largest of those that run before them. `None` when nobody asks for any.
fn container_requests(spec: &Fields, name: &str) -> Option<Quantity> {
    let request = |container: &Value| -> Option<Quantity> {
        container.get("resources")?.get("requests")?.get(name)?.as_str()?.parse().ok()
    };
    let list = |key: &str| spec.get(key).and_then(Value::as_array).into_iter().flatten();
    let (mut asked, mut total) = (false, Quantity::ZERO);
    for amount in list("containers").filter_map(request) {
        asked = true;
        total = total.plus(&amount);
    }
    let (mut sidecars, mut peak) = (Quantity::ZERO, Quantity::ZERO);
    for container in list("initContainers") {
        let Some(amount) = request(container) else { continue };
        asked = true;
        if container.get("restartPolicy").and_then(Value::as_str) == Some("Always") {
            total = total.plus(&amount);
            sidecars = sidecars.plus(&amount);
            peak = peak.max(sidecars);
        } else {
            peak = peak.max(sidecars.plus(&amount));
        }
    }
    asked.then(|| total.max(peak))
}

/// `status.podIP` and `status.hostIP` are the first of their lists, whichever of the two was given.
fn fill_hosts_from_ips(object: &mut Object) {
    let Some(status) = fill::within(&mut object.0, "status") else { return };
    for (one, many) in [("podIP", "podIPs"), ("hostIP", "hostIPs")] {
        let single = fill::str_of(status, one).to_owned();
        let first = status.get(many).and_then(|l| l.get(0)?.get("ip")?.as_str()).map(str::to_owned);
        match first {
            Some(first) if single.is_empty() => {
                status.insert(one.into(), first.into());
            }
            None if !single.is_empty() => {
                status.insert(many.into(), serde_json::json!([{"ip": single}]));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_negative_grace_period_counts_as_a_second() {
        let grace = |seconds: i64| {
            let pod = json!({"spec": {"containers": [], "terminationGracePeriodSeconds": seconds}});
            let mut pod = Object::from_value(pod).expect("an object");
            super::pod(&mut pod);
            pod.at(&["spec", "terminationGracePeriodSeconds"]).and_then(Value::as_i64)
        };
        assert_eq!([grace(-1), grace(0), grace(7)], [Some(1), Some(0), Some(7)]);
    }
}
