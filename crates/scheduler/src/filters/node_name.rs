//! NodeName: the pod names its node itself.

use super::Refusal;
use crate::nodes::NodeInfo;
use crate::pod::PodInfo;

pub(super) fn refuse(pod: &PodInfo, node: &NodeInfo) -> Option<Refusal> {
    let other = pod.node_name.as_ref().is_some_and(|name| *name != node.name);
    other.then(|| Refusal::lasting("node(s) didn't match the requested node name"))
}
