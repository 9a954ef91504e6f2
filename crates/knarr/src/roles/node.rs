//! One node of the cluster on this machine: network, runtime and node agent, put together.
//!
//! Start with [`start`]. The agent reaches the API inside this process, with the node's own identity; it
//! reaches the runtime over its CRI socket, ours or another's.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use base::{Supervisor, TaskKind};
use cgroup::Hierarchy;
use client::{EventType, Recorder};
use cni::BridgeConfig;
use cni::config::{LOOPBACK_TYPE, PLUGIN_TYPE};
use informer::Informers;
use ipnet::IpNet;
use k8s_openapi::api::core::v1::{Node, ObjectReference, Service};
use kube::Client;
use kubelet::config::PodsConfig;
use kubelet::container_config::ContainerConfigBuilder;
use kubelet::container_config::security::SecurityDefaults;
use kubelet::events::{EventSink, Events, Severity};
use kubelet::logs::reopen::CriReopen;
use kubelet::logs::rotation::{Policy, Rotation};
use kubelet::node::{Machine, NodeAgent, NodeConfig, object};
use kubelet::node_facts::NodeFacts;
use kubelet::pod_cgroup::PodCgroups;
use kubelet::resolv::ClusterDns;
use kubelet::sandbox_config::SandboxConfigBuilder;
use kubelet::seams::PodDirectory;
use kubelet::server::{Access, ServerDeps};
use kubelet::source::PodSource;
use kubelet::volumes::{self, PodDirs};
use network::dns::{Dns, DnsConfig, View};
use runtime::image::{Options, RegistryOptions};
use runtime::streaming::StreamingConfig;
use tokio::sync::mpsc;

use super::control_plane::ControlPlane;
use super::server::Parts;
use crate::cluster::{Cluster, write_durably};
use crate::commands::status::is_ready;
use crate::layout::NodeLayout;
use crate::pki::KUBELET_CLIENT_NAME;
use crate::settings::Settings;

/// Pods a node takes, as upstream.
const MAX_PODS: u32 = 110;
const CLUSTER_DOMAIN: &str = "cluster.local";
const CONTROL_PLANE_LABEL: &str = "node-role.kubernetes.io/control-plane";
/// The port of the `kubernetes` Service.
const API_SERVICE_PORT: u16 = 443;

/// Starts a node; returns once its parts run. It becomes Ready by itself, unless `trouble` hears why it
/// cannot; `trouble` is dropped when its network and DNS are there.
///
/// # Errors
/// Says which part could not be started.
pub async fn start(
    parts: &Parts,
    plane: &ControlPlane,
    index: u8,
    trouble: mpsc::Sender<anyhow::Error>,
) -> Result<()> {
    let layout = parts.layout.node(index);
    layout.make().context("making the node's folders")?;
    link_plugins(&layout)?;
    let socket = match &parts.settings.container_runtime_endpoint {
        Some(endpoint) => endpoint.strip_prefix("unix://").unwrap_or(endpoint).into(),
        None => {
            start_runtime(parts, &layout).await?;
            layout.cri_socket()
        }
    };
    let runtime = cri::connect(&socket).await.context("reaching the container runtime")?;
    let name = parts.cluster.node_name(index);
    let client = plane.client("kubelet", &format!("system:node:{name}"), &["system:nodes"]);
    let recorder = Recorder::start(
        client.clone(),
        "kubelet",
        Some(name.clone()),
        parts.clock.clone(),
        &parts.supervisor,
    );
    let config = NodeConfig {
        name,
        labels: BTreeMap::new(),
        taints: Vec::new(),
        ips: parts.addresses.iter().copied().filter(|a| a.is_ipv4()).take(1).collect(),
        port: parts.cluster.kubelet_port(index),
        root: layout.kubelet_dir(),
        max_pods: MAX_PODS,
    };
    let machine = Machine::read(&config.root).context("looking at the machine")?;
    let facts = Arc::new(NodeFacts::new(
        object::allocatable(&config, &machine),
        i64::try_from(machine.memory_bytes).unwrap_or(i64::MAX),
        config.ips.iter().map(ToString::to_string).collect(),
    ));
    let kit = Kit {
        informers: Informers::new(client.clone(), parts.supervisor.clone()),
        events: Arc::new(RecordedEvents(recorder)),
        client,
        runtime,
        facts,
        layout,
        index,
    };
    let agent = Arc::new(NodeAgent::new(
        config,
        machine,
        kit.client.clone(),
        kit.runtime.clone(),
        parts.clock.clone(),
        kit.events.clone(),
    ));
    follow_pod_cidr(parts, plane, &kit, &agent, trouble);
    start_pods(parts, &kit).await?;
    let shutdown = parts.supervisor.shutdown().clone();
    parts.supervisor.spawn(TaskKind::Essential, "node agent", agent.run(shutdown));
    Ok(())
}

