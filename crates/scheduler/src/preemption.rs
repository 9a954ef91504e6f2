//! [`find`]: the pods of a lower priority that have to go so that a pod fits, and where. Pure.
//!
//! On each node that may suit without them, all pods of a lower priority are taken away; then as many as possible are
//! put back, those that a budget protects first, the more important ones before the others. Of the nodes on which that
//! succeeds, the one is chosen where it does the least harm, in upstream's order of harms.

use std::cmp::Reverse;
use std::sync::Arc;

use informer::Key;
use k8s_openapi::api::core::v1::ObjectReference;

use crate::budgets::Budgets;
use crate::cycle::has_its_claims;
use crate::filters::check_named;
use crate::neighbours::Neighbours;
use crate::node::NodeInfo;
use crate::nodes::Nodes;
use crate::nominations::Nominations;
use crate::pod::{Needs, PodInfo};
use crate::relations::Identity;
use crate::verdict::Verdict;

/// A pod that has to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Victim {
    pub key: Key,
    pub uid: Arc<str>,
    /// Of its specification.
    pub generation: Option<i64>,
    /// It is being deleted already.
    pub is_going: bool,
}

impl Victim {
    /// What an Event about the pod refers to.
    pub fn reference(&self) -> ObjectReference {
        ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: Some(self.key.name.to_string()),
            namespace: Some(self.key.namespace.to_string()),
            uid: Some(self.uid.to_string()),
            ..ObjectReference::default()
        }
    }
}

/// What has to happen so that a pod fits on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preemption {
    pub node: Arc<str>,
    pub victims: Vec<Victim>,
    /// Pods that wait for room there, which is not kept for them any more; by their uids.
    pub displaced: Vec<Arc<str>>,
}

/// A pod on a node, or one that is to come there.
#[derive(Debug, Clone)]
struct Lodger {
    uid: Arc<str>,
    needs: Arc<Needs>,
    /// When it started; one that did not is taken for the youngest.
    started: i64,
    /// `None` for a pod that is to come: it need not go, only not come.
    here: Option<(Arc<str>, Arc<Identity>, Option<i64>)>,
}

impl Lodger {
    /// Less for the more important one.
    fn rank(&self) -> (Reverse<i32>, i64) {
        (Reverse(self.needs.priority), self.started)
    }
}

/// A node with the pods that have to go there; the figures are less where they do less harm.
type Harm = (usize, i64, i64, usize, Reverse<i64>);

/// Finds the pods that have to go for `pod`, which the table attends to. `start`: the position to begin at.
pub(crate) fn find(
    pod: &PodInfo,
    nodes: &mut Nodes,
    nominations: &Nominations,
    budgets: &Budgets,
    start: usize,
) -> Option<Preemption> {
    let count = nodes.slots().len();
    let (percent, least) = pod.shape.needs.profile.candidates;
    let wanted = (nodes.count() * percent / 100).max(least);
    let mut best: Option<(Harm, Preemption)> = None;
    let (mut found, mut is_harmless) = (0, false);
    for slot in (0..count).map(|step| (start + step) % count) {
        if !may_help(pod, nodes, slot) {
            continue;
        }
        let Some((harm, preemption)) = on_node(pod, nodes, nominations, budgets, slot) else { continue };
        found += 1;
        is_harmless |= harm.0 == 0;
        if best.as_ref().is_none_or(|(least, _)| harm < *least) {
            best = Some((harm, preemption));
        }
        if is_harmless && found >= wanted {
            break;
        }
    }
    best.map(|(_, preemption)| preemption)
}

/// Whether a node refuses the pod for a reason that may go with other pods, and has pods of a lower priority.
fn may_help(pod: &PodInfo, nodes: &Nodes, slot: usize) -> bool {
    let node = &nodes.slots()[slot];
    if nodes.stamps()[slot] == 0 || !node.has_pods_below(pod.priority()) {
        return false;
    }
    let mut verdict = alone(pod, node);
    if verdict.fits() {
        verdict = Neighbours::of(&pod.shape, nodes).check(slot);
    }
    // That others go brings no volume and no device.
    (verdict.fits() || verdict.preemption_may_help()) && has_its_claims(pod, nodes, slot)
}

fn alone(pod: &PodInfo, node: &NodeInfo) -> Verdict {
    check_named(&pod.shape.needs, pod.node_name.as_deref(), node)
}

