//! `csi`: a volume of a driver, which the pod itself names and which lives as long as the pod. What persistent volumes of
//! drivers share with it is here too.

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Pod, Volume};

use super::super::VolumeError;
use super::super::csi::Csi;
use super::super::csi::asked::Asked;
use super::super::csi::mounter::Job;
use super::{Plugin, Setup};
use crate::seams::MountedVolume;

pub struct Inline {
    pub drivers: Option<Arc<Csi>>,
}

#[async_trait]
impl Plugin for Inline {
    fn field(&self) -> &'static str {
        "csi"
    }

    fn takes(&self, volume: &Volume) -> bool {
        volume.csi.is_some()
    }

    async fn set_up(&self, setup: Setup) -> Result<MountedVolume, VolumeError> {
        let asked = Asked::inline(&setup.pod, &setup.volume);
        let asked = asked.ok_or_else(|| VolumeError::Unsupported("csi without a driver".into()))?;
        set_up(self.drivers.as_deref(), setup, asked).await
    }
}

/// Has the driver make a volume ready.
///
/// # Errors
/// As [`Csi::set_up`].
pub(super) async fn set_up(
    drivers: Option<&Csi>,
    setup: Setup,
    asked: Asked,
) -> Result<MountedVolume, VolumeError> {
    let drivers = drivers.ok_or_else(|| VolumeError::Unsupported("csi".into()))?;
    let (group, trusts_root) = (setup.fs_group(), trusts_root(&setup.pod));
    drivers.set_up(Job { pod: setup.pod, asked, group, trusts_root, leaving: setup.leaving }).await
}

fn trusts_root(pod: &Pod) -> bool {
    let context = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
    context.and_then(|context| context.fs_group_change_policy.as_deref()) == Some("OnRootMismatch")
}
