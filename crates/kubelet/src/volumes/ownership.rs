//! `fsGroup`: a volume's files belong to the pod's group.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::VolumeError;

/// What the group may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    ReadOnly,
    ReadWrite,
}

/// Gives everything under `folder` to `group`, with the bits upstream adds: readable (and writable),
/// folders searchable and set-group-id so that new files belong to the group too. Links are given
/// away themselves, never what they point to: containers may run already (after a restart of the node agent) and
/// put links where folders were a moment ago, so nothing below `folder` is ever named by more than one step.
///
/// # Errors
/// When the disk refuses.
pub fn give_to_group(folder: &Path, group: u32, access: Access) -> Result<(), VolumeError> {
    let fail = |e: Errno| VolumeError::disk("giving away", folder, e);
    let root = rustix::fs::open(folder, FOLDER, Mode::empty()).map_err(fail)?;
    give_one(CWD, folder, group, access).map_err(fail)?;
    let mut pending = vec![PathBuf::from(".")];
    while let Some(path) = pending.pop() {
        let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let open = match rustix::fs::openat2(&root, &path, FOLDER, Mode::empty(), how) {
            Ok(open) => open,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
            Err(error) => return Err(fail(error)),
        };
        for entry in Dir::read_from(&open).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let name = Path::new(OsStr::from_bytes(entry.file_name().to_bytes()));
            if matches!(name.as_os_str().as_bytes(), b"." | b"..") {
                continue;
            }
            match give_one(&open, name, group, access) {
                Ok(FileType::Directory) => pending.push(path.join(name)),
                Ok(_) | Err(Errno::NOENT) => {}
                Err(error) => return Err(fail(error)),
            }
        }
    }
    Ok(())
}

/// Whether a folder belongs to the group already, by what upstream looks at where `fsGroupChangePolicy` is
/// `OnRootMismatch`.
pub fn is_of_group(folder: &Path, group: u32) -> bool {
    rustix::fs::stat(folder).is_ok_and(|stat| stat.st_gid == group && stat.st_mode & 0o2770 == 0o2770)
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Gives away one thing, which is held open meanwhile: whatever is put in its place is not touched.
fn give_one(at: impl AsFd, name: &Path, group: u32, access: Access) -> Result<FileType, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let held = rustix::fs::openat(at, name, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&held)?;
    let kind = FileType::from_raw_mode(stat.st_mode);
    rustix::fs::chownat(&held, "", None, Some(Gid::from_raw(group)), AtFlags::EMPTY_PATH)?;
    if kind != FileType::Symlink {
        let mut mask = match access {
            Access::ReadOnly => 0o440,
            Access::ReadWrite => 0o660,
        };
        if kind == FileType::Directory {
            mask |= 0o2110;
        }
        let mode = Mode::from_raw_mode((stat.st_mode & 0o7777) | mask);
        rustix::fs::chmod(format!("/proc/self/fd/{}", held.as_raw_fd()), mode)?;
    }
    Ok(kind)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    #[test]
    fn what_links_point_to_stays_as_it_is() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let (volume, host) = (dir.path().join("volume"), dir.path().join("host"));
        for folder in [volume.join("a/b"), host.clone()] {
            fs::create_dir_all(folder).expect("made");
        }
        fs::write(host.join("secret"), "x").expect("written");
        fs::write(volume.join("a/b/file"), "x").expect("written");
        symlink(&host, volume.join("a/link")).expect("linked");
        symlink(host.join("secret"), volume.join("file")).expect("linked");
        for path in [host.clone(), host.join("secret"), volume.join("a/b/file")] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("set");
        }
        let before = [&host, &host.join("secret")].map(|path| fs::metadata(path).expect("there"));
        give_to_group(&volume, 4321, Access::ReadWrite).expect("given");
        let after = [&host, &host.join("secret")].map(|path| fs::metadata(path).expect("there"));
        for (before, after) in before.iter().zip(&after) {
            assert_eq!((before.gid(), before.mode()), (after.gid(), after.mode()));
        }
        let given =
            |path: &str| fs::symlink_metadata(volume.join(path)).map(|m| (m.gid(), m.mode() & 0o7777));
        assert_eq!(given("a/b/file").expect("there"), (4321, 0o660));
        assert_eq!(given("a/b").expect("there").1 & 0o2070, 0o2070);
        assert_eq!(given("file").expect("there").0, 4321, "the link itself is given away");
    }
}
