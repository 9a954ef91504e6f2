//! A Job's status: no end is untold, and nothing that was told is taken back.

use std::collections::HashSet;

use api::Object;
use api::field::{ErrorList, FieldError, Path};
use jiff::Timestamp;
use serde_json::Value;

use super::super::{check, read};
use super::indexes;

const COUNTS: [&str; 5] = ["active", "succeeded", "failed", "ready", "terminating"];

/// Who writes the status of a Job is its controller, which may be somebody else's: upstream checks what matters to
/// those who wait for a Job only where it changes.
pub(crate) fn job_status(new: &Object, old: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::root("status");
    let (spec, status, before) = (read::top(new, "spec"), read::top(new, "status"), read::top(old, "status"));
    for key in COUNTS {
        check::nonnegative(&mut errors, &path.child(key), read::int(status, key));
    }
    uncounted(&mut errors, &path.child("uncountedTerminatedPods"), status);
    conditions(&mut errors, &path.child("conditions"), status, before);
    if read::get(spec, "successPolicy").is_some()
        && holds(status, "Complete")
        && !holds(status, "SuccessCriteriaMet")
    {
        let why = "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True";
        errors.push(FieldError::invalid_whole(&path.child("conditions"), why));
    }
    if is_over(status) && !is_over(before) {
        ended(&mut errors, &path, spec, status);
    }
    times(&mut errors, &path, spec, status, before);
    index_texts(&mut errors, &path, spec, status, before);
    counters(&mut errors, &path, spec, status, before);
    errors
}

fn holds(status: &Value, type_: &str) -> bool {
    let conditions = read::list(status, "conditions").iter();
    let mut of_type = conditions.filter(|condition| read::text(condition, "type") == type_);
    of_type.any(|condition| read::text(condition, "status") == "True")
}

fn is_over(status: &Value) -> bool {
    holds(status, "Complete") || holds(status, "Failed")
}

fn uncounted(errors: &mut ErrorList, path: &Path<'_>, status: &Value) {
    let mut seen = HashSet::new();
    let pods = read::of(status, "uncountedTerminatedPods");
    for key in ["succeeded", "failed"] {
        let path = path.child(key);
        for (at, uid) in read::texts(pods, key).enumerate() {
            if uid.is_empty() {
                errors.push(FieldError::invalid(&path.index(at), uid, "must not be empty"));
            } else if !seen.insert(uid) {
                errors.push(FieldError::duplicate(&path.index(at), uid));
            }
        }
    }
}

fn conditions(errors: &mut ErrorList, path: &Path<'_>, status: &Value, before: &Value) {
    let mut say = |wrong: bool, why: String| {
        if wrong {
            errors.push(FieldError::invalid_whole(path, why));
        }
    };
    let is = |type_: &str| holds(status, type_);
    let was = |type_: &str| holds(before, type_);
    for (one, other) in [
        ("Complete=True", "Failed=true"),
        ("Complete=True", "FailureTarget=true"),
        ("SuccessCriteriaMet=True", "Failed=true"),
        ("SuccessCriteriaMet=True", "FailureTarget=true"),
    ] {
        let type_ = |text: &str| text.split_once('=').map_or(String::new(), |(type_, _)| type_.to_owned());
        let both = is(&type_(one)) && is(&type_(other));
        say(both, format!("cannot set {one} and {other} conditions"));
    }
    let ends = [("Failed", "FailureTarget"), ("Complete", "SuccessCriteriaMet")];
    for (last, interim) in ends {
        let alone = is(last) && !was(last) && !is(interim);
        say(alone, format!("cannot set {last}=True condition without the {interim}=true condition"));
    }
    for type_ in ["Failed", "Complete", "FailureTarget"] {
        say(was(type_) && !is(type_), format!("cannot disable the terminal {type_}=True condition"));
    }
    let taken_back = was("SuccessCriteriaMet") && !is("SuccessCriteriaMet");
    say(taken_back, "cannot disable the SuccessCriteriaMet=True condition".to_owned());
    let late = was("Complete") && !was("SuccessCriteriaMet") && is("SuccessCriteriaMet");
    say(late, "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions".to_owned());
}

/// A Job that ends has nothing left to do or to count.
fn ended(errors: &mut ErrorList, path: &Path<'_>, spec: &Value, status: &Value) {
    for key in ["active", "terminating"] {
        if let Some(count) = read::int(status, key).filter(|count| *count > 0) {
            let why = format!("{key}>0 is invalid for finished job");
            errors.push(FieldError::invalid(&path.child(key), count, why));
        }
    }
    if read::get(status, "startTime").is_none() && !read::flag(spec, "suspend") {
        let why = "startTime is required for finished job";
        errors.push(FieldError::required(&path.child("startTime"), why));
    }
    let pods = read::of(status, "uncountedTerminatedPods");
    if ["succeeded", "failed"].iter().any(|key| !read::list(pods, key).is_empty()) {
        let why = "must be empty for finished job";
        errors.push(FieldError::invalid(&path.child("uncountedTerminatedPods"), pods.clone(), why));
    }
}

