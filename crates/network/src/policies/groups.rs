//! [`Groups`]: pods that rules speak of, by number, with the elements by which the kernel knows them.
//!
//! A group exists as long as a rule in force speaks of it. For each namespace it is known which groups reach it, so that
//! a pod that comes or goes is looked at by those only.

use std::collections::{BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::sync::Arc;

use informer::Labels;

use super::interned::Interned;
use super::pod::Pod;
use super::policy::PodPeers;
use crate::protocol::Protocol;
use crate::tables::Mirror;

/// Pods, or, where there are names, the ports of theirs that have one of the names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Group {
    pub peers: PodPeers,
    pub names: Vec<(Protocol, String)>,
}

/// A number, and an address of the group.
pub(super) type Member = (u32, Ipv4Addr);
/// A number, and a port of an address.
pub(super) type MemberPort = (u32, Ipv4Addr, Protocol, u16);

#[derive(Debug)]
pub(super) struct Groups {
    numbers: Interned<Arc<Group>>,
    by_number: HashMap<u32, Held>,
    reach: HashMap<Arc<str>, BTreeSet<u32>>,
    pub members: Mirror<Member, ()>,
    pub ports: Mirror<MemberPort, ()>,
}

#[derive(Debug)]
struct Held {
    group: Arc<Group>,
    /// What the kernel has for each address: no ports where the group is of pods.
    members: HashMap<Ipv4Addr, Vec<(Protocol, u16)>>,
}

/// A pod with an address, as groups look at it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Located<'a> {
    pub namespace: &'a str,
    pub address: Ipv4Addr,
    pub pod: &'a Pod,
}

impl Groups {
    /// With what the kernel has, and numbers from `first` on.
    pub fn new(members: Mirror<Member, ()>, ports: Mirror<MemberPort, ()>, first: u32) -> Self {
        Self {
            numbers: Interned::from(first),
            by_number: HashMap::new(),
            reach: HashMap::new(),
            members,
            ports,
        }
    }

    /// The number of a group, for one more user; and whether its pods are to be told ([`Self::look`]).
    pub fn take<'n>(
        &mut self,
        group: &Arc<Group>,
        namespaces: impl Iterator<Item = (&'n Arc<str>, Option<&'n Labels>)>,
    ) -> (u32, bool) {
        let (number, is_new) = self.numbers.take(group.clone());
        if is_new {
            self.by_number.insert(number, Held { group: group.clone(), members: HashMap::new() });
            for (namespace, labels) in namespaces {
                if group.peers.reach(namespace, labels) {
                    self.reach.entry(namespace.clone()).or_default().insert(number);
                }
            }
        }
        (number, is_new)
    }

    /// One user less.
    pub fn release(&mut self, group: &Arc<Group>) {
        let Some(number) = self.numbers.release(group) else { return };
        let held = self.by_number.remove(&number);
        for (address, ports) in held.into_iter().flat_map(|held| held.members) {
            self.withdraw(number, address, &ports);
        }
        self.reach.retain(|_, groups| {
            groups.remove(&number);
            !groups.is_empty()
        });
    }

    /// Looks up anew which groups reach a namespace. Its pods are to be told then, those that leave a group too.
    pub fn reach_anew(&mut self, namespace: &Arc<str>, labels: Option<&Labels>) {
        let found = self.by_number.iter().filter(|(_, held)| held.group.peers.reach(namespace, labels));
        let groups: BTreeSet<u32> = found.map(|(number, _)| *number).collect();
        match groups.is_empty() {
            true => drop(self.reach.remove(namespace)),
            false => drop(self.reach.insert(namespace.clone(), groups)),
        }
    }

    /// There is no such namespace, and no pod of it.
    pub fn forget(&mut self, namespace: &str) {
        self.reach.remove(namespace);
    }

    /// The groups that reach a namespace.
    pub fn reaching(&self, namespace: &str) -> Vec<u32> {
        self.reach.get(namespace).into_iter().flatten().copied().collect()
    }

    /// Has the group be right about a pod.
    pub fn look(&mut self, number: u32, pod: Located<'_>, labels: Option<&Labels>) {
        let Some(held) = self.by_number.get_mut(&number) else { return };
        let wanted = held.group.wanted(pod, labels);
        if held.members.get(&pod.address) == wanted.as_ref() {
            return;
        }
        let before = match &wanted {
            Some(ports) => held.members.insert(pod.address, ports.clone()),
            None => held.members.remove(&pod.address),
        };
        if let Some(ports) = before {
            self.withdraw(number, pod.address, &ports);
        }
        match wanted.as_deref() {
            None => {}
            Some([]) => self.members.set((number, pod.address), ()),
            Some(ports) => {
                for (protocol, port) in ports {
                    self.ports.set((number, pod.address, *protocol, *port), ());
                }
            }
        }
    }

    /// Has the group not have an address.
    pub fn leave(&mut self, number: u32, address: Ipv4Addr) {
        let before = self.by_number.get_mut(&number).and_then(|held| held.members.remove(&address));
        if let Some(ports) = before {
            self.withdraw(number, address, &ports);
        }
    }

    fn withdraw(&mut self, number: u32, address: Ipv4Addr, ports: &[(Protocol, u16)]) {
        if ports.is_empty() {
            self.members.remove(&(number, address));
        }
        for (protocol, port) in ports {
            self.ports.remove(&(number, address, *protocol, *port));
        }
    }

    /// The kernel knows what was taken.
    pub fn settle(&mut self) {
        self.numbers.settle();
    }

    pub fn len(&self) -> usize {
        self.numbers.len()
    }
}

impl Group {
    /// What the kernel is to have for a pod; nothing for one that does not belong to the group.
    fn wanted(&self, of: Located<'_>, labels: Option<&Labels>) -> Option<Vec<(Protocol, u16)>> {
        if !self.peers.select(of.namespace, labels, &of.pod.labels) {
            return None;
        }
        if self.names.is_empty() {
            return Some(Vec::new());
        }
        let named = self
            .names
            .iter()
            .flat_map(|(protocol, name)| of.pod.numbers(*protocol, name).map(|number| (*protocol, number)));
        let mut ports: Vec<(Protocol, u16)> = named.collect();
        ports.sort_unstable();
        ports.dedup();
        (!ports.is_empty()).then_some(ports)
    }
}
