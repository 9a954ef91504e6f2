//! `apply --prune`: objects that were applied before and are in no file any more are deleted.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::builder::Info;
use crate::client::Request;
use crate::commands::delete;
use crate::discovery::Resource;
use crate::failure::Failure;
use crate::last_applied::ANNOTATION;
use crate::session::Session;
use crate::write::{DryRun, Telling};

/// The kinds that are pruned where none are named, as GROUP/VERSION/KIND.
const DEFAULT: [&str; 16] = [
    "core/v1/ConfigMap",
    "core/v1/Endpoints",
    "core/v1/Namespace",
    "core/v1/PersistentVolumeClaim",
    "core/v1/PersistentVolume",
    "core/v1/Pod",
    "core/v1/ReplicationController",
    "core/v1/Secret",
    "core/v1/Service",
    "batch/v1/Job",
    "batch/v1/CronJob",
    "networking.k8s.io/v1/Ingress",
    "apps/v1/DaemonSet",
    "apps/v1/Deployment",
    "apps/v1/ReplicaSet",
    "apps/v1/StatefulSet",
];

/// What was applied, which stays.
#[derive(Default)]
pub struct Applied {
    uids: BTreeSet<String>,
    namespaces: BTreeSet<String>,
}

impl Applied {
    /// Notes an object as the server has it.
    pub fn note(&mut self, info: &Info) {
        if info.resource.namespaced {
            self.namespaces.insert(info.namespace.clone());
        }
        self.uids.extend(info.object["metadata"]["uid"].as_str().map(str::to_owned));
    }
}

/// # Errors
/// When it is not said whether all objects or some are meant.
pub fn checked(session: &Session) -> Result<(), Failure> {
    let flags = &session.flags;
    let (all, selector) = (flags.bool("all"), flags.text("selector"));
    if all && !selector.is_empty() {
        return Err(Failure::message("cannot set --all and --selector at the same time"));
    }
    if flags.bool("prune") && !all && selector.is_empty() {
        return Err(Failure::message(
            "all resources selected for prune without explicitly passing --all. To prune all resources, pass the --all flag. If you did not mean to prune all resources, specify a label selector",
        ));
    }
    Ok(())
}

/// The kinds that are pruned.
///
/// # Errors
/// When the server has not one of them, or a name has another form.
pub fn kinds(session: &Session) -> Result<Vec<Resource>, Failure> {
    let named = session.flags.list("prune-allowlist");
    let default: Vec<String> = DEFAULT.map(str::to_owned).to_vec();
    let mut kinds = Vec::new();
    for name in if named.is_empty() { &default } else { named } {
        let parts: Vec<&str> = name.split('/').collect();
        let [group, version, kind] = parts.as_slice() else {
            return Err(Failure::message(format!(
                "invalid GroupVersionKind format: {name}, please follow <group/version/kind>"
            )));
        };
        let api_version = match *group {
            "core" | "" => (*version).to_owned(),
            group => format!("{group}/{version}"),
        };
        let Some(resource) = session.of_kind(&api_version, kind)? else {
            return Err(Failure::message(format!("no matches for kind {kind:?} in version {api_version:?}")));
        };
        kinds.push(resource);
    }
    Ok(kinds)
}

/// Deletes what was applied before, but is not among `applied`.
///
/// # Errors
/// When the server does not list or delete.
pub fn run(
    session: &Session,
    telling: &Telling,
    kinds: &[Resource],
    applied: &Applied,
) -> Result<(), Failure> {
    for namespace in &applied.namespaces {
        for kind in kinds.iter().filter(|kind| kind.namespaced) {
            pruned(session, telling, kind, Some(namespace), applied)
                .map_err(|failure| failed(failure, "namespaced", kind))?;
        }
    }
    for kind in kinds.iter().filter(|kind| !kind.namespaced) {
        pruned(session, telling, kind, None, applied)
            .map_err(|failure| failed(failure, "nonNamespaced", kind))?;
    }
    Ok(())
}

fn failed(failure: Failure, scope: &str, kind: &Resource) -> Failure {
    let kind = format!("{}/{}, Kind={}", kind.group, kind.version, kind.kind);
    Failure::message(format!("error pruning {scope} object {kind}: {}", failure.plain()))
}

fn pruned(
    session: &Session,
    telling: &Telling,
    kind: &Resource,
    namespace: Option<&str>,
    applied: &Applied,
) -> Result<(), Failure> {
    let flags = &session.flags;
    let request = Request::get(kind.path(namespace)).with("labelSelector", flags.text("selector"));
    let list = session.client()?.json(&request)?;
    for item in list["items"].as_array().into_iter().flatten() {
        let metadata = &item["metadata"];
        let was_applied = !metadata["annotations"][ANNOTATION].is_null();
        let stays = metadata["uid"].as_str().is_some_and(|uid| applied.uids.contains(uid));
        if !was_applied || stays {
            continue;
        }
        let mut object: Value = item.clone();
        (object["apiVersion"], object["kind"]) = (kind.api_version().into(), kind.kind.as_str().into());
        let info = Info::of(kind, object);
        if telling.dry() != DryRun::Client {
            delete::send(session, &info, flags.int("grace-period"), telling.dry())?;
        }
        telling.tell(session, &info, "pruned")?;
    }
    Ok(())
}
