//! Files that change all at once: a reader sees the old set or the new one, never a mix.
//!
//! The layout is upstream's (`pkg/volume/util/atomic_writer.go`), which programs rely on: the files
//! stand in `..TIMESTAMP/`, `..data` points there, and each top name points into `..data/`. An
//! update makes a new folder and renames a new `..data` over the old one.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::VolumeError;
use super::ownership;
use super::payload::Payload;

const DATA: &str = "..data";
const DATA_NEW: &str = "..data_tmp";

/// Makes the folder `target` show exactly `payload`. Returns whether anything had to change.
///
/// # Errors
/// When the disk refuses; what was visible before stays visible then.
pub fn write(
    target: &Path,
    payload: &Payload,
    group: Option<u32>,
    now: Timestamp,
) -> Result<bool, VolumeError> {
    let old = current(target)?;
    if let Some(old) = &old
        && holds(&target.join(old), payload)?
    {
        link_top_names(target, payload)?;
        return Ok(false);
    }
    let fresh = fresh_folder(target, now)?;
    let result = fill(&target.join(&fresh), payload, group).and_then(|()| switch(target, &fresh));
    if let Err(error) = result {
        if let Err(left) = fs::remove_dir_all(target.join(&fresh)) {
            tracing::warn!(path = %target.display(), %left, "a half-written folder is left");
        }
        return Err(error);
    }
    link_top_names(target, payload)?;
    remove_stale(target, payload, &fresh)?;
    Ok(true)
}

/// The folder that `..data` points to.
fn current(target: &Path) -> Result<Option<PathBuf>, VolumeError> {
    let link = target.join(DATA);
    match fs::read_link(&link) {
        // A link of ours names one folder beside it; anything else is replaced.
        Ok(to) if to.components().count() == 1 && to.to_string_lossy().starts_with("..2") => Ok(Some(to)),
        Ok(_) => Ok(None),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(VolumeError::disk("reading", &link, e)),
    }
}

/// Whether the folder holds these files and no others.
fn holds(folder: &Path, payload: &Payload) -> Result<bool, VolumeError> {
    for (path, file) in payload {
        let full = folder.join(path);
        match fs::symlink_metadata(&full) {
            Ok(meta) if meta.is_file() && meta.len() == file.data.len() as u64 => {}
            Ok(_) => return Ok(false),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(false);
            }
            Err(e) => return Err(VolumeError::disk("reading", &full, e)),
        }
        if fs::read(&full).map_err(|e| VolumeError::disk("reading", &full, e))? != file.data {
            return Ok(false);
        }
    }
    Ok(count_files(folder)? == payload.len())
}

fn count_files(folder: &Path) -> Result<usize, VolumeError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(usize::MAX),
        Err(e) => return Err(VolumeError::disk("reading", folder, e)),
    };
    let mut count = 0usize;
    for entry in entries {
        let entry = entry.map_err(|e| VolumeError::disk("reading", folder, e))?;
        let is_dir = entry.file_type().map_err(|e| VolumeError::disk("reading", folder, e))?.is_dir();
        count = count.saturating_add(if is_dir { count_files(&entry.path())? } else { 1 });
    }
    Ok(count)
}

fn fresh_folder(target: &Path, now: Timestamp) -> Result<String, VolumeError> {
    let utc = now.to_zoned(jiff::tz::TimeZone::UTC);
    let salt = u32::from_le_bytes(base::random::bytes());
    let name = format!("..{}.{salt:010}", utc.strftime("%Y_%m_%d_%H_%M_%S"));
    let path = target.join(&name);
    fs::create_dir(&path).map_err(|e| VolumeError::disk("creating", &path, e))?;
    set_mode(&path, 0o755)?;
    Ok(name)
}

fn fill(folder: &Path, payload: &Payload, group: Option<u32>) -> Result<(), VolumeError> {
    for (path, file) in payload {
        let full = folder.join(path);
        let parent = full.parent().unwrap_or(folder);
        fs::create_dir_all(parent).map_err(|e| VolumeError::disk("creating", parent, e))?;
        let mut open = fs::OpenOptions::new();
        let opened = open.write(true).create_new(true).mode(0o600).open(&full);
        opened
            .and_then(|mut f| f.write_all(&file.data))
            .map_err(|e| VolumeError::disk("writing", &full, e))?;
        // The mode is set apart from the creation, which the process' umask would narrow.
        set_mode(&full, file.mode)?;
        if let Some(owner) = file.owner {
            chown(&full, Some(owner), None).map_err(|e| VolumeError::disk("giving away", &full, e))?;
        }
    }
    match group {
        Some(group) => ownership::give_to_group(folder, group, ownership::Access::ReadOnly),
        None => Ok(()),
    }
}

