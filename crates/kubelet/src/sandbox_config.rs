//! The sandbox configuration that the runtime receives, and the pod's cgroup and log folder.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cri::v1::{
    DnsConfig, LinuxContainerResources, LinuxPodSandboxConfig, PodSandboxConfig, PodSandboxMetadata,
    PortMapping, Protocol,
};
use k8s_openapi::api::core::v1::Pod;

use crate::container_config::{log_directory, pod_labels, security};
use crate::cri_view::ANNOTATION_POD_RESOURCES;
use crate::events::{Events, Part, Severity, reference};
use crate::hosts;
use crate::pod_cgroup::PodCgroups;
use crate::pod_logs::LogDirs;
use crate::resolv::{self, ClusterDns, Resolv};
use crate::resources::{self, PodLimits};
use crate::seams::{ConfigError, SandboxConfigs};
use crate::volumes::PodDirs;

/// Upstream's list of sysctls that stay within a pod's namespaces.
const SAFE_SYSCTLS: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];
/// A killed process may need a moment to leave its cgroup.
const RELEASE_RETRIES_MS: [u64; 6] = [0, 5, 20, 50, 200, 1000];

/// Makes sandbox configurations.
pub struct SandboxConfigBuilder {
    pub cgroups: PodCgroups,
    pub dirs: PodDirs,
    pub logs: LogDirs,
    pub cluster_dns: ClusterDns,
    /// The node's own resolver configuration, usually `/etc/resolv.conf`.
    pub resolv_conf: PathBuf,
    pub events: Events,
}

#[async_trait]
impl SandboxConfigs for SandboxConfigBuilder {
    async fn build(&self, pod: &Arc<Pod>, attempt: u32) -> Result<PodSandboxConfig, ConfigError> {
        let sysctls = sysctls(pod)?;
        let security_context = security::of_sandbox(pod)?;
        let log_directory = log_directory(&self.logs.pods(), pod);
        let (cgroup_parent, host) = self.prepare(pod, log_directory.clone()).await?;
        let resolved = resolv::for_pod(pod, &self.cluster_dns, &host);
        for (reason, message) in resolved.warnings {
            self.events.record(reference(pod, Part::Pod), Severity::Warning, reason, message);
        }
        let limits = resources::of_pod(pod);
        Ok(PodSandboxConfig {
            metadata: Some(metadata(pod, attempt)),
            hostname: host_name(pod, &self.cluster_dns.domain)?,
            log_directory: log_directory.to_string_lossy().into_owned(),
            dns_config: Some(DnsConfig {
                servers: resolved.resolv.servers,
                searches: resolved.resolv.searches,
                options: resolved.resolv.options,
            }),
            port_mappings: port_mappings(pod),
            labels: labels(pod),
            annotations: pod
                .metadata
                .annotations
                .iter()
                .flatten()
                .map(|(k, v)| (k.clone(), v.clone()))
                .chain([(ANNOTATION_POD_RESOURCES.to_owned(), resources::whole_text(pod))])
                .collect(),
            linux: Some(LinuxPodSandboxConfig {
                cgroup_parent,
                security_context: Some(security_context),
                sysctls,
                overhead: None,
                resources: Some(LinuxContainerResources {
                    cpu_period: resources::CPU_PERIOD_US,
                    cpu_quota: limits.cpu_quota_us,
                    cpu_shares: limits.cpu_shares,
                    memory_limit_in_bytes: limits.memory_bytes,
                    ..LinuxContainerResources::default()
                }),
            }),
            ..PodSandboxConfig::default()
        })
    }

    async fn limit(&self, pod: &Arc<Pod>, limits: PodLimits) -> Result<(), ConfigError> {
        let (cgroups, pod) = (self.cgroups.clone(), pod.clone());
        let work = tokio::task::spawn_blocking(move || cgroups.limit(&pod, &limits));
        let done = work
            .await
            .map_err(|e| ConfigError::new(format!("changing the pod's limits ended early: {e}")))?;
        done.map_err(|e| ConfigError::new(format!("changing the limits of the pod's cgroup: {e}")))
    }

