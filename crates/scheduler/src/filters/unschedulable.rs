//! NodeUnschedulable: a cordoned node accepts only pods that tolerate its being unschedulable.

use crate::node::NodeInfo;
use crate::pod::Needs;
use crate::verdict::{Rule, Verdict};

pub(super) fn refuse(pod: &Needs, node: &NodeInfo) -> Option<Verdict> {
    let cordoned = node.unschedulable && !pod.tolerates("node.kubernetes.io/unschedulable", "", "NoSchedule");
    cordoned.then(|| Verdict::no(Rule::Unschedulable))
}
