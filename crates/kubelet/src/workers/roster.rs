//! Which pods have a worker, which wait for room, and who holds the node's room. Decides with
//! [`crate::admission`]; starts nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::former::Former;
use crate::admission::{self, Admission, Holders, Place};
use crate::allocation::{Allocation, PendingResize};
use crate::planner::Rejection;
use crate::pressure::is_critical;
use crate::worker::{Mailbox, PodView, Refusal};

/// The pace at which refusals are told, and how many at once: what upstream's controllers (`kube-api-qps`,
/// `kube-api-burst`) replace. A controller whose pods a node keeps refusing must not fill the API with them.
const REFUSAL_EVERY: Duration = Duration::from_millis(50);
const REFUSAL_BURST: u32 = 30;

pub struct Entry {
    pub mailbox: Arc<Mailbox>,
    pub view: Arc<ArcSwap<PodView>>,
    pub refused: bool,
    /// The API no longer has the pod.
    pub gone: bool,
    pub allocation: Allocation,
    /// The pod that asks for something else than it was granted, and why it is not granted.
    pub pending: Option<(Arc<Pod>, PendingResize)>,
    /// The shortest grace within which the pod was told to end for the node's sake, in seconds.
    pub evicted_within_s: Option<i64>,
    /// The pod was told to end for a critical one, which its room is kept for.
    pub gives_way: bool,
}

/// A pod that has no worker yet.
pub struct Held {
    pub pod: Arc<Pod>,
    /// The node's labels were read after the pod had come: what they say of it counts.
    pub is_sure: bool,
}

#[derive(Default)]
pub struct Roster {
    pub by_uid: HashMap<String, Entry>,
    /// Pods that wait for the room of those that are leaving, or for the node's labels: the critical ones by priority,
    /// then the others in the order they came. They have no worker.
    pub held: Vec<Held>,
    /// Static pods that have just gone.
    pub former: Former,
    refusals: Pace,
    pub tasks: JoinSet<()>,
}

impl Roster {
    /// The place of a pod among those that wait.
    pub fn held_at(&self, uid: &str) -> Option<usize> {
        self.held.iter().position(|held| held.pod.metadata.uid.as_deref() == Some(uid))
    }

    /// Has a pod wait.
    pub fn hold(&mut self, pod: Arc<Pod>) {
        let rank = |pod: &Pod| {
            let priority = pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0);
            is_critical(pod).then_some(priority)
        };
        let own = rank(&pod);
        let at = self.held.iter().position(|held| rank(&held.pod) < own).unwrap_or(self.held.len());
        self.held.insert(at, Held { pod, is_sure: false });
    }

    /// Whether a pod that has not been taken on before fits beside those that are here and the first `before` of
    /// those that wait.
    pub fn admit(&self, pod: &Pod, before: usize, place: Place<'_>) -> Admission {
        if is_taken_on(pod) || pod.metadata.deletion_timestamp.is_some() {
            return Admission::TakenOn;
        }
        let mut holders = self.holders();
        holders.staying.extend(self.held.iter().take(before).map(|held| held.pod.clone()));
        admission::admit(pod, &holders, place)
    }

    fn holders(&self) -> Holders {
        let mut holders = Holders::default();
        for entry in self.by_uid.values().filter(|entry| !entry.refused) {
            let view = entry.view.load();
            // What was granted a moment ago is not in the worker's view yet, and what was put into effect not in the API.
            let pod = || {
                let pod = entry.allocation.granted(view.pod.clone());
                if pods::is_settled(&pod) {
                    return pod;
                }
                // That the node could not grant something is of the past: this pod asks for what was granted.
                let mut status = PodStatus::clone(&view.status);
                status.conditions.iter_mut().for_each(|all| all.retain(|c| c.type_ != "PodResizePending"));
                Arc::new(Pod { status: Some(status), ..Pod::clone(&pod) })
            };
            match (view.holds_nothing, entry.gone || entry.gives_way) {
                (true, _) => {}
                (false, true) => holders.leaving.push(pod()),
                (false, false) => holders.staying.push(pod()),
            }
        }
        holders
    }

    /// Grants a pod what its newest version asks for, if it can be had. True if what the pod was granted has changed.
    pub fn resize(&mut self, uid: &str, pod: &Arc<Pod>, allocatable: &BTreeMap<String, Quantity>) -> bool {
        let Some(entry) = self.by_uid.get(uid) else { return false };
        let settled = entry.refused
            || entry.gone
            || entry.view.load().holds_nothing
            || pod.metadata.deletion_timestamp.is_some()
            || entry.allocation.is_asked_by(pod);
        let answer = if settled { Ok(()) } else { self.fits_instead(uid, pod, allocatable) };
        let Some(entry) = self.by_uid.get_mut(uid) else { return false };
        entry.pending = answer.err().map(|why| (pod.clone(), why));
        let granted = !settled && entry.pending.is_none();
        if granted {
            entry.allocation = Allocation::asked(pod);
        }
        granted
    }

    fn fits_instead(
        &self,
        uid: &str,
        pod: &Pod,
        allocatable: &BTreeMap<String, Quantity>,
    ) -> Result<(), PendingResize> {
        let is_other = |other: &Arc<Pod>| other.metadata.uid.as_deref() != Some(uid);
        let mut others = self.holders();
        others.staying.retain(is_other);
        // Room is being made for those: nobody else takes it.
        let critical = self.held.iter().filter(|held| is_critical(&held.pod));
        others.staying.extend(critical.map(|held| held.pod.clone()));
        admission::resize(pod, &others, allocatable)
    }

    /// The pods that wait for other resources than they were granted, in the order in which they are looked at: the more
    /// important first, then the better class (upstream `sortPendingResizes`).
    pub fn waiting_to_resize(&self) -> Vec<(String, Arc<Pod>)> {
        let rank = |pod: &Pod| {
            let priority = pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0);
            (std::cmp::Reverse(priority), pods::qos_class(pod) != "Guaranteed")
        };
        let pending = |(uid, entry): (&String, &Entry)| {
            entry.pending.as_ref().map(|(pod, _)| (uid.clone(), pod.clone()))
        };
        let mut waiting: Vec<_> = self.by_uid.iter().filter_map(pending).collect();
        waiting.sort_by_cached_key(|(uid, pod)| (rank(pod), uid.clone()));
        waiting
    }

    /// A refusal, with its turn among the others.
    pub fn refuse(&mut self, why: Rejection) -> Refusal {
        Refusal { why, told_at: self.refusals.next(Instant::now()) }
    }
}

/// Whether the node took the pod on before; it has a start time from then on.
pub fn is_taken_on(pod: &Pod) -> bool {
    pod.status.as_ref().is_some_and(|status| status.start_time.is_some())
}

/// Turns at a steady pace, after a burst at once.
#[derive(Default)]
struct Pace {
    /// When the next turn were, had there been no burst.
    next: Option<Instant>,
}

impl Pace {
    fn next(&mut self, now: Instant) -> Instant {
        let next = self.next.map_or(now, |next| next.max(now));
        self.next = Some(next + REFUSAL_EVERY);
        now + next.duration_since(now).saturating_sub(REFUSAL_EVERY * REFUSAL_BURST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_come_in_a_burst_and_then_at_a_pace() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        let turns: Vec<_> = (0..51).map(|_| pace.next(now).duration_since(now).as_millis()).collect();
        assert_eq!((turns[0], turns[30], turns[31], turns[50]), (0, 0, 50, 1000));
        assert_eq!(pace.next(now + Duration::from_secs(10)), now + Duration::from_secs(10));
    }
}
