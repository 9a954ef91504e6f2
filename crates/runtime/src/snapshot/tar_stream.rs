//! Reading tar archives from strangers, one entry at a time, in bounded memory.
//!
//! Owns the framing: headers and their checksums, GNU long names, PAX records (with binary
//! values), sizes over 8 GiB. Headers are decoded by the `tar` crate; its own iterator is not
//! used because it reads long names and PAX records of any size into memory. Never opens a file.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use tar::{EntryType, Header};

const BLOCK_BYTES: u64 = 512;
/// A long name or a set of PAX records (extended attributes included); Linux caps an attribute at 64 KiB.
const EXTENSION_LIMIT_BYTES: u64 = 1 << 20;
const XATTR_PREFIX: &str = "SCHILY.xattr.";

/// What kind of file an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    File,
    Directory,
    Symlink,
    HardLink,
    Fifo,
    CharDevice { major: u32, minor: u32 },
    BlockDevice { major: u32, minor: u32 },
}

/// One entry's metadata; its content is read from the [`TarStream`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The path as written in the archive: not cleaned, possibly absolute or with `..`.
    pub path: PathBuf,
    /// The target of a symbolic or hard link as written in the archive.
    pub link: PathBuf,
    pub kind: Kind,
    /// Permission bits with set-uid, set-gid and sticky.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Modification time: seconds since 1970 and nanoseconds (0..1e9).
    pub mtime: (i64, u32),
    pub size_bytes: u64,
    /// Extended attributes by name.
    pub xattrs: BTreeMap<String, Vec<u8>>,
}

/// A tar archive being read; implements [`Read`] for the current entry's content.
pub struct TarStream<R> {
    inner: R,
    /// Bytes of the current entry's content not read yet.
    content_bytes: u64,
    /// Bytes that fill the current entry's last block.
    padding_bytes: u64,
}

#[derive(Default)]
struct Extensions {
    long_path: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
    pax: BTreeMap<String, Vec<u8>>,
}

impl<R: Read> TarStream<R> {
    pub fn new(inner: R) -> Self {
        Self { inner, content_bytes: 0, padding_bytes: 0 }
    }

    /// The underlying reader, at its current position.
    pub fn into_inner(self) -> R {
        self.inner
    }

    /// The next entry, or nothing at the archive's end. Unread content of the current one is skipped.
    ///
    /// Errors: `UnexpectedEof` where the archive is cut off, `InvalidData` where it is malformed.
    pub fn next_entry(&mut self) -> io::Result<Option<Entry>> {
        let mut extensions = Extensions::default();
        loop {
            self.skip_rest()?;
            let Some(header) = self.read_header()? else { return Ok(None) };
            let kind = header.entry_type();
            self.set_content(header.entry_size().map_err(malformed)?)?;
            match kind {
                EntryType::GNULongName => extensions.long_path = Some(self.read_name()?),
                EntryType::GNULongLink => extensions.long_link = Some(self.read_name()?),
                EntryType::XHeader => parse_pax(&self.read_extension()?, &mut extensions.pax)?,
                // Global records carry comments (git archive); nothing of them concerns one file.
                EntryType::XGlobalHeader => drop(self.read_extension()?),
                _ => return self.entry(&header, extensions).map(Some),
            }
        }
    }

    fn entry(&mut self, header: &Header, mut extensions: Extensions) -> io::Result<Entry> {
        let pax = &mut extensions.pax;
        if pax.keys().any(|key| key.starts_with("GNU.sparse.")) {
            return Err(invalid("sparse files are not supported"));
        }
        if let Some(size) = pax_number(pax, "size")? {
            self.set_content(size)?;
        }
        let device = || -> io::Result<(u32, u32)> {
            Ok((header.device_major()?.unwrap_or(0), header.device_minor()?.unwrap_or(0)))
        };
        let path =
            pax.remove("path").or(extensions.long_path).unwrap_or_else(|| header.path_bytes().into_owned());
        let kind = match header.entry_type() {
            EntryType::Regular | EntryType::Continuous if path.ends_with(b"/") => Kind::Directory,
            EntryType::Regular | EntryType::Continuous => Kind::File,
            EntryType::Directory => Kind::Directory,
            EntryType::Symlink => Kind::Symlink,
            EntryType::Link => Kind::HardLink,
            EntryType::Fifo => Kind::Fifo,
            EntryType::Char => device().map(|(major, minor)| Kind::CharDevice { major, minor })?,
            EntryType::Block => device().map(|(major, minor)| Kind::BlockDevice { major, minor })?,
            other => return Err(invalid(&format!("unsupported entry type {:?}", other.as_byte() as char))),
        };
        if kind != Kind::File {
            // Some writers give links and directories a size; no content follows (Go's archive/tar, POSIX ustar).
            self.set_content(0)?;
        }
        let link = pax.remove("linkpath").or(extensions.long_link);
        let link = link.or_else(|| header.link_name_bytes().map(|l| l.into_owned())).unwrap_or_default();
        let mtime = match pax.remove("mtime") {
            Some(text) => parse_time(&text)?,
            None => (i64::try_from(number(&header.as_old().mtime, header.mtime())?).unwrap_or(0), 0),
        };
        Ok(Entry {
            path: bytes_to_path(path)?,
            link: bytes_to_path(link)?,
            kind,
            mode: number(&header.as_old().mode, header.mode())? & 0o7777,
            uid: id(pax_number(pax, "uid")?, number(&header.as_old().uid, header.uid()))?,
            gid: id(pax_number(pax, "gid")?, number(&header.as_old().gid, header.gid()))?,
            mtime,
            size_bytes: self.content_bytes,
            xattrs: extensions
                .pax
                .into_iter()
                .filter_map(|(key, value)| Some((key.strip_prefix(XATTR_PREFIX)?.to_owned(), value)))
                .collect(),
        })
    }

