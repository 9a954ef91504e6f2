//! Events, of the core group and of events.k8s.io alike.

use api::Object;
use jiff::Timestamp;
use serde_json::Value;

use super::read::{number, since, text};
use super::{Column, Head, NAME, column, wide};

pub(crate) const COLUMNS: &[Column] = &[
    column("Last Seen", "string", "The time at which the most recent occurrence of this event was recorded."),
    column("Type", "string", "Type of this event (Normal, Warning), new types could be added in the future"),
    column("Reason", "string", "Why the object's current status came to be."),
    column("Object", "string", "The object that this event is about."),
    wide("Subobject", "string", "The part of the object that this event is about."),
    wide("Source", "string", "The component reporting this event."),
    column("Message", "string", "A human-readable description of the status of this operation."),
    wide("First Seen", "string", "The time at which the event was first recorded."),
    wide("Count", "string", "The number of times this event has occurred."),
    Column { head: Head { priority: 1, ..NAME.head }, ..NAME },
];

pub(crate) fn cells(event: &Object, now: Timestamp) -> Vec<Value> {
    let ago = |paths: &[&[&str]]| {
        let time = paths.iter().map(|p| text(event, p)).find(|t| !t.is_empty());
        since(time.unwrap_or(""), now)
    };
    let first: [&[&str]; 3] = [&["firstTimestamp"], &["deprecatedFirstTimestamp"], &["eventTime"]];
    let last: [&[&str]; 3] =
        [&["series", "lastObservedTime"], &["lastTimestamp"], &["deprecatedLastTimestamp"]];
    let all: Vec<&[&str]> = last.into_iter().chain(first).collect();
    let counts = [&["series", "count"][..], &["count"], &["deprecatedCount"]];
    let count = counts.iter().map(|p| number(event, p)).find(|n| *n != 0).unwrap_or(1);
    vec![
        ago(&all).into(),
        text(event, &["type"]).into(),
        text(event, &["reason"]).into(),
        target(event).into(),
        about(event, "fieldPath").into(),
        source(event).into(),
        either(event, "message", "note").trim().into(),
        ago(&first).into(),
        count.into(),
        event.name().into(),
    ]
}

fn either<'a>(event: &'a Object, core: &str, new: &str) -> &'a str {
    let text_core = text(event, &[core]);
    if text_core.is_empty() { text(event, &[new]) } else { text_core }
}

/// A field of the object the event is about.
fn about<'a>(event: &'a Object, key: &str) -> &'a str {
    let core = text(event, &["involvedObject", key]);
    if core.is_empty() { text(event, &["regarding", key]) } else { core }
}

fn target(event: &Object) -> String {
    let kind = about(event, "kind").to_lowercase();
    match about(event, "name") {
        "" => kind,
        name => format!("{kind}/{name}"),
    }
}

fn source(event: &Object) -> String {
    let first = |paths: [&[&str]; 4]| {
        paths.into_iter().map(|p| text(event, p)).find(|t| !t.is_empty()).unwrap_or("").to_owned()
    };
    let component = first([
        &["source", "component"],
        &["deprecatedSource", "component"],
        &["reportingComponent"],
        &["reportingController"],
    ]);
    let host = first([&["source", "host"], &["deprecatedSource", "host"], &["reportingInstance"], &[]]);
    if host.is_empty() { component } else { format!("{component}, {host}") }
}
