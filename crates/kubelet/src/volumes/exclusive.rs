//! Volumes that one pod alone may have (`ReadWriteOncePod`): who has them.
//!
//! The holder is noted in the pod's folder, so that a restarted agent knows it, and the pod gives the volume back when its
//! folder is taken down.

use std::fs;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::PersistentVolume;

use super::error::Step;
use super::{PodDirs, VolumeError, teardown};

const MODE: &str = "ReadWriteOncePod";
const IN_USE: &str = "volume uses the ReadWriteOncePod access mode and is already in use by another pod";

/// Hands volumes out, each to one pod.
#[derive(Clone)]
pub struct Exclusive {
    dirs: PodDirs,
    /// Whoever looks for the holder becomes it before another looks.
    turn: Arc<Mutex<()>>,
}

/// Whether one pod alone may have the volume. Of one with several modes it is not known which a pod means, as upstream.
fn is_exclusive(volume: &PersistentVolume) -> bool {
    let modes = volume.spec.as_ref().and_then(|spec| spec.access_modes.as_deref());
    modes.is_some_and(|modes| modes == [MODE])
}

impl Exclusive {
    pub fn new(dirs: PodDirs) -> Self {
        Self { dirs, turn: Arc::default() }
    }

    /// Gives the volume to the pod, if it is one of this kind.
    ///
    /// # Errors
    /// When another pod has it.
    pub async fn take(&self, pod_uid: &str, volume: &PersistentVolume) -> Result<(), VolumeError> {
        if !is_exclusive(volume) {
            return Ok(());
        }
        let name = volume.metadata.name.clone().unwrap_or_default();
        let (this, uid) = (self.clone(), pod_uid.to_owned());
        let work = tokio::task::spawn_blocking(move || this.take_now(&uid, &name)).await;
        work.unwrap_or_else(|error| Err(VolumeError::TaskLost(error.to_string())))
    }

    fn take_now(&self, uid: &str, volume: &str) -> Result<(), VolumeError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |uid: &str| self.dirs.exclusive(uid).join(volume);
        for other in teardown::known_pods(&self.dirs).iter().filter(|other| *other != uid) {
            let path = of(other);
            match fs::symlink_metadata(&path) {
                Ok(_) => return Err(VolumeError::driver(Step::SetUp, volume, IN_USE.to_owned())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(VolumeError::disk("looking at", &path, error)),
            }
        }
        let (folder, path) = (self.dirs.exclusive(uid), of(uid));
        fs::create_dir_all(&folder).map_err(|error| VolumeError::disk("making", &folder, error))?;
        fs::write(&path, "").map_err(|error| VolumeError::disk("writing", &path, error))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn volume(modes: &[&str]) -> PersistentVolume {
        let volume = json!({"metadata": {"name": "pvc-1"}, "spec": {"accessModes": modes}});
        serde_json::from_value(volume).expect("a volume")
    }

    #[tokio::test]
    async fn one_pod_has_the_volume_until_its_folder_is_gone() {
        let root = tempfile::tempdir().expect("a folder");
        let dirs = PodDirs::new(root.path());
        let (alone, shared) = (volume(&[MODE]), volume(&[MODE, "ReadWriteOnce"]));
        let before = Exclusive::new(dirs.clone());
        before.take("u1", &alone).await.expect("nobody has it");
        before.take("u1", &alone).await.expect("the same pod");
        // As after a restart of the agent.
        let volumes = Exclusive::new(dirs.clone());
        let refused = volumes.take("u2", &alone).await.map_err(|error| error.to_string());
        assert_eq!(refused, Err(IN_USE.to_owned()));
        volumes.take("u2", &shared).await.expect("others may share");
        teardown::pod(&dirs, "u1").expect("taken down");
        volumes.take("u2", &alone).await.expect("it was given back");
        assert!(volumes.take("u1", &alone).await.is_err());
    }
}
