//! Interfaces, addresses and routes over rtnetlink, in this network namespace or in another one.

use std::fs::File;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd;
use std::path::Path;

use futures::TryStreamExt;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags};
use rtnetlink::packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkInfo, LinkMessage};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteScope};
use rtnetlink::{
    Handle, LinkBridge, LinkBridgePort, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder,
    new_connection,
};

use crate::Error;
use crate::config::Range;

/// Index of a namespace's loopback interface: always the first.
const LOOPBACK: u32 = 1;

/// Runs `work` with a netlink connection in this thread's network namespace.
pub(crate) async fn here<T, F>(work: impl FnOnce(Handle) -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let (connection, handle, _) = new_connection().map_err(Error::io("opening netlink"))?;
    drive(connection, work(handle)).await
}

/// Runs `work` with a netlink connection inside the pod's namespace at `path`, which forwards nothing and follows no
/// redirects from then on.
pub(crate) async fn inside<T, F>(path: &Path, work: impl FnOnce(Handle) -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    enter(path, behave_as_host, work).await
}

/// The same inside a node's namespace, which forwards from then on.
pub(crate) async fn inside_router<T, F>(path: &Path, work: impl FnOnce(Handle) -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    enter(path, || set("/proc/sys/net/ipv4/ip_forward", "1"), work).await
}

/// A short-lived thread enters the namespace, `behave`s there and opens the socket; the socket stays there, no other
/// thread ever does.
async fn enter<T, F>(
    path: &Path,
    behave: fn() -> std::io::Result<()>,
    work: impl FnOnce(Handle) -> F,
) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let namespace = File::open(path).map_err(Error::io(format!("opening {}", path.display())))?;
    let runtime = tokio::runtime::Handle::current();
    let opener = std::thread::spawn(move || {
        let _context = runtime.enter();
        nix::sched::setns(&namespace, nix::sched::CloneFlags::CLONE_NEWNET)?;
        behave()?;
        new_connection()
    });
    let opened = opener.join().map_err(|_| Error::Config("the thread that opens netlink panicked".into()))?;
    let (connection, handle, _) = opened.map_err(Error::io(format!("entering {}", path.display())))?;
    drive(connection, work(handle)).await
}

/// A namespace begins with the machine's settings, and a pod is no router unless its own sysctls make it one, which are
/// set later. Nor does it follow redirects: every packet of a pod goes by the node. What the calling thread sees of the
/// settings is its own namespace's.
fn behave_as_host() -> std::io::Result<()> {
    set("/proc/sys/net/ipv4/ip_forward", "0")?;
    // A namespace's `all` and an interface's own setting both turn redirects on.
    for entry in std::fs::read_dir("/proc/sys/net/ipv4/conf")? {
        set(entry?.path().join("accept_redirects"), "0")?;
    }
    Ok(())
}

fn set(setting: impl AsRef<Path>, value: &str) -> std::io::Result<()> {
    if std::fs::read_to_string(&setting)?.trim() == value {
        return Ok(());
    }
    std::fs::write(setting, value)
}

/// A connection only moves while it is polled: beside the work it serves.
async fn drive<T>(
    connection: impl Future<Output = ()>,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::select! {
        biased;
        result = work => result,
        () = connection => Err(Error::Config("the netlink connection ended".into())),
    }
}

/// The interface called `name`.
pub(crate) async fn find(handle: &Handle, name: &str) -> Result<Option<LinkMessage>, Error> {
    match handle.link().get().match_name(name.to_owned()).execute().try_next().await {
        Ok(link) => Ok(link),
        Err(rtnetlink::Error::NetlinkError(error)) if error.raw_code() == -nix::libc::ENODEV => Ok(None),
        Err(error) => Err(Error::netlink(format!("looking for interface {name}"))(error)),
    }
}

async fn index(handle: &Handle, name: &str) -> Result<u32, Error> {
    find(handle, name).await?.map(|link| link.header.index).ok_or_else(|| Error::NoInterface(name.to_owned()))
}

