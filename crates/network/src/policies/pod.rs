//! [`Pod`]: what of a pod policies are about.

use std::net::Ipv4Addr;
use std::sync::Arc;

use informer::{Cached, Labels};
use jiff::Timestamp;
use k8s_openapi::api::core::v1;
use serde::Deserialize;

use crate::protocol::Protocol;

/// A pod that has, or may get, an address of the pod network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pod {
    pub uid: Arc<str>,
    pub labels: Labels,
    /// Whether it runs on this machine.
    pub is_here: bool,
    /// The address that its status says.
    pub address: Option<Ipv4Addr>,
    /// Its ports that have a name.
    pub ports: Vec<NamedPort>,
    /// By what of two pods that say they have an address the later is known.
    pub seniority: Seniority,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NamedPort {
    pub name: String,
    pub protocol: Protocol,
    pub number: u16,
}

/// Greater is later: a pod that is being deleted is the former one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Seniority {
    pub stays: bool,
    pub created: Option<Timestamp>,
}

/// The fields that are read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Fields {
    metadata: Metadata,
    spec: Spec,
    status: Status,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Metadata {
    annotations: Annotations,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Annotations {
    #[serde(rename = "kubernetes.io/config.mirror")]
    mirror: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    node_name: String,
    host_network: bool,
    containers: Vec<Container>,
    init_containers: Vec<Container>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Container {
    ports: Vec<Port>,
    restart_policy: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Port {
    name: String,
    container_port: u16,
    protocol: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    phase: String,
    #[serde(rename = "podIP")]
    pod_ip: String,
    #[serde(rename = "podIPs")]
    pod_ips: Vec<PodIp>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PodIp {
    ip: String,
}

/// By what the pod's node and its runtime know it: its uid, or that of the static pod that the object shows. A mirror
/// belongs to its node; what another object says of itself counts for nothing.
pub(super) fn uid(pod: &Cached<v1::Pod>) -> Arc<str> {
    let fields = pod.view::<Fields>();
    let shown = fields.metadata.annotations.mirror.as_deref();
    let is_nodes = pod.owners.iter().any(|owner| &*owner.kind == "Node" && &*owner.api_version == "v1");
    shown.filter(|_| is_nodes).map_or_else(|| pod.uid.clone(), Arc::from)
}

impl Pod {
    /// The pod, unless it is in the node's network or has ended.
    pub fn of(pod: &Cached<v1::Pod>, node: &str) -> Option<Self> {
        let Fields { spec, status, .. } = &*pod.view::<Fields>();
        if spec.host_network || matches!(status.phase.as_str(), "Succeeded" | "Failed") {
            return None;
        }
        // Those that run beside the pod's containers, not before them.
        let sidecars =
            spec.init_containers.iter().filter(|one| one.restart_policy.as_deref() == Some("Always"));
        let ports = spec.containers.iter().chain(sidecars).flat_map(|container| &container.ports);
        let addresses = status.pod_ips.iter().map(|one| &one.ip).chain([&status.pod_ip]);
        Some(Self {
            uid: uid(pod),
            labels: pod.labels.clone(),
            is_here: spec.node_name == node,
            address: addresses.filter_map(|address| address.parse().ok()).next(),
            ports: ports.filter_map(named).collect(),
            seniority: Seniority { stays: !pod.is_being_deleted(), created: pod.created },
        })
    }

    /// The numbers of its ports of this name.
    pub fn numbers(&self, protocol: Protocol, name: &str) -> impl Iterator<Item = u16> {
        let same = move |port: &&NamedPort| port.protocol == protocol && port.name == name;
        self.ports.iter().filter(same).map(|port| port.number)
    }
}

fn named(port: &Port) -> Option<NamedPort> {
    let protocol = Protocol::named(port.protocol.as_deref())?;
    (!port.name.is_empty()).then(|| NamedPort {
        name: port.name.clone(),
        protocol,
        number: port.container_port,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_object_of_a_static_pod_stands_for_what_runs() {
        let known = |annotations: serde_json::Value, owner: &str| {
            let owner = json!({"apiVersion": "v1", "kind": owner, "name": "n", "uid": "u"});
            let metadata = json!({
                "name": "p", "uid": "of-the-api", "annotations": annotations, "ownerReferences": [owner]
            });
            let pod = serde_json::from_value(json!({"metadata": metadata})).expect("a pod");
            uid(&Cached::of(&pod)).to_string()
        };
        let mirror = json!({"kubernetes.io/config.mirror": "of-the-node"});
        assert_eq!(known(json!({"a": "b"}), "Node"), "of-the-api");
        assert_eq!(known(mirror.clone(), "Node"), "of-the-node");
        assert_eq!(known(mirror, "ReplicationController"), "of-the-api", "it only says so");
    }
}
