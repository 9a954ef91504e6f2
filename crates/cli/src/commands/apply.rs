//! `apply`: by a three-way patch of our own making, or on the server.

mod last;
mod prune;

use api::selector::LabelSelector;
use serde_json::Value;

use super::{Command, create, edit};
use crate::builder::{self, FILES, Info};
use crate::client::Request;
use crate::failure::{Failure, quoted};
use crate::output::err;
use crate::session::Session;
use crate::write::{APPLY, DRY_RUN, DryRun, MERGE, STRATEGIC, Telling, VALIDATE, during, patch, validation};
use crate::{format, gojson, last_applied, threeway};

pub const COMMANDS: [Command; 4] = [APPLY_COMMAND, VIEW, SET, EDIT];

const APPLY_COMMAND: Command = Command {
    words: "apply",
    flags: &[
        FILES,
        format::FLAGS,
        DRY_RUN,
        VALIDATE,
        "all bool=false, cascade text=background?background, field-manager text, force bool=false, \
         force-conflicts bool=false, grace-period int=-1, openapi-patch bool=true, overwrite bool=true, \
         prune bool=false, prune-allowlist array, l selector text, server-side bool=false, subresource text, \
         timeout duration=0s, wait bool=false",
    ],
    usage: "(-f FILENAME | -k DIRECTORY)",
    about: "Apply a configuration to a resource by file name or stdin",
    run,
};

const VIEW: Command = Command {
    words: "apply view-last-applied",
    flags: &[FILES, "all bool=false, o output text=yaml, l selector text"],
    usage: "(TYPE [NAME | -l label] | TYPE/NAME | -f FILENAME)",
    about: "View the latest last-applied-configuration annotations of a resource/object",
    run: last::view,
};

const SET: Command = Command {
    words: "apply set-last-applied",
    flags: &[FILES, format::FLAGS, DRY_RUN, "create-annotation bool=false"],
    usage: "-f FILENAME",
    about: "Set the last-applied-configuration annotation on a live object to match the contents of a file",
    run: last::set,
};

const EDIT: Command = Command {
    words: "apply edit-last-applied",
    flags: &[
        FILES,
        format::FLAGS,
        VALIDATE,
        "field-manager text=kubectl-client-side-apply, windows-line-endings bool=false",
    ],
    usage: "(RESOURCE/NAME | -f FILENAME)",
    about: "Edit latest last-applied-configuration annotations of a resource/object",
    run: edit::last_applied,
};

/// How often a patch is made anew because the object changed meanwhile.
const TRIES: usize = 5;

fn run(session: &Session) -> Result<(), Failure> {
    checked(session)?;
    let flags = &session.flags;
    let telling = Telling::of(session)?;
    if flags.bool("server-side") && telling.dry() == DryRun::Client {
        return Err(Failure::message(
            "--dry-run=client doesn't work with --server-side (did you mean --dry-run=server instead?)",
        ));
    }
    let kinds = if flags.bool("prune") { prune::kinds(session)? } else { Vec::new() };
    let (mut failures, mut printed) = (Vec::new(), Vec::new());
    let mut stays = prune::Applied::default();
    for mut info in selected(session)? {
        let prefix = info.object["metadata"]["generateName"].as_str().unwrap_or_default();
        if info.name.is_empty() && !prefix.is_empty() {
            return Err(Failure::message(format!("from {prefix}: cannot use generate name with apply")));
        }
        let applied = if flags.bool("server-side") {
            on_server(session, &mut info, telling.dry()).map(|()| "serverside-applied")
        } else {
            by_patch(session, &mut info, telling.dry())
        };
        if applied.is_ok() {
            stays.note(&info);
        }
        match applied {
            Ok(_) if telling.is_printed() => printed.push(info.object),
            Ok(done) => telling.tell(session, &info, done)?,
            Err(failure) => failures.push(failure),
        }
    }
    telling.print(session, printed)?;
    Failure::all(failures)?;
    // What failed to be applied may be what is meant to stay: nothing is pruned then.
    if flags.bool("prune") { prune::run(session, &telling, &kinds, &stays) } else { Ok(()) }
}

