//! The cgroup around each pod, under its quality-of-service class, on cgroup v1 and v2.
//!
//! Start at [`PodCgroups::create`]. The containers' own cgroups inside are the runtime's.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Pod;
use pods::qos_class;

use crate::container_config::resources::{self, CPU_PERIOD_US, PodLimits};

/// The controllers a pod's cgroup limits.
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];

/// How the machine's cgroups are laid out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hierarchy {
    /// One tree for all controllers, at this mount.
    Unified(PathBuf),
    /// A tree per controller; also a v2 tree without controllers where the machine is a hybrid.
    Split { controllers: Vec<(String, PathBuf)>, others: Vec<PathBuf> },
}

impl Hierarchy {
    /// What the kernel has mounted.
    ///
    /// # Errors
    /// When the mount table cannot be read or lists no cgroups.
    pub fn detect() -> io::Result<Self> {
        Self::parse(&fs::read_to_string("/proc/self/mounts")?)
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no cgroup hierarchy is mounted"))
    }

    fn parse(mounts: &str) -> Option<Self> {
        let (mut unified, mut controllers, mut others) = (None, Vec::new(), Vec::new());
        for line in mounts.lines() {
            let mut fields = line.split(' ');
            let (_, point, kind, options) = (fields.next(), fields.next()?, fields.next()?, fields.next()?);
            match kind {
                "cgroup2" => unified = unified.or(Some(PathBuf::from(point))),
                "cgroup" => {
                    let named = options.split(',').filter(|o| CONTROLLERS.contains(o));
                    let found: Vec<_> = named.map(|o| (o.to_owned(), PathBuf::from(point))).collect();
                    if found.is_empty() {
                        others.push(PathBuf::from(point));
                    }
                    controllers.extend(found);
                }
                _ => {}
            }
        }
        match (unified, controllers.is_empty()) {
            (Some(unified), true) => Some(Self::Unified(unified)),
            (None, true) => None,
            (unified, false) => {
                others.extend(unified);
                Some(Self::Split { controllers, others })
            }
        }
    }

    fn trees(&self) -> Vec<&Path> {
        match self {
            Self::Unified(point) => vec![point],
            Self::Split { controllers, others } => {
                let split = controllers.iter().map(|(_, p)| p.as_path());
                let mut trees: Vec<&Path> = split.chain(others.iter().map(PathBuf::as_path)).collect();
                trees.dedup();
                trees
            }
        }
    }
}

/// The pods' cgroups of one cluster.
#[derive(Debug, Clone)]
pub struct PodCgroups {
    hierarchy: Hierarchy,
    /// Absolute within the hierarchy, `/knarr-NAME` or so; different for each cluster on a machine.
    root: String,
}

impl PodCgroups {
    pub fn new(hierarchy: Hierarchy, root: impl Into<String>) -> Self {
        Self { hierarchy, root: root.into().trim_end_matches('/').to_owned() }
    }

    /// The pod's path within the hierarchy: what the runtime is given as parent of its containers.
    pub fn path(&self, pod: &Pod) -> String {
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        format!("{}/{}", self.class_path(qos_class(pod)), leaf(uid))
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
        let limits = resources::of_pod(pod);
        match &self.hierarchy {
            Hierarchy::Unified(mount) => create_unified(mount, &path, &limits)?,
            Hierarchy::Split { controllers, .. } => {
                for (controller, mount) in controllers {
                    let folder = join(mount, &path);
                    fs::create_dir_all(&folder)?;
                    limit_split(controller, &folder, &limits)?;
                }
            }
        }
        Ok(path)
    }

    /// Removes the cgroups of the pod with this uid, whatever its class, with all inside. Blocks.
    ///
    /// # Errors
    /// When a process is still in one of them.
    pub fn remove(&self, uid: &str) -> io::Result<()> {
        for tree in self.hierarchy.trees() {
            for class in ["Guaranteed", "Burstable", "BestEffort"] {
                let folder = join(tree, &format!("{}/{}", self.class_path(class), leaf(uid)));
                remove_tree(&folder)?;
            }
        }
        Ok(())
    }

    /// Removes everything under the cluster's root; for the end of a cluster. Blocks.
    ///
    /// # Errors
    /// When a process is still in one of them.
    pub fn remove_all(&self) -> io::Result<()> {
        self.hierarchy
            .trees()
            .iter()
            .try_for_each(|tree| remove_tree(&join(tree, &format!("{}/kubepods", self.root))))
    }
}

