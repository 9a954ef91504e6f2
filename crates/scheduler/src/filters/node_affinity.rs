//! NodeAffinity: the pod's node selector and required node affinity.

use crate::node::NodeInfo;
use crate::pod::Needs;
use crate::verdict::{Rule, Verdict};

pub(super) fn refuse(pod: &Needs, node: &NodeInfo) -> Option<Verdict> {
    let selected = pod.nodes.matches(&node.name, |key| node.label(key));
    (!selected).then(|| Verdict::no(Rule::NodeAffinity))
}
