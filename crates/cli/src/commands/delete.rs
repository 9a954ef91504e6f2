//! `delete`, and waiting until what was deleted is gone.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::{Command, raw};
use crate::builder::{self, FILES, Info, Target, Wanted};
use crate::client::{Client, Request};
use crate::failure::Failure;
use crate::output::{err, out};
use crate::session::Session;
use crate::write::{DRY_RUN, DryRun, during};

pub const COMMANDS: [Command; 1] = [Command {
    words: "delete",
    flags: &[
        FILES,
        DRY_RUN,
        "all bool=false, A all-namespaces bool=false, cascade text=background?background, field-selector text, \
         force bool=false, grace-period int=-1, ignore-not-found bool=false, i interactive bool=false, now bool=false, \
         o output text, raw text, l selector text, timeout duration=0s, wait bool=true",
    ],
    usage: "([-f FILENAME] | [-k DIRECTORY] | TYPE [(NAME | -l label | --all)])",
    about: "Delete resources by file names, stdin, resources and names, or by resources and label selector",
    run,
}];

/// How long is waited for what was deleted, where no limit is given: a week.
pub const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

fn run(session: &Session) -> Result<(), Failure> {
    let flags = &session.flags;
    if raw::is_asked(session)? {
        return raw::run(session, Method::DELETE);
    }
    checked(session)?;
    let dry = DryRun::of(flags)?;
    let grace = grace_period_s(session)?;
    let (infos, mut failures) = chosen(session)?;
    if infos.is_empty() && failures.is_empty() {
        if !flags.bool("ignore-not-found") || !flags.text("selector").is_empty() {
            out("No resources found\n")?;
        }
        return Ok(());
    }
    let mut gone = Vec::new();
    for info in &infos {
        let deleted = match dry {
            DryRun::Client => Ok(String::new()),
            _ => send(session, info, grace, dry),
        };
        match deleted {
            Ok(uid) => {
                tell(session, info, dry, grace)?;
                gone.push((info, uid));
            }
            Err(failure) => failures.push(during(failure, "deleting", &info.source)),
        }
    }
    if flags.bool("ignore-not-found") {
        failures.retain(|failure| !failure.is_not_found());
    }
    Failure::all(failures)?;
    if !flags.bool("wait") || dry != DryRun::None {
        return Ok(());
    }
    let limit =
        u64::try_from(flags.duration_ns("timeout")).ok().filter(|ns| *ns > 0).map(Duration::from_nanos);
    for (info, uid) in gone {
        match wait(session, info, &uid, limit) {
            // Who may not look is not to fail for it: the object is deleted.
            Err(Failure::Status(status)) if status["code"] == 403 || status["code"] == 405 => return Ok(()),
            other => other?,
        }
    }
    Ok(())
}

fn checked(session: &Session) -> Result<(), Failure> {
    let flags = &session.flags;
    for flag in ["interactive"] {
        if flags.changed(flag) {
            let why =
                format!("knarr kubectl does not know \"--{flag}\" of delete yet; use the stock kubectl");
            return Err(Failure::message(why));
        }
    }
    if !["", "name"].contains(&flags.text("output")) {
        let mode = flags.text("output");
        return Err(Failure::message(format!(
            "unexpected -o output mode: {mode}. We only support '-o name'"
        )));
    }
    if !flags.text("selector").is_empty() && flags.bool("all") {
        return Err(Failure::message("setting 'all' parameter but found a non empty selector. "));
    }
    let files = !flags.list("filename").is_empty() || !flags.text("kustomize").is_empty();
    if session.arguments().is_empty() && !files {
        return Err(Failure::message(
            "You must provide one or more resources by argument or filename.\nExample resource specifications include:\n   '-f rsrc.yaml'\n   '--filename=rsrc.json'\n   '<resource> <name>'\n   '<resource>'",
        ));
    }
    if files && !session.arguments().is_empty() {
        return Err(Failure::message(
            "when paths, URLs, or stdin is provided as resource input, you may not specify resource arguments as well",
        ));
    }
    Ok(())
}

/// Negative: the kind's own.
fn grace_period_s(session: &Session) -> Result<i64, Failure> {
    let flags = &session.flags;
    let mut grace = flags.int("grace-period");
    if flags.bool("now") {
        if grace != -1 {
            return Err(Failure::message("--now and --grace-period cannot be specified together"));
        }
        grace = 1;
    }
    let force = flags.bool("force");
    if force && grace > 0 {
        return Err(Failure::message(
            "--force and --grace-period greater than 0 cannot be specified together",
        ));
    }
    if grace == 0 && !force {
        grace = 1;
    }
    if force && grace < 0 {
        grace = 0;
    }
    if force {
        err(
            "Warning: Immediate deletion does not wait for confirmation that the running resource has been terminated. The resource may continue to run on the cluster indefinitely.\n",
        );
    }
    Ok(grace)
}