/// The objects of the files that the selector lets through.
fn selected(session: &Session) -> Result<Vec<Info>, Failure> {
    let selector =
        LabelSelector::parse(session.flags.text("selector")).map_err(|e| Failure::message(e.to_string()))?;
    let mut infos = builder::manifests(session)?;
    infos.retain(|info| {
        let labels = &info.object["metadata"]["labels"];
        selector.matches(|key| labels.get(key).and_then(Value::as_str))
    });
    if infos.is_empty() {
        return Err(Failure::message("no objects passed to apply"));
    }
    Ok(infos)
}

fn checked(session: &Session) -> Result<(), Failure> {
    let flags = &session.flags;
    if !session.arguments().is_empty() {
        return Err(session.usage(&format!("Unexpected args: [{}]", session.arguments().join(" "))));
    }
    for flag in ["force", "subresource"] {
        if flags.changed(flag) {
            let why = format!("knarr kubectl does not know \"--{flag}\" of apply yet; use the stock kubectl");
            return Err(Failure::message(why));
        }
    }
    if flags.list("filename").is_empty() && flags.text("kustomize").is_empty() {
        return Err(Failure::message("must specify one of -f and -k"));
    }
    validation(flags)?;
    prune::checked(session)?;
    if flags.bool("force-conflicts") && !flags.bool("server-side") {
        return Err(Failure::message("--force-conflicts only works with --server-side"));
    }
    Ok(())
}

fn on_server(session: &Session, info: &mut Info, dry: DryRun) -> Result<(), Failure> {
    let flags = &session.flags;
    let manager =
        if flags.text("field-manager").is_empty() { "kubectl" } else { flags.text("field-manager") };
    let mut object = info.object.clone();
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    let mut request = patch(info, APPLY, object.to_string().into_bytes(), manager, dry)?
        .with("fieldValidation", validation(flags)?)
        .with("force", &flags.bool("force-conflicts").to_string());
    request.accept = crate::client::JSON;
    info.object = session.client()?.json(&request).map_err(conflicts)?;
    Ok(())
}

/// What the stock kubectl advises where others own fields.
fn conflicts(failure: Failure) -> Failure {
    let Failure::Status(mut status) = failure else { return failure };
    if status["reason"] == "Conflict" {
        let message = status["message"].as_str().unwrap_or_default();
        status["message"] = format!(
            "{message}\nPlease review the fields above--they currently have other managers. Here\nare the ways you can resolve this warning:\n* If you intend to manage all of these fields, please re-run the apply\n  command with the `--force-conflicts` flag.\n* If you do not intend to manage all of the fields, please edit your\n  manifest to remove references to the fields that should keep their\n  current managers.\n* You may co-own fields by updating your manifest to match the existing\n  value; in this case, you'll become the manager if the other manager(s)\n  stop managing the field (remove it from their configuration).\nSee https://kubernetes.io/docs/reference/using-api/server-side-apply/#conflicts"
        )
        .into();
    }
    Failure::Status(status)
}

