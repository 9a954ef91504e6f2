//! Which clusters are on this machine now: the slot and the data directory of each.
//!
//! A claim is made when a cluster starts and removed when the cluster is taken down, even after crashes. A claim
//! is kept twice under `/run`: by slot, so that two clusters never share one, and by name, so that `down` finds
//! everything of a cluster by its name alone, also when its data directory was removed first.
//!
//! Beside the claims lies a lasting note of each slot, whose cluster may be stopped: a new cluster takes the slot of
//! a stopped one only where no other is left, for two clusters of one slot cannot run beside each other.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::durable::write_durably;
use crate::layout::{Layout, RUN_DIR};

/// How many clusters fit beside each other on one machine.
pub const SLOTS: u8 = 10;
/// One file a slot; it holds the path of the data directory.
const SLOTS_DIR: &str = "/run/knarr/slots";
const LOCK_FILE: &str = "/run/knarr/slots.lock";
/// One file a slot; it holds the path of the data directory that had the slot last. No cluster's name has a dot.
const NOTES_DIR: &str = "/var/lib/knarr/.slots";

/// What a cluster holds of this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    pub slot: u8,
    pub data_dir: PathBuf,
}

impl Claim {
    /// The claim of the cluster of this name, if it is on this machine.
    pub fn of(name: &str) -> Option<Self> {
        serde_json::from_slice(&fs::read(file(&Path::new(RUN_DIR).join(name))).ok()?).ok()
    }
}

fn file(run_dir: &Path) -> PathBuf {
    run_dir.join("claim.json")
}

/// All clusters on this machine, by name.
fn all() -> Vec<(String, Claim)> {
    let entries = fs::read_dir(RUN_DIR).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter_map(|name| Claim::of(&name).map(|claim| (name, claim))).collect()
}

/// The name of the cluster on this machine, other than `name`, that keeps its data in `data_dir`. Under the [`lock`].
pub fn other_owner(data_dir: &Path, name: &str) -> Option<String> {
    owner_among(&all(), data_dir, name)
}

fn owner_among(clusters: &[(String, Claim)], data_dir: &Path, name: &str) -> Option<String> {
    // Two paths may lead to one directory.
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let wanted = real(data_dir);
    let is_other = |(other, claim): &&(String, Claim)| other != name && real(&claim.data_dir) == wanted;
    clusters.iter().find(is_other).map(|(other, _)| other.clone())
}

/// Claims a slot for a cluster.
///
/// # Errors
/// When the files cannot be written.
pub fn claim(layout: &Layout, slot: u8) -> Result<()> {
    fs::create_dir_all(&layout.run_dir).with_context(|| format!("making {}", layout.run_dir.display()))?;
    let path = Path::new(SLOTS_DIR).join(slot.to_string());
    fs::write(path, layout.data_dir.as_os_str().as_encoded_bytes()).context("claiming an address range")?;
    let claim = Claim { slot, data_dir: layout.data_dir.clone() };
    write_durably(&file(&layout.run_dir), &serde_json::to_vec(&claim)?, 0o644)?;
    note(Path::new(NOTES_DIR), slot, &layout.data_dir)
}

fn note(notes: &Path, slot: u8, data_dir: &Path) -> Result<()> {
    fs::create_dir_all(notes).with_context(|| format!("making {}", notes.display()))?;
    write_durably(&notes.join(slot.to_string()), data_dir.as_os_str().as_encoded_bytes(), 0o644)
}

/// Whether a cluster on this machine, running or stopped, had the slot last.
pub fn is_noted(slot: u8) -> bool {
    noted(Path::new(NOTES_DIR), slot).is_some_and(|data_dir| data_dir.join("cluster.json").exists())
}

fn noted(notes: &Path, slot: u8) -> Option<PathBuf> {
    fs::read_to_string(notes.join(slot.to_string())).ok().map(PathBuf::from)
}

/// Removes the notes of a cluster that is purged. Under the [`lock`].
///
/// # Errors
/// When a note is there and cannot be removed.
pub fn forget(data_dir: &Path) -> io::Result<()> {
    forget_in(Path::new(NOTES_DIR), data_dir)
}

fn forget_in(notes: &Path, data_dir: &Path) -> io::Result<()> {
    for slot in (0..SLOTS).filter(|slot| noted(notes, *slot).as_deref() == Some(data_dir)) {
        fs::remove_file(notes.join(slot.to_string()))?;
    }
    // They stay while anything is in them, or is mounted on them.
    for folder in [Some(notes), notes.parent()].into_iter().flatten() {
        if let Err(error) = fs::remove_dir(folder) {
            tracing::debug!(folder = %folder.display(), %error, "a folder of notes stays");
        }
    }
    Ok(())
}

