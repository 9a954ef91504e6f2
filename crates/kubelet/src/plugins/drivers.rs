//! The drivers of volumes that this node knows now.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use csi::NodeClient;

use super::registration::Version;
use crate::pod_dirs::PodDirs;

/// A driver that has registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Driver {
    /// The socket of its Node service, as the driver named it.
    pub endpoint: PathBuf,
    pub version: Version,
    /// Which registration it came by.
    pub registration: u64,
}

/// Why a driver cannot be called.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    #[error("driver name {0} not found in the list of registered CSI drivers")]
    Unknown(String),
    #[error(transparent)]
    Unreachable(#[from] csi::ConnectError),
}

/// A driver to be called.
pub struct Caller {
    pub client: NodeClient,
    dirs: PodDirs,
    in_pod: bool,
}

impl Caller {
    /// How the driver names a path of the node.
    pub fn path(&self, path: &Path) -> String {
        let seen = if self.in_pod { self.dirs.in_pod(path) } else { path.to_owned() };
        seen.to_string_lossy().into_owned()
    }
}

/// See the module's documentation.
#[derive(Clone)]
pub struct Drivers {
    dirs: PodDirs,
    known: Arc<RwLock<BTreeMap<String, Driver>>>,
}

impl Drivers {
    pub fn new(dirs: PodDirs) -> Self {
        Self { dirs, known: Arc::default() }
    }

    pub fn get(&self, name: &str) -> Option<Driver> {
        self.known.read().unwrap_or_else(|e| e.into_inner()).get(name).cloned()
    }

    pub fn insert(&self, name: &str, driver: Driver) {
        self.known.write().unwrap_or_else(|e| e.into_inner()).insert(name.to_owned(), driver);
    }

    /// Forgets a driver, if it came by this registration. Whether it did.
    pub fn remove(&self, name: &str, registration: u64) -> bool {
        let mut known = self.known.write().unwrap_or_else(|e| e.into_inner());
        let is_it = known.get(name).is_some_and(|driver| driver.registration == registration);
        is_it && known.remove(name).is_some()
    }

    /// Connects to a driver.
    ///
    /// # Errors
    /// When it has not registered, or does not accept connections.
    pub async fn call(&self, name: &str) -> Result<Caller, DriverError> {
        let driver = self.get(name).ok_or_else(|| DriverError::Unknown(name.to_owned()))?;
        Ok(self.connect(&driver.endpoint).await?)
    }

    /// Connects to the Node service at a socket that a driver has named. One that names it by the node's own root
    /// folder does not run in a pod, and is told paths likewise.
    pub async fn connect(&self, endpoint: &Path) -> Result<Caller, csi::ConnectError> {
        let client = csi::node(&self.dirs.on_node(endpoint)).await?;
        let in_pod = !endpoint.starts_with(self.dirs.root());
        Ok(Caller { client, dirs: self.dirs.clone(), in_pod })
    }
}
