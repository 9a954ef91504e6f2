//! InterPodAffinity: near to some pods, apart from others, and none near that must be apart from this one.

use super::Refusal;
use crate::neighbours::Neighbours;
use crate::nodes::NodeInfo;
use crate::pod::PodInfo;

pub(super) fn refuse(pod: &PodInfo, node: &NodeInfo, neighbours: &Neighbours<'_>) -> Option<Refusal> {
    let passing = |reason: &str| Some(Refusal::passing(vec![reason.to_owned()]));
    if !neighbours.are_near(pod, node) {
        return Some(Refusal::lasting("node(s) didn't match pod affinity rules"));
    }
    if neighbours.are_unwanted(pod, node) {
        return passing("node(s) didn't match pod anti-affinity rules");
    }
    if neighbours.are_repelling(node) {
        return passing("node(s) didn't satisfy existing pods anti-affinity rules");
    }
    None
}
