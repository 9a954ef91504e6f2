//! Manifests in a folder, or one file. Follows what the kernel tells of changes (inotify).
//!
//! Of a folder its regular files count, and links to such, but neither hidden files nor what lies in folders within. A
//! file that cannot be used asks for nothing; the others are not touched by that.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base::backoff::Policy;
use k8s_openapi::api::core::v1::Pod;
use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, WatchDescriptor};
use rustix::fs::OFlags;
use tokio::sync::watch;

use super::Offer;
use super::complaints::Complaints;
use super::manifest::{self, MAX_BYTES, Origin};
use crate::logs::watch::{Event, FolderWatch};

/// The most files of a folder; a node runs a hundred pods.
const MAX_FILES: usize = 1_000;
/// How often to look where the kernel gives no watch, as upstream.
const LOOK_EVERY: Duration = Duration::from_secs(20);
/// How long to wait after something could not be read.
const AGAIN: Policy = Policy::new(Duration::from_secs(1), Duration::from_secs(60));

/// A source of manifests.
pub struct Folder {
    path: PathBuf,
    look_every: Option<Duration>,
}

/// The pods of each file.
type Files = BTreeMap<PathBuf, Vec<Arc<Pod>>>;

/// What a path gave: the pods, and what was wrong with some files or the whole.
#[derive(Debug, Default)]
struct Reading {
    files: Files,
    wrong: BTreeMap<String, String>,
    /// Whether something could not be read that may be readable soon.
    in_trouble: bool,
}

/// What the watched folders tell of.
struct Watched<'a> {
    watch: &'a FolderWatch,
    /// The folder of manifests.
    own: Option<WatchDescriptor>,
    /// A folder above the path, and the part of the path that lies in it.
    above: Option<(WatchDescriptor, OsString)>,
}

impl Folder {
    pub fn new(path: PathBuf, look_every: Option<Duration>) -> Self {
        Self { path, look_every }
    }

    /// Tells what the manifests ask for, at once and whenever that changes. What was told stays while the path cannot be
    /// read. Never ends.
    pub async fn follow(&self, node: &str, tell: &watch::Sender<Offer>, complaints: &Complaints) {
        let watch = FolderWatch::new().inspect_err(|error| self.goes_without(error)).ok();
        let (mut files, mut failures) = (Files::new(), 0u32);
        loop {
            // Watched before it is read: no change falls between.
            let watched = watch
                .as_ref()
                .and_then(|watch| self.arm(watch).inspect_err(|error| self.goes_without(error)).ok());
            let (wrong, in_trouble) = match self.read(node, files.clone()).await {
                Ok(reading) => {
                    files = reading.files;
                    let pods: Vec<_> = files.values().flatten().cloned().collect();
                    tell.send_if_modified(|offer| {
                        let is_new = offer.as_ref() != Some(&pods);
                        *offer = Some(pods);
                        is_new
                    });
                    (reading.wrong, reading.in_trouble)
                }
                Err(error) => ([(self.path.display().to_string(), error.to_string())].into(), true),
            };
            complaints.are(&self.path.to_string_lossy(), wrong);
            failures = if in_trouble { failures.saturating_add(1) } else { 0 };
            let every =
                if watched.is_some() { self.look_every } else { Some(self.look_every.unwrap_or(LOOK_EVERY)) };
            let again = in_trouble.then(|| AGAIN.delay(failures));
            tokio::select! {
                () = self.news(watched.as_ref()) => {}
                () = pause(every.into_iter().chain(again).min()) => {}
            }
        }
    }

    fn goes_without(&self, error: &io::Error) {
        tracing::warn!(
            path = %self.path.display(), %error,
            "the kernel does not tell of changed manifests: they are looked at every {} s",
            self.look_every.unwrap_or(LOOK_EVERY).as_secs()
        );
    }

