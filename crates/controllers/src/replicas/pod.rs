//! What controllers want to know of a pod.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;

pub(crate) use pods::{
    is_active, is_ready, is_terminal, is_terminating, label, node_name, phase, ready_condition,
};

/// Since when the pod has been ready; `None` when it is not, or nobody knows.
pub(crate) fn ready_since(pod: &Pod) -> Option<Timestamp> {
    ready_condition(pod)?.last_transition_time.as_ref().map(|t| t.0)
}

/// Whether a ready pod has been so long enough.
pub(crate) enum Availability {
    NotReady,
    /// It will be available after so long.
    In(SignedDuration),
    Available,
}

pub(crate) fn availability(pod: &Pod, min_ready_s: i32, now: Timestamp) -> Availability {
    if !is_ready(pod) {
        return Availability::NotReady;
    }
    if min_ready_s <= 0 {
        return Availability::Available;
    }
    let wait = SignedDuration::from_secs(min_ready_s.into());
    let Some(since) = ready_since(pod) else { return Availability::In(wait) };
    let left = wait - now.duration_since(since);
    if left.is_positive() { Availability::In(left) } else { Availability::Available }
}
