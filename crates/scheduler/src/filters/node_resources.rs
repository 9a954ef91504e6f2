//! NodeResourcesFit: what is free on the node covers what the pod asks for.

use super::Refusal;
use crate::nodes::NodeInfo;
use crate::pod::PodInfo;

pub(super) fn refuse(pod: &PodInfo, node: &NodeInfo) -> Option<Refusal> {
    let mut short = Vec::new();
    if node.pods + 1 > node.allowed_pods {
        short.push("Too many pods".to_owned());
    }
    let shortages = pods::shortages(&pod.requests, &node.allocatable, &node.requested);
    short.extend(shortages.map(|shortage| format!("Insufficient {}", shortage.resource)));
    if short.is_empty() {
        return None;
    }
    // No eviction helps a pod that the empty node could not hold.
    let too_big = pods::exceeds(&pod.requests, &node.allocatable);
    Some(Refusal { reasons: short, preemption_may_help: !too_big })
}
