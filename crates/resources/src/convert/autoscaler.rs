//! HorizontalPodAutoscaler: autoscaling/v1 knows one CPU target; what else v2 says travels in
//! annotations (upstream's names), in v2's own form.

use api::Object;
use serde_json::{Map, Value, json};

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

pub(super) fn to_v2(autoscaler: &mut Object) {
    autoscaler.0.insert("apiVersion".into(), "autoscaling/v2".into());
    let mut metrics = take_list(autoscaler, METRICS);
    if let Some(percent) = autoscaler.remove_at(&["spec", "targetCPUUtilizationPercentage"]) {
        let target = json!({"type": "Utilization", "averageUtilization": percent});
        metrics.insert(0, json!({"type": "Resource", "resource": {"name": "cpu", "target": target}}));
    }
    set_list(autoscaler, &["spec", "metrics"], metrics);
    let mut current = take_list(autoscaler, CURRENT_METRICS);
    if let Some(percent) = autoscaler.remove_at(&["status", "currentCPUUtilizationPercentage"]) {
        let value = json!({"averageUtilization": percent, "averageValue": "0"});
        // If v2 was written first, the annotation has the same information and more.
        if !current.iter().any(|m| cpu_percent(m, "current").is_some()) {
            current.insert(0, json!({"type": "Resource", "resource": {"name": "cpu", "current": value}}));
        }
    }
    set_list(autoscaler, &["status", "currentMetrics"], current);
    let conditions = take_list(autoscaler, CONDITIONS);
    set_list(autoscaler, &["status", "conditions"], conditions);
    if let Some(behavior) = take_annotation(autoscaler, BEHAVIOR) {
        autoscaler.set_at(&["spec", "behavior"], behavior);
    }
}

pub(super) fn to_v1(autoscaler: &mut Object) {
    autoscaler.0.insert("apiVersion".into(), "autoscaling/v1".into());
    let mut metrics = remove_list(autoscaler, &["spec", "metrics"]);
    // Only a first metric: the order of the others must survive the way back.
    if let Some(percent) = metrics.first().and_then(|m| cpu_percent(m, "target")).cloned() {
        metrics.remove(0);
        autoscaler.set_at(&["spec", "targetCPUUtilizationPercentage"], percent);
    }
    annotate(autoscaler, METRICS, metrics);
    let current = remove_list(autoscaler, &["status", "currentMetrics"]);
    if let Some(percent) = current.iter().find_map(|m| cpu_percent(m, "current")).cloned() {
        autoscaler.set_at(&["status", "currentCPUUtilizationPercentage"], percent);
    }
    annotate(autoscaler, CURRENT_METRICS, current);
    let conditions = remove_list(autoscaler, &["status", "conditions"]);
    annotate(autoscaler, CONDITIONS, conditions);
    if let Some(behavior) = autoscaler.remove_at(&["spec", "behavior"]) {
        set_annotation(autoscaler, BEHAVIOR, &behavior);
    }
}

/// The utilization a CPU metric aims at (`target`) or has (`current`).
fn cpu_percent<'a>(metric: &'a Value, key: &str) -> Option<&'a Value> {
    let resource = metric.get("resource")?;
    (metric.get("type")? == "Resource" && resource.get("name")? == "cpu").then_some(())?;
    resource.get(key)?.get("averageUtilization")
}

fn take_annotation(object: &mut Object, key: &str) -> Option<Value> {
    let text = object.annotation(key)?;
    // What is no JSON was not written by a conversion: it stays an annotation.
    let value = serde_json::from_str(text).ok()?;
    let emptied = {
        let annotations = object.metadata_mut().get_mut("annotations").and_then(Value::as_object_mut)?;
        annotations.remove(key);
        annotations.is_empty()
    };
    if emptied {
        object.metadata_mut().remove("annotations");
    }
    Some(value)
}

fn take_list(object: &mut Object, key: &str) -> Vec<Value> {
    match take_annotation(object, key) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}

fn set_annotation(object: &mut Object, key: &str, value: &Value) {
    let annotations = object.metadata_mut().entry("annotations").or_insert_with(|| Value::Object(Map::new()));
    if let Value::Object(annotations) = annotations {
        annotations.insert(key.into(), value.to_string().into());
    }
}

fn annotate(object: &mut Object, key: &str, items: Vec<Value>) {
    if !items.is_empty() {
        set_annotation(object, key, &Value::Array(items));
    }
}

fn remove_list(object: &mut Object, path: &[&str]) -> Vec<Value> {
    match object.remove_at(path) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}

fn set_list(object: &mut Object, path: &[&str], items: Vec<Value>) {
    if !items.is_empty() {
        object.set_at(path, Value::Array(items));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> Object {
        Object::from_value(value).expect("an object")
    }

    #[test]
    fn a_cpu_target_is_a_plain_field_of_v1() {
        let v1 = json!({
            "apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "a"},
            "spec": {"maxReplicas": 3, "targetCPUUtilizationPercentage": 70},
        });
        let mut o = object(v1.clone());
        to_v2(&mut o);
        let target = &o.at(&["spec", "metrics"]).expect("converted")[0]["resource"]["target"];
        assert_eq!(target, &json!({"type": "Utilization", "averageUtilization": 70}));
        to_v1(&mut o);
        assert_eq!(o.into_value(), v1);
    }

    #[test]
    fn the_rest_of_v2_survives_v1() {
        let v2 = json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "a"},
            "spec": {"maxReplicas": 3, "behavior": {"scaleUp": {"stabilizationWindowSeconds": 3}}, "metrics": [
                {"type": "Pods", "pods": {"metric": {"name": "m"}, "target": {"type": "AverageValue", "averageValue": "1"}}},
                {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 5}}},
            ]},
            "status": {"desiredReplicas": 1, "conditions": [{"type": "AbleToScale", "status": "True"}], "currentMetrics": [
                {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 5, "averageValue": "3m"}}},
            ]},
        });
        let mut o = object(v2.clone());
        to_v1(&mut o);
        assert_eq!(o.at(&["status", "currentCPUUtilizationPercentage"]), Some(&json!(5)));
        to_v2(&mut o);
        assert_eq!(o.into_value(), v2);
    }

    #[test]
    fn a_broken_annotation_stays_one() {
        let mut o = object(json!({"metadata": {"annotations": {METRICS: "{"}}, "spec": {}}));
        to_v2(&mut o);
        assert_eq!(o.annotation(METRICS), Some("{"));
    }
}
