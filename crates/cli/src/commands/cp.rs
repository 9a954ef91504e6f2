//! `cp`: files and folders to and from containers, through `tar` in the container.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};
use std::sync::mpsc as blocking;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::Command;
use crate::client::{Request, escaped, name_part};
use crate::failure::Failure;
use crate::kubeconfig::os_words;
use crate::output::{bytes, err, out};
use crate::remote::{self, STDOUT, Target, pods};
use crate::session::Session;

pub const COMMANDS: [Command; 1] = [Command {
    words: "cp",
    flags: &["c container text, no-preserve bool=false, retries int=0"],
    usage: "<file-spec-src> <file-spec-dest>",
    about: "Copy files and directories to and from containers",
    run,
}];

/// Pieces of an archive that wait between the connection and the disk.
const WAITING: usize = 8;

/// `[[namespace/]pod:]path`
struct Place {
    namespace: String,
    /// Empty for a place on this machine.
    pod: String,
    path: String,
}

fn place(word: &str) -> Result<Place, Failure> {
    let wrong = || Failure::message("filespec must match the canonical format: [[namespace/]pod:]file/path");
    let Some((pod, path)) = word.split_once(':') else {
        return Ok(Place { namespace: String::new(), pod: String::new(), path: word.to_owned() });
    };
    let parts: Vec<&str> = pod.split('/').collect();
    let (namespace, pod) = match parts.as_slice() {
        [""] => return Err(wrong()),
        [pod] => ("", *pod),
        [namespace, pod] => (*namespace, *pod),
        _ => return Err(wrong()),
    };
    Ok(Place { namespace: namespace.to_owned(), pod: pod.to_owned(), path: path.to_owned() })
}

fn run(session: &Session) -> Result<(), Failure> {
    let [source, target] = session.arguments() else {
        return Err(Failure::message("source and destination are required"));
    };
    let (source, target) = (place(source)?, place(target)?);
    if !source.pod.is_empty() && !target.pod.is_empty() {
        return Err(Failure::message("one of src or dest must be a local file specification"));
    }
    if source.path.is_empty() || target.path.is_empty() {
        return Err(Failure::message("filepath can not be empty"));
    }
    match (source.pod.is_empty(), target.pod.is_empty()) {
        (false, _) => from_pod(session, &source, &target),
        (_, false) => to_pod(session, &source, &target),
        _ => Err(Failure::message("one of src or dest must be a remote file specification")),
    }
}

/// A container that is copied to or from.
struct Container {
    namespace: String,
    pod: String,
    name: String,
}

impl Container {
    fn of(session: &Session, place: &Place) -> Result<Self, Failure> {
        let namespace = if place.namespace.is_empty() { session.namespace()? } else { &place.namespace };
        let path = format!("/api/v1/namespaces/{}/pods/{}", escaped(namespace), name_part(&place.pod)?);
        let pod = session.client()?.json(&Request::get(path))?;
        if let Some(phase @ ("Succeeded" | "Failed")) = pod["status"]["phase"].as_str() {
            let why = format!("cannot exec into a container in a completed pod; current phase is {phase}");
            return Err(Failure::message(why));
        }
        let name = match session.flags.text("container") {
            "" => pods::container_or_default(&pod, "", false)?["name"].as_str().unwrap_or_default(),
            named => named,
        };
        Ok(Self { namespace: namespace.to_owned(), pod: place.pod.clone(), name: name.to_owned() })
    }

    fn target<'a>(&'a self, command: &'a [String]) -> Target<'a> {
        Target {
            namespace: &self.namespace,
            pod: &self.pod,
            container: &self.name,
            command,
            tty: false,
            stderr: true,
        }
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// A path of the container without `.`, `..` and doubled slashes, as Go's `path.Clean`.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if path.starts_with('/') => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (path.starts_with('/'), joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

/// The folder and the last part of a path of the container.
fn parted(path: &str) -> (String, String) {
    match path.rsplit_once('/') {
        Some(("", name)) => ("/".to_owned(), name.to_owned()),
        Some((folder, name)) => (folder.to_owned(), name.to_owned()),
        None => (".".to_owned(), path.to_owned()),
    }
}

fn to_pod(session: &Session, source: &Place, target: &Place) -> Result<(), Failure> {
    let local = Path::new(&source.path);
    if std::fs::metadata(local).is_err() {
        return Err(Failure::message(format!("{} doesn't exist in local filesystem", source.path)));
    }
    let container = Container::of(session, target)?;
    let client = session.client()?;
    let test = words(&["test", "-d", &target.path]);
    let mut nothing = |_, _: &[u8]| Ok(());
    let is_folder = remote::run_quietly(client, &container.target(&test), &mut nothing)? == Some(0);
    let absolute = std::path::absolute(local).map_err(|e| Failure::message(e.to_string()))?;
    let mut remote_path = clean(&target.path);
    if is_folder {
        let base = absolute.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        remote_path = clean(&format!("{remote_path}/{base}"));
    }
    let (folder, name) = parted(&remote_path);
    let mut command = words(&["tar"]);
    if session.flags.bool("no-preserve") {
        command.extend(words(&["--no-same-permissions", "--no-same-owner"]));
    }
    command.extend(words(&["-xmf", "-", "-C", &folder]));
    let (chunks, input) = mpsc::channel(WAITING);
    let packing = std::thread::spawn(move || pack(&absolute, &name, Pipe(chunks)));
    let mut output = |channel, chunk: &[u8]| shown(channel, chunk);
    let ran = remote::run(client, &container.target(&command), Some(input), None, &mut output);
    match packing.join() {
        Ok(Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::message(os_words(&error)))
        }
        Ok(_) => ran,
        Err(_) => Err(Failure::message("packing ended early")),
    }
}

fn shown(channel: u8, chunk: &[u8]) -> Result<(), Failure> {
    if channel == STDOUT {
        return bytes(chunk);
    }
    // A terminal that is gone ends nothing.
    let _ = io::stderr().lock().write_all(chunk);
    Ok(())
}

/// Takes an archive to the connection.
struct Pipe(mpsc::Sender<Bytes>);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Bytes::copy_from_slice(bytes));
        sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes an archive of a file or folder, which is called `name` in it. Links stay links.
