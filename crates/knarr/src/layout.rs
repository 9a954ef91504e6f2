//! Where a cluster keeps its files: one place that knows every path.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The name of the cluster that `knarr up` makes when none is given.
pub const DEFAULT_NAME: &str = "knarr";

/// What is here is gone after a reboot, and after the last cluster of the machine is down.
pub const RUN_DIR: &str = "/run/knarr";

/// Below it each cluster has a folder for manifests.
pub const MANIFESTS_DIR: &str = "/etc/knarr/manifests";

/// How many nodes of one cluster fit on a machine.
pub const MAX_NODES: u8 = 9;

/// The paths of one cluster on this machine.
#[derive(Debug, Clone)]
pub struct Layout {
    pub name: String,
    /// Survives `down` and a reboot.
    pub data_dir: PathBuf,
    /// Gone after `down` and after a reboot.
    pub run_dir: PathBuf,
}

impl Layout {
    /// `data_dir` defaults to `/var/lib/knarr/NAME`.
    pub fn new(name: &str, data_dir: Option<&Path>) -> Self {
        Self {
            name: name.to_owned(),
            data_dir: data_dir.map_or_else(|| Path::new("/var/lib/knarr").join(name), Path::to_path_buf),
            run_dir: Path::new(RUN_DIR).join(name),
        }
    }

    /// How the command line names the cluster: `--name NAME`, and its folder where that is not the usual one.
    pub fn flags(&self) -> String {
        let usual = Self::new(&self.name, None).data_dir;
        if self.data_dir == usual {
            format!("--name {}", self.name)
        } else {
            format!("--name {} --data-dir {}", self.name, self.data_dir.display())
        }
    }

    /// Which cluster this is: slot, addresses. Written at the first start.
    pub fn cluster_file(&self) -> PathBuf {
        self.data_dir.join("cluster.json")
    }

    pub fn store_file(&self) -> PathBuf {
        self.data_dir.join("store.redb")
    }

    pub fn pki_dir(&self) -> PathBuf {
        self.data_dir.join("pki")
    }

    /// What a node without a server beside it joined with, for root alone.
    pub fn joined_dir(&self) -> PathBuf {
        self.data_dir.join("joined")
    }

    /// What `knarr server` says when it runs in the background.
    pub fn server_log(&self) -> PathBuf {
        self.data_dir.join("server.log")
    }

    /// The running server's process id and start time.
    pub fn pid_file(&self) -> PathBuf {
        self.run_dir.join("server.pid")
    }

    /// The administrator's kubeconfig, readable by root alone.
    pub fn admin_kubeconfig(&self) -> PathBuf {
        if self.name == DEFAULT_NAME {
            PathBuf::from("/etc/knarr/kubeconfig")
        } else {
            PathBuf::from(format!("/etc/knarr/{}.kubeconfig", self.name))
        }
    }

    /// Where the manifests of this machine's static pods are, unless the settings name another place. Its users' own.
    pub fn manifests_dir(&self) -> PathBuf {
        Path::new(MANIFESTS_DIR).join(&self.name)
    }

    /// The cgroup (below each controller's root) everything of the cluster lives in.
    pub fn cgroup(&self) -> String {
        format!("/knarr-{}", self.name)
    }

    /// The paths of the cluster's node of this position; the first node is this machine itself, the others are members.
    pub fn node(&self, index: u8) -> NodeLayout {
        NodeLayout {
            data_dir: self.data_dir.join(format!("node{index}")),
            run_dir: self.run_dir.join(format!("node{index}")),
            cgroup: format!("{}/node{index}", self.cgroup()),
        }
    }

    /// Positions of the nodes that run on this machine now.
    pub fn running_nodes(&self) -> Vec<u8> {
        (0..MAX_NODES).filter(|index| self.node(*index).cri_socket().exists()).collect()
    }

    /// The name of the context in the user's kubeconfig.
    pub fn context(&self) -> String {
        if self.name == DEFAULT_NAME { "knarr".to_owned() } else { format!("knarr-{}", self.name) }
    }
}

/// The paths of one node of a cluster.
#[derive(Debug, Clone)]
pub struct NodeLayout {
    data_dir: PathBuf,
    run_dir: PathBuf,
    /// The cgroup everything of the node lives in.
    pub cgroup: String,
}

impl NodeLayout {
    pub fn images_dir(&self) -> PathBuf {
        self.data_dir.join("images")
    }

    pub fn kubelet_dir(&self) -> PathBuf {
        self.data_dir.join("kubelet")
    }

    /// With `pods` in it, whose folders hold the logs, and `containers`, whose links lead to them.
    pub fn logs_dir(&self) -> PathBuf {
        self.data_dir.join("log")
    }

