//! One node of the cluster on this machine: assembles network, runtime and node agent.
//!
//! Start with [`start`]. The node reaches the API through its [`ApiAccess`], with identities of its own, and
//! knows nothing else of a control plane, even if the control plane runs in the same process. The node
//! reaches the runtime, ours or another, over a CRI socket. `runtime` starts the runtime, `network` makes the pod
//! network, `agents` lists the services that need the network, `pods` runs pods.

mod agents;
mod network;
mod pods;
mod runtime;

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::net::IpAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use base::{Clock, Metrics, Supervisor, TaskKind};
use client::{EventType, Recorder};
use informer::Informers;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kubelet::events::{EventSink, Events, Severity};
use kubelet::node::{Machine, NodeAgent, NodeConfig, object};
use kubelet::node_facts::NodeFacts;
use kubelet::pressure::State;
use kubelet::process_pods::Part;
use kubelet::static_pods::StaticPodsConfig;
use kubelet::volumes::PodDirs;
use kubelet::volumes::csi::InUse;
use serving::ServerTls;
use tokio::sync::{mpsc, watch};

use super::addresses::Addresses;
use super::api_access::ApiAccess;
use crate::cluster::{ClusterNetwork, Links};
use crate::layout::{Layout, NodeLayout};
use crate::pki::Pair;
use crate::settings::Settings;

/// Pods a node takes, as upstream.
const MAX_PODS: u32 = 110;

/// Which node this is.
pub struct Config {
    pub name: String,
    /// The port of the node's HTTPS API.
    pub port: u16,
    pub layout: NodeLayout,
    pub settings: Settings,
    pub static_pods: StaticPodsConfig,
    /// Addresses of this machine, best first.
    pub addresses: Addresses,
    pub links: Links,
    pub network: ClusterNetwork,
    /// What of a control plane runs in the same process. The node shows each part as a pod, and so its own agents.
    pub parts: Vec<Part>,
    /// The file that the process logs to, if it does.
    pub log: Option<PathBuf>,
    /// The file that names the node's name servers.
    pub resolv_conf: PathBuf,
    /// Beside those that every node has.
    pub labels: BTreeMap<String, String>,
}

/// What a node is built from.
pub struct Deps {
    pub api: ApiAccess,
    /// The certificate of the node's HTTPS API.
    pub serving: Arc<ServerTls>,
    pub clock: Arc<dyn Clock>,
    pub supervisor: Supervisor,
    /// What the node's `/metrics` shows.
    pub metrics: Metrics,
}

/// What the parts of one node share.
struct Kit {
    client: Client,
    informers: Informers,
    events: Events,
    runtime: (cri::RuntimeServiceClient, cri::ImageServiceClient),
    facts: Arc<NodeFacts>,
    /// The node's own addresses as they are now, the primary one first.
    ips: watch::Receiver<Vec<IpAddr>>,
    /// Who hears what the node is short of.
    pressure: watch::Sender<State>,
    /// The volumes that pods use and that must not be detached.
    in_use: InUse,
    /// What the node's `/metrics` shows.
    metrics: Metrics,
    /// The node agent's figures, which `metrics` shows too.
    operations: kubelet::metrics::Metrics,
}

