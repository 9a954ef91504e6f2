//! The files of an image's layers seen as one tree, without a mount.
//!
//! Every step opens one name below a directory that is open already, and links are followed here: no path leads out
//! of the tree. Whiteouts and opaque directories hide what lies below, as in overlayfs.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::snapshot::{OPAQUE_XATTR, fd_path};

const LINK_LIMIT: usize = 40;

/// A directory: those of the layers that have it, topmost first.
#[derive(Debug, Clone)]
pub struct Folder(Vec<Arc<OwnedFd>>);

/// Something with a name.
#[derive(Debug, Clone)]
pub struct Node {
    pub stat: Stat,
    place: Place,
}

#[derive(Debug, Clone)]
enum Place {
    Folder(Folder),
    Other { parent: Arc<OwnedFd>, name: OsString },
}

/// Where a path leads once its links are followed.
#[derive(Debug)]
pub struct Found {
    /// Without a `/` at the start; what is missing at its end included.
    pub real: PathBuf,
    pub node: Option<Node>,
}

impl Folder {
    /// The tree of layers, topmost first.
    pub fn root(layers: &[PathBuf]) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = |path: &PathBuf| Ok(Arc::new(rustix::fs::openat(CWD, path, flags, Mode::empty())?));
        Ok(Self(layers.iter().map(open).collect::<io::Result<_>>()?))
    }

    /// What has the name `name` here.
    pub fn child(&self, name: &OsStr) -> io::Result<Option<Node>> {
        let mut merged: Option<(Stat, Vec<Arc<OwnedFd>>)> = None;
        for layer in &self.0 {
            let stat = match rustix::fs::statat(layer, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(error.into()),
            };
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => {
                    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    let fd = rustix::fs::openat(layer, name, flags, Mode::empty())?;
                    let opaque = is_opaque(&fd);
                    merged.get_or_insert_with(|| (stat, Vec::new())).1.push(Arc::new(fd));
                    if opaque {
                        break;
                    }
                }
                _ if merged.is_some() || is_whiteout(&stat) => break,
                _ => {
                    let place = Place::Other { parent: Arc::clone(layer), name: name.to_owned() };
                    return Ok(Some(Node { stat, place }));
                }
            }
        }
        Ok(merged.map(|(stat, layers)| Node { stat, place: Place::Folder(Self(layers)) }))
    }

    /// The names here, in order.
    pub fn names(&self) -> io::Result<BTreeSet<OsString>> {
        let (mut found, mut hidden) = (BTreeSet::new(), HashSet::new());
        for layer in &self.0 {
            for entry in std::fs::read_dir(fd_path(layer.as_fd()))? {
                let name = entry?.file_name();
                if hidden.contains(&name) || found.contains(&name) {
                    continue;
                }
                let stat = rustix::fs::statat(layer, &name, AtFlags::SYMLINK_NOFOLLOW)?;
                match is_whiteout(&stat) {
                    true => drop(hidden.insert(name)),
                    false => drop(found.insert(name)),
                }
            }
        }
        Ok(found)
    }

    /// Follows `path` from here as the root; its last name only with `follow`.
    pub fn find(&self, path: &Path, follow: bool) -> io::Result<Found> {
        let mut left: VecDeque<OsString> = names_of(path);
        let mut way: Vec<(OsString, Option<Node>)> = Vec::new();
        let mut links = 0;
        while let Some(name) = left.pop_front() {
            if name == ".." {
                way.pop();
                continue;
            }
            let node = match way.last() {
                None => self.child(&name)?,
                Some((_, Some(Node { place: Place::Folder(folder), .. }))) => folder.child(&name)?,
                Some((_, Some(_))) => return Err(Errno::NOTDIR.into()),
                Some((_, None)) => None,
            };
            if let Some(link) = node.as_ref().filter(|node| node.is_link() && (follow || !left.is_empty())) {
                links += 1;
                if links > LINK_LIMIT {
                    return Err(Errno::LOOP.into());
                }
                let target = link.link()?;
                if target.is_absolute() {
                    way.clear();
                }
                for name in names_of(&target).into_iter().rev() {
                    left.push_front(name);
                }
                continue;
            }
            way.push((name, node));
        }
        let real = way.iter().map(|(name, _)| name).collect();
        let node = match way.pop() {
            Some((_, node)) => node,
            None => self.as_node()?,
        };
        Ok(Found { real, node })
    }

    fn as_node(&self) -> io::Result<Option<Node>> {
        let Some(top) = self.0.first() else { return Ok(None) };
        Ok(Some(Node { stat: rustix::fs::fstat(top)?, place: Place::Folder(self.clone()) }))
    }
}

