//! Where the files of a new layer go: into an archive, or into a digest that ignores times.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::digest::{Digest, Hasher};

/// What a file of a layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What<'a> {
    File {
        size_bytes: u64,
    },
    Folder,
    Link(&'a Path),
    /// Another name of a file that came before.
    Same(&'a Path),
    Device {
        character: bool,
        major: u32,
        minor: u32,
    },
    Fifo,
}

/// A file's attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Seconds since 1970.
    pub mtime_s: u64,
    pub xattrs: BTreeMap<String, Vec<u8>>,
}

pub trait Sink {
    /// Takes one file; `content` has as many bytes as `what` says.
    fn file(
        &mut self,
        path: &Path,
        what: What<'_>,
        attributes: &Attributes,
        content: &mut dyn Read,
    ) -> io::Result<()>;
}

/// Writes a layer's archive.
pub struct Archive<W: Write> {
    tar: tar::Builder<W>,
    /// No time is later than this.
    latest_s: Option<u64>,
    entries: u64,
    limit: u64,
}

impl<W: Write> Archive<W> {
    pub fn new(out: W, latest_s: Option<u64>, limit: u64) -> Self {
        Self { tar: tar::Builder::new(out), latest_s, entries: 0, limit }
    }

    /// Ends the archive; the number of its entries.
    pub fn finish(self) -> io::Result<u64> {
        let entries = self.entries;
        if entries > 0 {
            self.tar.into_inner()?.flush()?;
        }
        Ok(entries)
    }

    /// Says that `path` of the layers below is gone.
    pub fn whiteout(&mut self, path: &Path, attributes: &Attributes) -> io::Result<()> {
        let mut name = std::ffi::OsString::from(".wh.");
        name.push(path.file_name().unwrap_or_default());
        self.write(&path.with_file_name(name), What::File { size_bytes: 0 }, attributes, &mut io::empty())
    }

    /// Says that nothing of the layers below is in the folder `path`.
    pub fn opaque(&mut self, path: &Path, attributes: &Attributes) -> io::Result<()> {
        self.write(&path.join(".wh..wh..opq"), What::File { size_bytes: 0 }, attributes, &mut io::empty())
    }

    fn write(
        &mut self,
        path: &Path,
        what: What<'_>,
        attributes: &Attributes,
        content: &mut dyn Read,
    ) -> io::Result<()> {
        self.entries += 1;
        if self.entries > self.limit {
            return Err(invalid(format!("the layer has more than {} files", self.limit)));
        }
        let records = attributes.xattrs.iter().map(|(name, value)| (format!("SCHILY.xattr.{name}"), value));
        let records: Vec<_> = records.collect();
        if !records.is_empty() {
            self.tar.append_pax_extensions(
                records.iter().map(|(name, value)| (name.as_str(), value.as_slice())),
            )?;
        }
        let mut header = tar::Header::new_gnu();
        header.set_mode(attributes.mode & 0o7777);
        header.set_uid(attributes.uid.into());
        header.set_gid(attributes.gid.into());
        header.set_mtime(self.latest_s.map_or(attributes.mtime_s, |latest| latest.min(attributes.mtime_s)));
        header.set_size(0);
        match what {
            What::File { size_bytes } => {
                header.set_entry_type(tar::EntryType::Regular);
                header.set_size(size_bytes);
                return self.tar.append_data(
                    &mut header,
                    path,
                    Exactly { inner: content, left_bytes: size_bytes },
                );
            }
            What::Folder => header.set_entry_type(tar::EntryType::Directory),
            What::Link(target) => {
                header.set_entry_type(tar::EntryType::Symlink);
                return self.tar.append_link(&mut header, path, target);
            }
            What::Same(target) => {
                header.set_entry_type(tar::EntryType::Link);
                return self.tar.append_link(&mut header, path, target);
            }
            What::Device { character, major, minor } => {
                header.set_entry_type(if character { tar::EntryType::Char } else { tar::EntryType::Block });
                header.set_device_major(major)?;
                header.set_device_minor(minor)?;
            }
            What::Fifo => header.set_entry_type(tar::EntryType::Fifo),
        }
        self.tar.append_data(&mut header, path, io::empty())
    }
}

impl<W: Write> Sink for Archive<W> {
    fn file(
        &mut self,
        path: &Path,
        what: What<'_>,
        attributes: &Attributes,
        content: &mut dyn Read,
    ) -> io::Result<()> {
        if path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".wh.")) {
            return Err(invalid(format!("{path:?}: an image cannot hold a file of that name")));
        }
        self.write(path, what, attributes, content)
    }
}

/// A digest of names, attributes and contents.
#[derive(Default)]
pub struct Content {
    hasher: Hasher,
}

impl Content {
    pub fn finish(self) -> Digest {
        self.hasher.finish()
    }

    fn part(&mut self, bytes: &[u8]) {
        self.hasher.update(&(bytes.len() as u64).to_le_bytes());
        self.hasher.update(bytes);
    }
}

impl Sink for Content {
    fn file(
        &mut self,
        path: &Path,
        what: What<'_>,
        attributes: &Attributes,
        content: &mut dyn Read,
    ) -> io::Result<()> {
        self.part(path.as_os_str().as_encoded_bytes());
        self.part(format!("{what:?} {:o} {} {}", attributes.mode, attributes.uid, attributes.gid).as_bytes());
        for (name, value) in &attributes.xattrs {
            self.part(name.as_bytes());
            self.part(value);
        }
        let mut buffer = vec![0; 64 << 10];
        loop {
            match content.read(&mut buffer)? {
                0 => return Ok(()),
                count => self.hasher.update(&buffer[..count]),
            }
        }
    }
}

/// A reader that fails where there is less than expected, and ends where there is more.
struct Exactly<'a> {
    inner: &'a mut dyn Read,
    left_bytes: u64,
}

impl Read for Exactly<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left_bytes).unwrap_or(usize::MAX).min(buf.len());
        let count = self.inner.read(&mut buf[..most])?;
        if count == 0 && most > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left_bytes -= count as u64;
        Ok(count)
    }
}

pub fn invalid(text: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text.into())
}

/// The parents of `path`, outermost first, without the root.
pub fn parents(path: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = path.ancestors().skip(1).map(Path::to_owned).collect();
    all.retain(|path| !path.as_os_str().is_empty());
    all.reverse();
    all
}
