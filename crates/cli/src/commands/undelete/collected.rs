//! What belonged to a deleted object, in the state just before its deletion.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::Value;

use crate::builder::Info;
use crate::client::Request;
use crate::discovery::Resource;
use crate::failure::Failure;
use crate::session::Session;

/// Kinds whose objects say what goes on, or are made anew by who made them.
const PASSING: [&str; 5] = ["Event", "EndpointSlice", "Endpoints", "Lease", "PodMetrics"];
/// Kinds that are made anew where they have a controller: it makes others in their place, and what ran need not run again.
const MADE_BY_CONTROLLERS: [&str; 2] = ["Pod", "Job"];

/// Everything that a namespace held, or that was owned by the object, directly or not, and was there at `until`.
///
/// # Errors
/// When the kinds are not known.
pub fn belongings(
    session: &Session,
    resource: &Resource,
    object: &Value,
    until: Timestamp,
) -> Result<Vec<Info>, Failure> {
    let text = |key: &str| object["metadata"][key].as_str().unwrap_or_default();
    let is_namespace = resource.kind == "Namespace" && resource.group.is_empty();
    let scope = match (is_namespace, resource.namespaced) {
        (true, _) => Some(text("name")),
        (false, true) => Some(text("namespace")),
        (false, false) => None,
    };
    session.client()?.look_at(Some(until));
    let all = everything(session, scope);
    session.client()?.look_at(None);
    let all: Vec<Info> = all?.into_iter().filter(|info| is_remade(&info.resource, &info.object)).collect();
    if is_namespace {
        return Ok(all);
    }
    Ok(owned_by(all, text("uid")))
}

fn everything(session: &Session, scope: Option<&str>) -> Result<Vec<Info>, Failure> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for resource in &session.fresh_catalogue()?.resources {
        let makes = resource.has_verb("list") && resource.has_verb("create") && resource.has_verb("get");
        if !makes || (scope.is_some() && !resource.namespaced) || PASSING.contains(&resource.kind.as_str()) {
            continue;
        }
        // A kind in several groups or versions is one kind: its objects have the same uids.
        if !seen.insert((resource.group.clone(), resource.plural.clone())) {
            continue;
        }
        let request = Request::get(resource.path(scope));
        let list = match session.client()?.json(&request) {
            // Who may not see a kind gets none of it back; kinds of other servers have no past here.
            Err(failure) => {
                let kind = resource.group_resource();
                crate::output::err(&format!("Warning: no {kind} are looked for: {}\n", failure.plain()));
                continue;
            }
            Ok(list) => list,
        };
        // What was being deleted already was not to stay.
        let items = list["items"].as_array().into_iter().flatten();
        for item in items.filter(|item| item["metadata"]["deletionTimestamp"].is_null()) {
            let mut object = item.clone();
            object["apiVersion"] = resource.api_version().into();
            object["kind"] = resource.kind.as_str().into();
            found.push(Info::of(resource, object));
        }
    }
    Ok(found)
}

/// Whether an object is to be created again, rather than left to its controller.
fn is_remade(resource: &Resource, object: &Value) -> bool {
    let controlled = object["metadata"]["ownerReferences"]
        .as_array()
        .is_some_and(|references| references.iter().any(|reference| reference["controller"] == true));
    // What each namespace gets by itself.
    let generated = matches!(
        (resource.kind.as_str(), object["metadata"]["name"].as_str()),
        ("ConfigMap", Some("kube-root-ca.crt")) | ("ServiceAccount", Some("default"))
    );
    !(generated || controlled && MADE_BY_CONTROLLERS.contains(&resource.kind.as_str()))
}

/// Those that lead to `uid` by their owner references.
fn owned_by(all: Vec<Info>, uid: &str) -> Vec<Info> {
    let mut by_owner: BTreeMap<String, Vec<Info>> = BTreeMap::new();
    for info in all {
        for reference in info.object["metadata"]["ownerReferences"].as_array().into_iter().flatten() {
            let owner = reference["uid"].as_str().unwrap_or_default();
            by_owner.entry(owner.to_owned()).or_default().push(info.clone());
        }
    }
    let (mut found, mut seen, mut next) = (Vec::new(), BTreeSet::new(), vec![uid.to_owned()]);
    while let Some(owner) = next.pop() {
        for info in by_owner.remove(&owner).unwrap_or_default() {
            let own = info.object["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
            if seen.insert(own.clone()) {
                next.push(own);
                found.push(info);
            }
        }
    }
    found
}
