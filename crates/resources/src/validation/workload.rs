//! What keeps pods running: replication controllers, replica sets, deployments, daemon sets,
//! stateful sets.

use api::Object;
use api::field::{ErrorList, FieldError, Path};
use api::names;
use serde_json::Value;

use super::{check, pod, read, selector};

const MISMATCH: &str = "`selector` does not match template `labels`";

pub(crate) fn replication_controller(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::root("spec");
    let spec = read::top(object, "spec");
    check::nonnegative(&mut errors, &path.child("minReadySeconds"), read::int(spec, "minReadySeconds"));
    if read::pairs(spec, "selector").next().is_none() {
        errors.push(FieldError::required(&path.child("selector"), ""));
    }
    check::nonnegative(&mut errors, &path.child("replicas"), read::int(spec, "replicas"));
    let at = path.child("template");
    let Some(template) = read::get(spec, "template") else {
        errors.push(FieldError::required(&at, ""));
        return errors;
    };
    let labels = labels_of(template);
    let selected = |(key, value): (&str, &str)| labels.get(key).and_then(Value::as_str) == Some(value);
    if !read::pairs(spec, "selector").all(selected) {
        mismatch(&mut errors, &at, labels);
    }
    pod::template(&mut errors, &at, template);
    runs_always(&mut errors, &at, template, "ReplicationController");
    errors
}

pub(crate) fn replica_set(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::root("spec");
    let spec = read::top(object, "spec");
    counts(&mut errors, &path, spec);
    selector_and_template(&mut errors, &path, spec, "deployment", "ReplicaSet");
    errors
}

fn counts(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    for key in ["replicas", "minReadySeconds"] {
        check::nonnegative(errors, &path.child(key), read::int(spec, key));
    }
}

fn labels_of(template: &Value) -> &Value {
    read::raw(template, "metadata").and_then(|m| read::get(m, "labels")).unwrap_or(&Value::Null)
}

fn mismatch(errors: &mut ErrorList, template: &Path<'_>, labels: &Value) {
    let metadata = template.child("metadata");
    errors.push(FieldError::invalid(&metadata.child("labels"), labels.clone(), MISMATCH));
}

/// What keeps pods running cannot keep pods that end.
fn runs_always(errors: &mut ErrorList, path: &Path<'_>, template: &Value, kind: &str) {
    let spec = read::of(template, "spec");
    let at = path.child("spec");
    let policy = read::text(spec, "restartPolicy");
    if policy != "Always" {
        errors.push(FieldError::not_supported(&at.child("restartPolicy"), policy, &["Always"]));
    }
    if read::int(spec, "activeDeadlineSeconds").is_some() {
        let detail = format!("activeDeadlineSeconds in {kind} is not Supported");
        errors.push(FieldError::forbidden(&at.child("activeDeadlineSeconds"), detail));
    }
}

/// A label selector that must be there and say something, and a template it selects. `noun` is what
/// upstream calls the kind in the refusal of an empty selector.
fn selector_and_template(errors: &mut ErrorList, path: &Path<'_>, spec: &Value, noun: &str, kind: &str) {
    let at = path.child("selector");
    let found = read::get(spec, "selector");
    match found {
        None => errors.push(FieldError::required(&at, "")),
        Some(found) => {
            selector::label_selector(errors, &at, Some(found));
            if selector::is_empty(found) {
                let detail = format!("empty selector is invalid for {noun}");
                errors.push(FieldError::invalid(&at, found.clone(), detail));
            }
        }
    }
    let template = read::of(spec, "template");
    let at_template = path.child("template");
    match found.map(|f| (f, selector::matches(f, labels_of(template)))) {
        Some((found, None)) => {
            errors.push(FieldError::invalid(&at, found.clone(), "invalid label selector"));
            return;
        }
        Some((found, Some(false))) if !selector::is_empty(found) => {
            mismatch(errors, &at_template, labels_of(template));
        }
        _ => {}
    }
    pod::template(errors, &at_template, template);
    runs_always(errors, &at_template, template, kind);
}

pub(crate) fn deployment(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::root("spec");
    let spec = read::top(object, "spec");
    check::nonnegative(&mut errors, &path.child("replicas"), read::int(spec, "replicas"));
    selector_and_template(&mut errors, &path, spec, "deployment", "ReplicaSet");
    deployment_strategy(&mut errors, &path.child("strategy"), spec);
    for key in ["minReadySeconds", "revisionHistoryLimit"] {
        check::nonnegative(&mut errors, &path.child(key), read::int(spec, key));
    }
    if let Some(deadline) = read::int(spec, "progressDeadlineSeconds") {
        let at = path.child("progressDeadlineSeconds");
        check::nonnegative(&mut errors, &at, Some(deadline));
        if deadline <= read::int(spec, "minReadySeconds").unwrap_or(0) {
            errors.push(FieldError::invalid(&at, deadline, "must be greater than minReadySeconds"));
        }
    }
    errors
}

