//! Checks whether this machine can run a node: each missing item is reported in one line, before anything is changed.

use std::fs;
use std::path::Path;

use rustix::thread::{CapabilitySet, capabilities};

/// What a node needs of root: making sandboxes and networks, and giving containers their default set.
const CAPABILITIES: [(&str, CapabilitySet); 16] = [
    ("CAP_AUDIT_WRITE", CapabilitySet::AUDIT_WRITE),
    ("CAP_CHOWN", CapabilitySet::CHOWN),
    ("CAP_DAC_OVERRIDE", CapabilitySet::DAC_OVERRIDE),
    ("CAP_FOWNER", CapabilitySet::FOWNER),
    ("CAP_FSETID", CapabilitySet::FSETID),
    ("CAP_KILL", CapabilitySet::KILL),
    ("CAP_MKNOD", CapabilitySet::MKNOD),
    ("CAP_NET_ADMIN", CapabilitySet::NET_ADMIN),
    ("CAP_NET_BIND_SERVICE", CapabilitySet::NET_BIND_SERVICE),
    ("CAP_NET_RAW", CapabilitySet::NET_RAW),
    ("CAP_SETFCAP", CapabilitySet::SETFCAP),
    ("CAP_SETGID", CapabilitySet::SETGID),
    ("CAP_SETPCAP", CapabilitySet::SETPCAP),
    ("CAP_SETUID", CapabilitySet::SETUID),
    ("CAP_SYS_ADMIN", CapabilitySet::SYS_ADMIN),
    ("CAP_SYS_CHROOT", CapabilitySet::SYS_CHROOT),
];

/// What the machine lacks; empty when it has everything.
pub fn missing() -> Vec<String> {
    let mut missing = Vec::new();
    if !rustix::process::geteuid().is_root() {
        missing.push("knarr needs root: run it with sudo".to_owned());
        return missing;
    }
    missing.extend(capabilities(None).ok().and_then(|held| without(held.effective)));
    let filesystems = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !filesystems.lines().any(|line| line.trim_end().ends_with("overlay")) {
        missing.push("the kernel has no overlayfs (CONFIG_OVERLAY_FS; try: modprobe overlay)".to_owned());
    }
    for namespace in ["net", "ipc", "uts", "pid", "mnt"] {
        if !Path::new("/proc/self/ns").join(namespace).exists() {
            missing.push(format!("the kernel has no {namespace} namespaces"));
        }
    }
    match cgroup::CgroupMounts::detect().and_then(|hierarchy| hierarchy.controllers()) {
        Ok(available) => {
            let lacking = ["memory", "cpu", "pids"].into_iter().filter(|name| !available.contains(*name));
            missing.extend(lacking.map(|name| format!("the cgroup controller {name:?} is not available")));
        }
        Err(error) => missing.push(format!("the machine's cgroups cannot be used: {error}")),
    }
    missing
}

/// The line for a root that may not do all root may, as in a container.
fn without(held: CapabilitySet) -> Option<String> {
    let lacking: Vec<&str> =
        CAPABILITIES.iter().filter(|(_, one)| !held.contains(*one)).map(|(name, _)| *name).collect();
    (!lacking.is_empty()).then(|| {
        format!("knarr needs all of root's capabilities; here these are missing: {}", lacking.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_root_may_not_do() {
        assert_eq!(without(CapabilitySet::all()), None);
        let held = CapabilitySet::all() - CapabilitySet::NET_ADMIN - CapabilitySet::SYS_ADMIN;
        let line = without(held).expect("two are missing");
        assert!(line.ends_with("missing: CAP_NET_ADMIN, CAP_SYS_ADMIN"), "{line}");
    }
}
