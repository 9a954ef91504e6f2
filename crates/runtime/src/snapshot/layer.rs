//! One image layer, from an untrusted tar stream into an overlayfs lower directory.
//!
//! Owns the layer format: whiteouts (OCI image-spec `layer.md`) become what overlayfs calls them
//! (kernel `filesystems/overlayfs.rst`), directories a layer only implies take their attributes from
//! the layers below, as containerd's `archive/tar.go` does. Everything happens beneath the target
//! directory. Never decides where that is, nor whether the content is the right one.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::beneath::{self, Place, Root};
use super::tar_stream::{Entry, Kind, TarStream};

const WHITEOUT_PREFIX: &[u8] = b".wh.";
const OPAQUE_MARKER: &[u8] = b".wh..wh..opq";
const AUFS_PREFIX: &[u8] = b".wh..wh.";
pub(crate) const OPAQUE_XATTR: &str = "trusted.overlay.opaque";
const COPY_BUFFER_BYTES: usize = 256 << 10;
/// As many links as the kernel follows in one path.
const LINK_DEPTH_LIMIT: u32 = 40;

/// What one layer may cost.
#[derive(Debug, Clone, Copy)]
pub struct LayerLimits {
    /// Unpacked size of the archive.
    pub size_bytes: u64,
    pub entries: u64,
}

impl Default for LayerLimits {
    fn default() -> Self {
        Self { size_bytes: 64 << 30, entries: 1_000_000 }
    }
}

/// What a layer takes on disk, roughly: file contents rounded up to blocks of 4 KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Applied {
    pub size_bytes: u64,
    pub inodes: u64,
}