/// What is to be deleted. Names are not looked up first.
fn chosen(session: &Session) -> Result<(Vec<Info>, Vec<Failure>), Failure> {
    let flags = &session.flags;
    if session.arguments().is_empty() {
        return Ok((builder::manifests(session)?, Vec::new()));
    }
    let wanted = Wanted {
        words: session.arguments(),
        selector: flags.text("selector").to_owned(),
        field_selector: flags.text("field-selector").to_owned(),
        all_namespaces: flags.bool("all-namespaces"),
    };
    let targets = builder::targets(session, session.arguments())?;
    let selecting = !wanted.selector.is_empty() || !wanted.field_selector.is_empty() || flags.bool("all");
    let (mut infos, mut failures) = (Vec::new(), Vec::new());
    for target in targets {
        match target {
            Target::Kind(_) if !selecting => {
                return Err(Failure::message("resource(s) were provided, but no name was specified"));
            }
            Target::Kind(resource) => match builder::list(session, &resource, &wanted) {
                Ok(found) => infos.extend(found),
                Err(failure) => failures.push(failure),
            },
            Target::Named(resource, name) => {
                if flags.bool("all") {
                    return Err(Failure::message("name cannot be provided when a selector is specified"));
                }
                builder::checked_name(&wanted)?;
                let namespace =
                    if resource.namespaced { session.namespace()?.to_owned() } else { String::new() };
                infos.push(Info { resource, namespace, name, source: String::new(), object: Value::Null });
            }
        }
    }
    Ok((infos, failures))
}

fn tell(session: &Session, info: &Info, dry: DryRun, grace: i64) -> Result<(), Failure> {
    if session.flags.text("output") == "name" {
        return out(&format!("{}\n", info.shown()));
    }
    let done = if grace == 0 { "force deleted" } else { "deleted" };
    out(&sentence(info, done, dry))
}

fn sentence(info: &Info, done: &str, dry: DryRun) -> String {
    let from = match info.scope() {
        Some(namespace) => format!(" from {namespace} namespace"),
        None => String::new(),
    };
    format!("{} \"{}\" {done}{from}{}\n", info.resource.printed(), info.name, dry.suffix())
}

/// Deletes, tells it, and returns the object's uid.
pub fn one(session: &Session, info: &Info, grace_period_s: i64) -> Result<String, Failure> {
    let uid = send(session, info, grace_period_s, DryRun::None)?;
    out(&sentence(info, "deleted", DryRun::None))?;
    Ok(uid)
}

/// Deletes an object by the flag `--cascade`, and returns its uid. Without a grace period where it is negative.
///
/// # Errors
/// When the server says no.
pub fn send(session: &Session, info: &Info, grace: i64, dry: DryRun) -> Result<String, Failure> {
    let policy = match session.flags.text("cascade") {
        "background" | "true" => "Background",
        "foreground" => "Foreground",
        "orphan" | "false" => "Orphan",
        other => {
            let why = format!(
                "invalid cascade value ({other}). Must be \"background\", \"foreground\", or \"orphan\""
            );
            return Err(Failure::message(why));
        }
    };
    let mut options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy});
    if grace >= 0 {
        options["gracePeriodSeconds"] = grace.into();
    }
    if dry == DryRun::Server {
        options["dryRun"] = json!(["All"]);
    }
    let answer = session.client()?.json(&Request::new(Method::DELETE, info.path()?).json(&options))?;
    // A Status tells it in its details, an object that still ends in its metadata.
    let uid = answer["details"]["uid"].as_str().or(answer["metadata"]["uid"].as_str());
    Ok(uid.unwrap_or_default().to_owned())
}

/// Waits until the object is gone, or another one has its name.
pub fn wait(session: &Session, info: &Info, uid: &str, limit: Option<Duration>) -> Result<(), Failure> {
    if gone(session, info, uid, limit.unwrap_or(LONGEST))? {
        return Ok(());
    }
    let what = format!("{}/{}", info.resource.plural, info.name);
    Err(Failure::message(format!("timed out waiting for the condition on {what}")))
}

/// Whether the object is gone, or another one has its name, within a time.
///
/// # Errors
/// When the server does not say.
pub fn gone(session: &Session, info: &Info, uid: &str, limit: Duration) -> Result<bool, Failure> {
    let client = session.client()?;
    let started = session.now();
    loop {
        let present = match client.json(&Request::get(info.path()?)) {
            Err(failure) if failure.is_not_found() => return Ok(true),
            other => other?,
        };
        if !uid.is_empty() && present["metadata"]["uid"] != uid {
            return Ok(true);
        }
        let past = Duration::try_from(session.now().duration_since(started)).unwrap_or_default();
        let Some(left) = limit.checked_sub(past).filter(|left| !left.is_zero()) else {
            return Ok(false);
        };
        changes(client, info, &present, left)?;
    }
}

/// Waits for the next change of the object.
fn changes(client: &Client, info: &Info, present: &Value, left: Duration) -> Result<(), Failure> {
    let version = present["metadata"]["resourceVersion"].as_str().unwrap_or_default();
    let request = Request::get(info.resource.path(info.scope()))
        .with("watch", "true")
        .with("fieldSelector", &format!("metadata.name={}", info.name))
        .with("resourceVersion", version);
    client.changed(&request, left)
}
