//! Events: news with a time of their own say who reports what was done; those of the old form only lie in the
//! namespace of what they are about. Facts: upstream's `pkg/apis/core/validation/events.go`, which names the fields
//! of both groups as the core group has them.

use api::Object;
use api::field::{ErrorList, FieldError, Path};
use api::names;
use serde_json::Value;

use super::{check, read};

const MAX_WORD: usize = 128;
const MAX_NOTE: usize = 1024;

/// What the fields are called in a group.
struct Fields {
    about: &'static str,
    reporter: &'static str,
    /// How errors call the reporter.
    reporter_said: &'static str,
    note: &'static str,
    source: &'static str,
    first: &'static str,
    last: &'static str,
    count: &'static str,
}

const CORE: Fields = Fields {
    about: "involvedObject",
    reporter: "reportingComponent",
    reporter_said: "reportingComponent",
    note: "message",
    source: "source",
    first: "firstTimestamp",
    last: "lastTimestamp",
    count: "count",
};

const GROUP: Fields = Fields {
    about: "regarding",
    reporter: "reportingController",
    reporter_said: "reportingController",
    note: "note",
    source: "deprecatedSource",
    first: "deprecatedFirstTimestamp",
    last: "deprecatedLastTimestamp",
    count: "deprecatedCount",
};

/// An event of the core group, new or changed.
pub(crate) fn of_core(event: &Object) -> ErrorList {
    sensible(event, &CORE)
}

/// A new event of events.k8s.io.
pub(crate) fn of_group(event: &Object) -> ErrorList {
    let mut errors = sensible(event, &GROUP);
    series(&mut errors, event);
    if !is_given(event, "eventTime") {
        errors.push(FieldError::required(&Path::root("eventTime"), ""));
    }
    let kind = top_text(event, "type");
    if !matches!(kind, "Normal" | "Warning") {
        let detail = format!("has invalid value: {kind}");
        errors.push(FieldError::invalid(&Path::root("type"), "", detail));
    }
    let source = read::top(event, GROUP.source);
    let has_source = ["component", "host"].iter().any(|key| !read::text(source, key).is_empty());
    let has_count = read::top_raw(event, GROUP.count).and_then(Value::as_i64).unwrap_or(0) != 0;
    for (is_set, field) in [
        (is_given(event, GROUP.first), CORE.first),
        (is_given(event, GROUP.last), CORE.last),
        (has_count, CORE.count),
        (has_source, CORE.source),
    ] {
        if is_set {
            errors.push(FieldError::invalid(&Path::root(field), "", "needs to be unset"));
        }
    }
    errors
}

/// Of an event of events.k8s.io, only the series changes.
pub(crate) fn of_group_update(new: &Object, old: &Object) -> ErrorList {
    let mut errors = sensible(new, &GROUP);
    if read::top_raw(new, "series") != read::top_raw(old, "series") {
        series(&mut errors, new);
    }
    for (field, said) in [
        (GROUP.about, CORE.about),
        ("reason", "reason"),
        (GROUP.note, CORE.note),
        (GROUP.source, CORE.source),
        (GROUP.first, CORE.first),
        (GROUP.last, CORE.last),
        (GROUP.count, CORE.count),
        ("type", "type"),
        ("eventTime", "eventTime"),
        ("action", "action"),
        ("related", "related"),
        (GROUP.reporter, GROUP.reporter_said),
        ("reportingInstance", "reportingInstance"),
    ] {
        check::unchanged(
            &mut errors,
            &Path::root(said),
            read::top_raw(new, field),
            read::top_raw(old, field),
        );
    }
    errors
}

fn top_text<'a>(event: &'a Object, key: &str) -> &'a str {
    read::top_raw(event, key).and_then(Value::as_str).unwrap_or("")
}

fn is_given(event: &Object, key: &str) -> bool {
    read::top_raw(event, key).is_some_and(|value| !value.is_null())
}

fn series(errors: &mut ErrorList, event: &Object) {
    let series = read::top(event, "series");
    if series.is_null() {
        return;
    }
    let path = Path::root("series");
    if read::int(series, "count").unwrap_or(0) < 2 {
        errors.push(FieldError::invalid(&path.child("count"), "", "should be at least 2"));
    }
    if read::get(series, "lastObservedTime").is_none() {
        errors.push(FieldError::required(&path.child("lastObservedTime"), ""));
    }
}

/// What holds for all events.
fn sensible(event: &Object, fields: &Fields) -> ErrorList {
    let mut errors = ErrorList::new();
    let about = Path::root(CORE.about);
    let (place, of_object) = (event.namespace(), read::text(read::top(event, fields.about), "namespace"));
    let is_timed = is_given(event, "eventTime");
    let fits = match (of_object, is_timed) {
        ("", false) => matches!(place, "" | "default"),
        ("", true) => matches!(place, "default" | "kube-system"),
        (_, true) => true,
        (namespace, false) => namespace == place,
    };
    if !fits {
        let detail = "does not match event.namespace";
        errors.push(FieldError::invalid(&about.child("namespace"), of_object, detail));
    }
    if is_timed {
        let reporter = top_text(event, fields.reporter);
        let at = Path::root(fields.reporter_said);
        check::required(&mut errors, &at, reporter);
        check::faults(&mut errors, &at, reporter, names::qualified_name(reporter));
        for key in ["reportingInstance", "action", "reason"] {
            let (at, word) = (Path::root(key), top_text(event, key));
            check::required(&mut errors, &at, word);
            at_most(&mut errors, &at, word, MAX_WORD);
        }
        at_most(&mut errors, &Path::root(CORE.note), top_text(event, fields.note), MAX_NOTE);
    }
    check::faults(&mut errors, &Path::root("namespace"), place, names::dns1123_subdomain(place));
    errors
}

fn at_most(errors: &mut ErrorList, path: &Path<'_>, text: &str, max: usize) {
    if text.len() > max {
        errors.push(FieldError::invalid(path, "", format!("can have at most {max} characters")));
    }
}
