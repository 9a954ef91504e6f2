//! A volume that has grown is made to fill its new room on the node, where its driver does that (`NodeExpandVolume`), and
//! its claim says so then.
//!
//! The driver's controller has grown the volume itself before, and has written that into the persistent volume.

use std::collections::BTreeMap;
use std::path::Path;

use api::quantity::Quantity;
use csi::v1::node_service_capability::rpc::Type as Capability;
use csi::v1::{CapacityRange, NodeExpandVolumeRequest};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimCondition};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Wire;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::Csi;
use super::asked::{Asked, Dialect};
use super::calls::Calls;

const RESOURCE: &str = "storage";
const FAILED: &str = "NodeResizeError";
/// What is over once the volume has its new size.
const OVER: [&str; 4] = ["Resizing", "FileSystemResizePending", "ControllerResizeError", FAILED];

/// A volume that is larger than its claim knows.
#[derive(Debug, Clone, PartialEq)]
pub struct Growth {
    namespace: String,
    claim: String,
    uid: String,
    version: String,
    size: String,
    bytes: i64,
    conditions: Vec<PersistentVolumeClaimCondition>,
}

impl Growth {
    /// `None` where there is nothing to do, or where it was found that it cannot be done.
    pub fn of(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Option<Self> {
        let bytes = |list: Option<&BTreeMap<String, Wire>>| {
            let size = list?.get(RESOURCE)?.0.clone();
            Some((size.parse::<Quantity>().ok()?.value(), size))
        };
        let status = claim.status.as_ref()?;
        let (bytes_now, size) = bytes(volume.spec.as_ref()?.capacity.as_ref())?;
        let (bytes_known, _) = bytes(status.capacity.as_ref())?;
        let stage = status.allocated_resource_statuses.as_ref().and_then(|all| all.get(RESOURCE));
        let is_infeasible = stage.is_some_and(|stage| stage == "NodeResizeInfeasible");
        (bytes_now > bytes_known && !is_infeasible).then_some(())?;
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let meta = &claim.metadata;
        Some(Self {
            namespace: text(&meta.namespace),
            claim: text(&meta.name),
            uid: text(&meta.uid),
            version: text(&meta.resource_version),
            size,
            bytes: bytes_now,
            conditions: status.conditions.clone().unwrap_or_default(),
        })
    }

    /// The claim as it is then, bound to what it was.
    fn patch(&self, status: &Value) -> Value {
        json!({"metadata": {"uid": self.uid, "resourceVersion": self.version}, "status": status})
    }

    fn done(&self) -> Value {
        let left = self.conditions.iter().filter(|condition| !OVER.contains(&condition.type_.as_str()));
        self.patch(&json!({
            "capacity": {RESOURCE: self.size},
            "conditions": left.collect::<Vec<_>>(),
            "allocatedResourceStatuses": {RESOURCE: null},
        }))
    }

    /// `None` where the claim says so already.
    fn failed(&self, why: &str, now: Timestamp) -> Option<Value> {
        let message = format!("failed to expand pvc with {why}");
        let is_it = |condition: &&PersistentVolumeClaimCondition| condition.type_ == FAILED;
        if self.conditions.iter().find(is_it).is_some_and(|known| known.message.as_ref() == Some(&message)) {
            return None;
        }
        let mut conditions: Vec<_> = self.conditions.iter().filter(|c| !is_it(c)).cloned().collect();
        conditions.push(PersistentVolumeClaimCondition {
            type_: FAILED.to_owned(),
            status: "True".to_owned(),
            last_transition_time: Some(Time(now)),
            message: Some(message),
            ..PersistentVolumeClaimCondition::default()
        });
        Some(self.patch(&json!({"conditions": conditions})))
    }
}

impl Csi {
    /// Whether a driver of the node expands volumes there.
    pub async fn expands(&self, driver: &str) -> bool {
        Calls::to(&self.deps.drivers, driver).await.is_ok_and(|calls| calls.can(Capability::ExpandVolume))
    }

