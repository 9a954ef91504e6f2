//! `create -f` and `replace`.

use http::Method;
use serde_json::Value;

use super::{Command, delete, edit, raw};
use crate::builder::{self, FILES, Info};
use crate::client::Request;
use crate::failure::Failure;
use crate::printing::OutputFormat;
use crate::session::Session;
use crate::write::{DRY_RUN, DryRun, Telling, VALIDATE, during, validation};
use crate::{format, last_applied};

pub const COMMANDS: [Command; 2] = [
    Command {
        words: "create",
        flags: &[
            FILES,
            format::FLAGS,
            DRY_RUN,
            VALIDATE,
            "edit bool=false, field-manager text=kubectl-create, raw text, save-config bool=false, l selector text, \
             windows-line-endings bool=false",
        ],
        usage: "-f FILENAME",
        about: "Create a resource from a file or from stdin",
        run: create,
    },
    Command {
        words: "replace",
        flags: &[
            FILES,
            format::FLAGS,
            DRY_RUN,
            VALIDATE,
            "cascade text=background?background, field-manager text=kubectl-replace, force bool=false, \
             grace-period int=-1, raw text, save-config bool=false, subresource text, timeout duration=0s, wait bool=false",
        ],
        usage: "-f FILENAME",
        about: "Replace a resource by file name or stdin",
        run: replace,
    },
];

fn checked(session: &Session) -> Result<(), Failure> {
    let flags = &session.flags;
    for flag in ["windows-line-endings"] {
        if flags.changed(flag) {
            let why = format!(
                "knarr kubectl does not know \"--{flag}\" of {} yet; use the stock kubectl",
                session.command
            );
            return Err(Failure::message(why));
        }
    }
    if !session.arguments().is_empty() {
        return Err(session.usage(&format!("Unexpected args: [{}]", session.arguments().join(" "))));
    }
    if flags.list("filename").is_empty() && flags.text("kustomize").is_empty() {
        return Err(Failure::message("must specify one of -f and -k"));
    }
    Ok(())
}

/// Sends an object to be made; the object of the answer is the info's then.
pub fn post(session: &Session, info: &mut Info, dry: DryRun, manager: &str) -> Result<(), Failure> {
    let request = Request::new(Method::POST, info.collection()?)
        .with("dryRun", dry.parameter())
        .with("fieldManager", manager)
        .with("fieldValidation", validation(&session.flags)?)
        .json(&info.object);
    let made = session.client()?.json(&request)?;
    let text = |key: &str| made["metadata"][key].as_str().unwrap_or_default().to_owned();
    (info.name, info.namespace) = (text("name"), text("namespace"));
    info.object = made;
    Ok(())
}

fn create(session: &Session) -> Result<(), Failure> {
    if raw::is_asked(session)? {
        return raw::run(session, Method::POST);
    }
    checked(session)?;
    if session.flags.bool("edit") {
        return edited(session);
    }
    let telling = Telling::of(session)?;
    let mut failures = Vec::new();
    for mut info in builder::manifests(session)? {
        if session.flags.bool("save-config") {
            last_applied::annotate(&mut info.object);
        }
        if telling.dry() != DryRun::Client {
            let source = info.source.clone();
            if let Err(failure) = post(session, &mut info, telling.dry(), session.flags.text("field-manager"))
            {
                failures.push(during(failure, "creating", &source));
                continue;
            }
        }
        telling.tell(session, &info, "created")?;
    }
    Failure::all(failures)
}

/// `create --edit`: every object is edited before it is made.
fn edited(session: &Session) -> Result<(), Failure> {
    let telling = Telling::of(session)?;
    let format = if session.flags.text("output") == "json" { OutputFormat::Json } else { OutputFormat::Yaml };
    let mut failures = Vec::new();
    for mut info in builder::manifests(session)? {
        let Some(object) = edit::edited_once(&info.object, &format)? else { continue };
        if object["kind"] != info.object["kind"] || object["apiVersion"] != info.object["apiVersion"] {
            return Err(Failure::message("At least one of apiVersion and kind was changed"));
        }
        let source = std::mem::take(&mut info.source);
        let mut changed = Info::of(&info.resource, object);
        if changed.namespace.is_empty() {
            changed.namespace = info.namespace;
        }
        match post(session, &mut changed, telling.dry(), session.flags.text("field-manager")) {
            Ok(()) => telling.tell(session, &changed, "created")?,
            Err(failure) => failures.push(during(failure, "creating", &source)),
        }
    }
    Failure::all(failures)
}

fn replace(session: &Session) -> Result<(), Failure> {
    if raw::is_asked(session)? {
        return raw::run(session, Method::PUT);
    }
    checked(session)?;
    let flags = &session.flags;
    let telling = Telling::of(session)?;
    if !flags.bool("force") && flags.int("grace-period") >= 0 {
        return Err(Failure::message("--grace-period must have --force specified"));
    }
    if !flags.bool("force") && flags.duration_ns("timeout") != 0 {
        return Err(Failure::message("--timeout must have --force specified"));
    }
    let mut infos = builder::manifests(session)?;
    if flags.bool("force") {
        if telling.dry() != DryRun::None {
            return Err(Failure::message("--dry-run can not be used when --force is set"));
        }
        let mut gone = Vec::new();
        for info in &infos {
            match delete::one(session, info, flags.int("grace-period").max(0)) {
                Err(failure) if !failure.is_not_found() => {
                    return Err(during(failure, "deleting", &info.source));
                }
                Err(_) => {}
                Ok(uid) => gone.push((info, uid)),
            }
        }
        for (info, uid) in gone {
            delete::wait(session, info, &uid, None)?;
        }
    }
    let mut failures = Vec::new();
    for info in &mut infos {
        if flags.bool("save-config") {
            last_applied::annotate(&mut info.object);
        }
        let sent = match (telling.dry(), flags.bool("force")) {
            (DryRun::Client, _) => Ok(()),
            (dry, true) => post(session, info, dry, flags.text("field-manager")),
            (dry, false) => put(session, info, dry),
        };
        match sent {
            Err(failure) => failures.push(during(failure, "replacing", &info.source)),
            Ok(()) => telling.tell(session, info, "replaced")?,
        }
    }
    Failure::all(failures)
}

fn put(session: &Session, info: &mut Info, dry: DryRun) -> Result<(), Failure> {
    let part = session.flags.text("subresource");
    let path = if part.is_empty() { info.path()? } else { format!("{}/{part}", info.path()?) };
    let client = session.client()?;
    if info.object["metadata"]["resourceVersion"].as_str().unwrap_or_default().is_empty() {
        // Without a version of its own a file means: whatever is there.
        let present = client.json(&Request::get(&path))?;
        info.object["metadata"]["resourceVersion"] = present["metadata"]["resourceVersion"].clone();
    }
    let request = Request::new(Method::PUT, path)
        .with("dryRun", dry.parameter())
        .with("fieldManager", session.flags.text("field-manager"))
        .with("fieldValidation", validation(&session.flags)?)
        .json(&info.object);
    let answer: Value = client.json(&request)?;
    info.object = answer;
    Ok(())
}
