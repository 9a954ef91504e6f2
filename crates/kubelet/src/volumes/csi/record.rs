//! What stands beside a driver's mounts: which volume of which driver it is, in upstream's file `vol_data.json`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::super::{PodDirs, VolumeError};

pub const FILE: &str = "vol_data.json";
/// The key of the size, in bytes, with which the node has seen a volume last.
pub const SIZE: &str = "seenBytes";
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
    /// When the disk refuses, or the file would be too large to be read again.
    pub fn write(&self, folder: &Path) -> Result<(), VolumeError> {
        let path = folder.join(FILE);
        let fail = |error: io::Error| VolumeError::disk("writing", &path, error);
        let text = serde_json::to_vec(&self.0).map_err(|error| fail(error.into()))?;
        if text.len() as u64 > MAX_BYTES {
            return Err(fail(io::Error::from(io::ErrorKind::FileTooLarge)));
        }
        make(folder)?;
        let next = folder.join(format!("{FILE}.next"));
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

/// What is in a pod's folder and cannot be read.
#[derive(Debug)]
pub struct Unreadable {
    pub pod_uid: String,
    /// The folder of the volume; `None` where not even the pod's volumes can be listed.
    pub folder: Option<PathBuf>,
    pub error: VolumeError,
}

impl Unreadable {
    /// The name of the volume, as far as it is known.
    pub fn name(&self) -> String {
        let name = self.folder.as_deref().and_then(Path::file_name);
        name.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// Whether it may be the volume whose folder, in another pod, is `folder`: the folders are called after the volume.
    pub fn may_be(&self, folder: &Path) -> bool {
        self.folder.as_deref().is_none_or(|own| own.file_name() == folder.file_name())
    }
}

/// Drivers' volumes, as they stand on disk. A file that cannot be read keeps nobody from the others.
#[derive(Debug, Default)]
pub struct Found {
    pub mounted: Vec<Mounted>,
    pub unreadable: Vec<Unreadable>,
}

/// The drivers' volumes of a pod.
pub fn of_pod(dirs: &PodDirs, uid: &str) -> Found {
    let mut found = Found::default();
    found.add(dirs, uid);
    found
}

/// The drivers' volumes of all pods of the node.
pub fn of_all(dirs: &PodDirs) -> Found {
    let mut found = Found::default();
    // That the pods cannot be listed does not mean that there are none.
    match folders(&dirs.pods()) {
        Ok(pods) => {
            // Pods' uids are texts; nothing else is made here.
            let uids = pods.iter().filter_map(|pod| pod.file_name()?.to_str());
            uids.for_each(|uid| found.add(dirs, uid));
        }
        Err(error) => found.unreadable.push(Unreadable { pod_uid: String::new(), folder: None, error }),
    }
    found
}

impl Found {
    fn add(&mut self, dirs: &PodDirs, uid: &str) {
        let mut unreadable = |folder: Option<PathBuf>, error| {
            self.unreadable.push(Unreadable { pod_uid: uid.to_owned(), folder, error });
        };
        let folders = match folders(&dirs.driver_volumes(uid)) {
            Ok(folders) => folders,
            Err(error) => return unreadable(None, error),
        };
        for folder in folders {
            match Record::read(&folder) {
                Ok(Some(record)) => self.mounted.push(Mounted { pod_uid: uid.to_owned(), folder, record }),
                Ok(None) => {}
                Err(error) => unreadable(Some(folder), error),
            }
        }
    }
}

/// The folders in `parent`, in order.
fn folders(parent: &Path) -> Result<Vec<PathBuf>, VolumeError> {
    let listed = fs::read_dir(parent).and_then(|entries| {
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()
    });
    match listed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(VolumeError::disk("reading", parent, error)),
        Ok(mut folders) => {
            folders.sort();
            Ok(folders)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_found_and_removed() {
        let dir = tempfile::tempdir().expect("a folder");
        let dirs = PodDirs::new(dir.path());
        assert!(of_all(&dirs).mounted.is_empty());
        let folder = dirs.driver_volume("u", "pv");
        let record = Record::new("d", "h").with("specVolID", "pv");
        record.write(&folder).expect("written");
        record.write(&folder).expect("again");
        let found = of_all(&dirs).mounted;
        assert_eq!(found, [Mounted { pod_uid: "u".into(), folder: folder.clone(), record }]);
        assert_eq!((found[0].record.driver(), found[0].record.handle()), ("d", "h"));
        fs::write(folder.join(FILE), "{").expect("written");
        let unreadable = of_pod(&dirs, "u").unreadable;
        assert_eq!(unreadable.len(), 1, "what is there and cannot be read is not forgotten");
        assert!(unreadable[0].may_be(&dirs.driver_volume("u2", "pv")));
        assert!(!unreadable[0].may_be(&dirs.driver_volume("u2", "other")));
        fs::create_dir(folder.join("mount")).expect("made");
        assert!(Record::remove(&folder).is_err());
        fs::remove_dir(folder.join("mount")).expect("removed");
        Record::remove(&folder).expect("removed");
        Record::remove(&folder).expect("it is gone");
        assert!(!folder.exists());
    }

    #[test]
    fn what_could_not_be_read_again_is_not_written() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = dir.path().join("pv");
        let of = |len: usize| Record::default().with("k", &"x".repeat(len));
        // {"k":"…"}
        let longest = usize::try_from(MAX_BYTES).expect("a size") - 8;
        assert!(of(longest + 1).write(&folder).is_err() && !folder.exists());
        of(longest).write(&folder).expect("written");
        assert_eq!(Record::read(&folder).expect("read"), Some(of(longest)));
        assert!(of(longest + 1).write(&folder).is_err(), "what was written before stays");
        assert_eq!(Record::read(&folder).expect("read"), Some(of(longest)));
    }
}
