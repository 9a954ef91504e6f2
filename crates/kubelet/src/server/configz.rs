//! `/configz`: how the node is set, in the fields of upstream's `KubeletConfiguration` that mean something here.

use std::collections::BTreeMap;

use http::{Response, StatusCode};
use serde::Serialize;
use serde_json::json;

use super::answer::{self, Body};

/// The node's settings (`kubelet.config.k8s.io/v1beta1`).
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Configuration {
    pub enable_server: bool,
    pub address: String,
    pub port: u16,
    #[serde(rename = "clusterDNS")]
    pub cluster_dns: Vec<String>,
    pub cluster_domain: String,
    pub resolv_conf: String,
    pub cgroup_root: String,
    pub cgroup_driver: String,
    #[serde(rename = "cgroupsPerQOS")]
    pub cgroups_per_qos: bool,
    pub max_pods: u64,
    pub pod_log_dir: String,
    pub container_log_max_size: String,
    pub container_log_max_files: usize,
    pub node_lease_duration_seconds: u64,
    pub container_runtime_endpoint: String,
    pub seccomp_default: bool,
    pub fail_swap_on: bool,
    pub enable_system_log_handler: bool,
    pub enable_system_log_query: bool,
    pub static_pod_path: String,
    #[serde(rename = "staticPodURL")]
    pub static_pod_url: String,
    pub eviction_hard: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub eviction_soft: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub eviction_soft_grace_period: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub eviction_minimum_reclaim: BTreeMap<String, String>,
    pub eviction_max_pod_grace_period: u32,
    /// As `5m0s`.
    pub eviction_pressure_transition_period: String,
}

pub fn answer(configuration: &Configuration) -> Response<Body> {
    let shown = json!({ "kubeletconfig": configuration });
    answer::with_type(StatusCode::OK, "application/json", shown.to_string())
}