/// Makes the bridge of pods if it is not there, with its addresses, and sets it up. Returns its index.
pub(crate) async fn ensure_bridge(
    handle: &Handle,
    name: &str,
    range: Range,
    service_addresses: &[Ipv4Addr],
) -> Result<u32, Error> {
    let bridge = make_bridge(handle, name, range, service_addresses).await?;
    set_router(name).map_err(Error::io(format!("setting up bridge {name}")))?;
    Ok(bridge)
}

/// The same for a bridge of nodes, which reach one another without the machine.
pub(crate) async fn ensure_switch(handle: &Handle, name: &str, range: Range) -> Result<u32, Error> {
    make_bridge(handle, name, range, &[]).await
}

/// An interface of another kind under the bridge's name is somebody else's.
async fn make_bridge(
    handle: &Handle,
    name: &str,
    range: Range,
    service_addresses: &[Ipv4Addr],
) -> Result<u32, Error> {
    let mac = mac_for(range.gateway());
    match find(handle, name).await? {
        None => {
            let bridge = LinkBridge::new(name).address(mac.to_vec()).up();
            let made = handle.link().add(bridge.build()).execute().await;
            tolerate_existing(made).map_err(|error| match error {
                rtnetlink::Error::NetlinkError(refused) if refused.raw_code() == -nix::libc::EOPNOTSUPP => {
                    Error::Kernel { what: "bridges", option: "CONFIG_BRIDGE", module: "bridge" }
                }
                other => Error::netlink(format!("making bridge {name}"))(other),
            })?;
        }
        Some(link) if !is_bridge(&link) => {
            return Err(Error::Config(format!("interface {name} is there already and is no bridge")));
        }
        Some(link) if mac_of(&link) != Some(mac) => {
            let bridge = LinkMessageBuilder::<LinkUnspec>::new().index(link.header.index);
            let setting = handle.link().set(bridge.address(mac.to_vec()).build());
            setting
                .execute()
                .await
                .map_err(Error::netlink(format!("setting the address of bridge {name}")))?;
        }
        Some(_) => {}
    }
    let bridge = index(handle, name).await?;
    let mut addresses = vec![(range.gateway(), range.prefix)];
    addresses.extend(service_addresses.iter().map(|address| (*address, 32)));
    for (address, prefix) in addresses {
        let added = handle.address().add(bridge, IpAddr::V4(address), prefix).execute().await;
        tolerate_existing(added).map_err(Error::netlink(format!("giving {address} to bridge {name}")))?;
    }
    Ok(bridge)
}

/// The MAC address of the interface with an IPv4 address. Whoever has learnt it is right as long as there is an interface
/// with that IPv4 address, also when it was a former pod's; and a bridge that was given none has the lowest of its ports'
/// addresses, which is another one whenever such a pod comes or goes.
pub(crate) fn mac_for(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    // Of those that are locally administered, the block that CNI plugins use.
    [0x0a, 0x58, a, b, c, d]
}

fn mac_of(link: &LinkMessage) -> Option<[u8; 6]> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Address(bytes) => <[u8; 6]>::try_from(bytes.as_slice()).ok(),
        _ => None,
    })
}

/// What the bridge does as the router of its pods: it tells none of them to go another way, since all packets go by the
/// node, and takes answers to connections that the machine has made to node ports on its loopback addresses.
fn set_router(bridge: &str) -> std::io::Result<()> {
    let settings = Path::new("/proc/sys/net/ipv4/conf").join(bridge);
    std::fs::write(settings.join("send_redirects"), "0")?;
    std::fs::write(settings.join("route_localnet"), "1")
}

fn is_bridge(link: &LinkMessage) -> bool {
    link.attributes.iter().any(|attribute| {
        matches!(attribute, LinkAttribute::LinkInfo(info)
            if info.iter().any(|one| matches!(one, LinkInfo::Kind(InfoKind::Bridge))))
    })
}

/// The veth pair of a pod or a node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pair<'a> {
    /// Here, on the bridge.
    pub host_name: &'a str,
    /// Inside the namespace.
    pub pod_name: &'a str,
    /// The address inside, with which the MAC address of its end goes.
    pub address: Ipv4Addr,
    /// Of both ends, in bytes.
    pub mtu: Option<u32>,
}

