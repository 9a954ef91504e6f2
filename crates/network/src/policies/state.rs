//! [`State`]: pods, namespaces and policies as they are known, and what the sets of the table are to hold because of them.
//!
//! Pure. Start with [`State::pod`], [`State::policy`] and [`State::namespace`], by which changes come in, and
//! [`State::take_changes`], by which they go out. What a change concerns is found by namespace, by group and by address.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use informer::{Key, Labels};

use super::chains::Chains;
use super::changes::{Changes, Found, Lead};
use super::groups::{Groups, Located};
use super::holders::Holders;
use super::pod::Pod;
use super::policy::{Direction, Policy};
use super::shape::shape;
use crate::tables::Mirror;

/// What is known, and what the kernel is to have.
#[derive(Debug)]
pub(super) struct State {
    /// The labels of namespaces; of one that only its pods are known of, none.
    namespaces: HashMap<Arc<str>, Option<Labels>>,
    pods: BTreeMap<Key, Known>,
    policies: HashMap<Arc<str>, BTreeMap<Arc<str>, Policy>>,
    holders: Holders,
    held: HashMap<Ipv4Addr, Key>,
    groups: Groups,
    chains: Chains,
    leads: [Mirror<Ipv4Addr, Lead>; 2],
    own: Mirror<Ipv4Addr, ()>,
    /// Addresses of this machine that led to a chain, and that no pod is known of any more: its processes may still run.
    closed: HashSet<Ipv4Addr>,
    /// Pods whose shapes are to be looked at.
    stale: BTreeSet<Key>,
}

#[derive(Debug)]
struct Known {
    pod: Pod,
    address: Option<Ipv4Addr>,
    /// The chains of its shapes.
    chains: [Option<u32>; 2],
}

impl State {
    /// Begins with what the kernel has. Everything known is applied next, and then [`State::sweep`] removes what the kernel
    /// had and nothing asks for. What the kernel has is left as it is until what follows it is complete.
    pub fn of(found: Found, holders: Holders) -> Self {
        let first = found.first_free;
        let closed = found.leads.iter().flatten().map(|(address, _)| *address).collect();
        let Found { leads, own, members, ports, blocks, numbers, chains, .. } = found;
        Self {
            namespaces: HashMap::new(),
            pods: BTreeMap::new(),
            policies: HashMap::new(),
            holders,
            held: HashMap::new(),
            groups: Groups::new(keys(members), keys(ports), first),
            chains: Chains::new(keys(blocks), keys(numbers), chains, first),
            leads: leads.map(|leads| leads.into_iter().collect()),
            own: keys(own),
            closed,
            stale: BTreeSet::new(),
        }
    }

    /// What was given to pods here, to begin anew with.
    pub fn take_holders(&mut self) -> Holders {
        self.holders.again()
    }

    /// Forgets what was given to pods that are gone, after all pods were applied to what was known before.
    pub fn forget_absent(&mut self) {
        for key in self.holders.favoured() {
            if !self.pods.contains_key(&key) {
                let touched = self.holders.forget(&key);
                self.settle_addresses(touched);
            }
        }
    }

    /// A namespace has these labels; none where it is gone.
    pub fn namespace(&mut self, name: &Arc<str>, labels: Option<Labels>) {
        if labels.is_none() && in_namespace(&self.pods, name).next().is_none() {
            self.namespaces.remove(name);
            self.groups.forget(name);
            return;
        }
        if self.namespaces.get(name) == Some(&labels) {
            return;
        }
        let before = self.groups.reaching(name);
        self.groups.reach_anew(name, labels.as_ref());
        let after = self.groups.reaching(name);
        let gone: Vec<u32> = before.into_iter().filter(|number| !after.contains(number)).collect();
        for located in located_in(&self.pods, name) {
            gone.iter().for_each(|number| self.groups.leave(*number, located.address));
            after.iter().for_each(|number| self.groups.look(*number, located, labels.as_ref()));
        }
        self.namespaces.insert(name.clone(), labels);
    }

    /// A policy says this; nothing where it is gone.
    pub fn policy(&mut self, key: &Key, policy: Option<Policy>) {
        let policies = self.policies.entry(key.namespace.clone()).or_default();
        let before = policies.remove(&key.name);
        if before == policy {
            policies.extend(policy.map(|policy| (key.name.clone(), policy)));
            return;
        }
        let concerns = |policy: &Option<Policy>, pod: &Pod| {
            policy.as_ref().is_some_and(|policy| policy.selects(&pod.labels))
        };
        let concerned: Vec<Key> = in_namespace(&self.pods, &key.namespace)
            .filter(|(_, known)| concerns(&before, &known.pod) || concerns(&policy, &known.pod))
            .map(|(key, _)| key.clone())
            .collect();
        self.stale.extend(concerned);
        policies.extend(policy.map(|policy| (key.name.clone(), policy)));
        if policies.is_empty() {
            self.policies.remove(&key.namespace);
        }
    }