fn pack(path: &Path, name: &str, pipe: Pipe) -> io::Result<()> {
    let mut archive = tar::Builder::new(io::BufWriter::with_capacity(64 << 10, pipe));
    archive.follow_symlinks(false);
    let mut waiting = VecDeque::from([(path.to_owned(), PathBuf::from(name))]);
    while let Some((path, name)) = waiting.pop_front() {
        if !std::fs::symlink_metadata(&path)?.is_dir() {
            archive.append_path_with_name(&path, &name)?;
            continue;
        }
        let mut entries: Vec<_> = std::fs::read_dir(&path)?.collect::<io::Result<_>>()?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        if entries.is_empty() {
            archive.append_dir(&name, &path)?;
        }
        for entry in entries.into_iter().rev() {
            waiting.push_front((entry.path(), name.join(entry.file_name())));
        }
    }
    archive.into_inner()?.flush()
}

fn from_pod(session: &Session, source: &Place, target: &Place) -> Result<(), Failure> {
    let container = Container::of(session, source)?;
    let retries = session.flags.int("retries");
    let (pieces, taken) = blocking::sync_channel(WAITING);
    let unpacking = Unpacking {
        prefix: prefix(&source.path),
        target: PathBuf::from(&target.path),
        hint: format!(
            "consider using \"kubectl exec -n {:?} {:?} -- tar cf - {:?} | tar xf -\"",
            container.namespace, container.pod, source.path
        ),
    };
    let thread = std::thread::spawn(move || unpacking.run(Incoming { taken, rest: Bytes::new() }));
    let ran = fetch(session, &container, &source.path, retries, &pieces);
    drop(pieces);
    match thread.join() {
        Ok(Err(failure)) => ran.and(Err(failure)),
        Ok(Ok(())) => ran,
        Err(_) => Err(Failure::message("unpacking ended early")),
    }
}

/// Has the archive sent, and asks for its rest where the connection breaks.
fn fetch(
    session: &Session,
    container: &Container,
    path: &str,
    retries: i64,
    pieces: &blocking::SyncSender<Bytes>,
) -> Result<(), Failure> {
    let (mut read, mut tried) = (0_u64, 0_i64);
    loop {
        let command = if retries == 0 {
            words(&["tar", "cf", "-", path])
        } else {
            // Quoted, so that the shell takes the path as one word.
            let path = path.replace('\'', "'\\''");
            words(&["sh", "-c", &format!("tar cf - '{path}' | tail -c+{}", read + 1)])
        };
        let mut output = |channel, chunk: &[u8]| {
            if channel != STDOUT {
                return bytes(chunk);
            }
            read += chunk.len() as u64;
            // Who unpacks has ended, and says why.
            pieces.send(Bytes::copy_from_slice(chunk)).map_err(|_| Failure::Exit(1))
        };
        let ran = remote::run(session.client()?, &container.target(&command), None, None, &mut output);
        match ran {
            Err(Failure::Message(_) | Failure::Unreachable(_)) if retries < 0 || tried < retries => {
                tried += 1;
                out(&format!("Resuming copy at {read} bytes, retry {tried}/{retries}\n"))?;
            }
            other => return other,
        }
    }
}

/// How the names in the archive begin.
fn prefix(path: &str) -> String {
    let mut prefix = clean(path.trim_start_matches('/'));
    while let Some(rest) = prefix.strip_prefix("../") {
        prefix = rest.to_owned();
    }
    if matches!(prefix.as_str(), "." | "..") { String::new() } else { prefix }
}

/// Gives an archive as it comes.
struct Incoming {
    taken: blocking::Receiver<Bytes>,
    rest: Bytes,
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.taken.recv() {
                Ok(bytes) => self.rest = bytes,
                Err(_) => return Ok(0),
            }
        }
        let count = self.rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.rest.split_to(count));
        Ok(count)
    }
}

