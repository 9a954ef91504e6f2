//! `--local`: objects of files, without a server.

use serde_json::{Value, json};

use super::containers::holder;
use crate::builder::{self, Info};
use crate::discovery::Resource;
use crate::failure::Failure;
use crate::session::Session;

/// The objects of the files.
///
/// # Errors
/// When words are given, or a file cannot be read.
pub fn chosen(session: &Session, words: &[String]) -> Result<Vec<Info>, Failure> {
    if !words.is_empty() || session.flags.list("filename").is_empty() {
        return Err(Failure::message(
            "you must specify resources by --filename when --local is set.\nExample resource specifications include:\n   '-f rsrc.yaml'\n   '--filename=rsrc.json'",
        ));
    }
    let mut infos = Vec::new();
    for (object, source) in builder::texts(session)? {
        let mut info = Info::of(&resource(&object)?, object);
        info.source = source;
        completed(&mut info.object);
        infos.push(info);
    }
    Ok(infos)
}

/// The kind as far as a file says it. Without a server nobody knows its plural; messages have the kind's name instead.
fn resource(object: &Value) -> Result<Resource, Failure> {
    let text = |key: &str| object[key].as_str().unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    if kind.is_empty() {
        let shown = crate::gojson::compact(object);
        return Err(Failure::message(format!("Object 'Kind' is missing in '{shown}'")));
    }
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    Ok(Resource {
        group: group.to_owned(),
        version: version.to_owned(),
        plural: kind.to_lowercase(),
        singular: kind.to_lowercase(),
        kind: kind.to_owned(),
        namespaced: true,
        verbs: Vec::new(),
        short_names: Vec::new(),
        categories: Vec::new(),
    })
}

/// Adds the fields that a typed object always has when it is written.
fn completed(object: &mut Value) {
    let kind = object["kind"].as_str().unwrap_or_default().to_owned();
    if object["kind"] == "CronJob" {
        add(&mut object["spec"]["jobTemplate"], "metadata", json!({}));
    }
    if let Some(template) = holder(object)
        && kind != "Pod"
    {
        add(template, "metadata", json!({}));
    }
    let mut spec = holder(object).map(|holder| &mut holder["spec"]);
    for list in ["containers", "initContainers"] {
        let containers = spec.as_mut().and_then(|spec| spec.get_mut(list)).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            add(container, "resources", json!({}));
        }
    }
    let status = match kind.as_str() {
        "Pod" | "Job" | "CronJob" => json!({}),
        "Deployment" => {
            add(&mut object["spec"], "strategy", json!({}));
            json!({})
        }
        "DaemonSet" => {
            add(&mut object["spec"], "updateStrategy", json!({}));
            json!({"currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0, "numberReady": 0})
        }
        "StatefulSet" => {
            add(&mut object["spec"], "updateStrategy", json!({}));
            json!({"availableReplicas": 0, "replicas": 0})
        }
        "ReplicaSet" | "ReplicationController" => json!({"replicas": 0}),
        "Service" => json!({"loadBalancer": {}}),
        _ => return,
    };
    add(object, "status", status);
}

fn add(object: &mut Value, key: &str, value: Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.entry(key).or_insert(value);
    }
}