/// What the parts of one node share.
struct Kit {
    client: Client,
    informers: Informers,
    events: Events,
    runtime: (cri::RuntimeServiceClient, cri::ImageServiceClient),
    facts: Arc<NodeFacts>,
    layout: NodeLayout,
    index: u8,
}

/// The built-in runtime behind its socket.
async fn start_runtime(parts: &Parts, layout: &NodeLayout) -> Result<()> {
    let mut images = Options::new(layout.images_dir());
    images.registries = registries(&parts.settings);
    let program = std::env::current_exe().context("finding knarr's own program")?;
    let config = runtime::NodeConfig {
        runtime: runtime::Config {
            root_dir: layout.images_dir(),
            state_dir: layout.runtime_state_dir(),
            socket: layout.cri_socket(),
            cgroup_parent: layout.cgroup.clone(),
            shim_command: vec![program.display().to_string(), "shim".into()],
            network: runtime::NetworkConfig {
                conf_dir: layout.cni_conf_dir(),
                bin_dirs: vec![layout.cni_bin_dir(), "/opt/cni/bin".into()],
            },
        },
        images,
        streaming: StreamingConfig::default(),
        import_socket: layout.import_socket(),
    };
    let node = runtime::Node::build(config, parts.clock.clone(), parts.supervisor.clone())
        .await
        .context("building the container runtime")?;
    let shutdown = parts.supervisor.shutdown().clone();
    parts.supervisor.spawn(TaskKind::Essential, "container runtime", async move {
        if let Err(error) = node.run(shutdown).await {
            tracing::error!(%error, "the container runtime stopped");
        }
    });
    Ok(())
}

fn registries(settings: &Settings) -> RegistryOptions {
    RegistryOptions {
        insecure: settings.insecure_registries.clone(),
        mirrors: settings.registry_mirrors.clone(),
        ..RegistryOptions::default()
    }
}

/// The pod side of the agent, and the node's HTTPS API.
async fn start_pods(parts: &Parts, kit: &Kit) -> Result<()> {
    let shutdown = parts.supervisor.shutdown().clone();
    let dirs = PodDirs::new(kit.layout.kubelet_dir());
    let volumes = Arc::new(volumes::Manager::new(
        kit.client.clone(),
        dirs.clone(),
        kit.facts.clone(),
        parts.clock.clone(),
    ));
    parts.supervisor.spawn(TaskKind::Essential, "volumes", volumes.clone().run(shutdown.clone()));
    let hierarchy = Hierarchy::detect().context("looking at the machine's cgroups")?;
    let pods = kubelet::run::build(
        PodsConfig {
            client: kit.client.clone(),
            runtime: kit.runtime.0.clone(),
            images: kit.runtime.1.clone(),
            source: PodSource::api(&kit.informers, &parts.cluster.node_name(kit.index)),
            volumes: volumes.clone(),
            containers: Arc::new(ContainerConfigBuilder {
                volumes,
                services: kit.informers.cache::<Service>(),
                facts: kit.facts.clone(),
                security: SecurityDefaults {
                    seccomp_default: false,
                    seccomp_root: kit.layout.kubelet_dir().join("seccomp").display().to_string(),
                },
                cluster_domain: CLUSTER_DOMAIN.into(),
                log_root: kit.layout.pod_logs_dir(),
            }),
            sandboxes: Arc::new(SandboxConfigBuilder {
                cgroups: PodCgroups::new(hierarchy, kit.layout.cgroup.clone()),
                dirs,
                log_root: kit.layout.pod_logs_dir(),
                cluster_dns: ClusterDns {
                    servers: vec![parts.cluster.dns_ip().to_string()],
                    domain: CLUSTER_DOMAIN.into(),
                },
                resolv_conf: "/etc/resolv.conf".into(),
                events: kit.events.clone(),
            }),
            events: kit.events.clone(),
            facts: kit.facts.clone(),
            clock: parts.clock.clone(),
        },
        shutdown,
    )
    .await
    .context("reaching the container runtime")?;
    rotate_logs(parts, kit, Arc::new(pods.workers()));
    serve_api(parts, kit, Arc::new(pods.workers())).await?;
    parts.supervisor.spawn(TaskKind::Essential, "pods", pods.run());
    Ok(())
}