    /// Watches the path, and above it the nearest folder that is there: the path may come, go, and be replaced. What is
    /// made while a folder farther up was not watched yet is found by another look.
    fn arm<'a>(&self, watch: &'a FolderWatch) -> io::Result<Watched<'a>> {
        let mut former = None;
        loop {
            let found = (watch_folder(watch, &self.path)?, self.watch_above(watch)?);
            if former.as_ref() == Some(&found) {
                let (own, above) = found;
                return Ok(Watched { watch, own, above });
            }
            former = Some(found);
        }
    }

    fn watch_above(&self, watch: &FolderWatch) -> io::Result<Option<(WatchDescriptor, OsString)>> {
        let mut part = self.path.file_name();
        for above in self.path.ancestors().skip(1) {
            if let Some(watched) = watch_folder(watch, above)? {
                return Ok(Some((watched, part.unwrap_or_default().to_owned())));
            }
            part = above.file_name();
        }
        Ok(None)
    }

    /// Waits for an event that may concern the manifests. Cancellation safe, but for events that concern nothing.
    async fn news(&self, watched: Option<&Watched<'_>>) {
        let Some(watched) = watched else { return std::future::pending().await };
        loop {
            match watched.watch.next().await {
                Ok(events) if events.iter().any(|event| self.concerns(watched, event)) => return,
                Ok(_) => {}
                Err(error) => {
                    self.goes_without(&error);
                    return pause(Some(self.look_every.unwrap_or(LOOK_EVERY))).await;
                }
            }
        }
    }

    fn concerns(&self, watched: &Watched<'_>, event: &Event) -> bool {
        let Some(name) = &event.name else { return true };
        if watched.above.as_ref().is_some_and(|(above, part)| event.watch == *above && name == part) {
            return true;
        }
        let is_written =
            event.mask.contains(AddWatchFlags::IN_CREATE) && is_being_written(&self.path.join(name));
        watched.own == Some(event.watch) && !is_hidden(name) && !is_written
    }

    async fn read(&self, node: &str, former: Files) -> io::Result<Reading> {
        let (path, node) = (self.path.clone(), node.to_owned());
        tokio::task::spawn_blocking(move || read(&path, &node, &former)).await.map_err(io::Error::other)?
    }
}

/// Watches a folder; `None` where there is none.
fn watch_folder(watch: &FolderWatch, folder: &Path) -> io::Result<Option<WatchDescriptor>> {
    let flags = AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_DELETE
        | AddWatchFlags::IN_MOVE
        | AddWatchFlags::IN_CLOSE_WRITE
        | AddWatchFlags::IN_DELETE_SELF
        | AddWatchFlags::IN_MOVE_SELF
        | AddWatchFlags::IN_ONLYDIR;
    match watch.add(folder, flags) {
        Ok(watched) => Ok(Some(watched)),
        Err(error) => match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => Ok(None),
            _ => Err(error),
        },
    }
}

async fn pause(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".")
}

/// A new file has its content when it is closed, which is told too; a link has it at once.
fn is_being_written(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_file() && found.nlink() == 1)
}

/// What lies at the path; nothing where there is nothing. Of a file that cannot be read now the former pods stay.
fn read(path: &Path, node: &str, former: &Files) -> io::Result<Reading> {
    let mut reading = Reading::default();
    let paths = match fs::metadata(path) {
        Ok(found) if found.is_dir() => {
            let (paths, is_all) = list(path)?;
            if !is_all {
                let why =
                    format!("it holds more than {MAX_FILES} files, those after the first are passed over");
                reading.wrong.insert(path.display().to_string(), why);
            }
            paths
        }
        Ok(_) => vec![path.to_owned()],
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    for path in paths {
        let bytes = match content(&path) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => continue,
            Err(error) => {
                reading.in_trouble = true;
                reading.wrong.insert(path.display().to_string(), error.to_string());
                reading.files.extend(former.get(&path).map(|pods| (path.clone(), pods.clone())));
                continue;
            }
        };
        let pods = if bytes.len() > MAX_BYTES {
            Err(format!("it is longer than {MAX_BYTES} bytes"))
        } else {
            manifest::read(&bytes, &Origin::File(path.clone()), node)
        };
        match pods {
            Ok(pods) => drop(reading.files.insert(path, pods)),
            Err(why) => drop(reading.wrong.insert(path.display().to_string(), why)),
        }
    }
    Ok(reading)
}

