//! A Job's specification.

use api::Object;
use api::field::{ErrorList, FieldError, Path};
use api::names;
use serde_json::Value;

use super::super::{check, pod, read, selector};
use super::{policies, template};

const COUNTS: [&str; 7] = [
    "parallelism",
    "completions",
    "activeDeadlineSeconds",
    "backoffLimit",
    "ttlSecondsAfterFinished",
    "backoffLimitPerIndex",
    "maxFailedIndexes",
];
const MANAGER_MAX_BYTES: usize = 63;
/// Limits of Indexed Jobs, so that the status stays small.
const MOST_PARALLEL: i64 = 100_000;
const MOST_FAILED: i64 = 100_000;
/// Beyond so many completions the limits are tighter where failures are counted index by index.
const MANY_COMPLETIONS: i64 = 100_000;
const MOST_PARALLEL_OF_MANY: i64 = 10_000;
const MOST_FAILED_OF_MANY: i64 = 10_000;

pub(crate) fn job(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::root("spec");
    let spec = read::top(object, "spec");
    generated_selector(&mut errors, &path, spec, object);
    whole_spec(&mut errors, &path, spec);
    host_names(&mut errors, spec, object);
    errors
}

/// The specification of a Job, whose selector selects the Job's pods.
fn whole_spec(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    job_spec(errors, path, spec);
    let at = path.child("selector");
    let found = read::get(spec, "selector");
    match found {
        None => errors.push(FieldError::required(&at, "")),
        Some(found) => selector::label_selector(errors, &at, Some(found)),
    }
    let labels = read::at(spec, &["template", "metadata", "labels"]).unwrap_or(&Value::Null);
    // No selector selects nothing.
    if found.map_or(Some(false), |found| selector::matches(found, labels)) == Some(false) {
        let template = path.child("template");
        let metadata = template.child("metadata");
        let detail = "`selector` does not match template `labels`";
        errors.push(FieldError::invalid(&metadata.child("labels"), labels.clone(), detail));
    }
}

/// Who does not select pods by hand has the selector made for the job, and no other.
fn generated_selector(errors: &mut ErrorList, path: &Path<'_>, spec: &Value, job: &Object) {
    if read::flag(spec, "manualSelector") || job.uid().is_empty() {
        return;
    }
    let Some(found) = read::get(spec, "selector") else { return };
    let expected = [
        ("controller-uid", job.uid()),
        ("job-name", job.name()),
        ("batch.kubernetes.io/controller-uid", job.uid()),
        ("batch.kubernetes.io/job-name", job.name()),
    ];
    let template = read::at(spec, &["template", "metadata"]).unwrap_or(&Value::Null);
    let at = path.child("template");
    let at = at.child("metadata");
    let at = at.child("labels");
    for (key, value) in expected {
        let detail = format!("must be '{value}'");
        match read::map(template, "labels").and_then(|labels| labels.get(key)).and_then(Value::as_str) {
            None => errors.push(FieldError::required(&at.key(key), detail)),
            Some(given) if given != value => {
                let labels = read::raw(template, "labels").cloned().unwrap_or_default();
                errors.push(FieldError::invalid(&at.key(key), labels, detail));
            }
            Some(_) => {}
        }
    }
    let labels =
        Value::Object(expected.map(|(key, value)| (key.to_owned(), value.into())).into_iter().collect());
    if selector::matches(found, &labels) == Some(false) {
        let detail = "`selector` not auto-generated";
        errors.push(FieldError::invalid(&path.child("selector"), found.clone(), detail));
    }
}

/// An Indexed Job's pods have host names that end in their index.
fn host_names(errors: &mut ErrorList, spec: &Value, job: &Object) {
    let completions = read::int(spec, "completions").filter(|n| *n > 0);
    let Some(completions) = completions.filter(|_| read::text(spec, "completionMode") == "Indexed") else {
        return;
    };
    let longest = format!("{}-{}", job.name(), completions - 1);
    if !names::dns1123_label(&longest).is_empty() {
        let metadata = Path::root("metadata");
        let detail = format!("will not able to create pod with invalid DNS label: {longest}");
        errors.push(FieldError::invalid(&metadata.child("name"), job.name(), detail));
    }
}

/// The part of the specification that cron jobs have as well.
pub(super) fn job_spec(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    for key in COUNTS {
        check::nonnegative(errors, &path.child(key), read::int(spec, key));
    }
    let (per_index, max_failed) =
        (read::int(spec, "backoffLimitPerIndex"), read::int(spec, "maxFailedIndexes"));
    if max_failed.is_some() && per_index.is_none() {
        let detail = "when maxFailedIndexes is specified";
        errors.push(FieldError::required(&path.child("backoffLimitPerIndex"), detail));
    }
    manager(errors, &path.child("managedBy"), spec);
    let mode = read::text(spec, "completionMode");
    check::if_given_one_of(errors, &path.child("completionMode"), mode, &["NonIndexed", "Indexed"]);
    match mode {
        "Indexed" => indexed(errors, path, spec),
        "" | "NonIndexed" => {
            for (key, value) in [("backoffLimitPerIndex", per_index), ("maxFailedIndexes", max_failed)] {
                if let Some(value) = value {
                    errors.push(FieldError::invalid(
                        &path.child(key),
                        value,
                        "requires indexed completion mode",
                    ));
                }
            }
        }
        _ => {}
    }
    policies::failure(errors, &path.child("podFailurePolicy"), spec);
    policies::success(errors, &path.child("successPolicy"), spec);
    policies::replacement(errors, &path.child("podReplacementPolicy"), spec);
    let at = path.child("template");
    let template = read::of(spec, "template");
    pod::template(errors, &at, template);
    restart_policy(errors, &at.child("spec"), spec, template);
}

