//! Sends a log to a reader, and, if requested, follows what is written to the log from then on.
//!
//! Following goes on across rotation: when another file stands under the log's name, the old one is
//! read to its end first. Following ends when the container has ended and everything is read.

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use nix::sys::inotify::AddWatchFlags;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio::sync::mpsc;

use super::line::{self, Stream};
use super::options::{LogOptions, Streams};
use super::tail;
use super::watch::FolderWatch;

const CHUNK: usize = 64 << 10;
/// A line that never ends is no line of a runtime's; it is dropped.
const MAX_LINE: usize = 1 << 20;
/// After the log is closed the runtime may need a moment to know that the container has ended.
const SETTLE: [u64; 6] = [0, 20, 50, 200, 1000, 4000];

/// Whether the container runs.
pub trait Liveness: Send + Sync {
    /// As the runtime sees it now.
    fn is_running(&self) -> impl Future<Output = bool> + Send;
}

/// Sends the log at `path` to `sink` in pieces, until its end (or the container's, when following), the
/// limit, or until nobody receives any more.
///
/// # Errors
/// When the log cannot be read.
pub async fn stream(
    path: &Path,
    options: &LogOptions,
    liveness: &impl Liveness,
    sink: mpsc::Sender<Bytes>,
) -> io::Result<()> {
    // The watch stands before the first read, so that nothing is missed in between.
    let watch = if options.follow { Some(watch_folder(path)?) } else { None };
    let (mut file, there) = open_at_start(path, options).await?;
    let mut out = Output::new(options, sink);
    let Some(watch) = watch else {
        // What stood there when the reader asked: a log that grows faster than it is read has no end.
        return match out.copy(&mut file, there).await? {
            Flow::Break(()) => Ok(()),
            Flow::Continue(()) => out.finish().await,
        };
    };
    let mut ended = !liveness.is_running().await;
    loop {
        if out.copy(&mut file, u64::MAX).await?.is_break() {
            return Ok(());
        }
        if let Some(next) = replaced(path, &file).await? {
            // What came between the last read and the rename still stands in the old file.
            if out.copy(&mut file, u64::MAX).await?.is_break() {
                return Ok(());
            }
            file = next;
            continue;
        }
        if ended {
            return out.finish().await;
        }
        if !out.flush().await {
            return Ok(());
        }
        let closed = tokio::select! {
            closed = next_change(&watch, path) => closed?,
            () = out.sink.closed() => return Ok(()),
        };
        if closed && replaced(path, &file).await?.is_none() {
            ended = has_ended(liveness).await;
        }
    }
}

async fn has_ended(liveness: &impl Liveness) -> bool {
    for wait_ms in SETTLE {
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        if !liveness.is_running().await {
            return true;
        }
    }
    false
}

fn watch_folder(path: &Path) -> io::Result<FolderWatch> {
    let watch = FolderWatch::new()?;
    let mask = AddWatchFlags::IN_MODIFY
        | AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_MOVED_TO
        | AddWatchFlags::IN_CLOSE_WRITE
        | AddWatchFlags::IN_DELETE;
    watch.add(path.parent().unwrap_or(path), mask)?;
    Ok(watch)
}

/// Waits for a change of the log; whether it was closed or deleted.
async fn next_change(watch: &FolderWatch, path: &Path) -> io::Result<bool> {
    loop {
        let events = watch.next().await?;
        let ours = |e: &&super::watch::Event| {
            // A rotated log keeps its writer until that opens the new one.
            let name = e.name.as_deref().map(std::ffi::OsStr::as_encoded_bytes);
            name.zip(path.file_name()).is_none_or(|(n, p)| n.starts_with(p.as_encoded_bytes()))
        };
        let end = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_IGNORED
            | AddWatchFlags::IN_Q_OVERFLOW;
        let ours: Vec<_> = events.iter().filter(ours).collect();
        if !ours.is_empty() {
            return Ok(ours.iter().any(|e| e.mask.intersects(end)));
        }
    }
}