    pub fn pod_logs_dir(&self) -> PathBuf {
        self.logs_dir().join("pods")
    }

    pub fn cni_conf_dir(&self) -> PathBuf {
        self.data_dir.join("cni/net.d")
    }

    pub fn cni_bin_dir(&self) -> PathBuf {
        self.data_dir.join("cni/bin")
    }

    /// Addresses handed out to pods: gone with the pods' network namespaces.
    pub fn ipam_dir(&self) -> PathBuf {
        self.run_dir.join("ipam")
    }

    /// Records of what runs: sandboxes, shims.
    pub fn runtime_state_dir(&self) -> PathBuf {
        self.run_dir.join("runtime")
    }

    pub fn cri_socket(&self) -> PathBuf {
        self.run_dir.join("cri.sock")
    }

    /// The process id and start time of a member's agent.
    pub fn pid_file(&self) -> PathBuf {
        self.run_dir.join("agent.pid")
    }

    /// The name of a member's network namespace.
    pub fn netns(&self) -> PathBuf {
        self.run_dir.join("netns")
    }

    /// What a member joined with, for root alone.
    pub fn joined_dir(&self) -> PathBuf {
        self.data_dir.join("joined")
    }

    /// What a member's agent says.
    pub fn log(&self) -> PathBuf {
        self.data_dir.join("agent.log")
    }

    /// The socket of `knarr image import`, for root alone.
    pub fn import_socket(&self) -> PathBuf {
        self.run_dir.join("import.sock")
    }

    /// Where the node's CNI plugins reach the agent of network policies.
    pub fn policy_socket(&self) -> PathBuf {
        self.run_dir.join("policies.sock")
    }

    /// Makes the node's folders, closed to everybody but root: pods' secrets lie in them.
    ///
    /// # Errors
    /// The first one that cannot be made.
    pub fn make(&self) -> std::io::Result<()> {
        for dir in [&self.data_dir, &self.run_dir] {
            std::fs::create_dir_all(dir)?;
            std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700))?;
        }
        for dir in [
            self.images_dir(),
            self.kubelet_dir(),
            self.pod_logs_dir(),
            self.logs_dir().join("containers"),
            self.cni_conf_dir(),
            self.cni_bin_dir(),
            self.runtime_state_dir(),
        ] {
            std::fs::create_dir_all(dir)?;
        }
        Ok(())
    }
}

/// A cluster's name is at most as long as a DNS label. Interfaces, whose names the kernel limits to 15 bytes, are named
/// after the cluster's slot, and sockets below [`RUN_DIR`] stay within the 107 bytes of a socket's address.
const MAX_NAME: usize = 63;

/// Whether a cluster may be called so: the name becomes part of cgroup and file names.
///
/// # Errors
/// Says what is wrong with the name.
pub fn check_name(name: &str) -> Result<(), String> {
    let well_formed = !name.is_empty()
        && name.len() <= MAX_NAME
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-');
    if well_formed {
        Ok(())
    } else {
        Err(format!(
            "{name:?} cannot be a cluster's name: use 1 to {MAX_NAME} lower-case letters, digits and '-', starting with a letter"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_looks_into_a_nodes_folders() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let node = NodeLayout {
            data_dir: dir.path().join("data/node0"),
            run_dir: dir.path().join("run/node0"),
            cgroup: String::new(),
        };
        std::fs::create_dir_all(&node.run_dir).expect("made by an earlier version");
        node.make().expect("made");
        for folder in [&node.data_dir, &node.run_dir] {
            let mode = folder.metadata().expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o700, "{}", folder.display());
        }
    }

    #[test]
    fn a_name_is_a_dns_label() {
        let longest = "n".repeat(MAX_NAME);
        for good in ["knarr", "multinode-demo", "a9", &longest] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for bad in ["", "A", "9x", "a/b", "..", "x-", &"n".repeat(MAX_NAME + 1)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_command_line_names_the_folder_where_it_is_not_the_usual_one() {
        assert_eq!(Layout::new("shop", None).flags(), "--name shop");
        assert_eq!(Layout::new("shop", Some(Path::new("/data"))).flags(), "--name shop --data-dir /data");
    }

    #[test]
    fn the_sockets_of_the_longest_name_have_addresses() {
        let node = Layout::new(&"n".repeat(MAX_NAME), None).node(MAX_NODES - 1);
        for socket in [node.cri_socket(), node.import_socket(), node.policy_socket()] {
            assert!(socket.as_os_str().len() <= 107, "{}", socket.display());
        }
    }
}
