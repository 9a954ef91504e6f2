//! Pods on the bridge: attaching one, taking it off, and removing everything of a cluster.

use std::collections::HashSet;
use std::fs::File;
use std::net::Ipv4Addr;
use std::path::Path;

use nft::{Batch, Family};

use crate::announce::{self, Announcement, PodName};
use crate::config::{BridgeConfig, Range};
use crate::host_ports::{self, PortMapping};
use crate::{Error, binding, ipam, link, masquerade, port_records};

/// A pod's address and the two ends of its interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    pub address: Ipv4Addr,
    pub range: Range,
    /// The pod's end, inside its namespace.
    pub mac: String,
    /// The host's end.
    pub host_interface: String,
}

/// Makes the node's bridge and its tables. Called at the node's start; repeatable.
///
/// # Errors
/// When the kernel refuses, or the configuration is wrong.
pub async fn prepare_node(config: &BridgeConfig) -> Result<(), Error> {
    let range = Range::parse(&config.subnet)?;
    let pods = Range::parse(&config.cluster_cidr)?;
    link::here(|handle| async move {
        link::ensure_bridge(&handle, &config.bridge, range, &config.service_addresses).await.map(|_| ())
    })
    .await?;
    masquerade::make(&config.bridge, pods).send().map_err(|error| match error.raw_os_error() {
        Some(nix::libc::EPROTONOSUPPORT | nix::libc::EOPNOTSUPP) => {
            Error::Kernel { what: "nftables", option: "CONFIG_NF_TABLES", module: "nf_tables" }
        }
        _ => Error::Nft(error),
    })?;
    host_ports::prepare(&config.bridge, pods).send().map_err(Error::Nft)?;
    binding::prepare(&config.bridge).send().map_err(|error| match error.raw_os_error() {
        Some(nix::libc::EPROTONOSUPPORT | nix::libc::EOPNOTSUPP | nix::libc::EAFNOSUPPORT) => Error::Kernel {
            what: "nftables on network devices",
            option: "CONFIG_NF_TABLES_NETDEV",
            module: "nf_tables",
        },
        _ => Error::Nft(error),
    })?;
    link::here(|handle| async move {
        for port in link::named(&handle, &config.veth_prefix).await? {
            let set = match link::set_port(&handle, &port).await {
                Ok(()) => binding::lead_to_gateway(&config.bridge, &port, link::mac_for(range.gateway()))
                    .send()
                    .map_err(Error::Nft),
                Err(error) => Err(error),
            };
            // A pod may end while the node starts.
            if let Err(error) = set
                && link::find(&handle, &port).await?.is_some()
            {
                return Err(error);
            }
        }
        Ok(())
    })
    .await
}

/// As [`attach_pod`], of something that is no pod of the cluster.
///
/// # Errors
/// As [`attach_pod`].
pub async fn attach(
    config: &BridgeConfig,
    container_id: &str,
    netns: &Path,
    interface: &str,
    ports: &[PortMapping],
) -> Result<Attachment, Error> {
    attach_pod(config, None, container_id, netns, interface, ports).await
}

/// Gives the namespace at `netns` an interface called `interface` on the bridge, and has ports of the node lead to the
/// pod, once the pod's network policies are in force. What was made is taken back when a later step fails.
///
/// # Errors
/// When no address is free, nobody says that the policies are in force, or the kernel refuses.
pub async fn attach_pod(
    config: &BridgeConfig,
    pod: Option<&PodName>,
    container_id: &str,
    netns: &Path,
    interface: &str,
    ports: &[PortMapping],
) -> Result<Attachment, Error> {
    let range = Range::parse(&config.subnet)?;
    let address = ipam::allocate(&config.ipam_dir, range, container_id)?;
    let connected = match announce_pod(config, pod, address) {
        Ok(()) => connect(config, range, address, container_id, netns, interface).await,
        Err(error) => Err(error),
    };
    let opened = connected.and_then(|attachment| {
        port_records::note(&config.ipam_dir, address, ports)?;
        host_ports::open(&config.bridge, address, ports, Batch::send)?;
        Ok(attachment)
    });
    match opened {
        Ok(attachment) => Ok(attachment),
        Err(error) => {
            if let Err(undo) = detach(config, container_id).await {
                tracing::warn!(%undo, container_id, "a failed attachment could not be taken back");
            }
            Err(error)
        }
    }
}

/// Waits until the policies of the pod hold for the address.
fn announce_pod(config: &BridgeConfig, pod: Option<&PodName>, address: Ipv4Addr) -> Result<(), Error> {
    let (Some(socket), Some(pod)) = (&config.policy_socket, pod) else { return Ok(()) };
    announce::say(socket, &pod.gets(address), announce::PATIENCE)
        .map_err(|cause| Error::Policies { socket: socket.display().to_string(), cause })
}

/// Says that an address is free. Until somebody hears it, nothing passes to and from the address, and who gets it next is
/// announced anyway.
fn announce_free(config: &BridgeConfig, address: Ipv4Addr) {
    let Some(socket) = &config.policy_socket else { return };
    if let Err(error) = announce::say(socket, &Announcement::Detached { address }, announce::SHORT_PATIENCE) {
        tracing::warn!(%error, %address, "the agent of network policies does not hear that an address is free");
    }
}

