//! `/logs/`: the files below `/var/log` of the machine, and, where it is enabled, logs of services by query.
//!
//! Whoever may write below that folder (a pod with a volume of the host) could lay links to any file there: the kernel
//! resolves paths beneath the folder, and a link that leads out of it finds nothing.

mod journal;
mod request;

use std::fmt::Write;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustix::fs::{CWD, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::answer::{self, Body};
use super::{ServerDeps, query};
use request::Query;

/// Names in a listing; the rest of a larger folder is left out.
const MAX_NAMES: usize = 10_000;
const PIECE_BYTES: usize = 64 << 10;
/// Pieces that may wait for a slow reader.
const QUEUE: usize = 4;
/// What needs no escape in a link.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// Which logs of the machine are shown.
#[derive(Debug, Clone)]
pub struct SystemLogs {
    /// `/var/log`, but in tests.
    pub folder: PathBuf,
    /// Upstream's `enableSystemLogHandler`.
    pub files: bool,
    /// Upstream's `enableSystemLogQuery`.
    pub queries: bool,
}

/// Answers a request for `path` below the folder; `is_folder` says whether it ended in a slash.
pub async fn answer(
    deps: &ServerDeps,
    path: &[&str],
    is_folder: bool,
    raw_query: Option<&str>,
) -> Response<Body> {
    if !deps.system_logs.files {
        return answer::text(StatusCode::METHOD_NOT_ALLOWED, "logs endpoint is disabled.");
    }
    let path: PathBuf = path.iter().filter(|part| !part.is_empty()).collect();
    if !deps.system_logs.queries {
        return file(deps, path, is_folder).await;
    }
    let query = match Query::parse(&query::pairs(raw_query)) {
        Ok(Some(query)) => query,
        Ok(None) => return file(deps, path, is_folder).await,
        Err(why) => return answer::text(StatusCode::BAD_REQUEST, why),
    };
    if path != Path::new("") {
        return answer::text(StatusCode::NOT_ACCEPTABLE, "path not allowed in query mode");
    }
    if let Err(why) = query.check(&deps.system_logs.folder) {
        return answer::text(StatusCode::NOT_ACCEPTABLE, why);
    }
    match query.files.first() {
        Some(name) => file(deps, name.trim_start_matches('/').into(), name.ends_with('/')).await,
        None => journal::answer(&deps.system_logs.folder, &query).await,
    }
}

/// What is at a path.
enum Found {
    /// A page that names what is in the folder.
    Folder(String),
    /// A folder, asked for as if it were none.
    Elsewhere(String),
    File(File, u64),
}

async fn file(deps: &ServerDeps, path: PathBuf, is_folder: bool) -> Response<Body> {
    let root = deps.system_logs.folder.clone();
    let looked = tokio::task::spawn_blocking(move || look(&root, &path, is_folder)).await;
    match looked.unwrap_or_else(|error| Err(io::Error::other(error))) {
        Ok(Found::Folder(page)) => answer::with_type(StatusCode::OK, "text/html; charset=utf-8", page),
        Ok(Found::Elsewhere(place)) => {
            let mut response = answer::text(StatusCode::MOVED_PERMANENTLY, "");
            if let Ok(place) = HeaderValue::from_str(&place) {
                response.headers_mut().insert(header::LOCATION, place);
            }
            response
        }
        Ok(Found::File(file, length)) => content(deps, file, length),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            answer::text(StatusCode::NOT_FOUND, "404 page not found")
        }
        Err(error) => {
            tracing::debug!(%error, "a log of the machine cannot be read");
            answer::text(StatusCode::INTERNAL_SERVER_ERROR, "500 Internal Server Error")
        }
    }
}

