//! `apply view-last-applied` and `set-last-applied`: the annotation by which `apply` knows what a file said before.

use serde_json::{Value, json};

use crate::builder::{self, Wanted};
use crate::client::Request;
use crate::failure::Failure;
use crate::format;
use crate::gojson;
use crate::last_applied::ANNOTATION;
use crate::output::out;
use crate::printing::OutputFormat;
use crate::session::Session;
use crate::write::{DryRun, MERGE, Telling, patch};

pub fn view(session: &Session) -> Result<(), Failure> {
    let flags = &session.flags;
    let format = match flags.text("output") {
        "json" => OutputFormat::Json,
        "yaml" => OutputFormat::Yaml,
        other => {
            return Err(session.usage(&format!(
                "Unexpected -o output mode: {other}, the flag 'output' must be one of yaml|json"
            )));
        }
    };
    let wanted = Wanted {
        words: session.arguments(),
        selector: flags.text("selector").to_owned(),
        field_selector: String::new(),
        all_namespaces: false,
    };
    let (infos, failures) = builder::chosen(session, &wanted, flags.bool("all"))?;
    for info in infos {
        let Some(text) = info.object["metadata"]["annotations"][ANNOTATION].as_str() else { continue };
        let object: Value = serde_json::from_str(text).map_err(|e| Failure::message(e.to_string()))?;
        match format {
            OutputFormat::Json => out(&(gojson::indented(&object) + "\n"))?,
            _ => format::print(&format, object, flags)?,
        }
    }
    Failure::all(failures)
}

pub fn set(session: &Session) -> Result<(), Failure> {
    let telling = Telling::of(session)?;
    if session.flags.list("filename").is_empty() {
        return Err(Failure::message(
            "You must provide one or more resources by argument or filename.\nExample resource specifications include:\n   '-f rsrc.yaml'\n   '--filename=rsrc.json'\n   '<resource> <name>'\n   '<resource>'",
        ));
    }
    let client = session.client()?;
    let mut changes = Vec::new();
    for info in builder::manifests(session)? {
        let present = client.json(&Request::get(info.path()?))?;
        let text = gojson::compact(&info.object) + "\n";
        let before = present["metadata"]["annotations"][ANNOTATION].as_str();
        if before.is_none() && !session.flags.bool("create-annotation") {
            return Err(Failure::message(format!(
                "no last-applied-configuration annotation found on resource: {}, to create the annotation, run the command with --create-annotation",
                info.name
            )));
        }
        let before: Option<Value> = before.and_then(|before| serde_json::from_str(before).ok());
        if before.as_ref() == Some(&info.object) {
            out(&format!("set-last-applied {}: no changes required.\n", info.name))?;
        } else {
            changes.push((info, text));
        }
    }
    for (mut info, text) in changes {
        if telling.dry() != DryRun::Client {
            let body = json!({"metadata": {"annotations": {ANNOTATION: text}}}).to_string().into_bytes();
            info.object = client.json(&patch(&info, MERGE, body, "", telling.dry())?)?;
        }
        telling.tell(session, &info, "configured")?;
    }
    Ok(())
}
