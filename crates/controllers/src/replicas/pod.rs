//! What controllers read of a pod: [`Facts`], kept beside the cached bytes, and [`Replica`], a cached pod with
//! its facts.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use informer::Cached;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use serde::Deserialize;

pub(crate) use pods::{is_ready, is_terminal, ready_condition};

const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// Since when the pod has been ready; `None` if it is not ready or the time is unknown.
pub(crate) fn ready_since(pod: &Pod) -> Option<Timestamp> {
    ready_condition(pod)?.last_transition_time.as_ref().map(|t| t.0)
}

/// Whether a ready pod has been ready for long enough to be available.
pub(crate) enum Availability {
    NotReady,
    /// The pod will be available after this time.
    In(SignedDuration),
    Available,
}

/// Fields of a pod that rounds over many pods look at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Raw")]
pub(crate) struct Facts {
    /// Empty while it has none.
    pub node_name: Box<str>,
    pub phase: Phase,
    pub ready: bool,
    pub ready_since: Option<Timestamp>,
    pub deletion_cost: i32,
    /// The most restarts of any container, and of any init container.
    pub restarts: (i32, i32),
    pub evicted: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub(crate) enum Phase {
    Pending,
    Running,
    Succeeded,
    Failed,
    #[default]
    #[serde(other)]
    Unknown,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Raw {
    metadata: RawMeta,
    spec: Option<RawSpec>,
    status: Option<RawStatus>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawMeta {
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct RawSpec {
    node_name: Option<Box<str>>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct RawStatus {
    phase: Option<Phase>,
    reason: Option<String>,
    conditions: Option<Vec<RawCondition>>,
    container_statuses: Option<Vec<RawContainer>>,
    init_container_statuses: Option<Vec<RawContainer>>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct RawCondition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
    last_transition_time: Option<Timestamp>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct RawContainer {
    restart_count: i32,
}

impl From<Raw> for Facts {
    fn from(raw: Raw) -> Self {
        let status = raw.status.unwrap_or_default();
        let conditions = status.conditions.unwrap_or_default();
        let ready = conditions.iter().find(|c| c.type_ == "Ready").filter(|c| c.status == "True");
        let most = |all: Option<Vec<RawContainer>>| {
            all.into_iter().flatten().map(|container| container.restart_count).max().unwrap_or(0)
        };
        let cost = raw.metadata.annotations.as_ref().and_then(|all| all.get(DELETION_COST));
        Self {
            node_name: raw.spec.and_then(|spec| spec.node_name).unwrap_or_default(),
            // A pod whose status says nothing has not begun.
            phase: status.phase.unwrap_or(Phase::Pending),
            ready: ready.is_some(),
            ready_since: ready.and_then(|condition| condition.last_transition_time),
            deletion_cost: cost.and_then(|text| text.parse().ok()).unwrap_or(0),
            restarts: (most(status.container_statuses), most(status.init_container_statuses)),
            evicted: status.reason.as_deref() == Some("Evicted"),
        }
    }
}

impl Facts {
    /// Whether all containers have ended for good.
    pub fn is_terminal(&self) -> bool {
        matches!(self.phase, Phase::Succeeded | Phase::Failed)
    }
}

/// The facts of a cached pod.
pub(crate) fn facts(pod: &Cached<Pod>) -> Arc<Facts> {
    pod.view()
}

/// A cached pod with its facts; its metadata by dereference.
#[derive(Debug, Clone)]
pub(crate) struct Replica {
    pub object: Cached<Pod>,
    pub facts: Arc<Facts>,
}

impl Deref for Replica {
    type Target = Cached<Pod>;

    fn deref(&self) -> &Cached<Pod> {
        &self.object
    }
}

impl Replica {
    pub fn of(object: Cached<Pod>) -> Self {
        Self { facts: facts(&object), object }
    }

    /// Whether the pod counts as a replica: neither ended nor being deleted.
    pub fn is_active(&self) -> bool {
        !self.facts.is_terminal() && !self.is_being_deleted()
    }

    /// Whether the pod is being deleted and has not ended yet.
    pub fn is_terminating(&self) -> bool {
        !self.facts.is_terminal() && self.is_being_deleted()
    }

    pub fn availability(&self, min_ready_s: i32, now: Timestamp) -> Availability {
        if !self.facts.ready {
            return Availability::NotReady;
        }
        if min_ready_s <= 0 {
            return Availability::Available;
        }
        let wait = SignedDuration::from_secs(min_ready_s.into());
        let Some(since) = self.facts.ready_since else { return Availability::In(wait) };
        let left = wait - now.duration_since(since);
        if left.is_positive() { Availability::In(left) } else { Availability::Available }
    }
}

/// Pods by the name of their node.
pub(crate) fn by_node(pods: &informer::Cache<Pod>) -> informer::Index<Pod> {
    pods.index("node", |pod, found| {
        let facts = facts(pod);
        if !facts.node_name.is_empty() {
            found(&facts.node_name);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_those_of_the_pod() {
        let json = br#"{"metadata":{"annotations":{"controller.kubernetes.io/pod-deletion-cost":"7"}},
            "spec":{"nodeName":"n"},"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True",
            "lastTransitionTime":"2026-01-01T00:00:00Z"}],"containerStatuses":[{"restartCount":2},{"restartCount":3}]}}"#;
        let facts: Facts = serde_json::from_slice(json).expect("a pod");
        assert_eq!((&*facts.node_name, facts.phase, facts.ready), ("n", Phase::Running, true));
        assert_eq!((facts.deletion_cost, facts.restarts, facts.evicted), (7, (3, 0), false));
        assert!(facts.ready_since.is_some());
        let odd: Facts = serde_json::from_str(r#"{"status":{"phase":"Other"}}"#).expect("a pod");
        assert_eq!(odd.phase, Phase::Unknown);
        let bare: Facts = serde_json::from_str("{}").expect("a pod");
        assert_eq!((bare.phase, bare.ready), (Phase::Pending, false));
    }
}
