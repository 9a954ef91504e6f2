//! Horizontal pod autoscalers: what is measured against what is wanted.

use api::Object;
use jiff::Timestamp;
use serde_json::Value;

use super::read::{age, field, items, number, text};
use super::{AGE, Column, NAME, column};

/// How many metrics a row shows before it only counts them.
const SHOWN: usize = 2;

pub(crate) const COLUMNS: &[Column] = &[
    NAME,
    column("Reference", "string", "The target resource to scale."),
    column("Targets", "string", "The metrics that decide about the number of replicas."),
    column("MinPods", "string", "The lower limit for the number of replicas."),
    column("MaxPods", "string", "The upper limit for the number of replicas."),
    column("Replicas", "string", "The current number of replicas."),
    AGE,
];

pub(crate) fn cells(o: &Object, now: Timestamp) -> Vec<Value> {
    let target = |key: &str| text(o, &["spec", "scaleTargetRef", key]);
    let min = o.at(&["spec", "minReplicas"]).and_then(Value::as_i64);
    vec![
        o.name().into(),
        format!("{}/{}", target("kind"), target("name")).into(),
        metrics(o).into(),
        min.map_or_else(|| "<unset>".into(), |n| n.to_string()).into(),
        number(o, &["spec", "maxReplicas"]).into(),
        number(o, &["status", "currentReplicas"]).into(),
        age(o, now),
    ]
}

fn metrics(o: &Object) -> String {
    let current = items(o, &["status", "currentMetrics"]);
    let all: Vec<String> =
        items(o, &["spec", "metrics"]).iter().enumerate().map(|(i, m)| metric(m, current.get(i))).collect();
    let all = if all.is_empty() { first_version(o) } else { all };
    let shown = all[..all.len().min(SHOWN)].join(", ");
    match all.len() {
        0 => "<none>".into(),
        n if n > SHOWN => format!("{shown} + {} more...", n - SHOWN),
        _ => shown,
    }
}

/// autoscaling/v1 knows a CPU percentage only.
fn first_version(o: &Object) -> Vec<String> {
    let percent = |path: &[&str]| o.at(path).and_then(Value::as_i64).map(|n| format!("{n}%"));
    let Some(target) = percent(&["spec", "targetCPUUtilizationPercentage"]) else { return Vec::new() };
    let current = percent(&["status", "currentCPUUtilizationPercentage"]);
    vec![format!("cpu: {}/{target}", current.unwrap_or_else(|| "<unknown>".into()))]
}

fn metric(spec: &Value, status: Option<&Value>) -> String {
    let (key, named) = match field(spec, "type") {
        "Resource" => ("resource", true),
        "ContainerResource" => ("containerResource", true),
        "Pods" => ("pods", false),
        "Object" => ("object", false),
        "External" => ("external", false),
        _ => return "<unknown type>".into(),
    };
    let source = &spec[key];
    let current = status.and_then(|s| s.get(key)).and_then(|s| s.get("current"));
    let current = |what: &str| current.and_then(|c| c.get(what)).and_then(amount);
    let unknown = || "<unknown>".to_owned();
    let average = amount(&source["target"]["averageValue"]);
    if named {
        let name = field(source, "name");
        return match average {
            Some(target) => format!("{name}: {}/{target}", current("averageValue").unwrap_or_else(unknown)),
            None => {
                let percent = |n: Option<String>, absent: &str| n.map_or_else(|| absent.into(), |n| n + "%");
                let target = percent(amount(&source["target"]["averageUtilization"]), "<auto>");
                format!("{name}: {}/{target}", percent(current("averageUtilization"), "<unknown>"))
            }
        };
    }
    match (average, key) {
        (Some(target), "pods") => format!("{}/{target}", current("averageValue").unwrap_or_else(unknown)),
        (Some(target), _) => format!("{}/{target} (avg)", current("averageValue").unwrap_or_else(unknown)),
        (None, _) => {
            let target = amount(&source["target"]["value"]).unwrap_or_else(|| "0".into());
            format!("{}/{target}", current("value").unwrap_or_else(unknown))
        }
    }
}

/// A quantity, written as a string or a number.
fn amount(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
