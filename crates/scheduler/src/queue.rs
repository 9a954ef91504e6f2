//! Decides which pod is next: the highest priority first, then the longest wait. Pods that fit nowhere wait in a
//! [`Waitlist`] until a change occurs that could help them; after a failure a pod rests for its back-off first.
//! Pure: time comes in as an argument.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use base::backoff::Policy;
use informer::Meta;
use tokio::time::Instant;

use crate::causes::Causes;
use crate::metrics::{Incoming, Queue, Why};
use crate::pod::PodInfo;
use crate::waitlist::{Waitlist, Woken};

/// Upstream's pod back-off.
pub(crate) const BACKOFF: Policy = Policy::new(Duration::from_secs(1), Duration::from_secs(10));
/// A pod that fits nowhere is tried again after this time even if no change seemed to help (upstream's value).
const UNSCHEDULABLE_LIMIT: Duration = Duration::from_secs(300);

type Rank = (Reverse<i32>, u64);

#[derive(Debug, Clone, Copy)]
enum Place {
    Active(Rank),
    /// Until the instant given, or until nobody else is waiting.
    BackingOff(Instant, u64, Rank),
    /// Could not be bound: rests until the instant given.
    Failed(Instant, u64),
    /// Waiting for a change, at most until the instant given; then the end of its back-off.
    Unschedulable(Instant, u64, Instant),
}

#[derive(Debug)]
struct Waiting {
    pod: PodInfo,
    attempts: u32,
    arrived: u64,
    /// When it was first tried.
    first: Option<Instant>,
    place: Place,
}

/// Pods waiting for a node.
#[derive(Debug)]
pub struct PodQueue {
    pods: HashMap<Arc<str>, Waiting>,
    active: BTreeMap<Rank, Arc<str>>,
    /// Pods in back-off, for when no pod is active.
    backing_off: BTreeMap<Rank, Arc<str>>,
    /// Pods that fit nowhere.
    waitlist: Waitlist,
    timed: BTreeMap<(Instant, u64), Arc<str>>,
    /// Pods that are taken out to be scheduled, each with its newest state if it changed meanwhile.
    taken: HashMap<Arc<str>, Option<PodInfo>>,
    sequence: u64,
    /// How many fit nowhere.
    unschedulable: usize,
    incoming: Incoming,
    backoff: Policy,
}

/// A pod taken out to be scheduled, with how often that was tried.
#[derive(Debug, Clone)]
pub struct Attempt {
    pub pod: PodInfo,
    pub attempts: u32,
    arrived: u64,
    /// When it was first tried.
    pub first: Instant,
}

impl Default for PodQueue {
    fn default() -> Self {
        Self {
            pods: HashMap::new(),
            active: BTreeMap::new(),
            backing_off: BTreeMap::new(),
            waitlist: Waitlist::default(),
            timed: BTreeMap::new(),
            taken: HashMap::new(),
            sequence: 0,
            unschedulable: 0,
            incoming: Incoming::default(),
            backoff: BACKOFF,
        }
    }
}

impl PodQueue {
    /// An empty queue that counts what comes in. `backoff`: how long a pod rests after a failure.
    pub fn counted(incoming: &Incoming, backoff: Policy) -> Self {
        Self { incoming: incoming.clone(), backoff, ..Self::default() }
    }

    /// Adds or updates a pod without a node. A change of a waiting pod may make it fit; a change of its status alone
    /// does not.
    pub fn add(&mut self, pod: PodInfo, now: Instant) {
        let uid = Arc::clone(&pod.uid);
        if let Some(newest) = self.taken.get_mut(&uid) {
            *newest = Some(pod);
            return;
        }
        if let Some(held) = self.pods.get_mut(&uid).filter(|held| held.pod.shape == pod.shape) {
            held.pod = pod;
            return;
        }
        self.sequence += 1;
        let (waiting, why) = match self.pods.remove(&uid) {
            Some(old) => {
                self.unlink(&old);
                let mut waiting = Waiting { pod, ..old };
                match waiting.place {
                    Place::Unschedulable(_, _, rested) => waiting.place = self.woken(&waiting, rested, now),
                    Place::Active(_) => waiting.place = Place::Active(waiting.rank()),
                    Place::BackingOff(at, n, _) => waiting.place = Place::BackingOff(at, n, waiting.rank()),
                    Place::Failed(..) => {}
                }
                (waiting, Why::PodUpdate)
            }
            None => {
                let place = Place::Active((Reverse(pod.priority()), self.sequence));
                (Waiting { pod, attempts: 0, arrived: self.sequence, first: None, place }, Why::PodAdd)
            }
        };
        self.put(waiting, why);
    }

