//! NodePorts: a host port of the node is used by one pod only.

use crate::node::NodeInfo;
use crate::pod::Needs;
use crate::verdict::{Rule, Verdict};

pub(super) fn refuse(pod: &Needs, node: &NodeInfo) -> Option<Verdict> {
    let taken = pod.host_ports.iter().any(|port| node.ports.iter().any(|held| held.clashes(port)));
    taken.then(|| Verdict::no(Rule::Ports))
}
