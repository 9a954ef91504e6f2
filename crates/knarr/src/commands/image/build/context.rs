//! The folder of a build as an archive, without what `.dockerignore` leaves out.
//!
//! Links are sent as links: nothing outside the folder is read. Owners are dropped, as in Docker.

use std::fs::{File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use dockerfile::Ignore;
use futures::Stream;

const FILE_COUNT_LIMIT: u64 = 500_000;
const SIZE_LIMIT_BYTES: u64 = 16 << 30;
const DEPTH_LIMIT: usize = 256;
const CHUNK_BYTES: usize = 128 << 10;

/// The archive, made on a thread of its own while it is sent.
pub fn archive(folder: Option<PathBuf>, ignore: Ignore) -> impl Stream<Item = io::Result<Bytes>> + Send {
    let (sender, receiver) = tokio::sync::mpsc::channel(8);
    drop(tokio::task::spawn_blocking(move || {
        let mut packer = Packer {
            tar: tar::Builder::new(io::BufWriter::with_capacity(CHUNK_BYTES, Chunks(sender.clone()))),
            ignore,
            files: 0,
            bytes: 0,
        };
        let packed = folder.map_or(Ok(()), |folder| packer.folder(&folder, Path::new("")));
        let ended = packed.and_then(|()| packer.tar.into_inner()?.flush());
        if let Err(error) = ended {
            // The other end is gone where nobody takes it.
            let _ = sender.blocking_send(Err(error));
        }
    }));
    futures::stream::unfold(receiver, |mut receiver| async {
        let chunk = receiver.recv().await?;
        Some((chunk, receiver))
    })
}

struct Chunks(tokio::sync::mpsc::Sender<io::Result<Bytes>>);

impl Write for Chunks {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(buf)));
        sent.map(|()| buf.len()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Packer<W: Write> {
    tar: tar::Builder<W>,
    ignore: Ignore,
    files: u64,
    bytes: u64,
}

impl<W: Write> Packer<W> {
    fn folder(&mut self, folder: &Path, path: &Path) -> io::Result<()> {
        if path.iter().count() > DEPTH_LIMIT {
            return Err(refused(path, "folders are nested too deeply"));
        }
        let mut names: Vec<_> =
            std::fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>()?;
        names.sort();
        for name in names {
            let (whole, path) = (folder.join(&name), path.join(&name));
            let ignored = self.ignore.ignores(&path.to_string_lossy());
            let metadata = std::fs::symlink_metadata(&whole).map_err(|error| at(&path, &error))?;
            if metadata.is_dir() && (!ignored || self.ignore.has_exceptions()) {
                if !ignored {
                    self.entry(&whole, &path, &metadata)?;
                }
                self.folder(&whole, &path)?;
            } else if !ignored {
                self.entry(&whole, &path, &metadata).map_err(|error| at(&path, &error))?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, whole: &Path, path: &Path, metadata: &Metadata) -> io::Result<()> {
        self.files += 1;
        self.bytes += metadata.len();
        if self.files > FILE_COUNT_LIMIT || self.bytes > SIZE_LIMIT_BYTES {
            return Err(refused(path, "the build context is too large: leave files out by .dockerignore"));
        }
        if path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".wh.")) {
            return Err(refused(path, "an image cannot hold a file of that name"));
        }
        let mut header = tar::Header::new_gnu();
        header.set_mode(metadata.mode() & 0o7777);
        header.set_mtime(u64::try_from(metadata.mtime()).unwrap_or(0));
        header.set_size(0);
        let kind = metadata.file_type();
        if kind.is_dir() {
            header.set_entry_type(tar::EntryType::Directory);
            self.tar.append_data(&mut header, path, io::empty())
        } else if kind.is_symlink() {
            header.set_entry_type(tar::EntryType::Symlink);
            self.tar.append_link(&mut header, path, std::fs::read_link(whole)?)
        } else if kind.is_file() {
            let file = File::options()
                .read(true)
                .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32)
                .open(whole)?;
            // The file may grow or shrink meanwhile.
            let size = file.metadata()?.len();
            header.set_size(size);
            header.set_entry_type(tar::EntryType::Regular);
            let mut content = io::Read::take(&file, size);
            self.tar.append_data(&mut header, path, &mut content)?;
            if content.limit() > 0 { Err(refused(path, "the file shrank while it was read")) } else { Ok(()) }
        } else {
            // As Docker, sockets and devices are left out.
            Ok(())
        }
    }
}

fn refused(path: &Path, why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{}: {why}", path.display()))
}

fn at(path: &Path, error: &io::Error) -> io::Error {
    let text = error.to_string();
    let shown = path.display().to_string();
    io::Error::new(error.kind(), if text.starts_with(&shown) { text } else { format!("{shown}: {text}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path, ignore: &str) -> io::Result<Vec<String>> {
        let ignore = Ignore::parse(ignore).expect("patterns");
        let mut packer = Packer { tar: tar::Builder::new(Vec::new()), ignore, files: 0, bytes: 0 };
        packer.folder(folder, Path::new(""))?;
        let bytes = packer.tar.into_inner()?;
        let mut archive = tar::Archive::new(bytes.as_slice());
        archive.entries()?.map(|entry| Ok(entry?.path()?.display().to_string())).collect()
    }

    #[test]
    fn links_stay_links_and_the_ignored_is_left_out() -> io::Result<()> {
        let dir = tempfile::tempdir()?;
        let write = |name: &str| std::fs::write(dir.path().join(name), "x");
        std::fs::create_dir_all(dir.path().join("a/b"))?;
        write("a/one")?;
        write("a/b/two")?;
        write("three")?;
        std::os::unix::fs::symlink("/etc/shadow", dir.path().join("link"))?;
        assert_eq!(names(dir.path(), "")?, ["a", "a/b", "a/b/two", "a/one", "link", "three"]);
        assert_eq!(names(dir.path(), "a\n!a/b/two\nlink")?, ["a/b/two", "three"]);
        write(".wh.x")?;
        let error = names(dir.path(), "").expect_err("refused").to_string();
        assert_eq!(error, ".wh.x: an image cannot hold a file of that name");
        Ok(())
    }
}
