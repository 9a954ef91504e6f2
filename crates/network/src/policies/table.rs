//! The table: its sets, its chains, and how [`Changes`] become transactions.
//!
//! A packet that the node passes on belongs to a connection that both sides have spoken on, or it is looked at:
//!
//! 1. Who sends to itself (`own`) may.
//! 2. `egress` leads from the source address to the chain of what the source may reach, `ingress` from the destination
//!    address to the chain of who may reach the destination. An address without a chain is not isolated.
//! 3. A line of a chain returns if `members` (pods by number), `ports` (ports of pods by number) or `blocks` (ranges
//!    of addresses by number) has the other side, and `numbers` (ranges of ports by number) the port. What no line
//!    returns is dropped at the end of the chain.
//!
//! The cluster's DNS is the node itself: what pods send to its address is looked at as it comes in. Everything else that
//! is for the node or from the node passes. Never here: which elements there are.

use std::io;
use std::net::Ipv4Addr;

use nft::{Attributes, Batch, Comparison, Data, Element, Field, Holds, Hook, Passing, Register, Set};

use super::chains;
use super::changes::{Chain, Changes, Found, Lead, Line, Side};
use super::groups::MemberPort;
use super::policy::Direction;
use super::ranges::{PortRange, Range};
use crate::protocol::Protocol;
use crate::tables::{add, remove, tolerate_absent, word};

const OWN: &str = "own";
const MEMBERS: &str = "members";
const PORTS: &str = "ports";
const BLOCKS: &str = "blocks";
const NUMBERS: &str = "numbers";
const FORWARD: &str = "forward";
const INPUT: &str = "input";
const CLOSED: &str = "closed";
/// The priority of filters: after the translation of destinations, before that of sources.
const FILTER: i32 = 0;
/// Beyond it there is no room for the numbers of another start of the agent.
const LAST_NUMBER: u32 = u32::MAX / 2;

const KEY: Register = Register::at(0);
const SECOND: Register = Register::at(1);
const THIRD: Register = Register::at(2);
const FOURTH: Register = Register::at(3);
/// For what is looked at once.
const SCRATCH: Register = Register::at(15);

/// What the table is called, and what it knows of the node.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub name: String,
    /// Addresses of Services that the node answers on as if it were the Services' pods.
    pub answered: Vec<Ipv4Addr>,
}

