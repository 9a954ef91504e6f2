//! What a command changed: the writable layer of its container as a layer's archive.
//!
//! Whiteouts and opaque folders of overlayfs (kernel `filesystems/overlayfs.rst`) become those of OCI layers.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Stat};

use super::copy::{DEPTH_LIMIT, kept_xattrs};
use super::sink::{Archive, Attributes, What, invalid};
use super::tree::{Folder, Node, is_opaque};

/// Writes what lies in `written` over the tree `base`. `mounted` are paths at which the runtime made places for
/// mounts: what is empty there is left out.
pub fn write(
    written: &Path,
    base: &Folder,
    mounted: &[PathBuf],
    archive: &mut Archive<&mut dyn Write>,
) -> io::Result<()> {
    let mut changes = Changes { base, mounted, archive, links: HashMap::new() };
    changes.folder(written, Path::new(""))?;
    Ok(())
}

struct Changes<'a, 'b> {
    base: &'a Folder,
    mounted: &'a [PathBuf],
    archive: &'a mut Archive<&'b mut dyn Write>,
    /// Files with several names, by device and number.
    links: HashMap<(u64, u64), PathBuf>,
}

impl Changes<'_, '_> {
    /// What changed in a folder. A folder whose times alone changed is no change.
    fn folder(&mut self, written: &Path, path: &Path) -> io::Result<()> {
        if path.iter().count() > DEPTH_LIMIT {
            return Err(invalid("folders are nested too deeply"));
        }
        let mut names: Vec<_> =
            std::fs::read_dir(written)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>()?;
        names.sort();
        for name in names {
            let (written, path) = (written.join(&name), path.join(&name));
            let stat = rustix::fs::lstat(&written)?;
            let before = self.base.find(&path, false)?.node;
            if before.is_none() && self.is_place_of_mount(&written, &path, &stat)? {
                continue;
            }
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => self.directory(&written, &path, &stat, before.as_ref())?,
                FileType::CharacterDevice if stat.st_rdev == 0 => {
                    if before.is_some() {
                        self.archive.whiteout(&path, &attributes(&stat, BTreeMap::new()))?;
                    }
                }
                // Sockets do not outlive who made them.
                FileType::Socket => {}
                kind => self.other(&written, &path, &stat, kind)?,
            }
        }
        Ok(())
    }

    fn directory(
        &mut self,
        written: &Path,
        path: &Path,
        stat: &Stat,
        before: Option<&Node>,
    ) -> io::Result<()> {
        let fd = std::fs::File::open(written)?;
        if xattr::FileExt::get_xattr(&fd, "trusted.overlay.redirect")?.is_some() {
            return Err(invalid(format!(
                "/{}: a renamed folder of this kind is not supported",
                path.display()
            )));
        }
        let attributes = attributes(stat, kept_xattrs(&fd)?);
        let same = before.is_some_and(|node| {
            node.folder().is_some()
                && (node.stat.st_mode, node.stat.st_uid, node.stat.st_gid)
                    == (stat.st_mode, stat.st_uid, stat.st_gid)
        });
        let opaque = is_opaque(&fd.into()) && before.is_some();
        if !same || opaque {
            crate::build::sink::Sink::file(self.archive, path, What::Folder, &attributes, &mut io::empty())?;
        }
        if opaque {
            self.archive.opaque(path, &attributes)?;
        }
        self.folder(written, path)
    }

    fn other(&mut self, written: &Path, path: &Path, stat: &Stat, kind: FileType) -> io::Result<()> {
        use crate::build::sink::Sink;
        let plain = attributes(stat, BTreeMap::new());
        let device = |character| {
            let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
            What::Device { character, major, minor }
        };
        let what = match kind {
            FileType::RegularFile => return self.regular(written, path, stat),
            FileType::Symlink => {
                let target = std::fs::read_link(written)?;
                return self.archive.file(path, What::Link(&target), &plain, &mut io::empty());
            }
            FileType::CharacterDevice => device(true),
            FileType::BlockDevice => device(false),
            _ => What::Fifo,
        };
        self.archive.file(path, what, &plain, &mut io::empty())
    }

    fn regular(&mut self, written: &Path, path: &Path, stat: &Stat) -> io::Result<()> {
        use crate::build::sink::Sink;
        if stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&(stat.st_dev, stat.st_ino)) {
                let attributes = attributes(stat, BTreeMap::new());
                return self.archive.file(path, What::Same(first), &attributes, &mut io::empty());
            }
            self.links.insert((stat.st_dev, stat.st_ino), path.to_owned());
        }
        let mut file = std::fs::File::open(written)?;
        if xattr::FileExt::get_xattr(&file, "trusted.overlay.metacopy")?.is_some() {
            return Err(invalid(format!("/{}: a file without its data is not supported", path.display())));
        }
        let attributes = attributes(stat, kept_xattrs(&file)?);
        let what = What::File { size_bytes: u64::try_from(stat.st_size).unwrap_or(0) };
        self.archive.file(path, what, &attributes, &mut file)
    }

    fn is_place_of_mount(&self, written: &Path, path: &Path, stat: &Stat) -> io::Result<bool> {
        if !self.mounted.iter().any(|mounted| mounted == path) {
            return Ok(false);
        }
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Ok(std::fs::read_dir(written)?.next().is_none()),
            _ => Ok(stat.st_size == 0),
        }
    }
}

fn attributes(stat: &Stat, xattrs: BTreeMap<String, Vec<u8>>) -> Attributes {
    Attributes {
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime_s: u64::try_from(stat.st_mtime).unwrap_or(0),
        xattrs,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_that_a_command_nests_too_deeply_are_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        let (base, written) = (dir.path().join("base"), dir.path().join("written"));
        std::fs::create_dir(&base).expect("a folder");
        let layer = |depth: usize| {
            std::fs::create_dir_all(written.join("d/".repeat(depth))).expect("folders");
            let (root, mut out) = (Folder::root(std::slice::from_ref(&base)).expect("a root"), Vec::new());
            let mut archive = Archive::new(&mut out as &mut dyn Write, None, 1000);
            write(&written, &root, &[], &mut archive).map_err(|error| error.to_string())
        };
        assert_eq!(layer(DEPTH_LIMIT), Ok(()));
        assert_eq!(layer(DEPTH_LIMIT + 1), Err("folders are nested too deeply".to_owned()));
    }
}