    /// A pod is this; nothing where it is gone, has ended or is in its node's network.
    pub fn pod(&mut self, key: &Key, pod: Option<Pod>) {
        let Some(pod) = pod else {
            self.forget(key);
            return;
        };
        if self.pods.get(key).is_some_and(|known| known.pod.uid != pod.uid) {
            // Another one of the same name.
            self.forget(key);
        }
        let said = pod.address.map(|address| (address, pod.seniority));
        match self.pods.get_mut(key) {
            Some(known) if known.pod == pod => return,
            Some(known) => {
                known.pod = pod;
                self.look_at(key);
                self.stale.insert(key.clone());
            }
            None => self.enter(key, pod),
        }
        let touched = self.holders.say(key, said);
        self.settle_addresses(touched);
    }

    /// A pod that is known was given an address on this machine.
    pub fn give(&mut self, key: &Key, address: Ipv4Addr) {
        if self.pods.contains_key(key) {
            let touched = self.holders.give(key, address);
            self.settle_addresses(touched);
        }
    }

    /// An address was taken back: nothing of its pod runs any more.
    pub fn release(&mut self, address: Ipv4Addr) {
        self.holders.release(address);
        if self.closed.remove(&address) {
            self.unlead(address);
        }
    }

    /// What the kernel is to be told; it counts as told.
    pub fn take_changes(&mut self) -> Changes {
        self.settle();
        let [ingress, egress] = &mut self.leads;
        Changes {
            chains: self.chains.take_new(),
            gone: self.chains.take_gone(),
            leads: [ingress.take(), egress.take()],
            own: self.own.take(),
            members: self.groups.members.take(),
            ports: self.groups.ports.take(),
            blocks: self.chains.blocks.take(),
            numbers: self.chains.numbers.take(),
        }
    }

    /// The kernel has what was taken last.
    pub fn settle_numbers(&mut self) {
        self.groups.settle();
        self.chains.settle();
    }

    /// Removes what the kernel had and nothing asks for, after everything known was applied.
    pub fn sweep(&mut self) {
        self.settle();
        let found: Vec<Ipv4Addr> = self.closed.iter().copied().collect();
        for address in found {
            if self.holders.is_released(address) {
                self.closed.remove(&address);
                self.unlead(address);
                continue;
            }
            for leads in &mut self.leads {
                if leads.get(&address).is_some() {
                    leads.set(address, Lead::Closed);
                }
            }
        }
        let (first, leads) = (self.chains.first(), &self.leads);
        self.own.retain(|address| leads.iter().any(|leads| leads.get(address).is_some()));
        self.groups.members.retain(|(number, _)| *number >= first);
        self.groups.ports.retain(|(number, ..)| *number >= first);
        self.chains.sweep();
    }

    /// Numbers of pods with an address, of chains, and of groups.
    pub fn len(&self) -> (usize, usize, usize) {
        (self.held.len(), self.chains.len(), self.groups.len())
    }

    fn enter(&mut self, key: &Key, pod: Pod) {
        if !self.namespaces.contains_key(&key.namespace) {
            self.namespaces.insert(key.namespace.clone(), None);
            self.groups.reach_anew(&key.namespace, None);
        }
        self.pods.insert(key.clone(), Known { pod, address: None, chains: [None; 2] });
    }

    fn forget(&mut self, key: &Key) {
        if !self.pods.contains_key(key) {
            return;
        }
        let touched = self.holders.forget(key);
        self.settle_addresses(touched);
        self.stale.remove(key);
        self.pods.remove(key);
        if self.namespaces.get(&key.namespace) == Some(&None) {
            self.namespace(&key.namespace, None);
        }
    }

    /// Has pods be where they are now.
    fn settle_addresses(&mut self, touched: Vec<Ipv4Addr>) {
        for address in touched {
            let after = self.holders.holder(address).cloned();
            let before = self.held.get(&address).cloned();
            if before == after {
                continue;
            }
            if let Some(before) = before {
                self.depart(&before, address);
            }
            match after {
                Some(after) => self.arrive(after, address),
                None => drop(self.held.remove(&address)),
            }
        }
    }