    async fn memory_usage(&self, pod: &Arc<Pod>) -> Option<u64> {
        let (cgroups, pod) = (self.cgroups.clone(), pod.clone());
        tokio::task::spawn_blocking(move || cgroups.usage(&pod).memory_bytes).await.ok().flatten()
    }

    async fn release(&self, pod_uid: &str, remove_logs: bool) {
        for wait_ms in RELEASE_RETRIES_MS {
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
            let (cgroups, uid) = (self.cgroups.clone(), pod_uid.to_owned());
            match tokio::task::spawn_blocking(move || cgroups.remove(&uid)).await {
                Ok(Ok(())) => break,
                Ok(Err(error)) => tracing::debug!(pod = pod_uid, %error, "the pod's cgroup is still in use"),
                Err(error) => tracing::warn!(pod = pod_uid, %error, "removing the pod's cgroup ended early"),
            }
        }
        if remove_logs {
            let (logs, suffix) = (self.logs.clone(), format!("_{pod_uid}"));
            let removed = tokio::task::spawn_blocking(move || {
                remove_logs_of(&logs.pods(), &suffix)?;
                logs.unlink_lost()
            });
            let removed = removed.await;
            if let Ok(Err(error)) = removed {
                tracing::warn!(pod = pod_uid, %error, "the pod's logs could not be removed");
            }
        }
    }

    async fn logged_pods(&self) -> Vec<String> {
        let root = self.logs.pods();
        tokio::task::spawn_blocking(move || logged_in(&root)).await.unwrap_or_default()
    }
}

impl SandboxConfigBuilder {
    /// Makes cgroup and folders on a thread that may block; the cgroup's path and the node's resolver.
    async fn prepare(&self, pod: &Arc<Pod>, log_directory: PathBuf) -> Result<(String, Resolv), ConfigError> {
        let (cgroups, pod, resolv_conf) = (self.cgroups.clone(), pod.clone(), self.resolv_conf.clone());
        let pod_folder = self.dirs.pod(pod.metadata.uid.as_deref().unwrap_or_default());
        let work = tokio::task::spawn_blocking(move || {
            let fail = |what: &str, e: std::io::Error| ConfigError::new(format!("{what}: {e}"));
            std::fs::create_dir_all(&pod_folder).map_err(|e| fail("creating the pod's folder", e))?;
            std::fs::create_dir_all(&log_directory).map_err(|e| fail("creating the pod's log folder", e))?;
            let path = cgroups.create(&pod).map_err(|e| fail("creating the pod's cgroup", e))?;
            // Without a readable file the node itself resolves nothing, and neither can its pods.
            let host = std::fs::read_to_string(&resolv_conf).unwrap_or_default();
            Ok((path, Resolv::parse(&host)))
        });
        work.await.map_err(|e| ConfigError::new(format!("preparing the sandbox ended early: {e}")))?
    }
}

fn metadata(pod: &Pod, attempt: u32) -> PodSandboxMetadata {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    PodSandboxMetadata {
        name: text(&pod.metadata.name),
        uid: text(&pod.metadata.uid),
        namespace: text(&pod.metadata.namespace),
        attempt,
    }
}

fn labels(pod: &Pod) -> HashMap<String, String> {
    let own = pod.metadata.labels.iter().flatten().map(|(k, v)| (k.clone(), v.clone()));
    own.chain(pod_labels(pod)).collect()
}

/// The name inside the pod; empty in the node's network, whose name it shares.
fn host_name(pod: &Pod, domain: &str) -> Result<String, ConfigError> {
    let spec = pod.spec.as_ref();
    if spec.and_then(|s| s.host_network) == Some(true) {
        return Ok(String::new());
    }
    let host = hosts::host_name(pod, domain);
    match (spec.and_then(|s| s.set_hostname_as_fqdn), host.domain) {
        (Some(true), Some(domain)) => {
            let full = format!("{}.{domain}", host.name);
            if full.len() > 64 {
                return Err(ConfigError::new(format!(
                    "failed to construct FQDN from pod hostname and cluster domain, FQDN {full} is too long (64 \
                     characters is the max, {} characters requested)",
                    full.len()
                )));
            }
            Ok(full)
        }
        _ => Ok(host.name),
    }
}

