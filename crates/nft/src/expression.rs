//! Expressions, the parts of a rule. Each passes a packet on to the next, or ends the rule.

use std::net::Ipv4Addr;

use crate::Attributes;

/// Register 1, the base of the network header, and offsets of its addresses.
const REGISTER: u32 = 1;
const NETWORK_HEADER: u32 = 1;
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

    fn address(&mut self, offset: u32, network: Ipv4Addr, mask: Ipv4Addr, comparison: Comparison) {
        self.expression("payload", |e| {
            e.number(1, REGISTER);
            e.number(2, NETWORK_HEADER);
            e.number(3, offset);
            e.number(4, 4);
        });
        self.expression("bitwise", |e| {
            e.number(1, REGISTER);
            e.number(2, REGISTER);
            e.number(3, 4);
            e.nest(4, |value| value.raw(1, &mask.octets()));
            e.nest(5, |xor| xor.raw(1, &Ipv4Addr::UNSPECIFIED.octets()));
        });
        self.expression("cmp", |e| {
            e.number(1, REGISTER);
            e.number(2, comparison as u32);
            e.nest(3, |value| value.raw(1, &network.octets()));
        });
    }

    /// Masquerades the packet's connection.
    pub fn masquerade(&mut self) {
        self.expression("masq", |_| {});
    }
}