/// Why a layer could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    #[error("refused entry {path:?}: {reason}")]
    Refused { path: PathBuf, reason: &'static str },
    #[error("entry {path:?}: {source}")]
    Entry { path: PathBuf, source: io::Error },
    #[error("layer exceeds the limit of {0} entries")]
    TooManyEntries(u64),
    #[error(transparent)]
    Archive(#[from] io::Error),
}

/// Unpacks the tar stream `reader` into the empty directory `target`; `lower` are the layers below,
/// topmost first. On error `target` holds a part of the layer and is to be thrown away.
pub fn apply(
    reader: impl Read,
    target: &Path,
    lower: &[PathBuf],
    limits: LayerLimits,
) -> Result<Applied, LayerError> {
    let lower = lower.iter().map(|path| Root::open(path)).collect::<io::Result<Vec<_>>>()?;
    let mut layer = Layer {
        root: Root::open(target)?,
        lower,
        limits,
        seen_entries: 0,
        applied: Applied::default(),
        directory_times: Vec::new(),
        buffer: vec![0; COPY_BUFFER_BYTES],
    };
    let mut stream = TarStream::new(reader.take_limited(limits.size_bytes));
    while let Some(entry) = stream.next_entry()? {
        layer.entry(&entry, &mut stream)?;
    }
    layer.set_directory_times()?;
    // The digest of a layer covers what follows the archive's end, too.
    io::copy(&mut stream.into_inner(), &mut io::sink())?;
    Ok(layer.applied)
}

struct Layer {
    root: Root,
    lower: Vec<Root>,
    limits: LayerLimits,
    seen_entries: u64,
    applied: Applied,
    /// Set at the end, because making entries in a directory changes its time.
    directory_times: Vec<(PathBuf, (i64, u32))>,
    buffer: Vec<u8>,
}

impl Layer {
    fn entry(&mut self, entry: &Entry, content: &mut impl Read) -> Result<(), LayerError> {
        self.seen_entries += 1;
        if self.seen_entries > self.limits.entries {
            return Err(LayerError::TooManyEntries(self.limits.entries));
        }
        let refused = |reason| LayerError::Refused { path: entry.path.clone(), reason };
        let failed = |source| LayerError::Entry { path: entry.path.clone(), source };
        let path = beneath::clean(&entry.path).ok_or_else(|| refused("it lies outside the layer"))?;
        let Some(name) = path.file_name() else { return Ok(()) };
        let parent = path.parent().unwrap_or(Path::new(""));
        let place = Place { dir: self.ensure_dir(parent, 0).map_err(failed)?, name };
        if name.as_bytes() == OPAQUE_MARKER {
            return set_opaque(place.dir.as_fd()).map_err(failed);
        }
        if name.as_bytes().starts_with(AUFS_PREFIX) {
            return Ok(()); // aufs' own bookkeeping, as other tools skip it
        }
        if let Some(hidden) = name.as_bytes().strip_prefix(WHITEOUT_PREFIX) {
            if matches!(hidden, b"" | b"." | b"..") {
                return Err(refused("a whiteout must name a file"));
            }
            return whiteout(&Place { dir: place.dir, name: OsStr::from_bytes(hidden) }).map_err(failed);
        }
        if entry.kind == Kind::HardLink {
            let target = beneath::clean(&entry.link)
                .ok_or_else(|| refused("its link target lies outside the layer"))?;
            return self.hard_link(&path, &place, &target).map_err(failed);
        }
        self.make(&path, &place, entry, content).map_err(failed)
    }

    fn make(
        &mut self,
        path: &Path,
        place: &Place<'_>,
        entry: &Entry,
        content: &mut impl Read,
    ) -> io::Result<()> {
        if entry.kind == Kind::Directory {
            self.make_dir(place)?;
            self.directory_times.push((path.to_owned(), entry.mtime));
        } else {
            place.remove_all()?;
        }
        let file = match entry.kind {
            Kind::File => Some(self.make_file(place, content)?),
            Kind::Directory => Some(place.open(OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?),
            Kind::Symlink => {
                rustix::fs::symlinkat(&entry.link, &place.dir, place.name)?;
                None
            }
            Kind::Fifo => make_node(place, FileType::Fifo, 0, 0)?,
            Kind::CharDevice { major, minor } => make_node(place, FileType::CharacterDevice, major, minor)?,
            Kind::BlockDevice { major, minor } => make_node(place, FileType::BlockDevice, major, minor)?,
            Kind::HardLink => return Err(Errno::INVAL.into()),
        };
        self.applied.inodes += 1;
        set_attributes(place, entry, file)
    }

    fn make_file(&mut self, place: &Place<'_>, content: &mut impl Read) -> io::Result<OwnedFd> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let mut file = File::from(place.open(flags, Mode::RUSR | Mode::WUSR)?);
        let mut size_bytes = 0;
        loop {
            let n = content.read(&mut self.buffer)?;
            if n == 0 {
                break;
            }
            file.write_all(&self.buffer[..n])?;
            size_bytes += n as u64;
        }
        self.applied.size_bytes += size_bytes.next_multiple_of(4096);
        Ok(file.into())
    }

    fn hard_link(&mut self, path: &Path, place: &Place<'_>, target: &Path) -> io::Result<()> {
        if path == target {
            return Ok(());
        }
        let target = self.root.place(target)?;
        if target.stat()?.is_none() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("hard link target {:?} is not in this layer", target.name),
            ));
        }
        place.remove_all()?;
        Ok(rustix::fs::linkat(&target.dir, target.name, &place.dir, place.name, AtFlags::empty())?)
    }

    /// Makes a directory, keeping one that is there; anything else there is replaced.
    fn make_dir(&mut self, place: &Place<'_>) -> io::Result<()> {
        let existing = place.stat()?;
        let mut hides_lower = false;
        if let Some(stat) = existing {
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => return Ok(()),
                // A whiteout and then a directory of that name: the lower one stays hidden.
                FileType::CharacterDevice => hides_lower = stat.st_rdev == 0,
                _ => {}
            }
            place.remove_all()?;
        }
        rustix::fs::mkdirat(&place.dir, place.name, Mode::from_raw_mode(0o755))?;
        self.applied.size_bytes += 4096;
        if hides_lower {
            let fd = place.open(OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
            set_opaque(fd.as_fd())?;
        }
        Ok(())
    }

    /// Opens the directory `path`, making what is missing of it.
    fn ensure_dir(&mut self, path: &Path, depth: u32) -> io::Result<OwnedFd> {
        match self.root.dir(path) {
            Ok(fd) => return Ok(fd),
            Err(Errno::NOENT | Errno::NOTDIR) if path.file_name().is_some() => {}
            Err(e) => return Err(e.into()),
        }
        if depth > LINK_DEPTH_LIMIT {
            return Err(Errno::LOOP.into());
        }
        let parent = path.parent().unwrap_or(Path::new(""));
        let place =
            Place { dir: self.ensure_dir(parent, depth + 1)?, name: path.file_name().unwrap_or_default() };
        if let Some(stat) = place.stat()? {
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Symlink => return self.ensure_link_target(&place, parent, depth),
                FileType::CharacterDevice if stat.st_rdev == 0 => {}
                _ => return Err(Errno::NOTDIR.into()),
            }
        }
        self.make_dir(&place)?;
        self.applied.inodes += 1;
        self.copy_lower_attributes(path, &place)?;
        Ok(self.root.dir(path)?)
    }

    /// A link to a directory that only a lower layer has: the directory is made where the link points.
    fn ensure_link_target(&mut self, place: &Place<'_>, parent: &Path, depth: u32) -> io::Result<OwnedFd> {
        let target = rustix::fs::readlinkat(&place.dir, place.name, Vec::new())?;
        let target = Path::new(OsStr::from_bytes(target.as_bytes()));
        let joined = if target.is_absolute() { target.to_owned() } else { parent.join(target) };
        let inside = beneath::clean(&joined).ok_or(Errno::LOOP)?;
        self.ensure_dir(&inside, depth + 1)
    }

    fn copy_lower_attributes(&self, path: &Path, place: &Place<'_>) -> io::Result<()> {
        for lower in &self.lower {
            let fd = match lower.dir(path) {
                Ok(fd) => fd,
                Err(Errno::NOENT) => continue,
                Err(_) => return Ok(()), // hidden by something that is no directory
            };
            let stat = rustix::fs::fstat(&fd)?;
            set_owner(place, stat.st_uid, stat.st_gid)?;
            rustix::fs::chmodat(
                &place.dir,
                place.name,
                Mode::from_raw_mode(stat.st_mode & 0o7777),
                AtFlags::empty(),
            )?;
            return Ok(());
        }
        Ok(())
    }

    fn set_directory_times(&self) -> Result<(), LayerError> {
        for (path, mtime) in &self.directory_times {
            let failed = |source| LayerError::Entry { path: path.clone(), source };
            let place = match self.root.place(path) {
                Ok(place) => place,
                // A later entry replaced the directory.
                Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                    continue;
                }
                Err(e) => return Err(failed(e)),
            };
            if place.stat().map_err(failed)?.is_some() {
                set_time(&place, *mtime).map_err(failed)?;
            }
        }
        Ok(())
    }
}

