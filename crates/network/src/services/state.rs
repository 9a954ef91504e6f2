//! [`State`]: what the table's sets are to hold, Service by Service, and what of it the kernel is still to be told.
//!
//! Pure. Start with [`State::apply`]. A change of a Service costs what changed of it: an endpoint that comes takes the
//! next place of its pool, one that goes leaves its place to the last, and the fronts move to the way of the new number.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::Ipv4Addr;

use informer::Key;

use super::address::{Endpoint, Front, Range};
use super::numbers::Numbers;
use super::wanted::Wanted;
use super::way::{List, Way};
use crate::protocol::Protocol;
use crate::tables::{Difference, Mirror};

/// The number of a pool: of a list of the endpoints of one port of a Service.
pub type Pool = u32;
/// A place in a pool.
pub type Seat = (Pool, u32);
/// The number of an endpoint of a pool whose clients stay with it. None is the number of a pool.
pub type Handle = u32;
/// Where handles begin.
pub const FIRST_HANDLE: Handle = 1 << 31;

/// The contents of the sets.
#[derive(Debug)]
pub struct State {
    /// The number of each front's way.
    fronts: Mirror<Front, u32>,
    /// The pools that a front leads to.
    pools: Mirror<(Front, List), Pool>,
    seats: Mirror<Seat, Endpoint>,
    /// Of pools whose clients stay with an endpoint: the handle of each place's endpoint, and where each handle leads to.
    handles: Mirror<Seat, Handle>,
    ends: Mirror<Handle, Endpoint>,
    /// Addresses of endpoints that may reach themselves through a Service.
    loops: Mirror<Ipv4Addr, ()>,
    sources: Mirror<(Front, Range), ()>,
    /// How many places of a pool are taken.
    counts: HashMap<Pool, u32>,
    /// How many ports have an endpoint of this address on this machine.
    here: HashMap<Ipv4Addr, u32>,
    owners: HashMap<Front, Key>,
    /// Services that want a front of another.
    waiting: HashMap<Front, BTreeSet<Key>>,
    services: HashMap<Key, Vec<Wanted>>,
    ways: HashMap<Way, u32>,
    /// Ways whose chains are to be made.
    new_ways: Vec<(Way, u32)>,
    way_numbers: Numbers<String>,
    pool_numbers: Numbers<(Front, List)>,
    next_handle: Handle,
    /// Whether an endpoint or a front of UDP has gone.
    loses_flows: bool,
    conflicts: Vec<Conflict>,
}

/// A front that two Services want.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    pub front: Front,
    pub owner: Key,
    /// Gets it once the owner gives it up.
    pub waiting: Key,
}

/// What the kernel is to be told.
#[derive(Debug, PartialEq, Eq)]
pub struct Changes {
    /// Ways without a chain, and their numbers.
    pub ways: Vec<(Way, u32)>,
    pub fronts: Difference<Front, u32>,
    pub pools: Difference<(Front, List), Pool>,
    pub seats: Difference<Seat, Endpoint>,
    pub handles: Difference<Seat, Handle>,
    pub ends: Difference<Handle, Endpoint>,
    pub loops: Difference<Ipv4Addr, ()>,
    pub sources: Difference<(Front, Range), ()>,
    /// Whether flows of UDP may still lead to an endpoint that has gone.
    pub loses_flows: bool,
}

impl Changes {
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.ways.is_empty()
    }

    /// Elements that come or go.
    pub fn len(&self) -> usize {
        fn both<K, V>(difference: &Difference<K, V>) -> usize {
            difference.gone.len() + difference.come.len()
        }
        both(&self.fronts)
            + both(&self.pools)
            + both(&self.seats)
            + both(&self.handles)
            + both(&self.ends)
            + both(&self.loops)
            + both(&self.sources)
    }
}

