//! The loop: which changes wake a node's round, and what is read before deciding.

use std::sync::Arc;

use informer::{Cache, Cached, Controller, Delta, Index, Key, Plan, Round, Scope, Sources};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, NodeCondition, NodeSpec, NodeStatus, Pod, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

use super::heartbeat::Heartbeats;
use super::plan::{self, Matter, Observed};
use crate::node_view::node_view;
use crate::replicas::pod;

const LEASES: &str = "kube-node-lease";

/// See the module's documentation. Keys are nodes.
pub struct NodeLifecycleController {
    nodes: Cache<Node>,
    by_readiness: Index<Node>,
    leases: Cache<Lease>,
    pods_of: Index<Pod>,
    heartbeats: Heartbeats,
}

/// Nodes by the status of their Ready condition.
fn by_readiness(nodes: &Cache<Node>) -> Index<Node> {
    nodes.index("ready", |node, found| found(&node_view(node).ready))
}

impl Controller for NodeLifecycleController {
    const NAME: &'static str = "node-controller";
    const QUEUE: &'static str = "node_lifecycle_controller";
    type Config = ();
    type Observed = Matter;

    fn sources(sources: &mut Sources<'_>, (): ()) -> Self {
        let nodes: Cache<Node> = sources.reads();
        let by_readiness = by_readiness(&nodes);
        let (known, ready) = (nodes.clone(), by_readiness.clone());
        sources.mapped(move |delta| concerned(&known, &ready, delta));
        let leases = sources.mapped_in(Scope::fields("metadata.namespace=kube-node-lease"), |delta| {
            let lease: &informer::Cached<Lease> = delta.object();
            vec![Key::new("", lease.name())]
        });
        let known = nodes.clone();
        let pods = sources.mapped(move |delta| on_a_lost_node(&known, delta));
        Self { nodes, by_readiness, leases, pods_of: pod::by_node(&pods), heartbeats: Heartbeats::default() }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Matter>, kube::Error> {
        let name = &*round.key.name;
        let Some(node) = self.nodes.find(round.key) else {
            self.heartbeats.forget(name);
            return Ok(None);
        };
        let lease = self.leases.find(&Key::new(LEASES, name));
        let seen = self.heartbeats.note(&node, lease.as_ref(), round.now);
        let ready = node_view(&node).ready.clone();
        let left = plan::left(&ready, seen, round.now);
        let well = &*ready == "True" && left.is_positive();
        // Every renewal of a lease comes here: the node itself is looked at when it changed, its pods only in need.
        if well && self.heartbeats.was_well(&node) && round.failure.is_none() {
            return Ok(Some(Matter::Well { left }));
        }
        if well {
            let Some(object) = outline(&node) else { return Ok(None) };
            let observed = Observed { node: object, seen, all_others_down: false, pods: Vec::new() };
            return Ok(Some(Matter::Changed(observed)));
        }
        let Some(object) = node.typed().cloned() else { return Ok(None) };
        let others_ready = self.by_readiness.count("True") - usize::from(&*ready == "True");
        let of_node = self.pods_of.get(name).into_iter().filter(|p| pod::facts(p).ready);
        let pods = of_node.filter_map(|p| p.typed().cloned()).collect();
        Ok(Some(Matter::Changed(Observed { node: object, seen, all_others_down: others_ready == 0, pods })))
    }

    fn reconcile(matter: &Matter, now: jiff::Timestamp) -> Plan {
        plan::decide(matter, now)
    }
}

/// The node with what is decided by of one that is well: most of what its agent reports is not read. `None` for an
/// object that cannot be read, which is logged.
fn outline(node: &Cached<Node>) -> Option<Arc<Node>> {
    #[derive(Deserialize)]
    struct Outline {
        spec: Option<Spec>,
        status: Option<Status>,
    }
    #[derive(Deserialize)]
    struct Spec {
        taints: Option<Vec<Taint>>,
        unschedulable: Option<bool>,
    }
    #[derive(Deserialize)]
    struct Status {
        conditions: Option<Vec<NodeCondition>>,
    }
    let outline: Outline = serde_json::from_slice(node.item().json())
        .inspect_err(
            |error| tracing::error!(node = node.name(), %error, "a node is odd and counts as absent"),
        )
        .ok()?;
    let metadata = ObjectMeta {
        name: Some(node.name().to_owned()),
        uid: Some(node.uid.to_string()),
        resource_version: Some(node.version.to_string()),
        ..ObjectMeta::default()
    };
    let spec = outline.spec.map(|spec| NodeSpec {
        taints: spec.taints,
        unschedulable: spec.unschedulable,
        ..NodeSpec::default()
    });
    let status =
        outline.status.map(|status| NodeStatus { conditions: status.conditions, ..NodeStatus::default() });
    Some(Arc::new(Node { metadata, spec, status }))
}

/// The node itself, and all nodes when its readiness changes and few nodes are ready: if none is ready,
/// the fault is likely not the nodes'.
fn concerned(known: &Cache<Node>, by_readiness: &Index<Node>, delta: &Delta<Node>) -> Vec<Key> {
    let own = delta.object().key.clone();
    let is_ready = |node: &informer::Cached<Node>| &*node_view(node).ready == "True";
    let (before, now) = match delta {
        Delta::Applied { new, old } => (old.as_ref().is_some_and(is_ready), is_ready(new)),
        Delta::Deleted(old) => (is_ready(old), false),
    };
    let ready = by_readiness.count("True");
    let ready_before = (ready + usize::from(before)).saturating_sub(usize::from(now));
    // With two others ready, one more or less changes nothing for anybody.
    if before == now || (ready > 2 && ready_before > 2) {
        return vec![own];
    }
    let few = known.scan("whether the last node is lost concerns all, and happens seldom");
    let mut keys: Vec<Key> = few.iter().map(|node| node.key.clone()).collect();
    if !keys.contains(&own) {
        keys.push(own);
    }
    keys
}

/// A pod whose status is ready, on a node that is not ready.
fn on_a_lost_node(known: &Cache<Node>, delta: &Delta<Pod>) -> Vec<Key> {
    let Delta::Applied { new, .. } = delta else { return Vec::new() };
    let facts = pod::facts(new);
    if !facts.ready {
        return Vec::new();
    }
    let key = Key::new("", &facts.node_name);
    let lost = known.find(&key).is_some_and(|node| !matches!(&*node_view(&node).ready, "True" | ""));
    lost.then_some(key).into_iter().collect()
}
