//! What the volumes of claims hold and have left: the kernel says so of file systems, drivers say so of their volumes.
//!
//! Drivers are asked when somebody wants to know, and not more often than each [`STALE_AFTER`], as upstream.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::core::v1::{Pod, Volume};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::csi::Csi;
use super::csi::asked::Asked;
use super::persistent::{Found, claim_name};
use crate::seams::{ClaimFigures, MountedVolume, VolumeFigures};

/// Upstream's `volumeStatsAggPeriod`.
const STALE_AFTER: Duration = Duration::from_mins(1);
/// How long a volume may take to say what it holds: a server of files may be gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// A claim's volume whose figures can be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measured {
    volume: String,
    claim: String,
    path: PathBuf,
    /// The driver and its name of the volume.
    driver: Option<(String, String)>,
}

impl Measured {
    /// `None` of volumes that nobody measures, such as paths of the node, as upstream.
    pub fn new(pod: &Pod, volume: &Volume, found: &Found, mounted: &MountedVolume) -> Option<Self> {
        let asked = Asked::persistent(&found.volume, found.read_only);
        let is_local = found.volume.spec.as_ref().is_some_and(|spec| spec.local.is_some());
        (asked.is_some() || is_local).then_some(())?;
        Some(Self {
            volume: volume.name.clone(),
            claim: claim_name(pod, volume)?,
            path: mounted.host_path.clone(),
            driver: asked.map(|asked| (asked.driver, asked.handle)),
        })
    }

