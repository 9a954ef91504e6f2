//! The loop: which changes concern which Service, and what is read before deciding.

use std::time::Duration;

use informer::{Cache, Cached, Controller, Delta, Index, Key, Plan, Round, Sources, Tally};
use k8s_openapi::api::core::v1::{Node, Pod, Service};

use super::desired::{self, Candidate};
use super::metrics::{self, Metrics};
use super::plan::{self, Observed};
use super::slice::MANAGER;
use super::topology::{self, Shares};
use crate::node_view::node_view;
use crate::replicas::pod::{self, Replica};
use crate::service_endpoints::member;
use crate::service_endpoints::selected::Selected;
use crate::service_endpoints::services::Services;
use crate::service_endpoints::slices::{self, Slices};

const ZONE: &str = "topology.kubernetes.io/zone";
/// Nodes with one of these labels are not meant for what Services lead to.
const CONTROL_PLANE: [&str; 2] = ["node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"];
/// How long a change of a slice waits for more of them (upstream's `endpointSliceChangeMinSyncDelay`). Most are the
/// controller's own, and pods' changes do not wait.
const SLICE_DELAY: Duration = Duration::from_secs(1);

/// See the module's documentation. Keys are Services.
pub struct EndpointSliceController {
    services: Cache<Service>,
    pods: Selected,
    nodes: Cache<Node>,
    slices: Slices,
    metrics: Metrics,
}

impl Controller for EndpointSliceController {
    const NAME: &'static str = "endpointslice-controller";
    const EVENT_SOURCE: &'static str = "endpoint-slice-controller";
    const QUEUE: &'static str = "endpoint_slice";
    const WORKERS: usize = 5;
    type Config = Metrics;
    type Observed = Observed;

    fn sources(sources: &mut Sources<'_>, metrics: Metrics) -> Self {
        let services: Cache<Service> = sources.primary();
        let selecting = Services::new(&services);
        let concerned = selecting.clone();
        let pods: Cache<Pod> = sources.mapped(move |delta| concerned.concerned(delta));
        let by_node = pod::by_node(&pods);
        let hinted = by_topology(&services);
        let nodes: Cache<Node> = sources.mapped(move |delta| {
            let mut keys = Vec::new();
            if is_elsewhere(delta) {
                let pods = by_node.get(delta.object().name());
                keys.extend(pods.iter().flat_map(|pod| selecting.selecting(pod.namespace(), &pod.labels)));
            }
            if changes_shares(delta) {
                keys.extend(hinted.keys(""));
            }
            keys
        });
        let queue = sources.queue();
        let slices = sources.mapped(move |delta| {
            for key in slices::concerned(delta, MANAGER) {
                queue.add_after(key, SLICE_DELAY);
            }
            Vec::new()
        });
        Self { services, pods: Selected::new(&pods), nodes, slices: Slices::new(&slices), metrics }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Observed>, kube::Error> {
        let Some(service) = self.services.get_key(round.key) else { return Ok(None) };
        let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        let Some(selector) = selector.filter(|_| member::is_served_by_pods(&service)) else {
            return Ok(None);
        };
        let pods = self.pods.by(&round.key.namespace, selector).into_iter().map(Replica::of);
        let candidates = pods.filter(member::may_answer).map(|pod| self.candidate(pod)).collect();
        let slices = self.slices.of(round.key, MANAGER);
        let shares = topology::is_asked_for(&service).then(|| self.shares());
        Ok(Some(Observed { candidates, slices, shares, failure: round.failure.cloned(), service }))
    }

    fn reconcile(observed: &Observed, _: jiff::Timestamp) -> Plan {
        plan::plan(observed)
    }

    fn tally(&self, service: &Key, decided: Option<(&Observed, &Plan)>) -> Option<Tally> {
        let done = decided.map(|(observed, plan)| metrics::done(observed, plan));
        let (metrics, service) = (self.metrics.clone(), service.clone());
        Some(Box::new(move |is_success| metrics.note(&service, done.as_ref(), is_success)))
    }
}

impl EndpointSliceController {
    fn shares(&self) -> Shares {
        let nodes = self.nodes.scan("the zones' parts of all nodes' CPU");
        let nodes = nodes.iter().filter(|node| has_share(node));
        topology::shares(nodes.map(|node| (zone(node), node_view(node).cpu_m)))
    }

    fn candidate(&self, pod: Replica) -> Candidate {
        let node = self.nodes.find(&Key::new("", &pod.facts.node_name));
        let node = node.map_or(desired::Node::Missing, |node| desired::Node::Known {
            zone: zone(&node).map(str::to_owned),
        });
        Candidate { pod, node }
    }
}

/// Whether a node counts among the CPU of its zone.
fn has_share(node: &Cached<Node>) -> bool {
    let for_pods = CONTROL_PLANE.iter().all(|role| node.label(role).is_none());
    for_pods && &*node_view(node).ready == "True"
}

/// What a node adds to its zone.
fn share(node: &Cached<Node>) -> Option<(Option<String>, i64)> {
    has_share(node).then(|| (zone(node).map(str::to_owned), node_view(node).cpu_m))
}

fn zone(node: &Cached<Node>) -> Option<&str> {
    node.label(ZONE).filter(|zone| !zone.is_empty())
}

/// The Services that ask for hints by the zones' parts of the CPU.
fn by_topology(services: &Cache<Service>) -> Index<Service> {
    services.index("topology-mode", |service, found| {
        if service.typed().is_some_and(|service| topology::is_asked_for(service)) {
            found("");
        }
    })
}

/// Whether a node's change changes its zone's part of the CPU.
fn changes_shares(delta: &Delta<Node>) -> bool {
    match delta {
        Delta::Applied { new, old } => share(new) != old.as_ref().and_then(share),
        Delta::Deleted(gone) => share(gone).is_some(),
    }
}

/// Whether a node is new or in another zone than before, which its pods' endpoints tell.
fn is_elsewhere(delta: &Delta<Node>) -> bool {
    match delta {
        Delta::Applied { new, old } => old.as_ref().is_none_or(|old| zone(old) != zone(new)),
        Delta::Deleted(_) => false,
    }
}
