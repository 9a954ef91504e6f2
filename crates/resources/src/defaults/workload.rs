//! Defaults of the kinds that run pods: replication controllers, the apps and batch groups, autoscalers.

use api::Object;
use serde_json::{Value, json};

use super::{claim, pod};
use crate::fill::{self, Fields};

fn spec_of(object: &mut Object) -> Option<&mut Fields> {
    fill::object(&mut object.0, "spec")
}

/// The labels of the object's pod template, where it has any.
fn template_labels(object: &Object) -> Option<Value> {
    let labels = object.at(&["spec", "template", "metadata", "labels"])?;
    labels.as_object().is_some_and(|l| !l.is_empty()).then(|| labels.clone())
}

pub(crate) fn replication_controller(object: &mut Object) {
    if let Some(labels) = template_labels(object) {
        if let Some(spec) = spec_of(object)
            && fill::is_empty(spec, "selector")
        {
            spec.insert("selector".into(), labels.clone());
        }
        let metadata = object.metadata_mut();
        if fill::is_empty(metadata, "labels") {
            metadata.insert("labels".into(), labels);
        }
    }
    let Some(spec) = spec_of(object) else { return };
    fill::value(spec, "replicas", 1);
    pod::given_template(spec);
}

pub(crate) fn replica_set(object: &mut Object) {
    replicas(object);
}

fn replicas(object: &mut Object) {
    let Some(spec) = spec_of(object) else { return };
    fill::value(spec, "replicas", 1);
    pod::template(spec);
}

pub(crate) fn deployment(object: &mut Object) {
    replicas(object);
    let Some(spec) = spec_of(object) else { return };
    fill::value(spec, "revisionHistoryLimit", 10);
    fill::value(spec, "progressDeadlineSeconds", 600);
    let Some(strategy) = fill::object(spec, "strategy") else { return };
    fill::text(strategy, "type", "RollingUpdate");
    if fill::str_of(strategy, "type") == "RollingUpdate"
        && let Some(rolling) = fill::object(strategy, "rollingUpdate")
    {
        fill::value(rolling, "maxUnavailable", "25%");
        fill::value(rolling, "maxSurge", "25%");
    }
}

pub(crate) fn daemon_set(object: &mut Object) {
    let Some(spec) = spec_of(object) else { return };
    pod::template(spec);
    fill::value(spec, "revisionHistoryLimit", 10);
    let Some(strategy) = fill::object(spec, "updateStrategy") else { return };
    fill::text(strategy, "type", "RollingUpdate");
    if fill::str_of(strategy, "type") == "RollingUpdate"
        && let Some(rolling) = fill::object(strategy, "rollingUpdate")
    {
        fill::value(rolling, "maxUnavailable", 1);
        fill::value(rolling, "maxSurge", 0);
    }
}

pub(crate) fn stateful_set(object: &mut Object) {
    replicas(object);
    let Some(spec) = spec_of(object) else { return };
    fill::text(spec, "podManagementPolicy", "OrderedReady");
    fill::value(spec, "revisionHistoryLimit", 10);
    if let Some(strategy) = fill::object(spec, "updateStrategy") {
        if fill::str_of(strategy, "type").is_empty() {
            strategy.insert("type".into(), "RollingUpdate".into());
            fill::value(strategy, "rollingUpdate", json!({}));
        }
        if fill::str_of(strategy, "type") == "RollingUpdate"
            && let Some(rolling) = fill::within(strategy, "rollingUpdate")
        {
            fill::value(rolling, "partition", 0);
        }
    }
    if let Some(retention) = fill::object(spec, "persistentVolumeClaimRetentionPolicy") {
        fill::text(retention, "whenDeleted", "Retain");
        fill::text(retention, "whenScaled", "Retain");
    }
    for claim in fill::items(spec, "volumeClaimTemplates") {
        fill::text(claim, "apiVersion", "v1");
        fill::text(claim, "kind", "PersistentVolumeClaim");
        claim::claim(claim);
    }
}

pub(crate) fn job(object: &mut Object) {
    if let Some(labels) = template_labels(object) {
        let metadata = object.metadata_mut();
        if fill::is_empty(metadata, "labels") {
            metadata.insert("labels".into(), labels);
        }
    }
    let Some(spec) = spec_of(object) else { return };
    pod::template(spec);
    let present = |key: &str| spec.get(key).is_some_and(|v| !v.is_null());
    if !present("completions") && !present("parallelism") {
        spec.insert("completions".into(), 1.into());
    }
    fill::value(spec, "parallelism", 1);
    let per_index = spec.get("backoffLimitPerIndex").is_some_and(|v| !v.is_null());
    fill::value(spec, "backoffLimit", if per_index { i32::MAX } else { 6 });
    fill::value(spec, "completionMode", "NonIndexed");
    fill::value(spec, "suspend", false);
    fill::value(spec, "manualSelector", false);
    let failure_policy = spec.get("podFailurePolicy").is_some_and(Value::is_object);
    let replacement = if failure_policy { "Failed" } else { "TerminatingOrFailed" };
    fill::value(spec, "podReplacementPolicy", replacement);
    if let Some(policy) = fill::within(spec, "podFailurePolicy") {
        for rule in fill::items(policy, "rules") {
            for condition in fill::items(rule, "onPodConditions") {
                fill::text(condition, "status", "True");
            }
        }
    }
}

pub(crate) fn cron_job(object: &mut Object) {
    let Some(spec) = spec_of(object) else { return };
    fill::text(spec, "concurrencyPolicy", "Allow");
    fill::value(spec, "suspend", false);
    fill::value(spec, "successfulJobsHistoryLimit", 3);
    fill::value(spec, "failedJobsHistoryLimit", 1);
    if let Some(job) = fill::object(spec, "jobTemplate").and_then(|t| fill::object(t, "spec")) {
        pod::template(job);
    }
}

/// Both versions; the old one's target is optional.
pub(crate) fn autoscaler(object: &mut Object) {
    let old_version = object.api_version() == "autoscaling/v1";
    let Some(spec) = spec_of(object) else { return };
    fill::value(spec, "minReplicas", 1);
    if old_version {
        return;
    }
    if fill::is_empty(spec, "metrics") {
        let target = json!({"type": "Utilization", "averageUtilization": 80});
        let metric = json!({"type": "Resource", "resource": {"name": "cpu", "target": target}});
        spec.insert("metrics".into(), json!([metric]));
    }
    let Some(behavior) = fill::within(spec, "behavior") else { return };
    let percent = json!({"type": "Percent", "value": 100, "periodSeconds": 15});
    if let Some(up) = fill::object(behavior, "scaleUp") {
        fill::value(up, "stabilizationWindowSeconds", 0);
        fill::value(up, "selectPolicy", "Max");
        let pods = json!({"type": "Pods", "value": 4, "periodSeconds": 15});
        fill::value(up, "policies", json!([pods, percent]));
    }
    if let Some(down) = fill::object(behavior, "scaleDown") {
        fill::value(down, "selectPolicy", "Max");
        fill::value(down, "policies", json!([percent]));
    }
}
