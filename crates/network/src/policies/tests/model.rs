//! [`Model`]: a kernel that takes changes, and refuses what the real one would refuse.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use informer::{Key, Labels};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use serde_json::{Value, json};

use crate::policies::chains;
use crate::policies::changes::{Changes, Found, Lead, Line, Side};
use crate::policies::groups::{Member, MemberPort};
use crate::policies::holders::Holders;
use crate::policies::pod::{NamedPort, Pod, Seniority};
use crate::policies::policy::{Direction, Policy};
use crate::policies::ranges::{PortRange, Range};
use crate::policies::state::State;
use crate::protocol::Protocol;
use crate::tables::Difference;

/// The pod address with this last byte.
pub const fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 244, 0, last)
}

pub fn key(namespace: &str, name: &str) -> Key {
    Key::new(namespace, name)
}

pub fn labels(labels: &[(&str, &str)]) -> Labels {
    labels.iter().copied().collect()
}

pub fn port(name: &str, protocol: Protocol, number: u16) -> NamedPort {
    NamedPort { name: name.into(), protocol, number }
}

pub fn pod(last: u8, labels: &[(&str, &str)]) -> Pod {
    Pod { address: Some(address(last)), ..pod_without_address(labels) }
}

pub fn pod_without_address(labels: &[(&str, &str)]) -> Pod {
    Pod {
        uid: "".into(),
        labels: self::labels(labels),
        is_here: true,
        address: None,
        ports: Vec::new(),
        seniority: Seniority { stays: true, created: None },
    }
}

/// The state of the agent, and of a kernel that was told of it.
#[derive(Debug)]
pub struct Model {
    state: State,
    leads: [BTreeMap<Ipv4Addr, Lead>; 2],
    own: BTreeSet<Ipv4Addr>,
    members: BTreeSet<Member>,
    ports: BTreeSet<MemberPort>,
    blocks: BTreeSet<(u32, Range)>,
    numbers: BTreeSet<(u32, PortRange)>,
    chains: BTreeMap<String, Vec<Line>>,
    /// Whether changes are to wait for [`Model::take`].
    waits: bool,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            state: State::of(Found { first_free: 1, ..Found::default() }, Holders::default()),
            leads: Default::default(),
            own: BTreeSet::new(),
            members: BTreeSet::new(),
            ports: BTreeSet::new(),
            blocks: BTreeSet::new(),
            numbers: BTreeSet::new(),
            chains: BTreeMap::new(),
            waits: false,
        }
    }
}

impl Model {
    pub fn namespace(&mut self, name: &str, labels: Option<&[(&str, &str)]>) -> Changes {
        self.state.namespace(&Arc::from(name), labels.map(self::labels));
        self.take()
    }

    pub fn pod(&mut self, namespace: &str, name: &str, pod: Option<Pod>) -> Changes {
        self.state.pod(&key(namespace, name), pod);
        self.take()
    }

    pub fn policy(&mut self, namespace: &str, name: &str, spec: Option<Value>) -> Changes {
        let key = key(namespace, name);
        let policy = spec.map(|spec| {
            let policy: NetworkPolicy = serde_json::from_value(json!({"spec": spec})).expect("a policy");
            Policy::of(&key.namespace, &policy)
        });
        self.state.policy(&key, policy);
        self.take()
    }

    pub fn give(&mut self, namespace: &str, name: &str, last: u8) -> Changes {
        self.state.give(&key(namespace, name), address(last));
        self.take()
    }

    pub fn release(&mut self, last: u8) -> Changes {
        self.state.release(address(last));
        self.take()
    }

    /// The agent begins anew with what the kernel has, and is told again what there is.
    pub fn restart(&mut self, tell: impl FnOnce(&mut Self)) {
        let numbers = (self.members.iter().map(|(number, _)| *number))
            .chain(self.ports.iter().map(|(number, ..)| *number))
            .chain(self.blocks.iter().map(|(number, _)| *number))
            .chain(self.numbers.iter().map(|(number, _)| *number))
            .chain(self.chains.keys().filter_map(|name| chains::number(name)));
        let found = Found {
            first_free: numbers.max().unwrap_or(0) + 1,
            leads: self.leads.clone().map(|leads| leads.into_iter().collect()),
            own: self.own.iter().copied().collect(),
            members: self.members.iter().copied().collect(),
            ports: self.ports.iter().copied().collect(),
            blocks: self.blocks.iter().copied().collect(),
            numbers: self.numbers.iter().copied().collect(),
            chains: self.chains.keys().cloned().collect(),
        };
        let holders = self.state.take_holders();
        self.state = State::of(found, holders);
        self.waits = true;
        tell(self);
        self.waits = false;
        self.state.forget_absent();
        self.state.sweep();
        self.take();
    }