struct Unpacking {
    prefix: String,
    target: PathBuf,
    /// What is said of the first link that is passed over.
    hint: String,
}

impl Unpacking {
    fn run(&self, incoming: Incoming) -> Result<(), Failure> {
        let failed = |e: io::Error| Failure::message(os_words(&e));
        let mut hinted = false;
        let mut archive = tar::Archive::new(incoming);
        for entry in archive.entries().map_err(failed)? {
            let mut entry = entry.map_err(failed)?;
            let name = entry.path().map_err(failed)?.to_string_lossy().into_owned();
            let Some(rest) = name.strip_prefix(&self.prefix) else {
                return Err(Failure::message("tar contents corrupted"));
            };
            let Some(path) = within(&self.target, rest) else {
                let path = self.target.join(rest.trim_start_matches('/'));
                err(&format!("warning: file {path:?} is outside target destination, skipping\n"));
                continue;
            };
            let kind = entry.header().entry_type();
            if kind.is_symlink() || kind.is_hard_link() {
                let link = entry.link_name().map_err(failed)?.unwrap_or_default().into_owned();
                let hint = if hinted { String::new() } else { format!(" ({})", self.hint) };
                err(&format!("warning: skipping symlink: {path:?} -> {link:?}{hint}\n"));
                hinted = true;
                continue;
            }
            if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
                std::fs::create_dir_all(folder).map_err(|e| opened("mkdir", folder, &e))?;
            }
            if kind.is_dir() {
                std::fs::create_dir_all(&path).map_err(|e| opened("mkdir", &path, &e))?;
                continue;
            }
            let mut file = File::create(&path).map_err(|e| opened("open", &path, &e))?;
            io::copy(&mut entry, &mut file).map_err(|e| opened("write", &path, &e))?;
        }
        // The padding behind the archive's end is taken too, so that the container's tar can write it.
        io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(failed)?;
        Ok(())
    }
}

fn opened(doing: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::message(format!("{doing} {}: {}", path.display(), os_words(error)))
}

/// Where an entry of the archive goes; `None` for one that leads out of the target.
fn within(target: &Path, rest: &str) -> Option<PathBuf> {
    let mut path = target.to_owned();
    for part in Path::new(rest.trim_start_matches('/')).components() {
        match part {
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_of_a_pod_or_of_this_machine() {
        let parts = |word: &str| place(word).map(|p| [p.namespace, p.pod, p.path].join("|")).ok();
        assert_eq!(parts("/tmp/a").as_deref(), Some("||/tmp/a"));
        assert_eq!(parts("p:/tmp/a:b").as_deref(), Some("|p|/tmp/a:b"));
        assert_eq!(parts("n/p:a").as_deref(), Some("n|p|a"));
        assert_eq!((parts(":a"), parts("a/b/c:d")), (None, None));
    }

    #[test]
    fn paths_of_containers_are_cleaned() {
        for (path, cleaned) in
            [("/tmp//a/../b/", "/tmp/b"), ("a/./b", "a/b"), ("../a", "../a"), ("/..", "/"), ("", ".")]
        {
            assert_eq!(clean(path), cleaned, "{path}");
        }
        assert_eq!(parted("/a"), ("/".to_owned(), "a".to_owned()));
        assert_eq!(parted("a"), (".".to_owned(), "a".to_owned()));
        assert_eq!(
            (prefix("/tmp/a/"), prefix("../../a"), prefix(".")),
            ("tmp/a".into(), "a".into(), "".into())
        );
    }

    #[test]
    fn nothing_is_written_outside_the_target() {
        let at = |rest: &str| within(Path::new("/t"), rest);
        assert_eq!(at("/a/b"), Some("/t/a/b".into()));
        assert_eq!(at(""), Some("/t".into()));
        assert_eq!((at("/../x"), at("a/../../x")), (None, None));
    }

    #[test]
    fn folders_are_packed_with_links_as_links() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir_all(folder.path().join("f/empty")).expect("made");
        std::fs::write(folder.path().join("f/a"), "text").expect("written");
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("f/link")).expect("linked");
        let (chunks, mut packed) = mpsc::channel(1000);
        pack(&folder.path().join("f"), "g", Pipe(chunks)).expect("packed");
        let mut bytes = Vec::new();
        while let Ok(chunk) = packed.try_recv() {
            bytes.extend_from_slice(&chunk);
        }
        let mut archive = tar::Archive::new(&bytes[..]);
        let entries = archive.entries().expect("an archive").map(|entry| {
            let entry = entry.expect("an entry");
            (entry.path().expect("a path").display().to_string(), entry.header().entry_type().is_symlink())
        });
        let expect = [("g/a", false), ("g/empty", false), ("g/link", true)];
        assert_eq!(entries.collect::<Vec<_>>(), expect.map(|(name, link)| (name.to_owned(), link)));
    }
}
