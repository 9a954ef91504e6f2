//! [`View`]: all groups and versions that are served, by this server and by others, in discovery's order.

use std::sync::Arc;

use api::GroupVersion;
use resources::{KindTable, Priority, by_priority};

use crate::aggregator::Aggregator;
use crate::aggregator::discovered::{Discovered, Version};
use crate::aggregator::registry::Registry;

/// See the module's documentation. One state of what is served.
pub(super) struct View {
    pub table: Arc<KindTable>,
    registry: Arc<Registry>,
    discovered: Arc<Discovered>,
    /// The core group is the first, if it is there.
    pub versions: Vec<GroupVersion>,
}

/// Who serves a group and version.
pub(super) enum Served<'a> {
    Here,
    /// Another server, which has said this of itself; `None` while it has not been asked.
    Elsewhere(Option<&'a Version>),
}

impl View {
    pub fn of(table: Arc<KindTable>, aggregator: Option<&Aggregator>) -> Self {
        let registry = aggregator.map(Aggregator::registry).unwrap_or_default();
        let discovered = aggregator.map(Aggregator::discovered).unwrap_or_default();
        let versions = order(&table, &registry);
        Self { table, registry, discovered, versions }
    }

    /// Whether everything is as it was.
    pub fn is_current(&self, table: &Arc<KindTable>, aggregator: Option<&Aggregator>) -> bool {
        Arc::ptr_eq(&self.table, table)
            && aggregator.is_none_or(|aggregator| {
                Arc::ptr_eq(&self.registry, &aggregator.registry())
                    && Arc::ptr_eq(&self.discovered, &aggregator.discovered())
            })
    }

    pub fn served(&self, gv: &GroupVersion) -> Served<'_> {
        match self.registry.remote(&gv.group, &gv.version) {
            Some(_) => Served::Elsewhere(self.discovered.get(gv)),
            None => Served::Here,
        }
    }
}

fn order(table: &KindTable, registry: &Registry) -> Vec<GroupVersion> {
    let registered = |gv: &GroupVersion| registry.all().iter().find(|registered| registered.gv == *gv);
    let here = table.group_versions().iter().map(|gv| {
        let priority = registered(gv).map_or_else(|| Priority::served(gv), |registered| registered.priority);
        (gv.clone(), priority)
    });
    let mut versions: Vec<_> = here.collect();
    for remote in registry.remotes() {
        if !versions.iter().any(|(gv, _)| *gv == remote.gv) {
            versions.push((remote.gv.clone(), remote.priority));
        }
    }
    by_priority(&mut versions);
    let (core, named): (Vec<_>, Vec<_>) =
        versions.into_iter().map(|(gv, _)| gv).partition(|gv| gv.group.is_empty());
    core.into_iter().chain(named).collect()
}
