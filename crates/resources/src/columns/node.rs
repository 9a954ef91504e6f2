//! Nodes: readiness, roles and what they run.

use std::collections::BTreeSet;

use api::Object;
use jiff::Timestamp;
use serde_json::Value;

use super::read::{age, field, items, join, text_or};
use super::{AGE, Column, NAME, column, wide};

pub(crate) const COLUMNS: &[Column] = &[
    NAME,
    column("Status", "string", "The status of the node"),
    column("Roles", "string", "The roles of the node"),
    AGE,
    column("Version", "string", "Kubelet Version reported by the node."),
    wide("Internal-IP", "string", "List of addresses reachable to the node."),
    wide("External-IP", "string", "List of addresses reachable to the node."),
    wide("OS-Image", "string", "OS Image reported by the node from /etc/os-release."),
    wide("Kernel-Version", "string", "Kernel Version reported by the node from 'uname -r'."),
    wide("Container-Runtime", "string", "ContainerRuntime Version reported by the node."),
];

pub(crate) fn cells(node: &Object, now: Timestamp) -> Vec<Value> {
    let info = |key: &str, absent: &str| text_or(node, &["status", "nodeInfo", key], absent);
    vec![
        node.name().into(),
        status(node).into(),
        roles(node).into(),
        age(node, now),
        info("kubeletVersion", ""),
        address(node, "InternalIP").into(),
        address(node, "ExternalIP").into(),
        info("osImage", "<unknown>"),
        info("kernelVersion", "<unknown>"),
        info("containerRuntimeVersion", "<unknown>"),
    ]
}

fn status(node: &Object) -> String {
    let ready = items(node, &["status", "conditions"]).iter().find(|c| field(c, "type") == "Ready");
    let ready = match ready.map(|c| field(c, "status")) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    match node.at(&["spec", "unschedulable"]) {
        Some(Value::Bool(true)) => format!("{ready},SchedulingDisabled"),
        _ => ready.into(),
    }
}

fn roles(node: &Object) -> String {
    let roles: BTreeSet<&str> = node
        .labels()
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => Some(role),
            None => (key == "kubernetes.io/role").then_some(value),
        })
        .filter(|role| !role.is_empty())
        .collect();
    join(roles, "<none>")
}

fn address<'a>(node: &'a Object, kind: &str) -> &'a str {
    let addresses = items(node, &["status", "addresses"]);
    addresses.iter().find(|a| field(a, "type") == kind).map_or("<none>", |a| field(a, "address"))
}
