//! `history`: what became of an object, change by change. Not one of the stock kubectl's commands.

mod changes;

use serde_json::Value;

use super::Command;
use crate::builder::{self, Target};
use crate::client::Request;
use crate::discovery::Resource;
use crate::failure::{Failure, quoted};
use crate::format;
use crate::output::out;
use crate::session::Session;

pub const COMMANDS: [Command; 1] = [Command {
    words: "history",
    flags: &[format::FLAGS, "limit int=20"],
    usage: "(TYPE NAME | TYPE/NAME)",
    about: "Show what became of an object: who changed which fields, and when (knarr's own)",
    run,
}];

/// What an answer holds, in the order of the store's: the newest first.
pub struct Version {
    pub revision: String,
    pub time: String,
    /// `None` where the object was deleted then.
    pub object: Option<Value>,
}

/// The object that the words mean: exactly one.
///
/// # Errors
/// When they mean none or several.
pub fn meant(session: &Session) -> Result<(Resource, String), Failure> {
    match builder::targets(session, session.arguments())?.as_slice() {
        [Target::Named(resource, name)] => Ok((resource.clone(), name.clone())),
        _ => Err(session.usage("one object is wanted: TYPE NAME, or TYPE/NAME")),
    }
}

/// The object's path.
///
/// # Errors
/// When name or namespace are none.
pub fn path(session: &Session, resource: &Resource, name: &str) -> Result<String, Failure> {
    let namespace = if resource.namespaced { Some(session.namespace()?) } else { None };
    resource.object_path(namespace, name)
}

/// The last versions of an object.
///
/// # Errors
/// When the server knows none, or does not keep the past.
pub fn versions(session: &Session, path: String, limit: i64) -> Result<Value, Failure> {
    let answer = session.client()?.json(&Request::get(path).with("history", &limit.to_string()))?;
    if answer["kind"] != "History" {
        return Err(Failure::message(
            "the server does not keep the past: it answered with the present object",
        ));
    }
    Ok(answer)
}

/// An answer's versions, the newest first.
pub fn read(answer: &Value) -> Vec<Version> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let versions = answer["versions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let read = |version: &Value| Version {
        revision: text(&version["resourceVersion"]),
        time: text(&version["time"]),
        object: Some(version["object"].clone()).filter(Value::is_object),
    };
    versions.iter().map(read).collect()
}

fn run(session: &Session) -> Result<(), Failure> {
    let flags = &session.flags;
    let limit = flags.int("limit");
    if !(1..=999).contains(&limit) {
        return Err(Failure::message("--limit must be between 1 and 999"));
    }
    let format = format::asked(flags, &[])?;
    let (resource, name) = meant(session)?;
    // The version before the first that is shown says what the first changed.
    let answer = versions(session, path(session, &resource, &name)?, limit + 1)?;
    if let Some(format) = format {
        return format::print(&format, answer, flags);
    }
    let mut versions = read(&answer);
    let cut = versions.len() > usize::try_from(limit).unwrap_or(usize::MAX);
    let before = if cut { versions.pop() } else { None };
    if cut || answer["more"] == true {
        out("(earlier changes are left out or forgotten)\n")?;
    }
    let secret = resource.kind == "Secret" && resource.group.is_empty();
    let mut previous = before.and_then(|version| version.object);
    let mut first = !cut && answer["more"] == true;
    for version in versions.into_iter().rev() {
        out(&told(&version, previous.as_ref(), first, secret))?;
        previous = version.object;
        first = false;
    }
    Ok(())
}

/// One version as lines. `unknown` is whether there was a version before that is not known.
fn told(version: &Version, previous: Option<&Value>, unknown: bool, secret: bool) -> String {
    let head = format!("{}  revision {}", version.time, version.revision);
    let Some(object) = &version.object else { return format!("{head}  deleted\n") };
    let managers = changes::managers(previous, object);
    let by = if managers.is_empty() { String::new() } else { format!(" by {}", managers.join(", ")) };
    let Some(previous) = previous else {
        let what = if unknown { "was there, last changed" } else { "created" };
        return format!("{head}  {what}{by}\n");
    };
    let mut text = format!("{head}  changed{by}\n");
    for line in changes::lines(previous, object, secret) {
        text.push_str(&format!("    {line}\n"));
    }
    text
}

/// What stands for an object in messages.
pub fn shown(resource: &Resource, name: &str) -> String {
    format!("{} {}", resource.group_resource(), quoted(name))
}
