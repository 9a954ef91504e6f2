//! NodeResourcesFit: the node's free resources cover the pod's requests.

use crate::node::NodeInfo;
use crate::pod::Needs;
use crate::verdict::Verdict;

pub(super) fn refuse(pod: &Needs, node: &NodeInfo) -> Option<Verdict> {
    let too_many_pods = node.pods + 1 > node.allowed_pods;
    let counted;
    let asked = if pod.profile.ignores_nothing() {
        &pod.requests
    } else {
        counted = pod.profile.counted(&pod.requests);
        &counted
    };
    let mut short = pods::shortages(asked, &node.allocatable, &node.requested).peekable();
    if !too_many_pods && short.peek().is_none() {
        return None;
    }
    // No eviction helps a pod that the empty node could not hold.
    let too_big = pods::exceeds(asked, &node.allocatable);
    Verdict::short(too_many_pods, short.map(|shortage| shortage.resource), too_big, pod)
}
