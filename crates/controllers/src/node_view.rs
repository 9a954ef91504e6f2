//! [`NodeView`]: the fields that controllers read of every node, kept beside the cached bytes.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use informer::Cached;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeAddress, NodeCondition, Taint};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde::Deserialize;

const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(from = "Raw")]
pub(crate) struct NodeView {
    /// The status of the Ready condition; empty where there is none.
    pub ready: Box<str>,
    /// When the node agent last renewed its status.
    pub heartbeat: Option<Timestamp>,
    /// The taints that evict.
    pub no_execute: Vec<Taint>,
    /// The taints that only keep new pods away.
    pub no_schedule: Vec<Taint>,
    pub out_of_service: bool,
    /// The node's parts of the pod network.
    pub ranges: Vec<String>,
    /// The addresses by which the cluster reaches the node.
    pub internal_ips: Box<[IpAddr]>,
    /// The CPU that pods may use, in thousandths of a core; 0 where the node does not say.
    pub cpu_m: i64,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Raw {
    spec: Option<RawSpec>,
    status: Option<RawStatus>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawSpec {
    #[serde(rename = "podCIDR")]
    pod_cidr: Option<String>,
    #[serde(rename = "podCIDRs")]
    pod_cidrs: Option<Vec<String>>,
    taints: Option<Vec<Taint>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawStatus {
    conditions: Option<Vec<NodeCondition>>,
    addresses: Option<Vec<NodeAddress>>,
    allocatable: Option<BTreeMap<String, Quantity>>,
}

impl From<Raw> for NodeView {
    fn from(raw: Raw) -> Self {
        let spec = raw.spec.unwrap_or_default();
        let status = raw.status.unwrap_or_default();
        let conditions = status.conditions.unwrap_or_default();
        let cpu = status
            .allocatable
            .as_ref()
            .and_then(|all| all.get("cpu")?.0.parse::<api::quantity::Quantity>().ok());
        let addresses = status.addresses.iter().flatten();
        let internal = pods::node::internal_ips(addresses.map(|one| (&*one.type_, &*one.address)));
        let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready");
        let taints = spec.taints.unwrap_or_default();
        let is_ready = ready.as_ref().is_some_and(|condition| condition.status == "True");
        let out_of_service = !is_ready && taints.iter().any(|taint| taint.key == OUT_OF_SERVICE);
        Self {
            heartbeat: ready.as_ref().and_then(|c| c.last_heartbeat_time.as_ref()).map(|time| time.0),
            ready: ready.map(|condition| condition.status.into()).unwrap_or_default(),
            no_schedule: taints.iter().filter(|taint| taint.effect == "NoSchedule").cloned().collect(),
            no_execute: taints.into_iter().filter(|taint| taint.effect == "NoExecute").collect(),
            out_of_service,
            ranges: pods::node::ranges(spec.pod_cidrs, spec.pod_cidr),
            cpu_m: cpu.map_or(0, |cpu| cpu.milli_value()),
            internal_ips: internal.collect(),
        }
    }
}

pub(crate) fn node_view(node: &Cached<Node>) -> Arc<NodeView> {
    node.view()
}
