//! [`Workload`]: what the engine knows of a ReplicaSet or ReplicationController.

use api::Object;
use api::selector::LabelSelector;
use informer::{Action, Kind, Target};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{ObjectReference, PodTemplateSpec, ReplicationController};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector as SelectorObject, OwnerReference};

use kube::core::ObjectMeta;
use serde_json::json;

use super::pod::Replica;
use super::status::Status;
use crate::claim::{Claim, Claimant};
use crate::target::{controller_reference, target_of};

/// One object that wants replicas.
#[derive(Debug, Clone)]
pub struct Workload {
    pub metadata: ObjectMeta,
    pub about: ObjectReference,
    pub owner: OwnerReference,
    pub target: Target,
    /// Being deleted: the workload neither makes nor claims pods any more.
    pub deleting: bool,
    pub replicas: i32,
    pub min_ready_s: i32,
    pub selector: LabelSelector,
    pub template: PodTemplateSpec,
    pub generation: i64,
    pub status: Status,
    /// Whether the kind's status has `terminatingReplicas`.
    pub tells_terminating: bool,
}

impl Workload {
    pub(super) fn claimant(&self) -> Claimant<'_> {
        Claimant { owner: &self.owner, deleting: self.deleting }
    }

    pub(super) fn relation(&self, candidate: &Replica) -> Claim {
        self.claimant().relation(self.selector.matches(|key| candidate.label(key)), candidate)
    }

    /// Writes the status, if the object is still the version that was read. The spec is left out: a write
    /// of the status ignores it.
    pub(super) fn status_update(&self, status: &Status) -> Action {
        let OwnerReference { api_version, kind, .. } = &self.owner;
        let object = json!({
            "apiVersion": api_version,
            "kind": kind,
            "metadata": self.metadata,
            "status": status,
        });
        let object = Object::from_value(object).expect("a JSON object as written above");
        Action::Update { target: self.target.clone().subresource("status"), object }
    }
}

/// Kinds the engine serves.
pub trait Replicated: Kind {
    /// Upstream's name of the controller.
    const CONTROLLER: &'static str;
    /// The name of its work queue.
    const QUEUE: &'static str;

    /// `None` for an object the engine cannot work with (no selector, no template).
    fn workload(&self) -> Option<Workload>;

    /// The pods the workload selects; `None` if it selects none.
    fn selector(&self) -> Option<LabelSelector>;

    /// Whether the pods of all that one owner has should be spread together: revisions of one deployment.
    const HAS_SIBLINGS: bool;
}

/// The selector of an API object; `None` where it selects nothing, everything, or cannot be read, because a
/// controller must not act on any of these.
pub(crate) fn selector_of(object: Option<&SelectorObject>) -> Option<LabelSelector> {
    let value = serde_json::to_value(object?).ok()?;
    LabelSelector::from_object(&value).ok().filter(|s| !s.is_nothing() && !s.is_everything())
}

impl Replicated for ReplicaSet {
    const CONTROLLER: &'static str = "replicaset-controller";
    const HAS_SIBLINGS: bool = true;
    const QUEUE: &'static str = "replicaset";

    fn workload(&self) -> Option<Workload> {
        let spec = self.spec.as_ref()?;
        Some(Workload {
            metadata: self.metadata.clone(),
            about: client::reference(self),
            owner: controller_reference(self),
            target: target_of(self),
            deleting: self.metadata.deletion_timestamp.is_some(),
            replicas: spec.replicas.unwrap_or(1),
            min_ready_s: spec.min_ready_seconds.unwrap_or(0),
            selector: self.selector()?,
            template: spec.template.clone()?,
            generation: self.metadata.generation.unwrap_or(0),
            status: Status::of(self.status.as_ref()),
            tells_terminating: true,
        })
    }

    fn selector(&self) -> Option<LabelSelector> {
        selector_of(Some(&self.spec.as_ref()?.selector))
    }
}

impl Replicated for ReplicationController {
    const CONTROLLER: &'static str = "replication-controller";
    const HAS_SIBLINGS: bool = false;
    const QUEUE: &'static str = "replicationmanager";

    fn workload(&self) -> Option<Workload> {
        let spec = self.spec.as_ref()?;
        Some(Workload {
            metadata: self.metadata.clone(),
            about: client::reference(self),
            owner: controller_reference(self),
            target: target_of(self),
            deleting: self.metadata.deletion_timestamp.is_some(),
            replicas: spec.replicas.unwrap_or(1),
            min_ready_s: spec.min_ready_seconds.unwrap_or(0),
            selector: self.selector()?,
            template: spec.template.clone()?,
            generation: self.metadata.generation.unwrap_or(0),
            status: Status::of(self.status.as_ref()),
            tells_terminating: false,
        })
    }

    fn selector(&self) -> Option<LabelSelector> {
        let labels = self.spec.as_ref()?.selector.as_ref()?;
        let selector = LabelSelector::from_labels(labels.iter().map(|(k, v)| (k.as_str(), v.as_str())));
        (!selector.is_everything()).then_some(selector)
    }
}
