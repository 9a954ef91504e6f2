//! The claims that are prepared on the node, or may be, and the pods that use them; kept in a file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Larger is no file of ours.
const MAX_BYTES: u64 = 64 << 20;

/// A claim, by its namespace and name.
pub type Key = (String, String);

/// A device of a claim, as its driver told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Device {
    pub pool: String,
    pub device: String,
    /// The requests that the device is for; all when empty.
    pub requests: Vec<String>,
    /// The device's names for the runtime.
    pub cdi_devices: Vec<String>,
}

/// What is known of a claim.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    /// The uids of the pods that use it.
    pub pods: BTreeSet<String>,
    /// The devices by driver.
    pub drivers: BTreeMap<String, Vec<Device>>,
    /// Not kept: after a restart, maybe of the machine, drivers are asked once more.
    #[serde(skip)]
    pub is_prepared: bool,
}

/// All claims.
#[derive(Debug, Default)]
pub struct Checkpoint {
    pub claims: BTreeMap<Key, Claim>,
}

impl Checkpoint {
    /// Reads the file, if there is one.
    ///
    /// # Errors
    /// When it cannot be read, or is no file of ours: what drivers have prepared would be forgotten.
    pub fn read(path: &Path) -> io::Result<Self> {
        let text = match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error),
            Ok(meta) if meta.len() > MAX_BYTES => return Err(io::Error::from(io::ErrorKind::FileTooLarge)),
            Ok(_) => fs::read(path)?,
        };
        let claims: Vec<Claim> = serde_json::from_slice(&text)?;
        let claims = claims.into_iter().map(|claim| ((claim.namespace.clone(), claim.name.clone()), claim));
        Ok(Self { claims: claims.collect() })
    }

    /// What the file is to say.
    ///
    /// # Errors
    /// When it would be too large to be read again.
    pub fn text(&self) -> io::Result<Vec<u8>> {
        let claims: Vec<&Claim> = self.claims.values().collect();
        let text = serde_json::to_vec(&claims)?;
        if text.len() as u64 > MAX_BYTES {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        Ok(text)
    }

    /// Writes the file. On disk, whole, when this returns. Blocks.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn store(path: &Path, text: &[u8]) -> io::Result<()> {
        let next = path.with_extension("next");
        let open = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&next);
        open.and_then(|mut file| file.write_all(text).and_then(|()| file.sync_all()))?;
        fs::rename(&next, path)?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        fs::File::open(folder)?.sync_all()
    }

    /// The claims that a pod uses.
    pub fn of_pod(&self, uid: &str) -> Vec<Key> {
        let used = self.claims.iter().filter(|(_, claim)| claim.pods.contains(uid));
        used.map(|(key, _)| key.clone()).collect()
    }

    /// The pods that use claims.
    pub fn pods(&self) -> BTreeSet<String> {
        self.claims.values().flat_map(|claim| claim.pods.iter().cloned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_drivers_are_asked_again() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("dra_manager_state");
        let mut checkpoint = Checkpoint::read(&path).expect("none yet");
        assert!(checkpoint.claims.is_empty());
        let device = Device { pool: "p".into(), cdi_devices: vec!["v/c=d".into()], ..Device::default() };
        let claim = Claim {
            namespace: "ns".into(),
            name: "c".into(),
            uid: "u".into(),
            pods: ["p1".to_owned()].into(),
            drivers: [("d".to_owned(), vec![device])].into(),
            is_prepared: true,
        };
        checkpoint.claims.insert(("ns".into(), "c".into()), claim.clone());
        Checkpoint::store(&path, &checkpoint.text().expect("small")).expect("written");
        let read = Checkpoint::read(&path).expect("read");
        assert_eq!(read.claims[&("ns".into(), "c".into())], Claim { is_prepared: false, ..claim });
        assert_eq!(read.of_pod("p1"), [("ns".to_owned(), "c".to_owned())]);
        assert!(read.of_pod("p2").is_empty());
        fs::write(&path, "no JSON").expect("written");
        assert!(Checkpoint::read(&path).is_err(), "nothing is forgotten silently");
    }
}
