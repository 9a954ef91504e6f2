//! What keeps pods running: replication controllers, replica sets, deployments, daemon sets, and the revisions of their templates.
//! Stateful sets have a file of their own.

use api::Object;
use api::field::{ErrorList, FieldError, Path};
use api::names;
use serde_json::{Value, json};

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

pub(super) fn counts(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
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
pub(super) fn runs_always(errors: &mut ErrorList, path: &Path<'_>, template: &Value, kind: &str) {
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

fn selector_and_template(errors: &mut ErrorList, path: &Path<'_>, spec: &Value, noun: &str, kind: &str) {
    let template = read::of(spec, "template");
    let at = path.child("template");
    if selected_template(errors, path, spec, noun, "invalid label selector") {
        pod::template(errors, &at, template);
        runs_always(errors, &at, template, kind);
    }
}

/// A label selector that must be there and say something, and a template it selects. `noun` is what
/// upstream calls the kind in the refusal of an empty selector. Returns whether the selector is well-formed,
/// without which upstream does not look at the template; `malformed` is what upstream says of such a selector.
pub(super) fn selected_template(
    errors: &mut ErrorList,
    path: &Path<'_>,
    spec: &Value,
    noun: &str,
    malformed: &str,
) -> bool {
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
            errors.push(FieldError::invalid(&at, found.clone(), malformed));
            return false;
        }
        Some((found, Some(false))) if !selector::is_empty(found) => {
            mismatch(errors, &at_template, labels_of(template));
        }
        _ => {}
    }
    true
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
        (other, rolling) => {
            let supported = ["Recreate", "RollingUpdate"];
            errors.push(FieldError::not_supported(path, shown(other, rolling), &supported));
        }
    }
}

/// A strategy, as upstream's errors show it.
fn shown(kind: &str, rolling: Option<&Value>) -> Value {
    let rolling = rolling.map(|rolling| {
        let [unavailable, surge] = ["maxUnavailable", "maxSurge"].map(|key| read::raw(rolling, key));
        json!({"MaxUnavailable": unavailable, "MaxSurge": surge})
    });
    json!({"Type": kind, "RollingUpdate": rolling})
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
pub(super) fn figure(value: Option<&Value>) -> i64 {
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
    let found = read::get(spec, "selector");
    let at = path.child("selector");
    selector::label_selector(&mut errors, &at, found);
    let template = read::of(spec, "template");
    let template_at = path.child("template");
    // No selector selects nothing.
    if found.map_or(Some(false), |found| selector::matches(found, labels_of(template))) == Some(false) {
        mismatch(&mut errors, &template_at, labels_of(template));
    }
    if let Some(found) = found.filter(|found| selector::is_empty(found)) {
        errors.push(FieldError::invalid(&at, found.clone(), "empty selector is invalid for daemonset"));
    }
    pod::template(&mut errors, &template_at, template);
    runs_always(&mut errors, &template_at, template, "DaemonSet");
    check::nonnegative(&mut errors, &path.child("minReadySeconds"), read::int(spec, "minReadySeconds"));
    daemon_strategy(&mut errors, &path.child("updateStrategy"), spec);
    let limit = read::int(spec, "revisionHistoryLimit");
    check::nonnegative(&mut errors, &path.child("revisionHistoryLimit"), limit);
    errors
}

fn daemon_strategy(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    let strategy = read::of(spec, "updateStrategy");
    let at = path.child("rollingUpdate");
    match (read::text(strategy, "type"), read::get(strategy, "rollingUpdate")) {
        ("OnDelete", _) => {}
        ("RollingUpdate", Some(rolling)) => daemon_rolling_update(errors, &at, rolling),
        ("RollingUpdate", None) => errors.push(FieldError::required(&at, "")),
        (other, rolling) => {
            let supported = ["RollingUpdate", "OnDelete"];
            errors.push(FieldError::not_supported(path, shown(other, rolling), &supported));
        }
    }
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

pub(crate) fn controller_revision(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let number = read::top_raw(object, "revision").and_then(Value::as_i64);
    check::nonnegative(&mut errors, &Path::root("revision"), number);
    let missing = match read::top(object, "data") {
        Value::Null => Some("data is mandatory"),
        Value::Object(_) => None,
        _ => Some("data must be a valid JSON object"),
    };
    errors.extend(missing.map(|detail| FieldError::required(&Path::root("data"), detail)));
    errors
}
