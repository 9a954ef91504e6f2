//! [`Kernel`]: the table in the kernel, and the rounds that keep it as the Services want it. Blocks.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::net::Ipv4Addr;

use informer::{Cache, Index, Key};
use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use nft::{Batch, Family};

use super::address::{Endpoint, Front};
use super::health::Health;
use super::notices::Notice;
use super::service_of;
use super::state::{Changes, Conflict, Found, State};
use super::table::Table;
use super::wanted::{Machine, Wanted, health, wanted};
use crate::protocol::Protocol;
use crate::tables::{Line, read_whole};

/// The reason of an event: two Services have one address and port.
const CONFLICT: &str = "AddressConflict";

/// The table, with what the kernel has been told of it.
pub(super) struct Kernel {
    table: Table,
    /// What the names of the tables of all clusters of the machine begin and end with.
    kin: (String, String),
    pub machine: Machine,
    services: Cache<Service>,
    slices_of: Index<EndpointSlice>,
    state: State,
    line: Line,
    /// What health check ports say, and which of it has changed since it was taken.
    health: HashMap<Key, Health>,
    health_changes: HashMap<Key, Option<Health>>,
    notices: Vec<Notice>,
}

impl Kernel {
    pub fn new(
        table: Table,
        kin: (String, String),
        machine: Machine,
        services: Cache<Service>,
        slices: Cache<EndpointSlice>,
    ) -> Self {
        let slices_of = slices.index("service", |slice, found| {
            if let Some(service) = service_of(slice) {
                found(&service.to_string());
            }
        });
        let line = Line::new(&table.name);
        Self {
            table,
            kin,
            machine,
            services,
            slices_of,
            state: State::of(Found::default()),
            line,
            health: HashMap::new(),
            health_changes: HashMap::new(),
            notices: Vec::new(),
        }
    }

    /// The machine has other addresses, or node ports are elsewhere. The table is to be corrected next.
    pub fn move_to(&mut self, node_ports: Vec<Ipv4Net>, addresses: Vec<Ipv4Addr>) {
        self.table.node_ports = node_ports;
        self.machine.addresses = addresses;
    }

