//! The end of a pod's volumes of drivers: unpublished, and unstaged with the volume's last pod.

use std::fs;
use std::path::{Path, PathBuf};

use csi::v1::node_service_capability::rpc::Type as Capability;

use super::super::{VolumeError, mount_table};
use super::Csi;
use super::calls::Calls;
use super::mounter::blocking;
use super::record::{self, Mounted, Record};

impl Csi {
    /// Has drivers let go of everything they mounted for a pod. Idempotent; nothing is forgotten before its driver has let
    /// go of it, whoever is killed in between.
    ///
    /// # Errors
    /// With the name of the first volume that is still there.
    pub async fn tear_down(&self, uid: &str) -> Result<(), (String, VolumeError)> {
        self.publish_no_more(uid);
        let (dirs, of) = (self.deps.dirs.clone(), uid.to_owned());
        let found = blocking(move || Ok(record::of_pod(&dirs, &of))).await;
        let found = found.map_err(|error| (String::new(), error))?;
        for one in found.mounted {
            let name = one.record.get("specVolID").to_owned();
            self.release(one).await.map_err(|error| (name, error))?;
        }
        if let Some(one) = found.unreadable.into_iter().next() {
            return Err((one.name(), one.error));
        }
        self.tokens.forget(uid);
        self.deps.in_use.forget(uid);
        Ok(())
    }

    async fn release(&self, one: Mounted) -> Result<(), VolumeError> {
        let (driver, handle) = (one.record.driver().to_owned(), one.record.handle().to_owned());
        let turn = self.turn(&driver, &handle);
        let _turn = turn.lock().await;
        let fail = |why: String| VolumeError::Release { volume: one.record.get("specVolID").to_owned(), why };
        let calls = Calls::to(&self.deps.drivers, &driver).await;
        let mut calls = calls.map_err(|why| {
            fail(format!("kubernetes.io/csi: Unmounter.TearDownAt failed to get CSI client: {why}"))
        })?;
        let target = path(&one.record, "target").unwrap_or_else(|| one.folder.join("mount"));
        let unpublished = calls.unpublish(&handle, &target).await;
        unpublished.map_err(|why| fail(format!("kubernetes.io/csi: Unmounter.TearDownAt failed: {why}")))?;
        let gone = target.clone();
        blocking(move || remove_target(&gone)).await?;
        if let Some(staging) = path(&one.record, "staging") {
            self.unstage(&mut calls, &one, &staging).await.map_err(|error| match error {
                VolumeError::Release { why, .. } => fail(why),
                other => other,
            })?;
        }
        let folder = one.folder.clone();
        blocking(move || Record::remove(&folder)).await
    }

    /// Has the driver take the volume off the node, unless another pod has it.
    async fn unstage(&self, calls: &mut Calls, one: &Mounted, staging: &Path) -> Result<(), VolumeError> {
        let (dirs, own) = (self.deps.dirs.clone(), one.clone());
        let is_shared = blocking(move || {
            let all = record::of_all(&dirs);
            // Whose volume cannot be read may have this one.
            if let Some(one) = all.unreadable.into_iter().find(|one| one.may_be(&own.folder)) {
                return Err(one.error);
            }
            // What is staged is shared where it is staged at one place: devices of one handle have several.
            let place = |one: &Record| (one.driver().to_owned(), one.get("staging").to_owned());
            let same = |other: &Mounted| place(&other.record) == place(&own.record);
            Ok(all.mounted.iter().any(|other| other.folder != own.folder && same(other)))
        });
        if is_shared.await? {
            return Ok(());
        }
        if calls.can(Capability::StageUnstageVolume) {
            let unstaged = calls.unstage(one.record.handle(), staging).await;
            unstaged.map_err(|why| VolumeError::Release {
                volume: String::new(),
                why: format!("kubernetes.io/csi: attacher.UnmountDevice failed: {why}"),
            })?;
        }
        self.note_staged(staging, false);
        self.forget_refusal(one.record.driver(), one.record.handle());
        let staging = staging.to_owned();
        blocking(move || {
            remove_target(&staging)?;
            let parent = staging.parent().filter(|parent| parent.join(record::FILE).exists());
            parent.map_or(Ok(()), Record::remove)
        })
        .await
    }
}

fn path(record: &Record, key: &str) -> Option<PathBuf> {
    Some(record.get(key)).filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Removes what a driver mounted on, once it is no mount any more. Whatever else is in it stays.
fn remove_target(target: &Path) -> Result<(), VolumeError> {
    if mount_table::is_listed(target)? {
        return Err(VolumeError::StillMounted(target.to_owned()));
    }
    match fs::symlink_metadata(target) {
        Ok(meta) if meta.is_dir() => record::gone(target, fs::remove_dir(target)),
        Ok(_) => record::gone(target, fs::remove_file(target)),
        Err(error) => record::gone(target, Err(error)),
    }
}
