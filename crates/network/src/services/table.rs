//! The table: its sets, its chains, and how [`Changes`] become one transaction.
//!
//! The first packet of a connection takes the same few steps however many Services there are:
//!
//! 1. `services` maps its destination to the number of a *way*, and `ways` leads to the way's chain. A node port is found
//!    by the unspecified address, where the destination is one of the machine's own.
//! 2. The way's chain marks the packet where it is to be masqueraded. `pools` maps the destination to the number of a
//!    *pool*, and `endpoints` maps the pool and a place chosen at random to the address and port that the connection is
//!    sent to.
//! 3. On its way out a packet is masqueraded if it is marked, or if it returns to its sender (`loops`).
//!
//! Where clients stay with an endpoint, `handles` maps pool and place to the endpoint's handle, `affinity` remembers the
//! handle by front and client, and `ends` maps the handle to the endpoint, as long as this is one.
//!
//! All of it is data of maps, for which the kernel checks nothing but their lengths; only a new way (a number of endpoints
//! that no Service had before) makes a chain, and with it has the kernel check the chains. From map to map a number goes
//! in the packet's priority, which nobody has looked at yet and which is set back: a way that the program `nft` can show
//! (see `nft`'s `register`). Never here: which elements there are.

use std::io;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use nft::places::{END as ENDPOINT, FRONT, FRONT_BYTES};
use nft::{Attributes, Batch, Comparison, Data, Element, Field, Holds, Hook, Memory, Passing, Register, Set};

use super::address::{Endpoint, Front, Range};
use super::state::{Changes, Found, Pool, Seat};
use super::way::{List, Place, Treatment, Way};
use crate::protocol::Protocol;
use crate::tables::{add, remove, tolerate_absent, word};

const SERVICES: &str = "services";
const WAYS: &str = "ways";
const POOLS: &str = "pools";
const ENDPOINTS: &str = "endpoints";
const HANDLES: &str = "handles";
const ENDS: &str = "ends";
const AFFINITY: &str = "affinity";
const LOOPS: &str = "loops";
const SOURCES: &str = "sources";

const NUMBER: [Field; 1] = [Field::Class];
const SEAT: [Field; 2] = [Field::Class, Field::Number];
/// Clients that are kept with an endpoint; beyond them, a client is sent anywhere.
const AFFINITY_LIMIT: u32 = 1 << 18;

/// The mark of packets to be masqueraded: upstream's, which others know to leave alone.
const MASQUERADE: u32 = 0x4000;
/// Priorities of chains: before connections are tracked, and those of translation (`enum nf_ip_hook_priorities`).
const BEFORE_TRACKING: i32 = -300;
const DESTINATION: i32 = -100;
const SOURCE: i32 = 100;
/// The index of a namespace's loopback interface.
const LOOPBACK: u32 = 1;
const LOOPBACK_NETWORK: (Ipv4Addr, Ipv4Addr) = (Ipv4Addr::new(127, 0, 0, 0), Ipv4Addr::new(255, 0, 0, 0));

/// A key of three or four words begins in the first register, and so do others.
const KEY: Register = Register::at(0);
const SECOND: Register = Register::at(1);
const THIRD: Register = Register::at(2);
const FOURTH: Register = Register::at(3);
/// What a map gives: a number, or an endpoint.
const GIVEN: Register = Register::at(8);
const GIVEN_PORT: Register = Register::at(9);
/// Which handle a client is sent to.
const MEMORY: Memory<'_> = Memory { map: AFFINITY, key: KEY, value: GIVEN };
/// For what is looked at once.
const SCRATCH: Register = Register::at(15);

/// What the table is called, and what it knows of the network.
#[derive(Debug, Clone)]
pub struct Table {
    pub name: String,
    /// All pods of the cluster.
    pub pods: Ipv4Net,
    /// Where node ports are: of the addresses within these ranges, the machine's own.
    pub node_ports: Vec<Ipv4Net>,
}