    /// Reads what the kernel has and corrects it: elements that are right stay, so that no connection notices. A table
    /// of another shape is replaced.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn correct(&mut self) -> io::Result<()> {
        let corrected = read_whole(|| self.table.read()).map(State::of).and_then(|state| {
            self.state = state;
            let mut batch = Batch::new();
            self.table.prepare(&mut batch);
            self.send_all(batch)
        });
        let Err(error) = corrected else { return Ok(()) };
        tracing::warn!(%error, table = self.table.name, "the table cannot be corrected and is replaced");
        self.state = State::of(Found::default());
        let mut batch = Batch::new();
        // Adding before deleting makes the deletion succeed whether or not the table is there.
        batch.new_table(&self.table.name);
        batch.delete_table(&self.table.name);
        self.table.prepare(&mut batch);
        self.send_all(batch)
    }

    /// Adds all Services to a transaction that makes the table, and sends it.
    fn send_all(&mut self, mut batch: Batch) -> io::Result<()> {
        let services = self.services.scan("the table begins with all Services");
        let mut keys: BTreeSet<Key> = services.iter().map(|service| service.key.clone()).collect();
        keys.extend(self.health.keys().cloned());
        self.plan(keys);
        self.state.sweep();
        let changes = self.state.take_changes();
        self.table.make_ways(&mut batch, &changes.ways);
        self.table.write(&mut batch, &changes);
        self.table.forget_loops(&mut batch, &changes.loops.gone);
        self.line.send(batch)?;
        let (fronts, endpoints) = self.state.len();
        tracing::info!(fronts, endpoints, changed = changes.len(), "the kernel has the Services");
        self.look_for_rivals(&changes)?;
        // What went while nobody looked may have left flows.
        self.forget_flows(&changes)
    }

    /// Looks whether another cluster of the machine has a front that has come: nodes' addresses are shared, and only one
    /// of the tables is asked.
    fn look_for_rivals(&mut self, changes: &Changes) -> io::Result<()> {
        let gone: HashSet<Front> = changes.fronts.gone.iter().map(|(front, _)| *front).collect();
        let mut come = changes
            .fronts
            .come
            .iter()
            .map(|(front, _)| *front)
            .filter(|front| !gone.contains(front))
            .peekable();
        if come.peek().is_none() {
            return Ok(());
        }
        let (first, last) = &self.kin;
        let mut rivals = nft::tables(Family::Ipv4, first)?;
        rivals.retain(|table| table.ends_with(last) && *table != self.table.name);
        for front in come.filter(|_| !rivals.is_empty()) {
            let (Some(table), Some(service)) = (Table::other_with(&rivals, front)?, self.state.owner(front))
            else {
                continue;
            };
            let message = format!(
                "{} is also a Service's of another cluster of this machine (nftables table {table}): one of the two is \
                 not reached",
                front.told()
            );
            self.notices.push(Notice { service: service.clone(), reason: CONFLICT, message });
        }
        Ok(())
    }

    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// Tells the kernel what has changed of these Services.
    ///
    /// # Errors
    /// When the kernel refuses; what it has is unknown then.
    pub fn update(&mut self, services: BTreeSet<Key>) -> io::Result<()> {
        self.plan(services);
        let changes = self.state.take_changes();
        if changes.is_empty() {
            return Ok(());
        }
        if !changes.ways.is_empty() {
            let mut batch = Batch::new();
            self.table.make_ways(&mut batch, &changes.ways);
            self.line.send(batch)?;
        }
        let mut batch = Batch::new();
        self.table.write(&mut batch, &changes);
        self.line.send(batch)?;
        if !changes.loops.gone.is_empty() {
            let mut batch = Batch::new();
            self.table.forget_loops(&mut batch, &changes.loops.gone);
            self.line.send(batch)?;
        }
        self.look_for_rivals(&changes)?;
        if changes.loses_flows {
            self.forget_flows(&changes)?;
        }
        Ok(())
    }

    pub fn line(&self) -> &Line {
        &self.line
    }

    /// Forgets flows of UDP to endpoints that are none any more: a client that sends on would send to nobody, since the
    /// flow never ends. Connections of other protocols end by themselves.
    fn forget_flows(&self, changes: &Changes) -> io::Result<()> {
        let gone: HashSet<Front> = changes.fronts.gone.iter().map(|(front, _)| *front).collect();
        let mut behind: HashMap<Front, Option<HashSet<Endpoint>>> = HashMap::new();
        for flow in nft::udp_flows()?.iter().filter(|flow| flow.answers != flow.to) {
            let front = |address| Front { address, protocol: Protocol::Udp, port: flow.to.port() };
            let answers = Endpoint { address: *flow.answers.ip(), port: flow.answers.port() };
            let mut leads = |front: Front| {
                let endpoints = behind.entry(front).or_insert_with(|| self.state.behind(front)).as_ref();
                endpoints.map(|endpoints| endpoints.contains(&answers))
            };
            let (address, node_port) = (front(*flow.to.ip()), front(Ipv4Addr::UNSPECIFIED));
            // What leads to no Service, and did not, is somebody else's.
            let is_stale = match leads(address).or_else(|| leads(node_port)) {
                Some(leads) => !leads,
                None => gone.contains(&address) || gone.contains(&node_port),
            };
            if is_stale {
                nft::forget(flow)?;
            }
        }
        Ok(())
    }

    fn plan(&mut self, mut services: BTreeSet<Key>) {
        while let Some(service) = services.pop_first() {
            let (wanted, health) = self.look(&service);
            self.note(&service, health);
            // Those that waited for what this Service has given up.
            services.extend(self.state.apply(&service, wanted));
        }
        for Conflict { front, owner, waiting } in self.state.take_conflicts() {
            let message = format!("{} is Service {owner}'s, which keeps it", front.told());
            self.notices.push(Notice { service: waiting, reason: CONFLICT, message });
        }
    }

    /// What health check ports are to say that has changed; it counts as said.
    pub fn take_health(&mut self) -> Vec<(Key, Option<Health>)> {
        self.health_changes.drain().collect()
    }

    fn note(&mut self, service: &Key, health: Option<Health>) {
        let before = match health {
            Some(health) => self.health.insert(service.clone(), health),
            None => self.health.remove(service),
        };
        if before != health {
            self.health_changes.insert(service.clone(), health);
        }
    }

    /// What a Service asks for.
    fn look(&self, key: &Key) -> (Vec<Wanted>, Option<Health>) {
        let Some(service) = self.services.get_key(key) else { return (Vec::new(), None) };
        let slices = self.slices_of.get(&key.to_string());
        let slices: Vec<&EndpointSlice> =
            slices.iter().filter_map(|slice| slice.typed().map(AsRef::as_ref)).collect();
        (wanted(&service, &slices, &self.machine), health(&service, &slices, &self.machine))
    }
}
