//! HorizontalPodAutoscaler, of `autoscaling/v2` and `v1`.

use serde_json::Value;

use super::events;
use super::fields::Fields as _;
use super::metadata;
use super::related::DescribeError;
use super::text::{Text, put};
use super::view::View;
use crate::printing::go_text;

const UNKNOWN: &str = "<unknown>";

pub fn write(view: &View<'_>, text: &mut Text) -> Result<(), DescribeError> {
    let scaler = view.object;
    metadata::head(text, scaler);
    put!(text, 0, "CreationTimestamp:\t{}", view.time(scaler.at("metadata.creationTimestamp")));
    let target = scaler.text("spec.scaleTargetRef.kind");
    put!(text, 0, "Reference:\t{target}/{}", scaler.text("spec.scaleTargetRef.name"));
    if scaler.text("apiVersion") == "autoscaling/v1" {
        processor_target(text, scaler);
    } else {
        put!(text, 0, "Metrics:\t( current / target )");
        let current = scaler.items("status.currentMetrics");
        for (index, metric) in scaler.items("spec.metrics").iter().enumerate() {
            self::metric(text, metric, current.get(index).unwrap_or(&Value::Null));
        }
    }
    let least = scaler.at("spec.minReplicas").and_then(Value::as_i64);
    put!(text, 0, "Min replicas:\t{}", least.map_or_else(|| "<unset>".to_owned(), |n| n.to_string()));
    put!(text, 0, "Max replicas:\t{}", scaler.number("spec.maxReplicas"));
    if scaler.has("spec.behavior") {
        put!(text, 0, "Behavior:");
        for (title, path) in
            [("Scale Up", "spec.behavior.scaleUp"), ("Scale Down", "spec.behavior.scaleDown")]
        {
            if let Some(rules) = scaler.at(path) {
                behavior(text, title, rules);
            }
        }
    }
    let (current, desired) =
        (scaler.number("status.currentReplicas"), scaler.number("status.desiredReplicas"));
    put!(text, 0, "{target} pods:\t{current} current / {desired} desired");
    conditions(text, scaler);
    events::write(view, text);
    Ok(())
}

/// Version 1 knows the processors' use only.
fn processor_target(text: &mut Text, scaler: &Value) {
    if !scaler.has("spec.targetCPUUtilizationPercentage") {
        return;
    }
    put!(text, 0, "Target CPU utilization:\t{}%", scaler.number("spec.targetCPUUtilizationPercentage"));
    let current = scaler.at("status.currentCPUUtilizationPercentage").and_then(Value::as_i64);
    put!(
        text,
        0,
        "Current CPU utilization:\t{}%",
        current.map_or_else(|| UNKNOWN.to_owned(), |n| n.to_string())
    );
}

fn metric(text: &mut Text, metric: &Value, status: &Value) {
    match metric.text("type") {
        "External" => {
            let (spec, current) = parts(metric, status, "external");
            let name = go_text::quote(spec.text("metric.name"));
            if spec.has("target.averageValue") {
                let current =
                    current.and_then(|c| c.at("current.averageValue")).map_or(UNKNOWN.to_owned(), amount);
                let target = spec.quantity("target.averageValue");
                put!(text, 1, "{name} (target average value):\t{current} / {target}");
            } else {
                let (current, target) = values(spec, current, "value");
                put!(text, 1, "{name} (target value):\t{current} / {target}");
            }
        }
        "Pods" => {
            let (spec, current) = parts(metric, status, "pods");
            let (current, target) = values(spec, current, "averageValue");
            put!(text, 1, "{} on pods:\t{current} / {target}", go_text::quote(spec.text("metric.name")));
        }
        "Object" => {
            let (spec, current) = parts(metric, status, "object");
            let name = spec.text("metric.name");
            let (kind, object) = (spec.text("describedObject.kind"), spec.text("describedObject.name"));
            let average = spec.text("target.type") == "AverageValue";
            let (current, target) = values(spec, current, if average { "averageValue" } else { "value" });
            let title = if average { "target average value" } else { "target value" };
            put!(text, 1, "\"{name}\" on {kind}/{object} ({title}):\t{current} / {target}");
        }
        "Resource" => {
            let (spec, current) = parts(metric, status, "resource");
            resource(text, &format!("resource {} on pods", spec.text("name")), spec, current);
        }
        "ContainerResource" => {
            let (spec, current) = parts(metric, status, "containerResource");
            let (name, container) = (spec.text("name"), spec.text("container"));
            resource(text, &format!("resource {name} of container \"{container}\" on pods"), spec, current);
        }
        other => put!(text, 1, "<unknown metric type {}>", go_text::quote(other)),
    }
}

