//! TaintToleration: every NoSchedule and NoExecute taint must be tolerated.

use super::Refusal;
use crate::nodes::NodeInfo;
use crate::pod::PodInfo;

pub(super) fn refuse(pod: &PodInfo, node: &NodeInfo) -> Option<Refusal> {
    (!fits(pod, node)).then(|| Refusal::lasting("node(s) had untolerated taint(s)"))
}

/// Whether the pod tolerates the taints that keep pods away.
pub fn fits(pod: &PodInfo, node: &NodeInfo) -> bool {
    let untolerated = node.taints.iter().any(|taint| {
        (taint.effect == "NoSchedule" || taint.effect == "NoExecute")
            && !pod.tolerates(&taint.key, taint.value.as_deref().unwrap_or(""), &taint.effect)
    });
    !untolerated
}