impl Table {
    /// Makes the table, its sets and the chains that packets begin in; what its sets hold stays.
    pub fn prepare(&self, batch: &mut Batch) {
        let table = &self.name;
        batch.new_table(table);
        let sets: [(&str, &[Field], Holds<'_>); 7] = [
            (map(Direction::Ingress), &[Field::Address], Holds::Verdicts),
            (map(Direction::Egress), &[Field::Address], Holds::Verdicts),
            (OWN, &[Field::Address, Field::Address], Holds::Members),
            (MEMBERS, &[Field::Number, Field::Address], Holds::Members),
            (PORTS, &[Field::Number, Field::Address, Field::Protocol, Field::Port], Holds::Members),
            (BLOCKS, &[Field::Number, Field::Address], Holds::Ranges),
            (NUMBERS, &[Field::Number, Field::Protocol, Field::Port], Holds::Ranges),
        ];
        for ((name, key, holds), id) in sets.into_iter().zip(1..) {
            batch.new_set(Set { table, name, key, holds }, id);
        }
        batch.new_chain(table, CLOSED);
        batch.delete_rules(table, CLOSED);
        batch.new_rule(table, CLOSED, Attributes::discard);
        for (chain, hook) in [(FORWARD, Hook::Forward), (INPUT, Hook::Input)] {
            batch.new_hooked_chain(table, chain, Passing::Every, hook, FILTER);
            batch.delete_rules(table, chain);
        }
        let established = |rule: &mut Attributes| {
            rule.connection_is_established(SCRATCH);
            rule.accept();
        };
        batch.new_rule(table, FORWARD, established);
        batch.new_rule(table, FORWARD, |rule| {
            rule.load_source(KEY);
            rule.load_destination(SECOND);
            rule.member(OWN, KEY, Comparison::Equal);
            rule.accept();
        });
        let from_source = |rule: &mut Attributes| {
            rule.load_source(KEY);
            rule.follow(map(Direction::Egress), KEY);
        };
        batch.new_rule(table, FORWARD, from_source);
        batch.new_rule(table, FORWARD, |rule| {
            rule.load_destination(KEY);
            rule.follow(map(Direction::Ingress), KEY);
        });
        for address in &self.answered {
            batch.new_rule(table, INPUT, |rule| {
                rule.destination_in(*address, Ipv4Addr::BROADCAST, SCRATCH);
                rule.connection_is_established(SCRATCH);
                rule.accept();
            });
            batch.new_rule(table, INPUT, |rule| {
                rule.destination_in(*address, Ipv4Addr::BROADCAST, SCRATCH);
                from_source(rule);
            });
        }
    }

    /// The transactions by which the changes come into force, in order. A packet that is under way while a transaction
    /// comes into force finds the chains as they were before it and the sets as they are after it. So chains come before
    /// what leads to them, and go after it, together with what they look up.
    pub fn transactions(&self, changes: &Changes, mut first: Batch) -> Vec<Batch> {
        if !changes.changes_chains() {
            self.come(&mut first, changes);
            self.lead(&mut first, changes);
            self.go(&mut first, changes);
            return vec![first];
        }
        let (mut leads, mut last) = (Batch::new(), Batch::new());
        self.come(&mut first, changes);
        self.lead(&mut leads, changes);
        self.go(&mut last, changes);
        vec![first, leads, last]
    }

    /// All in one, for a table that is made anew.
    pub fn transaction(&self, changes: &Changes, batch: &mut Batch) {
        self.come(batch, changes);
        self.lead(batch, changes);
        self.go(batch, changes);
    }

    fn come(&self, batch: &mut Batch, changes: &Changes) {
        for chain in &changes.chains {
            self.make(batch, chain);
        }
        let table = &self.name;
        add(batch, table, OWN, changes.own.come.iter().map(|(address, ())| bare(own_bytes(*address))));
        add(
            batch,
            table,
            MEMBERS,
            changes.members.come.iter().map(|(member, ())| bare(member_bytes(*member))),
        );
        add(batch, table, PORTS, changes.ports.come.iter().map(|(port, ())| bare(port_bytes(*port))));
        let ends: Vec<_> = changes.blocks.come.iter().map(|(block, ())| block_bytes(*block)).collect();
        batch.add_ranges(table, BLOCKS, ends.iter().map(|(from, to)| (&from[..], &to[..])));
        let ends: Vec<_> = changes.numbers.come.iter().map(|(range, ())| number_bytes(*range)).collect();
        batch.add_ranges(table, NUMBERS, ends.iter().map(|(from, to)| (&from[..], &to[..])));
    }

    fn lead(&self, batch: &mut Batch, changes: &Changes) {
        for direction in Direction::BOTH {
            let difference = &changes.leads[direction as usize];
            remove(batch, &self.name, map(direction), difference.gone.iter().map(|(one, _)| one.octets()));
            let come: Vec<(&Ipv4Addr, String)> = difference
                .come
                .iter()
                .map(|(address, lead)| match lead {
                    Lead::Closed => (address, CLOSED.to_owned()),
                    Lead::Chain(number) => (address, chains::name(direction, *number)),
                })
                .collect();
            let keys: Vec<[u8; 4]> = come.iter().map(|(address, _)| address.octets()).collect();
            let elements = keys.iter().zip(&come);
            let elements = elements.map(|(key, (_, chain))| Element { key, data: Some(Data::Jump(chain)) });
            batch.add_elements(&self.name, map(direction), elements);
        }
    }

    fn go(&self, batch: &mut Batch, changes: &Changes) {
        let table = &self.name;
        for chain in &changes.gone {
            batch.delete_rules(table, chain);
            batch.delete_chain(table, chain);
        }
        remove(batch, table, OWN, changes.own.gone.iter().map(|(address, ())| own_bytes(*address)));
        remove(batch, table, MEMBERS, changes.members.gone.iter().map(|(member, ())| member_bytes(*member)));
        remove(batch, table, PORTS, changes.ports.gone.iter().map(|(port, ())| port_bytes(*port)));
        let ends: Vec<_> = changes.blocks.gone.iter().map(|(block, ())| block_bytes(*block)).collect();
        batch.delete_ranges(table, BLOCKS, ends.iter().map(|(from, to)| (&from[..], &to[..])));
        let ends: Vec<_> = changes.numbers.gone.iter().map(|(range, ())| number_bytes(*range)).collect();
        batch.delete_ranges(table, NUMBERS, ends.iter().map(|(from, to)| (&from[..], &to[..])));
    }

    fn make(&self, batch: &mut Batch, chain: &Chain) {
        let name = chains::name(chain.direction, chain.number);
        batch.new_chain(&self.name, &name);
        for line in &chain.lines {
            batch.new_rule(&self.name, &name, |rule| pass(rule, chain.direction, *line));
        }
        batch.new_rule(&self.name, &name, Attributes::discard);
    }

    /// What the kernel has; nothing where there is no table.
    ///
    /// # Errors
    /// When the kernel refuses, the table changed meanwhile, or its elements are of another shape.
    pub fn read(&self) -> io::Result<Found> {
        let mut found = Found::default();
        for direction in Direction::BOTH {
            let leads = &mut found.leads[direction as usize];
            nft::verdicts(&self.name, map(direction), |key, chain| {
                let lead = chains::number(chain).map_or(Lead::Closed, Lead::Chain);
                leads.extend(key.first_chunk::<4>().map(|key| (Ipv4Addr::from(*key), lead)));
            })
            .or_else(tolerate_absent)?;
        }
        self.elements(OWN, |key| {
            found.own.push(address(key)?);
            Some(())
        })?;
        self.elements(MEMBERS, |key| {
            found.members.push((word(key)?, address(key.get(4..)?)?));
            Some(())
        })?;
        self.elements(PORTS, |key| {
            found.ports.push(read_port(key)?);
            Some(())
        })?;
        self.ranges(BLOCKS, |from, to| {
            let end = |key: &[u8]| address(key.get(4..)?).map(Ipv4Addr::to_bits);
            found.blocks.push((word(from)?, Range { first: end(from)?, last: end(to)? }));
            Some(())
        })?;
        self.ranges(NUMBERS, |from, to| {
            let (protocol, first) = read_protocol_port(from.get(4..)?)?;
            let (_, last) = read_protocol_port(to.get(4..)?)?;
            found.numbers.push((word(from)?, PortRange { protocol, first, last }));
            Some(())
        })?;
        let chains = nft::chains(&self.name)?;
        found.chains = chains.into_iter().filter(|name| chains::number(name).is_some()).collect();
        let taken = (found.members.iter().map(|(number, _)| *number))
            .chain(found.ports.iter().map(|(number, ..)| *number))
            .chain(found.blocks.iter().map(|(number, _)| *number))
            .chain(found.numbers.iter().map(|(number, _)| *number))
            .chain(found.chains.iter().filter_map(|name| chains::number(name)));
        let last = taken.max().unwrap_or(0);
        if last > LAST_NUMBER {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the table's numbers are used up"));
        }
        found.first_free = last + 1;
        Ok(found)
    }

    fn elements(&self, set: &str, mut take: impl FnMut(&[u8]) -> Option<()>) -> io::Result<()> {
        let mut odd = 0;
        nft::elements(&self.name, set, |key, _| odd += usize::from(take(key).is_none()))
            .or_else(tolerate_absent)?;
        none_odd(set, odd)
    }

    fn ranges(&self, set: &str, mut take: impl FnMut(&[u8], &[u8]) -> Option<()>) -> io::Result<()> {
        let mut odd = 0;
        nft::ranges(&self.name, set, |from, to| odd += usize::from(take(from, to).is_none()))
            .or_else(tolerate_absent)?;
        none_odd(set, odd)
    }
}

fn none_odd(set: &str, odd: usize) -> io::Result<()> {
    if odd == 0 {
        return Ok(());
    }
    let text = format!("{odd} elements of {set} are of another shape");
    Err(io::Error::new(io::ErrorKind::InvalidData, text))
}

/// The map that leads from an address to a chain.
fn map(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "ingress",
        Direction::Egress => "egress",
    }
}

