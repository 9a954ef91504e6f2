//! The requests and limits that a limit range gives the containers that name none.

use std::collections::BTreeMap;

use api::Object;
use k8s_openapi::api::core::v1::LimitRange;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::{Map, Value};

/// Says what was set.
const ANNOTATION: &str = "kubernetes.io/limit-ranger";

type List = BTreeMap<String, Quantity>;

/// Gives each container what it lacks, and notes in an annotation what was given.
pub(super) fn give(pod: &mut Object, range: &LimitRange) {
    let (requests, limits) = of(range);
    if requests.is_empty() && limits.is_empty() {
        return;
    }
    let mut notes = Vec::new();
    for (field, prefix) in [("containers", "container"), ("initContainers", "init container")] {
        let Some(containers) = pod.0.get_mut("spec").and_then(|spec| spec.get_mut(field)) else { continue };
        for container in containers.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
            let name = container.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
            let resources = api::object::object_entry(container, "resources");
            // Limits first, as upstream: both are said in the order request, limit.
            let limited = add(resources, "limits", &limits);
            let requested = add(resources, "requests", &requests);
            if resources.is_empty() {
                container.remove("resources");
            }
            for (side, set) in [("request", requested), ("limit", limited)] {
                if !set.is_empty() {
                    notes.push(format!("{} {side} for {prefix} {name}", set.join(", ")));
                }
            }
        }
    }
    if !notes.is_empty() {
        let text = format!("LimitRanger plugin set: {}", notes.join("; "));
        pod.set_at(&["metadata", "annotations", ANNOTATION], text.into());
    }
}

/// The default requests and limits of all the range's items for containers: the last that names a resource counts.
fn of(range: &LimitRange) -> (List, List) {
    let (mut requests, mut limits) = (List::new(), List::new());
    let items = range.spec.iter().flat_map(|spec| &spec.limits);
    for item in items.filter(|item| item.type_ == "Container") {
        requests.extend(item.default_request.clone().unwrap_or_default());
        limits.extend(item.default.clone().unwrap_or_default());
    }
    (requests, limits)
}

/// Adds what is missing; returns the names, in order.
fn add(resources: &mut Map<String, Value>, side: &str, defaults: &List) -> Vec<String> {
    let given = resources.get(side).and_then(Value::as_object);
    let missing: Vec<_> =
        defaults.iter().filter(|(name, _)| given.is_none_or(|list| !list.contains_key(*name))).collect();
    if missing.is_empty() {
        return Vec::new();
    }
    let list = api::object::object_entry(resources, side);
    missing
        .into_iter()
        .map(|(name, amount)| {
            list.insert(name.clone(), amount.0.as_str().into());
            name.clone()
        })
        .collect()
}
