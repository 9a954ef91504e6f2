//! [`State`]: the scheduler's knowledge, changed by one event or one round at a time. Pure: time and randomness are
//! arguments, and what is to be done is returned as a [`Round`].

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use api::selector::LabelSelector;
use informer::{Cached, Key};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use pods::NodeRequirements;
use tokio::time::Instant;

use crate::budgets::Budgets;
use crate::configuration::Configuration;
use crate::cycle::{Chance, Decision, decide, suits};
use crate::devices::{self, Devices};
use crate::glance::Glance;
use crate::metrics::{Incoming, Metrics, Queue, Sizes, Why};
use crate::node::Aspects;
use crate::nodes::Nodes;
use crate::nominations::{Nomination, Nominations};
use crate::pod::{Needs, PodInfo, Shapes};
use crate::preemption::{Preemption, find};
use crate::queue::{Attempt, PodQueue};
use crate::refusal::{Deallocation, Refusal};
use crate::relations::Labels;
use crate::siblings::Siblings;
use crate::storage::{self, Storage};

/// The outcome for the pod that was next.
#[derive(Debug)]
pub enum Round {
    /// To be bound to the node, where it counts from now on; then [`State::bound`] or [`State::not_bound`].
    Bind(Attempt, String, Chosen),
    /// The pod waits.
    Unschedulable(PodInfo, Waits),
    /// The pod waits for others to go, for which room is kept; then [`State::not_preempted`] if they could not be told.
    Preempt(PodInfo, Waits, Preemption),
    /// The decision panicked on this pod, which will be tried again.
    Panicked(PodInfo),
}

impl Round {
    /// The pod that was next.
    pub fn pod(&self) -> &PodInfo {
        match self {
            Self::Bind(attempt, ..) => &attempt.pod,
            Self::Unschedulable(pod, _) | Self::Preempt(pod, ..) | Self::Panicked(pod) => pod,
        }
    }
}

/// What a pod's claims get on its node, to be written before the pod is bound.
#[derive(Debug, Clone, Default)]
pub struct Chosen {
    pub volumes: storage::Choices,
    pub devices: devices::Choices,
}

impl Chosen {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.volumes.is_empty() && self.devices.is_empty()
    }
}

/// What is said of a pod that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waits {
    pub message: String,
    /// The node on which room is kept for the pod.
    pub nominated: Option<Arc<str>>,
    /// A claim of the pod that is to give its devices back.
    pub deallocate: Option<Key>,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct State {
    pub(crate) nodes: Nodes,
    pub(crate) queue: PodQueue,
    shapes: Shapes,
    nominations: Nominations,
    budgets: Budgets,
    pub(crate) siblings: Siblings,
    start: usize,
    /// Pods with scheduling gates.
    gated: HashSet<Arc<str>>,
    /// Pods whose claims of devices are not there yet.
    expecting: HashMap<Arc<str>, PodInfo>,
    incoming: Incoming,
}

impl State {
    /// `metrics` count the pods that come into its queues.
    pub fn new(config: &Configuration, metrics: &Metrics) -> Self {
        let incoming = metrics.incoming();
        Self {
            shapes: Shapes::choosing(config.profiles.clone()),
            queue: PodQueue::counted(incoming, config.backoff),
            incoming: incoming.clone(),
            ..Self::default()
        }
    }

    pub fn sizes(&self) -> Sizes {
        Sizes { nodes: self.nodes.count(), pods: self.nodes.pods(), assumed: self.queue.in_flight() }
    }

    /// How many pods wait in this way.
    pub fn waiting(&self, queue: Queue) -> usize {
        if queue == Queue::Gated {
            self.gated.len() + self.expecting.len()
        } else {
            self.queue.waiting(queue)
        }
    }

    pub fn queue(&self) -> &PodQueue {
        &self.queue
    }

