//! Whether this machine can run a node: each missing thing is named in one line, before anything is changed.

use std::fs;
use std::path::Path;

/// What the machine lacks; empty when it has everything.
pub fn missing() -> Vec<String> {
    let mut missing = Vec::new();
    if !rustix::process::geteuid().is_root() {
        missing.push("knarr needs root: run it with sudo".to_owned());
        return missing;
    }
    let filesystems = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    if !filesystems.lines().any(|line| line.trim_end().ends_with("overlay")) {
        missing.push("the kernel has no overlayfs (CONFIG_OVERLAY_FS; try: modprobe overlay)".to_owned());
    }
    for namespace in ["net", "ipc", "uts", "pid", "mnt"] {
        if !Path::new("/proc/self/ns").join(namespace).exists() {
            missing.push(format!("the kernel has no {namespace} namespaces"));
        }
    }
    for controller in ["memory", "cpu", "pids"] {
        if !has_controller(controller) {
            missing.push(format!("the cgroup controller {controller:?} is not available"));
        }
    }
    missing
}

/// cgroup v2 lists its controllers in the root; v1 mounts a hierarchy for each.
fn has_controller(name: &str) -> bool {
    if let Ok(controllers) = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers")
        && controllers.split_whitespace().any(|c| c == name)
    {
        return true;
    }
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounts.lines().any(|line| {
        let mut fields = line.split_whitespace().skip(2);
        fields.next() == Some("cgroup")
            && fields.next().is_some_and(|options| options.split(',').any(|o| o == name))
    })
}