impl Node {
    pub fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    fn is_link(&self) -> bool {
        self.kind() == FileType::Symlink
    }

    pub fn folder(&self) -> Option<&Folder> {
        match &self.place {
            Place::Folder(folder) => Some(folder),
            Place::Other { .. } => None,
        }
    }

    /// Where a symbolic link leads.
    pub fn link(&self) -> io::Result<PathBuf> {
        let Place::Other { parent, name } = &self.place else { return Err(Errno::INVAL.into()) };
        let target = rustix::fs::readlinkat(parent, name, Vec::new())?;
        Ok(PathBuf::from(OsStr::from_bytes(target.as_bytes())))
    }

    /// Opens a regular file.
    pub fn open(&self) -> io::Result<File> {
        let Place::Other { parent, name } = &self.place else { return Err(Errno::ISDIR.into()) };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(File::from(rustix::fs::openat(parent, name, flags, Mode::empty())?))
    }
}

pub fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

pub fn is_opaque(folder: &OwnedFd) -> bool {
    let mut value = [0_u8; 1];
    // The descriptor is O_PATH, which fgetxattr(2) refuses.
    let read = rustix::fs::getxattr(fd_path(folder.as_fd()), OPAQUE_XATTR, &mut value[..]);
    read.is_ok() && value == *b"y"
}

/// A path's names, `..` included.
fn names_of(path: &Path) -> VecDeque<OsString> {
    let name = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        _ => None,
    };
    path.components().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_stay_in_the_tree_and_upper_layers_win() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let (upper, lower) = (dir.path().join("upper"), dir.path().join("lower"));
        fs::create_dir_all(upper.join("usr/bin"))?;
        fs::create_dir_all(lower.join("usr/bin"))?;
        fs::write(dir.path().join("secret"), "s")?;
        fs::write(lower.join("usr/bin/sh"), "lower")?;
        fs::write(lower.join("usr/bin/ls"), "ls")?;
        fs::write(upper.join("usr/bin/sh"), "upper")?;
        symlink("usr/bin", upper.join("bin"))?;
        symlink("../../../secret", lower.join("out"))?;
        symlink("/loop", lower.join("loop"))?;
        let root = Folder::root(&[upper, lower])?;
        let found = root.find(Path::new("/bin/sh"), true)?;
        assert_eq!(found.real, Path::new("usr/bin/sh"));
        let mut text = String::new();
        io::Read::read_to_string(&mut found.node.expect("a file").open()?, &mut text)?;
        assert_eq!(text, "upper");
        let names = root.find(Path::new("bin"), true)?.node.and_then(|node| node.folder().cloned());
        let names = names.expect("a folder").names()?;
        assert_eq!(names, BTreeSet::from(["ls".into(), "sh".into()]));
        let out = root.find(Path::new("out"), true)?;
        assert!(out.node.is_none() && out.real == Path::new("secret"), "{out:?}");
        assert_eq!(root.find(Path::new("loop"), true).map(drop).map_err(|e| e.raw_os_error()), Err(Some(40)));
        let missing = root.find(Path::new("bin/new/../x/y"), true)?;
        assert_eq!((missing.real.as_path(), missing.node.is_none()), (Path::new("usr/bin/x/y"), true));
        assert!(root.find(Path::new("bin/sh/x"), true).is_err());
        Ok(())
    }
}
