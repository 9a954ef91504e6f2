//! [`JobPod`]: a pod as its Job sees it.

use std::borrow::Cow;
use std::cmp::Reverse;

use informer::Cached;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use super::failure_policy::{self, Verdict};
use super::settings::Settings;
use crate::replicas::pod::attempt::{Attempt, TRACKING_FINALIZER};
use crate::replicas::pod::{Phase, Replica};

/// A pod of the Job.
#[derive(Clone, Copy)]
pub(super) struct JobPod<'a> {
    pub replica: &'a Replica,
    /// Whether the pod has the finalizer: its end is not counted yet, or the finalizer is still to be taken off.
    pub tracked: bool,
}

/// Whether a cached pod has the tracking finalizer.
pub(super) fn is_tracked(pod: &Cached<Pod>) -> bool {
    pod.finalizers.iter().any(|name| &**name == TRACKING_FINALIZER)
}

impl<'a> JobPod<'a> {
    pub fn uid(&self) -> &'a str {
        &self.replica.uid
    }

    pub fn attempt(&self) -> Cow<'a, Attempt> {
        self.replica.facts.attempt.as_deref().map_or_else(|| Cow::Owned(Attempt::default()), Cow::Borrowed)
    }

    /// The index, if it is one that the Job has.
    pub fn index(&self, settings: &Settings<'_>) -> Option<u32> {
        self.any_index().filter(|index| settings.indexes.is_some_and(|limit| *index < limit))
    }

    pub fn any_index(&self) -> Option<u32> {
        self.replica.facts.attempt.as_ref()?.index
    }

    pub fn is_active(&self) -> bool {
        self.replica.is_active()
    }

    pub fn has_succeeded(&self) -> bool {
        self.replica.facts.phase == Phase::Succeeded
    }

    /// Whether the pod counts as failed. One that is being deleted may never come to say that it failed.
    pub fn has_failed(&self, settings: &Settings<'_>) -> bool {
        match self.replica.facts.phase {
            Phase::Failed => true,
            Phase::Succeeded => false,
            _ => self.replica.is_being_deleted() && !settings.replaces_only_failed,
        }
    }

    /// When the pod ended, of one that has.
    pub fn finished(&self) -> Timestamp {
        self.attempt().finished.or(self.replica.created).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// What the Job's failure policy says.
    pub fn verdict(&self, settings: &Settings<'_>) -> Verdict {
        let Some(policy) = settings.failure_policy else { return Verdict::Count };
        self.replica.object.typed().map_or(Verdict::Count, |pod| failure_policy::judge(policy, pod))
    }
}

/// Sorts pods so that those whose loss hurts least come first (`ActivePods` of `pkg/controller/controller_utils.go`).
pub(super) fn sort_by_worth(pods: &mut [JobPod<'_>]) {
    pods.sort_by_cached_key(|pod| {
        let facts = &pod.replica.facts;
        (
            !facts.node_name.is_empty(),
            match facts.phase {
                Phase::Running => 2,
                Phase::Unknown => 1,
                _ => 0,
            },
            facts.ready,
            // The younger first; unknown ages are youngest.
            Reverse(facts.ready_since().unwrap_or(Timestamp::MAX)),
            Reverse(facts.restarts),
            Reverse(pod.replica.created.unwrap_or(Timestamp::MAX)),
        )
    });
}