/// The pod's sysctls, dots between the parts of their names.
///
/// # Errors
/// With upstream's reason `SysctlForbidden` for one that is not safe.
pub(crate) fn sysctls(pod: &Pod) -> Result<HashMap<String, String>, ConfigError> {
    let context = pod.spec.as_ref().and_then(|s| s.security_context.as_ref());
    let mut out = HashMap::new();
    for sysctl in context.iter().flat_map(|c| c.sysctls.iter().flatten()) {
        let name = sysctl.name.replace('/', ".");
        if !SAFE_SYSCTLS.contains(&name.as_str()) {
            let message = format!("forbidden sysctl: \"{name}\" not allowlisted");
            return Err(ConfigError { reason: "SysctlForbidden", message });
        }
        out.insert(name, sysctl.value.clone());
    }
    Ok(out)
}

fn port_mappings(pod: &Pod) -> Vec<PortMapping> {
    let Some(spec) = pod.spec.as_ref().filter(|s| s.host_network != Some(true)) else { return Vec::new() };
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let ports = containers.flat_map(|c| c.ports.iter().flatten());
    let mapped = ports.filter_map(|p| p.host_port.filter(|h| *h > 0).map(|host| (p, host)));
    mapped
        .map(|(port, host_port)| PortMapping {
            protocol: match port.protocol.as_deref() {
                Some("UDP") => Protocol::Udp,
                Some("SCTP") => Protocol::Sctp,
                _ => Protocol::Tcp,
            }
            .into(),
            container_port: port.container_port,
            host_port,
            host_ip: port.host_ip.clone().unwrap_or_default(),
        })
        .collect()
}

fn remove_logs_of(root: &std::path::Path, suffix: &str) -> std::io::Result<()> {
    for entry in std::fs::read_dir(root)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().ends_with(suffix) {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// The uids at the end of the folders' names; neither a namespace nor a pod's name holds a `_`.
fn logged_in(root: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter_map(|name| Some(name.splitn(3, '_').nth(2)?.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn folders_of_logs_tell_whose_they_are() {
        let root = tempfile::tempdir().expect("a folder");
        for name in ["ns_web_u-1", "ns_db_u-2", "foreign"] {
            std::fs::create_dir(root.path().join(name)).expect("made");
        }
        let mut uids = logged_in(root.path());
        uids.sort();
        assert_eq!(uids, ["u-1", "u-2"]);
        remove_logs_of(root.path(), "_u-1").expect("removed");
        assert_eq!(logged_in(root.path()), ["u-2"]);
    }

    #[test]
    fn ports_and_sysctls_are_taken_from_the_pod() {
        let pod = |sysctl: &str, host_network: bool| -> Pod {
            serde_json::from_value(json!({"spec": {"hostNetwork": host_network,
                "securityContext": {"sysctls": [{"name": sysctl, "value": "1"}]},
                "containers": [{"name": "c", "ports": [{"containerPort": 80},
                    {"containerPort": 53, "hostPort": 5353, "protocol": "UDP"}]}]}}))
            .expect("a pod")
        };
        let mappings = port_mappings(&pod("x", false));
        assert_eq!(mappings.len(), 1);
        assert_eq!((mappings[0].host_port, mappings[0].protocol()), (5353, Protocol::Udp));
        assert!(port_mappings(&pod("x", true)).is_empty());
        assert_eq!(sysctls(&pod("net/ipv4/tcp_syncookies", false)).expect("safe").len(), 1);
        let refused = sysctls(&pod("kernel.msgmax", false)).expect_err("unsafe");
        assert_eq!(refused.to_string(), "forbidden sysctl: \"kernel.msgmax\" not allowlisted");
        assert_eq!(refused.reason, "SysctlForbidden");
    }
}
