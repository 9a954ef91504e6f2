//! What stands beside a driver's mounts: which volume of which driver it is, in upstream's file `vol_data.json`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::super::{PodDirs, VolumeError};

pub const FILE: &str = "vol_data.json";
/// Larger is no file of ours.
const MAX_BYTES: u64 = 64 << 10;

/// The content of the file: texts by upstream's keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record(BTreeMap<String, String>);

impl Record {
    pub fn new(driver: &str, handle: &str) -> Self {
        let pairs = [("driverName", driver), ("volumeHandle", handle)];
        Self(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into())
    }

    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.0.insert(key.to_owned(), value.to_owned());
        self
    }

    pub fn driver(&self) -> &str {
        self.get("driverName")
    }

    pub fn handle(&self) -> &str {
        self.get("volumeHandle")
    }

    pub fn get(&self, key: &str) -> &str {
        self.0.get(key).map(String::as_str).unwrap_or_default()
    }

    /// Reads the file in `folder`; `None` where there is none.
    ///
    /// # Errors
    /// When it cannot be read, or says nothing that makes sense.
    pub fn read(folder: &Path) -> Result<Option<Self>, VolumeError> {
        let path = folder.join(FILE);
        let fail = |error: io::Error| VolumeError::disk("reading", &path, error);
        let text = match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(fail(error)),
            Ok(meta) if meta.len() > MAX_BYTES => {
                return Err(fail(io::Error::from(io::ErrorKind::FileTooLarge)));
            }
            Ok(_) => fs::read(&path).map_err(fail)?,
        };
        serde_json::from_slice(&text).map(|record| Some(Self(record))).map_err(|error| fail(error.into()))
    }

    /// Writes the file in `folder`, which is made where it is not there. On disk, whole, when this returns.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(&self, folder: &Path) -> Result<(), VolumeError> {
        let path = folder.join(FILE);
        let fail = |error: io::Error| VolumeError::disk("writing", &path, error);
        make(folder)?;
        let next = folder.join(format!("{FILE}.next"));
        let text = serde_json::to_vec(&self.0).map_err(|error| fail(error.into()))?;
        let open = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&next);
        let written = open.and_then(|mut file| file.write_all(&text).and_then(|()| file.sync_all()));
        written.map_err(fail)?;
        fs::rename(&next, &path).map_err(fail)?;
        fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(fail)
    }

    /// Removes the file, and then the folder.
    ///
    /// # Errors
    /// When the disk refuses, as where something is left in the folder.
    pub fn remove(folder: &Path) -> Result<(), VolumeError> {
        gone(&folder.join(FILE), fs::remove_file(folder.join(FILE)))?;
        let next = folder.join(format!("{FILE}.next"));
        gone(&next, fs::remove_file(&next))?;
        gone(folder, fs::remove_dir(folder))
    }
}

/// Makes a folder as upstream does for drivers' volumes.
///
/// # Errors
/// When the disk refuses.
pub fn make(folder: &Path) -> Result<(), VolumeError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o750).create(folder);
    made.map_err(|error| VolumeError::disk("creating", folder, error))
}

/// That something is gone counts as removed.
pub fn gone(path: &Path, removed: io::Result<()>) -> Result<(), VolumeError> {
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(VolumeError::disk("removing", path, error))
        }
        _ => Ok(()),
    }
}

/// A driver's volume in a pod's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounted {
    pub pod_uid: String,
    /// The folder that holds the file and the mount.
    pub folder: PathBuf,
    pub record: Record,
}

/// The drivers' volumes of a pod, as they stand on disk.
///
/// # Errors
/// When the disk refuses, or a file cannot be read.
pub fn of_pod(dirs: &PodDirs, uid: &str) -> Result<Vec<Mounted>, VolumeError> {
    let parent = dirs.driver_volumes(uid);
    let entries = match fs::read_dir(&parent) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|error| VolumeError::disk("reading", &parent, error))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let folder = entry.map_err(|error| VolumeError::disk("reading", &parent, error))?.path();
        if let Some(record) = Record::read(&folder)? {
            found.push(Mounted { pod_uid: uid.to_owned(), folder, record });
        }
    }
    found.sort_by(|a, b| a.folder.cmp(&b.folder));
    Ok(found)
}

/// The drivers' volumes of all pods of the node.
///
/// # Errors
/// As [`of_pod`].
pub fn of_all(dirs: &PodDirs) -> Result<Vec<Mounted>, VolumeError> {
    let pods = dirs.pods();
    // That a folder cannot be read does not mean that nothing is there.
    let entries = match fs::read_dir(&pods) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|error| VolumeError::disk("reading", &pods, error))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let name = entry.map_err(|error| VolumeError::disk("reading", &pods, error))?.file_name();
        // Pods' uids are texts; nothing else is made here.
        if let Some(uid) = name.to_str() {
            found.extend(of_pod(dirs, uid)?);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_found_and_removed() {
        let dir = tempfile::tempdir().expect("a folder");
        let dirs = PodDirs::new(dir.path());
        assert_eq!(of_all(&dirs).expect("read"), []);
        let folder = dirs.driver_volume("u", "pv");
        let record = Record::new("d", "h").with("specVolID", "pv");
        record.write(&folder).expect("written");
        record.write(&folder).expect("again");
        let found = of_all(&dirs).expect("read");
        assert_eq!(found, [Mounted { pod_uid: "u".into(), folder: folder.clone(), record }]);
        assert_eq!((found[0].record.driver(), found[0].record.handle()), ("d", "h"));
        fs::write(folder.join(FILE), "{").expect("written");
        assert!(of_pod(&dirs, "u").is_err(), "what is there and cannot be read is not forgotten");
        fs::create_dir(folder.join("mount")).expect("made");
        assert!(Record::remove(&folder).is_err());
        fs::remove_dir(folder.join("mount")).expect("removed");
        Record::remove(&folder).expect("removed");
        Record::remove(&folder).expect("it is gone");
        assert!(!folder.exists());
    }
}
