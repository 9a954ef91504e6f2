//! NodeAffinity: the pod's node selector and required node affinity.

use super::Refusal;
use crate::nodes::NodeInfo;
use crate::pod::PodInfo;

pub(super) fn refuse(pod: &PodInfo, node: &NodeInfo) -> Option<Refusal> {
    (!fits(pod, node)).then(|| Refusal::lasting("node(s) didn't match Pod's node affinity/selector"))
}

/// Whether the pod's selector and required affinity pick the node.
pub fn fits(pod: &PodInfo, node: &NodeInfo) -> bool {
    pod.node_requirements.matches(&node.name, |key| node.label(key))
}
