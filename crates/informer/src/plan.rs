//! [`Plan`]: the writes and events that a controller wants, as data. Made by pure functions, carried out by the
//! executor.

use std::time::Duration;

use api::{GroupVersionResource, Object};
use client::EventType;
use k8s_openapi::api::core::v1::ObjectReference;
use serde_json::Value;

/// An object (or, without a name, a collection) by its resource and key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub resource: GroupVersionResource,
    /// Empty for cluster-scoped resources.
    pub namespace: String,
    pub name: String,
    /// Empty, or `status`, `finalize`, …
    pub subresource: &'static str,
}

impl Target {
    pub fn new(group: &str, version: &str, resource: &str, namespace: &str, name: &str) -> Self {
        Self {
            resource: GroupVersionResource::new(group, version, resource),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            subresource: "",
        }
    }

    pub fn subresource(mut self, name: &'static str) -> Self {
        self.subresource = name;
        self
    }

    /// The URL path.
    pub fn path(&self) -> String {
        let r = &self.resource;
        let mut path = if r.group.is_empty() {
            format!("/api/{}", r.version)
        } else {
            format!("/apis/{}/{}", r.group, r.version)
        };
        if !self.namespace.is_empty() {
            path.push_str("/namespaces/");
            path.push_str(&self.namespace);
        }
        for part in [r.resource.as_str(), self.name.as_str(), self.subresource] {
            if !part.is_empty() {
                path.push('/');
                path.push_str(part);
            }
        }
        path
    }
}

/// How to delete.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeletePolicy {
    /// Only this very object; a newer one of the same name is left alone.
    pub uid: Option<String>,
    pub resource_version: Option<String>,
    pub grace_period_s: Option<i64>,
    /// `Foreground`, `Background` or `Orphan`.
    pub propagation: Option<&'static str>,
}

/// One write. Actions of a plan are carried out in order; the first failure ends the plan, which is
/// then made anew from fresh observations.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// `target` names the collection. An object that exists already counts as a conflict.
    Create {
        target: Target,
        object: Object,
    },
    /// Replaces the object, which carries the resourceVersion it was read at.
    Update {
        target: Target,
        object: Object,
    },
    /// A JSON merge patch.
    MergePatch {
        target: Target,
        patch: Value,
    },
    /// A strategic merge patch.
    StrategicPatch {
        target: Target,
        patch: Value,
    },
    /// A JSON patch (list of operations).
    JsonPatch {
        target: Target,
        patch: Value,
    },
    /// An object that is gone already is no failure.
    Delete {
        target: Target,
        policy: DeletePolicy,
    },
    /// Deletes everything in the collection `target` names, with `Background`, … propagation.
    DeleteCollection {
        target: Target,
        propagation: &'static str,
    },
    Event {
        about: ObjectReference,
        event_type: EventType,
        reason: &'static str,
        message: String,
    },
    /// One write, whose events have words of their own.
    Told {
        action: Box<Action>,
        words: Box<Words>,
    },
    /// Writes in order, the first failure ends the series. It may stand in a batch.
    Series(Vec<Action>),
    /// Actions that need no order among themselves, carried out concurrently; upstream's slow start
    /// (1, 2, 4, …) guards the API against a flood of doomed creates.
    Batch(Vec<Action>),
}

impl Action {
    /// This write, reported by events in these words.
    pub fn told(self, words: Words) -> Self {
        Self::Told { action: Box::new(self), words: Box::new(words) }
    }

    /// The writes of which the action consists, in order.
    pub fn writes(&self) -> Vec<&Self> {
        match self {
            Self::Batch(actions) | Self::Series(actions) => actions.iter().flat_map(Self::writes).collect(),
            Self::Told { action, .. } => action.writes(),
            one => vec![one],
        }
    }
}

/// The events of one write.
#[derive(Debug, Clone, PartialEq)]
pub struct Words {
    pub about: ObjectReference,
    /// Reason and message once the write is done.
    pub done: (&'static str, String),
    /// Reasons and messages when it has failed, to which the error is added. Not told of an object that exists already.
    pub failed: Vec<(&'static str, String)>,
}

/// What to do about one key.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    pub actions: Vec<Action>,
    /// Events told when a create or delete is done: upstream's `SuccessfulCreate`, with the object's name.
    pub on_success: Option<EventWords>,
    /// Events told when a create or delete fails: upstream's `FailedCreate`, with the error.
    pub on_failure: Option<EventWords>,
    /// Look again after so long even if nothing changes.
    pub again_after: Option<Duration>,
    /// Why, for the log: one line a decision.
    pub reasons: Vec<String>,
}

/// The events for creates and deletes: a reason, and a message `<prefix><name or error>`.
#[derive(Debug, Clone, PartialEq)]
pub struct EventWords {
    pub about: ObjectReference,
    pub create: (&'static str, &'static str),
    pub delete: (&'static str, &'static str),
}

impl Plan {
    /// Nothing to do.
    pub fn nothing() -> Self {
        Self::default()
    }

    pub fn because(mut self, reason: impl Into<String>) -> Self {
        self.reasons.push(reason.into());
        self
    }

    pub fn then(&mut self, action: Action) {
        self.actions.push(action);
    }

    /// Keeps the earliest time to look again.
    pub fn look_again(&mut self, after: Duration) {
        self.again_after = Some(self.again_after.map_or(after, |old| old.min(after)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let t = Target::new("apps", "v1", "replicasets", "ns", "a").subresource("status");
        assert_eq!(t.path(), "/apis/apps/v1/namespaces/ns/replicasets/a/status");
        assert_eq!(Target::new("", "v1", "nodes", "", "n").path(), "/api/v1/nodes/n");
    }
}