/// What the kernel has of the sets.
#[derive(Debug, Default)]
pub struct Found {
    /// The numbers of ways, with their chains' names.
    pub ways: Vec<(u32, String)>,
    pub fronts: Vec<(Front, u32)>,
    pub pools: Vec<((Front, List), Pool)>,
    pub seats: Vec<(Seat, Endpoint)>,
    pub handles: Vec<(Seat, Handle)>,
    pub ends: Vec<(Handle, Endpoint)>,
    /// The handles that clients are remembered with.
    pub remembered: Vec<Handle>,
    pub loops: Vec<Ipv4Addr>,
    pub sources: Vec<(Front, Range)>,
}

impl State {
    /// Begins with what the kernel has. Services are applied next, and then [`State::sweep`] removes what none wants.
    pub fn of(found: Found) -> Self {
        let mut places: BTreeMap<Pool, BTreeSet<u32>> = BTreeMap::new();
        for ((pool, place), _) in &found.seats {
            places.entry(*pool).or_default().insert(*place);
        }
        // Of a pool with gaps, the places before the first gap count; those after it are swept unless they are filled.
        let until_gap = |places: BTreeSet<u32>| {
            let count = places.into_iter().zip(0..).take_while(|(place, expected)| place == expected).count();
            u32::try_from(count).unwrap_or(u32::MAX)
        };
        let handles = found.ends.iter().map(|(handle, _)| *handle).chain(found.remembered);
        let next_handle = handles.max().and_then(|last| last.checked_add(1)).unwrap_or(FIRST_HANDLE);
        Self {
            fronts: found.fronts.into_iter().collect(),
            pool_numbers: Numbers::of(found.pools.iter().copied()),
            pools: found.pools.into_iter().collect(),
            seats: found.seats.into_iter().collect(),
            handles: found.handles.into_iter().collect(),
            ends: found.ends.into_iter().collect(),
            loops: found.loops.into_iter().map(|address| (address, ())).collect(),
            sources: found.sources.into_iter().map(|source| (source, ())).collect(),
            counts: places.into_iter().map(|(pool, places)| (pool, until_gap(places))).collect(),
            here: HashMap::new(),
            owners: HashMap::new(),
            waiting: HashMap::new(),
            services: HashMap::new(),
            ways: HashMap::new(),
            new_ways: Vec::new(),
            way_numbers: Numbers::of(found.ways.into_iter().map(|(number, name)| (name, number))),
            next_handle: next_handle.max(FIRST_HANDLE),
            loses_flows: false,
            conflicts: Vec::new(),
        }
    }

    /// The Service whose front this is.
    pub fn owner(&self, front: Front) -> Option<&Key> {
        self.owners.get(&front)
    }

    /// The conflicts that have come up.
    pub fn take_conflicts(&mut self) -> Vec<Conflict> {
        std::mem::take(&mut self.conflicts)
    }

    /// Has a Service's ports be what is wanted; nothing where the Service is gone. Returns the Services that waited for a
    /// front that is free now: they are to be applied again.
    pub fn apply(&mut self, service: &Key, wanted: Vec<Wanted>) -> Vec<Key> {
        let before = self.services.remove(service).unwrap_or_default();
        if before == wanted && wanted.iter().all(|one| self.owns_all(service, one)) {
            if !wanted.is_empty() {
                self.services.insert(service.clone(), before);
            }
            return Vec::new();
        }
        let free = self.give_up(service, &before, &wanted);
        let mine: Vec<Wanted> = wanted.into_iter().filter(|one| self.own(service, one.pool)).collect();
        self.exchange(service, &before, &mine);
        if !mine.is_empty() {
            self.services.insert(service.clone(), mine);
        }
        free
    }

    /// Gives up the fronts that a Service wants no more, and returns who waited for one.
    fn give_up(&mut self, service: &Key, before: &[Wanted], wanted: &[Wanted]) -> Vec<Key> {
        let kept: HashSet<Front> =
            wanted.iter().flat_map(|one| &one.fronts).map(|(front, _)| *front).collect();
        let mut free = Vec::new();
        for (front, _) in before.iter().flat_map(|one| &one.fronts) {
            if kept.contains(front) {
                continue;
            }
            if self.owners.get(front) == Some(service) {
                self.owners.remove(front);
                self.fronts.remove(front);
                self.loses_flows |= front.protocol == Protocol::Udp;
                self.pools.remove(&(*front, List::Cluster));
                self.pools.remove(&(*front, List::Local));
                free.extend(self.waiting.remove(front).into_iter().flatten());
            } else if let Some(waiting) = self.waiting.get_mut(front) {
                waiting.remove(service);
            }
        }
        free.retain(|other| other != service);
        free
    }