    /// Whether a pod waits and is known as its object describes it, so that only the object's version is new.
    /// `settled`: the specification alone determines the pod's requests.
    pub fn knows(&mut self, pod: &Meta, settled: bool) -> bool {
        let Some(waiting) = self.pods.get_mut(&pod.uid) else { return false };
        let known = waiting.pod.generation.is_some_and(|generation| generation == pod.generation)
            && (waiting.pod.settled && settled)
            && waiting.pod.shape.identity.is_of(pod)
            // The names of claims that are made for a pod come with its status.
            && waiting.pod.shape.devices.is_none();
        if known {
            waiting.pod.resource_version = Some(pod.version.to_string());
        }
        known
    }

    /// The queue for a pod that fitted nowhere, once a change may help it.
    fn woken(&self, waiting: &Waiting, rested: Instant, now: Instant) -> Place {
        if rested > now {
            Place::BackingOff(rested, self.sequence, waiting.rank())
        } else {
            Place::Active(waiting.rank())
        }
    }

    /// Removes a pod that is gone or has a node. It does not return to the queue, even if it is taken out at the
    /// moment.
    pub fn remove(&mut self, uid: &str) {
        self.taken.remove(uid);
        if let Some(old) = self.pods.remove(uid) {
            self.unlink(&old);
        }
    }

    /// The next pod, taken out.
    pub fn pop(&mut self, now: Instant) -> Option<Attempt> {
        self.promote(now);
        // Backing off is for the others' sake: where nobody else waits, nobody is served by it.
        let uid = if let Some((_, uid)) = self.active.pop_first() {
            uid
        } else {
            let (_, uid) = self.backing_off.first_key_value()?;
            self.incoming.came(Queue::Active, Why::PopFromBackoff);
            Arc::clone(uid)
        };
        let waiting = self.pods.remove(&uid)?;
        self.unlink(&waiting);
        self.taken.insert(uid, None);
        let Waiting { pod, attempts, arrived, first, .. } = waiting;
        Some(Attempt { pod, attempts, arrived, first: first.unwrap_or(now) })
    }

    /// A pod that was taken out fits nowhere now, for these causes.
    pub fn unschedulable(&mut self, attempt: Attempt, causes: Causes, now: Instant) {
        let attempts = attempt.attempts + 1;
        self.sequence += 1;
        let rested = now + self.backoff.delay(attempts);
        let place = Place::Unschedulable(now + UNSCHEDULABLE_LIMIT, self.sequence, rested);
        let tried = attempt.pod.shape.clone();
        let Some(mut waiting) = self.taken_back(attempt, attempts, place) else { return };
        if waiting.pod.shape == tried {
            self.waitlist.insert(&waiting.pod, causes);
        } else {
            // It is another pod than the one that fitted nowhere.
            waiting.place = self.woken(&waiting, rested, now);
        }
        self.put(waiting, Why::AttemptFailure);
    }

    /// A pod that was taken out could not be bound: it comes again after its back-off, unless it went or
    /// got a node meanwhile.
    pub fn failed(&mut self, attempt: Attempt, now: Instant) {
        let attempts = attempt.attempts + 1;
        self.sequence += 1;
        let place = Place::Failed(now + self.backoff.delay(attempts), self.sequence);
        if let Some(waiting) = self.taken_back(attempt, attempts, place) {
            self.put(waiting, Why::AttemptFailure);
        }
    }

    fn taken_back(&mut self, attempt: Attempt, attempts: u32, place: Place) -> Option<Waiting> {
        let newest = self.taken.remove(&attempt.pod.uid)?;
        let pod = newest.unwrap_or(attempt.pod);
        Some(Waiting { pod, attempts, arrived: attempt.arrived, first: Some(attempt.first), place })
    }

