//! Cron jobs.

use api::Object;
use api::field::{ErrorList, FieldError, Path};
use serde_json::Value;

use super::super::{check, read};
use super::job::job_spec;
use crate::cron::{self, Schedule};

/// The longest name of a cron job: jobs' names add eleven characters.
const MAX_NAME_BYTES: usize = 52;

pub(crate) fn cron_job(object: &Object) -> ErrorList {
    let mut errors = cron_job_spec(object, None);
    if object.name().len() > MAX_NAME_BYTES {
        let metadata = Path::root("metadata");
        let detail = format!("must be no more than {MAX_NAME_BYTES} characters");
        errors.push(FieldError::invalid(&metadata.child("name"), object.name(), detail));
    }
    errors
}

/// Old cron jobs may keep what new ones may not have.
pub(crate) fn cron_job_update(new: &Object, old: &Object) -> ErrorList {
    cron_job_spec(new, Some(read::top(old, "spec")))
}

fn cron_job_spec(object: &Object, old: Option<&Value>) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::root("spec");
    let spec = read::top(object, "spec");
    schedule(&mut errors, &path.child("schedule"), spec, old);
    let nonnegative = |errors: &mut ErrorList, key: &str| {
        check::nonnegative(errors, &path.child(key), read::int(spec, key));
    };
    nonnegative(&mut errors, "startingDeadlineSeconds");
    let zone = |spec: &'_ Value| read::get(spec, "timeZone").cloned();
    if old.is_none_or(|old| zone(old) != zone(spec)) {
        time_zone(&mut errors, &path.child("timeZone"), spec);
    }
    let policy = read::text(spec, "concurrencyPolicy");
    let policies = ["Allow", "Forbid", "Replace"];
    check::one_of(&mut errors, &path.child("concurrencyPolicy"), policy, &policies);
    let at = path.child("jobTemplate");
    let at = at.child("spec");
    let job = read::at(spec, &["jobTemplate", "spec"]).unwrap_or(&Value::Null);
    job_spec(&mut errors, &at, job);
    if let Some(selector) = read::get(job, "selector") {
        let detail = "`selector` will be auto-generated";
        errors.push(FieldError::invalid(&at.child("selector"), selector.clone(), detail));
    }
    if read::flag(job, "manualSelector") {
        let supported = ["nil", "false"];
        errors.push(FieldError::not_supported(&at.child("manualSelector"), true, &supported));
    }
    for key in ["successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
        nonnegative(&mut errors, key);
    }
    errors
}

fn schedule(errors: &mut ErrorList, path: &Path<'_>, spec: &Value, old: Option<&Value>) {
    let schedule = read::text(spec, "schedule");
    if !check::required(errors, path, schedule) {
        return;
    }
    if let Err(why) = Schedule::parse(schedule) {
        errors.push(FieldError::invalid(path, schedule, why));
    }
    if !schedule.contains("TZ") {
        return;
    }
    let had_one = old.is_some_and(|old| read::text(old, "schedule").contains("TZ"));
    let why = match (had_one, read::get(spec, "timeZone").is_some()) {
        (true, true) => "cannot use both timeZone field and TZ or CRON_TZ in schedule",
        (true, false) => return,
        (false, _) => "cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
    };
    errors.push(FieldError::invalid(path, schedule, why));
}

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
    } else if zone.eq_ignore_ascii_case("local") {
        "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones".to_owned()
    } else if !zone.split('/').all(part_is_sound) || cron::zone(zone).is_none() {
        format!("unknown time zone {zone}")
    } else {
        return;
    };
    errors.push(FieldError::invalid(path, zone, why));
}
