//! `wait`.

use std::time::Duration;

use serde_json::{Number, Value};

use super::{Command, delete};
use crate::builder::{self, FILES, Info, Target, Wanted};
use crate::client::{Line, Request};
use crate::failure::{Failure, quoted};
use crate::format;
use crate::output::out;
use crate::session::Session;

pub const COMMANDS: [Command; 1] = [Command {
    words: "wait",
    flags: &[
        FILES,
        format::FLAGS,
        "all bool=false, A all-namespaces bool=false, field-selector text, for array, local bool=false, l selector text, \
         timeout duration=30s",
    ],
    usage: "([-f FILENAME] | resource.group/resource.name | resource.group [(-l label | --all)]) [--for=create|--for=delete|--for condition=available|--for=jsonpath='{}'[=value]]",
    about: "Wait for a specific condition on one or many resources",
    run,
}];

/// What is waited for.
#[derive(Debug, PartialEq, Eq)]
enum Event {
    Created,
    Gone,
    Condition { kind: String, status: String },
    Field { path: Vec<String>, value: Option<String> },
}

fn event(text: &str) -> Result<Event, Failure> {
    let unknown = || Failure::message(format!("unrecognized condition: {}", quoted(text)));
    let lower = text.to_lowercase();
    if lower == "create" {
        return Ok(Event::Created);
    }
    if lower == "delete" {
        return Ok(Event::Gone);
    }
    if lower.starts_with("condition=") {
        let rest = &text["condition=".len()..];
        let (kind, status) = rest.split_once('=').unwrap_or((rest, "true"));
        return Ok(Event::Condition { kind: kind.to_owned(), status: status.to_owned() });
    }
    if lower.starts_with("jsonpath=") {
        return field(&text["jsonpath=".len()..]);
    }
    Err(unknown())
}

fn field(text: &str) -> Result<Event, Failure> {
    let text = text.trim_start_matches('\'');
    let end = text.find('}').map_or(text.len(), |end| end + 1);
    let (path, rest) = text.split_at(end);
    let rest = rest.strip_prefix('\'').unwrap_or(rest);
    let value = match rest.strip_prefix('=') {
        Some("") => return Err(Failure::message("jsonpath wait value cannot be empty")),
        Some(value) => Some(value.trim_matches(['\'', '"']).to_owned()),
        None if rest.is_empty() => None,
        None => {
            return Err(Failure::message(
                "jsonpath wait format must be --for=jsonpath='{.status.readyReplicas}'=3 or --for=jsonpath='{.status.readyReplicas}'",
            ));
        }
    };
    Ok(Event::Field { path: super::get::path(path)?, value })
}

/// How long it may take; less than nothing means a week, nothing one look.
fn limit(session: &Session) -> Duration {
    let ns = session.flags.duration_ns("timeout");
    match u64::try_from(ns) {
        Ok(ns) => Duration::from_nanos(ns),
        Err(_) => Duration::from_secs(7 * 24 * 3600),
    }
}

fn run(session: &Session) -> Result<(), Failure> {
    let flags = &session.flags;
    let events = flags.list("for").iter().map(|text| event(text)).collect::<Result<Vec<_>, _>>()?;
    let event = match events.as_slice() {
        [] => return Err(Failure::message("unrecognized condition: \"\"")),
        [one] => one,
        _ => {
            return Err(Failure::message(
                "knarr kubectl does not know several \"--for\" yet; use the stock kubectl",
            ));
        }
    };
    if flags.bool("local") {
        return Err(Failure::message(
            "knarr kubectl does not know \"--local\" of wait yet; use the stock kubectl",
        ));
    }
    let format = format::asked(flags, &[])?;
    let infos = chosen(session, event)?;
    let mut failures = Vec::new();
    for info in &infos {
        match one(session, info, event) {
            Err(failure) => failures.push(failure),
            Ok(object) => match &format {
                None => out(&format!("{} condition met\n", info.shown()))?,
                Some(crate::printing::OutputFormat::Name) => out(&format!("{}\n", info.shown()))?,
                Some(format) => format::print(format, object, flags)?,
            },
        }
    }
    Failure::all(failures)
}

