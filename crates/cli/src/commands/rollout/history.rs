//! `rollout history` and `rollout undo`, of Deployments.

use serde_json::{Value, json};

use super::chosen;
use crate::builder::Info;
use crate::client::Request;
use crate::failure::{Failure, quoted};
use crate::output::out;
use crate::session::Session;
use crate::write::{DryRun, JSON_PATCH, Telling, patch};

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

fn only_deployments(info: &Info, what: &str) -> Result<(), Failure> {
    match info.resource.kind.as_str() {
        "Deployment" => Ok(()),
        kind @ ("DaemonSet" | "StatefulSet") => {
            let why = format!(
                "knarr kubectl does not know \"rollout {what}\" of {kind}s yet; use the stock kubectl"
            );
            Err(Failure::message(why))
        }
        kind if what == "history" => {
            let group = &info.resource.group;
            let why = format!(
                "error retrieving history for {}, no visitor method exists for {{{group} {kind}}}",
                quoted(kind)
            );
            Err(Failure::message(why))
        }
        kind => Err(Failure::message(format!("no rollbacker has been implemented for {}", quoted(kind)))),
    }
}

/// The ReplicaSets of a Deployment with their revisions, the oldest first.
fn revisions(session: &Session, info: &Info) -> Result<Vec<(i64, Value)>, Failure> {
    let selector = super::super::logs::selector(&info.object).unwrap_or_default();
    let path = format!("/apis/apps/v1/namespaces/{}/replicasets", crate::client::escaped(&info.namespace));
    let list = session.client()?.json(&Request::get(path).with("labelSelector", &selector))?;
    let uid = &info.object["metadata"]["uid"];
    let mut found = Vec::new();
    for set in list["items"].as_array().into_iter().flatten() {
        let owners = set["metadata"]["ownerReferences"].as_array().into_iter().flatten();
        let owned = owners.into_iter().any(|owner| owner["uid"] == *uid && owner["controller"] == true);
        let revision = set["metadata"]["annotations"][REVISION].as_str().and_then(|text| text.parse().ok());
        if let Some(revision) = revision.filter(|_| owned) {
            found.push((revision, set.clone()));
        }
    }
    found.sort_by_key(|(revision, _)| *revision);
    Ok(found)
}

pub fn run(session: &Session) -> Result<(), Failure> {
    let flags = &session.flags;
    if flags.int("revision") < 0 {
        return Err(Failure::message(
            "revision must be a positive integer: ".to_owned() + flags.text("revision"),
        ));
    }
    if flags.changed("output") || flags.int("revision") > 0 {
        let why = "knarr kubectl does not know \"--revision\" and \"--output\" of rollout history yet; use the stock kubectl";
        return Err(Failure::message(why));
    }
    let (infos, mut failures) = chosen(session)?;
    for info in &infos {
        if let Err(failure) = only_deployments(info, "history") {
            failures.push(failure);
            continue;
        }
        let mut lines = vec![vec!["REVISION".to_owned(), "CHANGE-CAUSE".to_owned()]];
        for (revision, set) in revisions(session, info)? {
            let cause =
                set["metadata"]["annotations"][CHANGE_CAUSE].as_str().filter(|cause| !cause.is_empty());
            lines.push(vec![revision.to_string(), cause.unwrap_or("<none>").to_owned()]);
        }
        out(&format!("{} \n{}\n", info.shown(), tabled(&lines)))?;
    }
    Failure::all(failures)
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
        match back(session, &telling, &mut info, to) {
            Err(failure) => failures.push(failure),
            Ok(done) => telling.tell(session, &info, done)?,
        }
    }
    Failure::all(failures)
}

fn back(session: &Session, telling: &Telling, info: &mut Info, to: i64) -> Result<&'static str, Failure> {
    only_deployments(info, "undo")?;
    if info.object["spec"]["paused"] == true {
        return Err(Failure::message(
            "cannot rollback a paused deployment; resume it first with 'kubectl rollout resume' and try again",
        ));
    }
    let revisions = revisions(session, info)?;
    let found = match to {
        0 => revisions.len().checked_sub(2).map(|index| &revisions[index].1),
        to => revisions.iter().find(|(revision, _)| *revision == to).map(|(_, set)| set),
    };
    let Some(set) = found else {
        return Err(match to {
            0 => {
                Failure::message("no rollout history found for deployment ".to_owned() + &quoted(&info.name))
            }
            to => Failure::message(format!("unable to find specified revision {to} in history")),
        });
    };
    let mut template = set["spec"]["template"].clone();
    if let Some(labels) = template["metadata"]["labels"].as_object_mut() {
        labels.remove(HASH);
    }
    if template == info.object["spec"]["template"] {
        return Ok("skipped rollback (current template already matches revision)");
    }
    let mut annotations = serde_json::Map::new();
    for key in OWN {
        if let Some(value) = info.object["metadata"]["annotations"].get(key) {
            annotations.insert(key.to_owned(), value.clone());
        }
    }
    let of_set = set["metadata"]["annotations"].as_object().cloned().unwrap_or_default();
    annotations.extend(of_set.into_iter().filter(|(key, _)| !OWN.contains(&key.as_str())));
    if telling.dry() == DryRun::Client {
        return Ok("rolled back");
    }
    let body = json!([
        {"op": "replace", "path": "/spec/template", "value": template},
        {"op": "add", "path": "/metadata/annotations", "value": annotations},
    ]);
    let request = patch(info, JSON_PATCH, body.to_string().into_bytes(), "kubectl-rollout", telling.dry())?;
    info.object = session.client()?.json(&request)?;
    Ok("rolled back")
}
