//! A volume that has grown is made to fill its new room on the node, where its driver does that (`NodeExpandVolume`), and
//! its claim says so then.
//!
//! The driver's controller has grown the volume itself before, and has written that into the persistent volume.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

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
use tokio::sync::watch;
use tonic::Code;

use super::Csi;
use super::asked::{Asked, Dialect};
use super::calls::Calls;
use super::mounter::{READY, blocking};
use super::record::{self, Record, SIZE};

const RESOURCE: &str = "storage";
const FAILED: &str = "NodeResizeError";
const IN_PROGRESS: &str = "NodeResizeInProgress";
const INFEASIBLE: &str = "NodeResizeInfeasible";
/// What is over once the volume has its new size.
const OVER: [&str; 4] = ["Resizing", "FileSystemResizePending", "ControllerResizeError", FAILED];

/// A volume that may be larger than the node, or its claim, knows.
#[derive(Debug, Clone, PartialEq)]
pub struct Growth {
    namespace: String,
    claim: String,
    uid: String,
    version: String,
    size: String,
    bytes: i64,
    /// What the claim says that it has.
    told_bytes: i64,
    stage: Option<String>,
    conditions: Vec<PersistentVolumeClaimCondition>,
}

/// What a driver's refusal means for the volume (upstream `isFinalError`, `inUseError`, `isInfeasibleError`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refused {
    /// The driver may be at it still.
    Unsure,
    Failed,
    /// Not while the volume is in use.
    InUse,
    /// Never with this size.
    Infeasible,
}

impl Refused {
    fn of(code: Code) -> Self {
        match code {
            Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Unavailable
            | Code::ResourceExhausted
            | Code::Aborted => Self::Unsure,
            Code::FailedPrecondition => Self::InUse,
            Code::InvalidArgument | Code::OutOfRange | Code::NotFound => Self::Infeasible,
            _ => Self::Failed,
        }
    }
}

impl Growth {
    /// `None` where the claim has no volume, or where it was found that it cannot be done.
    pub fn of(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Option<Self> {
        let bytes = |list: Option<&BTreeMap<String, Wire>>| {
            let size = list?.get(RESOURCE)?.0.clone();
            Some((size.parse::<Quantity>().ok()?.value(), size))
        };
        let status = claim.status.as_ref()?;
        let (bytes_now, size) = bytes(volume.spec.as_ref()?.capacity.as_ref())?;
        let (told_bytes, _) = bytes(status.capacity.as_ref())?;
        let stage = status.allocated_resource_statuses.as_ref().and_then(|all| all.get(RESOURCE)).cloned();
        (stage.as_deref() != Some(INFEASIBLE)).then_some(())?;
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let meta = &claim.metadata;
        Some(Self {
            namespace: text(&meta.namespace),
            claim: text(&meta.name),
            uid: text(&meta.uid),
            version: text(&meta.resource_version),
            size,
            bytes: bytes_now,
            told_bytes,
            stage,
            conditions: status.conditions.clone().unwrap_or_default(),
        })
    }

    /// Whether a node that knows the volume with `known` bytes has to do something; one that does not know it yet begins
    /// with what the claim says.
    fn is_due(&self, known: Option<i64>) -> bool {
        self.bytes > known.unwrap_or(self.told_bytes) || self.is_news()
    }

    /// Whether the claim is to be told the size. Another node may have told it.
    fn is_news(&self) -> bool {
        self.bytes > self.told_bytes
    }

    /// The claim as it is then, bound to what it was.
    fn patch(&self, status: &Value) -> Value {
        json!({"metadata": {"uid": self.uid, "resourceVersion": self.version}, "status": status})
    }

    /// `None` where the claim says so already, or that it has the size.
    fn begun(&self) -> Option<Value> {
        let is_told = !self.is_news() || self.stage.as_deref() == Some(IN_PROGRESS);
        (!is_told).then(|| self.patch(&json!({"allocatedResourceStatuses": {RESOURCE: IN_PROGRESS}})))
    }

    fn done(&self) -> Option<Value> {
        let left = self.conditions.iter().filter(|condition| !OVER.contains(&condition.type_.as_str()));
        self.is_news().then(|| {
            self.patch(&json!({
                "capacity": {RESOURCE: self.size},
                "conditions": left.collect::<Vec<_>>(),
                "allocatedResourceStatuses": {RESOURCE: null},
            }))
        })
    }

    /// `None` where the claim says so already, or where nothing is final.
    fn failed(&self, refused: Refused, why: &str, now: Timestamp) -> Option<Value> {
        let message = format!("failed to expand pvc with {why}");
        let is_it = |condition: &&PersistentVolumeClaimCondition| condition.type_ == FAILED;
        let is_known =
            self.conditions.iter().find(is_it).is_some_and(|known| known.message.as_ref() == Some(&message));
        let is_infeasible = refused == Refused::Infeasible;
        if refused == Refused::Unsure || (is_known && !is_infeasible) {
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
        let mut status = json!({"conditions": conditions});
        if is_infeasible {
            status["allocatedResourceStatuses"] = json!({RESOURCE: INFEASIBLE});
        }
        Some(self.patch(&status))
    }
}

/// A volume of a pod that runs here, or is about to.
pub struct Used<'a> {
    pub uid: &'a str,
    pub asked: &'a Asked,
    pub target: &'a Path,
    /// Becomes true when the pod leaves.
    pub leaving: watch::Receiver<bool>,
}

impl Csi {
    /// Whether a driver of the node expands volumes there.
    pub async fn expands(&self, driver: &str) -> bool {
        Calls::to(&self.deps.drivers, driver).await.is_ok_and(|calls| calls.can(Capability::ExpandVolume))
    }