/// Returns if the line lets the packet pass.
fn pass(rule: &mut Attributes, direction: Direction, line: Line) {
    let other = |rule: &mut Attributes, number: u32| {
        rule.load_word(number.to_ne_bytes(), KEY);
        match direction {
            Direction::Ingress => rule.load_source(SECOND),
            Direction::Egress => rule.load_destination(SECOND),
        }
    };
    match line.who {
        Side::Everybody => {}
        Side::Members(number) => {
            other(rule, number);
            rule.member(MEMBERS, KEY, Comparison::Equal);
        }
        Side::MemberPorts(number) => {
            other(rule, number);
            rule.load_transport(THIRD);
            rule.load_destination_port(FOURTH);
            rule.member(PORTS, KEY, Comparison::Equal);
        }
        Side::Blocks(number) => {
            other(rule, number);
            rule.member(BLOCKS, KEY, Comparison::Equal);
        }
    }
    if let Some(number) = line.ports {
        rule.load_word(number.to_ne_bytes(), KEY);
        rule.load_transport(SECOND);
        rule.load_destination_port(THIRD);
        rule.member(NUMBERS, KEY, Comparison::Equal);
    }
    rule.leave();
}

fn bare<K>(key: K) -> (K, Option<[u8; 0]>) {
    (key, None)
}

