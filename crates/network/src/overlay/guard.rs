//! [`Guard`]: the table that lets tunnelled packets in from the cluster's nodes only.
//!
//! Whoever can send a datagram to the tunnel's port could otherwise send as any pod. A pod cannot either: what a pod
//! sends to the port of a node is dropped before it is masqueraded as its own node's.

use std::io;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use nft::{Batch, Comparison, Element, Field, Holds, Hook, Passing, Register, Sender, Set};

const NODES: &str = "nodes";
const TUNNEL: &str = "tunnel";
const CHAIN: &str = "prerouting";
/// Before connections are tracked (`enum nf_ip_hook_priorities`).
const BEFORE_TRACKING: i32 = -300;
const UDP: u8 = 17;
const KEY: Register = Register::at(0);
const SECOND: Register = Register::at(1);
const SCRATCH: Register = Register::at(15);

#[derive(Debug, Clone)]
pub struct Guard {
    pub table: String,
    /// All pods of the cluster.
    pub pods: Ipv4Net,
    /// The tunnel's port.
    pub port: u16,
}

impl Guard {
    /// Makes the table anew, in one transaction, with the nodes' addresses.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn make(&self, sender: &Sender, nodes: impl Iterator<Item = Ipv4Addr>) -> io::Result<()> {
        let (table, mut batch) = (&self.table, Batch::new());
        // Adding before deleting makes the deletion succeed whether or not the table is there.
        batch.new_table(table);
        batch.delete_table(table);
        batch.new_table(table);
        let sets: [(&str, &[Field]); 2] =
            [(NODES, &[Field::Address]), (TUNNEL, &[Field::Protocol, Field::Port])];
        for ((name, key), id) in sets.into_iter().zip(1..) {
            batch.new_set(Set { table, name, key, holds: Holds::Members }, id);
        }
        let [high, low] = self.port.to_be_bytes();
        let tunnel = [UDP, 0, 0, 0, high, low, 0, 0];
        batch.add_elements(table, TUNNEL, [Element { key: &tunnel, data: None }]);
        batch.new_hooked_chain(table, CHAIN, Passing::Every, Hook::Prerouting, BEFORE_TRACKING);
        batch.new_rule(table, CHAIN, |rule| {
            rule.load_transport(KEY);
            rule.load_destination_port(SECOND);
            rule.member(TUNNEL, KEY, Comparison::Equal);
            rule.load_source(KEY);
            rule.member(NODES, KEY, Comparison::NotEqual);
            rule.destination_is_local(Comparison::Equal, SCRATCH);
            rule.discard();
        });
        batch.new_rule(table, CHAIN, |rule| {
            rule.source(self.pods.network(), self.pods.netmask(), Comparison::Equal);
            rule.load_transport(KEY);
            rule.load_destination_port(SECOND);
            rule.member(TUNNEL, KEY, Comparison::Equal);
            rule.load_destination(KEY);
            rule.member(NODES, KEY, Comparison::Equal);
            rule.discard();
        });
        let nodes: Vec<[u8; 4]> = nodes.map(|node| node.octets()).collect();
        batch.add_elements(table, NODES, nodes.iter().map(|key| Element { key, data: None }));
        batch.send_by(sender)
    }

    /// Lets a node's packets in.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn admit(&self, sender: &Sender, node: Ipv4Addr) -> io::Result<()> {
        let mut batch = Batch::new();
        batch.add_elements(&self.table, NODES, [Element { key: &node.octets(), data: None }]);
        batch.send_by(sender)
    }

    /// Drops a node's packets.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn expel(&self, sender: &Sender, node: Ipv4Addr) -> io::Result<()> {
        let mut batch = Batch::new();
        batch.delete_elements(&self.table, NODES, [&node.octets()[..]]);
        batch.send_by(sender)
    }
}
