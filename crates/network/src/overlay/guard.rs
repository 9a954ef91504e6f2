//! [`Guard`]: the table that lets tunnelled packets in from the cluster's nodes only.
//!
//! Whoever can send a datagram to the tunnel's port could otherwise send as any pod. A pod cannot either: what a pod
//! sends to the port of a node is dropped before it is masqueraded as its own node's. Tunnels of other clusters of the
//! machine, which have other numbers, are left alone.

use std::io;
use std::net::Ipv4Addr;

use nft::{Attributes, Batch, Comparison, Element, Field, Holds, Hook, Passing, Register, Sender, Set};

const NODES: &str = "nodes";
const TUNNEL: &str = "tunnel";
const CHAIN: &str = "prerouting";
/// Before connections are tracked (`enum nf_ip_hook_priorities`).
const BEFORE_TRACKING: i32 = -300;
const UDP: u8 = 17;
const KEY: Register = Register::at(0);
const SECOND: Register = Register::at(1);
const THIRD: Register = Register::at(2);
const SCRATCH: Register = Register::at(15);

#[derive(Debug, Clone)]
pub struct Guard {
    pub table: String,
    /// The tunnel's port.
    pub port: u16,
    /// The tunnel's number, of three bytes.
    pub number: u32,
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
            [(NODES, &[Field::Address]), (TUNNEL, &[Field::Protocol, Field::Port, Field::Number])];
        for ((name, key), id) in sets.into_iter().zip(1..) {
            batch.new_set(Set { table, name, key, holds: Holds::Members }, id);
        }
        let ([high, low], [_, a, b, c]) = (self.port.to_be_bytes(), self.number.to_be_bytes());
        let tunnel = [UDP, 0, 0, 0, high, low, 0, 0, a, b, c, 0];
        batch.add_elements(table, TUNNEL, [Element { key: &tunnel, data: None }]);
        batch.new_hooked_chain(table, CHAIN, Passing::Every, Hook::Prerouting, BEFORE_TRACKING);
        let from_elsewhere = |rule: &mut Attributes| {
            rule.load_transport(KEY);
            rule.load_destination_port(SECOND);
            rule.load_tunnel_number(THIRD);
            rule.member(TUNNEL, KEY, Comparison::Equal);
            rule.load_source(KEY);
            rule.member(NODES, KEY, Comparison::NotEqual);
        };
        batch.new_rule(table, CHAIN, |rule| {
            from_elsewhere(rule);
            rule.destination_is_local(Comparison::Equal, SCRATCH);
            rule.discard();
        });
        batch.new_rule(table, CHAIN, |rule| {
            from_elsewhere(rule);
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
