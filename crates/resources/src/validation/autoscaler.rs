//! Validation of HorizontalPodAutoscalers. Upstream: `pkg/apis/autoscaling/validation`.

use api::Object;
use api::field::{ErrorList, FieldError, Path};
use api::names;
use serde_json::Value;

use super::{amounts, check, read, selector};

/// The longest window for which recommendations are looked at, in seconds.
const LONGEST_WINDOW_S: i64 = 3600;
/// The longest period of a policy, in seconds.
const LONGEST_PERIOD_S: i64 = 1800;
/// The kinds of metrics and the fields that describe them.
const SOURCES: [(&str, &str); 5] = [
    ("ContainerResource", "containerResource"),
    ("External", "external"),
    ("Object", "object"),
    ("Pods", "pods"),
    ("Resource", "resource"),
];

/// The fields in the order in which upstream looks at them.
const FIELDS: [&str; 5] = ["object", "external", "pods", "resource", "containerResource"];

pub(crate) fn autoscaler(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::root("spec");
    let spec = read::top(object, "spec");
    let min = read::int(spec, "minReplicas");
    let max = read::int(spec, "maxReplicas").unwrap_or(0);
    if let Some(min) = min.filter(|m| *m < 1) {
        let detail = "must be greater than or equal to 1";
        errors.push(FieldError::invalid(&path.child("minReplicas"), min, detail));
    }
    if max < 1 {
        errors.push(FieldError::invalid(&path.child("maxReplicas"), max, "must be greater than 0"));
    }
    if min.is_some_and(|min| max < min) {
        let detail = "must be greater than or equal to `minReplicas`";
        errors.push(FieldError::invalid(&path.child("maxReplicas"), max, detail));
    }
    reference(&mut errors, &path.child("scaleTargetRef"), read::of(spec, "scaleTargetRef"));
    // The old version has one metric, which is a number.
    if object.api_version() == "autoscaling/v1" {
        let target = read::int(spec, "targetCPUUtilizationPercentage");
        if let Some(target) = target.filter(|target| *target < 1) {
            let at = path.child("targetCPUUtilizationPercentage");
            errors.push(FieldError::invalid(&at, target, "must be greater than 0"));
        }
        return errors;
    }
    let at = path.child("metrics");
    for (i, metric) in read::list(spec, "metrics").iter().enumerate() {
        self::metric(&mut errors, &at.index(i), metric);
    }
    let at = path.child("behavior");
    for key in ["scaleUp", "scaleDown"] {
        if let Some(rules) = read::get(read::of(spec, "behavior"), key) {
            self::rules(&mut errors, &at.child(key), rules);
        }
    }
    errors
}

/// What names an object of any kind.
fn reference(errors: &mut ErrorList, path: &Path<'_>, reference: &Value) {
    for key in ["kind", "name"] {
        let (at, value) = (path.child(key), read::text(reference, key));
        if check::required(errors, &at, value) {
            check::faults(errors, &at, value, names::path_segment_name(value, false));
        }
    }
}

fn metric(errors: &mut ErrorList, path: &Path<'_>, metric: &Value) {
    let kind = read::text(metric, "type");
    let at = path.child("type");
    if kind.is_empty() {
        errors.push(FieldError::required(&at, "must specify a metric source type"));
    }
    let supported = SOURCES.map(|(kind, _)| kind);
    if !supported.contains(&kind) {
        errors.push(FieldError::not_supported(&at, kind, &supported));
    }
    let given = FIELDS.iter().filter_map(|field| Some((*field, read::get(metric, field)?)));
    let given: Vec<(&str, &Value)> = given.collect();
    if let [(field, source), ..] = given[..] {
        self::source(errors, &path.child(field), field, source);
    }
    let expected = SOURCES.iter().find(|(name, _)| *name == kind).map(|(_, field)| *field);
    if let Some(expected) = expected.filter(|expected| !given.iter().any(|(field, _)| field == expected)) {
        let detail = "must populate information for the given metric source";
        errors.push(FieldError::required(&path.child(expected), detail));
    }
    let others = given.iter().filter(|(field, _)| Some(*field) != expected);
    for (field, _) in others.filter(|_| given.len() > 1) {
        let detail = "must populate the given metric source only";
        errors.push(FieldError::forbidden(&path.child(field), detail));
    }
}

