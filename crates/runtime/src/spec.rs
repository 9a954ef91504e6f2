//! Converts the CRI's configuration of a container to an OCI runtime specification.
//!
//! [`container`] is the way in: pure, except that device nodes of the host are looked at. The result is
//! JSON, the form the shim reads.

mod capabilities;
mod devices;
mod mounts;
mod process;
pub mod seccomp;
pub mod user;

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::PathBuf;

use cri::v1::security_profile::ProfileType;
use cri::v1::{
    ContainerConfig, LinuxContainerResources, LinuxContainerSecurityContext, MountPropagation, NamespaceMode,
    SecurityProfile,
};
use serde_json::{Value, json};

use crate::rootfs::Image;
use cgroup::CgroupMounts;

pub use capabilities::{UnknownCapability, available as available_capabilities};
pub use process::exec_process;

/// Everything a container's specification is made from.
pub struct Inputs<'a> {
    pub config: &'a ContainerConfig,
    pub image: &'a Image,
    pub accounts: &'a user::AccountFiles,
    pub hierarchy: &'a CgroupMounts,
    /// What this process may pass on.
    pub capabilities: &'a BTreeSet<String>,
    pub cgroup: &'a str,
    pub hostname: &'a str,
    pub namespaces: Namespaces,
    /// The pod's own files and its shared memory.
    pub pod_files: PodFiles,
    /// Where the images among the client's mounts are mounted, in their order.
    pub mounted_images: &'a [PathBuf],
    /// Paths the image wants a volume for, with the directory made for each.
    pub image_volumes: Vec<(String, PathBuf)>,
}

/// Where the namespaces of a container come from: a file to join, or none for the host's.
#[derive(Debug, Clone, Default)]
pub struct Namespaces {
    pub net: Option<String>,
    pub ipc: Option<String>,
    pub uts: Option<String>,
    pub pid: PidNamespace,
}

/// The PID namespace of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum PidNamespace {
    #[default]
    Own,
    Join(String),
    Host,
}

/// Files of the pod that are mounted into each container unless the client mounts its own there.
#[derive(Debug, Clone, Default)]
pub struct PodFiles {
    pub resolv_conf: Option<PathBuf>,
    pub hostname: Option<PathBuf>,
    pub hosts: Option<PathBuf>,
    pub shm: Option<PathBuf>,
}

