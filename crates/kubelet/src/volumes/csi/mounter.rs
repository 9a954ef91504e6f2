//! A driver's volume made ready for a pod: attached, staged on the node, published to the pod.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use csi::v1::node_service_capability::rpc::Type as Capability;
use csi::v1::{NodePublishVolumeRequest, NodeStageVolumeRequest};
use k8s_openapi::api::core::v1::Pod;
use pods::volumes::attachment::hash;
use tokio::sync::watch;

use super::super::error::Step;
use super::super::{VolumeError, mount_table, ownership};
use super::Csi;
use super::asked::{Asked, Dialect, Lifecycle};
use super::calls::Calls;
use super::in_use;
use super::record::{self, Record, SIZE};
use super::terms::Terms;
use crate::seams::MountedVolume;

/// The key of a record whose volume was made ready, whole.
pub(super) const READY: &str = "ready";

/// One volume to be made ready for one pod.
#[derive(Clone)]
pub struct Job {
    pub pod: Arc<Pod>,
    pub asked: Asked,
    /// The group that owns the pod's volumes.
    pub group: Option<u32>,
    /// Whether files that are the group's already are left as they are.
    pub trusts_root: bool,
    /// Becomes true when the pod leaves.
    pub leaving: watch::Receiver<bool>,
}

impl Job {
    fn uid(&self) -> &str {
        self.pod.metadata.uid.as_deref().unwrap_or_default()
    }

    fn fail(&self, step: Step, why: impl Into<String>) -> VolumeError {
        VolumeError::driver(step, &self.asked.name, why.into())
    }

    /// The steps of a device have other names than those of a file system.
    fn steps(&self) -> (Step, Step) {
        match self.asked.is_block {
            true => (Step::SetUpDevice, Step::MapPodDevice),
            false => (Step::MountDevice, Step::SetUp),
        }
    }
}

/// Where a job's volume stands.
struct Places {
    /// The pod's folder of the volume, with the record.
    folder: PathBuf,
    target: PathBuf,
    staging: PathBuf,
}

impl Csi {
    /// Makes a volume ready. Idempotent; after a restart what is mounted is found and left alone.
    ///
    /// # Errors
    /// Why it cannot be had now.
    pub async fn set_up(&self, mut job: Job) -> Result<MountedVolume, VolumeError> {
        self.deps.terms.wait_synced().await;
        let asked = &job.asked;
        let terms = Terms::of(self.deps.terms.get("", &asked.driver).as_deref());
        terms.check(asked).map_err(|why| job.fail(Step::SetUp, why))?;
        let places = self.places(job.uid(), asked);
        let ready = MountedVolume { host_path: places.target.clone(), read_only: asked.read_only };
        if !terms.requires_republish && is_ready(&places, asked).await? {
            return Ok(ready);
        }
        let mut leaving = job.leaving.clone();
        let context = self.attached(&job.pod, asked, &terms, &mut leaving).await?;
        let turn = self.turn(&asked.driver, &asked.handle);
        let _turn = turn.lock().await;
        if *job.leaving.borrow_and_update() {
            return Err(VolumeError::PodLeaves);
        }
        let (stage, publish) = job.steps();
        let first = if job.asked.lifecycle == Lifecycle::Persistent { stage } else { publish };
        let calls = Calls::to(&self.deps.drivers, &job.asked.driver).await;
        let mut calls = calls.map_err(|why| {
            let what = match first {
                Step::MountDevice => "attacher.MountDevice failed to create newCsiDriverClient",
                Step::SetUpDevice => "blockMapper.SetUpDevice failed to get CSI client",
                _ => "mounter.SetUpAt failed to get CSI client",
            };
            job.fail(first, format!("kubernetes.io/csi: {what}: {why}"))
        })?;
        self.write_record(&job, &places, &terms, false).await?;
        let dialect = Dialect {
            knows_single_writers: calls.can(Capability::SingleNodeMultiWriter),
            group: job.group.filter(|_| calls.can(Capability::VolumeMountGroup)),
        };
        let staging = self.stage(&mut calls, &job, &places, dialect, &context).await?;
        self.publish(&mut calls, &job, &places, dialect, &terms, context, staging).await?;
        if dialect.group.is_none() && !job.asked.is_block && terms.node_gives_away(&job.asked) {
            give_away(&job, &places.target).await?;
        }
        self.write_record(&job, &places, &terms, true).await?;
        if terms.requires_republish && !*job.leaving.borrow() {
            self.publish_later(job);
        }
        Ok(ready)
    }

    /// Where a persistent volume is staged.
    pub(super) fn staging(&self, uid: &str, asked: &Asked) -> Option<PathBuf> {
        (asked.lifecycle == Lifecycle::Persistent).then(|| self.places(uid, asked).staging)
    }

    fn places(&self, uid: &str, asked: &Asked) -> Places {
        let dirs = &self.deps.dirs;
        let folder = dirs.driver_volume(uid, &asked.name);
        match asked.is_block {
            true => Places {
                target: dirs.device_target(&asked.name, uid),
                staging: dirs.device_staging(&asked.name),
                folder,
            },
            false => Places {
                target: folder.join("mount"),
                staging: dirs.driver_staging(&asked.driver, &hash(&asked.handle)),
                folder,
            },
        }
    }

