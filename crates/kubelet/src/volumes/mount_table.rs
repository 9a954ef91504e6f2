//! The kernel's list of mounts, and taking those under a folder down.

use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};

use super::VolumeError;

const TABLE: &str = "/proc/self/mountinfo";

/// The mount points at or under `folder`, in the order in which they were made.
///
/// # Errors
/// When the kernel's table cannot be read.
pub fn under(folder: &Path) -> Result<Vec<PathBuf>, VolumeError> {
    let table = std::fs::read(TABLE).map_err(|e| VolumeError::disk("reading", Path::new(TABLE), e))?;
    Ok(parse(&table).filter(|point| point.starts_with(folder)).collect())
}

/// The fifth field of each line, with the kernel's octal escapes undone (proc(5)).
fn parse(table: &[u8]) -> impl Iterator<Item = PathBuf> {
    table.split(|b| *b == b'\n').filter_map(|line| {
        let field = line.split(|b| *b == b' ').nth(4)?;
        let mut out = Vec::with_capacity(field.len());
        let mut rest = field;
        while let Some((first, tail)) = rest.split_first() {
            let octal = (*first == b'\\')
                .then(|| tail.get(..3))
                .flatten()
                .and_then(|digits| std::str::from_utf8(digits).ok())
                .and_then(|digits| u8::from_str_radix(digits, 8).ok());
            match octal {
                Some(byte) => {
                    out.push(byte);
                    rest = &tail[3..];
                }
                None => {
                    out.push(*first);
                    rest = tail;
                }
            }
        }
        Some(PathBuf::from(std::ffi::OsString::from_vec(out)))
    })
}

/// Unmounts everything at or under `folder`, newest first. What is busy is detached: it vanishes
/// from the tree at once and is freed with its last user.
///
/// # Errors
/// When a mount cannot be removed.
pub fn unmount_under(folder: &Path) -> Result<(), VolumeError> {
    for point in under(folder)?.iter().rev() {
        match rustix::mount::unmount(point, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            // Gone meanwhile, or no mount any more: what is wanted.
            Ok(()) | Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => {}
            Err(e) => return Err(VolumeError::disk("unmounting", point, e)),
        }
    }
    Ok(())
}

/// Whether something is mounted at `path`, be it of the same file system as what surrounds it.
///
/// # Errors
/// When the kernel's table cannot be read.
pub fn is_listed(path: &Path) -> Result<bool, VolumeError> {
    // The kernel lists mounts by their real path. What cannot be looked into may be mounted all the same.
    let parent = path.parent().and_then(|parent| std::fs::canonicalize(parent).ok());
    let real = match (parent, path.file_name()) {
        (Some(parent), Some(name)) => parent.join(name),
        _ => path.to_owned(),
    };
    Ok(under(&real)?.contains(&real))
}

/// Has mounts that a container makes below `folder` appear on the node, where the container's volume says so
/// (`mountPropagation: Bidirectional`): the kernel passes on only what is mounted below a shared mount. Repeatable.
///
/// # Errors
/// When the kernel refuses.
pub fn share(folder: &Path) -> Result<(), VolumeError> {
    let fail = |doing, error: io::Error| VolumeError::disk(doing, folder, error);
    let folder = std::fs::canonicalize(folder).map_err(|error| fail("looking at", error))?;
    let table = std::fs::read(TABLE).map_err(|e| VolumeError::disk("reading", Path::new(TABLE), e))?;
    if is_shared(&table, &folder) {
        return Ok(());
    }
    rustix::mount::mount_bind_recursive(&folder, &folder).map_err(|error| fail("binding", error.into()))?;
    let flags = MountPropagationFlags::SHARED | MountPropagationFlags::REC;
    rustix::mount::mount_change(&folder, flags).map_err(|error| fail("sharing", error.into()))
}

/// Whether the mount that holds `path` is shared: the last one made at the longest of its mount points.
fn is_shared(table: &[u8], path: &Path) -> bool {
    let lines = table.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    let mounts = lines.filter_map(|line| Some((parse(line).next()?, line)));
    let holding = mounts.filter(|(point, _)| path.starts_with(point));
    let last = holding.max_by_key(|(point, _)| point.as_os_str().len());
    let fields = last.into_iter().flat_map(|(_, line)| line.split(|b| *b == b' '));
    // Optional fields begin at the seventh and end with a hyphen.
    fields.skip(6).take_while(|field| *field != b"-").any(|field| field.starts_with(b"shared:"))
}

/// Whether `path` is the root of a mount other than its parent's.
pub fn is_mount_point(path: &Path) -> io::Result<bool> {
    let own = rustix::fs::lstat(path)?;
    let parent = rustix::fs::lstat(path.parent().unwrap_or(path))?;
    Ok(own.st_dev != parent.st_dev)
}

/// Mounts a tmpfs of at most `size_bytes` (half of the machine's memory when `None`) on `path`.
///
/// # Errors
/// When the kernel refuses.
pub fn mount_tmpfs(path: &Path, size_bytes: Option<u64>) -> Result<(), VolumeError> {
    let data = match size_bytes {
        Some(bytes) => format!("size={bytes}"),
        None => String::new(),
    };
    let data = std::ffi::CString::new(data).expect("a number has no zero byte");
    rustix::mount::mount("tmpfs", path, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, data.as_c_str())
        .map_err(|e| VolumeError::disk("mounting a tmpfs on", path, e))
}

/// Binds `source` (followed to what it is) onto `target`.
///
/// # Errors
/// When the kernel refuses.
pub fn bind(source: &Path, target: &Path) -> Result<(), VolumeError> {
    debug_assert!(!target.as_os_str().as_bytes().is_empty(), "a target is needed");
    rustix::mount::mount_bind_recursive(source, target)
        .map_err(|e| VolumeError::disk("binding to", target, e))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_in_mount_points_are_undone() {
        let table = b"1 2 0:3 / /plain rw - tmpfs t rw\n4 5 0:6 / /a\\040b\\134c rw - x y rw\nshort\n";
        let points: Vec<PathBuf> = parse(table).collect();
        assert_eq!(points, [PathBuf::from("/plain"), PathBuf::from("/a b\\c")]);
    }

    #[test]
    fn a_mount_is_shared_as_its_last_line_says() {
        let table = b"1 0 0:1 / / rw shared:1 - ext4 d rw\n2 1 0:2 / /data rw master:3 - ext4 e rw\n\
            3 2 0:2 /k /data/k rw - ext4 e rw\n4 2 0:2 /k /data/k rw shared:9 - ext4 e rw\n";
        let shared = |path: &str| is_shared(table, Path::new(path));
        assert_eq!((shared("/var/x"), shared("/data/y"), shared("/data/k/pods")), (true, false, true));
    }

    proptest! {
        #[test]
        fn any_table_is_read(table in prop::collection::vec(any::<u8>(), 0..120)) {
            prop_assert!(parse(&table).count() <= table.len());
        }

        #[test]
        fn a_mount_point_is_read_as_the_kernel_writes_it(point in "/[ \t\\\\a-z#é0-9]{0,20}") {
            let escaped: String = point
                .chars()
                .map(|c| match c {
                    ' ' | '\t' | '\\' | '#' => format!("\\{:03o}", c as u32),
                    other => other.to_string(),
                })
                .collect();
            let table = format!("1 2 0:3 / {escaped} rw - tmpfs t rw\n");
            prop_assert_eq!(parse(table.as_bytes()).collect::<Vec<_>>(), [PathBuf::from(point)]);
        }
    }
}