    fn read_header(&mut self) -> io::Result<Option<Header>> {
        let mut header = Header::new_old();
        let block = header.as_mut_bytes();
        let n = read_full(&mut self.inner, block)?;
        // An archive ends with two zero blocks; ending without them is accepted as other tools do.
        if n == 0 || block.iter().all(|b| *b == 0) {
            return Ok(None);
        }
        if n < block.len() {
            return Err(cut_off());
        }
        let sum: u32 = block
            .iter()
            .enumerate()
            .map(|(i, b)| if (148..156).contains(&i) { 32 } else { u32::from(*b) })
            .sum();
        if header.cksum().map_err(malformed)? != sum {
            return Err(invalid("invalid tar header"));
        }
        Ok(Some(header))
    }

    fn set_content(&mut self, size_bytes: u64) -> io::Result<()> {
        // Larger numbers cannot be real and would overflow positions.
        if size_bytes > 1 << 60 {
            return Err(invalid("entry size is out of range"));
        }
        self.content_bytes = size_bytes;
        self.padding_bytes = (BLOCK_BYTES - size_bytes % BLOCK_BYTES) % BLOCK_BYTES;
        Ok(())
    }

    fn skip_rest(&mut self) -> io::Result<()> {
        let rest = self.content_bytes + self.padding_bytes;
        if io::copy(&mut (&mut self.inner).take(rest), &mut io::sink())? < rest {
            return Err(cut_off());
        }
        (self.content_bytes, self.padding_bytes) = (0, 0);
        Ok(())
    }

    fn read_extension(&mut self) -> io::Result<Vec<u8>> {
        if self.content_bytes > EXTENSION_LIMIT_BYTES {
            return Err(invalid("a long name or PAX record exceeds 1 MiB"));
        }
        let want = self.content_bytes;
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes)?;
        if (bytes.len() as u64) < want {
            return Err(cut_off());
        }
        Ok(bytes)
    }

    fn read_name(&mut self) -> io::Result<Vec<u8>> {
        let mut name = self.read_extension()?;
        if let Some(end) = name.iter().position(|b| *b == 0) {
            name.truncate(end);
        }
        Ok(name)
    }
}

impl<R: Read> Read for TarStream<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let limit = usize::try_from(self.content_bytes).unwrap_or(usize::MAX).min(buf.len());
        let n = self.inner.read(&mut buf[..limit])?;
        if n == 0 && limit > 0 {
            return Err(cut_off());
        }
        self.content_bytes -= n as u64;
        Ok(n)
    }
}

/// Records are `LENGTH KEY=VALUE\n`, the length counting itself (POSIX pax).
fn parse_pax(mut bytes: &[u8], into: &mut BTreeMap<String, Vec<u8>>) -> io::Result<()> {
    while !bytes.is_empty() {
        let broken = || invalid("malformed PAX record");
        let space = bytes.iter().take(20).position(|b| *b == b' ').ok_or_else(broken)?;
        let length: usize = parse_ascii(&bytes[..space]).ok_or_else(broken)?;
        if length > bytes.len() || length < space + 2 || bytes[length - 1] != b'\n' {
            return Err(broken());
        }
        let record = &bytes[space + 1..length - 1];
        let equals = record.iter().position(|b| *b == b'=').ok_or_else(broken)?;
        let key = std::str::from_utf8(&record[..equals]).map_err(|_| broken())?;
        into.insert(key.to_owned(), record[equals + 1..].to_vec());
        bytes = &bytes[length..];
    }
    Ok(())
}

fn parse_ascii<T: std::str::FromStr>(bytes: &[u8]) -> Option<T> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

fn pax_number(pax: &BTreeMap<String, Vec<u8>>, key: &str) -> io::Result<Option<u64>> {
    match pax.get(key) {
        None => Ok(None),
        Some(text) => parse_ascii(text).map(Some).ok_or_else(|| invalid("malformed number in a PAX record")),
    }
}

fn parse_time(text: &[u8]) -> io::Result<(i64, u32)> {
    let broken = || invalid("malformed time in a PAX record");
    let text = std::str::from_utf8(text).map_err(|_| broken())?;
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    Ok((seconds.parse().map_err(|_| broken())?, digits.parse().map_err(|_| broken())?))
}

/// A numeric header field; an empty one is zero, as Go's archive/tar reads it.
fn number<T: Default>(field: &[u8], value: io::Result<T>) -> io::Result<T> {
    match value {
        Err(_) if field.iter().all(|b| matches!(b, 0 | b' ')) => Ok(T::default()),
        other => other.map_err(malformed),
    }
}

fn id(pax: Option<u64>, header: io::Result<u64>) -> io::Result<u32> {
    let id = match pax {
        Some(id) => id,
        None => header?,
    };
    // All ones means "unchanged" to chown(2).
    u32::try_from(id).ok().filter(|id| *id != u32::MAX).ok_or_else(|| invalid("owner id is out of range"))
}

fn bytes_to_path(bytes: Vec<u8>) -> io::Result<PathBuf> {
    if bytes.contains(&0) {
        return Err(invalid("a name contains a zero byte"));
    }
    Ok(PathBuf::from(OsString::from_vec(bytes)))
}

fn read_full(reader: &mut impl Read, buf: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buf.len() {
        match reader.read(&mut buf[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

/// Without the cause: the `tar` crate quotes the whole header, which is anything but text.
fn malformed(_: io::Error) -> io::Error {
    invalid("invalid tar header")
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("archive/tar: {what}"))
}

fn cut_off() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "archive/tar: the archive is cut off")
}

#[cfg(test)]
mod tests;