/// Makes a veth pair, one end on the bridge, the other directly inside the namespace. The former is not set up as a
/// pod's port yet.
pub(crate) async fn add_veth(
    handle: &Handle,
    pair: Pair<'_>,
    namespace: &File,
    bridge: u32,
) -> Result<(), Error> {
    let mut peer = LinkMessageBuilder::<LinkUnspec>::new()
        .name(pair.pod_name.to_owned())
        .address(mac_for(pair.address).to_vec())
        .setns_by_fd(namespace.as_raw_fd());
    let mut here = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
        .name(pair.host_name.to_owned())
        .controller(bridge)
        .up();
    if let Some(mtu) = pair.mtu {
        (here, peer) = (here.mtu(mtu), peer.mtu(mtu));
    }
    let message = here.set_info_data(InfoData::Veth(InfoVeth::Peer(peer.build()))).build();
    handle.link().add(message).execute().await.map_err(|error| match error {
        rtnetlink::Error::NetlinkError(refused) if refused.raw_code() == -nix::libc::EOPNOTSUPP => {
            Error::Kernel { what: "pairs of interfaces", option: "CONFIG_VETH", module: "veth" }
        }
        other => Error::netlink(format!("making interface {}", pair.host_name))(other),
    })
}

/// Sets up a pod's port of the bridge.
pub(crate) async fn set_port(handle: &Handle, name: &str) -> Result<(), Error> {
    // Where bridges pass packets to the rules of IPv4 (br_netfilter), a pod that reaches itself through a Service gets
    // its packet back by the port that it came from. What a pod sends to everybody is for the node alone.
    let port =
        LinkBridgePort::new(index(handle, name).await?).hairpin(true).bcast_flood(false).mcast_flood(false);
    handle
        .link()
        .set_port(port.build())
        .execute()
        .await
        .map_err(Error::netlink(format!("setting up {name} as a port")))
}

/// Sets the loopback interface of the network namespace at `netns` up.
pub(crate) async fn raise_loopback(netns: &Path) -> Result<(), Error> {
    inside(netns, |handle| async move { up(&handle, LOOPBACK, "lo").await }).await
}

/// Inside a pod: loopback up, address and default route on its interface; returns the interface's MAC address. The
/// gateway is the only neighbour: other pods of the node are reached by it too, so that answers pass where connections
/// to Services are translated.
pub(crate) async fn configure_pod(
    handle: Handle,
    name: &str,
    address: Ipv4Addr,
    range: Range,
) -> Result<[u8; 6], Error> {
    up(&handle, LOOPBACK, "lo").await?;
    let link = find(&handle, name).await?.ok_or_else(|| Error::NoInterface(name.to_owned()))?;
    let interface = link.header.index;
    let mut adding = handle.address().add(interface, IpAddr::V4(address), range.prefix);
    let without_route = AddressAttribute::Flags(AddressFlags::Noprefixroute);
    adding.message_mut().attributes.push(without_route);
    adding.execute().await.map_err(Error::netlink(format!("giving {address} to {name}")))?;
    up(&handle, interface, name).await?;
    let gateway = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(range.gateway(), 32)
        .output_interface(interface)
        .scope(RouteScope::Link);
    let default = RouteMessageBuilder::<Ipv4Addr>::new().gateway(range.gateway());
    for (route, what) in
        [(gateway, "setting the route to the gateway"), (default, "setting the default route")]
    {
        handle.route().add(route.build()).execute().await.map_err(Error::netlink(what))?;
    }
    mac_of(&link).ok_or_else(|| Error::Config(format!("interface {name} has no MAC address")))
}

/// Inside a node's namespace: loopback up, address and default route on its interface. What is there already stays.
pub(crate) async fn configure_member(
    handle: Handle,
    name: &str,
    address: Ipv4Addr,
    range: Range,
) -> Result<(), Error> {
    up(&handle, LOOPBACK, "lo").await?;
    let interface = index(&handle, name).await?;
    let added = handle.address().add(interface, IpAddr::V4(address), range.prefix).execute().await;
    tolerate_existing(added).map_err(Error::netlink(format!("giving {address} to {name}")))?;
    up(&handle, interface, name).await?;
    let default = RouteMessageBuilder::<Ipv4Addr>::new().gateway(range.gateway()).build();
    let added = handle.route().add(default).execute().await;
    tolerate_existing(added).map_err(Error::netlink("setting the default route"))
}

