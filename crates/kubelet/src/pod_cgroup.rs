//! The cgroup around each pod, under its quality-of-service class, on cgroup v1 and v2.
//!
//! Start at [`PodCgroups::create`]. The containers' own cgroups inside are the runtime's.

use std::io;

use cgroup::{CgroupMounts, Limits, Usage, remove_tree};
use k8s_openapi::api::core::v1::Pod;
use pods::qos_class;

use crate::node::machine;
use crate::resources::{self, CPU_PERIOD_US, PodLimits};

/// The controllers a pod's cgroup limits.
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];

/// The pods' cgroups of one cluster.
#[derive(Debug, Clone)]
pub struct PodCgroups {
    hierarchy: CgroupMounts,
    /// Absolute within the hierarchy, `/knarr-NAME` or so; different for each cluster on a machine.
    root: String,
}

impl PodCgroups {
    pub fn new(hierarchy: CgroupMounts, root: impl Into<String>) -> Self {
        Self { hierarchy, root: root.into().trim_end_matches('/').to_owned() }
    }

    /// How cgroups are mounted.
    pub fn hierarchy(&self) -> &CgroupMounts {
        &self.hierarchy
    }

    /// The pod's path within the hierarchy: what the runtime is given as parent of its containers.
    pub fn path(&self, pod: &Pod) -> String {
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        format!("{}/{}", self.class_path(qos_class(pod)), leaf(uid))
    }

    /// What the whole machine uses. Version 2 has no memory figures of the root: they come from the kernel's own.
    pub fn node_usage(&self) -> Usage {
        let usage = self.hierarchy.usage("/");
        if usage.working_set_bytes.is_some() {
            return usage;
        }
        let used = machine::used_memory_bytes();
        Usage { memory_bytes: used, working_set_bytes: used, ..usage }
    }

    /// What all pods together use. Blocks.
    pub fn pods_usage(&self) -> Usage {
        self.hierarchy.usage(&format!("{}/kubepods", self.root))
    }

    /// What the pod as a whole uses. Blocks.
    pub fn usage(&self, pod: &Pod) -> Usage {
        self.hierarchy.usage(&self.path(pod))
    }

    fn class_path(&self, class: &str) -> String {
        match class {
            "Guaranteed" => format!("{}/kubepods", self.root),
            "Burstable" => format!("{}/kubepods/burstable", self.root),
            _ => format!("{}/kubepods/besteffort", self.root),
        }
    }

    /// Makes the pod's cgroup with its limits and returns its path. Idempotent. Blocks.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn create(&self, pod: &Pod) -> io::Result<String> {
        let path = self.path(pod);
        self.hierarchy.create(&path, &CONTROLLERS)?;
        self.hierarchy.set_limits_available(&path, &limits(&resources::of_pod(pod)))?;
        Ok(path)
    }

    /// Changes the limits of the pod's cgroup; a 0 leaves one as it is. Blocks.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn limit(&self, pod: &Pod, changed: &PodLimits) -> io::Result<()> {
        self.hierarchy.set_limits_available(&self.path(pod), &limits(changed))
    }

    /// Removes the cgroups of the pod with this uid, whatever its class, with all inside. Blocks.
    ///
    /// # Errors
    /// When a process is still in one of them.
    pub fn remove(&self, uid: &str) -> io::Result<()> {
        for class in ["Guaranteed", "Burstable", "BestEffort"] {
            let path = format!("{}/{}", self.class_path(class), leaf(uid));
            self.hierarchy.trees(&path).iter().try_for_each(|dir| remove_tree(dir))?;
        }
        Ok(())
    }

    /// Removes everything under the cluster's root; for the end of a cluster. Blocks.
    ///
    /// # Errors
    /// When a process is still in one of them.
    pub fn remove_all(&self) -> io::Result<()> {
        let trees = self.hierarchy.trees(&format!("{}/kubepods", self.root));
        trees.iter().try_for_each(|dir| remove_tree(dir))
    }
}

fn leaf(uid: &str) -> String {
    format!("pod{}", uid.replace('/', "~"))
}

fn limits(pod: &PodLimits) -> Limits {
    Limits {
        cpu_shares: pod.cpu_shares,
        cpu_period_us: if pod.cpu_quota_us > 0 { CPU_PERIOD_US } else { 0 },
        cpu_quota_us: pod.cpu_quota_us.max(0),
        memory_bytes: pod.memory_bytes.max(0),
        ..Limits::default()
    }
}

#[cfg(test)]
mod privileged {
    use super::*;

    #[test]
    fn a_pods_cgroup_is_made_limited_and_removed() {
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": {"uid": base::random::uuid()},
            "spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "500m", "memory": "64Mi"}}}]},
        }))
        .expect("a pod");
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let root = format!("/knarr-test-{uid}");
        let cgroups = PodCgroups::new(CgroupMounts::detect().expect("cgroups"), root.clone());
        let path = cgroups.create(&pod).expect("made");
        assert!(path.starts_with(&format!("{root}/kubepods")) && path.ends_with(&format!("pod{uid}")));
        cgroups.create(&pod).expect("made again");
        let file = match &cgroups.hierarchy {
            CgroupMounts::V1 { .. } => "memory.limit_in_bytes",
            CgroupMounts::V2(_) => "memory.max",
        };
        let tree = cgroups.hierarchy.dir("memory", &path).expect("memory").join(file);
        assert_eq!(std::fs::read_to_string(&tree).expect("readable").trim(), (64 << 20).to_string());
        cgroups.remove(&uid).expect("removed");
        assert!(!tree.exists());
        cgroups.remove_all().expect("removed");
        for dir in cgroups.hierarchy.trees(&root) {
            remove_tree(&dir).expect("removed");
        }
    }
}