/// Keeps containers' logs from filling the disk.
fn rotate_logs(parts: &Parts, kit: &Kit, pods: Arc<dyn PodDirectory>) {
    let rotation = Rotation {
        root: kit.layout.pod_logs_dir(),
        policy: Policy::default(),
        reopen: Arc::new(CriReopen { pods, runtime: kit.runtime.0.clone() }),
        clock: parts.clock.clone(),
    };
    let shutdown = parts.supervisor.shutdown().clone();
    parts.supervisor.spawn(TaskKind::Essential, "log rotation", async move {
        if let Err(error) = rotation.run(shutdown).await {
            tracing::error!(%error, "logs cannot be watched any more");
        }
    });
}

/// The node's HTTPS API: logs, exec and the like, for the API server alone.
async fn serve_api(parts: &Parts, kit: &Kit, pods: Arc<dyn PodDirectory>) -> Result<()> {
    let pair = &parts.pki.kubelet_server;
    let tls = Arc::new(kubelet::server::Tls::new(
        pair.certificate_pem.as_bytes(),
        pair.key_pem.as_bytes(),
        parts.pki.ca_pem.as_bytes(),
    )?);
    let deps = ServerDeps {
        node_name: parts.cluster.node_name(kit.index),
        pods,
        runtime: kit.runtime.0.clone(),
        clock: parts.clock.clone(),
        supervisor: parts.supervisor.clone(),
        access: Access { users: vec![KUBELET_CLIENT_NAME.into()], groups: Vec::new() },
    };
    let port = parts.cluster.kubelet_port(kit.index);
    let server = kubelet::server::Server::bind(([0, 0, 0, 0], port).into(), tls, deps)
        .await
        .with_context(|| format!("listening on port {port} for the node's API"))?;
    let shutdown = parts.supervisor.shutdown().clone();
    parts.supervisor.spawn(TaskKind::Essential, "node API", server.run(shutdown));
    Ok(())
}

/// Makes the node's network once the control plane has given the node its range, and tells the runtime by
/// a CNI configuration.
fn follow_pod_cidr(
    parts: &Parts,
    plane: &ControlPlane,
    kit: &Kit,
    agent: &NodeAgent,
    trouble: mpsc::Sender<anyhow::Error>,
) {
    let (cluster, layout, index) = (parts.cluster.clone(), kit.layout.clone(), kit.index);
    let (plane, poke, mut range) = (plane.clone(), agent.poke(), agent.pod_cidr());
    let (supervisor, shutdown) = (parts.supervisor.clone(), parts.supervisor.shutdown().clone());
    let task = async move {
        let subnet = match range.wait_for(Option::is_some).await {
            Ok(subnet) => subnet.clone().unwrap_or_default(),
            // The agent has stopped before it was given one.
            Err(_) => return,
        };
        let bridge = cluster.bridge(index, &subnet, &layout);
        if let Err(error) = make_network(&bridge, &layout).await {
            tracing::error!(error = %format!("{error:#}"), "the pod network cannot be made; the node stays NotReady");
            // Nobody listens any more once the server is up.
            let _ = trouble.try_send(error.context("the pod network cannot be made"));
            return;
        }
        poke.notify_one();
        if !bridge.service_addresses.is_empty() {
            let address = cluster.api_service_ip();
            if let Err(error) = plane.listen((address, API_SERVICE_PORT).into()).await {
                tracing::error!(error = %format!("{error:#}"), "pods cannot reach the API by its Service");
            }
            if let Err(error) = start_dns(&plane, &cluster, &supervisor).await {
                tracing::error!(error = %format!("{error:#}"), "pods have no cluster DNS");
            }
        }
        drop(trouble);
    };
    parts.supervisor.spawn(TaskKind::Background, "pod network", async move {
        tokio::select! {
            () = task => {}
            () = shutdown.started() => {}
        }
    });
}

