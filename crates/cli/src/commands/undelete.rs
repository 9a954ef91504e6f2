//! `undelete`: makes a deleted object anew as it last was, with what was deleted because of it. Not one of the stock
//! kubectl's commands.
//!
//! What belonged to the object is found in the state just before its deletion (`collected`); each object is made ready to
//! be created (`revived`, pure) and created, owners first.

mod collected;
mod revived;

use std::collections::BTreeMap;

use serde_json::Value;

use super::Command;
use super::history::{self, Version};
use crate::builder::Info;
use crate::client::Request;
use crate::discovery::Resource;
use crate::failure::{Failure, quoted};
use crate::output::{err, out};
use crate::session::Session;
use crate::write::{self, DryRun};

pub const COMMANDS: [Command; 1] = [Command {
    words: "undelete",
    flags: &[write::DRY_RUN, "cascade bool=true"],
    usage: "(TYPE NAME | TYPE/NAME)",
    about: "Make a deleted object anew as it last was, with what belonged to it (knarr's own)",
    run,
}];

/// Versions that are looked through for the object as it was before its deletion began.
const VERSIONS: i64 = 200;

fn run(session: &Session) -> Result<(), Failure> {
    let dry = DryRun::of(&session.flags)?;
    let (resource, name) = history::meant(session)?;
    let answer = history::versions(session, history::path(session, &resource, &name)?, VERSIONS)?;
    let last = last_alive(&history::read(&answer), &resource, &name)?;
    let mut makings = vec![Info::of(&resource, last.object.clone())];
    if session.flags.bool("cascade") {
        makings.extend(collected::belongings(session, &resource, &last.object, last.until)?);
    }
    let mut makings = revived::owners_first(makings);
    let mut uids = BTreeMap::new();
    let mut failures = Vec::new();
    for info in &mut makings {
        match made(session, info, &mut uids, dry) {
            Ok(said) => out(&format!("{} {said}{}\n", info.shown(), dry.suffix()))?,
            Err(failure) => failures.push(Failure::message(format!("{}: {}", info.shown(), failure.plain()))),
        }
    }
    Failure::all(failures)
}

/// The object as it was before its deletion began, and a time at which it was so.
struct Last {
    object: Value,
    until: jiff::Timestamp,
}

fn last_alive(versions: &[Version], resource: &Resource, name: &str) -> Result<Last, Failure> {
    let subject = history::shown(resource, name);
    let Some((newest, older)) = versions.split_first() else {
        return Err(Failure::message(format!("nothing is known of {subject}")));
    };
    if newest.object.is_some() {
        return Err(Failure::message(format!("{subject} is there: nothing was deleted")));
    }
    // The versions of the object's end, up to the one before.
    let mut ended = newest;
    for version in older {
        match &version.object {
            Some(object) if object["metadata"]["deletionTimestamp"].is_null() => {
                let time: jiff::Timestamp = ended.time.parse().map_err(|_| {
                    Failure::message(format!("the server says of no time when {subject} was deleted"))
                })?;
                let until = time - jiff::SignedDuration::from_millis(1);
                return Ok(Last { object: object.clone(), until });
            }
            Some(_) => ended = version,
            None => break,
        }
    }
    Err(Failure::message(format!("what {subject} was before it was deleted is forgotten")))
}

/// Creates one object; what it is called in other objects' owner references from then on is added to `uids`.
fn made(
    session: &Session,
    info: &Info,
    uids: &mut BTreeMap<String, String>,
    dry: DryRun,
) -> Result<&'static str, Failure> {
    let old_uid = info.object["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
    let mut body = revived::fresh(&info.object);
    revived::keep_owners(&mut body, |reference| owner(session, info, reference, uids, dry))?;
    if info.resource.kind == "PersistentVolumeClaim" && info.resource.group.is_empty() {
        let volume = body["spec"]["volumeName"].as_str().unwrap_or_default().to_owned();
        let path = format!("/api/v1/persistentvolumes/{}", crate::client::escaped(&volume));
        let is_gone = volume.is_empty() || is_missing(session, path)?;
        if is_gone && !volume.is_empty() {
            err(&format!(
                "Warning: the volume {} of {} is gone with its data; the claim gets a new, empty one\n",
                quoted(&volume),
                info.shown()
            ));
        }
        revived::unbind(&mut body, is_gone);
    }
    if dry == DryRun::Client {
        uids.insert(old_uid.clone(), old_uid);
        return Ok("undeleted");
    }
    let request = Request::new(http::Method::POST, info.collection()?)
        .with("fieldManager", "knarr-undelete")
        .with("dryRun", dry.parameter())
        .json(&body);
    match session.client()?.json(&request) {
        Ok(created) => {
            uids.insert(old_uid, created["metadata"]["uid"].as_str().unwrap_or_default().to_owned());
            Ok("undeleted")
        }
        // Its controller was faster.
        Err(failure) if failure.reason() == "AlreadyExists" => {
            let present = session.client()?.json(&Request::get(info.path()?))?;
            uids.insert(old_uid, present["metadata"]["uid"].as_str().unwrap_or_default().to_owned());
            Ok("is there again")
        }
        Err(failure) => Err(failure),
    }
}

/// The uid under which an owner is there now; `None` where no such object is.
fn owner(
    session: &Session,
    info: &Info,
    reference: &Value,
    uids: &BTreeMap<String, String>,
    dry: DryRun,
) -> Result<Option<String>, Failure> {
    let text = |key: &str| reference[key].as_str().unwrap_or_default();
    if let Some(uid) = uids.get(text("uid")) {
        return Ok(Some(uid.clone()).filter(|_| dry != DryRun::Server));
    }
    let Some(resource) = session.of_kind(text("apiVersion"), text("kind"))? else { return Ok(None) };
    let path = resource.object_path(info.scope().filter(|_| resource.namespaced), text("name"))?;
    match session.client()?.json(&Request::get(path)) {
        Ok(present) => {
            Ok(present["metadata"]["uid"].as_str().filter(|uid| *uid == text("uid")).map(str::to_owned))
        }
        Err(failure) if failure.is_not_found() => Ok(None),
        Err(failure) => Err(failure),
    }
}

fn is_missing(session: &Session, path: String) -> Result<bool, Failure> {
    match session.client()?.json(&Request::get(path)) {
        Ok(_) => Ok(false),
        Err(failure) if failure.is_not_found() => Ok(true),
        Err(failure) => Err(failure),
    }
}
