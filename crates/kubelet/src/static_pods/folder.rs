//! Manifests in a folder, or one file. Follows what the kernel tells of changes (inotify).
//!
//! Of a folder its regular files count, and links to such, but neither hidden files nor what lies in folders within. A
//! file that cannot be used asks for nothing; the others are not touched by that.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use nix::sys::inotify::AddWatchFlags;
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

/// A source of manifests.
pub struct Folder {
    path: PathBuf,
    look_every: Option<Duration>,
}

/// What a path gave: the files, and what was wrong with some of them or the whole.
#[derive(Debug, Default)]
struct Reading {
    files: Vec<(PathBuf, Vec<u8>)>,
    wrong: BTreeMap<String, String>,
}

impl Folder {
    pub fn new(path: PathBuf, look_every: Option<Duration>) -> Self {
        Self { path, look_every }
    }

    /// Tells what the manifests ask for, at once and whenever that changes. Never ends.
    pub async fn follow(&self, node: &str, tell: &watch::Sender<Offer>, complaints: &Complaints) {
        let watch = FolderWatch::new().inspect_err(|error| self.goes_without(error)).ok();
        loop {
            // Watched before it is read: no change falls between.
            let watched = watch.as_ref().and_then(|watch| {
                self.arm(watch).inspect_err(|error| self.goes_without(error)).ok().map(|()| watch)
            });
            let (pods, wrong) = self.read(node).await;
            complaints.are(&self.path.to_string_lossy(), wrong);
            tell.send_if_modified(|offer| {
                let is_new = offer.as_ref() != Some(&pods);
                *offer = Some(pods);
                is_new
            });
            let every =
                if watched.is_some() { self.look_every } else { Some(self.look_every.unwrap_or(LOOK_EVERY)) };
            tokio::select! {
                () = self.news(watched) => {}
                () = pause(every) => {}
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

    /// Watches the path, and above it the first folder that is there: the path may come, go, and be replaced.
    fn arm(&self, watch: &FolderWatch) -> io::Result<()> {
        let names = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_CLOSE_WRITE;
        let own = AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_MOVE_SELF | AddWatchFlags::IN_ONLYDIR;
        if self.path.is_dir() {
            watch.add(&self.path, names | own)?;
        }
        for above in self.path.ancestors().skip(1) {
            match watch.add(above, names | own) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits for an event that may concern the manifests. Cancellation safe, but for events that concern nothing.
    async fn news(&self, watch: Option<&FolderWatch>) {
        let Some(watch) = watch else { return std::future::pending().await };
        loop {
            match watch.next().await {
                Ok(events) if events.iter().any(|event| self.concerns(event)) => return,
                Ok(_) => {}
                Err(error) => {
                    self.goes_without(&error);
                    return pause(Some(self.look_every.unwrap_or(LOOK_EVERY))).await;
                }
            }
        }
    }

    fn concerns(&self, event: &Event) -> bool {
        let Some(name) = &event.name else { return true };
        // It may be of the folder or of one above it: both are asked for their own names.
        let is_above = self.path.components().any(|part| part.as_os_str() == name.as_os_str());
        if is_above {
            return true;
        }
        let is_written =
            event.mask.contains(AddWatchFlags::IN_CREATE) && is_being_written(&self.path.join(name));
        self.path.is_dir() && !is_hidden(name) && !is_written
    }

    async fn read(&self, node: &str) -> (Vec<Arc<Pod>>, BTreeMap<String, String>) {
        let path = self.path.clone();
        let reading = tokio::task::spawn_blocking(move || read(&path)).await;
        let Reading { files, mut wrong } = reading.unwrap_or_else(|error| Reading {
            wrong: [(self.path.display().to_string(), error.to_string())].into(),
            ..Reading::default()
        });
        let mut pods = Vec::new();
        for (file, bytes) in files {
            match manifest::read(&bytes, &Origin::File(file.clone()), node) {
                Ok(more) => pods.extend(more),
                Err(why) => drop(wrong.insert(file.display().to_string(), why)),
            }
        }
        (pods, wrong)
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

/// What lies at the path; nothing where there is nothing.
fn read(path: &Path) -> Reading {
    let mut reading = Reading::default();
    let result = match fs::metadata(path) {
        Ok(found) if found.is_dir() => list(path),
        Ok(_) => Ok(vec![path.to_owned()]),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error.to_string()),
    };
    let paths = result.unwrap_or_else(|why| {
        reading.wrong.insert(path.display().to_string(), why);
        Vec::new()
    });
    for path in paths {
        match content(&path) {
            Ok(Some(bytes)) => reading.files.push((path, bytes)),
            Ok(None) => {}
            Err(why) => drop(reading.wrong.insert(path.display().to_string(), why)),
        }
    }
    reading
}

/// The files of a folder that count, in the order of their names.
fn list(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| error.to_string())? {
        let name = entry.map_err(|error| error.to_string())?.file_name();
        if is_hidden(&name) {
            continue;
        }
        if paths.len() == MAX_FILES {
            return Err(format!("it holds more than {MAX_FILES} files"));
        }
        paths.push(folder.join(name));
    }
    paths.sort();
    Ok(paths)
}

/// A file's content; `None` for what is no regular file, and for one that is gone or still empty.
fn content(path: &Path) -> Result<Option<Vec<u8>>, String> {
    // Opening a pipe must not wait for who writes into it.
    let flags =
        i32::try_from((OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC).bits()).unwrap_or_default();
    let file = match File::options().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    if !file.metadata().map_err(|error| error.to_string())?.is_file() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    let limit = MAX_BYTES as u64 + 1;
    file.take(limit).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    match bytes.len() {
        0 => Ok(None),
        length if length > MAX_BYTES => Err(format!("it is longer than {MAX_BYTES} bytes")),
        _ => Ok(Some(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::events::TraceEvents;

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
        assert_eq!(content(&pipe), Ok(None));
        symlink(dir.path().join("nowhere"), dir.path().join("link")).expect("linked");
        assert_eq!(content(&dir.path().join("link")), Ok(None));
        let large = dir.path().join("large");
        File::create(&large).expect("made").set_len(MAX_BYTES as u64 + 1).expect("made large");
        assert_eq!(content(&large), Err("it is longer than 10485760 bytes".to_owned()));
        let reading = read(dir.path());
        assert!(reading.files.is_empty());
        assert_eq!(reading.wrong.len(), 1);
    }
}
