//! [`KindTable`]: the rows of all served kinds, found by plural or kind. A
//! [`ResourceSource`] returns the table as it is now, CRDs included; the table of the built-in kinds is `builtin`.
//!
//! Start with [`KindTable::find`]. Nothing here knows what a kind means, nor which kinds exist.

pub(crate) mod order;

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use api::GroupVersion;

use crate::row::Resource;

/// Rows with the indices to find them. Immutable; made anew when a CRD comes or goes.
#[derive(Debug, Default)]
pub struct KindTable {
    rows: Vec<Arc<Resource>>,
    /// (group, version) → plural → row; the same for kinds.
    by_plural: HashMap<GroupVersion, HashMap<Box<str>, usize>>,
    by_kind: HashMap<GroupVersion, HashMap<Box<str>, usize>>,
    group_versions: Vec<GroupVersion>,
}

impl KindTable {
    /// The table of `rows`, in discovery's order. A later row of the same group, version and
    /// plural is left out.
    pub fn new(rows: impl IntoIterator<Item = Arc<Resource>>) -> Self {
        let mut table = Self::default();
        for row in rows {
            let gv = row.group_version();
            let index = table.rows.len();
            if !table.group_versions.contains(&gv) {
                table.group_versions.push(gv.clone());
            }
            let plurals = table.by_plural.entry(gv.clone()).or_default();
            if plurals.contains_key(&*row.plural) {
                continue;
            }
            plurals.insert((*row.plural).into(), index);
            table.by_kind.entry(gv).or_default().entry((*row.kind).into()).or_insert(index);
            table.rows.push(row);
        }
        let order = std::mem::take(&mut table.group_versions);
        table.group_versions = order::in_discovery_order(order);
        table
    }

    /// This table with more rows.
    pub fn with(&self, rows: impl IntoIterator<Item = Arc<Resource>>) -> Self {
        Self::new(self.rows.iter().cloned().chain(rows))
    }

    /// The row of a plural resource name.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.lookup(&self.by_plural, group, version, plural)
    }

    /// The row of a kind.
    pub fn by_kind(&self, group: &str, version: &str, kind: &str) -> Option<&Arc<Resource>> {
        self.lookup(&self.by_kind, group, version, kind)
    }

    fn lookup(
        &self,
        index: &HashMap<GroupVersion, HashMap<Box<str>, usize>>,
        group: &str,
        version: &str,
        name: &str,
    ) -> Option<&Arc<Resource>> {
        let names = index.get(&GroupVersion::new(group, version))?;
        names.get(name).map(|&i| &self.rows[i])
    }

    /// All rows: by group and version as discovery orders them where built in, then as added.
    pub fn rows(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.rows.iter()
    }

    /// The rows of one group and version, by plural.
    pub fn rows_of(&self, gv: &GroupVersion) -> Vec<&Arc<Resource>> {
        let mut rows: Vec<_> =
            self.by_plural.get(gv).into_iter().flat_map(|m| m.values()).map(|&i| &self.rows[i]).collect();
        rows.sort_by(|a, b| a.plural.cmp(&b.plural));
        rows
    }

    /// All groups and versions in discovery's order: a group's versions are adjacent, its
    /// preferred one first; the core group is the first of all.
    pub fn group_versions(&self) -> &[GroupVersion] {
        &self.group_versions
    }

    /// The version of a group that clients should take when they have no wish.
    pub fn preferred_version(&self, group: &str) -> Option<&str> {
        self.group_versions.iter().find(|gv| gv.group == group).map(|gv| gv.version.as_str())
    }
}

/// Gives the table as it is now.
pub trait ResourceSource: Send + Sync {
    /// A snapshot: a request uses one from its start to its end.
    fn table(&self) -> Arc<KindTable>;

    /// Waits until [`ResourceSource::table`] shows every definition that was acknowledged before this call. Ready at
    /// once where all kinds are built in.
    fn settled(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::ready(()))
    }

    /// The groups and versions of which other servers do not say what they serve, though they are registered.
    fn undiscovered(&self) -> Vec<GroupVersion> {
        Vec::new()
    }

    /// Has `told` called after each change of the table, as long as the source lives.
    fn on_change(&self, _told: Box<dyn Fn() + Send + Sync>) {}
}

#[cfg(test)]
mod tests;
