//! `cordon`, `uncordon` and `taint`.

use serde_json::{Map, Value, json};

use super::Command;
use crate::builder::{self, Info, Wanted};
use crate::failure::{Failure, quoted};
use crate::format;
use crate::session::Session;
use crate::write::{DRY_RUN, DryRun, STRATEGIC, Telling, patch};

pub const COMMANDS: [Command; 3] = [
    Command {
        words: "cordon",
        flags: &[DRY_RUN, "l selector text"],
        usage: "NODE",
        about: "Mark node as unschedulable",
        run: |session| mark(session, true),
    },
    Command {
        words: "uncordon",
        flags: &[DRY_RUN, "l selector text"],
        usage: "NODE",
        about: "Mark node as schedulable",
        run: |session| mark(session, false),
    },
    Command {
        words: "taint",
        flags: &[
            format::FLAGS,
            DRY_RUN,
            crate::write::VALIDATE,
            "all bool=false, field-manager text=kubectl-taint, overwrite bool=false, l selector text",
        ],
        usage: "NODE NAME KEY_1=VAL_1:TAINT_EFFECT_1 ... KEY_N=VAL_N:TAINT_EFFECT_N",
        about: "Update the taints on one or more nodes",
        run: taint,
    },
];

/// The nodes of these names, or those of the selector.
///
/// # Errors
/// As [`builder::fetch`].
pub fn nodes(session: &Session, names: &[String]) -> Result<(Vec<Info>, Vec<Failure>), Failure> {
    let mut words = vec!["nodes".to_owned()];
    words.extend(names.iter().map(|name| name.rsplit('/').next().unwrap_or_default().to_owned()));
    let wanted = Wanted {
        words: &words,
        selector: session.flags.text("selector").to_owned(),
        field_selector: String::new(),
        all_namespaces: false,
    };
    builder::fetch(session, &wanted)
}

fn mark(session: &Session, unschedulable: bool) -> Result<(), Failure> {
    let flags = &session.flags;
    if session.arguments().is_empty() && flags.text("selector").is_empty() {
        return Err(session.usage(&format!("USAGE: {} NODE [flags]", session.command)));
    }
    if !session.arguments().is_empty() && !flags.text("selector").is_empty() {
        return Err(Failure::message("error: cannot specify both a node name and a --selector option"));
    }
    let telling = Telling::of(session)?;
    let (nodes, mut failures) = nodes(session, session.arguments())?;
    for node in nodes {
        failures.extend(marked(session, &telling, &node, unschedulable).err());
    }
    Failure::all(failures)
}

/// Marks one node, and tells it.
///
/// # Errors
/// When the server refuses.
pub fn marked(session: &Session, telling: &Telling, node: &Info, unschedulable: bool) -> Result<(), Failure> {
    let done = if unschedulable { "cordoned" } else { "uncordoned" };
    if (node.object["spec"]["unschedulable"] == true) == unschedulable {
        return telling.tell(session, node, &format!("already {done}"));
    }
    if telling.dry() != DryRun::Client {
        let value = if unschedulable { json!(true) } else { Value::Null };
        let body = json!({"spec": {"unschedulable": value}}).to_string().into_bytes();
        session.client()?.json(&patch(node, STRATEGIC, body, "kubectl-cordon", telling.dry())?)?;
    }
    telling.tell(session, node, done)
}

/// One change of taints.
struct Change {
    key: String,
    value: Option<String>,
    effect: String,
    gone: bool,
}

const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

fn change(text: &str) -> Result<Change, String> {
    let (body, gone) = match text.strip_suffix('-') {
        Some(body) => (body, true),
        None => (text, false),
    };
    let (pair, effect) = body.split_once(':').unwrap_or((body, ""));
    let (key, value) = match pair.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (pair, None),
    };
    if effect.is_empty() && !gone {
        let fault = api::names::qualified_name(text).into_iter().next().unwrap_or_default();
        return Err(format!("invalid taint spec: {text}, {fault}"));
    }
    if !effect.is_empty() && !EFFECTS.contains(&effect) {
        return Err(format!("invalid taint effect: {effect}, unsupported taint effect"));
    }
    let faults = api::names::qualified_name(key);
    let faults = faults.into_iter().chain(value.map(api::names::label_value).unwrap_or_default());
    if let Some(fault) = faults.into_iter().next() {
        return Err(format!("invalid taint spec: {text}, {fault}"));
    }
    Ok(Change { key: key.to_owned(), value: value.map(str::to_owned), effect: effect.to_owned(), gone })
}

