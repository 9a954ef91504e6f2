//! `set env`: the variables of containers.

use std::io::Read;

use serde_json::{Value, json};

use super::containers::{fitting, pod_spec};
use super::{Work, checked, chosen, each};
use crate::builder::{self, Wanted};
use crate::failure::{Failure, quoted};
use crate::output::{err, out};
use crate::session::Session;
use crate::write::Telling;

/// Longest text of variables that is read from standard input, in bytes.
const LONGEST_BYTES: u64 = 16 << 20;

/// What is to be set, as containers have it, and the names to take away.
#[derive(Default)]
struct Variables {
    set: Vec<Value>,
    gone: Vec<String>,
}

pub fn run(session: &Session) -> Result<(), Failure> {
    let flags = &session.flags;
    let telling = Telling::of(session)?;
    if flags.bool("all") && !flags.text("selector").is_empty() {
        return Err(Failure::message("cannot set --all and --selector at the same time"));
    }
    if flags.bool("resolve") {
        let why = "knarr kubectl does not know \"--resolve\" of set env yet; use the stock kubectl";
        return Err(Failure::message(why));
    }
    let (words, changes) = split(session.arguments())?;
    checked(session, &telling)?;
    if words.is_empty() && flags.list("filename").is_empty() {
        return Err(Failure::message(
            "one or more resources must be specified as <resource> <name> or <resource>/<name>",
        ));
    }
    if flags.bool("list") && !flags.text("output").is_empty() {
        return Err(Failure::message("--list and --output may not be specified together"));
    }
    if !flags.list("keys").is_empty() && flags.text("from").is_empty() {
        return Err(Failure::message(
            "when specifying --keys, a configmap or secret must be provided with --from",
        ));
    }
    let mut variables = read(flags.list("env").iter().chain(&changes))?;
    if !flags.text("from").is_empty() {
        imported(session, &mut variables)?;
    }
    for variable in &mut variables.set {
        let name = variable["name"].as_str().unwrap_or_default();
        variable["name"] = format!("{}{name}", flags.text("prefix")).into();
    }
    let infos = chosen(session, &words)?;
    let mut change = |object: &mut Value| changed(session, object, &variables);
    if flags.bool("list") {
        for mut info in infos {
            // As with the stock kubectl, what cannot be listed is passed over.
            let _ = change(&mut info.object);
        }
        return Ok(());
    }
    let work = Work {
        telling: &telling,
        done: "env updated",
        failed: "failed to patch env update to pod template:",
        always: false,
    };
    Failure::all(each(session, &work, infos, &mut change)?)
}

/// The words before the first variable, and the variables.
fn split(words: &[String]) -> Result<(Vec<String>, Vec<String>), Failure> {
    let is_variable = |word: &&String| (word.contains('=') && !word.starts_with('=')) || word.ends_with('-');
    let resources: Vec<String> = words.iter().take_while(|word| !is_variable(word)).cloned().collect();
    let changes = &words[resources.len()..];
    if !changes.iter().all(|word| is_variable(&word)) {
        return Err(Failure::message(format!(
            "all resources must be specified before environment changes: {}",
            words.join(" ")
        )));
    }
    Ok((resources, changes.to_vec()))
}

fn read<'a>(changes: impl Iterator<Item = &'a String>) -> Result<Variables, Failure> {
    let mut variables = Variables::default();
    for change in changes {
        if change == "-" {
            let mut text = String::new();
            let read = std::io::stdin().lock().take(LONGEST_BYTES).read_to_string(&mut text);
            read.map_err(|e| Failure::message(format!("STDIN: {e}")))?;
            for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
            {
                let Some((name, value)) = line.split_once('=') else {
                    return Err(Failure::message(format!("invalid environment variable: {line}")));
                };
                variables.set.push(variable(name, value)?);
            }
        } else if let Some((name, value)) = change.split_once('=') {
            variables.set.push(variable(name, value)?);
        } else if let Some(name) = change.strip_suffix('-') {
            variables.gone.push(name.to_owned());
        } else {
            return Err(Failure::message(format!("unknown environment variable: {change}")));
        }
    }
    if variables.gone.iter().any(|name| variables.set.iter().any(|variable| variable["name"] == **name)) {
        return Err(Failure::message(
            "can not both modify and remove the same environment variable in the same command",
        ));
    }
    Ok(variables)
}

fn variable(name: &str, value: &str) -> Result<Value, Failure> {
    if let Some(fault) = api::names::env_var_name(name).first() {
        return Err(Failure::message(format!("{} is not a valid key name: {fault}", quoted(name))));
    }
    let mut variable = json!({"name": name});
    if !value.is_empty() {
        variable["value"] = value.into();
    }
    Ok(variable)
}