/// Cluster DNS, on the address of its Service.
async fn start_dns(plane: &ControlPlane, cluster: &Cluster, supervisor: &Supervisor) -> Result<()> {
    let informers = Informers::new(plane.client("kube-proxy", "system:kube-proxy", &[]), supervisor.clone());
    let view = View { services: informers.cache(), slices: informers.cache() };
    let ranges = vec![cluster.pod_cidr().parse()?, cluster.service_cidr().parse()?];
    let mut clients: Vec<IpNet> = ranges.clone();
    // The machine itself asks from the address it is asked on.
    clients.push("127.0.0.0/8".parse()?);
    let config = DnsConfig {
        listen: (cluster.dns_ip(), network::dns::PORT).into(),
        domain: CLUSTER_DOMAIN.into(),
        ranges,
        clients,
        resolv_conf: "/etc/resolv.conf".into(),
    };
    let dns = Dns::bind(config, view).await?;
    let shutdown = supervisor.shutdown().clone();
    supervisor.spawn(TaskKind::Essential, "cluster DNS", dns.run(shutdown));
    Ok(())
}

async fn make_network(bridge: &BridgeConfig, layout: &NodeLayout) -> Result<()> {
    cni::prepare_node(bridge).await?;
    let mut plugin = serde_json::to_value(bridge)?;
    plugin["type"] = PLUGIN_TYPE.into();
    let list = serde_json::json!({"cniVersion": "1.0.0", "name": "knarr", "plugins": [plugin]});
    let path = layout.cni_conf_dir().join("10-knarr.conflist");
    write_durably(&path, &serde_json::to_vec_pretty(&list)?, 0o644)
}

/// The plugins are knarr itself, called by other names.
fn link_plugins(layout: &NodeLayout) -> Result<()> {
    let program = std::env::current_exe().context("finding knarr's own program")?;
    [PLUGIN_TYPE, LOOPBACK_TYPE]
        .iter()
        .try_for_each(|name| link_to(&program, &layout.cni_bin_dir().join(name)))
}

fn link_to(program: &Path, link: &Path) -> Result<()> {
    if std::fs::read_link(link).is_ok_and(|target| target == program) {
        return Ok(());
    }
    match std::fs::remove_file(link) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("removing {}", link.display()));
        }
        _ => {}
    }
    symlink(program, link).with_context(|| format!("linking {}", link.display()))
}

/// Waits until every node named is Ready, but not longer than `patience`; what is returned says of each that
/// is not yet, why. The first one is labelled as the control plane's: a node may not give itself a role.
///
/// # Errors
/// When the label cannot be written.
pub async fn wait_ready(
    plane: &ControlPlane,
    names: &[String],
    supervisor: &Supervisor,
    patience: Duration,
) -> Result<Vec<String>> {
    let Some(first) = names.first() else { return Ok(Vec::new()) };
    let client = plane.client("kube-apiserver", "system:apiserver", &["system:masters"]);
    let waiting = Supervisor::new(supervisor.shutdown().child());
    let nodes = Informers::new(client.clone(), waiting.clone()).cache::<Node>();
    let labels = BTreeMap::from([(CONTROL_PLANE_LABEL.to_owned(), String::new())]);
    kubelet::node::roles::set(client, first, &labels).await.context("labelling the control plane's node")?;
    let all = nodes.wait_until(|nodes| {
        names.iter().all(|name| nodes.get("", name).is_some_and(|node| takes_pods(&node)))
    });
    let late = match tokio::time::timeout(patience, all).await {
        Ok(_) => Vec::new(),
        Err(_) => names.iter().filter_map(|name| why_not(name, nodes.get("", name).as_deref())).collect(),
    };
    waiting.shutdown().start();
    Ok(late)
}

/// The line for a node that takes no pods.
fn why_not(name: &str, node: Option<&Node>) -> Option<String> {
    let Some(node) = node else { return Some(format!("node {name} has not been registered")) };
    if takes_pods(node) {
        return None;
    }
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let message = conditions.filter(|c| c.type_ == "Ready").find_map(|c| c.message.clone());
    Some(format!("node {name} is not Ready: {}", message.as_deref().unwrap_or("it has not said why")))
}

/// Whether a node is Ready and the control plane has taken note: its not-ready taint is gone.
fn takes_pods(node: &Node) -> bool {
    let mut taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    is_ready(node) && !taints.any(|taint| taint.key == "node.kubernetes.io/not-ready")
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