    /// Decides about the pod that is next; `None` if no pod waits. `tie`: how ties between nodes are broken.
    pub fn round(&mut self, tie: u64, now: Instant) -> Option<Round> {
        let attempt = self.queue.pop(now)?;
        let _span =
            tracing::debug_span!("round", scheduler = %attempt.pod.profile().scheduler_name, pod = %attempt.pod.key).entered();
        let chance = Chance { start: self.start, tie };
        // The room that was kept for the pod is its own.
        let nomination = self.nominations.remove(&attempt.pod.uid, &mut self.nodes);
        // One pod that trips the decision over must not stop the rest.
        let decided = catch_unwind(AssertUnwindSafe(|| {
            if let Some(nomination) = &nomination
                && self.is_made(&attempt.pod, &nomination.node)
            {
                return (Decision::Bind(nomination.node.to_string()), chance.start);
            }
            decide(&attempt.pod, &mut self.nodes, chance)
        }));
        let Ok((decision, next)) = decided else {
            let pod = attempt.pod.clone();
            self.queue.failed(attempt, now);
            return Some(Round::Panicked(pod));
        };
        self.start = next;
        let kept = nomination.as_ref().map(|nomination| Arc::clone(&nomination.node));
        let needs = Arc::clone(&attempt.pod.shape.needs);
        let (round, node) = match decision {
            Decision::Bind(node) => {
                let choices = self.assign(&attempt.pod, &node, now);
                let to: Arc<str> = Arc::from(&*node);
                (Round::Bind(attempt, node, choices), Some(to))
            }
            Decision::Unschedulable(refusal) => {
                let uid = Arc::clone(&attempt.pod.uid);
                let round = self.refused(attempt, &refusal, nomination, chance, now);
                let node = match &round {
                    Round::Bind(_, node, _) => Some(Arc::from(&**node)),
                    _ => self.nominations.get(&uid).map(|nomination| Arc::clone(&nomination.node)),
                };
                (round, node)
            }
        };
        if let Some(kept) = kept.filter(|kept| Some(kept) != node.as_ref()) {
            self.freed(&kept, &needs, now);
        }
        Some(round)
    }

    /// Room that was kept on a node is free.
    fn freed(&mut self, node: &str, needs: &Needs, now: Instant) {
        if let Some(slot) = self.nodes.position(node) {
            let nodes = &self.nodes;
            self.queue.wake(Why::AssignedPodDelete, now, |waitlist| waitlist.room(slot, needs, nodes));
        }
    }

    /// No room is kept for a pod any more.
    fn forget(&mut self, uid: &str, now: Instant) {
        if let Some(nomination) = self.nominations.remove(uid, &mut self.nodes) {
            self.freed(&nomination.node, &nomination.needs, now);
        }
    }

    /// No node suits as things are: others may have to go.
    fn refused(
        &mut self,
        attempt: Attempt,
        refusal: &Refusal,
        nomination: Option<Nomination>,
        chance: Chance,
        now: Instant,
    ) -> Round {
        let pod = attempt.pod.clone();
        if let Some(nomination) = nomination.filter(|nomination| self.is_being_made(&pod, nomination)) {
            let waits = Waits {
                message: refusal.because("not eligible due to terminating pod on the nominated node."),
                nominated: Some(Arc::clone(&nomination.node)),
                deallocate: None,
            };
            self.nominations.add(Arc::clone(&pod.uid), nomination, &mut self.nodes);
            self.queue.unschedulable(attempt, refusal.causes, now);
            return Round::Unschedulable(pod, waits);
        }
        let found = refusal.may_preempt.then(|| {
            let start = usize::try_from(chance.tie >> 32).unwrap_or(0);
            let (nominations, budgets) = (&self.nominations, &self.budgets);
            catch_unwind(AssertUnwindSafe(|| find(&pod, &mut self.nodes, nominations, budgets, start)))
        });
        let preemption = match found {
            Some(Ok(found)) => found,
            Some(Err(_)) => {
                self.queue.failed(attempt, now);
                return Round::Panicked(pod);
            }
            None => None,
        };
        let Some(preemption) = preemption else {
            if refusal.may_preempt {
                self.nodes.memory.has_no_victims(&pod.shape);
            }
            self.queue.unschedulable(attempt, refusal.causes, now);
            let deallocate = match &refusal.deallocation {
                Deallocation::Of(claim) => Some(claim.clone()),
                Deallocation::NoClaims | Deallocation::NoHelp => None,
            };
            return Round::Unschedulable(
                pod,
                Waits { message: refusal.message(), nominated: None, deallocate },
            );
        };
        for displaced in &preemption.displaced {
            self.nominations.remove(displaced, &mut self.nodes);
            self.queue.wake_one(displaced, Why::AssignedPodAdd, now);
        }
        let node = Arc::clone(&preemption.node);
        if preemption.victims.is_empty() {
            // Only pods that are to come were in the way.
            let choices = self.assign(&pod, &node, now);
            return Round::Bind(attempt, node.to_string(), choices);
        }
        let nomination = Nomination {
            node: Arc::clone(&node),
            needs: Arc::clone(&pod.shape.needs),
            waits_for: preemption.victims.iter().map(|victim| Arc::clone(&victim.uid)).collect(),
        };
        self.nominations.add(Arc::clone(&pod.uid), nomination, &mut self.nodes);
        self.queue.unschedulable(attempt, refusal.causes, now);
        let waits = Waits { message: refusal.reasons.clone(), nominated: Some(node), deallocate: None };
        Round::Preempt(pod, waits, preemption)
    }