/// Adds the keys of `--from` as variables that refer to them.
fn imported(session: &Session, variables: &mut Variables) -> Result<(), Failure> {
    let flags = &session.flags;
    let words = [flags.text("from").to_owned()];
    let wanted = Wanted {
        words: &words,
        selector: String::new(),
        field_selector: String::new(),
        all_namespaces: false,
    };
    let (infos, failures) = builder::fetch(session, &wanted)?;
    Failure::all(failures)?;
    let keys = flags.list("keys");
    for info in infos {
        let reference = match (info.resource.group.as_str(), info.resource.kind.as_str()) {
            ("", "Secret") => "secretKeyRef",
            ("", "ConfigMap") => "configMapKeyRef",
            _ => return Err(Failure::message("unsupported resource specified in --from")),
        };
        let data = info.object["data"].as_object().cloned().unwrap_or_default();
        let mut found: Vec<&String> = data.keys().collect();
        found.sort();
        for key in found.into_iter().filter(|key| keys.is_empty() || keys.contains(key)) {
            let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
            let name: String = key.chars().map(letter).collect();
            if name != *key {
                err(&format!("Warning: key {key} transferred to {name}\n"));
            }
            variables
                .set
                .push(json!({"name": name, "valueFrom": {reference: {"key": key, "name": info.name}}}));
        }
    }
    Ok(())
}

fn changed(session: &Session, object: &mut Value, variables: &Variables) -> Result<(), String> {
    let flags = &session.flags;
    let text = |key: &Value| key.as_str().unwrap_or_default().to_owned();
    let (kind, name) = (text(&object["kind"]), text(&object["metadata"]["name"]));
    let pattern = flags.text("containers");
    let spec = pod_spec(object)?;
    let mut found = false;
    for list in ["containers", "initContainers"] {
        for container in fitting(spec, list, pattern) {
            found = true;
            let before = container["env"].as_array().cloned().unwrap_or_default();
            if !flags.bool("overwrite") {
                kept(&before, variables)?;
            }
            let after = updated(before, variables);
            if flags.bool("list") {
                let shown = listed(&kind, &name, &text(&container["name"]), &after);
                out(&shown).map_err(|failure| failure.plain())?;
            }
            match container.as_object_mut() {
                Some(fields) if after.is_empty() => drop(fields.remove("env")),
                _ => container["env"] = after.into(),
            }
        }
    }
    if !found {
        err(&format!("Warning: {kind}/{name} does not have any containers matching {}\n", quoted(pattern)));
    }
    Ok(())
}

/// Refuses to change a variable that has a value.
fn kept(before: &[Value], variables: &Variables) -> Result<(), String> {
    for variable in &variables.set {
        let other = before.iter().find(|other| other["name"] == variable["name"]);
        if let Some(other) = other.filter(|other| other["value"] != variable["value"]) {
            let text = |key: &str| other[key].as_str().unwrap_or_default();
            return Err(format!(
                "'{}' already has a value ({}), and --overwrite is false",
                text("name"),
                text("value")
            ));
        }
    }
    Ok(())
}

/// Variables keep their places; new ones come last.
fn updated(before: Vec<Value>, variables: &Variables) -> Vec<Value> {
    let mut after: Vec<Value> = Vec::new();
    let is_gone = |variable: &Value| variables.gone.iter().any(|name| variable["name"] == **name);
    for old in before.into_iter().filter(|variable| !is_gone(variable)) {
        let new = variables.set.iter().find(|variable| variable["name"] == old["name"]);
        if new.is_none() || after.iter().all(|known| known["name"] != old["name"]) {
            after.push(new.cloned().unwrap_or(old));
        }
    }
    for new in &variables.set {
        if after.iter().all(|known| known["name"] != new["name"]) {
            after.push(new.clone());
        }
    }
    after
}

fn listed(kind: &str, name: &str, container: &str, variables: &[Value]) -> String {
    let mut text = format!("# {kind} {name}, container {container}\n");
    for variable in variables {
        let name = variable["name"].as_str().unwrap_or_default();
        text.push_str(&match variable.get("valueFrom") {
            Some(from) => format!("# {name} from {}\n", reference(from)),
            None => format!("{name}={}\n", variable["value"].as_str().unwrap_or_default()),
        });
    }
    text
}

/// Where a value comes from, in words.
fn reference(from: &Value) -> String {
    let text = |pointer: &str| from.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    if from["configMapKeyRef"].is_object() {
        return format!("configmap {}, key {}", text("/configMapKeyRef/name"), text("/configMapKeyRef/key"));
    }
    if from["secretKeyRef"].is_object() {
        return format!("secret {}, key {}", text("/secretKeyRef/name"), text("/secretKeyRef/key"));
    }
    if from["fieldRef"].is_object() {
        return format!("field path {}", text("/fieldRef/fieldPath"));
    }
    if from["resourceFieldRef"].is_object() {
        let container = text("/resourceFieldRef/containerName");
        let before = if container.is_empty() { String::new() } else { format!("{container}/") };
        return format!("resource field {before}{}", text("/resourceFieldRef/resource"));
    }
    "invalid valueFrom".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_keep_their_places() {
        let variables = Variables {
            set: vec![json!({"name": "B", "value": "x"}), json!({"name": "D"})],
            gone: vec!["A".into()],
        };
        let before = ["A", "B", "C"].map(|name| json!({"name": name})).to_vec();
        let names: Vec<Value> = updated(before, &variables).iter().map(|v| v["name"].clone()).collect();
        assert_eq!(names, ["B", "C", "D"]);
    }

    #[test]
    fn a_name_is_set_or_taken_away() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert!(read(words("A=1 B-").iter()).is_ok());
        assert!(read(words("A=1 A-").iter()).is_err());
        assert!(read(words("1A=1").iter()).is_err());
    }
}
