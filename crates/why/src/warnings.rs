//! Events of type Warning as sentences.

use k8s_openapi::api::core::v1::Event;

/// How many warnings are shown: the newest.
const WARNINGS: usize = 3;

/// The newest warnings, each once.
pub fn lines(events: &[Event]) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for event in newest(events) {
        let line = format!(
            "warning {}: {}",
            event.reason.as_deref().unwrap_or_default(),
            event.message.as_deref().unwrap_or_default().trim_end()
        );
        if !lines.contains(&line) && lines.len() < WARNINGS {
            lines.push(line);
        }
    }
    lines
}

/// The message of the newest warning of a reason.
pub fn message<'a>(events: &'a [Event], reason: &str) -> Option<&'a str> {
    newest(events).into_iter().find(|event| event.reason.as_deref() == Some(reason))?.message.as_deref()
}

/// The warnings, the newest first.
fn newest(events: &[Event]) -> Vec<&Event> {
    let mut found: Vec<&Event> =
        events.iter().filter(|event| event.type_.as_deref() == Some("Warning")).collect();
    found.sort_by_key(|event| {
        let series =
            event.series.as_ref().and_then(|series| series.last_observed_time.as_ref()).map(|time| time.0);
        let last = event.last_timestamp.as_ref().map(|time| time.0);
        let first = event.event_time.as_ref().map(|time| time.0);
        std::cmp::Reverse(series.or(last).or(first))
    });
    found
}