fn own_bytes(address: Ipv4Addr) -> Vec<u8> {
    [address.octets(), address.octets()].concat()
}

fn member_bytes((number, address): (u32, Ipv4Addr)) -> Vec<u8> {
    [number.to_ne_bytes(), address.octets()].concat()
}

fn port_bytes((number, address, protocol, port): MemberPort) -> Vec<u8> {
    [&number.to_ne_bytes()[..], &address.octets(), &protocol_port_bytes(protocol, port)].concat()
}

fn protocol_port_bytes(protocol: Protocol, port: u16) -> [u8; 8] {
    let [high, low] = port.to_be_bytes();
    [protocol as u8, 0, 0, 0, high, low, 0, 0]
}

fn block_bytes((number, range): (u32, Range)) -> (Vec<u8>, Vec<u8>) {
    let (first, last) = range.addresses();
    (member_bytes((number, first)), member_bytes((number, last)))
}

fn number_bytes((number, range): (u32, PortRange)) -> (Vec<u8>, Vec<u8>) {
    let end = |port| [&number.to_ne_bytes()[..], &protocol_port_bytes(range.protocol, port)].concat();
    (end(range.first), end(range.last))
}

fn address(bytes: &[u8]) -> Option<Ipv4Addr> {
    bytes.first_chunk::<4>().map(|octets| Ipv4Addr::from(*octets))
}

fn read_port(bytes: &[u8]) -> Option<MemberPort> {
    let (protocol, port) = read_protocol_port(bytes.get(8..)?)?;
    Some((word(bytes)?, address(bytes.get(4..)?)?, protocol, port))
}

fn read_protocol_port(bytes: &[u8]) -> Option<(Protocol, u16)> {
    let [protocol, _, _, _, high, low, ..] = *bytes else { return None };
    Some((Protocol::numbered(protocol)?, u16::from_be_bytes([high, low])))
}
