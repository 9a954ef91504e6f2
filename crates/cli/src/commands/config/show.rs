//! What the kubeconfig files say.

use serde_json::{Value, json};

use crate::failure::{Failure, quoted};
use crate::format;
use crate::kubeconfig::Kubeconfig;
use crate::output::out;
use crate::printing::{self, OutputFormat};
use crate::session::Session;
use crate::table::Aligned;

/// The fields that `view` does not show, and what stands in their place.
const HIDDEN: [(&str, &str); 6] = [
    ("certificate-authority-data", "DATA+OMITTED"),
    ("client-certificate-data", "DATA+OMITTED"),
    ("client-key-data", "DATA+OMITTED"),
    ("token", "REDACTED"),
    ("password", "REDACTED"),
    ("proxy-password", "REDACTED"),
];

pub fn view(session: &Session) -> Result<(), Failure> {
    let flags = &session.flags;
    if !session.arguments().is_empty() {
        return Err(session.usage(&format!("unexpected arguments: [{}]", session.arguments().join(" "))));
    }
    if flags.bool("flatten") {
        return Err(Failure::message("knarr kubectl does not know \"--flatten\" yet; use the stock kubectl"));
    }
    let mut config = session.kubeconfig()?;
    if flags.bool("minify") {
        minify(session, &mut config)?;
    }
    for list in ["clusters", "users", "contexts"] {
        let field = &list[..list.len() - 1];
        let entries = config.merged[list].as_array_mut();
        if !flags.bool("raw") {
            for entry in entries.into_iter().flatten() {
                if let Some(values) = entry.get_mut(field) {
                    hide(values);
                }
            }
        }
        if config.merged.get(list).is_none() {
            config.merged[list] = Value::Null;
        }
    }
    sort_entries(&mut config.merged);
    let defaults = json!({"apiVersion": "v1", "kind": "Config", "current-context": ""});
    for (key, value) in defaults.as_object().into_iter().flatten() {
        if config.merged.get(key).is_none_or(Value::is_null) {
            config.merged[key] = value.clone();
        }
    }
    if config.merged["preferences"].as_object().is_some_and(serde_json::Map::is_empty)
        && let Some(map) = config.merged.as_object_mut()
    {
        map.remove("preferences");
    }
    let format = format::asked(flags, &[])?.unwrap_or(OutputFormat::Yaml);
    let mut bytes = Vec::new();
    let printed = printing::print(&format, &config.merged, &mut bytes);
    crate::output::bytes(&bytes)?;
    printed.map_err(|e| Failure::message(e.to_string()))
}

fn hide(content: &mut Value) {
    for (key, shown) in HIDDEN {
        if let Some(slot) =
            content.get_mut(key).filter(|slot| slot.as_str().is_some_and(|text| !text.is_empty()))
        {
            *slot = shown.into();
        }
    }
}

/// Entries of each list by name, as a map would print them.
fn sort_entries(config: &mut Value) {
    for list in ["clusters", "contexts", "users"] {
        if let Some(entries) = config[list].as_array_mut() {
            entries.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
        }
    }
}

/// Keeps what the current context needs.
fn minify(session: &Session, config: &mut Kubeconfig) -> Result<(), Failure> {
    let asked = session.flags.text("context");
    let current = if asked.is_empty() { config.current_context() } else { asked }.to_owned();
    if current.is_empty() {
        return Err(Failure::message("current-context must exist in order to minify"));
    }
    let Some(context) = config.entry("contexts", &current).cloned() else {
        return Err(Failure::message(format!("cannot locate context {current}")));
    };
    let kept = [
        ("contexts", json!(current)),
        ("clusters", context["cluster"].clone()),
        ("users", context["user"].clone()),
    ];
    for (list, name) in kept {
        if let Some(entries) = config.merged[list].as_array_mut() {
            entries.retain(|entry| entry["name"] == name);
        }
    }
    config.merged["current-context"] = current.into();
    Ok(())
}

pub fn current_context(session: &Session) -> Result<(), Failure> {
    let config = session.kubeconfig()?;
    match config.current_context() {
        "" => Err(Failure::message("current-context is not set")),
        name => out(&format!("{name}\n")),
    }
}

fn names(config: &Value, list: &str) -> Vec<String> {
    let entries = config[list].as_array().into_iter().flatten();
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry["name"].as_str().map(str::to_owned)).collect();
    names.sort();
    names
}

pub fn clusters(session: &Session) -> Result<(), Failure> {
    listed(session, "clusters")
}

pub fn users(session: &Session) -> Result<(), Failure> {
    listed(session, "users")
}

fn listed(session: &Session, list: &str) -> Result<(), Failure> {
    let names = names(&session.kubeconfig()?.merged, list);
    out(&format!("NAME\n{}", names.iter().map(|name| format!("{name}\n")).collect::<String>()))
}

pub fn contexts(session: &Session) -> Result<(), Failure> {
    let config = session.kubeconfig()?;
    let flags = &session.flags;
    let output = flags.text("output");
    if !["", "name"].contains(&output) {
        return Err(Failure::message(format!("output must be one of '' or 'name': {output}")));
    }
    let all = names(&config.merged, "contexts");
    let asked = session.arguments();
    let mut failures = Vec::new();
    let mut shown: Vec<String> = Vec::new();
    for name in if asked.is_empty() { &all } else { asked } {
        if all.contains(name) {
            shown.push(name.clone());
        } else {
            failures.push(Failure::message(format!("context {name} not found")));
        }
    }
    shown.sort();
    if output == "name" {
        out(&shown.iter().map(|name| format!("{name}\n")).collect::<String>())?;
        return Failure::all(failures);
    }
    let mut lines: Vec<Vec<String>> = Vec::new();
    if !flags.bool("no-headers") {
        lines.push(["CURRENT", "NAME", "CLUSTER", "AUTHINFO", "NAMESPACE"].map(str::to_owned).to_vec());
    }
    for name in &shown {
        let context = config.entry("contexts", name).cloned().unwrap_or_default();
        let text = |key: &str| context[key].as_str().unwrap_or_default().to_owned();
        let mark = if name == config.current_context() { "*" } else { "" };
        lines.push(vec![mark.to_owned(), name.clone(), text("cluster"), text("user"), text("namespace")]);
    }
    out(&Aligned::default().text(&lines))?;
    Failure::all(failures)
}

/// What is said of a context that is not there.
pub fn no_context(name: &str) -> Failure {
    Failure::message(format!("no context exists with the name: {}", quoted(name)))
}