/// What is measured, and what it should be.
fn source(errors: &mut ErrorList, path: &Path<'_>, field: &str, source: &Value) {
    let at = path.child("target");
    let target = read::of(source, "target");
    if field == "object" {
        reference(errors, &path.child("describedObject"), read::of(source, "describedObject"));
    }
    let required = |errors: &mut ErrorList, key: &str, detail: &'static str| {
        if read::text(source, key).is_empty() {
            errors.push(FieldError::required(&path.child(key), detail));
        }
    };
    if matches!(field, "resource" | "containerResource") {
        required(errors, "name", "must specify a resource name");
        if field == "containerResource" {
            required(errors, "container", "must specify a container");
        }
    } else {
        identifier(errors, &path.child("metric"), read::of(source, "metric"));
    }
    self::target(errors, &at, target);
    let has = |key: &str| read::get(target, key).is_some();
    let (value, average, percent) = (has("value"), has("averageValue"), has("averageUtilization"));
    match field {
        "resource" | "containerResource" if !average && !percent => {
            let detail = "must set either a target raw value or a target utilization";
            errors.push(FieldError::required(&at.child("averageUtilization"), detail));
        }
        "resource" | "containerResource" if average && percent => {
            let detail = "may not set both a target raw value and a target utilization";
            errors.push(FieldError::forbidden(&at.child("averageValue"), detail));
        }
        "pods" if !average => {
            let detail = "must specify a positive target averageValue";
            errors.push(FieldError::required(&at.child("averageValue"), detail));
        }
        "object" if !value && !average => {
            let detail = "must set either a target value or averageValue";
            errors.push(FieldError::required(&at.child("averageValue"), detail));
        }
        "external" if !value && !average => {
            let detail = "must set either a target value for metric or a per-pod target";
            errors.push(FieldError::required(&at.child("averageValue"), detail));
        }
        "external" if value && average => {
            let detail = "may not set both a target value for metric and a per-pod target";
            errors.push(FieldError::forbidden(&at.child("value"), detail));
        }
        _ => {}
    }
}

fn identifier(errors: &mut ErrorList, path: &Path<'_>, metric: &Value) {
    let (at, name) = (path.child("name"), read::text(metric, "name"));
    if name.is_empty() {
        errors.push(FieldError::required(&at, "must specify a metric name"));
    } else {
        check::faults(errors, &at, name, names::path_segment_name(name, false));
    }
    selector::label_selector(errors, &path.child("selector"), read::get(metric, "selector"));
}

fn target(errors: &mut ErrorList, path: &Path<'_>, target: &Value) {
    let (at, kind) = (path.child("type"), read::text(target, "type"));
    if kind.is_empty() {
        errors.push(FieldError::required(&at, "must specify a metric target type"));
    } else if !matches!(kind, "Utilization" | "Value" | "AverageValue") {
        let detail = "must be either Utilization, Value, or AverageValue";
        errors.push(FieldError::invalid(&at, kind, detail));
    }
    for key in ["value", "averageValue"] {
        if let Some(value) = read::get(target, key)
            && amounts::parse(value).is_none_or(|quantity| quantity.signum() < 1)
        {
            errors.push(FieldError::invalid(&path.child(key), value.clone(), "must be positive"));
        }
    }
    let percent = read::int(target, "averageUtilization");
    if let Some(percent) = percent.filter(|percent| *percent < 1) {
        let at = path.child("averageUtilization");
        errors.push(FieldError::invalid(&at, percent, "must be greater than 0"));
    }
}

fn rules(errors: &mut ErrorList, path: &Path<'_>, rules: &Value) {
    if let Some(window) = read::int(rules, "stabilizationWindowSeconds") {
        let at = path.child("stabilizationWindowSeconds");
        if window < 0 {
            errors.push(FieldError::invalid(&at, window, "must be greater than or equal to zero"));
        }
        if window > LONGEST_WINDOW_S {
            let detail = format!("must be less than or equal to {LONGEST_WINDOW_S}");
            errors.push(FieldError::invalid(&at, window, detail));
        }
    }
    let select = read::text(rules, "selectPolicy");
    check::if_given_one_of(errors, &path.child("selectPolicy"), select, &["Disabled", "Max", "Min"]);
    let (at, policies) = (path.child("policies"), read::list(rules, "policies"));
    if policies.is_empty() {
        errors.push(FieldError::required(&at, "must specify at least one Policy"));
    }
    for (i, policy) in policies.iter().enumerate() {
        self::policy(errors, &at.index(i), policy);
    }
    if let Some(tolerance) = read::get(rules, "tolerance")
        && amounts::parse(tolerance).is_none_or(|quantity| quantity.signum() < 0)
    {
        let detail = "must be greater than or equal to 0";
        errors.push(FieldError::invalid(&path.child("tolerance"), tolerance.clone(), detail));
    }
}

fn policy(errors: &mut ErrorList, path: &Path<'_>, policy: &Value) {
    let kind = read::text(policy, "type");
    if !matches!(kind, "Percent" | "Pods") {
        errors.push(FieldError::not_supported(&path.child("type"), kind, &["Percent", "Pods"]));
    }
    for key in ["value", "periodSeconds"] {
        let number = read::int(policy, key).unwrap_or(0);
        if number <= 0 {
            errors.push(FieldError::invalid(&path.child(key), number, "must be greater than zero"));
        }
    }
    let period = read::int(policy, "periodSeconds").unwrap_or(0);
    if period > LONGEST_PERIOD_S {
        let detail = format!("must be less than or equal to {LONGEST_PERIOD_S}");
        errors.push(FieldError::invalid(&path.child("periodSeconds"), period, detail));
    }
}

pub(crate) fn autoscaler_status(new: &Object, _old: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::root("status");
    for key in ["currentReplicas", "desiredReplicas"] {
        check::nonnegative(&mut errors, &path.child(key), read::int(read::top(new, "status"), key));
    }
    errors
}