/// Gives the slot of the cluster in `data_dir` back.
///
/// # Errors
/// When the claim is there and cannot be removed.
pub fn release(data_dir: &Path) -> io::Result<()> {
    for slot in 0..SLOTS {
        if claimed_by(slot).as_deref() == Some(data_dir) {
            fs::remove_file(Path::new(SLOTS_DIR).join(slot.to_string()))?;
        }
    }
    Ok(())
}

/// Whether any cluster is on this machine.
pub fn any() -> bool {
    (0..SLOTS).any(|slot| holder(slot).is_some())
}

/// Removes the list of clusters. For when no cluster is left, and under the [`lock`], which goes last: whoever
/// waits for it begins a new list.
///
/// # Errors
/// When something cannot be removed.
pub fn remove_all() -> io::Result<()> {
    for entry in fs::read_dir(RUN_DIR)?.flatten().filter(|entry| entry.path() != Path::new(LOCK_FILE)) {
        let path = entry.path();
        if entry.file_type()?.is_dir() { base::remove_tree(&path)? } else { fs::remove_file(&path)? }
    }
    fs::remove_file(LOCK_FILE)?;
    match fs::remove_dir(RUN_DIR) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => {
            Ok(())
        }
        other => other,
    }
}

fn claimed_by(slot: u8) -> Option<PathBuf> {
    let text = fs::read_to_string(Path::new(SLOTS_DIR).join(slot.to_string())).ok()?;
    Some(PathBuf::from(text.trim()))
}

/// The data directory of the cluster that holds a slot. A claim is void when its data is gone and no cluster
/// of that slot is on the machine.
pub fn holder(slot: u8) -> Option<PathBuf> {
    let path = claimed_by(slot);
    if let Some(path) = path.filter(|path| path.join("cluster.json").exists()) {
        return Some(path);
    }
    all().into_iter().find(|(_, claim)| claim.slot == slot).map(|(_, claim)| claim.data_dir)
}

/// Held while slots are looked at and claimed; released when dropped.
///
/// # Errors
/// When the list cannot be made or locked.
pub fn lock() -> Result<fs::File> {
    loop {
        fs::create_dir_all(SLOTS_DIR).with_context(|| format!("making {SLOTS_DIR}"))?;
        let file = match fs::File::create(LOCK_FILE) {
            // The last cluster went between the two.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            file => file.context("locking the list of clusters")?,
        };
        rustix::fs::flock(file.as_fd(), rustix::fs::FlockOperation::LockExclusive)
            .context("locking the list of clusters")?;
        let held = file.metadata().context("locking the list of clusters")?;
        // The last cluster takes the file along: a lock on what nobody else finds any more locks nothing.
        if fs::metadata(LOCK_FILE).is_ok_and(|found| found.ino() == held.ino()) {
            return Ok(file);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_directory_belongs_to_one_cluster() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let data = folder.path().join("data");
        fs::create_dir(&data).expect("a folder");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&data, &link).expect("a link");
        let clusters = [("a".to_owned(), Claim { slot: 0, data_dir: data.clone() })];
        let owner = |dir: &Path, name: &str| owner_among(&clusters, dir, name);
        assert_eq!(owner(&data, "b").as_deref(), Some("a"));
        assert_eq!(owner(&link, "b").as_deref(), Some("a"));
        assert_eq!(owner(&data, "a"), None, "it is its own");
        assert_eq!(owner(folder.path(), "b"), None);
    }

    #[test]
    fn a_stopped_clusters_slot_is_noted_until_it_is_purged() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let notes = folder.path().join("lib/notes");
        let (first, second) = (Path::new("/var/first"), Path::new("/var/second"));
        note(&notes, 3, first).expect("noted");
        note(&notes, 4, second).expect("noted");
        assert_eq!(noted(&notes, 3).as_deref(), Some(first));
        forget_in(&notes, first).expect("forgotten");
        assert_eq!(noted(&notes, 3), None);
        assert_eq!(noted(&notes, 4).as_deref(), Some(second), "another cluster's note stays");
        forget_in(&notes, second).expect("forgotten");
        assert!(!folder.path().join("lib").exists(), "nothing is left after the last one");
        forget_in(&notes, second).expect("doing it again does no harm");
    }
}