    /// A pod has an address no more.
    fn depart(&mut self, key: &Key, address: Ipv4Addr) {
        for number in self.groups.reaching(&key.namespace) {
            self.groups.leave(number, address);
        }
        let Some(known) = self.pods.get_mut(key) else { return };
        known.address = None;
        let chains = std::mem::take(&mut known.chains);
        let was_led = chains.iter().any(Option::is_some);
        for (direction, chain) in Direction::BOTH.into_iter().zip(chains) {
            let Some(chain) = chain else { continue };
            self.chains.release(chain, |group| self.groups.release(group));
            self.leads[direction as usize].set(address, Lead::Closed);
        }
        if was_led {
            self.closed.insert(address);
            if self.holders.is_released(address) {
                self.closed.remove(&address);
                self.unlead(address);
            }
        }
    }

    /// A pod has an address now.
    fn arrive(&mut self, key: Key, address: Ipv4Addr) {
        if let Some(former) = self.pods.get(&key).and_then(|known| known.address) {
            self.held.remove(&former);
            self.depart(&key, former);
        }
        if let Some(known) = self.pods.get_mut(&key) {
            known.address = Some(address);
        }
        self.held.insert(address, key.clone());
        self.look_at(&key);
        self.stale.insert(key);
    }

    /// Has the groups be right about a pod.
    fn look_at(&mut self, key: &Key) {
        let Some(known) = self.pods.get(key) else { return };
        let Some(address) = known.address else { return };
        let located = Located { namespace: &key.namespace, address, pod: &known.pod };
        let labels = self.namespaces.get(&key.namespace).and_then(Option::as_ref);
        for number in self.groups.reaching(&key.namespace) {
            self.groups.look(number, located, labels);
        }
    }

    /// Has the pods that were touched lead to the chains of their shapes.
    fn settle(&mut self) {
        for key in std::mem::take(&mut self.stale) {
            for direction in Direction::BOTH {
                self.shape(&key, direction);
            }
        }
    }

    fn shape(&mut self, key: &Key, direction: Direction) {
        let Some(known) = self.pods.get(key) else { return };
        let Some(address) = known.address else { return };
        let policies = self.policies.get(&key.namespace).into_iter().flat_map(BTreeMap::values);
        let selecting = policies.filter(|policy| policy.selects(&known.pod.labels));
        let wanted = known.pod.is_here.then(|| shape(&known.pod, selecting, direction)).flatten();
        let Self { chains, groups, namespaces, pods, .. } = self;
        let number = wanted.map(|wanted| {
            let names = || namespaces.iter().map(|(name, labels)| (name, labels.as_ref()));
            let all = |number: u32, groups: &mut Groups| {
                for (namespace, labels) in names() {
                    if groups.reaching(namespace).contains(&number) {
                        located_in(pods, namespace).for_each(|pod| groups.look(number, pod, labels));
                    }
                }
            };
            chains.take(direction, wanted, |group| {
                let (number, is_new) = groups.take(group, names());
                if is_new {
                    all(number, groups);
                }
                number
            })
        });
        let Some(known) = self.pods.get_mut(key) else { return };
        let former = std::mem::replace(&mut known.chains[direction as usize], number);
        if let Some(former) = former {
            self.chains.release(former, |group| self.groups.release(group));
        }
        self.lead(direction, address, number.map(Lead::Chain));
    }

    fn lead(&mut self, direction: Direction, address: Ipv4Addr, lead: Option<Lead>) {
        self.closed.remove(&address);
        match lead {
            Some(lead) => self.leads[direction as usize].set(address, lead),
            None => self.leads[direction as usize].remove(&address),
        }
        self.follow_leads(address);
    }

    fn unlead(&mut self, address: Ipv4Addr) {
        self.leads.iter_mut().for_each(|leads| leads.remove(&address));
        self.follow_leads(address);
    }

    /// A pod of which a chain is asked for reaches itself all the same.
    fn follow_leads(&mut self, address: Ipv4Addr) {
        match self.leads.iter().any(|leads| leads.get(&address).is_some()) {
            true => self.own.set(address, ()),
            false => self.own.remove(&address),
        }
    }
}

fn in_namespace<'p>(
    pods: &'p BTreeMap<Key, Known>,
    namespace: &Arc<str>,
) -> impl Iterator<Item = (&'p Key, &'p Known)> + use<'p> {
    let namespace = namespace.clone();
    let first = Key { namespace: namespace.clone(), name: "".into() };
    pods.range(first..).take_while(move |(key, _)| key.namespace == namespace)
}

/// The pods of a namespace that have an address.
fn located_in<'p>(
    pods: &'p BTreeMap<Key, Known>,
    namespace: &Arc<str>,
) -> impl Iterator<Item = Located<'p>> + use<'p> {
    in_namespace(pods, namespace).filter_map(|(key, known)| {
        Some(Located { namespace: &key.namespace, address: known.address?, pod: &known.pod })
    })
}

fn keys<K: Copy + Eq + std::hash::Hash + Ord>(found: Vec<K>) -> Mirror<K, ()> {
    found.into_iter().map(|key| (key, ())).collect()
}