    /// Records a change: pods that fit nowhere and that the change could help are tried again.
    pub fn wake(&mut self, why: Why, now: Instant, helped: impl FnOnce(&mut Waitlist) -> Woken) {
        for uid in helped(&mut self.waitlist) {
            self.sequence += 1;
            let Some(mut waiting) = self.pods.remove(&uid) else { continue };
            self.unlink(&waiting);
            if let Place::Unschedulable(_, _, rested) = waiting.place {
                waiting.place = self.woken(&waiting, rested, now);
            }
            self.put(waiting, why);
        }
    }

    /// Another attempt for a pod that fits nowhere, if it is one.
    pub fn wake_one(&mut self, uid: &str, why: Why, now: Instant) {
        let Some(waiting) =
            self.pods.get(uid).filter(|waiting| matches!(waiting.place, Place::Unschedulable(..)))
        else {
            return;
        };
        let (uid, pod) = (Arc::clone(&waiting.pod.uid), waiting.pod.clone());
        self.wake(why, now, |waitlist| {
            waitlist.remove(&pod);
            vec![uid]
        });
    }

    /// A pod that waits in any way.
    pub fn waiting_pod(&self, uid: &str) -> Option<&PodInfo> {
        self.pods.get(uid).map(|waiting| &waiting.pod)
    }

    /// When the next pod becomes ready by time alone.
    pub fn next_due(&self) -> Option<Instant> {
        self.timed.first_key_value().map(|((at, _), _)| *at)
    }

    /// Whether a pod fits nowhere and no change since could help it.
    pub fn waits_for_a_change(&self, uid: &str) -> bool {
        self.pods.get(uid).is_some_and(|waiting| matches!(waiting.place, Place::Unschedulable(..)))
    }

    pub fn len(&self) -> usize {
        self.pods.len()
    }

    /// How many pods wait in this way; gated ones are not known here.
    pub fn waiting(&self, queue: Queue) -> usize {
        match queue {
            Queue::Active => self.active.len(),
            Queue::BackingOff => self.pods.len() - self.active.len() - self.unschedulable,
            Queue::Unschedulable => self.unschedulable,
            Queue::Gated => 0,
        }
    }

    /// How many pods are taken out, which is while they are bound.
    pub fn in_flight(&self) -> usize {
        self.taken.len()
    }

    pub fn is_empty(&self) -> bool {
        self.pods.is_empty()
    }

    fn promote(&mut self, now: Instant) {
        while let Some(uid) =
            self.timed.first_key_value().filter(|((at, _), _)| *at <= now).map(|(_, uid)| Arc::clone(uid))
        {
            let Some(mut waiting) = self.pods.remove(&uid) else {
                self.timed.pop_first();
                continue;
            };
            self.unlink(&waiting);
            let timeout = matches!(waiting.place, Place::Unschedulable(..));
            waiting.place = Place::Active(waiting.rank());
            self.put(waiting, if timeout { Why::Timeout } else { Why::BackoffComplete });
        }
    }

    fn put(&mut self, waiting: Waiting, why: Why) {
        self.unschedulable += usize::from(matches!(waiting.place, Place::Unschedulable(..)));
        self.incoming.came(waiting.place.queue(), why);
        let uid = Arc::clone(&waiting.pod.uid);
        match waiting.place {
            Place::Active(rank) => drop(self.active.insert(rank, Arc::clone(&uid))),
            Place::BackingOff(at, n, rank) => {
                self.backing_off.insert(rank, Arc::clone(&uid));
                self.timed.insert((at, n), Arc::clone(&uid));
            }
            Place::Failed(at, n) | Place::Unschedulable(at, n, _) => {
                self.timed.insert((at, n), Arc::clone(&uid));
            }
        }
        self.pods.insert(uid, waiting);
    }

    fn unlink(&mut self, waiting: &Waiting) {
        match waiting.place {
            Place::Active(rank) => drop(self.active.remove(&rank)),
            Place::BackingOff(at, n, rank) => {
                self.backing_off.remove(&rank);
                self.timed.remove(&(at, n));
            }
            Place::Failed(at, n) => drop(self.timed.remove(&(at, n))),
            Place::Unschedulable(at, n, _) => {
                self.unschedulable -= 1;
                self.waitlist.remove(&waiting.pod);
                self.timed.remove(&(at, n));
            }
        }
    }
}

