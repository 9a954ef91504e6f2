//! PodTopologySpread: no place gets further ahead of the emptiest one than the pod's constraints allow.

use super::Refusal;
use crate::neighbours::Neighbours;
use crate::nodes::NodeInfo;
use crate::pod::PodInfo;

pub(super) fn refuse(_: &PodInfo, node: &NodeInfo, neighbours: &Neighbours<'_>) -> Option<Refusal> {
    const REASON: &str = "node(s) didn't match pod topology spread constraints";
    neighbours.spread.iter().find_map(|places| match places.at(node) {
        None => Some(Refusal::lasting(format!("{REASON} (missing required label)"))),
        Some(there) if !places.allows(there) => Some(Refusal::passing(vec![REASON.to_owned()])),
        Some(_) => None,
    })
}