fn leaf(uid: &str) -> String {
    format!("pod{}", uid.replace('/', "~"))
}

fn join(mount: &Path, path: &str) -> PathBuf {
    mount.join(path.trim_start_matches('/'))
}

fn limit_split(controller: &str, folder: &Path, limits: &PodLimits) -> io::Result<()> {
    match controller {
        "cpu" => {
            fs::write(folder.join("cpu.shares"), limits.cpu_shares.to_string())?;
            if limits.cpu_quota_us > 0 {
                fs::write(folder.join("cpu.cfs_period_us"), CPU_PERIOD_US.to_string())?;
                fs::write(folder.join("cpu.cfs_quota_us"), limits.cpu_quota_us.to_string())?;
            }
        }
        "memory" if limits.memory_bytes > 0 => {
            fs::write(folder.join("memory.limit_in_bytes"), limits.memory_bytes.to_string())?;
        }
        _ => {}
    }
    Ok(())
}

fn create_unified(mount: &Path, path: &str, limits: &PodLimits) -> io::Result<()> {
    let mut at = mount.to_owned();
    let parts: Vec<&str> = path.split('/').filter(|p| !p.is_empty()).collect();
    for part in &parts {
        for controller in CONTROLLERS {
            // A controller the kernel lacks cannot limit; the rest still do.
            if let Err(error) = fs::write(at.join("cgroup.subtree_control"), format!("+{controller}")) {
                tracing::debug!(controller, at = %at.display(), %error, "controller not available");
            }
        }
        at.push(part);
        match fs::create_dir(&at) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            _ => {}
        }
    }
    let set = |file: &str, value: String| {
        let target = at.join(file);
        if target.exists() { fs::write(target, value) } else { Ok(()) }
    };
    set("cpu.weight", weight(limits.cpu_shares).to_string())?;
    if limits.cpu_quota_us > 0 {
        set("cpu.max", format!("{} {CPU_PERIOD_US}", limits.cpu_quota_us))?;
    }
    if limits.memory_bytes > 0 {
        set("memory.max", limits.memory_bytes.to_string())?;
    }
    Ok(())
}

/// v1's shares (2 to 262144) as v2's weight (1 to 10000), as upstream.
fn weight(shares: i64) -> i64 {
    1 + ((shares.clamp(2, 262_144) - 2) * 9_999) / 262_142
}

/// Folders of a cgroup tree cannot be emptied file by file: each is removed, deepest first.
fn remove_tree(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    match fs::remove_dir(folder) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_told_apart() {
        let hybrid = "cgroup /c/cpu,acct cgroup rw,cpu,cpuacct 0 0\ncgroup /c/memory cgroup rw,memory 0 0\n\
                      cgroup /c/systemd cgroup rw,name=systemd 0 0\ncgroup2 /c/unified cgroup2 rw 0 0\n";
        let Some(Hierarchy::Split { controllers, others }) = Hierarchy::parse(hybrid) else {
            panic!("split")
        };
        assert_eq!(controllers.len(), 2);
        assert_eq!(others, [PathBuf::from("/c/systemd"), PathBuf::from("/c/unified")]);
        let unified = "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n";
        assert_eq!(Hierarchy::parse(unified), Some(Hierarchy::Unified("/sys/fs/cgroup".into())));
        assert_eq!(Hierarchy::parse("proc /proc proc rw 0 0\n"), None);
        assert_eq!((weight(2), weight(1024), weight(262_144)), (1, 39, 10_000));
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
        let cgroups = PodCgroups::new(Hierarchy::detect().expect("cgroups"), root.clone());
        let path = cgroups.create(&pod).expect("made");
        assert!(path.starts_with(&format!("{root}/kubepods")) && path.ends_with(&format!("pod{uid}")));
        cgroups.create(&pod).expect("made again");
        let tree = match &cgroups.hierarchy {
            Hierarchy::Unified(mount) => join(mount, &path).join("memory.max"),
            Hierarchy::Split { controllers, .. } => {
                let (_, mount) = controllers.iter().find(|(c, _)| c == "memory").expect("memory");
                join(mount, &path).join("memory.limit_in_bytes")
            }
        };
        assert_eq!(fs::read_to_string(&tree).expect("readable").trim(), (64 << 20).to_string());
        cgroups.remove(&uid).expect("removed");
        assert!(!tree.exists());
        cgroups.remove_all().expect("removed");
        for mount in cgroups.hierarchy.trees() {
            remove_tree(&join(mount, &root)).expect("removed");
        }
    }
}
