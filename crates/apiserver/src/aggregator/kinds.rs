//! [`AllKinds`]: the kinds that this server serves and those that others say they serve, for who looks after all of them.

use std::sync::Arc;

use api::GroupVersion;
use arc_swap::ArcSwapOption;
use base::{Supervisor, TaskKind};
use resources::elsewhere::{self, Described};
use resources::{KindTable, Resource, ResourceSource};

use super::Aggregator;
use super::discovered::{self, Discovered};
use super::registry::Registry;

/// See the module's documentation.
pub struct AllKinds {
    own: Arc<dyn ResourceSource>,
    aggregator: Aggregator,
    supervisor: Supervisor,
    current: ArcSwapOption<State>,
}

/// A table and what it was made of.
struct State {
    own: Arc<KindTable>,
    registry: Arc<Registry>,
    discovered: Arc<Discovered>,
    table: Arc<KindTable>,
}

impl AllKinds {
    pub fn new(own: Arc<dyn ResourceSource>, aggregator: Aggregator, supervisor: Supervisor) -> Self {
        Self { own, aggregator, supervisor, current: ArcSwapOption::empty() }
    }
}

impl ResourceSource for AllKinds {
    fn table(&self) -> Arc<KindTable> {
        let (own, registry) = (self.own.table(), self.aggregator.registry());
        if registry.remotes().is_empty() {
            return own;
        }
        let discovered = self.aggregator.discovered();
        if let Some(state) = self.current.load_full()
            && Arc::ptr_eq(&state.own, &own)
            && Arc::ptr_eq(&state.registry, &registry)
            && Arc::ptr_eq(&state.discovered, &discovered)
        {
            return Arc::clone(&state.table);
        }
        let here = own.rows().filter(|row| registry.remote(&row.group, &row.version).is_none()).cloned();
        let there = registry.remotes().iter().flat_map(|registered| rows(&registered.gv, &discovered));
        let table = Arc::new(KindTable::new(here.chain(there)));
        let state = State { own, registry, discovered, table: Arc::clone(&table) };
        self.current.store(Some(Arc::new(state)));
        table
    }

    fn settled(&self) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.own.settled()
    }

    fn undiscovered(&self) -> Vec<GroupVersion> {
        let (registry, discovered) = (self.aggregator.registry(), self.aggregator.discovered());
        let versions = registry.remotes().iter().map(|registered| &registered.gv);
        versions.filter(|gv| discovered.get(gv).is_none_or(|version| version.is_stale)).cloned().collect()
    }

    fn on_change(&self, told: Box<dyn Fn() + Send + Sync>) {
        let told: Arc<dyn Fn() + Send + Sync> = told.into();
        let (mut found, shutdown) = (self.aggregator.discovered.clone(), self.supervisor.shutdown().clone());
        let of_others = Arc::clone(&told);
        self.supervisor.spawn(TaskKind::Background, "kinds-elsewhere", async move {
            loop {
                tokio::select! {
                    changed = found.changed() => match changed {
                        Ok(()) => of_others(),
                        // Nobody discovers any more: the server stops.
                        Err(_) => return,
                    },
                    () = shutdown.started() => return,
                }
            }
        });
        self.own.on_change(Box::new(move || told()));
    }
}

/// The rows of a group and version that another server serves.
fn rows(gv: &GroupVersion, discovered: &Discovered) -> Vec<Arc<Resource>> {
    let resources = discovered.get(gv).map(|version| version.resources.as_slice()).unwrap_or_default();
    resources.iter().filter_map(|resource| elsewhere::row(described(gv, resource))).collect()
}

fn described<'a>(gv: &'a GroupVersion, resource: &'a discovered::Resource) -> Described<'a> {
    Described {
        group: &gv.group,
        version: &gv.version,
        kind: &resource.response_kind.kind,
        plural: &resource.resource,
        singular: &resource.singular_resource,
        namespaced: resource.namespaced(),
        verbs: &resource.verbs,
        has_scale: resource.subresources.iter().any(|part| part.subresource == "scale"),
    }
}
