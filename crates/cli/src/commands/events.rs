//! `events`: what was recorded of objects, the oldest first.

use serde_json::{Value, json};

use super::Command;
use crate::client::{Line, Request, escaped};
use crate::failure::Failure;
use crate::format;
use crate::output::{err, out};
use crate::printing::OutputFormat;
use crate::session::Session;
use crate::table::Aligned;

pub const COMMANDS: [Command; 1] = [Command {
    words: "events",
    flags: &[
        format::FLAGS,
        "A all-namespaces bool=false, chunk-size int=500, for text, no-headers bool=false, types list, w watch bool=false",
    ],
    usage: "[(-o|--output=)json|yaml|name|go-template|…] [--for TYPE/NAME] [--watch] [--types=Normal,Warning]",
    about: "List events",
    run,
}];

fn run(session: &Session) -> Result<(), Failure> {
    let flags = &session.flags;
    let fields = about(session)?;
    let format = format::asked(flags, &[])?;
    if !flags.list("types").iter().all(|kind| ["normal", "warning"].contains(&kind.to_lowercase().as_str())) {
        return Err(Failure::message("valid --types are Normal or Warning"));
    }
    let path = if flags.bool("all-namespaces") {
        "/api/v1/events".to_owned()
    } else {
        format!("/api/v1/namespaces/{}/events", escaped(session.namespace()?))
    };
    if flags.bool("watch") {
        return watch(session, &path, &fields, format.as_ref());
    }
    let mut events = listed(session, &path, &fields)?;
    events.retain(|event| is_wanted(session, event));
    if events.is_empty() {
        err(&match flags.bool("all-namespaces") {
            true => "No events found.\n".to_owned(),
            false => format!("No events found in {} namespace.\n", session.namespace()?),
        });
        return Ok(());
    }
    events.sort_by_cached_key(time);
    match format {
        // As with the stock kubectl: a list has no name to be printed.
        Some(OutputFormat::Name) => Ok(()),
        Some(format) => {
            let list = json!({"apiVersion": "v1", "kind": "EventList", "metadata": {}, "items": events});
            format::print(&format, list, flags)
        }
        None => {
            let mut lines = headers(session);
            lines.extend(events.iter().map(|event| row(session, event)));
            out(&Aligned::default().text(&lines))
        }
    }
}

/// `--for` as a selector of fields.
fn about(session: &Session) -> Result<String, Failure> {
    let text = session.flags.text("for");
    if text.is_empty() {
        return Ok(String::new());
    }
    let Some((kind, name)) = text.split_once('/') else {
        return Err(Failure::message("--for must be in resource/name form"));
    };
    if name.contains('/') {
        return Err(Failure::message("arguments in resource/name form may not have more than one slash"));
    }
    let resource = session.resource(kind).map_err(|failure| Failure::Verbatim(failure.plain()))?;
    Ok(format!("involvedObject.kind={},involvedObject.name={name}", resource.kind))
}

fn listed(session: &Session, path: &str, fields: &str) -> Result<Vec<Value>, Failure> {
    let mut events = Vec::new();
    let mut token = String::new();
    loop {
        let request = Request::get(path)
            .with("fieldSelector", fields)
            .with("limit", session.flags.text("chunk-size"))
            .with("continue", &token);
        let mut page = session.client()?.json(&request)?;
        for mut event in page["items"].take().as_array().cloned().unwrap_or_default() {
            event["apiVersion"] = "v1".into();
            event["kind"] = "Event".into();
            events.push(event);
        }
        page["metadata"]["continue"].as_str().unwrap_or_default().clone_into(&mut token);
        if token.is_empty() {
            return Ok(events);
        }
    }
}

fn watch(session: &Session, path: &str, fields: &str, format: Option<&OutputFormat>) -> Result<(), Failure> {
    let request = Request::get(path).with("watch", "true").with("fieldSelector", fields);
    let mut stream = session.client()?.stream(&request)?;
    let mut aligned = Aligned::default();
    let mut began = false;
    while let Line::Text(line) = stream.line(None)? {
        let Ok(mut news) = serde_json::from_slice::<Value>(&line) else { continue };
        if news["type"] == "ERROR" {
            return Err(Failure::Status(Box::new(news["object"].take())));
        }
        let event = news["object"].take();
        if news["type"] == "DELETED" || news["type"] == "BOOKMARK" || !is_wanted(session, &event) {
            continue;
        }
        match format {
            Some(format) => format::print(format, event, &session.flags)?,
            None => {
                let mut lines = if began { Vec::new() } else { headers(session) };
                lines.push(row(session, &event));
                out(&aligned.text(&lines))?;
            }
        }
        began = true;
    }
    Ok(())
}

fn is_wanted(session: &Session, event: &Value) -> bool {
    let kinds = session.flags.list("types");
    let kind = event["type"].as_str().unwrap_or_default();
    kinds.is_empty() || kinds.iter().any(|wanted| wanted.eq_ignore_ascii_case(kind))
}

/// When it happened last; times in this form are ordered as texts.
fn time(event: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match (&event["series"], text(&event["lastTimestamp"])) {
        (Value::Object(series), _) => text(series.get("lastObservedTime").unwrap_or(&Value::Null)),
        (_, last) if !last.is_empty() => last,
        _ => text(&event["eventTime"]),
    }
}

fn headers(session: &Session) -> Vec<Vec<String>> {
    if session.flags.bool("no-headers") {
        return Vec::new();
    }
    let mut cells =
        if session.flags.bool("all-namespaces") { vec!["NAMESPACE".to_owned()] } else { Vec::new() };
    cells.extend(["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"].map(str::to_owned));
    vec![cells]
}

fn row(session: &Session, event: &Value) -> Vec<String> {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let mut cells = if session.flags.bool("all-namespaces") {
        vec![text("/metadata/namespace").to_owned()]
    } else {
        Vec::new()
    };
    cells.push(interval(session, event));
    cells.push(text("/type").to_owned());
    cells.push(text("/reason").to_owned());
    cells.push(format!("{}/{}", text("/involvedObject/kind"), text("/involvedObject/name")));
    // What a terminal could take for a command is written as text.
    cells.push(text("/message").trim().replace('\x1b', "^["));
    cells
}

/// `5m (x3 over 1h)`.
fn interval(session: &Session, event: &Value) -> String {
    let since = |value: &Value| {
        let time: Option<jiff::Timestamp> = value.as_str().and_then(|text| text.parse().ok());
        time.map_or("<unknown>".to_owned(), |time| {
            resources::columns::duration::human(session.now().duration_since(time))
        })
    };
    let first = if event["eventTime"].is_string() {
        since(&event["eventTime"])
    } else {
        since(&event["firstTimestamp"])
    };
    let count = event["count"].as_i64().unwrap_or(0);
    match &event["series"] {
        Value::Object(series) => {
            let last = series.get("lastObservedTime").unwrap_or(&Value::Null);
            let count = series.get("count").and_then(Value::as_i64).unwrap_or(0);
            format!("{} (x{count} over {first})", since(last))
        }
        _ if count > 1 => format!("{} (x{count} over {first})", since(&event["lastTimestamp"])),
        _ => first,
    }
}
