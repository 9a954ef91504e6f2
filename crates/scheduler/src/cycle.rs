//! [`decide`]: from one pod and the node table to a node, or the reasons why no node suits. Pure.
//!
//! The table also stores the results of decisions, so that pods of equal shape are decided together: for the next
//! such pod only nodes that changed are examined again. Decisions are the same with and without that memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::causes::{Cause, Causes};
use crate::devices;
use crate::filters::check_named;
use crate::merits::{Merits, merits};
use crate::neighbours::Neighbours;
use crate::nodes::Nodes;
use crate::pod::{Needs, PodInfo};
use crate::refusal::{Deallocation, Refusal};
use crate::score::{Candidate, scores};
use crate::storage;
use crate::verdict::Verdict;

/// Below this many nodes all of them are looked at (upstream: `minFeasibleNodesToFind`).
const ENOUGH_NODES: usize = 100;

/// The decision about a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    Bind(String),
    Unschedulable(Refusal),
}

/// Where the search begins and how ties are broken. Comes from outside, so that a decision can be repeated.
#[derive(Debug, Clone, Copy, Default)]
pub struct Chance {
    /// The position to begin at; moved on by the search, so that all nodes get their turn.
    pub start: usize,
    pub tie: u64,
}

/// What a pod's claims of volumes and of devices ask of nodes.
#[derive(Default)]
struct Claimed<'n> {
    volumes: Option<storage::Wanted<'n>>,
    devices: Option<devices::Wanted<'n>>,
}

impl<'n> Claimed<'n> {
    /// Or why no node will do, and what could end that.
    fn of(pod: &PodInfo, nodes: &'n Nodes) -> Result<Self, (Cause, String)> {
        Ok(Self {
            volumes: nodes.storage.wanted(pod).map_err(|why| (Cause::Storage, why))?,
            devices: nodes.devices.wanted(pod).map_err(|why| (Cause::Devices, why))?,
        })
    }
}

/// The result of the search.
#[derive(Default)]
struct Search {
    candidates: Vec<Candidate>,
    /// How many nodes were refused, and whether one of them has pods of a lower priority where evicting may help.
    refusals: Refusals,
    has_victims: bool,
    /// Where the next search should begin.
    next: usize,
}

/// Verdicts and how many nodes had them: few are different, and neighbours mostly equal, so that a walk finds them
/// sooner than a hash.
#[derive(Default)]
struct Refusals(Vec<(Verdict, usize)>);

impl Refusals {
    fn add(&mut self, verdict: Verdict) {
        match self.0.iter_mut().find(|(held, _)| *held == verdict) {
            Some((_, count)) => *count += 1,
            None => self.0.push((verdict, 1)),
        }
    }
}

/// Finds a node for `pod`. The second value is where the next search should begin.
pub fn decide(pod: &PodInfo, nodes: &mut Nodes, chance: Chance) -> (Decision, usize) {
    if nodes.count() == 0 {
        let refusal = Refusal {
            reasons: "no nodes available to schedule pods".to_owned(),
            outlook: String::new(),
            causes: Causes::default(),
            may_preempt: false,
            deallocation: Deallocation::default(),
        };
        return (Decision::Unschedulable(refusal), 0);
    }
    if pod.shape.claims.is_some() || pod.shape.devices.is_some() {
        // Volumes and devices change what fits beside nodes and pods, which is all that the memory knows.
        return decide_with_claims(pod, nodes, chance);
    }
    let slots = nodes.slots().len();
    let mut memory = std::mem::take(&mut nodes.memory);
    let remembered = if pod.node_name.is_none() { memory.failure(&pod.shape, nodes.stamp()) } else { None };
    let (decision, next) = if let Some(refusal) = remembered {
        (Decision::Unschedulable(refusal), chance.start % slots)
    } else {
        nodes.attend(&pod.shape);
        let neighbours = Neighbours::of(&pod.shape, nodes);
        let mut entries = memory.entries(&pod.shape.needs, slots);
        let look = |slot: usize, stamp: u64| match &pod.node_name {
            None => {
                let entry = entries.at(slot, stamp, nodes.slots());
                (entry.verdict, entry.merits)
            }
            Some(name) => {
                let (needs, node) = (&pod.shape.needs, &nodes.slots()[slot]);
                (check_named(needs, Some(name), node), merits(needs, node))
            }
        };
        let search = search(pod, nodes, &neighbours, chance.start, &Claimed::default(), look);
        if search.candidates.is_empty() {
            let refusal = explain(&pod.shape.needs, nodes.count(), &search);
            if pod.node_name.is_none() {
                memory.failed(&pod.shape, nodes.stamp(), &refusal);
            }
            (Decision::Unschedulable(refusal), search.next)
        } else {
            (
                Decision::Bind(best(pod, &search.candidates, &neighbours, nodes, chance.tie).to_string()),
                search.next,
            )
        }
    };
    nodes.memory = memory;
    (decision, next)
}

