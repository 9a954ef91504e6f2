//! `patch`.

use serde_json::Value;

use super::Command;
use crate::builder::{self, FILES, Info, Wanted};
use crate::client::Request;
use crate::failure::{Failure, quoted};
use crate::format;
use crate::kubeconfig::os_words;
use crate::session::Session;
use crate::write::{DRY_RUN, DryRun, JSON_PATCH, MERGE, STRATEGIC, Telling};

pub const COMMANDS: [Command; 1] = [Command {
    words: "patch",
    flags: &[
        FILES,
        format::FLAGS,
        DRY_RUN,
        "field-manager text=kubectl-patch, local bool=false, p patch text, patch-file text, subresource text, \
         type text=strategic",
    ],
    usage: "(-f FILENAME | TYPE NAME) [-p PATCH|--patch-file FILE]",
    about: "Update fields of a resource",
    run,
}];

fn run(session: &Session) -> Result<(), Failure> {
    let flags = &session.flags;
    if !flags.text("patch").is_empty() && !flags.text("patch-file").is_empty() {
        return Err(Failure::message("cannot specify --patch and --patch-file together"));
    }
    if flags.text("patch").is_empty() && flags.text("patch-file").is_empty() {
        return Err(Failure::message(
            "must specify --patch or --patch-file containing the contents of the patch",
        ));
    }
    if flags.bool("local") {
        return Err(Failure::message(
            "knarr kubectl does not know \"--local\" of patch yet; use the stock kubectl",
        ));
    }
    let content_type = match flags.text("type").to_lowercase().as_str() {
        "json" => JSON_PATCH,
        "merge" => MERGE,
        "strategic" => STRATEGIC,
        _ => {
            let why =
                format!("--type must be one of [json merge strategic], not {}", quoted(flags.text("type")));
            return Err(Failure::message(why));
        }
    };
    let telling = Telling::of(session)?;
    let body = body(session)?;
    let wanted = Wanted {
        words: session.arguments(),
        selector: String::new(),
        field_selector: String::new(),
        all_namespaces: false,
    };
    let (infos, mut failures) = builder::chosen(session, &wanted, false)?;
    if infos.is_empty() && failures.is_empty() {
        return Err(Failure::message("no objects passed to patch"));
    }
    for info in infos {
        failures.extend(one(session, &telling, info, content_type, &body).err());
    }
    Failure::all(failures)
}

/// The patch as JSON: what looks like JSON goes as it is, so that the server says what is wrong with it.
fn body(session: &Session) -> Result<Vec<u8>, Failure> {
    let flags = &session.flags;
    let file = flags.text("patch-file");
    let text = if file.is_empty() {
        flags.text("patch").to_owned()
    } else {
        std::fs::read_to_string(file).map_err(|e| {
            Failure::message(format!("unable to read patch file: open {file}: {}", os_words(&e)))
        })?
    };
    if text.trim_start().starts_with(['{', '[']) {
        return Ok(text.into_bytes());
    }
    let value: Value = serde_saphyr::from_str(&text)
        .map_err(|e| Failure::message(format!("unable to parse {}: {e}", quoted(&text))))?;
    Ok(value.to_string().into_bytes())
}

fn one(
    session: &Session,
    telling: &Telling,
    mut info: Info,
    content_type: &'static str,
    body: &[u8],
) -> Result<(), Failure> {
    let flags = &session.flags;
    let client = session.client()?;
    let part = flags.text("subresource");
    if telling.dry() == DryRun::Client {
        let why = "knarr kubectl does not know \"--dry-run=client\" of patch yet; use the stock kubectl";
        return Err(Failure::message(why));
    }
    let path = if part.is_empty() { info.path()? } else { format!("{}/{part}", info.path()?) };
    let before = if part.is_empty() { info.object.take() } else { client.json(&Request::get(&path))? };
    let mut request = Request::new(http::Method::PATCH, path)
        .with("dryRun", telling.dry().parameter())
        .with("fieldManager", flags.text("field-manager"));
    request.content_type = content_type;
    request.body = body.to_vec();
    info.object = client.json(&request)?;
    if !part.is_empty() {
        let kind = info.object["kind"].as_str().unwrap_or_default().to_owned();
        let api_version = info.object["apiVersion"].as_str().unwrap_or_default().to_owned();
        if kind != info.resource.kind {
            let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
            (info.resource.group, info.resource.version) = (group.to_owned(), version.to_owned());
            info.resource.kind = kind;
        }
    }
    let same = before == info.object;
    telling.tell_as(session, &info, if same { "patched (no change)" } else { "patched" }, DryRun::None)
}