/// Why no specification can be made.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    #[error(transparent)]
    Capability(#[from] UnknownCapability),
    #[error(transparent)]
    User(#[from] user::UserError),
    #[error("no command specified")]
    NoCommand,
    #[error("{0}")]
    Invalid(String),
    #[error("not implemented: {0}")]
    NotImplemented(&'static str),
    #[error("{path}: {source}")]
    Io {
        path: String,
        #[source]
        source: io::Error,
    },
}

/// What can't be read or changed under `/proc` and `/sys`, as other CRI runtimes.
const MASKED_PATHS: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];
const READONLY_PATHS: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Whom the first process of a container with this specification runs as.
pub fn identity(spec: &Value) -> Option<user::Identity> {
    serde::Deserialize::deserialize(&spec["process"]["user"]).ok()
}

/// The specification of a container.
///
/// # Errors
/// When the configuration asks for something that does not exist or is not supported.
pub fn container(inputs: &Inputs<'_>) -> Result<Value, SpecError> {
    let context = security_context(inputs.config);
    if context
        .namespace_options
        .as_ref()
        .is_some_and(|o| o.userns_options.as_ref().is_some_and(|u| u.mode == NamespaceMode::Pod as i32))
    {
        return Err(SpecError::NotImplemented("user namespaces"));
    }
    let granted =
        capabilities::grant(context.privileged, context.capabilities.as_ref(), inputs.capabilities)?;
    let devices = devices::collect(&inputs.config.devices, context.privileged)?;
    let mut linux = json!({
        "namespaces": namespaces(inputs),
        "cgroupsPath": inputs.cgroup,
        "resources": resources(inputs.config, &devices.rules),
        "devices": devices.nodes,
    });
    if !context.privileged {
        linux["maskedPaths"] = or_default(&context.masked_paths, &MASKED_PATHS);
        linux["readonlyPaths"] = readonly_paths(&context.readonly_paths, inputs.hierarchy);
    }
    if let Some(profile) = seccomp_profile(&context, &granted.held)? {
        linux["seccomp"] = profile;
    }
    let propagation = inputs.config.mounts.iter().map(|m| m.propagation).max().unwrap_or_default();
    linux["rootfsPropagation"] = match MountPropagation::try_from(propagation) {
        Ok(MountPropagation::PropagationBidirectional) => "shared".into(),
        _ => "slave".into(),
    };
    Ok(json!({
        "ociVersion": "1.0.2",
        "root": {"path": "rootfs", "readonly": context.readonly_rootfs},
        "process": process::init_process(inputs, &context, &granted)?,
        "mounts": mounts::all(inputs, context.privileged)?,
        "linux": linux,
    }))
}

/// The security context of a container; the default when there is none.
pub fn security_context(config: &ContainerConfig) -> LinuxContainerSecurityContext {
    config.linux.as_ref().and_then(|l| l.security_context.clone()).unwrap_or_default()
}

fn or_default(wanted: &[String], default: &[&str]) -> Value {
    if wanted.is_empty() { json!(default) } else { json!(wanted) }
}

/// On v1 the directory of the controllers too, which cannot be read-only before they are mounted into it.
fn readonly_paths(wanted: &[String], hierarchy: &CgroupMounts) -> Value {
    let mut paths = or_default(wanted, &READONLY_PATHS);
    if let (CgroupMounts::V1 { .. }, Some(list)) = (hierarchy, paths.as_array_mut()) {
        list.push("/sys/fs/cgroup".into());
    }
    paths
}

fn seccomp_profile(
    context: &LinuxContainerSecurityContext,
    held: &BTreeSet<String>,
) -> Result<Option<Value>, SpecError> {
    let Some(SecurityProfile { profile_type, localhost_ref }) = &context.seccomp else { return Ok(None) };
    if context.privileged {
        return Ok(None);
    }
    match ProfileType::try_from(*profile_type) {
        Ok(ProfileType::RuntimeDefault) => Ok(Some(seccomp::runtime_default(held))),
        Ok(ProfileType::Localhost) => {
            let path = format!("cannot load seccomp profile {localhost_ref:?}");
            let io = |source| SpecError::Io { path: path.clone(), source };
            let file = std::fs::File::open(localhost_ref).map_err(io)?;
            let mut text = Vec::new();
            // One byte more than is taken tells a larger file.
            file.take(seccomp::MAX_PROFILE_BYTES + 1).read_to_end(&mut text).map_err(io)?;
            seccomp::local(&text).map(Some).map_err(io)
        }
        Ok(ProfileType::Unconfined) | Err(_) => Ok(None),
    }
}

fn namespaces(inputs: &Inputs<'_>) -> Value {
    let mut list = vec![json!({"type": "mount"})];
    let wanted = &inputs.namespaces;
    for (kind, path) in [("network", &wanted.net), ("ipc", &wanted.ipc), ("uts", &wanted.uts)] {
        if let Some(path) = path {
            list.push(json!({"type": kind, "path": path}));
        }
    }
    match &wanted.pid {
        PidNamespace::Own => list.push(json!({"type": "pid"})),
        PidNamespace::Join(path) => list.push(json!({"type": "pid", "path": path})),
        PidNamespace::Host => {}
    }
    if matches!(inputs.hierarchy, CgroupMounts::V2(_)) {
        list.push(json!({"type": "cgroup"}));
    }
    Value::Array(list)
}

fn resources(config: &ContainerConfig, device_rules: &[Value]) -> Value {
    let default = LinuxContainerResources::default();
    let wanted = config.linux.as_ref().and_then(|l| l.resources.as_ref()).unwrap_or(&default);
    let mut cpu = serde_json::Map::new();
    let mut memory = serde_json::Map::new();
    for (key, value) in
        [("shares", wanted.cpu_shares), ("period", wanted.cpu_period), ("quota", wanted.cpu_quota)]
    {
        if value != 0 {
            cpu.insert(key.to_owned(), value.into());
        }
    }
    for (key, value) in [("cpus", &wanted.cpuset_cpus), ("mems", &wanted.cpuset_mems)] {
        if !value.is_empty() {
            cpu.insert(key.to_owned(), value.as_str().into());
        }
    }
    if wanted.memory_limit_in_bytes > 0 {
        memory.insert("limit".to_owned(), wanted.memory_limit_in_bytes.into());
    }
    if wanted.memory_swap_limit_in_bytes > 0 {
        memory.insert("swap".to_owned(), wanted.memory_swap_limit_in_bytes.into());
    }
    let hugepages: Vec<Value> =
        wanted.hugepage_limits.iter().map(|h| json!({"pageSize": h.page_size, "limit": h.limit})).collect();
    let mut resources = json!({"devices": device_rules});
    if !cpu.is_empty() {
        resources["cpu"] = cpu.into();
    }
    if !memory.is_empty() {
        resources["memory"] = memory.into();
    }
    if !hugepages.is_empty() {
        resources["hugepageLimits"] = hugepages.into();
    }
    if !wanted.unified.is_empty() {
        resources["unified"] = json!(wanted.unified);
    }
    resources
}

#[cfg(test)]
mod tests;