fn taint(session: &Session) -> Result<(), Failure> {
    let flags = &session.flags;
    let is_change = |word: &&String| word.contains([':', '=']) || word.ends_with('-');
    let resources: Vec<&String> = session.arguments().iter().take_while(|word| !is_change(word)).collect();
    let changes = &session.arguments()[resources.len()..];
    let Some(kind) = resources.first() else {
        return Err(Failure::message("one or more resources must be specified as <resource> <name>"));
    };
    if let Some(word) = changes.iter().find(|word| !is_change(word)) {
        return Err(Failure::message(format!(
            "all resources must be specified before taint changes: {word}"
        )));
    }
    let of_kind = kind.split('/').next().unwrap_or_default();
    if !["node", "nodes", "no"].contains(&of_kind.to_lowercase().as_str()) {
        return Err(Failure::message(format!(
            "invalid resource type {of_kind}, only node types are supported"
        )));
    }
    if changes.is_empty() {
        return Err(Failure::message("at least one taint update is required"));
    }
    let changes = changes.iter().map(|text| change(text)).collect::<Result<Vec<_>, _>>();
    let changes = changes.map_err(|what| session.usage(&what))?;
    let names: Vec<String> = match kind.split_once('/') {
        Some(_) => resources.into_iter().cloned().collect(),
        None => resources[1..].iter().map(|name| (*name).clone()).collect(),
    };
    if names.is_empty() && !flags.bool("all") && flags.text("selector").is_empty() {
        return Err(Failure::message(
            "at least one resource name must be specified since 'all' parameter is not set",
        ));
    }
    let telling = Telling::of(session)?;
    let (nodes, mut failures) = nodes(session, &names)?;
    for node in nodes {
        failures.extend(tainted(session, &telling, node, &changes).err());
    }
    Failure::all(failures)
}

fn tainted(session: &Session, telling: &Telling, mut node: Info, changes: &[Change]) -> Result<(), Failure> {
    let present = node.object["spec"]["taints"].as_array().cloned().unwrap_or_default();
    let is = |taint: &Value, change: &Change| {
        taint["key"] == *change.key && (change.effect.is_empty() || taint["effect"] == *change.effect)
    };
    let overwrite = session.flags.bool("overwrite");
    if !overwrite && changes.iter().any(|c| !c.gone && present.iter().any(|taint| is(taint, c))) {
        let why =
            format!("node {} already has a taint(s) with same effect(s) and --overwrite is false", node.name);
        return Err(Failure::message(why));
    }
    let mut taints = present.clone();
    for change in changes {
        let before = taints.len();
        taints.retain(|taint| !is(taint, change));
        if change.gone && taints.len() == before {
            let shown = if change.effect.is_empty() {
                change.key.clone()
            } else {
                format!("{}:{}", change.key, change.effect)
            };
            return Err(Failure::message(format!("taint {} not found", quoted(&shown))));
        }
        if !change.gone {
            let mut taint = Map::new();
            taint.insert("key".into(), change.key.as_str().into());
            taint.insert("effect".into(), change.effect.as_str().into());
            if let Some(value) = change.value.as_deref().filter(|value| !value.is_empty()) {
                taint.insert("value".into(), value.into());
            }
            taints.insert(0, taint.into());
        }
    }
    let added = changes.iter().any(|change| !change.gone);
    let done = match (added, overwrite) {
        (true, true) => "modified",
        (true, false) => "tainted",
        (false, _) => "untainted",
    };
    if telling.dry() != DryRun::Client {
        // The whole list, bound to the version it was made from.
        let body = json!({
            "metadata": {"resourceVersion": node.object["metadata"]["resourceVersion"]},
            "spec": {"taints": if taints.is_empty() { Value::Null } else { taints.into() }},
        });
        let manager = session.flags.text("field-manager");
        let request =
            patch(&node, crate::write::MERGE, body.to_string().into_bytes(), manager, telling.dry())?;
        node.object = session.client()?.json(&request)?;
    }
    telling.tell(session, &node, done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taints_are_read() {
        let read = change("a/b=c:NoExecute").expect("a taint");
        assert_eq!(
            (read.key.as_str(), read.value.as_deref(), read.effect.as_str()),
            ("a/b", Some("c"), "NoExecute")
        );
        assert!(change("a-").expect("one to take away").gone);
        assert!(change("a=b").is_err() && change("a=b:Foo").is_err() && change("a b=c:NoExecute").is_err());
    }
}
