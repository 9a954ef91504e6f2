//! [`Changes`]: what the kernel is to be told. [`Found`]: what it has.

use std::net::Ipv4Addr;

use super::groups::{Member, MemberPort};
use super::policy::Direction;
use super::ranges::{PortRange, Range};
use crate::tables::Difference;

/// Where what concerns an address is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lead {
    /// Nothing passes.
    Closed,
    /// The chain of this number, of the direction.
    Chain(u32),
}

/// A chain: what any of its lines lets pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chain {
    pub direction: Direction,
    pub number: u32,
    pub lines: Vec<Line>,
}

/// Lets packets pass whose other side and destination port the sets have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Line {
    pub who: Side,
    /// The number of ports; all where there is none.
    pub ports: Option<u32>,
}

/// The other side, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Everybody,
    Members(u32),
    MemberPorts(u32),
    Blocks(u32),
}

/// The difference of what the kernel has and is to have.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Changes {
    pub chains: Vec<Chain>,
    /// Chains that nothing leads to any more, by name.
    pub gone: Vec<String>,
    pub leads: [Difference<Ipv4Addr, Lead>; 2],
    pub own: Difference<Ipv4Addr, ()>,
    pub members: Difference<Member, ()>,
    pub ports: Difference<MemberPort, ()>,
    pub blocks: Difference<(u32, Range), ()>,
    pub numbers: Difference<(u32, PortRange), ()>,
}

impl Changes {
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && !self.changes_chains()
    }

    /// Whether chains come or go, and not elements only.
    pub fn changes_chains(&self) -> bool {
        !self.chains.is_empty() || !self.gone.is_empty()
    }

    /// Elements that come or go.
    pub fn len(&self) -> usize {
        fn both<K, V>(difference: &Difference<K, V>) -> usize {
            difference.gone.len() + difference.come.len()
        }
        self.leads.iter().map(both).sum::<usize>()
            + both(&self.own)
            + both(&self.members)
            + both(&self.ports)
            + both(&self.blocks)
            + both(&self.numbers)
    }
}

/// What the kernel has.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub leads: [Vec<(Ipv4Addr, Lead)>; 2],
    pub own: Vec<Ipv4Addr>,
    pub members: Vec<Member>,
    pub ports: Vec<MemberPort>,
    pub blocks: Vec<(u32, Range)>,
    pub numbers: Vec<(u32, PortRange)>,
    /// Names of chains that addresses may lead to.
    pub chains: Vec<String>,
    /// A number that is greater than all numbers of these.
    pub first_free: u32,
}