/// What is wanted and what is: of one kind of metric.
fn parts<'a>(metric: &'a Value, status: &'a Value, field: &str) -> (&'a Value, Option<&'a Value>) {
    (metric.at(field).unwrap_or(&Value::Null), status.at(field))
}

fn amount(value: &Value) -> String {
    super::fields::quantity(Some(value)).to_string()
}

/// Missing amounts are nil pointers in upstream, which print so.
fn amount_or_nil(holder: &Value, path: &str) -> String {
    holder.at(path).map_or_else(|| "<nil>".to_owned(), amount)
}

fn values(spec: &Value, current: Option<&Value>, field: &str) -> (String, String) {
    let current =
        current.map_or_else(|| UNKNOWN.to_owned(), |c| amount_or_nil(c, &format!("current.{field}")));
    (current, amount_or_nil(spec, &format!("target.{field}")))
}

fn resource(text: &mut Text, title: &str, spec: &Value, current: Option<&Value>) {
    if spec.has("target.averageValue") {
        let (current, target) = values(spec, current, "averageValue");
        put!(text, 1, "{title}:\t{current} / {target}");
        return;
    }
    let percent = current.and_then(|c| c.at("current.averageUtilization")).and_then(Value::as_i64);
    let shown = match (percent, current) {
        (Some(percent), Some(current)) => {
            format!("{percent}% ({})", amount_or_nil(current, "current.averageValue"))
        }
        _ => UNKNOWN.to_owned(),
    };
    let target = spec.at("target.averageUtilization").and_then(Value::as_i64);
    let target = target.map_or_else(|| "<auto>".to_owned(), |percent| format!("{percent}%"));
    put!(text, 1, "{title}  (as a percentage of request):\t{shown} / {target}");
}

fn behavior(text: &mut Text, title: &str, rules: &Value) {
    put!(text, 1, "{title}:");
    if rules.has("stabilizationWindowSeconds") {
        put!(text, 2, "Stabilization Window: {} seconds", rules.number("stabilizationWindowSeconds"));
    }
    let policies = rules.items("policies");
    if policies.is_empty() {
        return;
    }
    let select = rules.at("selectPolicy").and_then(Value::as_str).unwrap_or("Max");
    put!(text, 2, "Select Policy: {select}");
    put!(text, 2, "Policies:");
    for policy in policies {
        let (kind, value, period) =
            (policy.text("type"), policy.number("value"), policy.number("periodSeconds"));
        put!(text, 3, "- Type: {kind}\tValue: {value}\tPeriod: {period} seconds");
    }
}

fn conditions(text: &mut Text, scaler: &Value) {
    let conditions = scaler.items("status.conditions");
    if conditions.is_empty() || scaler.text("apiVersion") == "autoscaling/v1" {
        return;
    }
    put!(text, 0, "Conditions:");
    put!(text, 1, "Type\tStatus\tReason\tMessage");
    put!(text, 1, "----\t------\t------\t-------");
    for condition in conditions {
        let (kind, status) = (condition.text("type"), condition.text("status"));
        put!(text, 1, "{kind}\t{status}\t{}\t{}", condition.text("reason"), condition.text("message"));
    }
}