    pub fn volume(&self) -> &str {
        &self.volume
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn driver(&self) -> Option<&str> {
        self.driver.as_ref().map(|(driver, _)| driver.as_str())
    }

    async fn look(&self, drivers: Option<&Csi>, looks: &Looks) -> Result<Option<VolumeFigures>, String> {
        match (&self.driver, drivers) {
            (None, _) => {
                let look = looks.begin(&self.path).ok_or("it was looked at before and does not answer")?;
                let read = tokio::task::spawn_blocking(move || of_path(&look.path)).await;
                read.map_err(|error| error.to_string())?.map(Some).map_err(|error| error.to_string())
            }
            (Some((driver, handle)), Some(drivers)) => drivers.figures(driver, handle, &self.path).await,
            (Some(_), None) => Ok(None),
        }
    }
}

/// The paths at which the kernel looks now. A thread that asks for a dead mount comes back when the mount does: no second
/// one is sent after it.
#[derive(Clone, Default)]
struct Looks(Arc<std::sync::Mutex<HashSet<PathBuf>>>);

impl Looks {
    /// `None` while another look is under way.
    fn begin(&self, path: &Path) -> Option<Look> {
        let is_first = self.lock().insert(path.to_owned());
        is_first.then(|| Look { path: path.to_owned(), looks: self.clone() })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<PathBuf>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Under way until it is dropped.
struct Look {
    path: PathBuf,
    looks: Looks,
}

impl Drop for Look {
    fn drop(&mut self) {
        self.looks.lock().remove(&self.path);
    }
}

/// What was last known, and since when.
#[derive(Default)]
pub struct Figures {
    known: Mutex<Option<(Instant, Arc<Vec<ClaimFigures>>)>>,
    looks: Looks,
}

impl Figures {
    /// The figures of these volumes of pods, or what was known of them a moment ago. One caller at a time asks.
    pub async fn of(
        &self,
        drivers: Option<&Csi>,
        measured: impl FnOnce() -> Vec<(Arc<Pod>, Measured)>,
    ) -> Arc<Vec<ClaimFigures>> {
        let mut known = self.known.lock().await;
        if let Some((at, figures)) = known.as_ref().filter(|(at, _)| at.elapsed() < STALE_AFTER) {
            tracing::trace!(?at, "the figures of volumes are young enough");
            return figures.clone();
        }
        let looks = measured().into_iter().map(|(pod, one)| async move {
            let looked = tokio::time::timeout(PATIENCE, one.look(drivers, &self.looks)).await;
            let figures = match looked.unwrap_or_else(|_| Err("it takes too long".to_owned())) {
                Ok(figures) => figures?,
                Err(error) => {
                    tracing::debug!(claim = one.claim, error, "what a volume holds is not known");
                    return None;
                }
            };
            let meta = &pod.metadata;
            Some(ClaimFigures {
                pod_uid: meta.uid.clone().unwrap_or_default(),
                volume: one.volume,
                namespace: meta.namespace.clone().unwrap_or_default(),
                claim: one.claim,
                figures,
            })
        });
        let figures: Arc<Vec<_>> = Arc::new(join_all(looks).await.into_iter().flatten().collect());
        *known = Some((Instant::now(), figures.clone()));
        figures
    }
}

/// What the file system of a path holds. Blocks.
fn of_path(path: &Path) -> std::io::Result<VolumeFigures> {
    let seen = rustix::fs::statvfs(path)?;
    let bytes = |blocks: u64| Some(blocks.saturating_mul(seen.f_frsize));
    Ok(VolumeFigures {
        capacity_bytes: bytes(seen.f_blocks),
        available_bytes: bytes(seen.f_bavail),
        used_bytes: bytes(seen.f_blocks.saturating_sub(seen.f_bfree)),
        inodes: Some(seen.f_files),
        inodes_free: Some(seen.f_ffree),
        inodes_used: Some(seen.f_files.saturating_sub(seen.f_ffree)),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn measured(spec: &Value, path: &Path) -> Option<Measured> {
        let pod = serde_json::from_value(json!({"metadata": {"name": "p"}})).expect("a pod");
        let volume = json!({"name": "v", "persistentVolumeClaim": {"claimName": "c"}});
        let volume = serde_json::from_value(volume).expect("a volume");
        let persistent = json!({"metadata": {"name": "pv"}, "spec": spec});
        let persistent = Arc::new(serde_json::from_value(persistent).expect("a volume"));
        let found = Found { volume: persistent, claim: Arc::default(), read_only: false, directory: None };
        let mounted = MountedVolume { host_path: path.to_owned(), read_only: false };
        Measured::new(&pod, &volume, &found, &mounted)
    }

    #[tokio::test]
    async fn nobody_looks_at_a_path_at_which_somebody_looks() {
        let local = measured(&json!({"local": {"path": "/"}}), Path::new("/")).expect("it can be measured");
        let looks = Looks::default();
        let under_way = looks.begin(Path::new("/")).expect("the first");
        assert!(local.look(None, &looks).await.is_err());
        drop(under_way);
        assert!(local.look(None, &looks).await.is_ok_and(|figures| figures.is_some()));
        assert!(local.look(None, &looks).await.is_ok(), "the look is over");
    }

    #[tokio::test(start_paused = true)]
    async fn the_kernel_says_what_local_volumes_hold_once_a_minute() {
        let dir = tempfile::tempdir().expect("a folder");
        assert_eq!(measured(&json!({"hostPath": {"path": "/"}}), dir.path()), None);
        let local = measured(&json!({"local": {"path": "/"}}), dir.path()).expect("it can be measured");
        let pod: Pod =
            serde_json::from_value(json!({"metadata": {"name": "p", "uid": "u", "namespace": "n"}}))
                .expect("a pod");
        let pod = Arc::new(pod);
        let known = Figures::default();
        let first = known.of(None, || vec![(pod.clone(), local.clone())]).await;
        let [one] = first.as_slice() else { panic!("one volume, not {first:?}") };
        assert_eq!((one.namespace.as_str(), one.claim.as_str(), one.volume.as_str()), ("n", "c", "v"));
        let capacity = one.figures.capacity_bytes.expect("known");
        assert!(capacity > 0 && one.figures.available_bytes.expect("known") <= capacity);
        assert_eq!(known.of(None, Vec::new).await, first, "they are young enough");
        tokio::time::advance(STALE_AFTER).await;
        assert!(known.of(None, Vec::new).await.is_empty());
        let lost =
            measured(&json!({"local": {"path": "/"}}), Path::new("/no/such")).expect("it can be measured");
        tokio::time::advance(STALE_AFTER).await;
        assert!(known.of(None, || vec![(pod, lost)]).await.is_empty(), "what is not known is left out");
    }
}
