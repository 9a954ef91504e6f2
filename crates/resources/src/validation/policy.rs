//! Validation of the kinds that bound and scale: disruption budgets, priorities, limits, leases.

use std::collections::HashSet;

use api::Object;
use api::field::{ErrorList, FieldError, Path};
use api::names;
use serde_json::Value;

use super::{amounts, check, conditions, read, selector, workload};

const MAX_USER_PRIORITY: i64 = 1_000_000_000;
/// The classes of the system's own pods, with their values.
const SYSTEM_CLASSES: [(&str, i64); 2] =
    [("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)];

pub(crate) fn disruption_budget(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::root("spec");
    let spec = read::top(object, "spec");
    let figures = ["minAvailable", "maxUnavailable"];
    if figures.iter().all(|key| read::get(spec, key).is_some()) {
        let detail = "minAvailable and maxUnavailable cannot be both set";
        errors.push(FieldError::invalid(&path, spec.clone(), detail));
    }
    for key in figures {
        workload::int_or_percent(&mut errors, &path.child(key), read::get(spec, key));
        workload::at_most_all(&mut errors, &path.child(key), read::get(spec, key));
    }
    selector::label_selector(&mut errors, &path.child("selector"), read::get(spec, "selector"));
    let policy = read::text(spec, "unhealthyPodEvictionPolicy");
    let at = path.child("unhealthyPodEvictionPolicy");
    check::if_given_one_of(&mut errors, &at, policy, &["AlwaysAllow", "IfHealthyBudget"]);
    errors
}

pub(crate) fn disruption_budget_status(new: &Object, _old: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::root("status");
    let status = read::top(new, "status");
    conditions::conditions(&mut errors, &path, status);
    for key in ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"] {
        check::nonnegative(&mut errors, &path.child(key), read::int(status, key));
    }
    errors
}

/// Whether a priority class is one of the system's own.
pub(crate) fn is_system_class(name: &str) -> bool {
    SYSTEM_CLASSES.iter().any(|(system, _)| *system == name)
}

/// Why a class is not as the system's own class of its name.
fn not_system(name: &str, value: i64, is_default: bool) -> Option<String> {
    match SYSTEM_CLASSES.iter().find(|(system, _)| *system == name) {
        None => Some(format!("{name} is not a known system priority class")),
        Some((_, wanted)) if *wanted != value => {
            Some(format!("value of {name} PriorityClass must be {wanted}"))
        }
        Some(_) if is_default => Some(format!("globalDefault of {name} PriorityClass must be false")),
        Some(_) => None,
    }
}

pub(crate) fn priority_class(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let value = read::top_raw(object, "value").and_then(Value::as_i64).unwrap_or(0);
    let name = object.name();
    if name.starts_with("system-") {
        let is_default = read::top_raw(object, "globalDefault").and_then(Value::as_bool).unwrap_or(false);
        if let Some(why) = not_system(name, value, is_default) {
            let metadata = Path::root("metadata");
            let detail = format!(
                "priority class names with 'system-' prefix are reserved for system use only. error: {why}"
            );
            errors.push(FieldError::forbidden(&metadata.child("name"), detail));
        }
    } else if value > MAX_USER_PRIORITY {
        let detail = format!("maximum allowed value of a user defined priority is {MAX_USER_PRIORITY}");
        errors.push(FieldError::forbidden(&Path::root("value"), detail));
    }
    let policy = read::top_raw(object, "preemptionPolicy").and_then(Value::as_str).unwrap_or("");
    let policies = ["PreemptLowerPriority", "Never"];
    check::if_given_one_of(&mut errors, &Path::root("preemptionPolicy"), policy, &policies);
    errors
}

pub(crate) fn priority_class_update(new: &Object, old: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let value = |o: &Object| read::top_raw(o, "value").and_then(Value::as_i64).unwrap_or(0);
    if value(new) != value(old) {
        errors.push(FieldError::forbidden(&Path::root("value"), "may not be changed in an update."));
    }
    let key = "preemptionPolicy";
    check::unchanged(&mut errors, &Path::root(key), read::top_raw(new, key), read::top_raw(old, key));
    errors
}

pub(crate) fn limit_range(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::root("spec");
    let path = path.child("limits");
    let mut seen = HashSet::new();
    for (i, item) in read::list(read::top(object, "spec"), "limits").iter().enumerate() {
        let at = path.index(i);
        let kind = read::text(item, "type");
        let faults = names::qualified_name(kind);
        if !faults.is_empty() {
            check::faults(&mut errors, &at.child("type"), kind, faults);
        } else if !matches!(kind, "Pod" | "Container" | "PersistentVolumeClaim") && !kind.contains('/') {
            let detail = "must be a standard limit type or fully qualified";
            errors.push(FieldError::invalid(&at.child("type"), kind, detail));
        }
        if seen.contains(&kind) {
            errors.push(FieldError::duplicate(&at.child("type"), kind));
        }
        seen.insert(kind);
        for key in LIMITS {
            let given = at.child(key);
            if kind == "Pod" && key.starts_with("default") {
                if read::entries(item, key).next().is_some() {
                    let detail = "may not be specified when `type` is 'Pod'";
                    errors.push(FieldError::forbidden(&given, detail));
                }
                continue;
            }
            for (name, _) in read::entries(item, key) {
                amounts::of_limit(&mut errors, &given.key(name), kind, name);
            }
        }
        let sized = ["min", "max"].iter().any(|key| read::raw(read::of(item, key), "storage").is_some());
        if kind == "PersistentVolumeClaim" && !sized {
            let detail = "either minimum or maximum storage value is required, but neither was provided";
            errors.push(FieldError::required(&at.child("limits"), detail));
        }
        limits(&mut errors, &at, item);
        ratios(&mut errors, &at, item);
    }
    errors
}

/// What an item of a limit range bounds, or sets.
const LIMITS: [&str; 5] = ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"];

/// How much more than requested may be used, and what cannot be used beyond its request.
fn ratios(errors: &mut ErrorList, path: &Path<'_>, item: &Value) {
    let amount =
        |key: &str, name: &str| read::raw(item, key).and_then(|m| m.get(name)).and_then(amounts::parse);
    let at = path.child("maxLimitRequestRatio");
    for (name, ratio) in read::entries(item, "maxLimitRequestRatio") {
        let Some(ratio) = amounts::parse(ratio) else { continue };
        let thousandths = ratio.milli_value();
        if thousandths < 1000 {
            let detail = format!("ratio {ratio} is less than 1");
            errors.push(FieldError::invalid(&at.key(name), ratio.to_string(), detail));
        }
        let (Some(min), Some(max)) = (amount("min", name), amount("max", name)) else { continue };
        #[expect(clippy::cast_precision_loss, reason = "a ratio is shown with six digits")]
        let (ratio_value, most) =
            (thousandths as f64 / 1000.0, max.milli_value() as f64 / min.milli_value() as f64);
        if ratio_value > most {
            let detail = format!("ratio {ratio} is greater than max/min = {most:.6}");
            errors.push(FieldError::invalid(&at.key(name), ratio.to_string(), detail));
        }
    }
    let at = path.child("defaultRequest");
    for (name, _) in read::entries(item, "defaultRequest").filter(|(name, _)| !amounts::may_overcommit(name))
    {
        let (Some(request), Some(limit)) = (amount("defaultRequest", name), amount("default", name)) else {
            continue;
        };
        if request != limit {
            let detail =
                format!("default value {limit} must equal to defaultRequest value {request} in {name}");
            errors.push(FieldError::invalid(&at.key(name), request.to_string(), detail));
        }
    }
}

/// (what must not be more, than what; the field at fault, whether its own value is shown, and how
/// both are called).
type Ordering = (&'static str, &'static str, &'static str, &'static str, &'static str);
const ORDERINGS: [Ordering; 6] = [
    ("min", "max", "min", "min value", "max value"),
    ("min", "defaultRequest", "defaultRequest", "min value", "default request value"),
    ("defaultRequest", "max", "defaultRequest", "default request value", "max value"),
    ("defaultRequest", "default", "defaultRequest", "default request value", "default limit value"),
    ("min", "default", "default", "min value", "default value"),
    ("default", "max", "default", "default value", "max value"),
];

fn limits(errors: &mut ErrorList, path: &Path<'_>, item: &Value) {
    for (low, high, at_fault, low_name, high_name) in ORDERINGS {
        for (name, value) in read::entries(item, low) {
            let other = read::raw(item, high).and_then(|m| m.get(name)).and_then(amounts::parse);
            let (Some(value), Some(other)) = (amounts::parse(value), other) else { continue };
            if value > other {
                let detail = format!("{low_name} {value} is greater than {high_name} {other}");
                // Upstream shows the bound where a default is out of it.
                let shown = match (low, high) {
                    ("min", "defaultRequest") | ("default", "max") => other,
                    _ => value,
                };
                let at = path.child(at_fault);
                errors.push(FieldError::invalid(&at.key(name), shown.to_string(), detail));
            }
        }
    }
}

pub(crate) fn lease(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::root("spec");
    let spec = read::top(object, "spec");
    if let Some(seconds) = read::int(spec, "leaseDurationSeconds").filter(|s| *s <= 0) {
        let detail = "must be greater than 0";
        errors.push(FieldError::invalid(&path.child("leaseDurationSeconds"), seconds, detail));
    }
    if let Some(count) = read::int(spec, "leaseTransitions").filter(|c| *c < 0) {
        let detail = "must be greater than or equal to 0";
        errors.push(FieldError::invalid(&path.child("leaseTransitions"), count, detail));
    }
    let given = |key| read::get(spec, key).is_some();
    let (strategy, holder) = (read::text(spec, "strategy"), read::text(spec, "preferredHolder"));
    if given("strategy") {
        // Upstream names the field twice.
        let at = path.child("strategy");
        let at = at.child("strategy");
        if strategy.contains('/') {
            check::faults(&mut errors, &at, strategy, names::qualified_name(strategy));
        } else if strategy != "OldestEmulationVersion" {
            errors.push(FieldError::not_supported(&at, strategy, &["OldestEmulationVersion"]));
        }
    }
    if strategy.is_empty() && !holder.is_empty() {
        let detail = "may only be specified if `strategy` is defined";
        errors.push(FieldError::forbidden(&path.child("preferredHolder"), detail));
    }
    errors
}