fn indexed(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    let [completions, parallelism, max_failed, per_index] =
        ["completions", "parallelism", "maxFailedIndexes", "backoffLimitPerIndex"]
            .map(|key| read::int(spec, key));
    if completions.is_none() {
        errors.push(FieldError::required(&path.child("completions"), "when completion mode is Indexed"));
    }
    let mut at_most = |key: &str, value: Option<i64>, limit: i64, more: &str| {
        if let Some(value) = value.filter(|value| *value > limit) {
            let detail = format!("must be less than or equal to {limit}{more}");
            errors.push(FieldError::invalid(&path.child(key), value, detail));
        }
    };
    at_most("parallelism", parallelism, MOST_PARALLEL, " when completion mode is Indexed");
    let more_than_all = max_failed.zip(completions).filter(|(most, all)| most > all).map(|(most, _)| most);
    at_most("maxFailedIndexes", max_failed, MOST_FAILED, "");
    let is_uncounted = completions.is_some_and(|n| n > MANY_COMPLETIONS) && per_index.is_some();
    if is_uncounted {
        let more =
            format!(" when completions are above {MANY_COMPLETIONS} and used with backoff limit per index");
        at_most("parallelism", parallelism, MOST_PARALLEL_OF_MANY, &more);
        at_most("maxFailedIndexes", max_failed, MOST_FAILED_OF_MANY, &more);
    }
    if let Some(most) = more_than_all {
        let detail = "must be less than or equal to completions";
        errors.push(FieldError::invalid(&path.child("maxFailedIndexes"), most, detail));
    }
    if is_uncounted && max_failed.is_none() {
        let detail = format!("must be specified when completions is above {MANY_COMPLETIONS}");
        errors.push(FieldError::required(&path.child("maxFailedIndexes"), detail));
    }
}

/// A domain and a path.
fn manager(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    let Some(name) = read::get(spec, "managedBy").and_then(Value::as_str) else { return };
    match name.split_once('/') {
        _ if name.is_empty() => errors.push(FieldError::required(path, "")),
        Some((domain, rest)) if !domain.is_empty() && !rest.is_empty() => {
            check::faults(errors, path, domain, names::dns1123_subdomain(domain));
            let is_sound = |b: u8| b.is_ascii_alphanumeric() || b"/%:@!$&'()*+,;=_.~-".contains(&b);
            if !rest.bytes().all(is_sound) {
                let detail = "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')";
                errors.push(FieldError::invalid(path, rest, detail));
            }
        }
        _ => {
            let detail = "must be a domain-prefixed path (such as \"acme.io/foo\")";
            errors.push(FieldError::invalid(path, name, detail));
        }
    }
    if name.len() > MANAGER_MAX_BYTES {
        errors.push(FieldError::too_long(path, MANAGER_MAX_BYTES));
    }
}

fn restart_policy(errors: &mut ErrorList, path: &Path<'_>, spec: &Value, template: &Value) {
    let at = path.child("restartPolicy");
    let policy = read::raw(template, "spec").map_or("", |pod| read::text(pod, "restartPolicy"));
    match policy {
        "" | "Always" => {
            errors.push(FieldError::required(&at, "valid values: \"OnFailure\", \"Never\""));
        }
        "OnFailure" if read::get(spec, "podFailurePolicy").is_some() => {
            let detail = "only \"Never\" is supported when podFailurePolicy is specified";
            errors.push(FieldError::invalid(&at, policy, detail));
        }
        "OnFailure" | "Never" => {}
        other => errors.push(FieldError::not_supported(&at, other, &["OnFailure", "Never"])),
    }
}

pub(crate) fn job_update(new: &Object, old: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::root("spec");
    let (after, before) = (read::top(new, "spec"), read::top(old, "spec"));
    whole_spec(&mut errors, &path, after);
    completions(&mut errors, &path.child("completions"), after, before);
    template::update(&mut errors, &path.child("template"), new, old);
    let fixed = [
        "selector",
        "completionMode",
        "podFailurePolicy",
        "backoffLimitPerIndex",
        "managedBy",
        "successPolicy",
    ];
    for key in fixed {
        check::unchanged(&mut errors, &path.child(key), read::raw(after, key), read::raw(before, key));
    }
    errors
}

/// Indexed Jobs grow and shrink with their parallelism; the others' completions are fixed.
fn completions(errors: &mut ErrorList, path: &Path<'_>, after: &Value, before: &Value) {
    let (new, old) = (read::raw(after, "completions"), read::raw(before, "completions"));
    if read::text(after, "completionMode") != "Indexed" {
        return check::unchanged(errors, path, new, old);
    }
    let wanted = read::int(after, "completions");
    if let Some(wanted) = wanted.filter(|wanted| {
        Some(*wanted) != read::int(before, "completions") && Some(*wanted) != read::int(after, "parallelism")
    }) {
        let detail = "can only be modified in tandem with spec.parallelism";
        errors.push(FieldError::invalid(path, wanted, detail));
    }
}
