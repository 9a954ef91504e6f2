//! Defaults of the kinds that extend the API: admission webhooks and policies, aggregated APIs,
//! custom resources, claims of devices.

use api::Object;
use serde_json::{Value, json};

use crate::fill::{self, Fields};

/// Webhook configurations of both sorts.
pub(crate) fn webhooks(object: &mut Object) {
    let mutating = object.kind() == "MutatingWebhookConfiguration";
    for webhook in fill::items(&mut object.0, "webhooks") {
        fill::value(webhook, "failurePolicy", "Fail");
        fill::value(webhook, "timeoutSeconds", 10);
        match_rules(webhook, "rules");
        if mutating {
            fill::value(webhook, "reinvocationPolicy", "Never");
        }
        let client = fill::within(webhook, "clientConfig");
        if let Some(service) = client.and_then(|c| fill::within(c, "service")) {
            fill::value(service, "port", 443);
        }
    }
}

/// What objects a webhook or policy is asked about.
fn match_rules(map: &mut Fields, rules: &str) {
    fill::value(map, "matchPolicy", "Equivalent");
    fill::value(map, "namespaceSelector", json!({}));
    fill::value(map, "objectSelector", json!({}));
    for key in [rules, "excludeResourceRules"] {
        for rule in fill::items(map, key) {
            fill::value(rule, "scope", "*");
        }
    }
}

/// Admission policies of both sorts.
pub(crate) fn admission_policy(object: &mut Object) {
    let Some(spec) = fill::object(&mut object.0, "spec") else { return };
    fill::value(spec, "failurePolicy", "Fail");
    if let Some(constraints) = fill::within(spec, "matchConstraints") {
        match_rules(constraints, "resourceRules");
    }
}

/// Bindings of admission policies of both sorts.
pub(crate) fn admission_policy_binding(object: &mut Object) {
    let Some(spec) = fill::object(&mut object.0, "spec") else { return };
    if let Some(resources) = fill::within(spec, "matchResources") {
        match_rules(resources, "resourceRules");
    }
}

pub(crate) fn api_service(object: &mut Object) {
    let service = fill::within(&mut object.0, "spec").and_then(|s| fill::within(s, "service"));
    if let Some(service) = service {
        fill::value(service, "port", 443);
    }
}

pub(crate) fn custom_resource_definition(object: &mut Object) {
    let Some(spec) = fill::object(&mut object.0, "spec") else { return };
    if let Some(names) = fill::within(spec, "names") {
        let kind = fill::str_of(names, "kind").to_owned();
        fill::text(names, "singular", &kind.to_lowercase());
        if !kind.is_empty() {
            fill::text(names, "listKind", &format!("{kind}List"));
        }
    }
    let Some(conversion) = fill::object(spec, "conversion") else { return };
    fill::text(conversion, "strategy", "None");
    let client = fill::within(conversion, "webhook").and_then(|w| fill::within(w, "clientConfig"));
    if let Some(service) = client.and_then(|c| fill::within(c, "service")) {
        fill::value(service, "port", 443);
    }
}

pub(crate) fn device_claim(object: &mut Object) {
    if let Some(spec) = fill::within(&mut object.0, "spec") {
        device_requests(spec);
    }
}

pub(crate) fn device_claim_template(object: &mut Object) {
    let template = fill::within(&mut object.0, "spec");
    if let Some(spec) = template.and_then(|t| fill::within(t, "spec")) {
        device_requests(spec);
    }
}

fn device_requests(spec: &mut Fields) {
    let Some(devices) = fill::within(spec, "devices") else { return };
    for request in fill::items(devices, "requests") {
        if let Some(exactly) = fill::within(request, "exactly") {
            device_count(exactly);
        }
        for alternative in fill::items(request, "firstAvailable") {
            device_count(alternative);
        }
    }
}

fn device_count(request: &mut Fields) {
    fill::text(request, "allocationMode", "ExactCount");
    if request.get("allocationMode").and_then(Value::as_str) == Some("ExactCount") {
        fill::number(request, "count", 1);
    }
}