    fn take(&mut self) -> Changes {
        if self.waits {
            return State::of(Found::default(), Holders::default()).take_changes();
        }
        let changes = self.state.take_changes();
        for chain in &changes.chains {
            let name = chains::name(chain.direction, chain.number);
            assert_eq!(self.chains.insert(name.clone(), chain.lines.clone()), None, "{name}");
        }
        apply(&mut self.own, &changes.own);
        apply(&mut self.members, &changes.members);
        apply(&mut self.ports, &changes.ports);
        apply(&mut self.blocks, &changes.blocks);
        apply(&mut self.numbers, &changes.numbers);
        for direction in Direction::BOTH {
            let (leads, difference) =
                (&mut self.leads[direction as usize], &changes.leads[direction as usize]);
            for (address, lead) in &difference.gone {
                assert_eq!(leads.remove(address), Some(*lead), "{address}");
            }
            for (address, lead) in &difference.come {
                assert_eq!(leads.insert(*address, *lead), None, "{address}");
            }
            for lead in leads.values() {
                let Lead::Chain(number) = lead else { continue };
                assert!(self.chains.contains_key(&chains::name(direction, *number)), "{lead:?}");
            }
        }
        for name in &changes.gone {
            assert!(self.chains.remove(name).is_some(), "{name}");
        }
        for (direction, leads) in Direction::BOTH.into_iter().zip(&self.leads) {
            for lead in leads.values() {
                let Lead::Chain(number) = lead else { continue };
                assert!(
                    self.chains.contains_key(&chains::name(direction, *number)),
                    "{lead:?} leads nowhere"
                );
            }
        }
        self.state.settle_numbers();
        changes
    }

    /// Whether the first packet of a connection passes.
    pub fn passes(&self, from: Ipv4Addr, to: Ipv4Addr, protocol: Protocol, port: u16) -> bool {
        self.decide(from, to, Some((protocol, port)))
    }

    /// The same, of a protocol without ports.
    pub fn ping(&self, from: Ipv4Addr, to: Ipv4Addr) -> bool {
        self.decide(from, to, None)
    }

    fn decide(&self, from: Ipv4Addr, to: Ipv4Addr, port: Option<(Protocol, u16)>) -> bool {
        if from == to && self.own.contains(&from) {
            return true;
        }
        let by = |direction: Direction, address: Ipv4Addr, other: Ipv4Addr| match self.leads
            [direction as usize]
            .get(&address)
        {
            None => true,
            Some(Lead::Closed) => false,
            Some(Lead::Chain(number)) => {
                let lines = &self.chains[&chains::name(direction, *number)];
                lines.iter().any(|line| self.line(line, other, port))
            }
        };
        by(Direction::Egress, from, to) && by(Direction::Ingress, to, from)
    }

    fn line(&self, line: &Line, other: Ipv4Addr, port: Option<(Protocol, u16)>) -> bool {
        let who = match line.who {
            Side::Everybody => true,
            Side::Members(number) => self.members.contains(&(number, other)),
            Side::MemberPorts(number) => {
                port.is_some_and(|(protocol, port)| self.ports.contains(&(number, other, protocol, port)))
            }
            Side::Blocks(number) => {
                let holds = |range: &Range| (range.first..=range.last).contains(&other.to_bits());
                self.blocks.iter().any(|(found, range)| *found == number && holds(range))
            }
        };
        let holds = |range: &PortRange| {
            port.is_some_and(|(protocol, port)| {
                range.protocol == protocol && (range.first..=range.last).contains(&port)
            })
        };
        who && line
            .ports
            .is_none_or(|number| self.numbers.iter().any(|(found, range)| *found == number && holds(range)))
    }

    pub fn chains(&self) -> usize {
        self.chains.len()
    }

    /// How many elements and chains the kernel has.
    pub fn elements(&self) -> usize {
        self.leads.iter().map(BTreeMap::len).sum::<usize>()
            + self.own.len()
            + self.members.len()
            + self.ports.len()
            + self.blocks.len()
            + self.numbers.len()
            + self.chains.len()
    }
}

fn apply<K: Copy + Ord + std::fmt::Debug>(set: &mut BTreeSet<K>, difference: &Difference<K, ()>) {
    for (key, ()) in &difference.gone {
        assert!(set.remove(key), "{key:?} is not there");
    }
    for (key, ()) in &difference.come {
        assert!(set.insert(*key), "{key:?} is there");
    }
}
