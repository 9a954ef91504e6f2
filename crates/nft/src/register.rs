//! Expressions over registers: sixteen words of four bytes, in which a rule puts together keys, looks them up, and gets
//! values. A rule knows of a register only what the rule itself has put in: the kernel refuses any other use.
//!
//! What a map gives must not become a key, or a value that is remembered: the program `nft` (1.0.6) cannot show such a
//! rule and aborts, whatever it was asked for.

use std::net::Ipv4Addr;

use crate::{Attributes, Comparison};

/// `NFT_REG32_00`.
const FIRST: u32 = 8;
const COUNT: u32 = 16;
const VERDICT: u32 = 0;
/// Where the headers of IPv4 and of TCP, UDP or SCTP begin, and the offset of the port that a packet goes to.
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
const SOURCE_OFFSET: u32 = 12;
const DESTINATION_OFFSET: u32 = 16;
const DESTINATION_PORT_OFFSET: u32 = 2;
/// Behind the header of UDP and the flags of VXLAN.
const TUNNEL_NUMBER_OFFSET: u32 = 12;
/// Keys of `meta`.
const META_PRIORITY: u32 = 2;
const META_MARK: u32 = 3;
const META_INPUT: u32 = 4;
const META_TRANSPORT: u32 = 16;
/// `NFT_CT_STATE`, and bits of it: connections that both sides have spoken on, and what belongs to them.
const CONNECTION_STATE: u32 = 0;
const ESTABLISHED: u32 = 1 << 1;
const NEW: u32 = 1 << 3;
const RELATED: u32 = 1 << 2;
/// `NFT_NG_RANDOM`.
const RANDOM: u32 = 1;
/// `NFT_NAT_DNAT`, and the family of IPv4.
const DESTINATION_NAT: u32 = 1;
const IPV4: u32 = 2;
/// `NFT_FIB_RESULT_ADDRTYPE`, what is looked up, and the type of the machine's own addresses (`RTN_LOCAL`).
const ADDRESS_TYPE: u32 = 3;
const OF_SOURCE: u32 = 1;
const OF_DESTINATION: u32 = 2;
const LOCAL: u32 = 2;
/// `NFT_LOOKUP_F_INV`.
const INVERTED: u32 = 1;
/// `NFT_DYNSET_OP_UPDATE`, `NFT_DYNSET_OP_DELETE`.
const UPDATE: u32 = 1;
const DELETE: u32 = 2;

/// A register; a longer value takes those that follow as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Register(u32);

impl Register {
    /// The register at `index`, of sixteen.
    ///
    /// # Panics
    /// When there is none.
    pub const fn at(index: u32) -> Self {
        assert!(index < COUNT, "there are sixteen registers");
        Self(FIRST + index)
    }
}

/// What rules remember in a map of [`crate::Holds::Remembered`]: where its key and value begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory<'a> {
    pub map: &'a str,
    pub key: Register,
    pub value: Register,
}

impl Attributes {
    /// The packet's source address.
    pub fn load_source(&mut self, to: Register) {
        self.load_header(NETWORK_HEADER, SOURCE_OFFSET, 4, to);
    }

    /// The packet's destination address.
    pub fn load_destination(&mut self, to: Register) {
        self.load_header(NETWORK_HEADER, DESTINATION_OFFSET, 4, to);
    }

    /// The packet's destination port, for the transport protocols that have ports.
    pub fn load_destination_port(&mut self, to: Register) {
        self.load_header(TRANSPORT_HEADER, DESTINATION_PORT_OFFSET, 2, to);
    }

    /// The number of the tunnel that a datagram of VXLAN is for (RFC 7348), in the first three bytes of the register.
    pub fn load_tunnel_number(&mut self, to: Register) {
        self.load_header(TRANSPORT_HEADER, TUNNEL_NUMBER_OFFSET, 3, to);
    }

    /// The packet's transport protocol.
    pub fn load_transport(&mut self, to: Register) {
        self.meta(META_TRANSPORT, to);
    }

