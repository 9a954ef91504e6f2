//! NodeUnschedulable: a cordoned node takes only pods that tolerate that.

use super::Refusal;
use crate::nodes::NodeInfo;
use crate::pod::PodInfo;

pub(super) fn refuse(pod: &PodInfo, node: &NodeInfo) -> Option<Refusal> {
    let cordoned = node.unschedulable && !pod.tolerates("node.kubernetes.io/unschedulable", "", "NoSchedule");
    cordoned.then(|| Refusal::lasting("node(s) were unschedulable"))
}
