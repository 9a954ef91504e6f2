//! TaintToleration: every NoSchedule and NoExecute taint must be tolerated.

use k8s_openapi::api::core::v1::Toleration;

use crate::node::NodeInfo;
use crate::pod::Needs;
use crate::verdict::{Rule, Verdict};

pub(super) fn refuse(pod: &Needs, node: &NodeInfo) -> Option<Verdict> {
    (!tolerated(&pod.tolerations, node)).then(|| Verdict::no(Rule::Taints))
}

/// Whether the taints that keep pods away are tolerated.
pub fn tolerated(tolerations: &[Toleration], node: &NodeInfo) -> bool {
    let mut repelling = node.taints.iter().filter(|t| t.effect == "NoSchedule" || t.effect == "NoExecute");
    repelling.all(|taint| tolerations.iter().any(|t| pods::tolerates_taint(t, taint)))
}
