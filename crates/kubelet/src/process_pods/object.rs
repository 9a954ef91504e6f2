//! How the mirror pod of a part must be. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, ContainerState, ContainerStateRunning, ContainerStatus, HostIP, Node, Pod,
    PodCondition, PodIP, PodSpec, PodStatus, Toleration,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use super::{NAMESPACE, Part, Process, Step};
use crate::origin::{MIRROR_ANNOTATION, SEEN_ANNOTATION, SOURCE_ANNOTATION};

/// Upstream's own values are `file`, `http` and `api`.
const SOURCE: &str = "process";
const CONDITIONS: [&str; 5] =
    ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];

pub fn name(part: &Part, process: &Process) -> String {
    format!("{}-{}", part.name, process.node)
}

/// What is to be done about the object that there is.
pub fn step(part: &Part, process: &Process, node: &Node, current: Option<&Pod>, now: Timestamp) -> Step {
    let Some(current) = current else {
        return Step::Create(Box::new(object(part, process, node, now)));
    };
    let annotations = current.metadata.annotations.as_ref();
    let mirrored = annotations.and_then(|all| all.get(MIRROR_ANNOTATION));
    let is_of_node = current
        .metadata
        .owner_references
        .iter()
        .flatten()
        .any(|owner| Some(&owner.uid) == node.metadata.uid.as_ref());
    if current.metadata.deletion_timestamp.is_some()
        || mirrored != Some(&fingerprint(part, process))
        || !is_of_node
    {
        return Step::Delete;
    }
    match status(part, process, current) {
        status if current.status.as_ref() == Some(&status) => Step::Nothing,
        status => Step::Tell(json!({"metadata": {"uid": current.metadata.uid}, "status": whole(&status)})),
    }
}

/// The addresses as a whole: a strategic merge would keep former ones beside them.
fn whole(status: &PodStatus) -> Value {
    let mut status = json!(status);
    for list in ["hostIPs", "podIPs"] {
        if let Some(items) = status.get_mut(list).and_then(Value::as_array_mut) {
            items.insert(0, json!({"$patch": "replace"}));
        }
    }
    status
}

/// Another one asks for another object.
fn fingerprint(part: &Part, process: &Process) -> String {
    let port = part.port.map_or_else(String::new, |(_, port)| format!("-{port}"));
    let labels: Vec<String> = part.labels.iter().map(|(key, value)| format!("{key}.{value}")).collect();
    format!("{}{port}-{}", process.program.replace([':', '/'], "-"), labels.join("-"))
}

fn object(part: &Part, process: &Process, node: &Node, now: Timestamp) -> Pod {
    let labels = part.labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let annotations = BTreeMap::from([
        (MIRROR_ANNOTATION.to_owned(), fingerprint(part, process)),
        (SOURCE_ANNOTATION.to_owned(), SOURCE.to_owned()),
        (SEEN_ANNOTATION.to_owned(), now.to_string()),
    ]);
    let owner = OwnerReference {
        api_version: "v1".into(),
        kind: "Node".into(),
        name: process.node.clone(),
        uid: node.metadata.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: None,
    };
    let ports = part.port.map(|(name, port)| {
        let port = i32::from(port);
        vec![ContainerPort {
            name: Some(name.into()),
            container_port: port,
            host_port: Some(port),
            protocol: Some("TCP".into()),
            ..ContainerPort::default()
        }]
    });
    Pod {
        metadata: ObjectMeta {
            name: Some(name(part, process)),
            namespace: Some(NAMESPACE.into()),
            labels: Some(labels.collect()),
            annotations: Some(annotations),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec {
            node_name: Some(process.node.clone()),
            host_network: Some(true),
            priority_class_name: Some("system-node-critical".into()),
            enable_service_links: Some(false),
            containers: vec![Container {
                name: part.name.into(),
                image: Some(process.program.clone()),
                image_pull_policy: Some("Never".into()),
                ports,
                ..Container::default()
            }],
            tolerations: Some(vec![Toleration {
                operator: Some("Exists".into()),
                effect: Some("NoExecute".into()),
                ..Toleration::default()
            }]),
            ..PodSpec::default()
        }),
        status: None,
    }
}

/// A part runs as long as the process does: one that failed would have ended the process.
fn status(part: &Part, process: &Process, current: &Pod) -> PodStatus {
    let known = current.status.clone().unwrap_or_default();
    let before = known.container_statuses.iter().flatten().find(|status| status.name == part.name);
    let since = before.and_then(|status| status.state.as_ref()?.running.as_ref()?.started_at.clone());
    let restarts = before.map_or(0, |status| status.restart_count);
    let restarts = restarts + i32::from(since.is_some_and(|since| since != process.started));
    let ip = process.ips.borrow().first().map(ToString::to_string);
    let generation = current.metadata.generation;
    let conditions = CONDITIONS.iter().map(|kind| PodCondition {
        type_: (*kind).into(),
        status: "True".into(),
        last_transition_time: Some(process.started.clone()),
        observed_generation: generation,
        ..PodCondition::default()
    });
    PodStatus {
        phase: Some("Running".into()),
        observed_generation: generation,
        start_time: Some(process.started.clone()),
        host_ips: ip.clone().map(|ip| vec![HostIP { ip }]),
        pod_ips: ip.clone().map(|ip| vec![PodIP { ip }]),
        host_ip: ip.clone(),
        pod_ip: ip,
        conditions: Some(conditions.collect()),
        container_statuses: Some(vec![ContainerStatus {
            name: part.name.into(),
            ready: true,
            started: Some(true),
            restart_count: restarts,
            image: process.program.clone(),
            image_id: String::new(),
            state: Some(ContainerState {
                running: Some(ContainerStateRunning { started_at: Some(process.started.clone()) }),
                ..ContainerState::default()
            }),
            last_state: Some(ContainerState::default()),
            ..ContainerStatus::default()
        }]),
        qos_class: known.qos_class,
        ..PodStatus::default()
    }
}