/// Who else of this namespace uses addresses of the range: what a route leads to that is not `own`'s, and its interface.
pub(crate) async fn leads_to(handle: &Handle, range: Range, own: &str) -> Result<Option<String>, Error> {
    let all = handle.route().get(RouteMessageBuilder::<Ipv4Addr>::new().build()).execute();
    let all: Vec<_> = all.try_collect().await.map_err(Error::netlink("listing routes"))?;
    let own = find(handle, own).await?.map(|link| link.header.index);
    for route in all {
        let (mut to, mut by) = (None, None);
        for attribute in &route.attributes {
            match attribute {
                RouteAttribute::Destination(RouteAddress::Inet(address)) => to = Some(*address),
                RouteAttribute::Oif(index) => by = Some(*index),
                _ => {}
            }
        }
        let prefix = route.header.destination_prefix_length;
        let Some(to) = to.filter(|to| by != own && range.meets(*to, prefix)) else { continue };
        let link = match by {
            Some(index) => handle.link().get().match_index(index).execute().try_next().await.ok().flatten(),
            None => None,
        };
        let name = link.into_iter().flat_map(|link| link.attributes).find_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => Some(name),
            _ => None,
        });
        return Ok(Some(format!("the route to {to}/{prefix} by {}", name.as_deref().unwrap_or("nothing"))));
    }
    Ok(None)
}

async fn up(handle: &Handle, interface: u32, name: &str) -> Result<(), Error> {
    handle
        .link()
        .set(LinkMessageBuilder::<LinkUnspec>::new().index(interface).up().build())
        .execute()
        .await
        .map_err(Error::netlink(format!("setting {name} up")))
}

/// Removes an interface; fine when it is gone.
pub(crate) async fn remove(handle: &Handle, name: &str) -> Result<(), Error> {
    let Some(link) = find(handle, name).await? else { return Ok(()) };
    match handle.link().del(link.header.index).execute().await {
        Err(rtnetlink::Error::NetlinkError(error)) if error.raw_code() == -nix::libc::ENODEV => Ok(()),
        other => other.map_err(Error::netlink(format!("removing interface {name}"))),
    }
}

/// Removes all routes of IPv4 that are known by the protocol number.
pub(crate) async fn remove_routes(handle: &Handle, protocol: u8) -> Result<(), Error> {
    let all = handle.route().get(RouteMessageBuilder::<Ipv4Addr>::new().build()).execute();
    let all: Vec<_> = all.try_collect().await.map_err(Error::netlink("listing routes"))?;
    for route in all.into_iter().filter(|route| route.header.protocol == protocol.into()) {
        match handle.route().del(route).execute().await {
            Err(rtnetlink::Error::NetlinkError(error)) if error.raw_code() == -nix::libc::ESRCH => {}
            other => other.map_err(Error::netlink("removing a route"))?,
        }
    }
    Ok(())
}

/// Names of all interfaces that start with `prefix`.
pub(crate) async fn named(handle: &Handle, prefix: &str) -> Result<Vec<String>, Error> {
    let links: Vec<LinkMessage> =
        handle.link().get().execute().try_collect().await.map_err(Error::netlink("listing interfaces"))?;
    Ok(links
        .into_iter()
        .flat_map(|link| link.attributes)
        .filter_map(|attribute| match attribute {
            LinkAttribute::IfName(name) if name.starts_with(prefix) => Some(name),
            _ => None,
        })
        .collect())
}

fn tolerate_existing(result: Result<(), rtnetlink::Error>) -> Result<(), rtnetlink::Error> {
    match result {
        Err(rtnetlink::Error::NetlinkError(error)) if error.raw_code() == -nix::libc::EEXIST => Ok(()),
        other => other,
    }
}