fn deployment_strategy(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    let strategy = read::of(spec, "strategy");
    let at = path.child("rollingUpdate");
    let rolling = read::get(strategy, "rollingUpdate");
    match (read::text(strategy, "type"), rolling) {
        ("Recreate", Some(_)) => {
            let detail = "may not be specified when strategy `type` is 'Recreate'";
            errors.push(FieldError::forbidden(&at, detail));
        }
        ("RollingUpdate", None) => {
            errors.push(FieldError::required(&at, "this should be defaulted and never be nil"));
        }
        ("RollingUpdate", Some(rolling)) => rolling_update(errors, &at, rolling),
        ("Recreate", None) => {}
        (other, _) => {
            let supported = ["Recreate", "RollingUpdate"];
            errors.push(FieldError::not_supported(&path.child("type"), other, &supported));
        }
    }
}

fn rolling_update(errors: &mut ErrorList, path: &Path<'_>, rolling: &Value) {
    let (unavailable, surge) = (read::raw(rolling, "maxUnavailable"), read::raw(rolling, "maxSurge"));
    int_or_percent(errors, &path.child("maxUnavailable"), unavailable);
    int_or_percent(errors, &path.child("maxSurge"), surge);
    if figure(unavailable) == 0 && figure(surge) == 0 {
        let value = unavailable.cloned().unwrap_or(Value::Null);
        let detail = "may not be 0 when `maxSurge` is 0";
        errors.push(FieldError::invalid(&path.child("maxUnavailable"), value, detail));
    }
    at_most_all(errors, &path.child("maxUnavailable"), unavailable);
}

/// The number of a count or of a percentage.
fn figure(value: Option<&Value>) -> i64 {
    match value {
        Some(Value::String(text)) => text.strip_suffix('%').and_then(|n| n.parse().ok()).unwrap_or(0),
        Some(number) => number.as_i64().unwrap_or(0),
        None => 0,
    }
}

/// A count that is not negative, or a percentage.
pub(super) fn int_or_percent(errors: &mut ErrorList, path: &Path<'_>, value: Option<&Value>) {
    match value {
        Some(Value::String(text)) => check::faults(errors, path, text, names::percent(text)),
        other => check::nonnegative(errors, path, other.and_then(Value::as_i64)),
    }
}

pub(super) fn at_most_all(errors: &mut ErrorList, path: &Path<'_>, value: Option<&Value>) {
    if let Some(Value::String(text)) = value
        && names::percent(text).is_empty()
        && figure(value) > 100
    {
        errors.push(FieldError::invalid(path, text.as_str(), "must not be greater than 100%"));
    }
}

pub(crate) fn daemon_set(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::root("spec");
    let spec = read::top(object, "spec");
    selector_and_template(&mut errors, &path, spec, "daemonset", "DaemonSet");
    for key in ["minReadySeconds", "revisionHistoryLimit"] {
        check::nonnegative(&mut errors, &path.child(key), read::int(spec, key));
    }
    let strategy = read::of(spec, "updateStrategy");
    let at = path.child("updateStrategy");
    match read::text(strategy, "type") {
        "OnDelete" => {}
        "RollingUpdate" => match read::get(strategy, "rollingUpdate") {
            Some(rolling) => daemon_rolling_update(&mut errors, &at.child("rollingUpdate"), rolling),
            None => errors.push(FieldError::required(&at.child("rollingUpdate"), "")),
        },
        other => {
            let supported = ["RollingUpdate", "OnDelete"];
            errors.push(FieldError::not_supported(&at.child("type"), other, &supported));
        }
    }
    errors
}

fn daemon_rolling_update(errors: &mut ErrorList, path: &Path<'_>, rolling: &Value) {
    for key in ["maxUnavailable", "maxSurge"] {
        int_or_percent(errors, &path.child(key), read::raw(rolling, key));
        at_most_all(errors, &path.child(key), read::raw(rolling, key));
    }
    let surge = read::raw(rolling, "maxSurge");
    match (figure(read::raw(rolling, "maxUnavailable")) != 0, figure(surge) != 0) {
        (true, true) => {
            let detail = "may not be set when maxUnavailable is non-zero";
            let value = surge.cloned().unwrap_or(Value::Null);
            errors.push(FieldError::invalid(&path.child("maxSurge"), value, detail));
        }
        (false, false) => {
            let detail = "cannot be 0 when maxSurge is 0";
            errors.push(FieldError::required(&path.child("maxUnavailable"), detail));
        }
        _ => {}
    }
}