/// Opens what is at `path` beneath `root`; waits for nothing, whatever kind of file it is.
///
/// # Errors
/// `NotFound` for what is not there, leads elsewhere, or is neither file nor folder.
fn open(root: &Path, path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let root = rustix::fs::openat(CWD, root, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let path = if path == Path::new("") { Path::new(".") } else { path };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(&root, path, flags, Mode::empty(), resolve) {
        Ok(found) => Ok(found.into()),
        Err(Errno::NOTDIR | Errno::LOOP | Errno::XDEV | Errno::NXIO) => {
            Err(io::Error::from(io::ErrorKind::NotFound))
        }
        Err(error) => Err(error.into()),
    }
}

fn look(root: &Path, path: &Path, is_folder: bool) -> io::Result<Found> {
    let found = open(root, path)?;
    let meta = found.metadata()?;
    if meta.is_file() {
        return if is_folder {
            Err(io::Error::from(io::ErrorKind::NotFound))
        } else {
            Ok(Found::File(found, meta.len()))
        };
    }
    if !meta.is_dir() {
        return Err(io::Error::from(io::ErrorKind::NotFound));
    }
    match path.file_name().and_then(|name| name.to_str()).filter(|_| !is_folder) {
        Some(name) => Ok(Found::Elsewhere(format!("{}/", link(name)))),
        None => Ok(Found::Folder(page(&found)?)),
    }
}

/// The page that names what is in a folder, as Go's file server writes it.
fn page(folder: &File) -> io::Result<String> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)?.take(MAX_NAMES) {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let slash = if entry.file_type() == FileType::Directory { "/" } else { "" };
        if !matches!(name.as_str(), "." | "..") {
            names.push(format!("{name}{slash}"));
        }
    }
    names.sort();
    let mut page =
        String::from("<!doctype html>\n<meta name=\"viewport\" content=\"width=device-width\">\n<pre>\n");
    for name in names {
        // Writing to a text cannot fail.
        let _ = writeln!(page, "<a href=\"{}\">{}</a>", link(&name), escaped(&name));
    }
    page.push_str("</pre>\n");
    Ok(page)
}

/// A name as a link that is relative to its folder.
fn link(name: &str) -> String {
    let here = if name.contains(':') { "./" } else { "" };
    format!("{here}{}", utf8_percent_encode(name, PLAIN))
}

fn escaped(name: &str) -> String {
    let escape = |c: char| match c {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        '"' => "&#34;".to_owned(),
        '\'' => "&#39;".to_owned(),
        other => other.to_string(),
    };
    name.chars().map(escape).collect()
}

/// The file's content as far as it goes now: a log may grow meanwhile.
fn content(deps: &ServerDeps, file: File, length: u64) -> Response<Body> {
    let (sink, pieces) = mpsc::channel::<io::Result<Bytes>>(QUEUE);
    let shutdown = deps.supervisor.shutdown().clone();
    deps.supervisor.spawn(base::TaskKind::Background, "system log", async move {
        tokio::select! {
            () = read(file, length, sink) => {}
            () = shutdown.started() => {}
        }
    });
    let frames = ReceiverStream::new(pieces).map(|piece| piece.map(Frame::data).map_err(Into::into));
    let mut response = Response::new(BodyExt::boxed_unsync(StreamBody::new(frames)));
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    response
}

async fn read(file: File, length: u64, sink: mpsc::Sender<io::Result<Bytes>>) {
    let mut file = tokio::fs::File::from_std(file).take(length);
    loop {
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        let read = file.read_buf(&mut piece).await;
        let piece = match read {
            Ok(0) => return,
            Ok(_) => Ok(Bytes::from(piece)),
            Err(error) => Err(error),
        };
        let is_last = piece.is_err();
        // Nobody reads any more.
        if sink.send(piece).await.is_err() || is_last {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn seen(root: &Path, path: &str, is_folder: bool) -> String {
        match look(root, Path::new(path), is_folder) {
            Ok(Found::Folder(page)) => page,
            Ok(Found::Elsewhere(place)) => format!("to {place}"),
            Ok(Found::File(_, length)) => format!("{length} bytes"),
            Err(error) => error.kind().to_string(),
        }
    }

    #[test]
    fn files_and_folders_are_found_and_nothing_beyond() {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path().join("log");
        std::fs::create_dir_all(root.join("apt:a/b<c")).expect("made");
        std::fs::write(root.join("x.log"), "12345").expect("written");
        std::fs::write(dir.path().join("secret"), "s").expect("written");
        symlink("../secret", root.join("out")).expect("linked");
        symlink("/etc/passwd", root.join("far")).expect("linked");
        symlink("x.log", root.join("near")).expect("linked");
        rustix::fs::mknodat(CWD, root.join("pipe"), FileType::Fifo, Mode::from_raw_mode(0o600), 0)
            .expect("made");
        let list = seen(&root, "", true);
        assert!(list.starts_with("<!doctype html>\n"), "{list}");
        assert!(
            list.contains("<pre>\n<a href=\"./apt%3Aa/\">apt:a/</a>\n<a href=\"far\">far</a>\n"),
            "{list}"
        );
        assert!(seen(&root, "apt:a", true).contains("<a href=\"b%3Cc/\">b&lt;c/</a>"));
        assert_eq!(seen(&root, "apt:a", false), "to ./apt%3Aa/");
        assert_eq!([seen(&root, "x.log", false), seen(&root, "near", false)], ["5 bytes", "5 bytes"]);
        for lost in ["out", "far", "pipe", "none", "x.log/y", "../secret"] {
            assert_eq!(seen(&root, lost, false), "entity not found", "{lost}");
        }
        assert_eq!(seen(&root, "x.log", true), "entity not found");
    }
}
