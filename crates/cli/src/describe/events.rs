//! The events of an object, the last part of most descriptions.

use serde_json::Value;

use super::fields::{Fields as _, or};
use super::related::{RelatedError, Selection};
use super::text::{Text, put};
use super::view::{View, core, parsed};

/// What events are searched by.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    pub name: &'a str,
    pub namespace: &'a str,
    /// Any kind where empty.
    pub kind: &'a str,
    /// Any where empty.
    pub uid: &'a str,
}

impl<'a> About<'a> {
    pub fn of(object: &'a Value) -> Self {
        Self {
            name: object.text("metadata.name"),
            namespace: object.text("metadata.namespace"),
            kind: object.text("kind"),
            uid: object.text("metadata.uid"),
        }
    }
}

/// Searches the events about an object.
///
/// # Errors
/// When they cannot be listed.
pub fn search(view: &View<'_>, about: About<'_>) -> Result<Vec<Value>, RelatedError> {
    let mut fields = vec![
        format!("involvedObject.name={}", about.name),
        format!("involvedObject.namespace={}", about.namespace),
    ];
    if !about.kind.is_empty() {
        fields.push(format!("involvedObject.kind={}", about.kind));
    }
    if !about.uid.is_empty() {
        fields.push(format!("involvedObject.uid={}", about.uid));
    }
    let namespace = Some(about.namespace).filter(|namespace| !namespace.is_empty());
    view.related
        .list(core("events"), Selection { namespace, label_selector: "", field_selector: &fields.join(",") })
}

/// The events of the described object, where they are wanted. That they could not be read is shown as none, as in
/// stock kubectl.
pub fn write(view: &View<'_>, text: &mut Text) {
    if view.show_events {
        let found = search(view, About::of(view.object)).unwrap_or_default();
        table(view, text, found);
    }
}

pub fn table(view: &View<'_>, text: &mut Text, mut events: Vec<Value>) {
    if events.is_empty() {
        put!(text, 0, "Events:\t<none>");
        return;
    }
    text.flush();
    events.sort_by_key(|event| parsed(event.at("lastTimestamp")));
    put!(text, 0, "Events:\n  Type\tReason\tAge\tFrom\tMessage");
    put!(text, 1, "----\t------\t----\t----\t-------");
    for event in &events {
        let source = or(event.text("source.component"), event.text("reportingComponent"));
        let mut message = event.text("message").trim().to_owned();
        let path = event.text("involvedObject.fieldPath");
        if !path.is_empty() {
            message = format!("{path}: {message}");
        }
        let (kind, reason, age) = (event.text("type"), event.text("reason"), age(view, event));
        put!(text, 1, "{kind}\t{reason}\t{age}\t{source}\t{message}");
    }
}

fn age(view: &View<'_>, event: &Value) -> String {
    let first = match event.at("eventTime") {
        Some(time) => view.since(Some(time)),
        None => view.since(event.at("firstTimestamp")),
    };
    if let Some(series) = event.at("series") {
        let last = view.since(series.at("lastObservedTime"));
        return format!("{last} (x{} over {first})", series.number("count"));
    }
    let count = event.number("count");
    if count > 1 {
        return format!("{} (x{count} over {first})", view.since(event.at("lastTimestamp")));
    }
    first
}
