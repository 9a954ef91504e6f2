//! `wait`.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::{Command, delete};
use crate::builder::{self, FILES, Info, Target, Wanted};
use crate::client::Request;
use crate::failure::{Failure, quoted};
use crate::format;
use crate::output::out;
use crate::printing::jsonpath::{self, Template};
use crate::session::Session;

pub const COMMANDS: [Command; 1] = [Command {
    words: "wait",
    flags: &[
        FILES,
        format::FLAGS,
        "all bool=false, A all-namespaces bool=false, field-selector text, for text, local bool=false, l selector text, \
         timeout duration=30s",
    ],
    usage: "([-f FILENAME] | resource.group/resource.name | resource.group [(-l label | --all)]) [--for=create|--for=delete|--for condition=available|--for=jsonpath='{}'[=value]]",
    about: "Wait for a specific condition on one or many resources",
    run,
}];

/// What is waited for.
#[derive(Debug)]
enum Event {
    Created,
    Gone,
    Condition { kind: String, status: String },
    Field { path: Template, value: Option<String> },
}

fn event(text: &str) -> Result<Event, Failure> {
    let lower = text.to_lowercase();
    if lower == "create" {
        return Ok(Event::Created);
    }
    if lower == "delete" {
        return Ok(Event::Gone);
    }
    if let Some(rest) = text.strip_prefix("condition=") {
        let (kind, status) = rest.split_once('=').unwrap_or((rest, "true"));
        return Ok(Event::Condition { kind: kind.to_owned(), status: status.to_owned() });
    }
    match text.strip_prefix("jsonpath=") {
        Some(rest) => field(rest),
        None => Err(Failure::message(format!("unrecognized condition: {}", quoted(text)))),
    }
}

/// `EXPRESSION` or `EXPRESSION=VALUE`; a `==` is the expression's own.
fn field(text: &str) -> Result<Event, Failure> {
    const OWN: char = '\u{0}';
    let own = OWN.to_string();
    let parts: Vec<String> =
        text.replace("==", &own).split('=').map(|part| part.replace(OWN, "==")).collect();
    let (path, value) = match parts.as_slice() {
        [path] => (path, None),
        [path, value] => (path, Some(value.trim_matches(['\'', '"']).to_owned())),
        _ => {
            return Err(Failure::message(
                "jsonpath wait format must be --for=jsonpath='{.status.readyReplicas}'=3 or --for=jsonpath='{.status.readyReplicas}'",
            ));
        }
    };
    let expression = if path.is_empty() { String::new() } else { relaxed(path)? };
    if value.as_ref().is_some_and(String::is_empty) {
        return Err(Failure::message(
            "jsonpath wait has to have a value after equal sign, like --for=jsonpath='{.status.readyReplicas}'=3",
        ));
    }
    if expression.is_empty() {
        return Err(Failure::message("jsonpath expression cannot be empty"));
    }
    let path = Template::parse(&expression).map_err(|e| Failure::message(e.to_string()))?;
    Ok(Event::Field { path, value })
}