/// The log where reading begins, and how much stands there from here on.
async fn open_at_start(path: &Path, options: &LogOptions) -> io::Result<(File, u64)> {
    let mut file = File::open(path).await?;
    let len = file.metadata().await?.len();
    let Some(lines) = options.tail_lines else { return Ok((file, len)) };
    let mut blocking = file.try_clone().await?.into_std().await;
    let start = tokio::task::spawn_blocking(move || tail::offset_of_last(&mut blocking, lines, len)).await;
    let start = start.map_err(io::Error::other)??;
    file.seek(SeekFrom::Start(start)).await?;
    Ok((file, len - start))
}

/// The file that stands under the log's name now, if it is another one.
async fn replaced(path: &Path, file: &File) -> io::Result<Option<File>> {
    let identity = |m: &std::fs::Metadata| (m.dev(), m.ino());
    let there = match tokio::fs::metadata(path).await {
        Ok(meta) => meta,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    if identity(&there) == identity(&file.metadata().await?) {
        return Ok(None);
    }
    match File::open(path).await {
        Ok(file) => Ok(Some(file)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

type Flow = std::ops::ControlFlow<()>;

/// Turns raw lines into what the reader asked for.
struct Output<'a> {
    options: &'a LogOptions,
    sink: mpsc::Sender<Bytes>,
    /// Read, but not yet a whole line.
    rest: Vec<u8>,
    ready: Vec<u8>,
    /// What the reader may still get, in bytes.
    left: u64,
    at_line_start: bool,
}

impl<'a> Output<'a> {
    fn new(options: &'a LogOptions, sink: mpsc::Sender<Bytes>) -> Self {
        let left = options.limit_bytes.unwrap_or(u64::MAX);
        Self { options, sink, rest: Vec::new(), ready: Vec::new(), left, at_line_start: true }
    }

    /// Copies to the file's present end, `most` bytes of it; breaks when the reader has enough.
    async fn copy(&mut self, file: &mut File, most: u64) -> io::Result<Flow> {
        let mut chunk = vec![0u8; CHUNK];
        let mut left = most;
        loop {
            let size = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
            let read = file.read(&mut chunk[..size]).await?;
            if read == 0 {
                return Ok(Flow::Continue(()));
            }
            left -= read as u64;
            self.rest.extend_from_slice(&chunk[..read]);
            let whole = std::mem::take(&mut self.rest);
            let mut from = 0;
            while let Some(length) = whole[from..].iter().position(|b| *b == b'\n') {
                self.line(&whole[from..from + length]);
                from += length + 1;
            }
            if whole.len() - from <= MAX_LINE {
                self.rest.extend_from_slice(&whole[from..]);
            }
            let enough = self.left == 0;
            if enough || self.ready.len() >= CHUNK / 2 {
                let there = self.flush().await;
                if enough || !there {
                    return Ok(Flow::Break(()));
                }
            }
        }
    }

    fn line(&mut self, raw: &[u8]) {
        let Some(line) = line::parse(raw) else { return };
        let wanted = match self.options.streams {
            Streams::All => true,
            Streams::Stdout => line.stream == Stream::Stdout,
            Streams::Stderr => line.stream == Stream::Stderr,
        };
        let early = self.options.since.is_some_and(|since| line.timestamp().is_some_and(|t| t < since));
        if !wanted || early {
            return;
        }
        if self.options.timestamps && self.at_line_start {
            self.push(line.time.as_bytes());
            self.push(b" ");
        }
        self.push(line.text);
        if !line.partial {
            self.push(b"\n");
        }
        self.at_line_start = !line.partial;
    }

    fn push(&mut self, bytes: &[u8]) {
        let take = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        self.ready.extend_from_slice(&bytes[..take]);
        self.left -= take as u64;
    }

    /// Whether the reader is still there.
    async fn flush(&mut self) -> bool {
        if self.ready.is_empty() {
            return true;
        }
        let piece = Bytes::from(std::mem::take(&mut self.ready));
        self.sink.send(piece).await.is_ok()
    }

    async fn finish(&mut self) -> io::Result<()> {
        let last = std::mem::take(&mut self.rest);
        self.line(&last);
        self.flush().await;
        Ok(())
    }
}

/// The log files of one container in the order of their attempts: for tests and rotation.
pub(super) fn attempts(folder: &Path) -> io::Result<VecDeque<PathBuf>> {
    let mut found: Vec<(u64, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let number = path.file_name().and_then(|n| n.to_str()).and_then(|n| n.strip_suffix(".log"));
        if let Some(number) = number.and_then(|n| n.parse().ok()) {
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
