//! The persistent volumes of pods: from a pod's volume to its claim, from there to the volume, as the API has them now.
//! The directories of volumes that are made on this node are made here.
//!
//! Start with [`PersistentVolumes::find`]. Nothing is kept: what is asked for is asked for anew when a pod is set up.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base::backoff::Policy;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod, Volume};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use pods::volumes::{self, UsedClaim, directory};
use serde_json::json;

use super::VolumeError;

const RETRY: Policy = Policy::new(Duration::from_millis(20), Duration::from_secs(1));
/// How often a read may fail. The first may be the API's: it has to learn that the pod is bound here before it lets this
/// node read what the pod refers to.
const PATIENT_FAILURES: u32 = 4;

/// The volume that a pod's volume stands for.
#[derive(Debug, Clone)]
pub struct Found {
    pub volume: Arc<PersistentVolume>,
    pub claim: Arc<PersistentVolumeClaim>,
    pub read_only: bool,
    /// The directory, of a volume that was made on this node.
    pub directory: Option<PathBuf>,
}

/// See the module's documentation.
#[derive(Clone)]
pub struct PersistentVolumes {
    client: Client,
    folder: PathBuf,
}

/// The claim of a pod's volume, and whether the pod only reads.
fn claim_of(pod: &Pod, volume: &Volume) -> Option<(UsedClaim, bool)> {
    if let Some(source) = &volume.persistent_volume_claim {
        let used = UsedClaim { name: source.claim_name.as_str().into(), is_ephemeral: false };
        return Some((used, source.read_only == Some(true)));
    }
    volume.ephemeral.as_ref()?;
    let pod = pod.metadata.name.as_deref().unwrap_or_default();
    let name = volumes::ephemeral_claim(pod, &volume.name).into();
    Some((UsedClaim { name, is_ephemeral: true }, false))
}

/// The name of the claim that a pod's volume stands for.
pub fn claim_name(pod: &Pod, volume: &Volume) -> Option<String> {
    claim_of(pod, volume).map(|(used, _)| used.name.to_string())
}

impl PersistentVolumes {
    /// `folder` holds the directories of volumes that are made on this node.
    pub fn new(client: Client, folder: PathBuf) -> Self {
        Self { client, folder }
    }

    /// The persistent volume that a pod's volume stands for; `None` for a volume of another kind.
    ///
    /// # Errors
    /// Why the pod cannot have it now.
    pub async fn find(&self, pod: &Pod, volume: &Volume) -> Option<Result<Found, VolumeError>> {
        let (used, read_only) = claim_of(pod, volume)?;
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let found = self.bound(pod, namespace, &used).await;
        let found =
            found.map_err(|why| VolumeError::Claim { claim: format!("{namespace}/{}", used.name), why });
        Some(match found {
            Ok((volume, claim)) => self.made(volume, claim, read_only).await,
            Err(error) => Err(error),
        })
    }

    async fn bound(
        &self,
        pod: &Pod,
        namespace: &str,
        used: &UsedClaim,
    ) -> Result<(PersistentVolume, PersistentVolumeClaim), String> {
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(self.client.clone(), namespace);
        let claim = patient(|| claims.get(&used.name)).await;
        let claim = claim
            .map_err(|error| format!("failed to fetch PVC from API server: {}", client::message(&error)))?;
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        if used.is_ephemeral && !volumes::is_of_pod(&claim, uid) {
            return Err("PVC was not created for the pod (pod is not owner)".to_owned());
        }
        if claim.metadata.deletion_timestamp.is_some() {
            return Err("PVC is being deleted".to_owned());
        }
        if !volumes::is_fully_bound(&claim) {
            return Err("PVC is not bound".to_owned());
        }
        let name = volumes::volume_name(&claim);
        let held: Api<PersistentVolume> = Api::all(self.client.clone());
        let volume = patient(|| held.get(name)).await;
        let volume = volume.map_err(|error| {
            format!("failed to fetch PV {name:?} from API server: {}", client::message(&error))
        })?;
        let of = volumes::claim_of(&volume);
        if of.is_none_or(|of| of.uid != claim.metadata.uid) {
            let of = of.map(volumes::uid).unwrap_or_default();
            let uid = claim.metadata.uid.as_deref().unwrap_or_default();
            return Err(format!("PV {name:?} spec.claimRef.uid {of:?} does not match pvcUID {uid:?}"));
        }
        Ok((volume, claim))
    }