async fn connect(
    config: &BridgeConfig,
    range: Range,
    address: Ipv4Addr,
    container_id: &str,
    netns: &Path,
    interface: &str,
) -> Result<Attachment, Error> {
    let host_interface = host_interface(config, container_id);
    let namespace = File::open(netns).map_err(Error::io(format!("opening {}", netns.display())))?;
    let host_name = host_interface.clone();
    link::here(|handle| async move {
        let bridge = match link::find(&handle, &config.bridge).await? {
            Some(bridge) => bridge.header.index,
            None => link::ensure_bridge(&handle, &config.bridge, range, &config.service_addresses).await?,
        };
        let pair = link::Pair { host_name: &host_name, pod_name: interface, address, mtu: config.mtu };
        link::add_veth(&handle, pair, &namespace, bridge).await?;
        link::set_port(&handle, &host_name).await
    })
    .await?;
    let mac = link::inside(netns, |handle| link::configure_pod(handle, interface, address, range)).await?;
    binding::bind(&config.bridge, &host_interface, mac, address).send().map_err(Error::Nft)?;
    binding::lead_to_gateway(&config.bridge, &host_interface, link::mac_for(range.gateway()))
        .send()
        .map_err(Error::Nft)?;
    let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
    Ok(Attachment { address, range, mac, host_interface })
}

/// Takes a pod off the bridge and its address back. Fine when it was never attached; needs no namespace.
///
/// # Errors
/// When the kernel refuses or a record cannot be removed.
pub async fn detach(config: &BridgeConfig, container_id: &str) -> Result<(), Error> {
    let name = host_interface(config, container_id);
    let port = name.clone();
    link::here(|handle| async move { link::remove(&handle, &name).await }).await?;
    binding::release(&config.bridge, &port).map_err(Error::Nft)?;
    if let Some(address) = ipam::held_by(&config.ipam_dir, container_id)? {
        // First, so that nobody opens them again.
        port_records::forget(&config.ipam_dir, address)?;
        host_ports::close(&config.bridge, address).map_err(Error::Nft)?;
        announce_free(config, address);
    }
    ipam::release(&config.ipam_dir, container_id)
}

/// Whether a pod is attached with the given address.
///
/// # Errors
/// Returns an error that names the missing part of a pod's attachment.
pub async fn check(config: &BridgeConfig, container_id: &str) -> Result<(), Error> {
    let name = host_interface(config, container_id);
    let wanted = name.clone();
    let found = link::here(|handle| async move { link::find(&handle, &wanted).await }).await?;
    if found.is_none() {
        return Err(Error::NoInterface(name));
    }
    match ipam::held_by(&config.ipam_dir, container_id)? {
        Some(_) => Ok(()),
        None => Err(Error::Config(format!("{container_id} has no address"))),
    }
}

/// Takes everybody off the bridge who is not in `keep`.
///
/// # Errors
/// When the kernel refuses or a record cannot be removed.
pub async fn collect_garbage(config: &BridgeConfig, keep: &[String]) -> Result<(), Error> {
    let kept: Vec<String> = keep.iter().map(|id| host_interface(config, id)).collect();
    link::here(|handle| async move {
        for name in link::named(&handle, &config.veth_prefix).await? {
            if !kept.contains(&name) {
                link::remove(&handle, &name).await?;
                binding::release(&config.bridge, &name).map_err(Error::Nft)?;
            }
        }
        Ok(())
    })
    .await?;
    let mut pods = HashSet::new();
    for id in keep {
        pods.extend(ipam::held_by(&config.ipam_dir, id)?);
    }
    port_records::retain(&config.ipam_dir, &pods)?;
    host_ports::retain(&config.bridge, &pods).map_err(Error::Nft)?;
    let freed = ipam::retain(&config.ipam_dir, |owner| keep.iter().any(|id| id == owner))?;
    freed.into_iter().for_each(|address| announce_free(config, address));
    Ok(())
}

/// Removes every interface, bridge and nftables table whose name starts with one of the prefixes, and every route of the
/// protocol number: all of a cluster, whatever became of its records. Repeatable.
///
/// # Errors
/// When the kernel refuses.
pub async fn remove_cluster(bridge_prefix: &str, veth_prefix: &str, route_protocol: u8) -> Result<(), Error> {
    let bridges = link::here(|handle| async move {
        for name in link::named(&handle, veth_prefix).await? {
            link::remove(&handle, &name).await?;
        }
        let bridges = link::named(&handle, bridge_prefix).await?;
        for name in &bridges {
            link::remove(&handle, name).await?;
        }
        link::remove_routes(&handle, route_protocol).await?;
        Ok(bridges)
    })
    .await?;
    // A table outlives its bridge when a removal was interrupted, so tables are asked for by themselves.
    for (family, remove) in [
        (Family::Ipv4, masquerade::remove as fn(&str) -> std::io::Result<()>),
        (Family::Device, binding::remove),
    ] {
        let tables = nft::tables(family, bridge_prefix).map_err(Error::Nft)?;
        bridges.iter().chain(&tables).try_for_each(|table| remove(table)).map_err(Error::Nft)?;
    }
    Ok(())
}

/// The host's end of a pod's interface: the prefix and the start of the container's id.
pub(crate) fn host_interface(config: &BridgeConfig, container_id: &str) -> String {
    let id: String = container_id.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
    format!("{}{id}", config.veth_prefix)
}