/// The objects by name; a kind's objects are those that are there now.
fn chosen(session: &Session, event: &Event) -> Result<Vec<Info>, Failure> {
    let flags = &session.flags;
    let tolerant = *event == Event::Gone;
    let wanted = Wanted {
        words: session.arguments(),
        selector: flags.text("selector").to_owned(),
        field_selector: flags.text("field-selector").to_owned(),
        all_namespaces: flags.bool("all-namespaces"),
    };
    let mut infos = Vec::new();
    if wanted.words.is_empty() {
        if flags.list("filename").is_empty() {
            return Err(Failure::message(
                "You must provide one or more resources by argument or filename.\nExample resource specifications include:\n   '-f rsrc.yaml'\n   '--filename=rsrc.json'\n   '<resource> <name>'\n   '<resource>'",
            ));
        }
        return builder::manifests(session);
    }
    let selecting = flags.bool("all") || !wanted.selector.is_empty() || !wanted.field_selector.is_empty();
    for target in builder::targets(session, wanted.words)? {
        match target {
            Target::Kind(_) if !selecting => {
                return Err(Failure::message("resource(s) were provided, but no name was specified"));
            }
            Target::Kind(resource) => infos.extend(builder::list(session, &resource, &wanted)?),
            Target::Named(resource, name) => {
                builder::checked_name(&wanted)?;
                let namespace =
                    if resource.namespaced { session.namespace()?.to_owned() } else { String::new() };
                let info = Info { resource, namespace, name, source: String::new(), object: Value::Null };
                if *event != Event::Created {
                    match session.client()?.json(&Request::get(info.path()?)) {
                        Err(failure) if tolerant && failure.is_not_found() => continue,
                        other => other?,
                    };
                }
                infos.push(info);
            }
        }
    }
    if infos.is_empty() && !tolerant {
        return Err(Failure::message("no matching resources found"));
    }
    Ok(infos)
}

fn one(session: &Session, info: &Info, event: &Event) -> Result<Value, Failure> {
    let client = session.client()?;
    if *event == Event::Gone {
        let limit = limit(session);
        delete::wait(
            session,
            info,
            info.object["metadata"]["uid"].as_str().unwrap_or_default(),
            Some(limit),
        )?;
        return Ok(info.object.clone());
    }
    let started = session.now();
    loop {
        let object = match client.json(&Request::get(info.path()?)) {
            Err(failure) if failure.is_not_found() && *event == Event::Created => Value::Null,
            other => other?,
        };
        if !object.is_null() && is_met(&object, event) {
            return Ok(object);
        }
        let past = Duration::try_from(session.now().duration_since(started)).unwrap_or_default();
        let Some(left) = limit(session).checked_sub(past).filter(|left| !left.is_zero()) else {
            let what = format!(" on {}/{}", info.resource.plural, info.name);
            let what = if *event == Event::Created { String::new() } else { what };
            return Err(Failure::message(format!("timed out waiting for the condition{what}")));
        };
        let version = match object["metadata"]["resourceVersion"].as_str() {
            Some(version) => version.to_owned(),
            None => listed_version(session, info)?,
        };
        let request = Request::get(info.resource.path(info.scope()))
            .with("watch", "true")
            .with("fieldSelector", &format!("metadata.name={}", info.name))
            .with("resourceVersion", &version);
        match client.stream(&request)?.line(Some(left))? {
            Line::Text(_) | Line::End | Line::TimedOut => {}
        }
    }
}

/// The version of a list in which the object is not there, to watch from; 0 if it came meanwhile.
fn listed_version(session: &Session, info: &Info) -> Result<String, Failure> {
    let request = Request::get(info.resource.path(info.scope()))
        .with("fieldSelector", &format!("metadata.name={}", info.name));
    let list = session.client()?.json(&request)?;
    if list["items"].as_array().is_some_and(|items| !items.is_empty()) {
        return Ok("0".into());
    }
    Ok(list["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned())
}

fn is_met(object: &Value, event: &Event) -> bool {
    match event {
        Event::Created => true,
        Event::Gone => false,
        Event::Condition { kind, status } => {
            let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
            let generation = object["metadata"]["generation"].as_i64();
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            conditions.into_iter().any(|condition| {
                let observed = condition["observedGeneration"].as_i64();
                let stale = observed.zip(generation).is_some_and(|(observed, now)| observed < now);
                text(&condition["type"]).eq_ignore_ascii_case(kind)
                    && text(&condition["status"]).eq_ignore_ascii_case(status)
                    && !stale
            })
        }
        Event::Field { path, value } => {
            let found = super::get::at(object, path);
            match (found, value) {
                (Value::Null, _) => false,
                (_, None) => true,
                (Value::String(text), Some(value)) => text == value,
                (Value::Array(_) | Value::Object(_), Some(_)) => false,
                (Value::Bool(is), Some(value)) => value.parse() == Ok(*is),
                (Value::Number(number), Some(value)) => {
                    value.parse::<Number>().is_ok_and(|value| value == *number)
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn conditions_and_fields_are_met() {
        let object = json!({"metadata": {"generation": 2}, "status": {"phase": "Active", "n": 3, "conditions": [
            {"type": "Ready", "status": "True"}, {"type": "Old", "status": "True", "observedGeneration": 1}]}});
        let met = |text: &str| is_met(&object, &event(text).expect(text));
        assert!(met("condition=ready") && met("condition=Ready=true") && !met("condition=Ready=false"));
        assert!(!met("condition=old"));
        assert!(
            met("jsonpath={.status.phase}=Active")
                && met("jsonpath='{.status.n}'=3")
                && met("jsonpath={.status.n}")
        );
        assert!(!met("jsonpath={.status.none}"));
        assert!(event("foo").is_err());
    }
}
