//! `diff`: what applying files would change, as another program shows it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command as Program, Stdio};

use api::selector::LabelSelector;
use jiff::Timestamp;
use serde_json::Value;

use super::{Command, apply};
use crate::builder::{self, FILES, Info, Target};
use crate::client::Request;
use crate::failure::{Failure, quoted};
use crate::format::without_managed_fields;
use crate::kubeconfig::os_words;
use crate::output::err;
use crate::past;
use crate::printing::{self, OutputFormat};
use crate::session::Session;

pub const COMMANDS: [Command; 1] = [Command {
    words: "diff",
    flags: &[
        FILES,
        "concurrency int=1, field-manager text, force-conflicts bool=false, prune bool=false, prune-allowlist array, \
         l selector text, server-side bool=false, show-managed-fields bool=false",
        "at list",
    ],
    usage: "-f FILENAME",
    about: "Diff the live version against a would-be applied version",
    run,
}];

/// Exit codes: 0 where nothing differs, 1 where something does, and above where something failed.
fn run(session: &Session) -> Result<(), Failure> {
    match compared(session) {
        Ok(0) => Ok(()),
        Ok(code) => Err(Failure::Exit(code)),
        Err(Failure::Exit(code)) => Err(Failure::Exit(code)),
        Err(failure) => {
            let text = failure.text();
            err(text.strip_suffix('\n').unwrap_or(&text));
            err("\n");
            Err(Failure::Exit(2))
        }
    }
}

fn compared(session: &Session) -> Result<u8, Failure> {
    let flags = &session.flags;
    if flags.changed("at") {
        return in_time(session);
    }
    if !session.arguments().is_empty() {
        return Err(session.usage(&format!("Unexpected args: [{}]", session.arguments().join(" "))));
    }
    for flag in ["prune", "prune-allowlist"] {
        if flags.changed(flag) {
            let why = format!("knarr kubectl does not know \"--{flag}\" of diff yet; use the stock kubectl");
            return Err(Failure::message(why));
        }
    }
    if flags.list("filename").is_empty() && flags.text("kustomize").is_empty() {
        return Err(Failure::message("must specify one of -f and -k"));
    }
    if flags.bool("force-conflicts") && !flags.bool("server-side") {
        return Err(Failure::message("--force-conflicts only works with --server-side"));
    }
    let selector =
        LabelSelector::parse(flags.text("selector")).map_err(|e| Failure::message(e.to_string()))?;
    let (live, merged) = (folder("LIVE-")?, folder("MERGED-")?);
    for info in builder::manifests(session)? {
        let labels = &info.object["metadata"]["labels"];
        if !selector.matches(|key| labels.get(key).and_then(Value::as_str)) {
            continue;
        }
        let (mut before, mut after) = states(session, &info)?;
        if info.resource.kind == "Secret" && info.resource.group.is_empty() {
            mask(&mut before, &mut after);
        }
        let name = file_name(&info);
        write(session, &live.path().join(&name), before)?;
        write(session, &merged.path().join(&name), after)?;
    }
    shown(live.path(), merged.path())
}

fn folder(prefix: &str) -> Result<tempfile::TempDir, Failure> {
    let made = tempfile::Builder::new().prefix(prefix).tempdir();
    made.map_err(|e| Failure::message(format!("creating a folder: {}", os_words(&e))))
}

/// Compares objects as they were at one time with what they were at another, or with what they are.
fn in_time(session: &Session) -> Result<u8, Failure> {
    let (flags, now) = (&session.flags, session.now());
    let (from, to) = match flags.list("at") {
        [from] => (past::time(from, now)?, None),
        [from, to] => (past::time(from, now)?, Some(past::time(to, now)?)),
        _ => return Err(Failure::message("--at can be given once or twice")),
    };
    if !flags.list("filename").is_empty() || !flags.text("kustomize").is_empty() {
        return Err(Failure::message("--at compares what was there; it cannot be used with -f and -k"));
    }
    let (before, after) = (folder("BEFORE-")?, folder("AFTER-")?);
    // What is meant is what is meant now: a kind is asked for by its name.
    let targets = builder::targets(session, session.arguments())?;
    if targets.is_empty() {
        return Err(session.usage("an object or a kind is wanted: TYPE [NAME], or TYPE/NAME"));
    }
    let (old, new) = (states_at(session, &targets, Some(from))?, states_at(session, &targets, to)?);
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for name in names {
        let of = |states: &BTreeMap<String, Value>| states.get(name).cloned().unwrap_or_default();
        let (mut first, mut second) = (of(&old), of(&new));
        if [&first, &second].iter().any(|one| one["kind"] == "Secret" && one["apiVersion"] == "v1") {
            mask(&mut first, &mut second);
        }
        write(session, &before.path().join(name), first)?;
        write(session, &after.path().join(name), second)?;
    }
    shown(before.path(), after.path())
}

