//! Which pod is next: highest priority first, then who waited longest. Pods that fit nowhere wait until
//! something changes that could help them; after a failure a pod rests for its back-off first. Pure: time
//! comes in as an argument.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use base::backoff::Policy;
use tokio::time::Instant;

use crate::pod::PodInfo;

/// Upstream's pod back-off.
const BACKOFF: Policy = Policy::new(Duration::from_secs(1), Duration::from_secs(10));
/// A pod that fits nowhere is tried again after this long even if nothing seemed to help (upstream's value).
const UNSCHEDULABLE_LIMIT: Duration = Duration::from_secs(300);

type Rank = (Reverse<i32>, u64);

#[derive(Debug)]
enum Place {
    Active(Rank),
    /// Until the instant given.
    BackingOff(Instant, u64),
    /// Waiting for a change, at most until the instant given; then the end of its back-off.
    Unschedulable(Instant, u64, Instant),
}

#[derive(Debug)]
struct Waiting {
    pod: PodInfo,
    attempts: u32,
    arrived: u64,
    place: Place,
}

/// Pods waiting for a node.
#[derive(Debug, Default)]
pub struct PodQueue {
    pods: HashMap<String, Waiting>,
    active: BTreeMap<Rank, String>,
    timed: BTreeMap<(Instant, u64), String>,
    sequence: u64,
}

/// A pod taken out to be scheduled, with how often that was tried.
#[derive(Debug, Clone)]
pub struct Attempt {
    pub pod: PodInfo,
    pub attempts: u32,
    arrived: u64,
}

impl PodQueue {
    /// A pod without a node came or changed. A change of a waiting pod may make it fit.
    pub fn add(&mut self, pod: PodInfo, now: Instant) {
        let uid = pod.uid.clone();
        self.sequence += 1;
        let (attempts, arrived, place) = match self.pods.remove(&uid) {
            Some(old) => {
                self.unlink(&old.place);
                let place = match old.place {
                    Place::BackingOff(..) => Some(old.place),
                    Place::Unschedulable(_, _, rested) if rested > now => {
                        Some(Place::BackingOff(rested, self.sequence))
                    }
                    _ => None,
                };
                (old.attempts, old.arrived, place)
            }
            None => (0, self.sequence, None),
        };
        let place = place.unwrap_or(Place::Active((Reverse(pod.priority), arrived)));
        self.link(&uid, &place);
        self.pods.insert(uid, Waiting { pod, attempts, arrived, place });
    }

    /// A pod is gone or has a node.
    pub fn remove(&mut self, uid: &str) {
        if let Some(old) = self.pods.remove(uid) {
            self.unlink(&old.place);
        }
    }

    /// The next pod, taken out.
    pub fn pop(&mut self, now: Instant) -> Option<Attempt> {
        self.promote(now);
        let (_, uid) = self.active.pop_first()?;
        let waiting = self.pods.remove(&uid)?;
        Some(Attempt { pod: waiting.pod, attempts: waiting.attempts, arrived: waiting.arrived })
    }

    /// A pod that was taken out fits nowhere now.
    pub fn unschedulable(&mut self, attempt: Attempt, now: Instant) {
        let attempts = attempt.attempts + 1;
        self.sequence += 1;
        let place =
            Place::Unschedulable(now + UNSCHEDULABLE_LIMIT, self.sequence, now + BACKOFF.delay(attempts));
        self.put_back(attempt, attempts, place);
    }

    /// A pod that was taken out could not be bound: it comes again after its back-off.
    pub fn failed(&mut self, attempt: Attempt, now: Instant) {
        let attempts = attempt.attempts + 1;
        self.sequence += 1;
        let place = Place::BackingOff(now + BACKOFF.delay(attempts), self.sequence);
        self.put_back(attempt, attempts, place);
    }

    fn put_back(&mut self, attempt: Attempt, attempts: u32, place: Place) {
        let uid = attempt.pod.uid.clone();
        if self.pods.contains_key(&uid) {
            return;
        }
        self.link(&uid, &place);
        self.pods.insert(uid, Waiting { pod: attempt.pod, attempts, arrived: attempt.arrived, place });
    }

