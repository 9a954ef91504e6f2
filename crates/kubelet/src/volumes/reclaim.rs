//! Frees the space of volumes that were made on this node and are being deleted.
//!
//! Start with [`Duty::of`], the decision. A directory is first renamed, in one step, and then removed: whatever is killed
//! in between is finished at the next start. The finalizer goes last, so that no volume is forgotten.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base::Shutdown;
use base::backoff::Policy;
use informer::{Cache, Delta, Informers, Key, Queue, Scope};
use k8s_openapi::api::core::v1::PersistentVolume;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use pods::volumes::{self, directory};
use serde_json::json;

use super::{PodDirs, VolumeError};
use crate::events::{EventSink, Severity};

const RETRY: Policy = Policy::new(Duration::from_millis(50), Duration::from_secs(60));
/// What a directory's name begins with while it is removed; no volume is called so.
const GOING: &str = ".removing-";

/// What the node has to do about a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Duty {
    Nothing,
    /// Free the space, then let the object go.
    Free(String),
    /// Let the object go and keep the data.
    LetGo,
}

impl Duty {
    fn of(volume: &PersistentVolume) -> Self {
        let held = |wanted: &str| {
            let finalizers = volume.metadata.finalizers.iter().flatten();
            finalizers.into_iter().any(|finalizer| finalizer == wanted)
        };
        let is_going = volume.metadata.deletion_timestamp.is_some() && held(directory::FINALIZER);
        if !is_going || held(volumes::VOLUME_PROTECTION) || volumes::phase(volume) == "Bound" {
            return Self::Nothing;
        }
        let spec = volume.spec.as_ref();
        let policy = spec.and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref());
        match directory::name(volume) {
            Some(name) if policy == Some("Delete") => Self::Free(name.to_owned()),
            _ => Self::LetGo,
        }
    }
}

/// See the module's documentation.
pub struct Reclaimer {
    client: Client,
    events: Arc<dyn EventSink>,
    folder: PathBuf,
    volumes: Cache<PersistentVolume>,
    queue: Queue<Key>,
}

impl Reclaimer {
    /// Follows the volumes of the node.
    pub fn new(
        client: Client,
        informers: &Informers,
        node: &str,
        dirs: &PodDirs,
        events: Arc<dyn EventSink>,
    ) -> Self {
        let scope = Scope::labels(format!("{}={node}", directory::NODE));
        let volumes = informers.cache_of::<PersistentVolume>(scope);
        let queue: Queue<Key> = Queue::new(RETRY);
        let news = queue.clone();
        volumes.subscribe(move |delta: &Delta<PersistentVolume>| {
            if delta.object().is_being_deleted() {
                news.add(delta.object().key.clone());
            }
        });
        Self { client, events, folder: dirs.persistent(), volumes, queue }
    }

    /// Runs until `shutdown`.
    pub async fn run(self, shutdown: Shutdown) {
        tokio::select! {
            () = shutdown.started() => {}
            () = self.work() => {}
        }
    }

    async fn work(&self) {
        let folder = self.folder.clone();
        let finished = tokio::task::spawn_blocking(move || finish(&folder)).await;
        if let Ok(Err(error)) = finished {
            tracing::warn!(%error, "a directory that was being removed is still there");
        }
        while let Some(key) = self.queue.next().await {
            match self.round(&key).await {
                Ok(()) => self.queue.forget(&key),
                Err(why) => {
                    tracing::warn!(
                        volume = &*key.name,
                        why,
                        "a volume could not be freed and will be tried again"
                    );
                    self.queue.retry(key.clone());
                }
            }
            self.queue.done(&key);
        }
    }

    async fn round(&self, key: &Key) -> Result<(), String> {
        let Some(volume) = self.volumes.get_key(key) else { return Ok(()) };
        match Duty::of(&volume) {
            Duty::Nothing => return Ok(()),
            Duty::LetGo => {}
            Duty::Free(name) => {
                let folder = self.folder.clone();
                let work = tokio::task::spawn_blocking(move || remove(&folder, &name)).await;
                let work = work.unwrap_or_else(|error| Err(VolumeError::TaskLost(error.to_string())));
                if let Err(error) = work {
                    let message = error.to_string();
                    let about = client::reference(&*volume);
                    self.events.record(about, Severity::Warning, "VolumeFailedDelete", message.clone());
                    return Err(message);
                }
                tracing::info!(volume = &*key.name, "the space of a volume is free");
            }
        }
        let finalizers = volume.metadata.finalizers.iter().flatten();
        let left: Vec<&String> = finalizers.filter(|held| *held != directory::FINALIZER).collect();
        let patch = json!({"metadata": {"uid": volume.metadata.uid,
            "resourceVersion": volume.metadata.resource_version, "finalizers": left}});
        let api: Api<PersistentVolume> = Api::all(self.client.clone());
        match api.patch(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Err(error) if !client::is_not_found(&error) => Err(client::message(&error)),
            _ => Ok(()),
        }
    }
}