    /// The packet's priority: a number that a queue on its way out may look at, and nothing before.
    pub fn load_priority(&mut self, to: Register) {
        self.meta(META_PRIORITY, to);
    }

    /// Sets the packet's priority.
    pub fn set_priority(&mut self, from: Register) {
        self.expression("meta", |e| {
            e.number(2, META_PRIORITY);
            e.number(3, from.0);
        });
    }

    /// Four bytes given here.
    pub fn load_word(&mut self, word: [u8; 4], to: Register) {
        self.expression("immediate", |e| {
            e.number(1, to.0);
            e.nest(2, |value| value.raw(1, &word));
        });
    }

    /// A number chosen at random, from `first` on, of `count`; the machine's own byte order.
    pub fn load_random(&mut self, first: u32, count: u32, to: Register) {
        self.expression("numgen", |e| {
            e.number(1, to.0);
            e.number(2, count);
            e.number(3, RANDOM);
            e.number(4, first);
        });
    }

    /// Goes on with the rule only if the set has (or has not) the key that begins in `key`.
    pub fn member(&mut self, set: &str, key: Register, comparison: Comparison) {
        self.expression("lookup", |e| {
            e.text(1, set);
            e.number(2, key.0);
            if comparison == Comparison::NotEqual {
                e.number(5, INVERTED);
            }
        });
    }

    /// Loads what the map holds for the key that begins in `key`; goes on with the rule only if the map has the key.
    pub fn map(&mut self, map: &str, key: Register, to: Register) {
        self.expression("lookup", |e| {
            e.text(1, map);
            e.number(2, key.0);
            e.number(3, to.0);
        });
    }

    /// Does as the map of verdicts says for the key that begins in `key`; goes on with the rule if it has no such key.
    pub fn follow(&mut self, map: &str, key: Register) {
        self.expression("lookup", |e| {
            e.text(1, map);
            e.number(2, key.0);
            e.number(3, VERDICT);
        });
    }

    /// Puts a pair into a map, or has the one that is there for the key, whatever its value, last anew; goes on with the rule only if there is room.
    pub fn remember(&mut self, memory: Memory<'_>, timeout_ms: u64) {
        self.memory(memory, UPDATE, Some(timeout_ms));
    }

    /// Takes a pair out of a map.
    pub fn forget(&mut self, memory: Memory<'_>) {
        self.memory(memory, DELETE, None);
    }

    /// Sends the packet's connection to another address and port.
    pub fn translate_destination(&mut self, address: Register, port: Register) {
        self.expression("nat", |e| {
            e.number(1, DESTINATION_NAT);
            e.number(2, IPV4);
            e.number(3, address.0);
            e.number(5, port.0);
        });
    }

    /// Goes on with the rule only if the packet's source is (or is not) an address of this machine.
    pub fn source_is_local(&mut self, comparison: Comparison, scratch: Register) {
        self.locality(OF_SOURCE, comparison, scratch);
    }

    /// Goes on with the rule only if the packet's destination is (or is not) an address of this machine.
    pub fn destination_is_local(&mut self, comparison: Comparison, scratch: Register) {
        self.locality(OF_DESTINATION, comparison, scratch);
    }

    /// Goes on with the rule only if the packet came in by the interface of this index (or by another).
    pub fn input(&mut self, index: u32, comparison: Comparison, scratch: Register) {
        self.meta(META_INPUT, scratch);
        self.compare_word(scratch, comparison, index.to_ne_bytes());
    }

    /// Goes on with the rule only if the packet belongs to a connection that was answered, or is related to one.
    pub fn connection_is_established(&mut self, scratch: Register) {
        self.connection_is(ESTABLISHED | RELATED, scratch);
    }

    /// Goes on with the rule only if the packet begins a connection: what refuses one, which the kernel sends, is related.
    pub fn connection_is_new(&mut self, scratch: Register) {
        self.connection_is(NEW, scratch);
    }