impl Place {
    fn queue(&self) -> Queue {
        match self {
            Self::Active(_) => Queue::Active,
            Self::BackingOff(..) | Self::Failed(..) => Queue::BackingOff,
            Self::Unschedulable(..) => Queue::Unschedulable,
        }
    }
}

impl Waiting {
    fn rank(&self) -> Rank {
        (Reverse(self.pod.priority()), self.arrived)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    use super::*;

    fn pod(name: &str, priority: i32) -> PodInfo {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": name, "uid": name}, "spec": {"containers": [], "priority": priority},
        }))
        .expect("a pod");
        PodInfo::new(&pod)
    }

    /// A node for everybody.
    fn a_new_node(waitlist: &mut Waitlist) -> Woken {
        let mut nodes = crate::nodes::Nodes::default();
        let node = json!({"metadata": {"name": "n"}, "status": {"allocatable": {"pods": "9"}}});
        let aspects = nodes.set_node(&serde_json::from_value(node).expect("a node"));
        waitlist.node_changed(nodes.get("n").expect("the node"), aspects)
    }

    #[tokio::test(start_paused = true)]
    async fn priority_then_arrival() {
        let (mut queue, now) = (PodQueue::default(), Instant::now());
        for (name, priority) in [("a", 0), ("b", 5), ("c", 0), ("d", 5)] {
            queue.add(pod(name, priority), now);
        }
        let order: Vec<String> =
            std::iter::from_fn(|| queue.pop(now)).map(|a| a.pod.uid.to_string()).collect();
        assert_eq!(order, ["b", "d", "a", "c"]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_unschedulable_pod_waits_for_a_change_and_rests() {
        let (mut queue, start) = (PodQueue::default(), Instant::now());
        queue.add(pod("a", 0), start);
        let attempt = queue.pop(start).expect("the pod");
        queue.unschedulable(attempt, Causes::default(), start);
        assert!(queue.pop(start + Duration::from_secs(200)).is_none(), "nothing changed");
        queue.wake(Why::NodeAdd, start, |_| Woken::new());
        assert!(queue.pop(start).is_none(), "nothing changed that helps");
        queue.add(pod("a", 0), start);
        assert!(queue.pop(start).is_none(), "its status is no matter");
        queue.wake(Why::NodeAdd, start, a_new_node);
        assert_eq!(queue.next_due(), Some(start + Duration::from_secs(1)));
        queue.add(pod("b", 0), start);
        assert_eq!(
            queue.pop(start).expect("a pod").pod.uid.to_string(),
            "b",
            "it rests while others are waiting"
        );
        let attempt = queue.pop(start).expect("nobody else is waiting");
        assert_eq!((attempt.attempts, queue.next_due()), (1, None));
        queue.unschedulable(attempt, Causes::default(), start + Duration::from_secs(1));
        assert!(queue.pop(start + Duration::from_secs(302)).is_some(), "at the latest after five minutes");
        assert!(queue.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_pod_that_goes_while_it_is_bound_does_not_come_back() {
        let (mut queue, now) = (PodQueue::default(), Instant::now());
        queue.add(pod("a", 0), now);
        let attempt = queue.pop(now).expect("the pod");
        queue.add(pod("a", 7), now);
        assert!(queue.pop(now).is_none(), "it is being bound");
        queue.failed(attempt, now);
        let again = queue.pop(now + Duration::from_secs(1)).expect("it rested");
        assert_eq!(again.pod.priority(), 7, "its newest state");
        queue.remove("a");
        queue.failed(again, now);
        assert!(queue.is_empty() && queue.next_due().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_pod_that_could_not_be_bound_rests_in_any_case() {
        let (mut queue, start) = (PodQueue::default(), Instant::now());
        queue.add(pod("a", 0), start);
        let attempt = queue.pop(start).expect("the pod");
        queue.failed(attempt, start);
        queue.wake(Why::NodeAdd, start, a_new_node);
        assert!(queue.pop(start).is_none());
        assert!(queue.pop(start + Duration::from_secs(1)).is_some());
    }
}
