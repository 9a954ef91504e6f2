//! The runtime's configuration. Start at [`Config`]; nothing here touches the machine.

use std::path::PathBuf;

/// Where the runtime keeps things and how it starts its helpers.
#[derive(Debug, Clone)]
pub struct Config {
    /// Images and the writable layers of containers; survives a reboot.
    pub root_dir: PathBuf,
    /// Records, sockets and name spaces of what runs now; on a file system that a reboot empties.
    pub state_dir: PathBuf,
    /// The unix socket the CRI is served on.
    pub socket: PathBuf,
    /// The cgroup (absolute, below the controllers' roots) of sandboxes that name none, and of the shims.
    pub cgroup_parent: String,
    /// The command that runs [`shim::main`], program first; its arguments come after these.
    pub shim_command: Vec<String>,
    pub network: NetworkConfig,
    /// Where the host describes devices (CDI), the later folders before the earlier ones.
    pub cdi_dirs: Vec<PathBuf>,
}

/// Where CNI finds its configuration and plugins.
#[derive(Debug, Clone)]
pub struct NetworkConfig {
    /// The first `*.conflist`, `*.conf` or `*.json` in lexical order is used.
    pub conf_dir: PathBuf,
    /// Searched in order for a plugin's program.
    pub bin_dirs: Vec<PathBuf>,
}

impl Config {
    /// Records of one sandbox.
    pub(crate) fn sandbox_dir(&self, sandbox_id: &str) -> PathBuf {
        self.sandboxes_dir().join(sandbox_id)
    }

    pub(crate) fn sandboxes_dir(&self) -> PathBuf {
        self.state_dir.join("sandboxes")
    }

    /// Directories of the volumes that images declare, one for each container.
    pub(crate) fn volumes_dir(&self, container_id: &str) -> PathBuf {
        self.root_dir.join("volumes").join(container_id)
    }

    /// The cgroup that holds those of all shims, apart from the containers they watch.
    pub(crate) fn shims_cgroup(&self) -> String {
        format!("{}/shims", self.cgroup_parent.trim_end_matches('/'))
    }

    /// The cgroup of one sandbox's shim: the shim, its pause process, and what it forks until that has moved to the
    /// cgroup of its container. Its name is the sandbox's, so that nothing else need be known to end what is in it.
    pub(crate) fn shim_cgroup(&self, sandbox_id: &str) -> String {
        format!("{}/{sandbox_id}", self.shims_cgroup())
    }
}