/// The same for a pod that has claims of volumes or devices.
fn decide_with_claims(pod: &PodInfo, nodes: &mut Nodes, chance: Chance) -> (Decision, usize) {
    nodes.attend(&pod.shape);
    let nodes = &*nodes;
    let needs = &pod.shape.needs;
    let claimed = match Claimed::of(pod, nodes) {
        Ok(claimed) => claimed,
        Err((cause, why)) => {
            let next = chance.start % nodes.slots().len();
            return (Decision::Unschedulable(nowhere(needs, nodes.count(), cause, &why)), next);
        }
    };
    let neighbours = Neighbours::of(&pod.shape, nodes);
    let look = |slot: usize, _: u64| {
        let node = &nodes.slots()[slot];
        (check_named(needs, pod.node_name.as_deref(), node), merits(needs, node))
    };
    let search = search(pod, nodes, &neighbours, chance.start, &claimed, look);
    let decision = if let Some(fault) = claimed.devices.as_ref().and_then(devices::Wanted::fault) {
        Decision::Unschedulable(Refusal {
            reasons: format!("running \"DynamicResources\" filter plugin: {fault}"),
            outlook: String::new(),
            causes: [Cause::Devices].into_iter().collect(),
            may_preempt: false,
            deallocation: Deallocation::default(),
        })
    } else if search.candidates.is_empty() {
        let deallocation = claimed.devices.as_ref().map_or(Deallocation::NoClaims, |wanted| {
            wanted.to_deallocate(nodes.slots()).map_or(Deallocation::NoHelp, Deallocation::Of)
        });
        Decision::Unschedulable(Refusal { deallocation, ..explain(needs, nodes.count(), &search) })
    } else {
        Decision::Bind(best(pod, &search.candidates, &neighbours, nodes, chance.tie).to_string())
    };
    (decision, search.next)
}

fn search(
    pod: &PodInfo,
    nodes: &Nodes,
    neighbours: &Neighbours<'_>,
    start: usize,
    claimed: &Claimed<'_>,
    mut look: impl FnMut(usize, u64) -> (Verdict, Merits),
) -> Search {
    let stamps = nodes.stamps();
    let wanted = enough(nodes.count(), pod.shape.needs.profile.percentage_of_nodes);
    let priority = pod.priority();
    let may_have_victims = nodes.has_pods_below(priority);
    let silent = neighbours.is_silent();
    let mut found = Search::default();
    let mut looked_at = 0;
    let start = start % stamps.len();
    for (step, slot) in (start..stamps.len()).chain(0..start).enumerate() {
        looked_at = step + 1;
        if stamps[slot] == 0 {
            continue;
        }
        let (mut verdict, merits) = look(slot, stamps[slot]);
        if verdict.fits()
            && let Some(volumes) = &claimed.volumes
        {
            verdict = volumes.check(&nodes.slots()[slot]);
        }
        if verdict.fits() && !silent {
            verdict = neighbours.check(slot);
        }
        if verdict.fits()
            && let Some(devices) = &claimed.devices
        {
            verdict = devices.check(&nodes.slots()[slot]);
        }
        if verdict.fits() {
            found.candidates.push(Candidate { slot, merits });
            if found.candidates.len() >= wanted {
                break;
            }
        } else if found.candidates.is_empty() {
            found.refusals.add(verdict);
            found.has_victims = found.has_victims
                || may_have_victims
                    && verdict.preemption_may_help()
                    && nodes.slots()[slot].has_pods_below(priority);
        }
    }
    found.next = (start + looked_at) % stamps.len();
    found
}