    fn connection_is(&mut self, states: u32, scratch: Register) {
        self.expression("ct", |e| {
            e.number(1, scratch.0);
            e.number(2, CONNECTION_STATE);
        });
        self.bitwise(scratch, states, 0);
        self.compare_word(scratch, Comparison::NotEqual, [0; 4]);
    }

    /// Goes on with the rule only for packets of this transport protocol.
    pub fn transport(&mut self, protocol: u8, scratch: Register) {
        self.load_transport(scratch);
        self.expression("cmp", |e| {
            e.number(1, scratch.0);
            e.number(2, Comparison::Equal as u32);
            e.nest(3, |data| data.raw(1, &[protocol]));
        });
    }

    /// Sets bits of the packet's mark, and leaves the others.
    pub fn set_mark_bits(&mut self, bits: u32, scratch: Register) {
        self.meta(META_MARK, scratch);
        self.bitwise(scratch, !bits, bits);
        self.expression("meta", |e| {
            e.number(2, META_MARK);
            e.number(3, scratch.0);
        });
    }

    /// Clears bits of the packet's mark, and leaves the others.
    pub fn clear_mark_bits(&mut self, bits: u32, scratch: Register) {
        self.meta(META_MARK, scratch);
        self.bitwise(scratch, !bits, 0);
        self.expression("meta", |e| {
            e.number(2, META_MARK);
            e.number(3, scratch.0);
        });
    }

    /// Goes on with the rule only if the packet's mark has one of the bits.
    pub fn mark_has(&mut self, bits: u32, scratch: Register) {
        self.meta(META_MARK, scratch);
        self.bitwise(scratch, bits, 0);
        self.compare_word(scratch, Comparison::NotEqual, [0; 4]);
    }

    /// Goes on with the rule only if the packet's destination is in `network` of `mask`, as [`Self::destination`], and
    /// uses this register only.
    pub fn destination_in(&mut self, network: Ipv4Addr, mask: Ipv4Addr, scratch: Register) {
        self.load_destination(scratch);
        self.bitwise(scratch, u32::from_ne_bytes(mask.octets()), 0);
        self.compare_word(scratch, Comparison::Equal, network.octets());
    }

    fn load_header(&mut self, header: u32, offset: u32, bytes: u32, to: Register) {
        self.expression("payload", |e| {
            e.number(1, to.0);
            e.number(2, header);
            e.number(3, offset);
            e.number(4, bytes);
        });
    }

    fn meta(&mut self, key: u32, to: Register) {
        self.expression("meta", |e| {
            e.number(1, to.0);
            e.number(2, key);
        });
    }

    /// `register & mask ^ flip`, in the machine's byte order.
    fn bitwise(&mut self, register: Register, mask: u32, flip: u32) {
        self.expression("bitwise", |e| {
            e.number(1, register.0);
            e.number(2, register.0);
            e.number(3, 4);
            e.nest(4, |value| value.raw(1, &mask.to_ne_bytes()));
            e.nest(5, |value| value.raw(1, &flip.to_ne_bytes()));
        });
    }

    fn compare_word(&mut self, register: Register, comparison: Comparison, word: [u8; 4]) {
        self.expression("cmp", |e| {
            e.number(1, register.0);
            e.number(2, comparison as u32);
            e.nest(3, |data| data.raw(1, &word));
        });
    }

    fn locality(&mut self, of: u32, comparison: Comparison, scratch: Register) {
        self.expression("fib", |e| {
            e.number(1, scratch.0);
            e.number(2, ADDRESS_TYPE);
            e.number(3, of);
        });
        self.compare_word(scratch, comparison, LOCAL.to_ne_bytes());
    }

    fn memory(&mut self, memory: Memory<'_>, operation: u32, timeout_ms: Option<u64>) {
        self.expression("dynset", |e| {
            e.text(1, memory.map);
            e.number(3, operation);
            e.number(4, memory.key.0);
            e.number(5, memory.value.0);
            if let Some(timeout_ms) = timeout_ms {
                e.raw(6, &timeout_ms.to_be_bytes());
            }
        });
    }
}