/// Starts a node; returns once its parts run. It becomes Ready by itself, unless `trouble` hears why it
/// cannot; `trouble` is dropped when its network and its agents are there.
///
/// # Errors
/// Says which part could not be started.
pub async fn start(config: &Config, deps: &Deps, trouble: mpsc::Sender<anyhow::Error>) -> Result<()> {
    config.layout.make().context("making the node's folders")?;
    // Before the runtime is there that calls plugins: whoever is early waits for the agent.
    let policy_calls = network::listen(&config.layout.policy_socket());
    let policy_calls = policy_calls.context("opening the socket of network policies")?;
    let socket = runtime::start(config, deps).await?;
    let runtime = cri::connect(&socket).await.context("reaching the container runtime")?;
    let (told, ips) = watch::channel(own_ips(&config.addresses.borrow()));
    let (tell_pressure, pressure) = watch::channel(State::default());
    let dirs = PodDirs::new(config.layout.kubelet_dir());
    let in_use = InUse::read(&dirs);
    let node = node_config(config, ips.clone(), pressure, &in_use);
    let machine = Machine::read(&node.root).context("looking at the machine")?;
    let facts = Arc::new(NodeFacts::new(
        object::allocatable(&node, &machine),
        i64::try_from(machine.memory_bytes).unwrap_or(i64::MAX),
        texts(&ips.borrow()),
        node.own.clone(),
    ));
    follow_addresses(config.addresses.clone(), told, facts.clone(), &deps.supervisor);
    let client = deps.api.node.clone();
    let recorder = Recorder::start(
        client.clone(),
        "kubelet",
        Some(node.name.clone()),
        deps.clock.clone(),
        &deps.supervisor,
    );
    let metrics = deps.metrics.clone();
    metrics.register_process();
    let kit = Kit {
        informers: Informers::new(client.clone(), deps.supervisor.clone()),
        events: Arc::new(RecordedEvents(recorder)),
        client,
        runtime,
        facts,
        ips,
        pressure: tell_pressure,
        in_use,
        operations: kubelet::metrics::Metrics::registered(&metrics),
        metrics,
    };
    let agent = Arc::new(NodeAgent::new(
        node,
        machine,
        kit.client.clone(),
        kit.runtime.clone(),
        kit.operations.clone(),
        deps.clock.clone(),
        kit.events.clone(),
    ));
    network::follow_pod_cidr(config, deps, &agent, policy_calls, trouble);
    pods::start(config, deps, &kit).await?;
    let shutdown = deps.supervisor.shutdown().clone();
    deps.supervisor.spawn(TaskKind::Essential, "node agent", agent.run(shutdown));
    Ok(())
}

/// Where the static pods of this machine's own node come from. The usual folder is made, for root alone: whoever writes
/// there runs what he likes.
///
/// # Errors
/// When the folder cannot be made.
pub fn static_pods(layout: &Layout, settings: &Settings) -> Result<StaticPodsConfig> {
    let usual = layout.manifests_dir();
    let config = settings.node.static_pods(usual.clone())?;
    if config.path.as_ref() == Some(&usual) {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&usual);
        made.with_context(|| format!("making {}", usual.display()))?;
    }
    Ok(config)
}

/// What the node's HTTPS API is served with; who calls the API has a certificate of the cluster's CA.
///
/// # Errors
/// When a part cannot be used.
pub fn tls(pair: &Pair, ca_pem: &str) -> Result<Arc<ServerTls>> {
    Ok(Arc::new(kubelet::server::tls(serving::Pem {
        chain: pair.certificate_pem.as_bytes(),
        key: pair.key_pem.as_bytes(),
        client_ca: ca_pem.as_bytes(),
    })?))
}

/// The node's own addresses among the machine's.
pub fn own_ips(machine: &[IpAddr]) -> Vec<IpAddr> {
    machine.iter().copied().filter(IpAddr::is_ipv4).take(1).collect()
}

fn texts(ips: &[IpAddr]) -> Vec<String> {
    ips.iter().map(ToString::to_string).collect()
}

/// Has pods that begin, the Node object and the process's own pods follow the machine's addresses.
fn follow_addresses(
    mut machine: Addresses,
    told: watch::Sender<Vec<IpAddr>>,
    facts: Arc<NodeFacts>,
    supervisor: &Supervisor,
) {
    let shutdown = supervisor.shutdown().clone();
    supervisor.spawn(TaskKind::Background, "the node's addresses", async move {
        let follow = async {
            while machine.changed().await.is_ok() {
                let ips = own_ips(&machine.borrow_and_update());
                if *told.borrow() != ips {
                    facts.set_host_ips(texts(&ips));
                    told.send_replace(ips);
                }
            }
        };
        tokio::select! {
            () = follow => {}
            () = shutdown.started() => {}
        }
    });
}

fn node_config(
    config: &Config,
    ips: watch::Receiver<Vec<IpAddr>>,
    pressure: watch::Receiver<State>,
    in_use: &InUse,
) -> NodeConfig {
    NodeConfig {
        name: config.name.clone(),
        labels: config.labels.clone(),
        taints: Vec::new(),
        ips,
        pressure,
        port: config.port,
        root: config.layout.kubelet_dir(),
        volumes_in_use: in_use.watch(),
        volumes_known: in_use.known(),
        max_pods: MAX_PODS,
        own: Default::default(),
    }
}

/// The agent's events, written by the recorder.
struct RecordedEvents(Recorder);

impl EventSink for RecordedEvents {
    fn record(&self, regarding: ObjectReference, severity: Severity, reason: &str, message: String) {
        let event_type = match severity {
            Severity::Normal => EventType::Normal,
            Severity::Warning => EventType::Warning,
        };
        self.0.event(&regarding, event_type, reason, message);
    }
}