fn by_patch(session: &Session, info: &mut Info, dry: DryRun) -> Result<&'static str, Failure> {
    let client = session.client()?;
    let manager = session.flags.text("field-manager");
    let manager = if manager.is_empty() { "kubectl-client-side-apply" } else { manager };
    let mut wanted = info.object.clone();
    last_applied::annotate(&mut wanted);
    for attempt in 1.. {
        let present = match info.path().and_then(|path| client.json(&Request::get(path))) {
            Ok(present) => present,
            Err(failure) if failure.is_not_found() => {
                info.object = wanted;
                if dry != DryRun::Client {
                    let source = info.source.clone();
                    create::post(session, info, dry, manager).map_err(|f| during(f, "creating", &source))?;
                }
                return Ok("created");
            }
            Err(failure) => {
                let what =
                    format!("retrieving current configuration of:\n{}\nfrom server for", subject(info));
                return Err(during(failure, &what, &info.source));
            }
        };
        warn(info, &present, dry);
        // On this side nothing is compared: the stock one says the same of every object that is there.
        if dry == DryRun::Client {
            info.object = present;
            return Ok("configured");
        }
        let (content_type, change) = difference(info, &wanted, &present);
        if change.as_object().is_some_and(serde_json::Map::is_empty) {
            info.object = present;
            return Ok("unchanged");
        }
        let request = patch(info, content_type, change.to_string().into_bytes(), manager, dry)?
            .with("fieldValidation", validation(&session.flags)?);
        match client.json(&request) {
            Err(failure) if failure.reason() == "Conflict" && attempt < TRIES => {}
            Err(failure) => {
                let what =
                    format!("applying patch:\n{}\nto:\n{}\nfor:", gojson::compact(&change), subject(info));
                return Err(during(failure, &what, &info.source));
            }
            Ok(patched) => {
                info.object = patched;
                return Ok("configured");
            }
        }
    }
    unreachable!("the last attempt returns")
}

/// What applying would make of an object, `present` or null, by a dry run on the server.
///
/// # Errors
/// As applying.
pub fn tried(session: &Session, info: &Info, present: &Value) -> Result<Value, Failure> {
    let flags = &session.flags;
    let mut info = info.clone();
    if flags.bool("server-side") {
        on_server(session, &mut info, DryRun::Server)?;
        return Ok(info.object);
    }
    let manager = flags.text("field-manager");
    let manager = if manager.is_empty() { "kubectl-client-side-apply" } else { manager };
    if present.is_null() {
        let source = info.source.clone();
        create::post(session, &mut info, DryRun::Server, manager)
            .map_err(|f| during(f, "creating", &source))?;
        return Ok(info.object);
    }
    // As it would be annotated, but for the annotation itself.
    let mut wanted = info.object.clone();
    last_applied::annotate(&mut wanted);
    if let Some(annotations) = wanted["metadata"]["annotations"].as_object_mut() {
        annotations.remove(last_applied::ANNOTATION);
    }
    let (content_type, change) = difference(&info, &wanted, present);
    let body = change.to_string().into_bytes();
    session.client()?.json(&patch(&info, content_type, body, manager, DryRun::Server)?)
}

fn subject(info: &Info) -> String {
    let resource = &info.resource;
    format!(
        "Resource: {}, GroupVersionKind: {}\nName: {}, Namespace: {}",
        quoted(&format!("{}/{}, Resource={}", resource.group, resource.version, resource.plural)),
        quoted(&format!("{}/{}, Kind={}", resource.group, resource.version, resource.kind)),
        quoted(&info.name),
        quoted(&info.namespace)
    )
}

fn warn(info: &Info, present: &Value, dry: DryRun) {
    if !present["metadata"]["deletionTimestamp"].is_null() {
        err(&format!(
            "Warning: Detected changes to resource {} which is currently being deleted.\n",
            info.name
        ));
    }
    if present["metadata"]["annotations"][last_applied::ANNOTATION].is_null() && dry != DryRun::Server {
        err(&format!(
            "Warning: resource {}/{} is missing the {} annotation which is required by kubectl apply. kubectl apply should only be used on resources created declaratively by either kubectl create --save-config or kubectl apply. The missing annotation will be patched automatically.\n",
            info.resource.plural,
            info.name,
            last_applied::ANNOTATION
        ));
    }
}

fn difference(info: &Info, wanted: &Value, present: &Value) -> (&'static str, Value) {
    let original = present["metadata"]["annotations"][last_applied::ANNOTATION].as_str();
    let original: Value = original.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let resource = &info.resource;
    match resources::schema_of_kind(&resource.gvk()) {
        Some(schema) => {
            let (types, structure) = (schema.types(), schema.structure());
            (STRATEGIC, threeway::strategic(types, structure, &original, wanted, present))
        }
        None => (MERGE, threeway::merge(&original, wanted, present)),
    }
}