/// `{.a.b}` from any of its forms: `.a.b`, `a.b`, `{a.b}`.
fn relaxed(text: &str) -> Result<String, Failure> {
    let inner = text.strip_prefix('{').map_or(Some(text), |rest| rest.strip_suffix('}'));
    let inner = inner.map(|inner| inner.strip_prefix('.').filter(|rest| !rest.is_empty()).unwrap_or(inner));
    match inner.filter(|inner| !inner.is_empty() && !inner.contains(['{', '}'])) {
        Some(inner) => Ok(format!("{{.{inner}}}")),
        None => Err(Failure::message(
            "unexpected path string, expected a 'name1.name2' or '.name1.name2' or '{name1.name2}' or '{.name1.name2}'",
        )),
    }
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
    let event = event(flags.text("for"))?;
    if flags.bool("local") && flags.list("filename").is_empty() {
        return Err(Failure::message(
            "you must specify resources by --filename when --local is set.\nExample resource specifications include:\n   '-f rsrc.yaml'\n   '--filename=rsrc.json'",
        ));
    }
    let format = format::asked(flags, &[])?;
    let infos = chosen(session, &event)?;
    // All objects together have the time, not each.
    let until = Until { started: session.now(), limit: limit(session) };
    let mut failures = Vec::new();
    for info in &infos {
        match one(session, info, &event, &until) {
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
    let tolerant = matches!(event, Event::Gone);
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
                if !matches!(event, Event::Created) {
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

/// How long is waited.
struct Until {
    started: Timestamp,
    limit: Duration,
}

impl Until {
    /// What is left of the time; `None` where nothing is.
    fn left(&self, session: &Session) -> Option<Duration> {
        let past = Duration::try_from(session.now().duration_since(self.started)).unwrap_or_default();
        self.limit.checked_sub(past).filter(|left| !left.is_zero())
    }

    /// What is said of an object when the time is over.
    fn over(&self, info: &Info, event: &Event) -> Failure {
        let subject = format!("{}/{}", info.resource.plural, info.name);
        Failure::message(match event {
            Event::Created => "timed out waiting for the condition".to_owned(),
            _ if self.limit.is_zero() => format!("condition not met for {subject}"),
            _ => format!("timed out waiting for the condition on {subject}"),
        })
    }
}

fn one(session: &Session, info: &Info, event: &Event, until: &Until) -> Result<Value, Failure> {
    let client = session.client()?;
    if matches!(event, Event::Gone) {
        let uid = info.object["metadata"]["uid"].as_str().unwrap_or_default();
        let left = until.left(session).unwrap_or_default();
        return match delete::gone(session, info, uid, left)? {
            true => Ok(info.object.clone()),
            false => Err(until.over(info, event)),
        };
    }
    loop {
        let object = match client.json(&Request::get(info.path()?)) {
            Err(failure) if failure.is_not_found() && matches!(event, Event::Created) => Value::Null,
            other => other?,
        };
        if !object.is_null() && is_met(&object, event)? {
            return Ok(object);
        }
        let Some(left) = until.left(session) else { return Err(until.over(info, event)) };
        let version = match object["metadata"]["resourceVersion"].as_str() {
            Some(version) => version.to_owned(),
            None => listed_version(session, info)?,
        };
        let request = Request::get(info.resource.path(info.scope()))
            .with("watch", "true")
            .with("fieldSelector", &format!("metadata.name={}", info.name))
            .with("resourceVersion", &version);
        // Whatever comes, the object is looked at again.
        client.changed(&request, left)?;
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

fn is_met(object: &Value, event: &Event) -> Result<bool, Failure> {
    Ok(match event {
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
        Event::Field { path, value } => return is_found(object, path, value.as_deref()),
    })
}

fn is_found(object: &Value, path: &Template, value: Option<&str>) -> Result<bool, Failure> {
    let found = path.find(object, true).map_err(|e| Failure::message(e.to_string()))?;
    let what = match found.as_slice() {
        [] => return Ok(false),
        [results] if results.is_empty() => return Ok(false),
        [results] if results.len() == 1 => &results[0],
        [_] => return Err(Failure::message("given jsonpath expression matches more than one value")),
        _ => return Err(Failure::message("given jsonpath expression matches more than one list")),
    };
    let Some(value) = value else { return Ok(true) };
    if what.is_array() || what.is_object() {
        return Err(Failure::message("jsonpath leads to a nested object or list which is not supported"));
    }
    let mut text = String::new();
    jsonpath::print(std::slice::from_ref(what), &mut text);
    Ok(text.trim() == value.trim())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn conditions_and_fields_are_met() {
        let object = json!({"metadata": {"generation": 2}, "status": {"phase": "Active", "n": 3, "conditions": [
            {"type": "Ready", "status": "True"}, {"type": "Old", "status": "True", "observedGeneration": 1}]}});
        let met = |text: &str| is_met(&object, &event(text).expect(text)).expect(text);
        assert!(met("condition=ready") && met("condition=Ready=true") && !met("condition=Ready=false"));
        assert!(!met("condition=old"));
        assert!(
            met("jsonpath={.status.phase}=Active")
                && met("jsonpath={.status.n}=3")
                && met("jsonpath={.status.n}")
        );
        assert!(!met("jsonpath={.status.none}"));
        assert!(met(r#"jsonpath={.status.conditions[?(@.type=="Ready")].status}=True"#));
        assert!(met("jsonpath=.status.phase='Active'") && !met("jsonpath=.status.phase=active"));
        let refused = |text: &str| match event(text) {
            Ok(event) => is_met(&object, &event).expect_err(text).plain(),
            Err(failure) => failure.plain(),
        };
        assert_eq!(refused("foo"), "unrecognized condition: \"foo\"");
        assert_eq!(refused("jsonpath="), "jsonpath expression cannot be empty");
        assert_eq!(
            refused("jsonpath={.status.conditions[*].type}=x"),
            "given jsonpath expression matches more than one value"
        );
        assert_eq!(
            refused("jsonpath={.status}=x"),
            "jsonpath leads to a nested object or list which is not supported"
        );
    }
}