    /// Has the driver expand a volume that is larger than this node has seen it, and the claim say so, unless it does.
    /// Whether the driver was asked and has done it. Nothing is done for a pod that leaves, by a driver that leaves it to
    /// its controller, or by one that has said that it cannot while the volume is used here.
    ///
    /// # Errors
    /// Why it could not be done; of what is final the claim says so, too. It may be tried again.
    pub async fn expand(&self, used: Used<'_>, mut growth: Growth) -> Result<bool, String> {
        let asked = used.asked;
        let turn = self.turn(&asked.driver, &asked.handle);
        let _turn = turn.lock().await;
        if *used.leaving.borrow() || self.is_refused(&asked.driver, &asked.handle) {
            return Ok(false);
        }
        let folder = self.deps.dirs.driver_volume(used.uid, &asked.name);
        let Some(known) = self.known(&folder, asked).await? else { return Ok(false) };
        if !growth.is_due(known) {
            let known = known.unwrap_or(growth.told_bytes);
            return self.remember(folder, known).await.map(|()| false);
        }
        let mut calls = Calls::to(&self.deps.drivers, &asked.driver).await?;
        if !calls.can(Capability::ExpandVolume) {
            return Ok(false);
        }
        let request = self.request(&calls, &used, &growth).await?;
        if let Some(patch) = growth.begun() {
            growth.version = self.tell(&growth, patch).await?;
        }
        match calls.expand(request).await {
            Ok(()) => {
                self.remember(folder, growth.bytes).await?;
                if let Some(patch) = growth.done() {
                    self.tell(&growth, patch).await?;
                }
                Ok(true)
            }
            Err((code, why)) => {
                let refused = Refused::of(code);
                let gap = if refused == Refused::Infeasible { " " } else { ": " };
                let why = format!("Expander.NodeExpand failed to expand the volume{gap}{why}");
                if refused == Refused::InUse {
                    self.note_refusal(&asked.driver, &asked.handle);
                }
                if let Some(patch) = growth.failed(refused, &why, self.deps.clock.now()) {
                    self.tell(&growth, patch).await?;
                }
                match refused {
                    Refused::InUse => {
                        tracing::warn!(volume = asked.name, why, "a volume in use is not expanded here");
                        Ok(false)
                    }
                    _ => Err(why),
                }
            }
        }
    }

    async fn request(
        &self,
        calls: &Calls,
        used: &Used<'_>,
        growth: &Growth,
    ) -> Result<NodeExpandVolumeRequest, String> {
        let asked = used.asked;
        let staging = self.staging(used.uid, asked).filter(|_| calls.can(Capability::StageUnstageVolume));
        let dialect =
            Dialect { knows_single_writers: calls.can(Capability::SingleNodeMultiWriter), group: None };
        Ok(NodeExpandVolumeRequest {
            volume_id: asked.handle.clone(),
            volume_path: calls.path(used.target),
            capacity_range: Some(CapacityRange { required_bytes: growth.bytes, limit_bytes: 0 }),
            staging_target_path: staging.map(|path| calls.path(&path)).unwrap_or_default(),
            volume_capability: Some(asked.capability(dialect)),
            secrets: self.secret("NodeExpandSecretRef", asked.expand_secret.as_ref()).await?,
        })
    }

    /// Writes the claim's status; its version from then on. Of a claim that was changed meanwhile the next look begins
    /// with what it says then.
    async fn tell(&self, growth: &Growth, patch: Value) -> Result<String, String> {
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(self.deps.client.clone(), &growth.namespace);
        let told = claims.patch_status(&growth.claim, &PatchParams::default(), &Patch::Merge(patch)).await;
        let told = told.map_err(|error| {
            format!("the claim {} cannot be told: {}", growth.claim, client::message(&error))
        })?;
        Ok(told.metadata.resource_version.unwrap_or_default())
    }

