//! A set's pods by their ordinals: the slots of the pods that are wanted, and the pods that are too many.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec};

use super::names;
use crate::replicas::pod::{Availability, Phase, Replica};

/// The place of a wanted pod.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot<'a> {
    pub ordinal: i32,
    pub pod: Option<&'a Replica>,
}

pub(super) struct Lineup<'a> {
    /// In ascending order.
    pub slots: Vec<Slot<'a>>,
    /// Pods to delete, the highest ordinal first.
    pub condemned: Vec<(i32, &'a Replica)>,
    /// The ordinal of the first pod that is not available: of the wanted ones, else of the others.
    pub first_unavailable: Option<i32>,
}

impl<'a> Lineup<'a> {
    pub fn new(set: &StatefulSet, spec: &StatefulSetSpec, pods: &[&'a Replica], now: Timestamp) -> Self {
        let wanted = names::wanted(spec);
        let mut slots: Vec<Slot<'a>> = wanted.clone().map(|ordinal| Slot { ordinal, pod: None }).collect();
        let mut condemned = Vec::new();
        for pod in pods.iter().copied() {
            let Some(ordinal) = names::ordinal(set, pod.name()) else { continue };
            match usize::try_from(ordinal - wanted.start).ok().and_then(|place| slots.get_mut(place)) {
                Some(slot) => slot.pod = Some(pod),
                None => condemned.push((ordinal, pod)),
            }
        }
        condemned.sort_by_key(|(ordinal, _)| std::cmp::Reverse(*ordinal));
        let min_ready_s = spec.min_ready_seconds.unwrap_or(0);
        let waiting = slots.iter().find(|slot| slot.pod.is_none_or(|p| is_unavailable(p, min_ready_s, now)));
        let doomed = condemned.iter().rev().find(|(_, pod)| is_unavailable(pod, min_ready_s, now));
        let first_unavailable = waiting.map(|slot| slot.ordinal).or(doomed.map(|(ordinal, _)| *ordinal));
        Self { slots, condemned, first_unavailable }
    }

    pub fn pods(&self) -> impl Iterator<Item = &'a Replica> {
        self.slots.iter().filter_map(|slot| slot.pod).chain(self.condemned.iter().map(|(_, pod)| *pod))
    }
}

pub(super) fn is_running_and_ready(pod: &Replica) -> bool {
    pod.facts.phase == Phase::Running && pod.facts.ready
}

pub(super) fn is_available(pod: &Replica, min_ready_s: i32, now: Timestamp) -> bool {
    is_running_and_ready(pod) && matches!(pod.availability(min_ready_s, now), Availability::Available)
}

/// Not available, or going.
pub(super) fn is_unavailable(pod: &Replica, min_ready_s: i32, now: Timestamp) -> bool {
    pod.is_being_deleted() || !is_available(pod, min_ready_s, now)
}
