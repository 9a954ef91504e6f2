//! The loop: what wakes a node's round, and what is read before deciding.

use informer::{Cache, Controller, Delta, Key, Plan, Round, Scope, Sources};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};

use super::conditions;
use super::heartbeat::Heartbeats;
use super::plan::{self, Observed};
use crate::replicas::pod;

const LEASES: &str = "kube-node-lease";

/// See the module's documentation. Keys are nodes.
pub struct NodeLifecycleController {
    nodes: Cache<Node>,
    leases: Cache<Lease>,
    pods: Cache<Pod>,
    heartbeats: Heartbeats,
}

impl Controller for NodeLifecycleController {
    const NAME: &'static str = "node-controller";
    type Config = ();
    type Observed = Observed;

    fn sources(sources: &mut Sources<'_>, (): ()) -> Self {
        let nodes: Cache<Node> = sources.reads();
        let known = nodes.clone();
        sources.mapped(move |delta| concerned(&known, delta));
        let leases = sources.mapped_in(Scope::fields("metadata.namespace=kube-node-lease"), |delta| {
            let lease: &Lease = delta.object();
            vec![Key::new("", lease.metadata.name.as_deref().unwrap_or(""))]
        });
        let known = nodes.clone();
        let pods = sources.mapped(move |delta| on_a_lost_node(&known, delta));
        Self { nodes, leases, pods, heartbeats: Heartbeats::default() }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Observed>, kube::Error> {
        let name = &*round.key.name;
        let Some(node) = self.nodes.get_key(round.key) else {
            self.heartbeats.forget(name);
            return Ok(None);
        };
        let lease = self.leases.get(LEASES, name);
        let seen = self.heartbeats.note(&node, lease.as_deref(), round.now);
        if plan::is_well(&node, seen, round.now) {
            // Every renewal of a lease comes here: pods and other nodes are looked through only in need.
            return Ok(Some(Observed { node, seen, all_others_down: false, pods: Vec::new() }));
        }
        let all_others_down = !self
            .nodes
            .any(|other| other.metadata.name != node.metadata.name && conditions::ready(other) == "True");
        let pods = self.pods.select(None, |p| pod::node_name(p) == name && pod::is_ready(p));
        Ok(Some(Observed { node, seen, all_others_down, pods }))
    }

    fn reconcile(observed: &Observed, now: jiff::Timestamp) -> Plan {
        plan::plan(observed, now)
    }
}

/// The node itself, and every other when one comes, goes or changes its readiness: they decide together
/// whether the trouble is theirs.
fn concerned(known: &Cache<Node>, delta: &Delta<Node>) -> Vec<Key> {
    let ready = match delta {
        Delta::Applied { new, old: Some(old) } => conditions::ready(new) != conditions::ready(old),
        _ => true,
    };
    if !ready {
        return vec![Key::of(&**delta.object())];
    }
    let mut keys: Vec<Key> = known.list(None).iter().map(|node| Key::of(&**node)).collect();
    let own = Key::of(&**delta.object());
    if !keys.contains(&own) {
        keys.push(own);
    }
    keys
}

/// A pod that is said to be ready on a node that is not.
fn on_a_lost_node(known: &Cache<Node>, delta: &Delta<Pod>) -> Vec<Key> {
    let Delta::Applied { new, .. } = delta else { return Vec::new() };
    if !pod::is_ready(new) {
        return Vec::new();
    }
    let key = Key::new("", pod::node_name(new));
    let lost = known.get_key(&key).is_some_and(|node| !matches!(conditions::ready(&node), "True" | ""));
    lost.then_some(key).into_iter().collect()
}
