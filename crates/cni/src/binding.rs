//! The table that binds a pod's addresses to its port of the bridge: a chain for each port, which lets in what comes from
//! the pod's own MAC and IPv4 address, and ARP that says so. Everything else a pod sends is dropped, so that no pod takes
//! another's address, whatever capabilities its processes have.

use std::io;
use std::net::Ipv4Addr;

use nft::{Batch, Family};

/// EtherTypes.
const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;

/// Makes the table, also beside the chains of pods that run.
pub(crate) fn prepare(table: &str) -> io::Result<()> {
    let mut batch = Batch::of(Family::Device);
    batch.new_table(table);
    batch.send()
}

/// Binds the port, the host's end of a pod's interface, to the pod's addresses.
pub(crate) fn bind(table: &str, port: &str, mac: [u8; 6], address: Ipv4Addr) -> io::Result<()> {
    let mut batch = Batch::of(Family::Device);
    // Each is made or there already; what a port of the same name once had is replaced.
    batch.new_table(table);
    batch.new_ingress_chain(table, port, port);
    batch.delete_rules(table, port);
    batch.new_rule(table, port, |rule| {
        rule.link_source(mac);
        rule.protocol(IPV4);
        rule.source(address, Ipv4Addr::BROADCAST, nft::Comparison::Equal);
        rule.accept();
    });
    batch.new_rule(table, port, |rule| {
        rule.link_source(mac);
        rule.protocol(ARP);
        rule.arp_sender(mac, address);
        rule.accept();
    });
    batch.send()
}

/// Forgets a port; fine when it was never bound. Newer kernels keep the chain of an interface that is gone.
pub(crate) fn release(table: &str, port: &str) -> io::Result<()> {
    let mut batch = Batch::of(Family::Device);
    batch.delete_rules(table, port);
    batch.delete_chain(table, port);
    tolerate_absent(batch.send())
}

/// Removes the table; fine when it is gone.
pub(crate) fn remove(table: &str) -> io::Result<()> {
    let mut batch = Batch::of(Family::Device);
    batch.delete_table(table);
    tolerate_absent(batch.send())
}

fn tolerate_absent(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.raw_os_error() == Some(nix::libc::ENOENT) => Ok(()),
        other => other,
    }
}