fn on_node(
    pod: &PodInfo,
    nodes: &mut Nodes,
    nominations: &Nominations,
    budgets: &Budgets,
    slot: usize,
) -> Option<(Harm, Preemption)> {
    let lodgers = lodgers(pod.priority(), nodes, nominations, slot);
    let here = lodgers.iter().filter_map(|lodger| lodger.here.as_ref());
    let mut exceeded = budgets.exceeded(here.map(|(name, identity, _)| (&**name, &**identity))).into_iter();
    let protected: Vec<bool> =
        lodgers.iter().map(|lodger| lodger.here.is_some() && exceeded.next().unwrap_or(false)).collect();
    // Those that a budget protects are put back first, those that are only to come last.
    let mut order: Vec<usize> = (0..lodgers.len()).collect();
    order.sort_by_key(|at| (lodgers[*at].here.is_none(), !protected[*at]));

    let going = if Neighbours::of(&pod.shape, nodes).is_silent() {
        let mut node = nodes.slots()[slot].clone();
        lodgers.iter().for_each(|lodger| node.give_back(&lodger.needs));
        if !alone(pod, &node).fits() {
            return None;
        }
        reprieve(&lodgers, &order, |lodger| {
            node.take(&lodger.needs);
            let fits = alone(pod, &node).fits();
            if !fits {
                node.give_back(&lodger.needs);
            }
            fits
        })
    } else {
        among_neighbours(pod, nodes, slot, &lodgers, &order)?
    };
    let harm = harm(&going, &lodgers, &protected);
    let (mut victims, mut displaced) = (Vec::new(), Vec::new());
    for lodger in going.into_iter().map(|at| &lodgers[at]) {
        match &lodger.here {
            Some((name, identity, generation)) => victims.push(Victim {
                generation: *generation,
                key: Key { namespace: Arc::clone(&identity.namespace), name: Arc::clone(name) },
                uid: Arc::clone(&lodger.uid),
                is_going: identity.leaving,
            }),
            None => displaced.push(Arc::clone(&lodger.uid)),
        }
    }
    Some((harm, Preemption { node: Arc::clone(&nodes.slots()[slot].name), victims, displaced }))
}

/// The pods of a lower priority on a node, the most important one first.
fn lodgers(priority: i32, nodes: &Nodes, nominations: &Nominations, slot: usize) -> Vec<Lodger> {
    let residents = nodes.residents(slot).map(|(uid, placed)| Lodger {
        uid: Arc::clone(uid),
        needs: Arc::clone(&placed.shape.needs),
        started: placed.started.unwrap_or(i64::MAX),
        here: Some((Arc::clone(&placed.name), Arc::clone(&placed.shape.identity), placed.generation)),
    });
    let coming = nominations.at(&nodes.slots()[slot].name).map(|(uid, nomination)| Lodger {
        uid: Arc::clone(uid),
        needs: Arc::clone(&nomination.needs),
        started: i64::MAX,
        here: None,
    });
    let mut lodgers: Vec<Lodger> =
        residents.chain(coming).filter(|lodger| lodger.needs.priority < priority).collect();
    lodgers.sort_by_key(Lodger::rank);
    lodgers
}

/// Those that cannot stay, by their numbers, the most important one first.
fn reprieve(lodgers: &[Lodger], order: &[usize], mut may_stay: impl FnMut(&Lodger) -> bool) -> Vec<usize> {
    let mut going: Vec<usize> = order.iter().copied().filter(|at| !may_stay(&lodgers[*at])).collect();
    going.sort_unstable();
    going
}

/// The same where rules about other pods count; `None` where the node does not even suit without all of them.
fn among_neighbours(
    pod: &PodInfo,
    nodes: &mut Nodes,
    slot: usize,
    lodgers: &[Lodger],
    order: &[usize],
) -> Option<Vec<usize>> {
    let name = Arc::clone(&nodes.slots()[slot].name);
    let coming: Vec<Lodger> = lodgers.iter().filter(|lodger| lodger.here.is_none()).cloned().collect();
    coming.iter().for_each(|lodger| nodes.release(&name, &lodger.needs));
    let here = lodgers.iter().filter(|lodger| lodger.here.is_some());
    let uids: Vec<Arc<str>> = here.map(|lodger| Arc::clone(&lodger.uid)).collect();
    let mut left: Vec<&Lodger> = coming.iter().collect();
    let going = nodes.without(slot, &uids, |table| {
        let fits = |nodes: &Nodes| {
            alone(pod, &nodes.slots()[slot]).fits() && Neighbours::of(&pod.shape, nodes).check(slot).fits()
        };
        if !fits(table.nodes) {
            return None;
        }
        Some(reprieve(lodgers, order, |lodger| {
            if lodger.here.is_some() {
                table.put_back(&lodger.uid);
            } else {
                table.nodes.reserve(&name, &lodger.needs);
            }
            let is_fine = fits(table.nodes);
            match (is_fine, lodger.here.is_some()) {
                (true, true) => {}
                (true, false) => left.retain(|other| other.uid != lodger.uid),
                (false, true) => table.lift(&lodger.uid),
                (false, false) => table.nodes.release(&name, &lodger.needs),
            }
            is_fine
        }))
    });
    left.iter().for_each(|lodger| nodes.reserve(&name, &lodger.needs));
    going
}

fn harm(going: &[usize], lodgers: &[Lodger], protected: &[bool]) -> Harm {
    let victims: Vec<&Lodger> =
        going.iter().map(|at| &lodgers[*at]).filter(|lodger| lodger.here.is_some()).collect();
    let exceeded = going.iter().filter(|at| protected[**at]).count();
    let priority = |lodger: &Lodger| i64::from(lodger.needs.priority);
    let highest = victims.iter().map(|lodger| priority(lodger)).max().unwrap_or(i64::MIN);
    // As upstream: each counts from the lowest possible priority, so that fewer are less harm.
    let sum = victims.iter().map(|lodger| priority(lodger) + i64::from(i32::MAX) + 1).sum();
    let oldest =
        victims.iter().filter(|lodger| priority(lodger) == highest).map(|lodger| lodger.started).min();
    (exceeded, highest, sum, victims.len(), Reverse(oldest.unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests;
