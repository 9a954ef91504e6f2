//! `edit`: objects in the user's editor, and what was changed sent as a patch.

mod editor;

use serde_json::{Value, json};

use super::Command;
use crate::builder::{self, FILES, Info, Wanted};
use crate::client::Request;
use crate::failure::{Failure, quoted};
use crate::format::{self, without_managed_fields};
use crate::last_applied::ANNOTATION;
use crate::output::{err, out};
use crate::printing::{self, OutputFormat};
use crate::session::Session;
use crate::threeway;
use crate::write::{DryRun, MERGE, STRATEGIC, VALIDATE, patch, validation};

pub const COMMANDS: [Command; 1] = [Command {
    words: "edit",
    flags: &[
        FILES,
        format::FLAGS,
        VALIDATE,
        "field-manager text=kubectl-edit, output-patch bool=false, save-config bool=false, subresource text, \
         windows-line-endings bool=false",
    ],
    usage: "(RESOURCE/NAME | -f FILENAME)",
    about: "Edit a resource on the server",
    run,
}];

const HEADER: &str = "# Please edit the object below. Lines beginning with a '#' will be ignored,\n\
     # and an empty file will abort the edit. If an error occurs while saving this file will be\n\
     # reopened with the relevant failures.\n#\n";

/// What went wrong with a text; shown at its head when it is edited again.
#[derive(Default)]
struct Reasons(Vec<(String, Vec<String>)>);

impl Reasons {
    fn header(&self) -> String {
        let mut text = HEADER.to_owned();
        for (head, others) in &self.0 {
            let colon = if others.is_empty() { "" } else { ":" };
            text.push_str(&format!("# {}{colon}\n", head.replace('\n', "\n# ")));
            text.extend(others.iter().map(|other| format!("# * {}\n", other.replace('\n', "\n# "))));
            text.push_str("#\n");
        }
        text
    }
}

fn run(session: &Session) -> Result<(), Failure> {
    let flags = &session.flags;
    for flag in ["save-config", "windows-line-endings"] {
        if flags.changed(flag) {
            let why = format!("knarr kubectl does not know \"--{flag}\" of edit yet; use the stock kubectl");
            return Err(Failure::message(why));
        }
    }
    let format = match flags.text("output") {
        "" | "yaml" => OutputFormat::Yaml,
        "json" => OutputFormat::Json,
        "kyaml" => {
            let why = "knarr kubectl does not know \"-o kyaml\" of edit yet; use the stock kubectl";
            return Err(Failure::message(why));
        }
        other => {
            return Err(Failure::message(format!(
                "unable to match a printer suitable for the output format {}, allowed formats are: json,kyaml,yaml",
                quoted(other)
            )));
        }
    };
    validation(flags)?;
    let wanted = Wanted {
        words: session.arguments(),
        selector: String::new(),
        field_selector: String::new(),
        all_namespaces: false,
    };
    let (mut infos, failures) = builder::chosen(session, &wanted, true)?;
    Failure::all(failures)?;
    if infos.is_empty() {
        return Err(Failure::message("edit cancelled, no objects found"));
    }
    if !flags.text("subresource").is_empty() {
        for info in &mut infos {
            info.object = session.client()?.json(&Request::get(path(session, info)?))?;
        }
    }
    infos.iter_mut().for_each(|info| without_managed_fields(&mut info.object));
    edited(session, &infos, &format)
}

fn path(session: &Session, info: &Info) -> Result<String, Failure> {
    match session.flags.text("subresource") {
        "" => info.path(),
        part => Ok(format!("{}/{part}", info.path()?)),
    }
}

/// Lines that are no comments.
fn stripped(text: &str) -> String {
    let is_said = |line: &&str| !line.trim_start().starts_with('#') && !line.trim().is_empty();
    text.lines().filter(is_said).map(|line| format!("{}\n", line.trim_end())).collect()
}

