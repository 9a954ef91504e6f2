//! Which changes are worth another try for a pod that fits nowhere: those after which it might. Pure.
//!
//! A hint may be wrong in one direction only: it may say yes to a change that does not help.

use crate::filters::check;
use crate::node::NodeInfo;
use crate::nodes::{Arrival, Departure, Nodes};
use crate::pod::Shape;
use crate::relations::Identity;

/// A node came or changed: would it do?
pub fn node_changed(waiting: &Shape, node: &NodeInfo) -> bool {
    waiting.wishes.is_some() || check(&waiting.needs, node).fits()
}

/// A node went: that helps only pods that were to lie as thick there as elsewhere.
pub fn node_gone(waiting: &Shape) -> bool {
    waiting.wishes.is_some()
}

/// A pod was placed, or is another than it was there.
pub fn pod_came(waiting: &Shape, other: &Identity, arrival: &Arrival, nodes: &Nodes) -> bool {
    waiting.wishes.as_ref().is_some_and(|wishes| wishes.welcome(other, nodes.crowds.namespaces()))
        || arrival.instead_of.as_ref().is_some_and(|departure| pod_left(waiting, departure, nodes))
}

/// A pod left its node.
pub fn pod_left(waiting: &Shape, departure: &Departure, nodes: &Nodes) -> bool {
    let (other, namespaces) = (&departure.shape, nodes.crowds.namespaces());
    let gains = |wishes: &crate::relations::Wishes| wishes.gain_by_loss_of(&other.identity, namespaces);
    let unwelcome = |term: &crate::relations::Term| term.audience.means(&waiting.identity, namespaces);
    check(&waiting.needs, nodes.left_by(departure)).fits()
        || waiting.wishes.as_ref().is_some_and(|wishes| gains(wishes))
        || other.wishes.as_ref().is_some_and(|wishes| wishes.apart.iter().any(unwelcome))
}