/// The files of a folder that count, in the order of their names, and whether these are all.
fn list(folder: &Path) -> io::Result<(Vec<PathBuf>, bool)> {
    let (mut names, mut is_all) = (BTreeSet::new(), true);
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        if is_hidden(&name) {
            continue;
        }
        names.insert(name);
        if names.len() > MAX_FILES {
            names.pop_last();
            is_all = false;
        }
    }
    Ok((names.into_iter().map(|name| folder.join(name)).collect(), is_all))
}

/// A file's content, of one that is too long a little more than it may have; `None` for what is no regular file, and for
/// one that is gone or still empty.
fn content(path: &Path) -> io::Result<Option<Vec<u8>>> {
    // Opening a pipe must not wait for who writes into it.
    let flags =
        i32::try_from((OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC).bits()).unwrap_or_default();
    let file = match File::options().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        // A socket, or a device without a driver.
        Err(error) if error.raw_os_error() == Some(Errno::ENXIO as i32) => return Ok(None),
        Err(error) => return Err(error),
    };
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(Some(bytes).filter(|bytes| !bytes.is_empty()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use k8s_openapi::api::core::v1::ObjectReference;
    use tokio::sync::mpsc;

    use super::*;
    use crate::events::{EventSink, Severity, TraceEvents};

    /// Hands on what is told.
    struct Said(mpsc::UnboundedSender<String>);

    impl EventSink for Said {
        fn record(&self, _: ObjectReference, _: Severity, _: &str, message: String) {
            self.0.send(message).expect("heard");
        }
    }

    fn manifest(name: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec: {{containers: [{{name: c, image: i}}]}}\n"
        )
    }

    fn names(offer: &Offer) -> Option<Vec<String>> {
        let pods = offer.as_ref()?;
        Some(pods.iter().filter_map(|pod| pod.metadata.name.clone()).collect())
    }

    /// Runs `steps` beside the follower of `path`.
    async fn beside<F: Future<Output = ()>>(path: PathBuf, steps: impl FnOnce(watch::Receiver<Offer>) -> F) {
        let (tell, told) = watch::channel(None);
        let complaints = Complaints::new("n", Arc::new(TraceEvents));
        let folder = Folder::new(path, None);
        tokio::select! {
            () = folder.follow("n", &tell, &complaints) => {}
            () = steps(told) => {}
        }
    }

    async fn until(told: &mut watch::Receiver<Offer>, wanted: &[&str]) {
        let is = |offer: &Offer| names(offer).is_some_and(|names| names == wanted);
        let wait = tokio::time::timeout(Duration::from_secs(20), told.wait_for(is)).await;
        assert!(wait.is_ok_and(|told| told.is_ok()), "{wanted:?} is not told");
    }

    #[tokio::test]
    async fn what_happens_in_a_folder_is_told() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("etc/manifests");
        beside(path.clone(), |mut told| async move {
            until(&mut told, &[]).await;
            fs::create_dir_all(&path).expect("made later");
            fs::write(path.join("b.yaml"), manifest("b")).expect("written");
            until(&mut told, &["b-n"]).await;
            fs::write(path.join(".hidden.yaml"), manifest("x")).expect("written");
            fs::create_dir(path.join("folder")).expect("made");
            fs::write(path.join("bad.yaml"), "kind: [").expect("written");
            fs::write(dir.path().join("elsewhere"), manifest("a")).expect("written");
            symlink(dir.path().join("elsewhere"), path.join("a.yaml")).expect("linked");
            until(&mut told, &["a-n", "b-n"]).await;
            fs::rename(path.join("b.yaml"), dir.path().join("away")).expect("moved");
            until(&mut told, &["a-n"]).await;
            fs::rename(dir.path().join("away"), path.join("c.yaml")).expect("moved");
            until(&mut told, &["a-n", "b-n"]).await;
            fs::remove_dir_all(&path).expect("removed");
            until(&mut told, &[]).await;
        })
        .await;
    }

    #[tokio::test]
    async fn one_file_may_be_all() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("pod.yaml");
        beside(path.clone(), |mut told| async move {
            until(&mut told, &[]).await;
            fs::write(&path, manifest("a")).expect("written");
            until(&mut told, &["a-n"]).await;
            let next = dir.path().join("next");
            fs::write(&next, manifest("b")).expect("written");
            fs::rename(&next, &path).expect("replaced");
            until(&mut told, &["b-n"]).await;
        })
        .await;
    }

    #[test]
    fn what_is_no_file_of_reasonable_size_is_not_read() {
        let dir = tempfile::tempdir().expect("a folder");
        let pipe = dir.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        assert_eq!(content(&pipe).expect("no error"), None);
        symlink(dir.path().join("nowhere"), dir.path().join("link")).expect("linked");
        assert_eq!(content(&dir.path().join("link")).expect("no error"), None);
        let large = dir.path().join("large");
        File::create(&large).expect("made").set_len(MAX_BYTES as u64 + 1).expect("made large");
        let reading = read(dir.path(), "n", &Files::new()).expect("read");
        assert!(reading.files.is_empty() && !reading.in_trouble);
        assert_eq!(
            reading.wrong,
            [(large.display().to_string(), "it is longer than 10485760 bytes".to_owned())].into()
        );
    }

    #[test]
    fn what_cannot_be_read_now_stays_as_it_was() {
        let dir = tempfile::tempdir().expect("a folder");
        let files = |names: &[&str]| names.iter().map(|name| dir.path().join(name)).collect::<Vec<_>>();
        for name in ["a", "b", "c"] {
            fs::write(dir.path().join(name), manifest(name)).expect("written");
        }
        let former = read(dir.path(), "n", &Files::new()).expect("read").files;
        assert_eq!(former.keys().cloned().collect::<Vec<_>>(), files(&["a", "b", "c"]));
        fs::remove_file(dir.path().join("b")).expect("removed");
        fs::remove_file(dir.path().join("c")).expect("removed");
        symlink(dir.path().join("c"), dir.path().join("c")).expect("a link that leads to itself");
        symlink(dir.path().join("d"), dir.path().join("d")).expect("a link that leads to itself");
        let reading = read(dir.path(), "n", &former).expect("read");
        assert_eq!(reading.files.keys().cloned().collect::<Vec<_>>(), files(&["a", "c"]));
        assert_eq!(reading.files[&dir.path().join("c")], former[&dir.path().join("c")]);
        assert!(reading.in_trouble && reading.wrong.len() == 2);
        assert!(read(&dir.path().join("c"), "n", &former).is_err(), "nothing is known of the path itself");
    }

    #[tokio::test]
    async fn a_path_that_cannot_be_read_ends_nothing() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("manifests");
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        fs::create_dir(&real).expect("made");
        fs::write(real.join("a"), manifest("a")).expect("written");
        symlink(&real, &path).expect("linked");
        let ((tell, mut told), (say, mut said)) = (watch::channel(None), mpsc::unbounded_channel());
        let complaints = Complaints::new("n", Arc::new(Said(say)));
        let folder = Folder::new(path.clone(), None);
        let steps = async {
            until(&mut told, &["a-n"]).await;
            symlink(&path, &link).expect("linked");
            fs::rename(&link, &path).expect("a link that leads to itself");
            let why = said.recv().await.expect("a complaint");
            assert!(why.starts_with(&format!("Could not process manifest {}: ", path.display())), "{why}");
            assert_eq!(names(&told.borrow()), Some(vec!["a-n".to_owned()]));
            fs::write(real.join("b"), manifest("b")).expect("written");
            symlink(&real, &link).expect("linked");
            fs::rename(&link, &path).expect("mended");
            until(&mut told, &["a-n", "b-n"]).await;
        };
        tokio::select! {
            () = folder.follow("n", &tell, &complaints) => {}
            () = steps => {}
        }
    }

    #[test]
    fn of_too_many_files_the_first_count() {
        let dir = tempfile::tempdir().expect("a folder");
        for i in 0..MAX_FILES + 2 {
            fs::write(dir.path().join(format!("{i:05}")), "").expect("written");
        }
        let (paths, is_all) = list(dir.path()).expect("listed");
        assert_eq!((paths.len(), is_all), (MAX_FILES, false));
        assert_eq!(paths.last(), Some(&dir.path().join(format!("{:05}", MAX_FILES - 1))));
        assert!(read(dir.path(), "n", &Files::new()).is_ok_and(|reading| reading.wrong.len() == 1));
    }
}