    /// Makes the directory of a volume that has none yet, and says so; a directory that was there once is not made again.
    async fn made(
        &self,
        volume: PersistentVolume,
        claim: PersistentVolumeClaim,
        read_only: bool,
    ) -> Result<Found, VolumeError> {
        let claim = Arc::new(claim);
        let Some(name) = directory::name(&volume).map(str::to_owned) else {
            return Ok(Found { volume: Arc::new(volume), claim, read_only, directory: None });
        };
        let is_told = volumes::annotation(&volume.metadata.annotations, directory::MADE).is_some();
        let (folder, path) = (self.folder.clone(), self.folder.join(&name));
        let work = tokio::task::spawn_blocking(move || make(&folder, &name, !is_told)).await;
        work.unwrap_or_else(|error| Err(VolumeError::TaskLost(error.to_string())))?;
        if !is_told {
            let api: Api<PersistentVolume> = Api::all(self.client.clone());
            let metadata = json!({"uid": volume.metadata.uid, "annotations": {directory::MADE: "true"}});
            let patch = Patch::Merge(json!({"metadata": metadata}));
            let (name, params) =
                (volume.metadata.name.as_deref().unwrap_or_default(), PatchParams::default());
            let told = patient(|| api.patch(name, &params, &patch)).await;
            told.map_err(|error| VolumeError::Fetch {
                kind: "persistentvolume",
                message: client::message(&error),
            })?;
        }
        Ok(Found { volume: Arc::new(volume), claim, read_only, directory: Some(path) })
    }
}

async fn patient<K, F>(ask: impl Fn() -> F) -> Result<K, kube::Error>
where
    F: Future<Output = Result<K, kube::Error>>,
{
    let mut failures = 0;
    loop {
        match ask().await {
            Err(error) if !client::is_not_found(&error) && failures < PATIENT_FAILURES => {
                failures += 1;
                tokio::time::sleep(RETRY.delay(failures)).await;
            }
            answer => return answer,
        }
    }
}

/// Makes the directory `name` in a folder that is closed to everybody but root, where it `may` be made. Whoever the pod
/// runs as writes to it. On disk when this returns.
fn make(folder: &Path, name: &str, may: bool) -> Result<(), VolumeError> {
    let path = folder.join(name);
    let fail = |doing, error: io::Error| VolumeError::disk(doing, &path, error);
    match fs::symlink_metadata(&path) {
        Ok(meta) if meta.is_dir() => return Ok(()),
        Ok(_) => return Err(fail("looking at", io::Error::from(io::ErrorKind::NotADirectory))),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fail("looking at", error)),
        Err(_) if !may => return Err(VolumeError::DirectoryLost(path)),
        Err(_) => {}
    }
    let mut closed = fs::DirBuilder::new();
    closed.mode(0o700);
    closed.recursive(true).create(folder).map_err(|error| fail("making the folder of", error))?;
    closed.recursive(false).create(&path).map_err(|error| fail("making", error))?;
    // Apart from the creation, which the umask would narrow.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).map_err(|error| fail("opening", error))?;
    for synced in [path.as_path(), folder] {
        fs::File::open(synced).and_then(|file| file.sync_all()).map_err(|error| fail("syncing", error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_made_once_and_open_to_the_pod_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        let folder = dir.path().join("volumes");
        make(&folder, "pvc-u", true).expect("made");
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(&folder), mode(&folder.join("pvc-u"))), (0o700, 0o777));
        fs::write(folder.join("pvc-u/data"), "x").expect("written");
        make(&folder, "pvc-u", false).expect("it is there");
        assert!(folder.join("pvc-u/data").exists());
        fs::remove_dir_all(folder.join("pvc-u")).expect("removed");
        let lost = make(&folder, "pvc-u", false).map_err(|error| error.to_string());
        let text = format!("the directory of the volume, {}, is gone", folder.join("pvc-u").display());
        assert_eq!(lost, Err(text));
    }
}