fn set_mode(path: &Path, mode: u32) -> Result<(), VolumeError> {
    let permissions = fs::Permissions::from_mode(mode);
    fs::set_permissions(path, permissions).map_err(|e| VolumeError::disk("setting the mode of", path, e))
}

fn switch(target: &Path, fresh: &str) -> Result<(), VolumeError> {
    let new = target.join(DATA_NEW);
    match fs::remove_file(&new) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(VolumeError::disk("removing", &new, e)),
        _ => {}
    }
    symlink(fresh, &new).map_err(|e| VolumeError::disk("linking", &new, e))?;
    fs::rename(&new, target.join(DATA)).map_err(|e| VolumeError::disk("renaming", &new, e))
}

fn top_names(payload: &Payload) -> BTreeSet<&str> {
    payload.keys().map(|p| p.split('/').next().unwrap_or(p)).collect()
}

fn link_top_names(target: &Path, payload: &Payload) -> Result<(), VolumeError> {
    for name in top_names(payload) {
        let link = target.join(name);
        match symlink(Path::new(DATA).join(name), &link) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                return Err(VolumeError::disk("linking", &link, e));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Removes links to files that are no more, and every data folder but the current one.
fn remove_stale(target: &Path, payload: &Payload, fresh: &str) -> Result<(), VolumeError> {
    let names = top_names(payload);
    let entries = fs::read_dir(target).map_err(|e| VolumeError::disk("reading", target, e))?;
    for entry in entries {
        let entry = entry.map_err(|e| VolumeError::disk("reading", target, e))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let path = entry.path();
        let is_dir = entry.file_type().map_err(|e| VolumeError::disk("reading", &path, e))?.is_dir();
        let result = match name.as_ref() {
            DATA => continue,
            name if name == fresh => continue,
            name if is_dir && name.starts_with("..2") => fs::remove_dir_all(&path),
            name if !is_dir && !names.contains(name) => fs::remove_file(&path),
            _ => continue,
        };
        result.map_err(|e| VolumeError::disk("removing", &path, e))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volumes::payload::FileProjection;

    fn payload(files: &[(&str, &str)]) -> Payload {
        let file = |text: &str| FileProjection { data: text.into(), mode: 0o640, owner: None };
        files.iter().map(|(path, text)| ((*path).to_owned(), file(text))).collect()
    }

    fn listing(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(dir)
            .expect("a folder")
            .map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned())
            .map(|n| if n.starts_with("..2") { "..TIME".to_owned() } else { n })
            .collect();
        names.sort();
        names
    }

    #[test]
    fn updates_switch_at_once_and_leave_no_rubbish() {
        let dir = tempfile::tempdir().expect("a folder");
        let now = Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_hours(24 * 365 * 50);
        let first = payload(&[("a", "1"), ("sub/deep/b", "2")]);
        assert!(write(dir.path(), &first, None, now).expect("written"));
        assert_eq!(listing(dir.path()), ["..TIME", "..data", "a", "sub"]);
        assert_eq!(fs::read_to_string(dir.path().join("sub/deep/b")).expect("readable"), "2");
        assert_eq!(fs::metadata(dir.path().join("a")).expect("there").permissions().mode() & 0o777, 0o640);
        assert!(!write(dir.path(), &first, None, now).expect("unchanged"));

        let open_before = fs::canonicalize(dir.path().join("a")).expect("resolves");
        assert!(write(dir.path(), &payload(&[("a", "9"), ("c", "3")]), None, now).expect("written"));
        assert_eq!(listing(dir.path()), ["..TIME", "..data", "a", "c"]);
        assert_eq!(fs::read_to_string(dir.path().join("a")).expect("readable"), "9");
        assert!(!open_before.exists(), "the old folder is gone");
        assert!(write(dir.path(), &payload(&[]), None, now).expect("written"));
        assert_eq!(listing(dir.path()), ["..TIME", "..data"]);
    }
}
