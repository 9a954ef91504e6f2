//! The kinds whose objects are followed without a type, and the paths of their collections.

use std::collections::HashSet;
use std::sync::Arc;

use resources::{KindTable, Resource, Verb};

/// The URL path of all objects of a kind.
pub(crate) fn collection(row: &Resource) -> String {
    let root = if row.group.is_empty() { "/api" } else { "/apis" };
    format!("{root}/{}/{}", row.group_version(), row.plural)
}

/// The kinds to follow: those that can be listed, watched and deleted, each in one version. Events are
/// left out: they own nothing, are owned by nothing, and are many.
pub(crate) fn followed(table: &KindTable) -> Vec<Arc<Resource>> {
    let mut seen = HashSet::new();
    let able = |row: &Resource| [Verb::List, Verb::Watch, Verb::Delete].into_iter().all(|v| row.supports(v));
    table
        .rows()
        .filter(|row| able(row) && &*row.plural != "events")
        .filter(|row| seen.insert(row.storage_prefix.to_string()))
        .cloned()
        .collect()
}
