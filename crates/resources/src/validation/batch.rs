//! Jobs and cron jobs.

use api::Object;
use api::field::{ErrorList, FieldError, Path};
use serde_json::Value;

use super::{check, cron, pod, read, selector};

const COUNTS: [&str; 7] = [
    "parallelism",
    "completions",
    "activeDeadlineSeconds",
    "backoffLimit",
    "ttlSecondsAfterFinished",
    "backoffLimitPerIndex",
    "maxFailedIndexes",
];
/// The longest name of a cron job: jobs' names add eleven characters.
const MAX_CRON_NAME_BYTES: usize = 52;

pub(crate) fn job(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::root("spec");
    let spec = read::top(object, "spec");
    generated_selector(&mut errors, &path, spec, object);
    job_spec(&mut errors, &path, spec);
    let at = path.child("selector");
    match read::get(spec, "selector") {
        None => errors.push(FieldError::required(&at, "")),
        Some(found) => {
            selector::label_selector(&mut errors, &at, Some(found));
            let labels = read::at(spec, &["template", "metadata", "labels"]).unwrap_or(&Value::Null);
            if selector::matches(found, labels) == Some(false) {
                let template = path.child("template");
                let metadata = template.child("metadata");
                let detail = "`selector` does not match template `labels`";
                errors.push(FieldError::invalid(&metadata.child("labels"), labels.clone(), detail));
            }
        }
    }
    errors
}

/// Who does not select pods by hand has the selector made for the job, and no other.
fn generated_selector(errors: &mut ErrorList, path: &Path<'_>, spec: &Value, job: &Object) {
    if read::flag(spec, "manualSelector") || job.uid().is_empty() {
        return;
    }
    let Some(found) = read::get(spec, "selector") else { return };
    let uid = "batch.kubernetes.io/controller-uid";
    let own = read::raw(found, "matchLabels")
        .is_some_and(|labels| [uid, "controller-uid"].iter().any(|key| read::text(labels, key) == job.uid()));
    if !own || read::map(found, "matchLabels").is_some_and(|labels| labels.len() != 1) {
        let detail = "`selector` not auto-generated";
        errors.push(FieldError::invalid(&path.child("selector"), found.clone(), detail));
    }
}

fn job_spec(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    for key in COUNTS {
        check::nonnegative(errors, &path.child(key), read::int(spec, key));
    }
    let mode = read::text(spec, "completionMode");
    check::if_given_one_of(errors, &path.child("completionMode"), mode, &["Indexed", "NonIndexed"]);
    if mode == "Indexed" && read::int(spec, "completions").is_none() {
        let detail = "when completion mode is Indexed";
        errors.push(FieldError::required(&path.child("completions"), detail));
    }
    let replacement = read::text(spec, "podReplacementPolicy");
    let replacements = ["Failed", "TerminatingOrFailed"];
    check::if_given_one_of(errors, &path.child("podReplacementPolicy"), replacement, &replacements);
    let at = path.child("template");
    let template = read::of(spec, "template");
    pod::template(errors, &at, template);
    let at = at.child("spec");
    let policy = read::raw(template, "spec").map_or("", |s| read::text(s, "restartPolicy"));
    match policy {
        "OnFailure" | "Never" => {}
        "Always" => {
            let detail = "valid values: \"OnFailure\", \"Never\"";
            errors.push(FieldError::required(&at.child("restartPolicy"), detail));
        }
        other => {
            let supported = ["OnFailure", "Never"];
            errors.push(FieldError::not_supported(&at.child("restartPolicy"), other, &supported));
        }
    }
    if read::get(spec, "podFailurePolicy").is_some() && policy != "Never" {
        let detail = "only \"Never\" is supported when podFailurePolicy is specified";
        errors.push(FieldError::invalid(&at.child("restartPolicy"), policy, detail));
    }
}

pub(crate) fn job_update(new: &Object, old: &Object) -> ErrorList {
    let mut errors = job(new);
    let path = Path::root("spec");
    let (after, before) = (read::top(new, "spec"), read::top(old, "spec"));
    let mut fixed =
        vec!["selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy"];
    if !read::flag(before, "suspend") {
        fixed.push("template");
    }
    // Indexed jobs grow and shrink with their parallelism.
    let elastic = read::text(after, "completionMode") == "Indexed"
        && read::raw(after, "completions") == read::raw(after, "parallelism");
    if !elastic {
        fixed.push("completions");
    }
    for key in fixed {
        check::unchanged(&mut errors, &path.child(key), read::raw(after, key), read::raw(before, key));
    }
    errors
}

pub(crate) fn cron_job(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let metadata = Path::root("metadata");
    if object.name().len() > MAX_CRON_NAME_BYTES {
        let detail = format!("must be no more than {MAX_CRON_NAME_BYTES} characters");
        errors.push(FieldError::invalid(&metadata.child("name"), object.name(), detail));
    }
    let path = Path::root("spec");
    let spec = read::top(object, "spec");
    let schedule = read::text(spec, "schedule");
    if check::required(&mut errors, &path.child("schedule"), schedule) {
        if let Err(why) = cron::check(cron::without_zone(schedule)) {
            errors.push(FieldError::invalid(&path.child("schedule"), schedule, why));
        }
        if schedule.contains("TZ") {
            let why = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
            errors.push(FieldError::invalid(&path.child("schedule"), schedule, why));
        }
    }
    time_zone(&mut errors, &path.child("timeZone"), spec);
    for key in ["startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
        check::nonnegative(&mut errors, &path.child(key), read::int(spec, key));
    }
    let policy = read::text(spec, "concurrencyPolicy");
    let policies = ["Allow", "Forbid", "Replace"];
    check::one_of(&mut errors, &path.child("concurrencyPolicy"), policy, &policies);
    let at = path.child("jobTemplate");
    let at = at.child("spec");
    let job = read::at(spec, &["jobTemplate", "spec"]).unwrap_or(&Value::Null);
    job_spec(&mut errors, &at, job);
    if read::flag(job, "manualSelector") {
        let supported = ["nil", "false"];
        errors.push(FieldError::not_supported(&at.child("manualSelector"), true, &supported));
    }
    errors
}

/// The form of a time zone's name; which names exist only the machine knows that runs the jobs' controller. Upstream:
/// `validateTimeZone` of `pkg/apis/batch/validation`.
fn time_zone(errors: &mut ErrorList, path: &Path<'_>, spec: &Value) {
    let Some(zone) = read::get(spec, "timeZone").and_then(Value::as_str) else { return };
    let part_is_sound = |part: &str| {
        !matches!(part, "." | "..")
            && !part.starts_with('-')
            && (1..=14).contains(&part.len())
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_+".contains(&b))
    };
    let why = if zone.is_empty() {
        "timeZone must be nil or non-empty string".to_owned()
    } else if !zone.split('/').all(part_is_sound) {
        format!("unknown time zone {zone}")
    } else if zone.eq_ignore_ascii_case("local") {
        "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones".to_owned()
    } else {
        return;
    };
    errors.push(FieldError::invalid(path, zone, why));
}
