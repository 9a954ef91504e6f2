//! Where a pod's files are, as upstream: `ROOT/pods/UID/volumes/PLUGIN/NAME`.

use std::path::{Path, PathBuf};

use crate::pod_logs::LogDirs;

/// Where the directories of persistent volumes are, in the node agent's root folder.
pub const PERSISTENT: &str = "persistent-volumes";

/// Where upstream's node agent has its root folder, and where pods find it here: see [`PodDirs::on_node`].
pub const USUAL_ROOT: &str = "/var/lib/kubelet";

/// The node agent's root folder and the paths beneath it.
#[derive(Debug, Clone)]
pub struct PodDirs {
    root: PathBuf,
    logs: Option<LogDirs>,
}

impl PodDirs {
    /// `root` is upstream's `/var/lib/kubelet`.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), logs: None }
    }

    /// With the folder of logs that pods find under upstream's paths.
    #[must_use]
    pub fn with_logs(self, logs: LogDirs) -> Self {
        Self { logs: Some(logs), ..self }
    }

    pub fn logs(&self) -> Option<&LogDirs> {
        self.logs.as_ref()
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where `path`, as a pod or a plugin of the node names it, is on the node. Manifests of drivers name
    /// [`USUAL_ROOT`], whichever cluster they are for: in pods that is the root folder of their own node. `docs/storage.md`
    pub fn on_node(&self, path: &Path) -> PathBuf {
        if let Some(log) = self.logs.as_ref().and_then(|logs| logs.on_node(path)) {
            return log;
        }
        match path.strip_prefix(USUAL_ROOT) {
            Ok(rest) if rest.as_os_str().is_empty() => self.root.clone(),
            Ok(rest) => self.root.join(rest),
            Err(_) => path.to_owned(),
        }
    }

    /// How a plugin that runs in a pod names `path` of the node: the reverse of [`PodDirs::on_node`].
    pub fn in_pod(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.root)
            .map_or_else(|_| path.to_owned(), |rest| Path::new(USUAL_ROOT).join(rest))
    }

    /// Where plugins of the node put the sockets by which they make themselves known.
    pub fn plugin_registrations(&self) -> PathBuf {
        self.root.join("plugins_registry")
    }

    /// Where plugins of the node have their own folders.
    pub fn plugins(&self) -> PathBuf {
        self.root.join("plugins")
    }

    pub fn pods(&self) -> PathBuf {
        self.root.join("pods")
    }

    /// The directories of persistent volumes that are made on this node; they outlive pods.
    pub fn persistent(&self) -> PathBuf {
        self.root.join(PERSISTENT)
    }

    /// The pod's own folder.
    pub fn pod(&self, uid: &str) -> PathBuf {
        self.pods().join(component(uid))
    }

    /// Which volumes the pod has that no other pod may have: an empty file each.
    pub fn exclusive(&self, uid: &str) -> PathBuf {
        self.pod(uid).join("exclusive")
    }

    pub fn volumes(&self, uid: &str) -> PathBuf {
        self.pod(uid).join("volumes")
    }

    pub fn volume(&self, uid: &str, plugin: &str, name: &str) -> PathBuf {
        self.volumes(uid).join(plugin).join(component(name))
    }

    /// The volumes of drivers that the pod has.
    pub fn driver_volumes(&self, uid: &str) -> PathBuf {
        self.volumes(uid).join("kubernetes.io~csi")
    }

    /// A driver's volume in a pod's folder; mounted at `mount` in it.
    pub fn driver_volume(&self, uid: &str, name: &str) -> PathBuf {
        self.driver_volumes(uid).join(component(name))
    }

    fn drivers(&self) -> PathBuf {
        self.plugins().join("kubernetes.io/csi")
    }

    /// Where a driver stages a volume for all pods of the node; `hash` is that of the volume's handle.
    pub fn driver_staging(&self, driver: &str, hash: &str) -> PathBuf {
        self.drivers().join(component(driver)).join(hash).join("globalmount")
    }

    /// The same for a volume that is a device.
    pub fn device_staging(&self, volume: &str) -> PathBuf {
        self.drivers().join("volumeDevices/staging").join(component(volume))
    }

    /// Where a driver publishes a device for a pod.
    pub fn device_target(&self, volume: &str, uid: &str) -> PathBuf {
        self.drivers().join("volumeDevices/publish").join(component(volume)).join(component(uid))
    }

    /// The mounts of sub paths of the pod's containers.
    pub fn subpaths(&self, uid: &str) -> PathBuf {
        self.pod(uid).join("volume-subpaths")
    }

    /// Where a container's `index`-th mount with a sub path is bound.
    pub fn subpath(&self, uid: &str, volume: &str, container: &str, index: usize) -> PathBuf {
        let under = self.subpaths(uid).join(component(volume));
        under.join(component(container)).join(index.to_string())
    }

    /// Files that belong to one container, such as its termination message.
    pub fn container(&self, uid: &str, container: &str) -> PathBuf {
        self.pod(uid).join("containers").join(component(container))
    }

    pub fn hosts_file(&self, uid: &str) -> PathBuf {
        self.pod(uid).join("etc-hosts")
    }
}

/// A name as exactly one path component, whatever it contains: names come from outside, and though
/// the API checks them nothing here may ever leave its folder.
fn component(name: &str) -> String {
    match name {
        "" | "." | ".." => format!("_{}", name.len()),
        name if name.contains(['/', '\0']) => name.replace(['/', '\0'], "~"),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_stay_inside() {
        let dirs = PodDirs::new("/r");
        assert_eq!(
            dirs.volume("u", "kubernetes.io~secret", "v").to_str(),
            Some("/r/pods/u/volumes/kubernetes.io~secret/v")
        );
        assert_eq!(dirs.pod("..").to_str(), Some("/r/pods/_2"));
        assert_eq!(dirs.pod("../../etc").to_str(), Some("/r/pods/..~..~etc"));
    }

    #[test]
    fn pods_find_the_root_folder_where_manifests_expect_it() {
        let dirs = PodDirs::new("/data/c/node0/kubelet");
        let there = |path: &str| dirs.on_node(Path::new(path)).to_string_lossy().into_owned();
        assert_eq!(there("/var/lib/kubelet/plugins/x"), "/data/c/node0/kubelet/plugins/x");
        assert_eq!(there("/var/lib/kubelet/"), "/data/c/node0/kubelet");
        assert_eq!(there("/var/lib/kubelets"), "/var/lib/kubelets");
        assert_eq!(there("/var/lib"), "/var/lib");
        let seen = |path: &str| dirs.in_pod(Path::new(path)).to_string_lossy().into_owned();
        assert_eq!(seen("/data/c/node0/kubelet/pods/u"), "/var/lib/kubelet/pods/u");
        assert_eq!(seen("/data/other"), "/data/other");
        assert_eq!(there("/var/log/pods"), "/var/log/pods");
        let dirs = dirs.with_logs(LogDirs::new("/data/c/node0/log"));
        assert_eq!(dirs.on_node(Path::new("/var/log/pods")), Path::new("/data/c/node0/log/pods"));
    }
}
