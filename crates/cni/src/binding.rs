//! The table that guards the ports of the bridge, by two chains for each. One lets in what comes from the pod's own MAC and
//! IPv4 address, and ARP that says so; the other lets in what goes to the gateway, and ARP that asks everybody.
//! Everything else a pod sends is dropped, so that no pod takes another's address, nor sends past the node's rules to
//! another pod of the bridge, whatever capabilities its processes have.
//!
//! A port that the bridge isolates would not do: where bridges pass packets to the rules of IPv4 (br_netfilter), what a
//! pod sends to a Service goes from port to port once it is translated and was let in.

use std::io;
use std::net::Ipv4Addr;

use nft::{Batch, Family};

/// EtherTypes.
const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
/// The Ethernet address of everybody.
const EVERYBODY: [u8; 6] = [0xff; 6];

/// The transaction that makes the table, also beside the chains of pods that run.
pub(crate) fn prepare(table: &str) -> Batch {
    let mut batch = Batch::of(Family::Device);
    batch.new_table(table);
    batch
}

/// The transaction that binds the port, the host's end of a pod's interface, to the pod's addresses.
pub(crate) fn bind(table: &str, port: &str, mac: [u8; 6], address: Ipv4Addr) -> Batch {
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
    batch
}

/// The transaction that has the port's pod send to nobody but the gateway. Ports of earlier versions of this program are
/// given this at the node's start.
pub(crate) fn lead_to_gateway(table: &str, port: &str, gateway: [u8; 6]) -> Batch {
    let chain = way(port);
    let mut batch = Batch::of(Family::Device);
    batch.new_table(table);
    batch.new_ingress_chain(table, &chain, port);
    batch.delete_rules(table, &chain);
    batch.new_rule(table, &chain, |rule| {
        rule.link_destination(gateway);
        rule.accept();
    });
    batch.new_rule(table, &chain, |rule| {
        rule.link_destination(EVERYBODY);
        rule.protocol(ARP);
        rule.accept();
    });
    batch
}

/// What the name of the chain of where a port's pod sends ends with.
const WAY: &str = "-way";

fn way(port: &str) -> String {
    format!("{port}{WAY}")
}

/// The port that a chain is of.
pub(crate) fn port_of(chain: &str) -> &str {
    chain.strip_suffix(WAY).unwrap_or(chain)
}

/// Forgets a port; fine when it was never bound. Newer kernels keep the chain of an interface that is gone.
pub(crate) fn release(table: &str, port: &str) -> io::Result<()> {
    for chain in [port, &way(port)] {
        let mut batch = Batch::of(Family::Device);
        batch.delete_rules(table, chain);
        batch.delete_chain(table, chain);
        tolerate_absent(batch.send())?;
    }
    Ok(())
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