fn whiteout(place: &Place<'_>) -> io::Result<()> {
    match place.stat()? {
        None => Ok(make_node(place, FileType::CharacterDevice, 0, 0).map(drop)?),
        // What this layer itself has is not meant, only what lies below it.
        Some(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
            set_opaque(place.open(OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?.as_fd())
        }
        Some(_) => Ok(()),
    }
}

fn set_opaque(dir: std::os::fd::BorrowedFd<'_>) -> io::Result<()> {
    // The descriptor may be O_PATH, which fsetxattr(2) refuses.
    Ok(rustix::fs::setxattr(beneath::fd_path(dir), OPAQUE_XATTR, b"y", XattrFlags::empty())?)
}

fn make_node(place: &Place<'_>, kind: FileType, major: u32, minor: u32) -> io::Result<Option<OwnedFd>> {
    let device = rustix::fs::makedev(major, minor);
    rustix::fs::mknodat(&place.dir, place.name, kind, Mode::RUSR | Mode::WUSR, device)?;
    Ok(None)
}

fn set_attributes(place: &Place<'_>, entry: &Entry, file: Option<OwnedFd>) -> io::Result<()> {
    set_owner(place, entry.uid, entry.gid)?;
    if entry.kind != Kind::Symlink {
        // After the owner: chown(2) clears set-uid and file capabilities.
        rustix::fs::chmodat(&place.dir, place.name, Mode::from_raw_mode(entry.mode), AtFlags::empty())?;
    }
    if let Some(file) = file {
        for (name, value) in entry.xattrs.iter().filter(|(name, _)| wanted_xattr(name)) {
            match rustix::fs::fsetxattr(&file, name.as_str(), value, XattrFlags::empty()) {
                Err(Errno::NOTSUP) => {
                    tracing::debug!(path = ?entry.path, name, "the file system keeps no such attribute")
                }
                other => other?,
            }
        }
    }
    if entry.kind == Kind::Directory {
        return Ok(());
    }
    set_time(place, entry.mtime)
}

/// Only what images have a use for: `trusted.*` would steer overlayfs itself, labels belong to the host.
fn wanted_xattr(name: &str) -> bool {
    name.starts_with("user.") || name == "security.capability"
}

fn set_owner(place: &Place<'_>, uid: u32, gid: u32) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    Ok(rustix::fs::chownat(&place.dir, place.name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?)
}

fn set_time(place: &Place<'_>, (seconds, nanos): (i64, u32)) -> io::Result<()> {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanos.into() };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(rustix::fs::utimensat(&place.dir, place.name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// A reader that fails, instead of ending, after a number of bytes.
struct Limited<R> {
    inner: R,
    left_bytes: u64,
    limit_bytes: u64,
}

trait TakeLimited: Read + Sized {
    fn take_limited(self, limit_bytes: u64) -> Limited<Self> {
        Limited { inner: self, left_bytes: limit_bytes, limit_bytes }
    }
}

impl<R: Read> TakeLimited for R {}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.left_bytes = self.left_bytes.checked_sub(n as u64).ok_or_else(|| {
            let limit = self.limit_bytes;
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("layer exceeds the limit of {limit} bytes unpacked"),
            )
        })?;
        Ok(n)
    }
}

#[cfg(test)]
#[path = "layer/privileged.rs"]
mod privileged;
