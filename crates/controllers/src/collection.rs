//! The kinds whose objects are followed without a type, and the paths of their collections.

use std::collections::HashSet;
use std::sync::Arc;

use resources::{KindTable, Resource, Verb};

/// The URL path of all objects of a kind.
pub(crate) fn collection(row: &Resource) -> String {
    let root = if row.group.is_empty() { "/api" } else { "/apis" };
    format!("{root}/{}/{}", row.group_version(), row.plural)
}

/// Whether a kind is followed: it can be listed, watched and deleted. Events are left out: they own nothing, are owned
/// by nothing, and are many.
pub(crate) fn is_followed(row: &Resource) -> bool {
    [Verb::List, Verb::Watch, Verb::Delete].into_iter().all(|v| row.supports(v)) && &*row.plural != "events"
}

/// The kinds to follow, each in one version.
pub(crate) fn followed(table: &KindTable) -> Vec<Arc<Resource>> {
    let mut seen = HashSet::new();
    table
        .rows()
        .filter(|row| is_followed(row))
        .filter(|row| seen.insert(row.storage_prefix.to_string()))
        .cloned()
        .collect()
}
