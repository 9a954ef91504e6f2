//! `rollout history` and `rollout undo`.

use serde_json::{Value, json};

use super::chosen;
use super::revisions::{Revision, revisions};
use crate::builder::Info;
use crate::failure::{Failure, quoted};
use crate::output::out;
use crate::session::Session;
use crate::write::{DryRun, JSON_PATCH, STRATEGIC, Telling, patch};
use crate::{describe, format};

const REVISION: &str = "deployment.kubernetes.io/revision";
const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";
const HASH: &str = "pod-template-hash";

/// The annotations of a Deployment that its revisions do not carry back.
const OWN: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    "deployment.kubernetes.io/revision-history",
    "deployment.kubernetes.io/desired-replicas",
    "deployment.kubernetes.io/max-replicas",
    "deprecated.deployment.rollback.to",
];

/// Whether an object has revisions.
fn has_history(info: &Info, what: &str) -> Result<(), Failure> {
    let (group, kind) = (&info.resource.group, info.resource.kind.as_str());
    if group == "apps" && ["Deployment", "DaemonSet", "StatefulSet"].contains(&kind) {
        return Ok(());
    }
    Err(Failure::message(format!(
        "error retrieving {what} for {}, no visitor method exists for {{{group} {kind}}}",
        quoted(kind)
    )))
}

pub fn run(session: &Session) -> Result<(), Failure> {
    let flags = &session.flags;
    let wanted = flags.int("revision");
    if wanted < 0 {
        return Err(Failure::message(format!("revision must be a positive integer: {wanted}")));
    }
    let format = format::asked(flags, &[])?;
    let (infos, mut failures) = chosen(session)?;
    for info in &infos {
        if let Err(failure) = has_history(info, "history") {
            failures.push(failure);
            continue;
        }
        let all = revisions(session, info)?;
        let one = all.iter().find(|revision| revision.number == wanted);
        if wanted > 0 && one.is_none() {
            failures.push(Failure::message("unable to find the specified revision"));
            continue;
        }
        match (&format, one) {
            (Some(format), Some(one)) => format::print(format, one.state(info), flags)?,
            (Some(format), None) => {
                for revision in &all {
                    format::print(format, revision.state(info), flags)?;
                }
            }
            (None, Some(one)) => {
                let mut template = one.template();
                if let Some(cause) = cause(&one.object) {
                    template["metadata"]["annotations"][CHANGE_CAUSE] = cause.into();
                }
                let described = describe::pod_template(&template, session.now());
                out(&format!("{} with revision #{wanted}\n{described}\n", info.shown()))?;
            }
            (None, None) => listed(info, &all)?,
        }
    }
    Failure::all(failures)
}

/// Why a revision came about, where somebody said so.
fn cause(object: &Value) -> Option<&str> {
    object["metadata"]["annotations"][CHANGE_CAUSE].as_str().filter(|cause| !cause.is_empty())
}

fn listed(info: &Info, revisions: &[Revision]) -> Result<(), Failure> {
    if revisions.is_empty() {
        return out(&format!("{} No rollout history found.\n", info.shown()));
    }
    let mut lines = vec![vec!["REVISION".to_owned(), "CHANGE-CAUSE".to_owned()]];
    for revision in revisions {
        let cause = cause(&revision.object).unwrap_or("<none>");
        lines.push(vec![revision.number.to_string(), cause.to_owned()]);
    }
    out(&format!("{} \n{}\n", info.shown(), tabled(&lines)))
}

/// Columns with two blanks between them.
fn tabled(lines: &[Vec<String>]) -> String {
    let width = lines.iter().map(|line| line[0].chars().count()).max().unwrap_or(0) + 2;
    lines.iter().map(|line| format!("{:<width$}{}\n", line[0], line[1])).collect()
}

pub fn undo(session: &Session) -> Result<(), Failure> {
    let telling = Telling::of(session)?;
    let to = session.flags.int("to-revision");
    if to < 0 {
        return Err(Failure::message(format!("revision must be a positive integer: {to}")));
    }
    let (infos, mut failures) = chosen(session)?;
    for mut info in infos {
        let done = has_history(&info, "rollbacker").and_then(|()| back(session, &telling, &mut info, to));
        match done {
            Err(failure) => failures.push(failure),
            Ok(done) => telling.tell(session, &info, &done)?,
        }
    }
    Failure::all(failures)
}

/// The revision that is meant; without a number, the one before the last.
fn meant<'a>(info: &Info, revisions: &'a [Revision], to: i64) -> Result<&'a Revision, Failure> {
    let found = match to {
        0 => revisions.len().checked_sub(2).map(|index| &revisions[index]),
        to => revisions.iter().find(|revision| revision.number == to),
    };
    found.ok_or_else(|| {
        Failure::message(match (to, info.resource.kind.as_str()) {
            (0, "Deployment") => format!("no rollout history found for deployment {}", quoted(&info.name)),
            (0, _) => "no last revision to roll back to".to_owned(),
            (to, _) => format!("unable to find specified revision {to} in history"),
        })
    })
}

fn back(session: &Session, telling: &Telling, info: &mut Info, to: i64) -> Result<String, Failure> {
    let is_deployment = info.resource.kind == "Deployment";
    let revisions = revisions(session, info)?;
    let revision = meant(info, &revisions, to)?;
    let mut template = revision.template();
    if telling.dry() == DryRun::Client {
        let described = describe::pod_template(&template, session.now());
        return Ok(if is_deployment { described } else { format!("will roll back to {described}") });
    }
    if is_deployment && info.object["spec"]["paused"] == true {
        return Err(Failure::message(
            "cannot rollback a paused deployment; resume it first with 'kubectl rollout resume' and try again",
        ));
    }
    if let Some(labels) = template["metadata"]["labels"].as_object_mut().filter(|_| is_deployment) {
        labels.remove(HASH);
    }
    if template == info.object["spec"]["template"] {
        return Ok(format!("skipped rollback (current template already matches revision {to})"));
    }
    let request = if is_deployment {
        let body = replacement(info, &revision.object, &template).to_string().into_bytes();
        patch(info, JSON_PATCH, body, "kubectl-rollout", telling.dry())?
    } else {
        let body = revision.object["data"].to_string().into_bytes();
        patch(info, STRATEGIC, body, "kubectl-rollout", telling.dry())?
    };
    info.object = session.client()?.json(&request)?;
    Ok("rolled back".to_owned())
}

/// The patch by which a Deployment gets the template and the annotations of a ReplicaSet.
fn replacement(info: &Info, set: &Value, template: &Value) -> Value {
    let mut annotations = serde_json::Map::new();
    for key in OWN {
        if let Some(value) = info.object["metadata"]["annotations"].get(key) {
            annotations.insert(key.to_owned(), value.clone());
        }
    }
    let of_set = set["metadata"]["annotations"].as_object().cloned().unwrap_or_default();
    annotations.extend(of_set.into_iter().filter(|(key, _)| !OWN.contains(&key.as_str())));
    json!([
        {"op": "replace", "path": "/spec/template", "value": template},
        {"op": "add", "path": "/metadata/annotations", "value": annotations},
    ])
}
