//! Which changes are worth another try for a pod that fits nowhere: those after which it might. Pure.
//!
//! A hint may be wrong in one direction only: it may say yes to a change that does not help.

use crate::filters::check_node;
use crate::nodes::{Arrival, Departure, NodeInfo, Nodes};
use crate::pod::PodInfo;
use crate::relations::Relations;

/// A node came or changed: would it do?
pub fn node_changed(pod: &PodInfo, node: &NodeInfo) -> bool {
    check_node(pod, node).is_none() || pod.relations.depends_on_others()
}

/// A node went: that helps only pods that were to lie as thick there as elsewhere.
pub fn node_gone(pod: &PodInfo) -> bool {
    pod.relations.depends_on_others()
}

/// A pod was placed, or is another than it was there.
pub fn pod_came(pod: &PodInfo, other: &Relations, arrival: &Arrival, nodes: &Nodes) -> bool {
    pod.relations.welcomes(other, &nodes.namespaces)
        || arrival.instead_of.as_ref().is_some_and(|departure| pod_left(pod, departure, nodes))
}

/// A pod left its node.
pub fn pod_left(pod: &PodInfo, departure: &Departure, nodes: &Nodes) -> bool {
    let other = &*departure.relations;
    check_node(pod, nodes.left_by(departure)).is_none()
        || pod.relations.gains_by_loss_of(other, &nodes.namespaces)
        || other.apart.iter().any(|term| term.means(&pod.relations, &nodes.namespaces))
}
