//! NodeResourcesFit: what is free on the node covers what the pod asks for.

use super::Refusal;
use crate::nodes::NodeInfo;
use crate::pod::PodInfo;

pub(super) fn refuse(pod: &PodInfo, node: &NodeInfo) -> Option<Refusal> {
    let mut short = Vec::new();
    if node.pods + 1 > node.allowed_pods {
        short.push("Too many pods".to_owned());
    }
    let (asked, free, used) = (&pod.requests, &node.allocatable, &node.requested);
    // Something nobody asks for is never short, even where a node is over-committed.
    let lacks = |asked: i64, free: i64, used: i64| asked > 0 && asked > free - used;
    if lacks(asked.cpu_milli, free.cpu_milli, used.cpu_milli) {
        short.push("Insufficient cpu".to_owned());
    }
    if lacks(asked.memory_bytes, free.memory_bytes, used.memory_bytes) {
        short.push("Insufficient memory".to_owned());
    }
    if lacks(asked.ephemeral_bytes, free.ephemeral_bytes, used.ephemeral_bytes) {
        short.push("Insufficient ephemeral-storage".to_owned());
    }
    for (name, amount) in &asked.scalar {
        let free = free.scalar.get(name).copied().unwrap_or(0);
        let used = used.scalar.get(name).copied().unwrap_or(0);
        if lacks(*amount, free, used) {
            short.push(format!("Insufficient {name}"));
        }
    }
    if short.is_empty() {
        return None;
    }
    // No eviction helps a pod that the empty node could not hold.
    let too_big = asked.cpu_milli > free.cpu_milli
        || asked.memory_bytes > free.memory_bytes
        || asked.ephemeral_bytes > free.ephemeral_bytes
        || asked.scalar.iter().any(|(name, amount)| *amount > free.scalar.get(name).copied().unwrap_or(0));
    Some(Refusal { reasons: short, preemption_may_help: !too_big })
}