/// Opens the editor until the text is sent, left as it is, or given up.
fn edited(session: &Session, infos: &[Info], format: &OutputFormat) -> Result<(), Failure> {
    let object = match infos {
        [one] => one.object.clone(),
        several => json!({"apiVersion": "v1", "kind": "List", "metadata": {},
            "items": several.iter().map(|info| info.object.clone()).collect::<Vec<_>>()}),
    };
    let mut bytes = Vec::new();
    printing::print(format, &object, &mut bytes).map_err(|e| Failure::message(e.to_string()))?;
    let original = String::from_utf8_lossy(&bytes).into_owned();
    let (mut text, mut reasons) = (original.clone(), Reasons::default());
    let is_yaml = *format == OutputFormat::Yaml;
    loop {
        let failed = !reasons.0.is_empty();
        let header = if is_yaml { reasons.header() } else { String::new() };
        let extension = if is_yaml { ".yaml" } else { ".json" };
        let file = editor::File::launched(&(header + &text), extension)?;
        let changed = file.text()?;
        if failed && stripped(&changed) == stripped(&text) {
            return Err(file.kept(Failure::message("Edit cancelled, no valid changes were saved.")));
        }
        if stripped(&changed) == stripped(&original) {
            err("Edit cancelled, no changes made.\n");
            return Ok(());
        }
        text = stripped(&changed);
        reasons = Reasons::default();
        match read(&text) {
            Err(why) => {
                let info = &infos[0];
                err(&format!(
                    "error: {} {} is invalid\n",
                    info.resource.group_resource(),
                    quoted(&info.name)
                ));
                let head = format!("{} {} was not valid", info.resource.group_resource(), quoted(&info.name));
                let what = quoted("The edited file failed validation");
                reasons.0.push((head, vec![format!("<nil>: Invalid value: {what}: {why}")]));
            }
            Ok(objects) => {
                if sent(session, infos, &objects, file, &mut reasons)? {
                    return Ok(());
                }
            }
        }
    }
}

/// Opens one object in the editor until it can be read. `None` where nothing was changed, which is said.
///
/// # Errors
/// When there is no editor, or what was changed is given up.
pub fn edited_once(object: &Value, format: &OutputFormat) -> Result<Option<Value>, Failure> {
    let mut bytes = Vec::new();
    printing::print(format, object, &mut bytes).map_err(|e| Failure::message(e.to_string()))?;
    let original = String::from_utf8_lossy(&bytes).into_owned();
    let (mut text, mut reasons) = (original.clone(), Reasons::default());
    let is_yaml = *format == OutputFormat::Yaml;
    loop {
        let header = if is_yaml { reasons.header() } else { String::new() };
        let file = editor::File::launched(&(header + &text), if is_yaml { ".yaml" } else { ".json" })?;
        let changed = stripped(&file.text()?);
        if !reasons.0.is_empty() && changed == stripped(&text) {
            return Err(file.kept(Failure::message("Edit cancelled, no valid changes were saved.")));
        }
        if changed.is_empty() || changed == stripped(&original) {
            err("Edit cancelled, no changes made.\n");
            return Ok(None);
        }
        match read(&changed) {
            Ok(mut objects) if objects.len() == 1 => return Ok(Some(objects.remove(0))),
            Ok(_) => reasons = Reasons(vec![("one object is to be left".to_owned(), Vec::new())]),
            Err(why) => {
                err(&format!("error: the edited file is invalid: {why}\n"));
                reasons = Reasons(vec![("The edited file failed validation".to_owned(), vec![why])]);
            }
        }
        text = changed;
    }
}

/// `apply edit-last-applied`: what a file said is edited, the object itself is not.
pub fn last_applied(session: &Session) -> Result<(), Failure> {
    let flags = &session.flags;
    let format = if flags.text("output") == "json" { OutputFormat::Json } else { OutputFormat::Yaml };
    let wanted = Wanted {
        words: session.arguments(),
        selector: String::new(),
        field_selector: String::new(),
        all_namespaces: false,
    };
    let (infos, mut failures) = builder::chosen(session, &wanted, true)?;
    let mut seen = false;
    for info in infos {
        let Some(text) = info.object["metadata"]["annotations"][ANNOTATION].as_str() else { continue };
        seen = true;
        let object: Value = serde_json::from_str(text).map_err(|e| Failure::message(e.to_string()))?;
        let Some(object) = edited_once(&object, &format)? else { continue };
        let text = crate::gojson::compact(&object) + "\n";
        let change = json!({"metadata": {"annotations": {ANNOTATION: text}}}).to_string().into_bytes();
        match session.client()?.json(&patch(&info, MERGE, change, flags.text("field-manager"), DryRun::None)?)
        {
            Err(failure) => failures.push(failure),
            Ok(_) => out(&format!("{} edited\n", info.shown()))?,
        }
    }
    if !seen && failures.is_empty() {
        return Err(Failure::message(
            "no last-applied-configuration annotation found on resources, to create the annotation, use command `kubectl apply set-last-applied --create-annotation`",
        ));
    }
    Failure::all(failures)
}

