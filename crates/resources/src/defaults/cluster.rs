//! Defaults of the kinds that make up a cluster and its namespaces: namespaces, nodes, secrets,
//! quotas, roles, priorities.

use api::Object;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::resource_list;
use crate::fill::{self, Fields};

/// The label every namespace carries its name in.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";
const RBAC_GROUP: &str = "rbac.authorization.k8s.io";

pub(crate) fn namespace(object: &mut Object) {
    if !object.name().is_empty() {
        let name = object.name().to_owned();
        if object.label(NAME_LABEL) != Some(&name)
            && let Some(labels) = fill::object(object.metadata_mut(), "labels")
        {
            labels.insert(NAME_LABEL.into(), name.into());
        }
    }
    if let Some(status) = fill::object(&mut object.0, "status") {
        fill::text(status, "phase", "Active");
    }
}

pub(crate) fn node(object: &mut Object) {
    if let Some(spec) = fill::within(&mut object.0, "spec") {
        agree_on_cidr(spec);
    }
    let Some(status) = fill::within(&mut object.0, "status") else { return };
    resource_list::round(status, "capacity");
    if status.get("allocatable").is_none_or(Value::is_null)
        && let Some(capacity) = status.get("capacity").cloned()
    {
        status.insert("allocatable".into(), capacity);
    }
    resource_list::round(status, "allocatable");
}

/// The old single range and the first of the list are one: clients that know only the single one win.
fn agree_on_cidr(spec: &mut Fields) {
    let single = spec.get("podCIDR").and_then(Value::as_str).filter(|c| !c.is_empty()).map(str::to_owned);
    let first = spec.get("podCIDRs").and_then(|list| list.get(0)).and_then(Value::as_str).map(str::to_owned);
    match (single, first) {
        (Some(single), first) if first.as_ref() != Some(&single) => {
            spec.insert("podCIDRs".into(), json!([single]));
        }
        (None, Some(first)) => {
            spec.insert("podCIDR".into(), first.into());
        }
        _ => {}
    }
}

/// The type, and `stringData` written into `data`, which it never comes out of again.
pub(crate) fn secret(object: &mut Object) {
    fill::text(&mut object.0, "type", "Opaque");
    let Some(plain) = object.0.remove("stringData") else { return };
    let Value::Object(plain) = plain else { return };
    let Some(data) = fill::object(&mut object.0, "data") else { return };
    for (key, value) in plain {
        data.insert(key, STANDARD.encode(value.as_str().unwrap_or("")).into());
    }
}

pub(crate) fn resource_quota(object: &mut Object) {
    if let Some(spec) = fill::within(&mut object.0, "spec") {
        resource_list::round(spec, "hard");
    }
    if let Some(status) = fill::within(&mut object.0, "status") {
        resource_list::round(status, "hard");
        resource_list::round(status, "used");
    }
}

pub(crate) fn limit_range(object: &mut Object) {
    let Some(spec) = fill::within(&mut object.0, "spec") else { return };
    for item in fill::items(spec, "limits") {
        for key in ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"] {
            resource_list::round(item, key);
        }
        if fill::str_of(item, "type") == "Container" {
            resource_list::complete(item, "max", "default");
            resource_list::complete(item, "default", "defaultRequest");
            resource_list::complete(item, "min", "defaultRequest");
        }
    }
}

/// Role bindings of both scopes.
pub(crate) fn role_binding(object: &mut Object) {
    if let Some(role) = fill::within(&mut object.0, "roleRef") {
        fill::text(role, "apiGroup", RBAC_GROUP);
    }
    for subject in fill::items(&mut object.0, "subjects") {
        if matches!(fill::str_of(subject, "kind"), "User" | "Group") {
            fill::text(subject, "apiGroup", RBAC_GROUP);
        }
    }
}

pub(crate) fn priority_class(object: &mut Object) {
    fill::value(&mut object.0, "preemptionPolicy", "PreemptLowerPriority");
}

pub(crate) fn flow_schema(object: &mut Object) {
    if let Some(spec) = fill::object(&mut object.0, "spec") {
        fill::number(spec, "matchingPrecedence", 1000);
    }
}

pub(crate) fn priority_level(object: &mut Object) {
    let Some(spec) = fill::object(&mut object.0, "spec") else { return };
    if let Some(exempt) = fill::within(spec, "exempt") {
        shares(exempt, 0);
    }
    let Some(limited) = fill::within(spec, "limited") else { return };
    shares(limited, 30);
    let queuing = fill::within(limited, "limitResponse").and_then(|r| fill::within(r, "queuing"));
    if let Some(queuing) = queuing {
        fill::number(queuing, "handSize", 8);
        fill::number(queuing, "queues", 64);
        fill::number(queuing, "queueLengthLimit", 50);
    }
}

fn shares(level: &mut Fields, nominal: i64) {
    fill::value(level, "nominalConcurrencyShares", nominal);
    fill::value(level, "lendablePercent", 0);
}
