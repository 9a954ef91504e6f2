//! What Jobs say of failures and successes: `podFailurePolicy`, `podReplacementPolicy`, `successPolicy`.

use std::collections::HashSet;

use api::field::{ErrorList, FieldError, Path};
use api::names;
use serde_json::Value;

use super::super::{check, read};
use super::indexes;

const MOST_RULES: usize = 20;
const MOST_PATTERNS: usize = 20;
const MOST_EXIT_CODES: usize = 255;
const MOST_INDEXES_BYTES: usize = 64 * 1024;
const ACTIONS: [&str; 4] = ["Count", "FailIndex", "FailJob", "Ignore"];
const OPERATORS: [&str; 2] = ["In", "NotIn"];
const STATUSES: [&str; 3] = ["False", "True", "Unknown"];

pub(super) fn replacement(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    let policy = read::text(spec, "podReplacementPolicy");
    let supported: &[&str] = match read::get(spec, "podFailurePolicy") {
        // A pod that may be judged has to end first.
        Some(_) => &["Failed"],
        None => &["Failed", "TerminatingOrFailed"],
    };
    check::if_given_one_of(errors, path, policy, supported);
}

pub(super) fn failure(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    let Some(policy) = read::get(spec, "podFailurePolicy") else { return };
    let pod = read::at(spec, &["template", "spec"]).unwrap_or(&Value::Null);
    let containers = ["containers", "initContainers"].into_iter().flat_map(|key| read::list(pod, key));
    let names: HashSet<&str> = containers.map(|container| read::text(container, "name")).collect();
    let path = path.child("rules");
    let rules = read::list(policy, "rules");
    if rules.len() > MOST_RULES {
        errors.push(FieldError::too_many(&path, rules.len(), MOST_RULES));
    }
    for (at, rule) in rules.iter().enumerate() {
        failure_rule(errors, &path.index(at), spec, rule, &names);
    }
}

fn failure_rule(errors: &mut ErrorList, path: &Path<'_>, spec: &Value, rule: &Value, names: &HashSet<&str>) {
    let at = path.child("action");
    let action = read::text(rule, "action");
    required_of(errors, &at, action, &ACTIONS);
    if action == "FailIndex" && read::int(spec, "backoffLimitPerIndex").is_none() {
        errors.push(FieldError::invalid(&at, action, "requires the backoffLimitPerIndex to be set"));
    }
    let (codes, patterns) = (read::get(rule, "onExitCodes"), read::list(rule, "onPodConditions"));
    if let Some(codes) = codes {
        exit_codes(errors, &path.child("onExitCodes"), codes, names);
    }
    pod_conditions(errors, &path.child("onPodConditions"), patterns);
    let why = match (codes.is_some(), patterns.is_empty()) {
        (true, false) => "specifying both OnExitCodes and OnPodConditions is not supported",
        (false, true) => "specifying one of OnExitCodes and OnPodConditions is required",
        _ => return,
    };
    errors.push(FieldError::invalid_whole(path, why));
}

fn exit_codes(errors: &mut ErrorList, path: &Path<'_>, codes: &Value, names: &HashSet<&str>) {
    let operator = read::text(codes, "operator");
    required_of(errors, &path.child("operator"), operator, &OPERATORS);
    if let Some(name) = read::get(codes, "containerName").and_then(Value::as_str)
        && !names.contains(name)
    {
        let why = "must be one of the container or initContainer names in the pod template";
        errors.push(FieldError::invalid(&path.child("containerName"), name, why));
    }
    let path = path.child("values");
    let values = read::list(codes, "values");
    if values.is_empty() {
        errors.push(FieldError::invalid(&path, Value::Null, "at least one value is required"));
    } else if values.len() > MOST_EXIT_CODES {
        errors.push(FieldError::too_many(&path, values.len(), MOST_EXIT_CODES));
    }
    let mut seen = HashSet::new();
    for (at, value) in values.iter().enumerate() {
        let code = value.as_i64().unwrap_or(0);
        if operator == "In" && code == 0 {
            errors.push(FieldError::invalid(&path.index(at), code, "must not be 0 for the In operator"));
        }
        if !seen.insert(code) {
            errors.push(FieldError::duplicate(&path.index(at), code));
        }
    }
    if !values.is_sorted_by_key(|value| value.as_i64()) {
        errors.push(FieldError::invalid(&path, values.to_vec(), "must be ordered"));
    }
}

fn pod_conditions(errors: &mut ErrorList, path: &Path<'_>, patterns: &[Value]) {
    if patterns.len() > MOST_PATTERNS {
        errors.push(FieldError::too_many(path, patterns.len(), MOST_PATTERNS));
    }
    for (at, pattern) in patterns.iter().enumerate() {
        let path = path.index(at);
        let type_ = read::text(pattern, "type");
        check::faults(errors, &path.child("type"), type_, names::qualified_name(type_));
        required_of(errors, &path.child("status"), read::text(pattern, "status"), &STATUSES);
    }
}

/// A text that has to be given, and to be one of some.
fn required_of(errors: &mut ErrorList, path: &Path<'_>, text: &str, supported: &[&str]) {
    if text.is_empty() {
        let quoted: Vec<String> = supported.iter().map(|one| format!("{one:?}")).collect();
        errors.push(FieldError::required(path, format!("valid values: [{}]", quoted.join(" "))));
    } else {
        check::if_given_one_of(errors, path, text, supported);
    }
}

pub(super) fn success(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    let Some(policy) = read::get(spec, "successPolicy") else { return };
    if read::text(spec, "completionMode") != "Indexed" {
        errors.push(FieldError::invalid(path, policy.clone(), "requires indexed completion mode"));
        return;
    }
    let path = path.child("rules");
    let rules = read::list(policy, "rules");
    if rules.is_empty() {
        let why = "at least one rules must be specified when the successPolicy is specified";
        errors.push(FieldError::required(&path, why));
    }
    if rules.len() > MOST_RULES {
        errors.push(FieldError::too_many(&path, rules.len(), MOST_RULES));
    }
    let completions = read::int(spec, "completions").unwrap_or(0);
    for (at, rule) in rules.iter().enumerate() {
        success_rule(errors, &path.index(at), rule, completions);
    }
}

fn success_rule(errors: &mut ErrorList, path: &Path<'_>, rule: &Value, completions: i64) {
    let named = read::get(rule, "succeededIndexes").and_then(Value::as_str);
    let wanted = read::int(rule, "succeededCount");
    if named.is_none() && wanted.is_none() {
        let why = "at least one of succeededCount or succeededIndexes must be specified";
        errors.push(FieldError::required(path, why));
    }
    let mut total = 0;
    if let Some(text) = named {
        let path = path.child("succeededIndexes");
        if text.len() > MOST_INDEXES_BYTES {
            errors.push(FieldError::too_long(&path, MOST_INDEXES_BYTES));
        }
        match indexes::count(text, completions) {
            Ok(count) => total = count,
            Err(why) => {
                let why = format!("error parsing succeededIndexes: {why}");
                errors.push(FieldError::invalid(&path, text, why));
            }
        }
    }
    let Some(wanted) = wanted else { return };
    let path = path.child("succeededCount");
    check::nonnegative(errors, &path, Some(wanted));
    if wanted > completions {
        let why =
            format!("must be less than or equal to {completions} (the number of specified completions)");
        errors.push(FieldError::invalid(&path, wanted, why));
    }
    if named.is_some() && wanted > total {
        let why = format!(
            "must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)"
        );
        errors.push(FieldError::invalid(&path, wanted, why));
    }
}