    /// Whether a pod fits on the node on which room was made for it. Room that is kept for less important ones is no
    /// matter.
    fn is_made(&mut self, pod: &PodInfo, node: &str) -> bool {
        let Some(slot) = self.nodes.position(node) else { return false };
        let kept = self.nominations.at(node).map(|(_, nomination)| Arc::clone(&nomination.needs));
        let below: Vec<Arc<Needs>> = kept.filter(|needs| needs.priority < pod.priority()).collect();
        below.iter().for_each(|needs| self.nodes.release(node, needs));
        let is_made = suits(pod, &mut self.nodes, slot);
        below.iter().for_each(|needs| self.nodes.reserve(node, needs));
        is_made
    }

    /// Whether pods that are less important are still going from the node on which room is kept.
    fn is_being_made(&self, pod: &PodInfo, nomination: &Nomination) -> bool {
        let Some(slot) =
            self.nodes.position(&nomination.node).filter(|slot| self.nodes.slots()[*slot].present)
        else {
            return false;
        };
        self.nodes.residents(slot).any(|(uid, placed)| {
            placed.shape.needs.priority < pod.priority()
                && (placed.shape.identity.leaving || nomination.waits_for.contains(uid))
        })
    }

    /// A pod is to be bound to a node: the volumes and devices that its claims get there.
    fn assign(&mut self, pod: &PodInfo, node: &str, now: Instant) -> Chosen {
        let chosen = self.choose(pod, node);
        self.nodes.storage.assume(node, &chosen.volumes);
        self.nodes.devices.assume(&chosen.devices);
        self.place(pod, node, now);
        chosen
    }

    /// The volumes and devices that a pod's claims get on the node.
    fn choose(&self, pod: &PodInfo, node: &str) -> Chosen {
        let Some(node) = self.nodes.get(node) else { return Chosen::default() };
        let volumes = self.nodes.storage.wanted(pod).ok().flatten().and_then(|wanted| wanted.choose(node));
        let devices = self.nodes.devices.wanted(pod).ok().flatten().and_then(|wanted| wanted.choose(node));
        Chosen { volumes: volumes.unwrap_or_default(), devices: devices.unwrap_or_default() }
    }

    /// Takes ResourceClaims and devices from these caches.
    pub fn equip_from(&mut self, devices: Devices) {
        self.nodes.devices = devices;
    }

    /// A claim of devices was added, changed or removed: pods that wait for it may fit, or all that wait for devices
    /// where the claim has given some back.
    pub fn device_claim_changed(&mut self, claim: &Key, freed: bool, now: Instant) {
        let lists = |pod: &&PodInfo| {
            let mut listed = pod.shape.devices.iter().flat_map(|claims| claims.iter());
            pod.key.namespace == claim.namespace && listed.any(|entry| entry.claim() == Some(&*claim.name))
        };
        let waiting: Vec<PodInfo> = self.expecting.values().filter(lists).cloned().collect();
        for pod in waiting {
            self.expecting.remove(&pod.uid);
            self.enter(pod, now);
        }
        self.queue.wake(Why::DeviceClaimUpdate, now, |waitlist| waitlist.device_claim_changed(claim, freed));
    }

    /// A slice or a class of devices changed: pods that wait for devices may fit.
    pub fn devices_changed(&mut self, now: Instant) {
        self.queue.wake(Why::DevicesUpdate, now, crate::waitlist::Waitlist::devices_changed);
    }

    /// A pod waits for a node, or first for claims that are not there.
    fn enter(&mut self, pod: PodInfo, now: Instant) {
        if self.nodes.devices.readiness(&pod).is_ok() {
            self.expecting.remove(&pod.uid);
            self.queue.add(pod, now);
            return;
        }
        self.queue.remove(&pod.uid);
        if self.expecting.insert(Arc::clone(&pod.uid), pod).is_none() {
            self.incoming.came(Queue::Gated, Why::PodAdd);
        }
    }

    /// Takes claims and volumes from these caches.
    pub fn store_in(&mut self, storage: Storage) {
        self.nodes.storage = storage;
    }

    /// A claim was added, changed or removed: pods that wait for it may fit.
    pub fn claim_changed(&mut self, claim: &Key, now: Instant) {
        self.queue.wake(Why::ClaimUpdate, now, |waitlist| waitlist.claim_changed(claim));
    }

