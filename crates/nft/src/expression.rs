//! Expressions, the parts of a rule. Each passes a packet on to the next, or ends the rule.

use std::net::Ipv4Addr;

use crate::Attributes;
use crate::set::{GOTO, JUMP};

/// The register of a verdict, and register 1.
const VERDICT: u32 = 0;
const REGISTER: u32 = 1;
/// Where a frame's own header begins (Ethernet), and its offsets of the addresses.
const LINK_HEADER: u32 = 0;
const LINK_DESTINATION_OFFSET: u32 = 0;
const LINK_SOURCE_OFFSET: u32 = 6;
/// Where what the frame carries begins, and the offsets of IPv4's and ARP's addresses.
const NETWORK_HEADER: u32 = 1;
const ARP_SENDER_OFFSET: u32 = 8;
const DROP: u32 = 0;
const ACCEPT: u32 = 1;
/// `NFT_RETURN`.
const RETURN: u32 = -5i32 as u32;
/// Of ICMP's message that something cannot be reached: the port.
const PORT_UNREACHABLE: u8 = 3;
/// `NFT_REJECT_ICMP_UNREACH`, `NFT_REJECT_TCP_RST`.
const REJECT_BY_ICMP: u32 = 0;
const REJECT_BY_RESET: u32 = 1;
/// `NF_NAT_RANGE_PROTO_RANDOM_FULLY`: the port is chosen at random, so that two connections seldom try the same.
const RANDOM_PORT: u32 = 1 << 4;
/// The key of what a frame carries.
const META_PROTOCOL: u32 = 1;
const SOURCE_OFFSET: u32 = 12;
const DESTINATION_OFFSET: u32 = 16;

/// Which packets go on to the next expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    Equal = 0,
    NotEqual = 1,
}

impl Attributes {
    /// Any expression of a rule.
    pub fn expression(&mut self, name: &str, data: impl FnOnce(&mut Self)) {
        self.nest(1, |element| {
            element.text(1, name);
            element.nest(2, data);
        });
    }

    /// Goes on with the rule only if the packet's source is (or is not) in `network` of `mask`.
    pub fn source(&mut self, network: Ipv4Addr, mask: Ipv4Addr, comparison: Comparison) {
        self.address(SOURCE_OFFSET, network, mask, comparison);
    }

    /// Goes on with the rule only if the packet's destination is (or is not) in `network` of `mask`.
    pub fn destination(&mut self, network: Ipv4Addr, mask: Ipv4Addr, comparison: Comparison) {
        self.address(DESTINATION_OFFSET, network, mask, comparison);
    }

    /// Goes on with the rule only if the frame carries `protocol` (an EtherType).
    pub fn protocol(&mut self, protocol: u16) {
        self.expression("meta", |e| {
            e.number(1, REGISTER);
            e.number(2, META_PROTOCOL);
        });
        self.compare(Comparison::Equal, &protocol.to_be_bytes());
    }

    /// Goes on with the rule only if the frame comes from this Ethernet address.
    pub fn link_source(&mut self, mac: [u8; 6]) {
        self.load(LINK_HEADER, LINK_SOURCE_OFFSET, 6);
        self.compare(Comparison::Equal, &mac);
    }

    /// Goes on with the rule only if the frame goes to this Ethernet address.
    pub fn link_destination(&mut self, mac: [u8; 6]) {
        self.load(LINK_HEADER, LINK_DESTINATION_OFFSET, 6);
        self.compare(Comparison::Equal, &mac);
    }

    /// Goes on with the rule only if the ARP packet says that it is from these addresses.
    pub fn arp_sender(&mut self, mac: [u8; 6], address: Ipv4Addr) {
        self.load(NETWORK_HEADER, ARP_SENDER_OFFSET, 10);
        self.compare(Comparison::Equal, &[&mac[..], &address.octets()].concat());
    }

    /// Lets the packet pass.
    pub fn accept(&mut self) {
        self.verdict(ACCEPT, None);
    }

    /// Ends the packet's way, and says nothing.
    pub fn discard(&mut self) {
        self.verdict(DROP, None);
    }

    /// Continues in a chain, and does not return.
    pub fn goto(&mut self, chain: &str) {
        self.verdict(GOTO, Some(chain));
    }

    /// Continues in a chain, and returns to the next rule.
    pub fn jump(&mut self, chain: &str) {
        self.verdict(JUMP, Some(chain));
    }

    /// Returns to where the chain was entered from.
    pub fn leave(&mut self) {
        self.verdict(RETURN, None);
    }

    /// Ends the packet's way; the sender is told that the port cannot be reached, over ICMP.
    pub fn reject(&mut self) {
        self.expression("reject", |e| {
            e.number(1, REJECT_BY_ICMP);
            e.raw(2, &[PORT_UNREACHABLE]);
        });
    }

    /// Ends the way of a packet of TCP; the sender's connection is reset.
    pub fn reset(&mut self) {
        self.expression("reject", |e| e.number(1, REJECT_BY_RESET));
    }

    fn verdict(&mut self, code: u32, chain: Option<&str>) {
        self.expression("immediate", |e| {
            e.number(1, VERDICT);
            e.nest(2, |value| {
                value.nest(2, |verdict| {
                    verdict.number(1, code);
                    if let Some(chain) = chain {
                        verdict.text(2, chain);
                    }
                });
            });
        });
    }

    fn load(&mut self, header: u32, offset: u32, bytes: u32) {
        self.expression("payload", |e| {
            e.number(1, REGISTER);
            e.number(2, header);
            e.number(3, offset);
            e.number(4, bytes);
        });
    }

    fn compare(&mut self, comparison: Comparison, value: &[u8]) {
        self.expression("cmp", |e| {
            e.number(1, REGISTER);
            e.number(2, comparison as u32);
            e.nest(3, |data| data.raw(1, value));
        });
    }

    fn address(&mut self, offset: u32, network: Ipv4Addr, mask: Ipv4Addr, comparison: Comparison) {
        self.load(NETWORK_HEADER, offset, 4);
        self.expression("bitwise", |e| {
            e.number(1, REGISTER);
            e.number(2, REGISTER);
            e.number(3, 4);
            e.nest(4, |value| value.raw(1, &mask.octets()));
            e.nest(5, |xor| xor.raw(1, &Ipv4Addr::UNSPECIFIED.octets()));
        });
        self.compare(comparison, &network.octets());
    }

    /// Masquerades the packet's connection.
    pub fn masquerade(&mut self) {
        self.expression("masq", |_| {});
    }

    /// Masquerades the packet's connection, from a port chosen at random.
    pub fn masquerade_from_any_port(&mut self) {
        self.expression("masq", |e| e.number(1, RANDOM_PORT));
    }
}