    /// Has the driver expand a volume that is mounted at `target` for a pod, and the claim say so. False of a driver that
    /// leaves that to its controller.
    ///
    /// # Errors
    /// Why it could not be done; the claim says so, too. It may be tried again.
    pub async fn expand(
        &self,
        uid: &str,
        asked: &Asked,
        growth: &Growth,
        target: &Path,
    ) -> Result<bool, String> {
        let turn = self.turn(&asked.driver, &asked.handle);
        let _turn = turn.lock().await;
        let mut calls = Calls::to(&self.deps.drivers, &asked.driver).await?;
        if !calls.can(Capability::ExpandVolume) {
            return Ok(false);
        }
        let staging = self.staging(uid, asked).filter(|_| calls.can(Capability::StageUnstageVolume));
        let dialect =
            Dialect { knows_single_writers: calls.can(Capability::SingleNodeMultiWriter), group: None };
        let request = NodeExpandVolumeRequest {
            volume_id: asked.handle.clone(),
            volume_path: calls.path(target),
            capacity_range: Some(CapacityRange { required_bytes: growth.bytes, limit_bytes: 0 }),
            staging_target_path: staging.map(|path| calls.path(&path)).unwrap_or_default(),
            volume_capability: Some(asked.capability(dialect)),
            secrets: self.secret("NodeExpandSecretRef", asked.expand_secret.as_ref()).await?,
        };
        let expanded = calls.expand(request).await;
        let patch = match &expanded {
            Ok(()) => Some(growth.done()),
            Err(why) => growth.failed(why, self.deps.clock.now()),
        };
        if let Some(patch) = patch {
            let claims: Api<PersistentVolumeClaim> =
                Api::namespaced(self.deps.client.clone(), &growth.namespace);
            let told =
                claims.patch_status(&growth.claim, &PatchParams::default(), &Patch::Merge(patch)).await;
            // Of a claim that was changed meanwhile the next look begins with what it says then.
            told.map_err(|error| {
                format!("the claim {} cannot be told: {}", growth.claim, client::message(&error))
            })?;
        }
        expanded.map(|()| true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn growth(has: &str, status: Value) -> Option<Growth> {
        let volume = json!({"metadata": {"name": "pv"}, "spec": {"capacity": {"storage": has}}});
        let metadata = json!({"name": "c", "namespace": "n", "uid": "u", "resourceVersion": "7"});
        let claim = json!({"metadata": metadata, "status": status});
        let [volume, claim] = [volume, claim].map(|object| object.to_string());
        Growth::of(
            &serde_json::from_str(&volume).expect("a volume"),
            &serde_json::from_str(&claim).expect("a claim"),
        )
    }

    #[test]
    fn a_claim_that_knows_the_size_asks_for_nothing() {
        assert_eq!(growth("2Gi", json!({"capacity": {"storage": "2048Mi"}})), None);
        assert_eq!(growth("2Gi", json!({})), None, "it is not bound");
        let infeasible = json!({"capacity": {"storage": "1Gi"},
            "allocatedResourceStatuses": {"storage": "NodeResizeInfeasible"}});
        assert_eq!(growth("2Gi", infeasible), None);
        let grown = growth("2Gi", json!({"capacity": {"storage": "1Gi"}})).expect("it has grown");
        assert_eq!(grown.bytes, 2 << 30);
    }

    #[test]
    fn the_claim_is_told_how_it_went() {
        let condition =
            |kind: &str, message: &str| json!({"type": kind, "status": "True", "message": message});
        let status = json!({"capacity": {"storage": "1Gi"}, "conditions": [
            condition("FileSystemResizePending", ""), condition("ModifyingVolume", "")]});
        let grown = growth("2Gi", status).expect("it has grown");
        let done = grown.done();
        assert_eq!(done["metadata"], json!({"uid": "u", "resourceVersion": "7"}));
        assert_eq!(done["status"]["capacity"]["storage"], "2Gi");
        assert_eq!(done["status"]["conditions"], json!([condition("ModifyingVolume", "")]));
        assert!(done["status"]["allocatedResourceStatuses"]["storage"].is_null());
        let failed = grown.failed("no", Timestamp::UNIX_EPOCH).expect("it is news");
        let last = failed["status"]["conditions"].as_array().and_then(|all| all.last()).expect("one");
        assert_eq!(
            (&last["type"], &last["message"]),
            (&json!(FAILED), &json!("failed to expand pvc with no"))
        );
        let known = json!({"capacity": {"storage": "1Gi"},
            "conditions": [condition(FAILED, "failed to expand pvc with no")]});
        assert_eq!(growth("2Gi", known).expect("it has grown").failed("no", Timestamp::UNIX_EPOCH), None);
    }
}
