//! Which nodes a set's pods belong on (`NodeShouldRunDaemonPod` in `daemon_controller.go`).

use informer::Cached;
use k8s_openapi::api::core::v1::{Node, PodSpec, Toleration};
use pods::NodeRequirements;

use crate::node_view::node_view;

/// What a set wants of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    /// A pod should run here.
    Run,
    /// No new pod comes here, but one that runs here stays.
    Stay,
    /// No pod may run here.
    No,
}

/// The rules of a template.
pub(super) struct Placement {
    /// The only node, where the template names one.
    node_name: Option<String>,
    nodes: NodeRequirements,
    tolerations: Vec<Toleration>,
}

impl Placement {
    pub fn of(template: &PodSpec) -> Self {
        let mut tolerations = template.tolerations.clone().unwrap_or_default();
        tolerate(&mut tolerations, template.host_network == Some(true));
        Self {
            node_name: template.node_name.clone().filter(|name| !name.is_empty()),
            nodes: NodeRequirements::of(template),
            tolerations,
        }
    }

    pub fn fit(&self, node: &Cached<Node>) -> Fit {
        if self.node_name.as_deref().is_some_and(|only| only != node.name())
            || !self.nodes.matches(node.name(), |key| node.label(key))
        {
            return Fit::No;
        }
        let view = node_view(node);
        let tolerated = |taint| self.tolerations.iter().any(|t| pods::tolerates_taint(t, taint));
        if !view.no_execute.iter().all(tolerated) {
            Fit::No
        } else if !view.no_schedule.iter().all(tolerated) {
            Fit::Stay
        } else {
            Fit::Run
        }
    }
}

/// What every daemon tolerates: it is to run, and to stay, on nodes in trouble
/// (`AddOrUpdateDaemonPodTolerations` in `daemonset_util.go`).
pub(super) fn tolerate(tolerations: &mut Vec<Toleration>, on_host_network: bool) {
    let stays = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];
    let runs = [
        "node.kubernetes.io/disk-pressure",
        "node.kubernetes.io/memory-pressure",
        "node.kubernetes.io/pid-pressure",
        "node.kubernetes.io/unschedulable",
    ];
    let network = on_host_network.then_some("node.kubernetes.io/network-unavailable");
    let all = stays.map(|key| (key, "NoExecute")).into_iter();
    for (key, effect) in all.chain(runs.into_iter().chain(network).map(|key| (key, "NoSchedule"))) {
        let added = Toleration {
            key: Some(key.to_owned()),
            operator: Some("Exists".to_owned()),
            effect: Some(effect.to_owned()),
            ..Toleration::default()
        };
        let same = |held: &&mut Toleration| {
            held.key == added.key
                && held.effect == added.effect
                && held.operator == added.operator
                && held.value.as_deref().unwrap_or("").is_empty()
        };
        match tolerations.iter_mut().find(same) {
            Some(held) => *held = added,
            None => tolerations.push(added),
        }
    }
}