pub(crate) fn stateful_set(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::root("spec");
    let spec = read::top(object, "spec");
    let policy = read::text(spec, "podManagementPolicy");
    let at = path.child("podManagementPolicy");
    if check::required(&mut errors, &at, policy) && !matches!(policy, "OrderedReady" | "Parallel") {
        errors.push(FieldError::invalid(&at, policy, "must be 'OrderedReady' or 'Parallel'"));
    }
    stateful_strategy(&mut errors, &path.child("updateStrategy"), spec);
    if let Some(retention) = read::get(spec, "persistentVolumeClaimRetentionPolicy") {
        let at = path.child("persistentVolumeClaimRetentionPolicy");
        for key in ["whenDeleted", "whenScaled"] {
            let value = read::text(retention, key);
            if !matches!(value, "Retain" | "Delete") {
                errors.push(FieldError::not_supported(&at.child(key), value, &["Retain", "Delete"]));
            }
        }
    }
    counts(&mut errors, &path, spec);
    if let Some(ordinals) = read::get(spec, "ordinals") {
        let at = path.child("ordinals");
        check::nonnegative(&mut errors, &at.child("start"), read::int(ordinals, "start"));
    }
    let service = read::text(spec, "serviceName");
    if !service.is_empty() {
        let faults = names::dns1123_subdomain(service);
        check::faults(&mut errors, &path.child("serviceName"), service, faults);
    }
    selector_and_template(&mut errors, &path, spec, "statefulset", "StatefulSet");
    errors
}

fn stateful_strategy(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    let strategy = read::of(spec, "updateStrategy");
    let rolling = read::get(strategy, "rollingUpdate");
    let at = path.child("rollingUpdate");
    match (read::text(strategy, "type"), rolling) {
        ("", _) => errors.push(FieldError::required(path, "")),
        ("OnDelete", Some(rolling)) => {
            let detail = "only allowed for updateStrategy 'RollingUpdate'";
            errors.push(FieldError::invalid(&at, rolling.clone(), detail));
        }
        ("RollingUpdate", Some(rolling)) => {
            check::nonnegative(errors, &at.child("partition"), read::int(rolling, "partition"));
            int_or_percent(errors, &at.child("maxUnavailable"), read::raw(rolling, "maxUnavailable"));
            at_most_all(errors, &at.child("maxUnavailable"), read::raw(rolling, "maxUnavailable"));
        }
        ("OnDelete" | "RollingUpdate", None) => {}
        _ => {
            let detail = "must be 'RollingUpdate' or 'OnDelete'";
            errors.push(FieldError::invalid(path, strategy.clone(), detail));
        }
    }
}

/// What a stateful set lets change.
const STATEFUL_MUTABLE: [&str; 7] = [
    "replicas",
    "template",
    "updateStrategy",
    "minReadySeconds",
    "ordinals",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
];

pub(crate) fn stateful_set_update(new: &Object, old: &Object) -> ErrorList {
    let mut errors = stateful_set(new);
    let fixed = |o: &Object| -> Vec<(String, Value)> {
        let spec = read::top_raw(o, "spec").and_then(Value::as_object);
        let fields = spec.into_iter().flatten().filter(|(k, _)| !STATEFUL_MUTABLE.contains(&k.as_str()));
        let mut fixed: Vec<_> = fields.map(|(k, v)| (k.clone(), v.clone())).collect();
        fixed.sort_by(|a, b| a.0.cmp(&b.0));
        fixed
    };
    if fixed(new) != fixed(old) {
        let detail = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
        errors.push(FieldError::forbidden(&Path::root("spec"), detail));
    }
    errors
}

/// The status of a kind with replicas: none is negative, no part is more than the whole.
pub(crate) fn replicas_status(new: &Object, _old: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::root("status");
    let status = read::top(new, "status");
    let parts = ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"];
    for key in ["replicas"].into_iter().chain(parts).chain(["observedGeneration"]) {
        check::nonnegative(&mut errors, &path.child(key), read::int(status, key));
    }
    let count = |key| read::int(status, key).unwrap_or(0);
    for key in parts {
        if count(key) > count("replicas") {
            let detail = "cannot be greater than status.replicas";
            errors.push(FieldError::invalid(&path.child(key), count(key), detail));
        }
    }
    if count("availableReplicas") > count("readyReplicas") {
        let detail = "cannot be greater than readyReplicas";
        errors.push(FieldError::invalid(
            &path.child("availableReplicas"),
            count("availableReplicas"),
            detail,
        ));
    }
    errors
}