    /// Replaces what the ports of a Service hold.
    fn exchange(&mut self, service: &Key, before: &[Wanted], after: &[Wanted]) {
        for address in after.iter().flat_map(|one| &one.here) {
            *self.here.entry(*address).or_default() += 1;
            self.loops.set(*address, ());
        }
        for address in before.iter().flat_map(|one| &one.here) {
            let count = self.here.entry(*address).or_default();
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.here.remove(address);
                self.loops.remove(address);
            }
        }
        for source in before.iter().flat_map(|one| &one.sources) {
            self.sources.remove(source);
        }
        for one in before.iter().filter(|one| !after.iter().any(|other| other.pool == one.pool)) {
            for list in [List::Cluster, List::Local] {
                self.seat((one.pool, list), &BTreeSet::new(), false);
            }
        }
        for one in after {
            let cluster = self.seat((one.pool, List::Cluster), &one.cluster, one.is_sticky);
            let local = self.seat((one.pool, List::Local), &one.local, one.is_sticky);
            for (front, way) in &one.fronts {
                if self.own(service, *front) {
                    let number = self.way(*way);
                    self.fronts.set(*front, number);
                    self.lead((*front, List::Cluster), cluster);
                    self.lead((*front, List::Local), local);
                }
            }
            for source in &one.sources {
                if self.owners.get(&source.0) == Some(service) {
                    self.sources.set(*source, ());
                }
            }
        }
    }

    fn owns_all(&self, service: &Key, wanted: &Wanted) -> bool {
        wanted.fronts.iter().all(|(front, _)| self.owners.get(front) == Some(service))
    }

    /// Whether the front is the Service's; if it is another's, the Service waits for it.
    fn own(&mut self, service: &Key, front: Front) -> bool {
        let owner = self.owners.entry(front).or_insert_with(|| service.clone());
        if owner == service {
            return true;
        }
        if self.waiting.entry(front).or_default().insert(service.clone()) {
            self.conflicts.push(Conflict { front, owner: owner.clone(), waiting: service.clone() });
        }
        false
    }

    /// The number of a way, whose chain is made if it has none.
    fn way(&mut self, way: Way) -> u32 {
        if let Some(number) = self.ways.get(&way) {
            return *number;
        }
        let number = self.way_numbers.get(way.to_string());
        self.ways.insert(way, number);
        self.new_ways.push((way, number));
        number
    }

    fn lead(&mut self, front: (Front, List), pool: Option<Pool>) {
        match pool {
            Some(pool) => self.pools.set(front, pool),
            None => self.pools.remove(&front),
        }
    }

    /// Has a pool hold these endpoints: who stays keeps the place, as far as there is no gap. Returns the pool's number;
    /// none where it is empty.
    fn seat(&mut self, name: (Front, List), wanted: &BTreeSet<Endpoint>, is_sticky: bool) -> Option<Pool> {
        if wanted.is_empty() && !self.pool_numbers.has(&name) {
            return None;
        }
        let pool = self.pool_numbers.get(name);
        let is_udp = name.0.protocol == Protocol::Udp;
        let count = self.counts.get(&pool).copied().unwrap_or(0);
        let before: Vec<Endpoint> = (0..count).filter_map(|place| self.seats.get(&(pool, place))).collect();
        let mut handles: HashMap<Endpoint, Handle> = HashMap::new();
        for (endpoint, place) in before.iter().zip(0..) {
            if let Some(handle) = self.handles.get(&(pool, place)) {
                handles.insert(*endpoint, handle);
            }
        }
        self.loses_flows |= is_udp && before.iter().any(|endpoint| !wanted.contains(endpoint));
        let after = seated(before, wanted);
        let taken = u32::try_from(after.len()).unwrap_or(u32::MAX);
        for (endpoint, place) in after.into_iter().zip(0..) {
            self.seats.set((pool, place), endpoint);
            if is_sticky {
                let handle = handles.remove(&endpoint).unwrap_or_else(|| self.new_handle());
                self.handles.set((pool, place), handle);
                self.ends.set(handle, endpoint);
            } else {
                self.handles.remove(&(pool, place));
            }
        }
        for place in taken..count {
            self.seats.remove(&(pool, place));
            self.handles.remove(&(pool, place));
        }
        handles.values().for_each(|handle| self.ends.remove(handle));
        if taken == 0 {
            self.counts.remove(&pool);
            self.pool_numbers.release(&name);
            return None;
        }
        self.counts.insert(pool, taken);
        Some(pool)
    }

    /// A handle that no client can be remembered with: each is used once.
    fn new_handle(&mut self) -> Handle {
        let handle = self.next_handle;
        self.next_handle = handle.checked_add(1).unwrap_or(FIRST_HANDLE);
        handle
    }

    /// Removes what no Service wants, after all Services were applied to what the kernel had.
    pub fn sweep(&mut self) {
        // The numbers of ways stay taken: their chains are still there.
        self.pool_numbers.sweep();
        let pools = self.pool_numbers.used();
        self.counts.retain(|pool, _| pools.contains(pool));
        let Self { owners, fronts, counts, services, here, .. } = self;
        fronts.retain(|front| owners.contains_key(front));
        self.pools.retain(|(front, _)| owners.contains_key(front));
        self.seats.retain(|(pool, place)| counts.get(pool).is_some_and(|count| place < count));
        let seats = &self.seats;
        self.handles.retain(|seat| seats.get(seat).is_some());
        let handles: HashSet<Handle> = self.handles.values().collect();
        self.ends.retain(|handle| handles.contains(handle));
        self.loops.retain(|address| here.contains_key(address));
        let sources: HashSet<(Front, Range)> =
            services.values().flatten().flat_map(|one| one.sources.iter().copied()).collect();
        self.sources.retain(|source| sources.contains(source));
    }

    /// What the kernel is to be told; it counts as told.
    pub fn take_changes(&mut self) -> Changes {
        Changes {
            ways: std::mem::take(&mut self.new_ways),
            fronts: self.fronts.take(),
            pools: self.pools.take(),
            seats: self.seats.take(),
            handles: self.handles.take(),
            ends: self.ends.take(),
            loops: self.loops.take(),
            sources: self.sources.take(),
            loses_flows: std::mem::take(&mut self.loses_flows),
        }
    }

    /// The endpoints that new connections to a front may go to, whoever asks; none where nothing is known of the front.
    pub fn behind(&self, front: Front) -> Option<HashSet<Endpoint>> {
        self.fronts.get(&front)?;
        let pools = [List::Cluster, List::Local].map(|list| self.pools.get(&(front, list)));
        let seats = pools.into_iter().flatten().flat_map(|pool| {
            let count = self.counts.get(&pool).copied().unwrap_or(0);
            (0..count).map(move |place| (pool, place))
        });
        Some(seats.filter_map(|seat| self.seats.get(&seat)).collect())
    }

    /// Numbers of fronts and of endpoints.
    pub fn len(&self) -> (usize, usize) {
        (self.fronts.len(), self.seats.len())
    }
}

/// The endpoints of a pool by place: those that come take the places of those that go; if more go, the last endpoints
/// take their places.
fn seated(before: Vec<Endpoint>, wanted: &BTreeSet<Endpoint>) -> Vec<Endpoint> {
    let mut missing = wanted.clone();
    let stays: Vec<bool> = before.iter().map(|endpoint| missing.remove(endpoint)).collect();
    let mut missing = missing.into_iter();
    let mut after: Vec<(Endpoint, bool)> = before.into_iter().zip(stays).collect();
    let mut place = 0;
    while place < after.len() {
        if after[place].1 {
            place += 1;
        } else if let Some(endpoint) = missing.next() {
            after[place] = (endpoint, true);
        } else {
            after.swap_remove(place);
        }
    }
    after.into_iter().map(|(endpoint, _)| endpoint).chain(missing).collect()
}
