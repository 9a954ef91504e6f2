//! The agents of a node: services that run beside the node agent once the node's network is set up.
//!
//! All agents are in one list, [`AGENTS`]. An agent is a module with a `build`; an agent reaches the API only through
//! [`AgentDeps`], never through a control plane. An agent that cannot be built is reported, and the others run.

mod announce;
mod api_address;
mod conntrack;
mod dns;
mod overlay;
mod policies;
mod services;

use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use anyhow::Result;
use base::{Clock, Metrics, Supervisor, TaskKind};
use client::Recorder;
use informer::Informers;
use kubelet::process_pods::Part;
use network::overlay::Routing;

use crate::cluster::ClusterNetwork;
use crate::roles::addresses::Addresses;
use crate::roles::api_access::ApiAccess;
use crate::roles::built::Built;

/// What agents are built from.
pub(super) struct AgentDeps {
    api: ApiAccess,
    /// The caches of all agents, under their identity.
    informers: Informers,
    network: ClusterNetwork,
    links: NodeLinks,
    node: OwnNode,
    /// On which CNI plugins say which pod gets which address.
    policy_calls: UnixListener,
    /// Writes what agents have to say of objects, as upstream's network agent does.
    recorder: Recorder,
    metrics: Metrics,
    supervisor: Supervisor,
}

/// What agents share with the rest of the node.
pub(super) struct Common {
    pub clock: Arc<dyn Clock>,
    /// What the node's `/metrics` shows.
    pub metrics: Metrics,
    pub supervisor: Supervisor,
}

/// The node's pod network.
pub(super) struct NodeLinks {
    /// What the names of the node's own links and nftables tables begin with.
    pub bridge: String,
    /// The node's part of the pods' range.
    pub subnet: String,
    pub overlay: OverlaySettings,
    /// On which addresses of the machine node ports are: CIDRs or `primary`; empty for all.
    pub node_ports: Vec<String>,
}

/// How other machines' pods are reached.
pub(super) struct OverlaySettings {
    /// Nothing where it is not knarr's task.
    pub routing: Option<Routing>,
    pub route_protocol: u8,
}

/// The node that the agents belong to.
pub(super) struct OwnNode {
    pub name: String,
    pub addresses: Addresses,
    /// The file that names the node's name servers.
    pub resolv_conf: PathBuf,
}

impl AgentDeps {
    pub fn new(
        api: ApiAccess,
        network: ClusterNetwork,
        links: NodeLinks,
        node: OwnNode,
        policy_calls: UnixListener,
        common: Common,
    ) -> Self {
        let Common { clock, metrics, supervisor } = common;
        let informers = Informers::new(api.network.clone(), supervisor.clone());
        let host = Some(node.name.clone());
        let recorder = Recorder::start(api.network.clone(), "kube-proxy", host, clock, &supervisor);
        Self { api, informers, network, links, node, policy_calls, recorder, metrics, supervisor }
    }
}

type Building<'a> = Pin<Box<dyn Future<Output = Result<Built>> + Send + 'a>>;

struct Agent {
    /// Of its task.
    name: &'static str,
    /// What is said when it cannot be built.
    without: &'static str,
    build: for<'a> fn(&'a AgentDeps) -> Building<'a>,
}

const AGENTS: [Agent; 7] = [
    Agent {
        name: "API address",
        without: "pods cannot reach the API by its Service",
        build: |deps| Box::pin(api_address::build(deps)),
    },
    Agent {
        name: "cluster DNS",
        without: "pods have no cluster DNS",
        build: |deps| Box::pin(dns::build(deps)),
    },
    Agent {
        name: "Service proxy",
        without: "Services are not reached by their addresses",
        build: |deps| Box::pin(services::build(deps)),
    },
    Agent {
        name: "network policies",
        without: "no pod starts, since nobody keeps what NetworkPolicies do not let pass",
        build: |deps| Box::pin(policies::build(deps)),
    },
    Agent {
        name: "overlay",
        without: "pods do not reach pods of other machines",
        build: |deps| Box::pin(overlay::build(deps)),
    },
    Agent {
        name: "load balancers' addresses",
        without: "nobody on the machine's link hears of load balancers' addresses",
        build: |deps| Box::pin(announce::build(deps)),
    },
    Agent {
        name: "connection table",
        without: "nobody says so when the kernel's table of connections is full",
        build: |deps| Box::pin(conntrack::build(deps)),
    },
];

/// Of the pod that stands for the cluster's DNS, as upstream's.
const DNS_LABELS: [(&str, &str); 1] = [("k8s-app", "kube-dns")];

/// The agents that upstream has pods for, as a user looks for them.
pub(super) fn parts() -> Vec<Part> {
    vec![Part { name: "kube-dns", labels: DNS_LABELS.into(), port: None }]
}

/// Builds the agents one after the other, and lets them run.
pub(super) async fn start(deps: AgentDeps) {
    for agent in &AGENTS {
        match (agent.build)(&deps).await {
            Ok(built) => {
                let shutdown = deps.supervisor.shutdown().clone();
                deps.supervisor.spawn(TaskKind::Essential, agent.name, built.run(shutdown));
            }
            Err(error) => tracing::error!(error = %format!("{error:#}"), "{}", agent.without),
        }
    }
}