    /// Writes down what is about to be mounted, or that it is: before a driver hears of a volume it stands on disk.
    async fn write_record(
        &self,
        job: &Job,
        places: &Places,
        terms: &Terms,
        is_ready: bool,
    ) -> Result<(), VolumeError> {
        let asked = &job.asked;
        let mut record = Record::new(&asked.driver, &asked.handle)
            .with("specVolID", &asked.name)
            .with("nodeName", &self.deps.node)
            .with("attachmentID", &asked.attachment(&self.deps.node))
            .with("volumeLifecycleMode", asked.lifecycle.as_str());
        if asked.lifecycle == Lifecycle::Persistent {
            let paths = [("target", &places.target), ("staging", &places.staging)];
            for (key, path) in paths {
                record = record.with(key, &path.to_string_lossy());
            }
            if terms.attach_required {
                record = record.with(in_use::KEY, &asked.unique_name());
            }
        }
        // Never longer when the volume is ready: what could be written before the driver heard of it can be again.
        record = record.with(READY, if is_ready { "true" } else { "false" });
        let folder = places.folder.clone();
        blocking(move || {
            // What cannot be read is written anew.
            let before = Record::read(&folder).ok().flatten();
            let is_same = |one: &Record| (one.driver(), one.handle()) == (record.driver(), record.handle());
            match before.filter(is_same).filter(|one| !one.get(SIZE).is_empty()) {
                Some(before) => record.with(SIZE, before.get(SIZE)).write(&folder),
                None => record.write(&folder),
            }
        })
        .await
    }

    /// Has the driver stage the volume, where it does so; returns where.
    async fn stage(
        &self,
        calls: &mut Calls,
        job: &Job,
        places: &Places,
        dialect: Dialect,
        context: &BTreeMap<String, String>,
    ) -> Result<Option<PathBuf>, VolumeError> {
        let asked = &job.asked;
        if asked.lifecycle == Lifecycle::Ephemeral || !calls.can(Capability::StageUnstageVolume) {
            return Ok(None);
        }
        if !self.is_staged(&places.staging) {
            let staging = places.staging.clone();
            let record = Record::new(&asked.driver, &asked.handle);
            let is_block = asked.is_block;
            blocking(move || {
                record::make(&staging)?;
                match staging.parent().filter(|_| !is_block) {
                    Some(parent) => record.write(parent),
                    None => Ok(()),
                }
            })
            .await?;
            let secrets = self.secret("NodeStageSecretRef", asked.stage_secret.as_ref()).await;
            let request = NodeStageVolumeRequest {
                volume_id: asked.handle.clone(),
                publish_context: context.clone(),
                staging_target_path: calls.path(&places.staging),
                volume_capability: Some(asked.capability(dialect)),
                secrets: secrets.map_err(|why| job.fail(job.steps().0, why))?,
                volume_context: asked.attributes.clone(),
            };
            calls.stage(request).await.map_err(|why| job.fail(job.steps().0, why))?;
            self.note_staged(&places.staging, true);
        }
        Ok(Some(places.staging.clone()))
    }

    #[expect(clippy::too_many_arguments, reason = "each is a part of one message to the driver")]
    async fn publish(
        &self,
        calls: &mut Calls,
        job: &Job,
        places: &Places,
        dialect: Dialect,
        terms: &Terms,
        context: BTreeMap<String, String>,
        staging: Option<PathBuf>,
    ) -> Result<(), VolumeError> {
        let (asked, step) = (&job.asked, job.steps().1);
        let told = self.told(&job.pod, asked, terms).await.map_err(|why| job.fail(step, why))?;
        let parent = places.target.parent().unwrap_or(&places.target).to_owned();
        blocking(move || record::make(&parent)).await?;
        let request = NodePublishVolumeRequest {
            volume_id: asked.handle.clone(),
            publish_context: context,
            staging_target_path: staging.map(|path| calls.path(&path)).unwrap_or_default(),
            target_path: calls.path(&places.target),
            volume_capability: Some(asked.capability(dialect)),
            readonly: asked.read_only,
            secrets: told.secrets,
            volume_context: told.context,
        };
        calls.publish(request).await.map_err(|why| job.fail(step, why))
    }
}

/// Whether the volume was made ready before, and is mounted.
async fn is_ready(places: &Places, asked: &Asked) -> Result<bool, VolumeError> {
    let (folder, target) = (places.folder.clone(), places.target.clone());
    let (driver, handle) = (asked.driver.clone(), asked.handle.clone());
    blocking(move || {
        let Some(record) = Record::read(&folder)? else { return Ok(false) };
        let is_it = record.driver() == driver && record.handle() == handle && record.get(READY) == "true";
        Ok(is_it && mount_table::is_listed(&target)?)
    })
    .await
}

/// Gives the volume's files to the pod's group.
async fn give_away(job: &Job, target: &Path) -> Result<(), VolumeError> {
    let Some(group) = job.group else { return Ok(()) };
    let (target, trusts_root) = (target.to_owned(), job.trusts_root);
    blocking(move || {
        if trusts_root && ownership::is_of_group(&target, group) {
            return Ok(());
        }
        ownership::give_to_group(&target, group, ownership::Access::ReadWrite)
    })
    .await
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, VolumeError> + Send + 'static,
) -> Result<T, VolumeError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(VolumeError::TaskLost(error.to_string())))
}
