//! NodeAffinity: what the profile requires of nodes, and the pod's node selector and required node affinity.

use crate::node::NodeInfo;
use crate::pod::Needs;
use crate::verdict::{Rule, Verdict};

pub(super) fn refuse(pod: &Needs, node: &NodeInfo) -> Option<Verdict> {
    if !pod.profile.required_nodes.matches(&node.name, |key| node.label(key)) {
        return Some(Verdict::no(Rule::ProfileAffinity));
    }
    let selected = pod.nodes.matches(&node.name, |key| node.label(key));
    (!selected).then(|| Verdict::no(Rule::NodeAffinity))
}
