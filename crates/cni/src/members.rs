//! The network of nodes that share a machine: each has a network namespace of its own, whose only interface leads to a
//! bridge of the machine. The machine is their gateway and masquerades what they send elsewhere.
//!
//! Start with [`prepare`], then [`admit`] for each node. What is there already stays as it is, so that both can be done
//! again beside nodes that run. [`crate::remove_cluster`] finds bridge, links and table by their names; a namespace goes with
//! its last process once its name in the file system is unmounted.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;

use nft::Sender;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::statfs::{NSFS_MAGIC, statfs};

use crate::config::Range;
use crate::{Error, link, masquerade};

/// The nodes' interface in their own namespaces.
const INTERFACE: &str = "eth0";

/// The network that nodes of one cluster share on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MembersNetwork {
    /// The bridge's name; also that of the nftables table, and what the names of the links begin with.
    pub bridge: String,
    /// The nodes' addresses; the first is the machine's own, and their gateway.
    pub range: Range,
    /// The largest packet that nodes send, in bytes; the kernel's default where absent.
    pub mtu: Option<u32>,
}

impl MembersNetwork {
    /// The address of the member of a number, from 1.
    pub fn address(&self, number: u8) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.range.gateway().to_bits() + u32::from(number))
    }

    /// The machine's end of the member's link.
    fn port(&self, number: u8) -> String {
        format!("{}{number}", self.bridge)
    }
}

/// Makes the bridge and the table.
///
/// # Errors
/// When the addresses are somebody else's on this machine, or the kernel refuses.
pub async fn prepare(network: &MembersNetwork) -> Result<(), Error> {
    link::here(|handle| async move {
        if let Some(other) = link::leads_to(&handle, network.range, &network.bridge).await? {
            return Err(Error::Taken { range: network.range.to_string(), by: other });
        }
        link::ensure_switch(&handle, &network.bridge, network.range).await
    })
    .await?;
    masquerade::make(&network.bridge, network.range).send().map_err(Error::Nft)
}

/// Makes the table again, by a transaction of the sender.
///
/// # Errors
/// When the kernel refuses.
pub fn restore(network: &MembersNetwork, sender: &Sender) -> Result<(), Error> {
    masquerade::make(&network.bridge, network.range).send_by(sender).map_err(Error::Nft)
}

/// Connects the namespace named by the file `netns` as the member of a number, from 1; makes the namespace where there is
/// none.
///
/// # Errors
/// When the kernel refuses.
pub async fn admit(network: &MembersNetwork, number: u8, netns: &Path) -> Result<(), Error> {
    if !is_namespace(netns) {
        make_namespace(netns)
            .map_err(Error::io(format!("making the network namespace {}", netns.display())))?;
    }
    let port = network.port(number);
    let is_inside =
        link::inside_router(
            netns,
            |handle| async move { Ok(link::find(&handle, INTERFACE).await?.is_some()) },
        )
        .await?;
    let namespace = fs::File::open(netns).map_err(Error::io(format!("opening {}", netns.display())))?;
    link::here(|handle| async move {
        if is_inside && link::find(&handle, &port).await?.is_some() {
            return Ok(());
        }
        // One end without the other is of a namespace that is gone.
        link::remove(&handle, &port).await?;
        let bridge = link::ensure_switch(&handle, &network.bridge, network.range).await?;
        let address = network.address(number);
        let pair = link::Pair { host_name: &port, pod_name: INTERFACE, address, mtu: network.mtu };
        link::add_veth(&handle, pair, &namespace, bridge).await
    })
    .await?;
    let address = network.address(number);
    link::inside_router(netns, |handle| link::configure_member(handle, INTERFACE, address, network.range))
        .await
}

/// Whether a network namespace is named by the file.
fn is_namespace(path: &Path) -> bool {
    statfs(path).is_ok_and(|found| found.filesystem_type() == NSFS_MAGIC)
}

/// Makes a network namespace with a name in the file system, which keeps it while nobody is in it.
fn make_namespace(path: &Path) -> io::Result<()> {
    fs::write(path, b"")?;
    let path = path.to_owned();
    // What a thread changes about itself stays changed: this one ends afterwards.
    let maker = std::thread::Builder::new().name("netns".to_owned()).spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET)?;
        let own = Some("/proc/thread-self/ns/net");
        mount(own, &path, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
        Ok::<_, io::Error>(())
    })?;
    maker.join().unwrap_or_else(|_| Err(io::Error::other("the thread in the network namespace died")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_have_the_addresses_after_the_machines() {
        let range = Range::parse("192.168.49.0/24").expect("a range");
        let network = MembersNetwork { bridge: "knarr0nodes".to_owned(), range, mtu: None };
        assert_eq!(network.address(1), Ipv4Addr::new(192, 168, 49, 2));
        assert_eq!(network.address(8), Ipv4Addr::new(192, 168, 49, 9));
        assert!(network.port(8).len() <= 15, "the kernel's limit");
    }
}