fn times(errors: &mut ErrorList, path: &Path<'_>, spec: &Value, status: &Value, before: &Value) {
    let (start, done) = (read::get(status, "startTime"), read::get(status, "completionTime"));
    let (started, was_done) = (read::get(before, "startTime"), read::get(before, "completionTime"));
    let complete = holds(status, "Complete");
    let at = path.child("completionTime");
    if let Some(done) = done.filter(|_| !complete) {
        let why = "cannot set completionTime when there is no Complete=True condition";
        errors.push(FieldError::invalid(&at, done.clone(), why));
    }
    if done.is_none() && complete {
        errors.push(FieldError::required(&at, "completionTime is required for Complete jobs"));
    }
    let time = |value: Option<&Value>| value.and_then(Value::as_str)?.parse::<Timestamp>().ok();
    if let (Some(from), Some(to)) = (time(start), time(done))
        && to < from
    {
        errors.push(FieldError::invalid(
            &at,
            done.cloned().unwrap_or_default(),
            "must be equal to or after `startTime`",
        ));
    }
    if done.is_some() && was_done.is_some() && time(done) != time(was_done) {
        let why = check::IMMUTABLE;
        errors.push(FieldError::invalid(&at, done.cloned().unwrap_or_default(), why));
    }
    if started.is_some()
        && time(started) != time(start)
        && !read::flag(spec, "suspend")
        && !just_resumed(status, before)
    {
        let why = "field is immutable for unsuspended job once set";
        let value = start.cloned().unwrap_or_default();
        errors.push(FieldError::invalid(&path.child("startTime"), value, why));
    }
}

/// A resumed Job starts anew.
fn just_resumed(status: &Value, before: &Value) -> bool {
    holds(before, "Suspended") && !holds(status, "Suspended")
}

fn index_texts(errors: &mut ErrorList, path: &Path<'_>, spec: &Value, status: &Value, before: &Value) {
    let text =
        |status: &'_ Value, key: &str| read::get(status, key).and_then(Value::as_str).map(str::to_owned);
    let (completed, failed) = (text(status, "completedIndexes"), text(status, "failedIndexes"));
    let changed = completed != text(before, "completedIndexes") || failed != text(before, "failedIndexes");
    if !changed {
        return;
    }
    let indexed = read::text(spec, "completionMode") == "Indexed";
    if let Some(text) = completed.as_ref().filter(|text| !text.is_empty() && !indexed) {
        let why = "cannot set non-empty completedIndexes when non-indexed completion mode";
        errors.push(FieldError::invalid(&path.child("completedIndexes"), text.as_str(), why));
    }
    if let Some(text) = failed.as_ref().filter(|_| read::int(spec, "backoffLimitPerIndex").is_none()) {
        let why = "cannot set non-null failedIndexes when backoffLimitPerIndex is null";
        errors.push(FieldError::invalid(&path.child("failedIndexes"), text.as_str(), why));
    }
    let Some(completions) = read::int(spec, "completions") else { return };
    for (key, text) in [("completedIndexes", &completed), ("failedIndexes", &failed)] {
        let Some(text) = text else { continue };
        if let Err(why) = indexes::count(text, completions) {
            let why = format!("error parsing {key}: {why}");
            errors.push(FieldError::invalid(&path.child(key), text.as_str(), why));
        }
    }
    if let (Some(completed), Some(failed)) = (completed, failed)
        && let Some(index) = indexes::overlap(&completed, &failed, completions)
    {
        let why = format!("failedIndexes and completedIndexes overlap at index: {index}");
        errors.push(FieldError::invalid(&path.child("failedIndexes"), failed, why));
    }
}

fn counters(errors: &mut ErrorList, path: &Path<'_>, spec: &Value, status: &Value, before: &Value) {
    let count = |status: &'_ Value, key: &str| read::int(status, key).unwrap_or(0);
    // An Indexed Job that shrinks forgets the indexes beyond.
    let fixed = if read::text(spec, "completionMode") == "Indexed" {
        &["failed"][..]
    } else {
        &["failed", "succeeded"]
    };
    for key in fixed {
        if count(status, key) < count(before, key) {
            let why = format!("cannot decrease the {key} counter");
            errors.push(FieldError::invalid(&path.child(key), count(status, key), why));
        }
    }
    let (ready, active) = (count(status, "ready"), count(status, "active"));
    let changed = ready != count(before, "ready") || active != count(before, "active");
    if changed && ready > active {
        errors.push(FieldError::invalid(
            &path.child("ready"),
            ready,
            "cannot set more ready pods than active",
        ));
    }
}