    /// A volume or a class was added or changed: pods that wait for volumes may fit.
    pub fn storage_changed(&mut self, now: Instant) {
        self.queue.wake(Why::VolumeUpdate, now, crate::waitlist::Waitlist::storage_changed);
    }

    /// What was decided for a pod's claims is written, or was given up.
    pub fn settled(&mut self, chosen: &Chosen) {
        self.nodes.storage.settle(&chosen.volumes);
        self.nodes.devices.settle(&chosen.devices);
    }

    /// The pods that were to go for this one could not be told so.
    pub fn not_preempted(&mut self, pod: &PodInfo, now: Instant) {
        self.forget(&pod.uid, now);
        self.queue.wake_one(&pod.uid, Why::AttemptFailure, now);
    }

    /// A PodDisruptionBudget is as given, or gone.
    pub fn budget_changed(&mut self, key: &Key, budget: Option<&PodDisruptionBudget>) {
        self.budgets.changed(key, budget);
    }

    /// A pod was added or changed. Its object is decoded only if it has new information.
    pub fn pod_changed(&mut self, pod: &Cached<Pod>, now: Instant) {
        let Some(glance) = Glance::of(pod) else {
            // Reading it whole reports what is odd about it; it counts as unchanged.
            pod.typed();
            return;
        };
        let node = glance.node_name();
        let settled = || glance.is_settled() || pod.typed().is_some_and(|pod| pods::is_settled(pod));
        self.gate(pod, &glance);
        if !node.is_empty() || !self.is_ours(pod, &glance) {
            self.expecting.remove(&pod.uid);
        }
        if !node.is_empty() {
            self.queue.remove(&pod.uid);
            self.forget(&pod.uid, now);
            if glance.is_terminal() {
                self.leave(&pod.uid, now);
                return;
            }
            if !self.nodes.knows(pod, node, settled())
                && let Some(info) = self.read(pod)
            {
                self.place(&info, node, now);
            }
            self.nodes.started(&pod.uid, glance.started());
        } else if !self.is_ours(pod, &glance) {
            self.queue.remove(&pod.uid);
            self.forget(&pod.uid, now);
        } else {
            if !self.queue.knows(pod, settled())
                && let Some(info) = self.read(pod)
            {
                self.enter(info, now);
            }
            self.nominate(&pod.uid, glance.nominated_node());
        }
    }

    /// Keeps the room that somebody else (an earlier run of the scheduler, an autoscaler) has made for a waiting pod.
    fn nominate(&mut self, uid: &Arc<str>, node: &str) {
        if node.is_empty() || self.nominations.get(uid).is_some() {
            return;
        }
        let Some(pod) = self.queue.waiting_pod(uid) else { return };
        let nomination = Nomination {
            node: Arc::from(node),
            needs: Arc::clone(&pod.shape.needs),
            waits_for: HashSet::new(),
        };
        self.nominations.add(Arc::clone(uid), nomination, &mut self.nodes);
    }

    /// What the rules use of a pod; `None` for one that cannot be read. The uid and the name are the cache's.
    fn read(&mut self, pod: &Cached<Pod>) -> Option<PodInfo> {
        let object = pod.typed()?;
        let siblings = self.siblings_of(object);
        let info = PodInfo::shared(object, siblings, &mut self.shapes);
        Some(PodInfo { uid: Arc::clone(&pod.uid), key: pod.key.clone(), ..info })
    }

    /// Those among whom the pod is to be spread by default: pods that are placed, that have constraints, or whose node is
    /// certain, are not.
    fn siblings_of(&self, pod: &Pod) -> Option<LabelSelector> {
        let spec = pod.spec.as_ref()?;
        let profile = self.shapes.profiles.find(spec.scheduler_name.as_deref()?)?;
        let is_open = pods::node_name(pod).is_empty()
            && spec.topology_spread_constraints.as_ref().is_none_or(Vec::is_empty)
            && !profile.default_spread.constraints.is_empty()
            && NodeRequirements::of(spec).names().is_none_or(|names| names.len() > 1);
        if is_open { self.siblings.of(pod) } else { None }
    }

    /// Keeps count of the pods that are held back.
    fn gate(&mut self, pod: &Cached<Pod>, glance: &Glance<'_>) {
        let gated = glance.node_name().is_empty() && glance.is_gated() && self.is_for_us(pod, glance);
        if !gated {
            self.gated.remove(&pod.uid);
        } else if self.gated.insert(Arc::clone(&pod.uid)) {
            self.incoming.came(Queue::Gated, Why::PodAdd);
        }
    }

