//! The node's pod network: set up once the control plane has assigned the node's range; then the agents start.

use std::fs::Permissions;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

use anyhow::Result;
use base::TaskKind;
use cni::BridgeConfig;
use cni::config::PLUGIN_TYPE;
use kubelet::node::NodeAgent;
use network::overlay::{Routing, pod_mtu};
use tokio::sync::mpsc;

use super::agents::{self, AgentDeps, Common, NodeLinks, OverlaySettings, OwnNode};
use super::{Config, Deps};
use crate::durable::write_durably;
use crate::layout::NodeLayout;
use crate::roles::addresses::Addresses;
use crate::settings::Overlay;

/// Opens the socket on which CNI plugins say which pod gets which address. What an earlier process has left is replaced.
///
/// # Errors
/// When it cannot be made.
pub(super) fn listen(socket: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(socket)?;
    std::fs::set_permissions(socket, Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Makes the network, tells the runtime by a CNI configuration, and starts the node's agents.
pub(super) fn follow_pod_cidr(
    config: &Config,
    deps: &Deps,
    agent: &NodeAgent,
    policy_calls: UnixListener,
    trouble: mpsc::Sender<anyhow::Error>,
) {
    let (mut bridge, layout, network) = (bridge(config), config.layout.clone(), config.network.clone());
    let (api, poke, mut range) = (deps.api.clone(), agent.poke(), agent.pod_cidr());
    let (name, addresses, resolv_conf) =
        (config.name.clone(), config.addresses.clone(), config.resolv_conf.clone());
    let overlay = OverlaySettings {
        routing: routing(config.settings.overlay),
        route_protocol: config.links.route_protocol,
    };
    let (clock, metrics) = (deps.clock.clone(), deps.metrics.clone());
    let node_ports = config.settings.node_port_addresses.clone();
    let (supervisor, shutdown) = (deps.supervisor.clone(), deps.supervisor.shutdown().clone());
    let task = async move {
        bridge.subnet = match range.wait_for(Option::is_some).await {
            Ok(subnet) => subnet.clone().unwrap_or_default(),
            // The agent has stopped before it was given one.
            Err(_) => return,
        };
        if overlay.routing.is_some() {
            bridge.mtu = mtu(&addresses).await;
        }
        if let Err(error) = make_network(&bridge, &layout).await {
            tracing::error!(error = %format!("{error:#}"), "the pod network cannot be made; the node stays NotReady");
            // Nobody listens any more once the server is up.
            let _ = trouble.try_send(error.context("the pod network cannot be made"));
            return;
        }
        poke.notify_one();
        let (kept, ending) = (bridge.clone(), supervisor.shutdown().clone());
        let keep = async move { network::pod_tables::keep(kept, ending).await };
        supervisor.spawn(TaskKind::Background, "pod network's tables", keep);
        let links = NodeLinks { bridge: bridge.bridge, subnet: bridge.subnet, overlay, node_ports };
        let (node, common) =
            (OwnNode { name, addresses, resolv_conf }, Common { clock, metrics, supervisor });
        agents::start(AgentDeps::new(api, network, links, node, policy_calls, common)).await;
        drop(trouble);
    };
    deps.supervisor.spawn(TaskKind::Background, "pod network", async move {
        tokio::select! {
            () = task => {}
            () = shutdown.started() => {}
        }
    });
}

/// What the network is made of; the subnet comes from the control plane.
fn bridge(config: &Config) -> BridgeConfig {
    let network = &config.network;
    BridgeConfig {
        bridge: config.links.bridge.clone(),
        subnet: String::new(),
        cluster_cidr: network.pod_cidr.clone(),
        ipam_dir: config.layout.ipam_dir(),
        veth_prefix: config.links.veth_prefix.clone(),
        service_addresses: vec![network.api_service_ip, network.dns_ip],
        mtu: None,
        policy_socket: Some(config.layout.policy_socket()),
    }
}

fn routing(setting: Overlay) -> Option<Routing> {
    match setting {
        Overlay::Vxlan => Some(Routing::Tunnel),
        Overlay::Direct => Some(Routing::Direct),
        Overlay::None => None,
    }
}

/// What pods may send so that it fits into the tunnel to other machines; the kernel's default where that cannot be known,
/// such as on a machine that has no address but the loopback's.
async fn mtu(addresses: &Addresses) -> Option<u32> {
    let first = addresses.borrow().first().copied();
    let Some(IpAddr::V4(address)) = first else { return None };
    match pod_mtu(address).await {
        Ok(mtu) => Some(mtu),
        Err(error) => {
            tracing::warn!(%error, "pods send packets of any size, which may not fit into the tunnel to other machines");
            None
        }
    }
}

async fn make_network(bridge: &BridgeConfig, layout: &NodeLayout) -> Result<()> {
    cni::prepare_node(bridge).await?;
    let mut plugin = serde_json::to_value(bridge)?;
    plugin["type"] = PLUGIN_TYPE.into();
    plugin["capabilities"] = serde_json::json!({"portMappings": true});
    let list = serde_json::json!({"cniVersion": "1.0.0", "name": "knarr", "plugins": [plugin]});
    let path = layout.cni_conf_dir().join("10-knarr.conflist");
    write_durably(&path, &serde_json::to_vec_pretty(&list)?, 0o644)
}