/// Removes a volume's directory; nothing there is fine.
fn remove(folder: &Path, name: &str) -> Result<(), VolumeError> {
    let (path, going) = (folder.join(name), folder.join(format!("{GOING}{name}")));
    match fs::rename(&path, &going) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(VolumeError::disk("renaming", &path, error));
        }
        _ => {}
    }
    take_away(&going)
}

/// Finishes what was begun before.
fn finish(folder: &Path) -> Result<(), VolumeError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(VolumeError::disk("listing", folder, error)),
    };
    for entry in entries {
        let entry = entry.map_err(|error| VolumeError::disk("listing", folder, error))?;
        if entry.file_name().as_encoded_bytes().starts_with(GOING.as_bytes()) {
            take_away(&entry.path())?;
        }
    }
    Ok(())
}

fn take_away(going: &Path) -> Result<(), VolumeError> {
    match base::remove_tree(going) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(VolumeError::disk("removing", going, error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn volume(phase: &str, policy: &str, finalizers: Value, going: bool) -> PersistentVolume {
        serde_json::from_value(json!({"metadata": {"name": "pvc-u", "finalizers": finalizers,
            "annotations": {volumes::PROVISIONED_BY: directory::PROVISIONER},
            "deletionTimestamp": going.then_some("2026-01-01T00:00:00Z")},
            "spec": {"persistentVolumeReclaimPolicy": policy}, "status": {"phase": phase}}))
        .expect("a volume")
    }

    #[test]
    fn only_what_nobody_has_and_its_policy_gives_up_is_freed() {
        let ours = || json!([directory::FINALIZER]);
        let free = Duty::Free("pvc-u".to_owned());
        assert_eq!(Duty::of(&volume("Released", "Delete", ours(), true)), free);
        assert_eq!(Duty::of(&volume("Released", "Delete", ours(), false)), Duty::Nothing);
        assert_eq!(Duty::of(&volume("Bound", "Delete", ours(), true)), Duty::Nothing);
        let held = json!([directory::FINALIZER, volumes::VOLUME_PROTECTION]);
        assert_eq!(Duty::of(&volume("Released", "Delete", held, true)), Duty::Nothing);
        assert_eq!(Duty::of(&volume("Released", "Retain", ours(), true)), Duty::LetGo);
        assert_eq!(Duty::of(&volume("Released", "Delete", json!([]), true)), Duty::Nothing);
        let mut hostile = volume("Released", "Delete", ours(), true);
        hostile.metadata.name = Some("..".to_owned());
        assert_eq!(Duty::of(&hostile), Duty::LetGo);
    }

    #[test]
    fn a_directory_is_removed_also_where_that_was_begun_before_and_links_lead_nowhere() {
        let dir = tempfile::tempdir().expect("a folder");
        let (folder, outside) = (dir.path().join("volumes"), dir.path().join("outside"));
        for made in [
            folder.join("pvc-a/deep"),
            folder.join("pvc-b"),
            folder.join(".removing-pvc-c/x"),
            outside.clone(),
        ] {
            fs::create_dir_all(made).expect("made");
        }
        fs::write(outside.join("kept"), "x").expect("written");
        std::os::unix::fs::symlink(&outside, folder.join("pvc-a/link")).expect("linked");
        remove(&folder, "pvc-a").expect("removed");
        remove(&folder, "pvc-a").expect("it is gone already");
        finish(&folder).expect("finished");
        let left: Vec<_> =
            fs::read_dir(&folder).expect("there").map(|e| e.expect("one").file_name()).collect();
        assert_eq!(left, ["pvc-b"]);
        assert!(outside.join("kept").exists());
        finish(&dir.path().join("none")).expect("nothing was ever made");
    }
}