    pub fn pod_gone(&mut self, uid: &str, now: Instant) {
        self.gated.remove(uid);
        self.expecting.remove(uid);
        self.queue.remove(uid);
        self.forget(uid, now);
        self.leave(uid, now);
    }

    /// A node came or changed.
    pub fn node_changed(&mut self, node: &Node, now: Instant) {
        let aspects = self.nodes.set_node(node);
        let Some(slot) = self.nodes.position(node.metadata.name.as_deref().unwrap_or("")) else { return };
        if aspects.any() {
            let nodes = &self.nodes;
            self.queue.wake(why(aspects), now, |waitlist| {
                let mut woken = waitlist.node_changed(&nodes.slots()[slot], aspects);
                waitlist.preempting(slot, nodes, &mut woken);
                woken
            });
        }
    }

    pub fn node_gone(&mut self, name: &str, now: Instant) {
        if let Some(had_pods) = self.nodes.remove_node(name) {
            self.queue.wake(Why::NodeDelete, now, |waitlist| waitlist.node_gone(had_pods));
        }
    }

    /// Terms of pods may select by the labels of namespaces; `None` for one that is gone.
    pub fn namespace_changed(&mut self, name: &str, labels: Option<Labels>, now: Instant) {
        let gone = labels.is_none();
        if self.nodes.set_namespace(name, labels) && !gone {
            self.queue.wake(Why::NamespaceUpdate, now, crate::waitlist::Waitlist::namespace_changed);
        }
    }

    /// The API has taken a binding.
    pub fn bound(&mut self, attempt: &Attempt) {
        self.queue.remove(&attempt.pod.uid);
    }

    /// A binding failed. `present`: the pod as it is now, if it is. One that went meanwhile, or has a node after all,
    /// does not wait for one any more.
    pub fn not_bound(&mut self, attempt: Attempt, present: Option<&Cached<Pod>>, now: Instant) {
        let uid = Arc::clone(&attempt.pod.uid);
        self.leave(&uid, now);
        let Some(present) = present.filter(|present| present.uid == uid) else { return };
        let waits = Glance::of(present)
            .is_none_or(|glance| glance.node_name().is_empty() && self.is_ours(present, &glance));
        if waits {
            self.queue.failed(attempt, now);
        } else {
            self.pod_changed(present, now);
        }
    }

    /// A pod is on a node, or about to be.
    fn place(&mut self, pod: &PodInfo, node: &str, now: Instant) {
        let Some(arrival) = self.nodes.place(pod, node) else { return };
        let nodes = &self.nodes;
        let changed = arrival.instead_of.is_some();
        let why = if changed { Why::AssignedPodUpdate } else { Why::AssignedPodAdd };
        self.queue.wake(why, now, |waitlist| {
            let mut woken = waitlist.pod_came(&pod.shape.identity, nodes.namespaces());
            if let Some(gone) = &arrival.instead_of {
                woken.extend(waitlist.pod_left(gone, nodes));
            }
            woken
        });
    }

    /// A pod uses no resources of its node any more.
    fn leave(&mut self, uid: &str, now: Instant) {
        let Some(gone) = self.nodes.remove_pod(uid) else { return };
        let nodes = &self.nodes;
        self.queue.wake(Why::AssignedPodDelete, now, |waitlist| waitlist.pod_left(&gone, nodes));
        // What is kept for a pod is not free for it in the waitlist's sense.
        for waiting in self.nominations.left(&nodes.left_by(&gone).name, uid) {
            self.queue.wake_one(&waiting, Why::AssignedPodDelete, now);
        }
    }

    fn is_ours(&self, pod: &Cached<Pod>, glance: &Glance<'_>) -> bool {
        self.is_for_us(pod, glance) && !glance.is_gated()
    }

    /// Whether this scheduler is to place the pod, now or once its scheduling gates are removed.
    fn is_for_us(&self, pod: &Cached<Pod>, glance: &Glance<'_>) -> bool {
        self.shapes.profiles.find(glance.scheduler()).is_some()
            && !glance.is_terminal()
            && !pod.is_being_deleted()
    }
}

/// The name of a node's change, if the node changed in more than one way.
fn why(aspects: Aspects) -> Why {
    if aspects.presence {
        Why::NodeAdd
    } else if aspects.capacity {
        Why::NodeAllocatable
    } else if aspects.labels {
        Why::NodeLabel
    } else {
        // Cordoning counts as a taint, as upstream.
        Why::NodeTaint
    }
}

#[cfg(test)]
mod tests;