impl Table {
    /// Makes the table, its sets and its chains; what its sets hold stays. All ways in use are to follow.
    pub fn prepare(&self, batch: &mut Batch) {
        batch.new_table(&self.name);
        let key = |more: Field| [&FRONT[..], &[more]].concat();
        let (pools, clients) = (key(Field::Number), key(Field::Address));
        let remembered = Holds::Remembered { values: &NUMBER, limit: AFFINITY_LIMIT };
        let sets: [(&str, &[Field], Holds<'_>); 9] = [
            (SERVICES, &FRONT, Holds::Values(&NUMBER)),
            (WAYS, &NUMBER, Holds::Verdicts),
            (POOLS, &pools, Holds::Values(&NUMBER)),
            (ENDPOINTS, &SEAT, Holds::Values(&ENDPOINT)),
            (HANDLES, &SEAT, Holds::Values(&NUMBER)),
            (ENDS, &NUMBER, Holds::Values(&ENDPOINT)),
            (AFFINITY, &clients, remembered),
            (LOOPS, &[Field::Address, Field::Address], Holds::Members),
            (SOURCES, &clients, Holds::Ranges),
        ];
        for ((name, key, holds), id) in sets.into_iter().zip(1..) {
            batch.new_set(Set { table: &self.name, name, key, holds }, id);
        }
        self.hook(batch, "guard", Passing::Every, Hook::Prerouting, BEFORE_TRACKING);
        self.hook(batch, "prerouting", Passing::Connections, Hook::Prerouting, DESTINATION);
        self.hook(batch, "output", Passing::Connections, Hook::Output, DESTINATION);
        self.hook(batch, "postrouting", Passing::Connections, Hook::Postrouting, SOURCE);
        // Node ports work on the loopback addresses, for which the kernel has to let these pass on the bridge: only as
        // destinations that are translated back, never on the wire.
        batch.new_rule(&self.name, "guard", |rule| {
            rule.destination_in(LOOPBACK_NETWORK.0, LOOPBACK_NETWORK.1, SCRATCH);
            rule.input(LOOPBACK, Comparison::NotEqual, SCRATCH);
            rule.discard();
        });
        for chain in ["prerouting", "output"] {
            self.enter_way(batch, chain, Place::Address, Ipv4Net::default());
            for range in &self.node_ports {
                self.enter_way(batch, chain, Place::NodePort, *range);
            }
        }
        batch.new_rule(&self.name, "postrouting", |rule| {
            rule.mark_has(MASQUERADE, SCRATCH);
            rule.clear_mark_bits(MASQUERADE, SCRATCH);
            rule.masquerade_from_any_port();
        });
        batch.new_rule(&self.name, "postrouting", |rule| {
            rule.load_source(KEY);
            rule.load_destination(SECOND);
            rule.member(LOOPS, KEY, Comparison::Equal);
            rule.masquerade_from_any_port();
        });
    }

    /// The rule that leads packets for a front within the range to the front's way.
    fn enter_way(&self, batch: &mut Batch, chain: &str, place: Place, range: Ipv4Net) {
        batch.new_rule(&self.name, chain, |rule| {
            if range.prefix_len() > 0 {
                rule.destination_in(range.network(), range.netmask(), SCRATCH);
            }
            front(rule, place);
            rule.map(SERVICES, KEY, GIVEN);
            if place == Place::NodePort {
                rule.destination_is_local(Comparison::Equal, SCRATCH);
            }
            rule.set_priority(GIVEN);
            rule.load_priority(KEY);
            rule.follow(WAYS, KEY);
        });
    }

    fn hook(&self, batch: &mut Batch, chain: &str, passing: Passing, hook: Hook, priority: i32) {
        batch.new_hooked_chain(&self.name, chain, passing, hook, priority);
        batch.delete_rules(&self.name, chain);
    }

    /// Makes the chains of ways, and has the map lead to them. What leads a packet there is to follow in a transaction of
    /// its own: a packet that is in the chains while a transaction is made finds the maps as they are after it, and a
    /// chain that the transaction has made still empty, which would let the packet pass as it came.
    pub fn make_ways(&self, batch: &mut Batch, ways: &[(Way, u32)]) {
        let ways: Vec<(Way, String, [u8; 4])> =
            ways.iter().map(|(way, number)| (*way, way.to_string(), number.to_ne_bytes())).collect();
        for (way, name, _) in &ways {
            batch.new_chain(&self.name, name);
            batch.delete_rules(&self.name, name);
            self.make_way(batch, name, *way);
        }
        let elements = ways.iter().map(|(_, name, key)| Element { key, data: Some(Data::Goto(name)) });
        batch.add_elements(&self.name, WAYS, elements);
    }

    fn make_way(&self, batch: &mut Batch, chain: &str, way: Way) {
        let table = &self.name;
        if way.is_guarded {
            batch.new_rule(table, chain, |rule| {
                client(rule, way.place);
                rule.member(SOURCES, KEY, Comparison::NotEqual);
                rule.discard();
            });
        }
        let from_pods = |rule: &mut Attributes| {
            rule.source(self.pods.network(), self.pods.netmask(), Comparison::Equal);
        };
        let from_here = |rule: &mut Attributes| rule.source_is_local(Comparison::Equal, SCRATCH);
        let all = |_: &mut Attributes| {};
        match way.treatment {
            Treatment::Reject => {
                batch.new_rule(table, chain, |rule| {
                    rule.transport(Protocol::Tcp as u8, SCRATCH);
                    rule.reset();
                });
                batch.new_rule(table, chain, Attributes::reject);
            }
            Treatment::Drop => batch.new_rule(table, chain, Attributes::discard),
            Treatment::Internal { list, count } => {
                batch.new_rule(table, chain, |rule| {
                    rule.source(self.pods.network(), self.pods.netmask(), Comparison::NotEqual);
                    rule.source_is_local(Comparison::NotEqual, SCRATCH);
                    rule.set_mark_bits(MASQUERADE, SCRATCH);
                });
                self.pick(batch, chain, way, (list, count), all);
                // Not translated it would leave the machine, and all of its connection after it; the sender tries again.
                batch.new_rule(table, chain, Attributes::discard);
            }
            Treatment::External { count } => {
                batch.new_rule(table, chain, |rule| rule.set_mark_bits(MASQUERADE, SCRATCH));
                self.pick(batch, chain, way, (List::Cluster, count), all);
                batch.new_rule(table, chain, Attributes::discard);
            }
            Treatment::ExternalLocal { cluster, local } => {
                self.pick(batch, chain, way, (List::Cluster, cluster), from_pods);
                batch.new_rule(table, chain, |rule| {
                    from_here(rule);
                    rule.set_mark_bits(MASQUERADE, SCRATCH);
                });
                self.pick(batch, chain, way, (List::Cluster, cluster), from_here);
                self.pick(batch, chain, way, (List::Local, local), all);
                batch.new_rule(table, chain, Attributes::discard);
            }
        }
    }

    /// The rules that choose an endpoint of a list for packets that pass `when`.
    fn pick(
        &self,
        batch: &mut Batch,
        chain: &str,
        way: Way,
        (list, count): (List, u32),
        when: impl Fn(&mut Attributes),
    ) {
        if count == 0 {
            return;
        }
        let seat = |rule: &mut Attributes| {
            when(rule);
            rule.load_priority(KEY);
            rule.load_random(0, count, SECOND);
        };
        if way.sticky_s > 0 {
            self.follow_memory(batch, chain, way, &when);
            self.enter_pool(batch, chain, way.place, list, &when);
            batch.new_rule(&self.name, chain, |rule| {
                seat(rule);
                rule.map(HANDLES, KEY, GIVEN);
                rule.set_priority(GIVEN);
            });
            // As many clients as there is room for are remembered; others are sent on all the same.
            batch.new_rule(&self.name, chain, |rule| {
                when(rule);
                remember(rule, way);
            });
            self.follow_handle(batch, chain, &when);
        } else {
            self.enter_pool(batch, chain, way.place, list, &when);
        }
        batch.new_rule(&self.name, chain, |rule| {
            seat(rule);
            rule.map(ENDPOINTS, KEY, GIVEN);
            send(rule);
        });
        // A transaction may come between two look-ups of one packet. What was chosen is gone then; the first place is
        // the last that goes.
        self.enter_pool(batch, chain, way.place, list, &when);
        batch.new_rule(&self.name, chain, |rule| {
            when(rule);
            rule.load_priority(KEY);
            rule.load_word([0; 4], SECOND);
            rule.map(ENDPOINTS, KEY, GIVEN);
            send(rule);
        });
    }

    /// The rule after which the packet's priority is the number of the pool that its front leads to.
    fn enter_pool(
        &self,
        batch: &mut Batch,
        chain: &str,
        place: Place,
        list: List,
        when: &impl Fn(&mut Attributes),
    ) {
        batch.new_rule(&self.name, chain, |rule| {
            when(rule);
            front(rule, place);
            rule.load_word(number(list).to_ne_bytes(), FOURTH);
            rule.map(POOLS, KEY, GIVEN);
            rule.set_priority(GIVEN);
        });
    }

    /// The rules that send a client to the endpoint that it is remembered with, or forget an endpoint that is none any
    /// more.
    fn follow_memory(&self, batch: &mut Batch, chain: &str, way: Way, when: &impl Fn(&mut Attributes)) {
        batch.new_rule(&self.name, chain, |rule| {
            when(rule);
            client(rule, way.place);
            rule.map(AFFINITY, KEY, GIVEN);
            rule.set_priority(GIVEN);
        });
        // Of an endpoint that is one, the memory lasts anew.
        batch.new_rule(&self.name, chain, |rule| {
            when(rule);
            rule.load_priority(KEY);
            rule.map(ENDS, KEY, GIVEN);
            remember(rule, way);
        });
        self.follow_handle(batch, chain, when);
        batch.new_rule(&self.name, chain, |rule| {
            when(rule);
            client(rule, way.place);
            rule.load_word([0; 4], GIVEN);
            rule.forget(MEMORY);
        });
    }

    /// The rule that sends a connection to the endpoint whose handle is the packet's priority.
    fn follow_handle(&self, batch: &mut Batch, chain: &str, when: &impl Fn(&mut Attributes)) {
        batch.new_rule(&self.name, chain, |rule| {
            when(rule);
            rule.load_priority(KEY);
            rule.map(ENDS, KEY, GIVEN);
            send(rule);
        });
    }

    /// Has addresses be none any more that endpoints reach themselves by. To follow in a transaction of its own: a packet
    /// that was sent on to the endpoint before it went looks this up last.
    pub fn forget_loops(&self, batch: &mut Batch, gone: &[(Ipv4Addr, ())]) {
        remove(batch, &self.name, LOOPS, gone.iter().map(|(address, ())| loop_bytes(*address)));
    }

    /// Adds and removes elements, all but those of [`Table::forget_loops`]. The ways that they lead to are there.
    pub fn write(&self, batch: &mut Batch, changes: &Changes) {
        let table = &self.name;
        let (gone, come) = (&changes.fronts.gone, &changes.fronts.come);
        remove(batch, table, SERVICES, gone.iter().map(|(front, _)| front.bytes()));
        add(batch, table, SERVICES, come.iter().map(|(front, way)| (front.bytes(), Some(way.to_ne_bytes()))));
        let (gone, come) = (&changes.pools.gone, &changes.pools.come);
        remove(batch, table, POOLS, gone.iter().map(|(front, _)| pool_bytes(*front)));
        add(
            batch,
            table,
            POOLS,
            come.iter().map(|(front, pool)| (pool_bytes(*front), Some(pool.to_ne_bytes()))),
        );
        let (gone, come) = (&changes.seats.gone, &changes.seats.come);
        remove(batch, table, ENDPOINTS, gone.iter().map(|(seat, _)| seat_bytes(*seat)));
        add(batch, table, ENDPOINTS, come.iter().map(|(seat, end)| (seat_bytes(*seat), Some(end.bytes()))));
        let (gone, come) = (&changes.handles.gone, &changes.handles.come);
        remove(batch, table, HANDLES, gone.iter().map(|(seat, _)| seat_bytes(*seat)));
        add(
            batch,
            table,
            HANDLES,
            come.iter().map(|(seat, handle)| (seat_bytes(*seat), Some(handle.to_ne_bytes()))),
        );
        let (gone, come) = (&changes.ends.gone, &changes.ends.come);
        remove(batch, table, ENDS, gone.iter().map(|(handle, _)| handle.to_ne_bytes()));
        add(batch, table, ENDS, come.iter().map(|(handle, end)| (handle.to_ne_bytes(), Some(end.bytes()))));
        let nothing = None::<[u8; 0]>;
        let loops = changes.loops.come.iter().map(|(address, ())| (loop_bytes(*address), nothing));
        add(batch, table, LOOPS, loops);
        let ends = |(one, ()): &((Front, Range), ())| source_bytes(*one);
        let gone: Vec<_> = changes.sources.gone.iter().map(ends).collect();
        batch.delete_ranges(table, SOURCES, gone.iter().map(|(from, to)| (&from[..], &to[..])));
        let come: Vec<_> = changes.sources.come.iter().map(ends).collect();
        batch.add_ranges(table, SOURCES, come.iter().map(|(from, to)| (&from[..], &to[..])));
    }

    /// The table of another cluster of the machine that has a front too: where both lead somewhere, one never does.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn other_with(rivals: &[String], front: Front) -> io::Result<Option<&String>> {
        for rival in rivals {
            if nft::contains(rival, SERVICES, &front.bytes())? {
                return Ok(Some(rival));
            }
        }
        Ok(None)
    }