/// The objects of an edited text.
fn read(text: &str) -> Result<Vec<Value>, String> {
    let object: Value = serde_saphyr::from_str(text).map_err(|e| e.to_string())?;
    let objects = match object {
        Value::Object(mut map) if map.get("kind").is_some_and(|kind| kind == "List") => {
            match map.remove("items") {
                Some(Value::Array(items)) => items,
                _ => Vec::new(),
            }
        }
        other => vec![other],
    };
    let named = |object: &Value, key: &str| object[key].as_str().is_some_and(|text| !text.is_empty());
    if objects.is_empty()
        || !objects.iter().all(|object| named(object, "kind") && named(object, "apiVersion"))
    {
        return Err("error validating data: apiVersion or kind not set".to_owned());
    }
    Ok(objects)
}

/// Sends what was changed. Whether all is done; else the reasons say why the text is to be edited again.
fn sent(
    session: &Session,
    infos: &[Info],
    objects: &[Value],
    file: editor::File,
    reasons: &mut Reasons,
) -> Result<bool, Failure> {
    let (mut missing, mut refused) = (false, false);
    for (index, object) in objects.iter().enumerate() {
        let same = |info: &&Info| {
            ["apiVersion", "kind"].iter().all(|key| info.object[key] == object[key])
                && info.object["metadata"]["name"] == object["metadata"]["name"]
                && info.object["metadata"]["namespace"] == object["metadata"]["namespace"]
        };
        let Some(info) = infos.iter().find(same) else {
            let known = infos.get(index).map_or("", |info| &info.name);
            let why = if infos.len() == 1 || !known.is_empty() {
                "At least one of apiVersion, kind and name was changed"
            } else {
                "no original object found for an edited one"
            };
            return Err(file.kept(Failure::message(why)));
        };
        let Err(failure) = patched(session, info, object) else { continue };
        let what = format!("{} {}", info.resource.group_resource(), quoted(&info.name));
        match failure {
            Failure::Status(status) if status["reason"] == "Invalid" => {
                err(&format!("error: {what} is invalid\n"));
                let causes = status["details"]["causes"].as_array().into_iter().flatten();
                let text = |cause: &Value, key: &str| cause[key].as_str().unwrap_or_default().to_owned();
                let others =
                    causes.map(|cause| format!("{}: {}", text(cause, "field"), text(cause, "message")));
                reasons.0.push((format!("{what} was not valid"), others.collect()));
            }
            failure if failure.is_not_found() => {
                err(&format!("error: {what} could not be found on the server\n"));
                missing = true;
            }
            failure => {
                err(&format!("error: {what} could not be patched: {}\n", failure.plain()));
                refused = true;
            }
        }
    }
    if missing {
        let kept = quoted(&file.keep());
        err(&format!("The edits you made on deleted resources have been saved to {kept}\n"));
        return Err(Failure::Exit(1));
    }
    if refused {
        err(&format!("You can run `kubectl replace -f {}` to try this update again.\n", file.keep()));
        return Err(Failure::Exit(1));
    }
    Ok(reasons.0.is_empty())
}

fn patched(session: &Session, info: &Info, object: &Value) -> Result<(), Failure> {
    let flags = &session.flags;
    let shown = |object: Value, done: &str| {
        if flags.text("output").is_empty() {
            return out(&format!("{} {done}\n", info.shown()));
        }
        let format = if flags.text("output") == "json" { OutputFormat::Json } else { OutputFormat::Yaml };
        format::print(&format, object, flags)
    };
    let before = &info.object;
    if before == object {
        return shown(object.clone(), "skipped");
    }
    let schema = resources::schema_of_kind(&info.resource.gvk());
    let (content_type, change) = match schema.filter(|_| flags.text("subresource") != "scale") {
        Some(schema) => {
            (STRATEGIC, threeway::strategic(schema.types(), schema.structure(), before, object, before))
        }
        None => (MERGE, threeway::merge(before, object, before)),
    };
    if flags.bool("output-patch") {
        out(&format!("Patch: {}\n", crate::gojson::compact(&change)))?;
    }
    let mut request = Request::new(http::Method::PATCH, path(session, info)?)
        .with("fieldManager", flags.text("field-manager"))
        .with("fieldValidation", validation(flags)?);
    request.content_type = content_type;
    request.body = change.to_string().into_bytes();
    shown(session.client()?.json(&request)?, "edited")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_blanks_do_not_count() {
        assert_eq!(stripped("# a\n\nb: 1  \n  # c\n"), "b: 1\n");
        assert!(read("").is_err() && read("a: [").is_err() && read("kind: A").is_err());
        assert_eq!(read("{kind: List, items: [{kind: A, apiVersion: v1}]}").map(|all| all.len()), Ok(1));
    }

    #[test]
    fn reasons_stand_at_the_head() {
        let reasons = Reasons(vec![("pods \"a\" was not valid".into(), vec!["spec: no".into()])]);
        assert!(reasons.header().ends_with("#\n# pods \"a\" was not valid:\n# * spec: no\n#\n"));
    }
}
