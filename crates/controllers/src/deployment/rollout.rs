//! [`Rollout`]: the working state of one decision. Sizes are changed in the rollout first;
//! [`Revision::changes`] then returns what to write.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, ReplicaSet};
use serde_json::{Value, json};

use super::limits::{self, Limits};
use super::template;

pub(super) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
pub(super) const MAX: &str = "deployment.kubernetes.io/max-replicas";

/// One of the deployment's ReplicaSets and the changes planned for it.
#[derive(Debug, Clone)]
pub(super) struct Revision {
    pub set: Arc<ReplicaSet>,
    /// The planned size.
    pub replicas: i32,
    /// Annotations to set.
    pub annotations: BTreeMap<String, String>,
    /// The planned minReadySeconds.
    pub min_ready_s: i32,
    /// The set does not exist yet: the whole object is to be created.
    pub is_new: bool,
}

impl Revision {
    pub fn of(set: Arc<ReplicaSet>) -> Self {
        let spec = set.spec.as_ref();
        let replicas = spec.and_then(|s| s.replicas).unwrap_or(1);
        let min_ready_s = spec.and_then(|s| s.min_ready_seconds).unwrap_or(0);
        Self { set, replicas, annotations: BTreeMap::new(), min_ready_s, is_new: false }
    }

    pub fn name(&self) -> &str {
        self.set.metadata.name.as_deref().unwrap_or("")
    }

    pub fn annotation(&self, key: &str) -> Option<&str> {
        let present = self.set.metadata.annotations.as_ref().and_then(|a| a.get(key));
        self.annotations.get(key).or(present).map(String::as_str)
    }

    pub fn number(&self, key: &str) -> Option<i32> {
        self.annotation(key)?.parse().ok()
    }

    /// Sets an annotation if it has another value.
    pub fn annotate(&mut self, key: &str, value: impl Into<String>) {
        let value = value.into();
        if self.annotation(key) != Some(&value) {
            self.annotations.insert(key.to_owned(), value);
        }
    }

    /// The set's present size.
    pub fn size_before(&self) -> i32 {
        if self.is_new { 0 } else { self.set.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1) }
    }

    pub fn available(&self) -> i32 {
        self.figure(|s| s.available_replicas)
    }

    /// The number of available pods once the planned size is reached: a status that lags behind must not
    /// count pods that are already being deleted.
    pub fn available_within_size(&self) -> i32 {
        self.available().min(self.replicas)
    }

    pub fn ready(&self) -> i32 {
        self.figure(|s| s.ready_replicas)
    }

    /// The number of pods, as the set's controller counted them.
    pub fn actual(&self) -> i32 {
        self.figure(|s| Some(s.replicas))
    }

    fn figure(&self, of: impl Fn(&k8s_openapi::api::apps::v1::ReplicaSetStatus) -> Option<i32>) -> i32 {
        self.set.status.as_ref().and_then(of).unwrap_or(0)
    }

    pub fn created(&self) -> Option<Timestamp> {
        self.set.metadata.creation_timestamp.as_ref().map(|t| t.0)
    }

    /// The patch that makes the planned changes; `None` if there are none.
    pub fn changes(&self) -> Option<Value> {
        let mut spec = serde_json::Map::new();
        if self.replicas != self.size_before() {
            spec.insert("replicas".to_owned(), self.replicas.into());
        }
        let before = self.set.spec.as_ref().and_then(|s| s.min_ready_seconds).unwrap_or(0);
        if self.min_ready_s != before {
            spec.insert("minReadySeconds".to_owned(), self.min_ready_s.into());
        }
        if spec.is_empty() && self.annotations.is_empty() {
            return None;
        }
        let mut patch = json!({"metadata": {"resourceVersion": self.set.metadata.resource_version}});
        if !self.annotations.is_empty() {
            patch["metadata"]["annotations"] = json!(self.annotations);
        }
        if !spec.is_empty() {
            patch["spec"] = Value::Object(spec);
        }
        Some(patch)
    }
}

/// A deployment and its sets while sizes are being decided.
#[derive(Debug, Clone)]
pub(super) struct Rollout<'a> {
    pub deployment: &'a Deployment,
    pub spec: &'a DeploymentSpec,
    pub replicas: i32,
    pub limits: Limits,
    /// The set of the deployment's template, if there is one.
    pub new: Option<Revision>,
    /// All others, oldest first.
    pub old: Vec<Revision>,
    pub now: Timestamp,
}

impl<'a> Rollout<'a> {
    pub fn new(
        deployment: &'a Deployment,
        spec: &'a DeploymentSpec,
        sets: &[Arc<ReplicaSet>],
        now: Timestamp,
    ) -> Self {
        let mut old: Vec<Revision> = sets.iter().cloned().map(Revision::of).collect();
        // The oldest of equal ones is the one in use.
        old.sort_by(|a, b| a.created().cmp(&b.created()).then_with(|| a.name().cmp(b.name())));
        let wanted = &spec.template;
        let matches = |r: &Revision| {
            let made = r.set.spec.as_ref().and_then(|s| s.template.as_ref());
            made.is_some_and(|made| template::same(made, wanted))
        };
        let new = old.iter().position(matches).map(|i| old.remove(i));
        Self {
            deployment,
            spec,
            replicas: limits::replicas(deployment),
            limits: Limits::of(deployment),
            new,
            old,
            now,
        }
    }

    pub fn name(&self) -> &str {
        self.deployment.metadata.name.as_deref().unwrap_or("")
    }

    pub fn all(&self) -> impl Iterator<Item = &Revision> {
        self.old.iter().chain(&self.new)
    }

    pub fn all_mut(&mut self) -> impl Iterator<Item = &mut Revision> {
        self.old.iter_mut().chain(&mut self.new)
    }

    /// Pods all sets together are to have.
    pub fn total(&self) -> i32 {
        self.all().map(|r| r.replicas).sum()
    }

    pub fn total_available(&self) -> i32 {
        self.all().map(Revision::available).sum()
    }

    /// The largest number of pods that may exist at once.
    pub fn ceiling(&self) -> i32 {
        self.replicas.saturating_add(self.limits.max_surge)
    }

    /// Notes on a set what the deployment wanted when it was sized.
    pub fn note_scale(revision: &mut Revision, replicas: i32, ceiling: i32) {
        revision.annotate(DESIRED, replicas.to_string());
        revision.annotate(MAX, ceiling.to_string());
    }

    /// Sets a set's size and records the reason; the reason for an unchanged size is recorded only on request.
    pub fn resize(revision: &mut Revision, size: i32, replicas: i32, ceiling: i32) {
        revision.replicas = size.max(0);
        Self::note_scale(revision, replicas, ceiling);
    }

    /// Whether the deployment was scaled since its running sets were sized.
    pub fn was_scaled(&self) -> bool {
        self.all()
            .filter(|r| r.replicas > 0)
            .any(|r| r.number(DESIRED).is_some_and(|desired| desired != self.replicas))
    }
}