    /// What the kernel has; nothing where there is no table of this shape.
    ///
    /// # Errors
    /// When the kernel refuses, or the table changed meanwhile.
    pub fn read(&self) -> io::Result<Found> {
        let mut found = Found::default();
        nft::verdicts(&self.name, WAYS, |key, chain| {
            found.ways.extend(word(key).map(|number| (number, chain.to_owned())));
        })
        .or_else(tolerate_absent)?;
        self.elements(SERVICES, |key, value| {
            found.fronts.push((Front::read(key)?, word(value)?));
            Some(())
        })?;
        self.elements(POOLS, |key, value| {
            let list = if word(key.get(FRONT_BYTES..)?)? == 0 { List::Cluster } else { List::Local };
            found.pools.push(((Front::read(key)?, list), word(value)?));
            Some(())
        })?;
        self.elements(ENDPOINTS, |key, value| {
            found.seats.push((read_seat(key)?, Endpoint::read(value)?));
            Some(())
        })?;
        self.elements(HANDLES, |key, value| {
            found.handles.push((read_seat(key)?, word(value)?));
            Some(())
        })?;
        self.elements(ENDS, |key, value| {
            found.ends.push((word(key)?, Endpoint::read(value)?));
            Some(())
        })?;
        self.elements(AFFINITY, |_, value| {
            found.remembered.push(word(value)?);
            Some(())
        })?;
        self.elements(LOOPS, |key, _| {
            found.loops.push(Ipv4Addr::from(*key.first_chunk::<4>()?));
            Some(())
        })?;
        nft::ranges(&self.name, SOURCES, |from, to| {
            let address = |key: &[u8]| Some(Ipv4Addr::from(*key.get(FRONT_BYTES..)?.first_chunk::<4>()?));
            if let (Some(front), Some(first), Some(last)) = (Front::read(from), address(from), address(to)) {
                found.sources.push((front, Range { first, last }));
            }
        })
        .or_else(tolerate_absent)?;
        Ok(found)
    }