    /// The largest size with which this node knows a volume that a pod has in `folder`, if it knows one; `None` where
    /// the pod does not have the volume.
    async fn known(&self, folder: &Path, asked: &Asked) -> Result<Option<Option<i64>>, String> {
        let (dirs, folder) = (self.deps.dirs.clone(), folder.to_owned());
        let (driver, handle) = (asked.driver.clone(), asked.handle.clone());
        let known = blocking(move || {
            let is_it = |record: &Record| record.driver() == driver && record.handle() == handle;
            if !Record::read(&folder)?.is_some_and(|own| is_it(&own) && own.get(READY) == "true") {
                return Ok(None);
            }
            let all = record::of_all(&dirs).mounted.into_iter().filter(|one| is_it(&one.record));
            Ok(Some(all.filter_map(|one| one.record.get(SIZE).parse().ok()).max()))
        });
        known.await.map_err(|error| error.to_string())
    }

    /// Writes down the size with which a pod's volume is known here.
    async fn remember(&self, folder: PathBuf, bytes: i64) -> Result<(), String> {
        let written = blocking(move || match Record::read(&folder)? {
            Some(record) if record.get(SIZE) != bytes.to_string() => {
                record.with(SIZE, &bytes.to_string()).write(&folder)
            }
            _ => Ok(()),
        });
        written.await.map_err(|error| error.to_string())
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
    fn a_volume_has_grown_if_it_is_larger_than_the_node_knows() {
        let told = growth("2Gi", json!({"capacity": {"storage": "2048Mi"}})).expect("a volume");
        assert!(!told.is_due(None) && !told.is_due(Some(2 << 30)));
        assert!(told.is_due(Some(1 << 30)), "another node has told the claim");
        assert_eq!((told.begun(), told.done()), (None, None));
        assert_eq!(growth("2Gi", json!({})), None, "it is not bound");
        let infeasible = json!({"capacity": {"storage": "1Gi"},
            "allocatedResourceStatuses": {"storage": "NodeResizeInfeasible"}});
        assert_eq!(growth("2Gi", infeasible), None);
        let grown = growth("2Gi", json!({"capacity": {"storage": "1Gi"}})).expect("it has grown");
        assert_eq!(grown.bytes, 2 << 30);
        assert!(grown.is_due(None) && grown.is_due(Some(2 << 30)), "the claim does not know");
        let begun = grown.begun().expect("it is news");
        assert_eq!(begun["status"], json!({"allocatedResourceStatuses": {"storage": IN_PROGRESS}}));
        let begun =
            json!({"capacity": {"storage": "1Gi"}, "allocatedResourceStatuses": {"storage": IN_PROGRESS}});
        assert_eq!(growth("2Gi", begun).expect("it has grown").begun(), None);
    }

    #[test]
    fn only_what_is_final_is_told_and_what_is_infeasible_is_said_to_be() {
        let grown = growth("2Gi", json!({"capacity": {"storage": "1Gi"}})).expect("it has grown");
        let stage = |code| {
            let told = grown.failed(Refused::of(code), "no", Timestamp::UNIX_EPOCH)?;
            Some(told["status"]["allocatedResourceStatuses"]["storage"].as_str().map(str::to_owned))
        };
        for code in [Code::DeadlineExceeded, Code::Unavailable, Code::Aborted, Code::ResourceExhausted] {
            assert_eq!(stage(code), None, "{code:?}");
        }
        for code in [Code::InvalidArgument, Code::OutOfRange, Code::NotFound] {
            assert_eq!(stage(code), Some(Some(INFEASIBLE.to_owned())), "{code:?}");
        }
        assert_eq!((stage(Code::Internal), stage(Code::FailedPrecondition)), (Some(None), Some(None)));
    }

    #[test]
    fn the_claim_is_told_how_it_went() {
        let condition =
            |kind: &str, message: &str| json!({"type": kind, "status": "True", "message": message});
        let status = json!({"capacity": {"storage": "1Gi"}, "conditions": [
            condition("FileSystemResizePending", ""), condition("ModifyingVolume", "")]});
        let grown = growth("2Gi", status).expect("it has grown");
        let done = grown.done().expect("it is news");
        assert_eq!(done["metadata"], json!({"uid": "u", "resourceVersion": "7"}));
        assert_eq!(done["status"]["capacity"]["storage"], "2Gi");
        assert_eq!(done["status"]["conditions"], json!([condition("ModifyingVolume", "")]));
        assert!(done["status"]["allocatedResourceStatuses"]["storage"].is_null());
        let failed = grown.failed(Refused::Failed, "no", Timestamp::UNIX_EPOCH).expect("it is news");
        let last = failed["status"]["conditions"].as_array().and_then(|all| all.last()).expect("one");
        assert_eq!(
            (&last["type"], &last["message"]),
            (&json!(FAILED), &json!("failed to expand pvc with no"))
        );
        let known = json!({"capacity": {"storage": "1Gi"},
            "conditions": [condition(FAILED, "failed to expand pvc with no")]});
        let grown = growth("2Gi", known).expect("it has grown");
        assert_eq!(grown.failed(Refused::Failed, "no", Timestamp::UNIX_EPOCH), None);
    }
}
