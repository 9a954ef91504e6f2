//! [`Neighbours`]: what the pods that are placed mean for one that is to be placed, worked out once for all nodes.

use std::collections::HashSet;

use crate::nodes::{NodeInfo, Nodes};
use crate::pod::PodInfo;
use crate::relations::Term;
use crate::spread::Places;

/// A label of nodes and its value.
type Place<'n> = (&'n str, &'n str);

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Neighbours<'n> {
    /// Where pods lie that mean all that the pod must be near to.
    near: HashSet<Place<'n>>,
    /// Where pods lie that it must not be near to.
    apart: HashSet<Place<'n>>,
    /// Where pods lie that must not be near to it.
    repelling: HashSet<Place<'n>>,
    /// Nobody it must be near to is anywhere, but it is of that sort itself: the first may go anywhere.
    is_first: bool,
    /// For each hard spread constraint.
    pub spread: Vec<Places<'n>>,
}

impl<'n> Neighbours<'n> {
    pub fn of(pod: &'n PodInfo, nodes: &'n Nodes) -> Self {
        let own = &*pod.relations;
        let mut found = Self { spread: Places::of(pod, nodes, true), ..Self::default() };
        let means = |term: &Term, other| term.means(other, &nodes.namespaces);
        if !own.near.is_empty() || !own.apart.is_empty() {
            for (other, node) in nodes.placed() {
                if own.near.iter().all(|term| means(term, other)) {
                    found.near.extend(own.near.iter().filter_map(|term| place(term, node)));
                }
                let unwanted = own.apart.iter().filter(|term| means(term, other));
                found.apart.extend(unwanted.filter_map(|term| place(term, node)));
            }
            found.is_first = found.near.is_empty() && own.near.iter().all(|term| means(term, own));
        }
        for (other, node) in nodes.placed_with_terms() {
            let unwilling = other.apart.iter().filter(|term| means(term, own));
            found.repelling.extend(unwilling.filter_map(|term| place(term, node)));
        }
        found
    }

    /// Whether all whom the pod must be near to are near the node.
    pub fn are_near(&self, pod: &PodInfo, node: &NodeInfo) -> bool {
        pod.relations
            .near
            .iter()
            .all(|term| place(term, node).is_some_and(|place| self.is_first || self.near.contains(&place)))
    }

    /// Whether somebody is near the node whom the pod must not be near to.
    pub fn are_unwanted(&self, pod: &PodInfo, node: &NodeInfo) -> bool {
        pod.relations
            .apart
            .iter()
            .filter_map(|term| place(term, node))
            .any(|place| self.apart.contains(&place))
    }

    /// Whether somebody is near the node who must not be near the pod.
    pub fn are_repelling(&self, node: &NodeInfo) -> bool {
        self.repelling.iter().any(|(key, value)| node.labels.get(*key).is_some_and(|held| held == value))
    }
}

/// The place, in the sense of the term, where a node is.
pub fn place<'n>(term: &'n Term, node: &'n NodeInfo) -> Option<Place<'n>> {
    let value = node.labels.get(&term.topology_key)?;
    Some((&term.topology_key, value))
}