    fn elements(&self, set: &str, mut take: impl FnMut(&[u8], &[u8]) -> Option<()>) -> io::Result<()> {
        let mut odd = 0;
        nft::elements(&self.name, set, |key, value| odd += usize::from(take(key, value).is_none()))
            .or_else(tolerate_absent)?;
        if odd > 0 {
            let text = format!("{odd} elements of {set} are of another shape");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok(())
    }
}

/// Loads the front of a packet: three words.
fn front(rule: &mut Attributes, place: Place) {
    match place {
        Place::Address => rule.load_destination(KEY),
        Place::NodePort => rule.load_word(Ipv4Addr::UNSPECIFIED.octets(), KEY),
    }
    rule.load_transport(SECOND);
    rule.load_destination_port(THIRD);
}

/// Loads the front of a packet and its client: four words.
fn client(rule: &mut Attributes, place: Place) {
    front(rule, place);
    rule.load_source(FOURTH);
}

/// Remembers the packet's client at its front with the handle that is the packet's priority.
fn remember(rule: &mut Attributes, way: Way) {
    client(rule, way.place);
    rule.load_priority(GIVEN);
    rule.remember(MEMORY, u64::from(way.sticky_s) * 1000);
}

/// Sends the connection to the endpoint that a map gave; the packet's priority is what it mostly was before.
fn send(rule: &mut Attributes) {
    rule.load_word([0; 4], SCRATCH);
    rule.set_priority(SCRATCH);
    rule.translate_destination(GIVEN, GIVEN_PORT);
}

fn number(list: List) -> u32 {
    match list {
        List::Cluster => 0,
        List::Local => 1,
    }
}

fn pool_bytes((front, list): (Front, List)) -> Vec<u8> {
    [&front.bytes()[..], &number(list).to_ne_bytes()].concat()
}

fn seat_bytes((pool, place): Seat) -> Vec<u8> {
    [pool.to_ne_bytes(), place.to_ne_bytes()].concat()
}

fn read_seat(bytes: &[u8]) -> Option<(Pool, u32)> {
    Some((word(bytes)?, word(bytes.get(4..)?)?))
}

fn loop_bytes(address: Ipv4Addr) -> Vec<u8> {
    [address.octets(), address.octets()].concat()
}

fn source_bytes((front, range): (Front, Range)) -> (Vec<u8>, Vec<u8>) {
    let end = |address: Ipv4Addr| [&front.bytes()[..], &address.octets()].concat();
    (end(range.first), end(range.last))
}
