//! [`Kernel`]: the table in the kernel, and the rounds that keep it as the Services want it. Blocks.

use std::collections::BTreeSet;
use std::io;

use informer::{Cache, Index, Key};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use nft::Batch;

use super::service_of;
use super::state::{Changes, Found, State};
use super::table::Table;
use super::wanted::{Machine, Wanted, wanted};

/// How often a table is read again that others change at the same time.
const READINGS: usize = 5;

/// The table, with what the kernel has been told of it.
pub(super) struct Kernel {
    table: Table,
    pub machine: Machine,
    services: Cache<Service>,
    slices_of: Index<EndpointSlice>,
    state: State,
}

impl Kernel {
    pub fn new(
        table: Table,
        machine: Machine,
        services: Cache<Service>,
        slices: Cache<EndpointSlice>,
    ) -> Self {
        let slices_of = slices.index("service", |slice, found| {
            if let Some(service) = service_of(slice) {
                found(&service.to_string());
            }
        });
        Self { table, machine, services, slices_of, state: State::of(Found::default()) }
    }

    /// Reads what the kernel has and corrects it: elements that are right stay, so that no connection notices. A table
    /// of another shape is replaced.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn correct(&mut self) -> io::Result<()> {
        let corrected = self.read().and_then(|state| {
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

    fn read(&self) -> io::Result<State> {
        let mut result = self.table.read();
        for _ in 1..READINGS {
            match &result {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => result = self.table.read(),
                _ => break,
            }
        }
        result.map(State::of)
    }

    /// Adds all Services to a transaction that makes the table, and sends it.
    fn send_all(&mut self, mut batch: Batch) -> io::Result<()> {
        let services = self.services.scan("the table begins with all Services");
        let keys: BTreeSet<Key> = services.iter().map(|service| service.key.clone()).collect();
        self.plan(keys);
        self.state.sweep();
        let changes = self.state.take_changes();
        self.table.write(&mut batch, &changes);
        batch.send()?;
        let (fronts, endpoints) = self.state.len();
        tracing::info!(fronts, endpoints, changed = changes.len(), "the kernel has the Services");
        Ok(())
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
        self.send(&changes)
    }

    fn send(&self, changes: &Changes) -> io::Result<()> {
        let mut batch = Batch::new();
        self.table.write(&mut batch, changes);
        batch.send()
    }

    fn plan(&mut self, mut services: BTreeSet<Key>) {
        while let Some(service) = services.pop_first() {
            let wanted = self.wanted(&service);
            // Those that waited for what this Service has given up.
            services.extend(self.state.apply(&service, wanted));
        }
    }

    fn wanted(&self, key: &Key) -> Vec<Wanted> {
        let Some(service) = self.services.get_key(key) else { return Vec::new() };
        let slices = self.slices_of.get(&key.to_string());
        let slices: Vec<&EndpointSlice> =
            slices.iter().filter_map(|slice| slice.typed().map(AsRef::as_ref)).collect();
        wanted(&service, &slices, &self.machine)
    }
}