/// The objects at a time, by the names of their files.
fn states_at(
    session: &Session,
    targets: &[Target],
    time: Option<Timestamp>,
) -> Result<BTreeMap<String, Value>, Failure> {
    let client = session.client()?;
    client.look_at(time);
    let mut found = BTreeMap::new();
    for target in targets {
        let (resource, name) = match target {
            Target::Kind(resource) => (resource, None),
            Target::Named(resource, name) => (resource, Some(name)),
        };
        let namespace = if resource.namespaced { Some(session.namespace()?) } else { None };
        let selector = session.flags.text("selector");
        let (request, items) = match name {
            Some(name) => (Request::get(resource.object_path(namespace, name)?), false),
            None => (Request::get(resource.path(namespace)).with("labelSelector", selector), true),
        };
        let mut answer = match client.json(&request) {
            Err(failure) if failure.is_not_found() && !items => continue,
            other => other?,
        };
        let objects = match answer["items"].take() {
            Value::Array(objects) if items => objects,
            _ => vec![answer],
        };
        for mut object in objects {
            object["apiVersion"] = resource.api_version().into();
            object["kind"] = resource.kind.as_str().into();
            found.insert(file_name(&Info::of(resource, object.clone())), object);
        }
    }
    client.look_at(None);
    Ok(found)
}

/// `apps.v1.Deployment.default.web`
fn file_name(info: &Info) -> String {
    let resource = &info.resource;
    let group = if resource.group.is_empty() { String::new() } else { format!("{}.", resource.group) };
    format!("{group}{}.{}.{}.{}", resource.version, resource.kind, info.namespace, info.name)
        .replace('/', "_")
}

/// The object as it is, null where there is none, and as it would be.
fn states(session: &Session, info: &Info) -> Result<(Value, Value), Failure> {
    let live = match session.client()?.json(&Request::get(info.path()?)) {
        Err(failure) if failure.is_not_found() => Value::Null,
        other => other?,
    };
    let after = apply::tried(session, info, &live)?;
    Ok((live, after))
}

fn write(session: &Session, file: &Path, mut object: Value) -> Result<(), Failure> {
    let mut bytes = Vec::new();
    if !object.is_null() {
        if !session.flags.bool("show-managed-fields") {
            without_managed_fields(&mut object);
        }
        printing::print(&OutputFormat::Yaml, &object, &mut bytes)
            .map_err(|e| Failure::message(e.to_string()))?;
    }
    std::fs::write(file, bytes)
        .map_err(|e| Failure::message(format!("open {}: {}", file.display(), os_words(&e))))
}

/// Hides a Secret's data, and shows which of them change.
fn mask(before: &mut Value, after: &mut Value) {
    let old = before["data"].as_object().cloned().unwrap_or_default();
    let new = after["data"].as_object().cloned().unwrap_or_default();
    let hide = |object: &mut Value, others: &serde_json::Map<String, Value>, changed: &str| {
        for (key, value) in object.get_mut("data").and_then(Value::as_object_mut).into_iter().flatten() {
            let differs = others.get(key).is_some_and(|other| other != value);
            *value = if differs { changed.into() } else { "***".into() };
        }
    };
    if before.is_object() {
        hide(before, &new, "*** (before)");
    }
    if after.is_object() {
        hide(after, &old, "*** (after)");
    }
}

/// Runs the program of `KUBECTL_EXTERNAL_DIFF`, or `diff`, and returns its exit code.
fn shown(live: &Path, merged: &Path) -> Result<u8, Failure> {
    let asked = std::env::var("KUBECTL_EXTERNAL_DIFF").unwrap_or_default();
    let mut words = asked.split(' ');
    let name = words.next().filter(|name| !name.is_empty()).unwrap_or("diff");
    let mut program = Program::new(name);
    if asked.is_empty() {
        program.args(["-u", "-N"]);
    }
    program.args([live, merged]);
    // As upstream: what could mean more than a flag is left out.
    let is_plain = |word: &&str| {
        !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '=')
    };
    program.args(words.filter(is_plain));
    let status = program.stdin(Stdio::inherit()).status().map_err(|error| {
        let why = match error.kind() {
            std::io::ErrorKind::NotFound => "executable file not found in $PATH".to_owned(),
            _ => os_words(&error),
        };
        Failure::message(format!("failed to run {}: {why}", quoted(name)))
    })?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(2))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_are_hidden() {
        let mut before = json!({"data": {"same": "a", "other": "b", "gone": "c"}});
        let mut after = json!({"data": {"same": "a", "other": "x", "new": "d"}});
        mask(&mut before, &mut after);
        assert_eq!(before, json!({"data": {"same": "***", "other": "*** (before)", "gone": "***"}}));
        assert_eq!(after, json!({"data": {"same": "***", "other": "*** (after)", "new": "***"}}));
    }
}
