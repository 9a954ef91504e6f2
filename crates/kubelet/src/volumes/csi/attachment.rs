//! Waiting until a volume is attached to this node, and what the attachment says to the driver.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::storage::v1::VolumeAttachment;
use kube::Api;
use tokio::sync::watch;

use super::super::VolumeError;
use super::super::error::Step;
use super::Csi;
use super::asked::{Asked, Lifecycle};
use super::terms::Terms;

/// Upstream's `podAttachAndMountTimeout`.
const PATIENCE: Duration = Duration::from_secs(123);

impl Csi {
    /// Waits until the volume is attached, where its driver attaches volumes, and returns what the driver's controller
    /// has said to its node. Ends at once when the pod leaves.
    ///
    /// # Errors
    /// When it takes too long, or the API does not say how the volume is attached.
    pub(super) async fn attached(
        &self,
        pod: &Pod,
        asked: &Asked,
        terms: &Terms,
        leaving: &mut watch::Receiver<bool>,
    ) -> Result<BTreeMap<String, String>, VolumeError> {
        if asked.lifecycle == Lifecycle::Ephemeral || !terms.attach_required {
            return Ok(BTreeMap::new());
        }
        let (name, node) = (asked.unique_name(), self.deps.node.as_str());
        // Nobody takes back what is noted of a pod that has left.
        if *leaving.borrow() {
            return Err(VolumeError::PodLeaves);
        }
        // Before the wait: what is in use is not detached.
        self.deps.in_use.add(&name, pod.metadata.uid.as_deref().unwrap_or_default());
        let attached = async {
            self.deps.in_use.acknowledged(&name).await;
            self.deps.own_node.wait_until(|nodes| nodes.get("", node).is_some_and(|n| has(&n, &name))).await
        };
        tokio::select! {
            waited = tokio::time::timeout(PATIENCE, attached) => {
                waited.map_err(|_| VolumeError::NotAttached)?;
            }
            _ = leaving.wait_for(|is| *is) => return Err(VolumeError::PodLeaves),
        }
        let api: Api<VolumeAttachment> = Api::all(self.deps.client.clone());
        let fail = |why: String| VolumeError::driver(Step::WaitForAttach, &asked.name, why);
        let attachment = asked.attachment(node);
        let object = api.get(&attachment).await.map_err(|error| fail(client::message(&error)))?;
        if object.metadata.deletion_timestamp.is_some() {
            return Err(fail("volume attachment is being deleted".to_owned()));
        }
        let status = object.status.unwrap_or_default();
        match status.attached {
            true => Ok(status.attachment_metadata.unwrap_or_default()),
            false => {
                let why = status.attach_error.and_then(|error| error.message);
                Err(fail(why.unwrap_or_else(|| format!("volume attachment {attachment} is not attached"))))
            }
        }
    }
}

/// Whether the API knows that the node uses the volume, and says that the volume is attached to it.
fn has(node: &Node, name: &str) -> bool {
    let Some(status) = &node.status else { return false };
    status.volumes_in_use.iter().flatten().any(|used| used == name)
        && status.volumes_attached.iter().flatten().any(|attached| attached.name == name)
}
