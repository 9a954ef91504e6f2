//! `label` and `annotate`.

use serde_json::{Map, Value, json};

use super::Command;
use crate::builder::{self, FILES, Info, Wanted};
use crate::failure::Failure;
use crate::format;
use crate::output::out;
use crate::session::Session;
use crate::write::{DRY_RUN, DryRun, MERGE, Telling, patch};

const FLAGS: &str = "all bool=false, A all-namespaces bool=false, field-selector text, field-manager text, \
     list bool=false, local bool=false, overwrite bool=false, resource-version text, l selector text";

pub const COMMANDS: [Command; 2] = [
    Command {
        words: "label",
        flags: &[FILES, format::FLAGS, DRY_RUN, FLAGS],
        usage: "[--overwrite] (-f FILENAME | TYPE NAME) KEY_1=VAL_1 ... KEY_N=VAL_N [--resource-version=version]",
        about: "Update the labels on a resource",
        run: |session| run(session, &LABELS),
    },
    Command {
        words: "annotate",
        flags: &[FILES, format::FLAGS, DRY_RUN, FLAGS],
        usage: "[--overwrite] (-f FILENAME | TYPE NAME) KEY_1=VAL_1 ... KEY_N=VAL_N [--resource-version=version]",
        about: "Update the annotations on a resource",
        run: |session| run(session, &ANNOTATIONS),
    },
];

/// What is the command's own.
struct Words {
    field: &'static str,
    one: &'static str,
    manager: &'static str,
}

const LABELS: Words = Words { field: "labels", one: "label", manager: "kubectl-label" };
const ANNOTATIONS: Words = Words { field: "annotations", one: "annotation", manager: "kubectl-annotate" };

/// What is to be set, and what taken away.
#[derive(Default)]
struct Change {
    set: Vec<(String, String)>,
    gone: Vec<String>,
}

fn run(session: &Session, words: &Words) -> Result<(), Failure> {
    let flags = &session.flags;
    let (resources, change) = read(session, words)?;
    if flags.bool("list") && !flags.text("output").is_empty() {
        return Err(Failure::message("--list and --output may not be specified together"));
    }
    if flags.bool("local") {
        let why = format!(
            "knarr kubectl does not know \"--local\" of {} yet; use the stock kubectl",
            session.command
        );
        return Err(Failure::message(why));
    }
    let telling = Telling::of(session)?;
    let wanted = Wanted {
        words: &resources,
        selector: flags.text("selector").to_owned(),
        field_selector: flags.text("field-selector").to_owned(),
        all_namespaces: flags.bool("all-namespaces"),
    };
    let (infos, mut failures) = builder::chosen(session, &wanted, flags.bool("all"))?;
    for info in infos {
        let done = if flags.bool("list") {
            list(&info, words)
        } else {
            one(session, words, &change, &telling, info)
        };
        failures.extend(done.err());
    }
    Failure::all(failures)
}

/// Divides the arguments into resources and changes.
fn read(session: &Session, words: &Words) -> Result<(Vec<String>, Change), Failure> {
    let (mut resources, mut change, mut changing) = (Vec::new(), Change::default(), false);
    for word in session.arguments() {
        let is_change = word.contains('=') || word.ends_with('-');
        match (is_change, changing) {
            (true, _) => {
                changing = true;
                match word.split_once('=') {
                    Some((key, value)) => change.set.push((key.to_owned(), value.to_owned())),
                    None => change.gone.push(word.trim_end_matches('-').to_owned()),
                }
            }
            (false, true) => {
                let why = format!("all resources must be specified before {} changes: {word}", words.one);
                return Err(Failure::message(why));
            }
            (false, false) => resources.push(word.clone()),
        }
    }
    if !changing && !session.flags.bool("list") {
        return Err(Failure::message(format!("at least one {} update is required", words.one)));
    }
    let files = !session.flags.list("filename").is_empty() || !session.flags.text("kustomize").is_empty();
    if resources.is_empty() && !files {
        return Err(Failure::message(
            "one or more resources must be specified as <resource> <name> or <resource>/<name>",
        ));
    }
    for (key, value) in &change.set {
        if change.gone.contains(key) {
            let why = match words.one {
                "label" => "can not both modify and remove a label in the same command".to_owned(),
                one => format!(
                    "can not both modify and remove the following {one}(s) in the same command: {key}"
                ),
            };
            return Err(Failure::message(why));
        }
        if words.one == "label"
            && let Some(first) = api::names::label_value(value).first()
        {
            return Err(Failure::message(format!(
                "invalid label value: {:?}: {first}",
                format!("{key}={value}")
            )));
        }
    }
    Ok((resources, change))
}

fn list(info: &Info, words: &Words) -> Result<(), Failure> {
    let present = info.object["metadata"][words.field].as_object().cloned().unwrap_or_default();
    let mut pairs: Vec<String> = present
        .iter()
        .map(|(key, value)| format!("{key}={}\n", value.as_str().unwrap_or_default()))
        .collect();
    pairs.sort();
    out(&pairs.concat())
}

fn one(
    session: &Session,
    words: &Words,
    change: &Change,
    telling: &Telling,
    mut info: Info,
) -> Result<(), Failure> {
    let flags = &session.flags;
    let present = info.object["metadata"][words.field].as_object().cloned().unwrap_or_default();
    let text = |key: &str| present.get(key).and_then(Value::as_str);
    if !flags.bool("overwrite") {
        let other = |(key, value): &(String, String)| {
            let other = text(key).filter(|other| other != value)?;
            Some(format!("'{key}' already has a value ({other})"))
        };
        let others: Vec<String> = change.set.iter().filter_map(other).collect();
        match (others.first(), words.one) {
            (None, _) => {}
            (Some(first), "label") => {
                return Err(Failure::message(format!("{first}, and --overwrite is false")));
            }
            (Some(_), one) => {
                let others = others.join("; ");
                let why = format!("--overwrite is false but found the following declared {one}(s): {others}");
                return Err(Failure::message(why));
            }
        }
    }
    let mut fields = Map::new();
    for (key, value) in &change.set {
        if text(key) != Some(value) {
            fields.insert(key.clone(), value.as_str().into());
        }
    }
    for key in &change.gone {
        if text(key).is_some() {
            fields.insert(key.clone(), Value::Null);
        } else if telling.is_in_words() && words.one == "label" {
            out(&format!("label {key:?} not found.\n"))?;
        }
    }
    let done = done(words, change, &fields);
    let version = flags.text("resource-version");
    if telling.dry() != DryRun::Client && (!fields.is_empty() || !version.is_empty()) {
        let mut body = json!({"metadata": {words.field: fields}});
        if !version.is_empty() {
            body["metadata"]["resourceVersion"] = version.into();
        }
        let manager = flags.text("field-manager");
        let manager = if manager.is_empty() { words.manager } else { manager };
        let request = patch(&info, MERGE, body.to_string().into_bytes(), manager, telling.dry())?;
        info.object = session.client()?.json(&request)?;
    } else {
        api::patch::merge(&mut info.object, &json!({"metadata": {words.field: fields}}));
    }
    telling.tell(session, &info, done)
}

/// What is said of one object.
fn done(words: &Words, change: &Change, fields: &Map<String, Value>) -> &'static str {
    if words.one != "label" {
        return "annotated";
    }
    let set = fields.values().any(|value| !value.is_null());
    match (set, fields.is_empty(), change.gone.is_empty()) {
        (true, ..) => "labeled",
        (false, false, _) => "unlabeled",
        (false, true, true) => "not labeled",
        // As the stock one says where a label to take away is not there.
        (false, true, false) => "labeled",
    }
}
