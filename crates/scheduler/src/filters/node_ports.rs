//! NodePorts: a port of the node belongs to one pod.

use super::Refusal;
use crate::nodes::NodeInfo;
use crate::pod::PodInfo;

pub(super) fn refuse(pod: &PodInfo, node: &NodeInfo) -> Option<Refusal> {
    let taken = pod.host_ports.iter().any(|port| node.ports.iter().any(|held| held.clashes(port)));
    taken.then(|| Refusal::passing(vec!["node(s) didn't have free ports for the requested pod ports".into()]))
}
