//! Pods: what a new one's status is, what a status update keeps, how long deletion may take.

mod own_labels;

use std::collections::HashMap;

use api::Object;
use api::field::ErrorList;
use serde_json::{Value, json};

use crate::columns;
use crate::defaults;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, Logic};
use crate::part::{PartHandler, Proxied};
use crate::qos::qos_class;
use crate::status;
use crate::validation::pod;

pub(in crate::kinds) fn kind() -> Kind {
    Kind::new("v1", "pods", Pod)
        .short("po")
        .category("all")
        .counts_changes()
        .updated_silently()
        .returns_deleted()
        .selectable("spec.hostNetwork")
        .selectable("spec.nodeName")
        .selectable("spec.restartPolicy")
        .selectable("spec.schedulerName")
        .selectable("spec.serviceAccountName")
        .selectable("status.nominatedNodeName")
        .selectable("status.phase")
        .selectable("status.podIP")
        // Taken, but no pod has a value there.
        .selectable("status.podIPs")
        // The name that the first clients of v1 used.
        .selectable_as("spec.host", "spec.nodeName")
        .printed(columns::pod::COLUMNS, columns::pod::cells)
        .row_conditions(columns::pod::row_conditions)
        .part("attach", PartHandler::Attach)
        .part("binding", PartHandler::Binding)
        .part("ephemeralcontainers", PartHandler::EphemeralContainers)
        .part("eviction", PartHandler::Eviction)
        .part("exec", PartHandler::Exec)
        .part("log", PartHandler::Log)
        .part("portforward", PartHandler::PortForward)
        .part("proxy", PartHandler::Proxy(Proxied::Pod))
        .part("resize", PartHandler::Resize)
}

struct Pod;

impl Logic for Pod {
    fn default(&self, object: &mut Object) {
        defaults::pod(object);
    }

    fn prepare_create(&self, object: &mut Object) {
        own_labels::select(object);
        prepare_new(object);
    }

    fn prepare_status_update(&self, new: &mut Object, old: &Object) {
        prepare_status_update(new, old);
    }

    fn validate(&self, object: &Object) -> ErrorList {
        pod::create(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Judged(&pod::update)
    }

    fn validate_status_update(&self, new: &Object, old: &Object) -> ErrorList {
        pod::status_update(new, old)
    }

    fn validate_part_update(&self, new: &Object, old: &Object) -> ErrorList {
        pod::part_update(new, old)
    }

    fn warnings(&self, object: &Object) -> Vec<String> {
        pod::warnings(object)
    }

    fn grace_period_s(&self, object: &Object, asked: Option<i64>) -> Option<i64> {
        Some(grace_s(object, asked))
    }
}

/// Nobody has seen the pod yet; its class of service is fixed.
fn prepare_new(pod: &mut Object) {
    let mut start = json!({"phase": "Pending", "qosClass": qos_class(pod)});
    let gated = pod.at(&["spec", "schedulingGates"]).and_then(Value::as_array).is_some_and(|g| !g.is_empty());
    if gated {
        start["conditions"] = json!([{
            "type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates",
        }]);
    }
    status::start(pod, start);
}

/// Keeps the spec, the owners, the class of service, and generations once observed.
fn prepare_status_update(new: &mut Object, old: &Object) {
    status::keep_all_but_status(new, old);
    status::keep_metadata(new, old, &["ownerReferences", "deletionTimestamp"]);
    for field in ["qosClass", "observedGeneration"] {
        let absent = new.at(&["status", field]).is_none_or(|v| v.as_str() == Some("") || *v == 0);
        if absent && let Some(value) = old.at(&["status", field]) {
            let value = value.clone();
            new.set_at(&["status", field], value);
        }
    }
    keep_condition_generations(new, old);
}

fn keep_condition_generations(new: &mut Object, old: &Object) {
    let conditions = |o: &Object| o.at(&["status", "conditions"]).and_then(Value::as_array).cloned();
    let Some(before) = conditions(old) else { return };
    let Some(mut after) = conditions(new) else { return };
    let text = |c: &Value| c.get("type").and_then(Value::as_str).unwrap_or("").to_owned();
    let mut observed: HashMap<String, Vec<&Value>> = HashMap::new();
    // The last one is taken first.
    for condition in before.iter().rev() {
        observed.entry(text(condition)).or_default().push(&condition["observedGeneration"]);
    }
    let mut changed = false;
    for condition in &mut after {
        let generation = observed.get_mut(&text(condition)).and_then(Vec::pop);
        let absent = condition.get("observedGeneration").and_then(Value::as_i64).unwrap_or(0) == 0;
        if absent
            && let Some(generation) = generation.filter(|g| !g.is_null())
            && let Some(fields) = condition.as_object_mut()
        {
            fields.insert("observedGeneration".into(), generation.clone());
            changed = true;
        }
    }
    if changed {
        new.set_at(&["status", "conditions"], after.into());
    }
}

/// The value of the request, else of the pod's spec; none for a pod without a node.
fn grace_s(pod: &Object, asked: Option<i64>) -> i64 {
    let scheduled = pod.str_at(&["spec", "nodeName"]).is_some_and(|n| !n.is_empty());
    let finished = matches!(pod.str_at(&["status", "phase"]), Some("Failed" | "Succeeded"));
    if !scheduled || finished {
        return 0;
    }
    let own = || pod.at(&["spec", "terminationGracePeriodSeconds"]).and_then(Value::as_i64).unwrap_or(0);
    match asked.unwrap_or_else(own) {
        negative if negative < 0 => 1,
        period => period,
    }
}