    /// Something changed that could make room: pods that fit nowhere are tried again once rested.
    pub fn something_changed(&mut self, now: Instant) {
        let waiting: Vec<(String, Instant)> = self
            .pods
            .iter()
            .filter_map(|(uid, waiting)| match waiting.place {
                Place::Unschedulable(_, _, rested) => Some((uid.clone(), rested)),
                _ => None,
            })
            .collect();
        for (uid, rested) in waiting {
            self.sequence += 1;
            let Some(mut waiting) = self.pods.remove(&uid) else { continue };
            self.unlink(&waiting.place);
            waiting.place = if rested > now {
                Place::BackingOff(rested, self.sequence)
            } else {
                Place::Active((Reverse(waiting.pod.priority), waiting.arrived))
            };
            self.link(&uid, &waiting.place);
            self.pods.insert(uid, waiting);
        }
    }

    /// When the next pod becomes ready by time alone.
    pub fn next_due(&self) -> Option<Instant> {
        self.timed.first_key_value().map(|((at, _), _)| *at)
    }

    pub fn len(&self) -> usize {
        self.pods.len()
    }

    pub fn is_empty(&self) -> bool {
        self.pods.is_empty()
    }

    fn promote(&mut self, now: Instant) {
        while let Some(entry) = self.timed.first_entry() {
            if entry.key().0 > now {
                return;
            }
            let uid = entry.remove();
            if let Some(waiting) = self.pods.get_mut(&uid) {
                let rank = (Reverse(waiting.pod.priority), waiting.arrived);
                waiting.place = Place::Active(rank);
                self.active.insert(rank, uid);
            }
        }
    }

    fn link(&mut self, uid: &str, place: &Place) {
        match place {
            Place::Active(rank) => self.active.insert(*rank, uid.to_owned()),
            Place::BackingOff(at, n) | Place::Unschedulable(at, n, _) => {
                self.timed.insert((*at, *n), uid.to_owned())
            }
        };
    }

    fn unlink(&mut self, place: &Place) {
        match place {
            Place::Active(rank) => self.active.remove(rank),
            Place::BackingOff(at, n) | Place::Unschedulable(at, n, _) => self.timed.remove(&(*at, *n)),
        };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    use super::*;

    fn pod(name: &str, priority: i32) -> PodInfo {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": name, "uid": name}, "spec": {"containers": [], "priority": priority},
        }))
        .expect("a pod");
        PodInfo::new(&Arc::new(pod))
    }

    #[tokio::test(start_paused = true)]
    async fn priority_then_arrival() {
        let (mut queue, now) = (PodQueue::default(), Instant::now());
        for (name, priority) in [("a", 0), ("b", 5), ("c", 0), ("d", 5)] {
            queue.add(pod(name, priority), now);
        }
        let order: Vec<String> = std::iter::from_fn(|| queue.pop(now)).map(|a| a.pod.uid).collect();
        assert_eq!(order, ["b", "d", "a", "c"]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_unschedulable_pod_waits_for_a_change_and_rests() {
        let (mut queue, start) = (PodQueue::default(), Instant::now());
        queue.add(pod("a", 0), start);
        let attempt = queue.pop(start).expect("the pod");
        queue.unschedulable(attempt, start);
        assert!(queue.pop(start + Duration::from_secs(200)).is_none(), "nothing changed");
        queue.something_changed(start);
        assert!(queue.pop(start).is_none(), "it rests");
        assert_eq!(queue.next_due(), Some(start + Duration::from_secs(1)));
        let attempt = queue.pop(start + Duration::from_secs(1)).expect("rested");
        queue.unschedulable(attempt, start + Duration::from_secs(1));
        assert!(queue.pop(start + Duration::from_secs(302)).is_some(), "at the latest after five minutes");
        assert!(queue.is_empty());
    }
}