fn best<'n>(
    pod: &PodInfo,
    candidates: &[Candidate],
    neighbours: &Neighbours<'_>,
    nodes: &'n Nodes,
    tie: u64,
) -> &'n Arc<str> {
    let chosen = if let [only] = candidates {
        only.slot
    } else {
        let scores = scores(candidates, &pod.shape, neighbours, nodes);
        let highest = scores.iter().copied().max().unwrap_or(0);
        let equals = scores.iter().filter(|score| **score == highest).count();
        let pick = usize::try_from(tie % equals as u64).unwrap_or(0);
        let mut equal = candidates.iter().zip(&scores).filter(|(_, score)| **score == highest);
        equal.nth(pick).map_or(candidates[0].slot, |(candidate, _)| candidate.slot)
    };
    &nodes.slots()[chosen].name
}

/// How many nodes that will do are enough to choose from: all below 100 nodes, then the profile's share, or, as
/// upstream adapts it, a share falling from 50 % to 5 %.
fn enough(nodes: usize, percentage: Option<u8>) -> usize {
    if nodes < ENOUGH_NODES {
        return nodes;
    }
    let percent = percentage.map_or_else(|| 50usize.saturating_sub(nodes / 125).max(5), usize::from);
    (nodes * percent / 100).max(ENOUGH_NODES)
}

/// Upstream's sentences: how many nodes there are, each rule's refusal and how often it occurred; and whether evicting
/// other pods could help.
fn explain(needs: &Needs, present: usize, search: &Search) -> Refusal {
    let each = || search.refusals.0.iter();
    let reasons = each()
        .flat_map(|(verdict, count)| verdict.reasons(needs).into_iter().map(move |reason| (reason, *count)));
    let reasons = histogram(reasons);
    let outlook = if !needs.profile.preempts {
        String::new()
    } else if needs.can_preempt {
        let outlook = histogram(each().map(|(verdict, count)| {
            let outlook = if verdict.preemption_may_help() {
                "No preemption victims found for incoming pod"
            } else {
                "Preemption is not helpful for scheduling"
            };
            (outlook.to_owned(), *count)
        }));
        format!("0/{present} nodes are available: {outlook}.")
    } else {
        "not eligible due to preemptionPolicy=Never.".to_owned()
    };
    Refusal {
        reasons: format!("0/{present} nodes are available: {reasons}."),
        outlook,
        causes: each().filter_map(|(verdict, _)| Cause::of(*verdict)).collect(),
        may_preempt: needs.profile.preempts && needs.can_preempt && search.has_victims,
        deallocation: Deallocation::default(),
    }
}

/// Whether a node can use a pod's volumes, or they can be made there, and the node has the devices of the pod's claims.
pub(crate) fn has_its_claims(pod: &PodInfo, nodes: &Nodes, slot: usize) -> bool {
    let node = &nodes.slots()[slot];
    Claimed::of(pod, nodes).is_ok_and(|Claimed { volumes, devices }| {
        volumes.is_none_or(|wanted| wanted.check(node).fits())
            && devices.is_none_or(|wanted| wanted.check(node).fits())
    })
}

/// Whether a node suits a pod.
pub(crate) fn suits(pod: &PodInfo, nodes: &mut Nodes, slot: usize) -> bool {
    nodes.attend(&pod.shape);
    nodes.stamps()[slot] != 0
        && check_named(&pod.shape.needs, pod.node_name.as_deref(), &nodes.slots()[slot]).fits()
        && has_its_claims(pod, nodes, slot)
        && Neighbours::of(&pod.shape, nodes).check(slot).fits()
}

/// The refusal of a pod that no node is looked at for.
fn nowhere(needs: &Needs, present: usize, cause: Cause, why: &str) -> Refusal {
    let outlook = if !needs.profile.preempts {
        String::new()
    } else if needs.can_preempt {
        format!("0/{present} nodes are available: {present} Preemption is not helpful for scheduling.")
    } else {
        "not eligible due to preemptionPolicy=Never.".to_owned()
    };
    Refusal {
        reasons: format!("0/{present} nodes are available: {why}."),
        outlook,
        causes: [cause].into_iter().collect(),
        may_preempt: false,
        deallocation: Deallocation::default(),
    }
}

/// `2 Insufficient cpu, 1 …`, in the order of the text, as upstream sorts it.
fn histogram(reasons: impl Iterator<Item = (String, usize)>) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for (reason, count) in reasons {
        *counts.entry(reason).or_insert(0) += count;
    }
    let mut lines: Vec<String> = counts.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    lines.sort();
    lines.join(", ")
}

#[cfg(test)]
mod agreement;
#[cfg(test)]
mod profiles;
#[cfg(test)]
mod tests;
