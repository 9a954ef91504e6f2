//! Field tracking of ordinary writes.

use serde_json::{Map, Value};

use super::compare::changes;
use super::entry::{self, Entry, Operation, timestamp};
use super::{FieldSet, Writer};
use crate::Object;
use crate::schema::{StructId, Types};

/// Brings `new.metadata.managedFields` up to date after an ordinary write (create, update, patch):
/// what the write changed is the writer's now and nobody else's; what it removed is nobody's.
///
/// Managed fields that `new` carries replace the stored ones, unless it carries none, they cannot be
/// read, or the write is to a subresource; an empty list starts afresh. A stored object without
/// managed fields stays without. Costs a comparison of the two objects, and more only when they differ.
pub fn update(types: &Types, id: StructId, old: Option<&Object>, new: &mut Object, writer: &Writer<'_>) {
    let carried = match new.0.get_mut("metadata") {
        Some(Value::Object(metadata)) => metadata.remove("managedFields"),
        _ => None,
    };
    let changes = changes(types, id, old, new);
    let stored = old.and_then(Object::metadata).and_then(|m| m.get("managedFields"));
    let reset = writer.subresource.is_empty() && carried.as_ref().is_some_and(is_reset);
    if changes.is_empty() && !reset && (carried.is_none() || carried.as_ref() == stored) {
        if let Some(stored) = carried.or_else(|| stored.cloned()) {
            new.metadata_mut().insert("managedFields".to_owned(), stored);
        }
        return;
    }
    let mut entries = if reset { Vec::new() } else { current(carried, old, writer) };
    if old.is_some() && entries.is_empty() {
        return;
    }
    for entry in &mut entries {
        if !entry.is_of(writer, Operation::Update) {
            entry.fields.subtract(&changes.taken);
        }
        entry.fields.subtract(&changes.removed);
    }
    take(&mut entries, changes.taken, writer);
    entry::store(new, entries);
}

/// Gives the writer the fields it took.
fn take(entries: &mut Vec<Entry>, taken: FieldSet, writer: &Writer<'_>) {
    if taken.is_empty() {
        return;
    }
    match entries.iter_mut().find(|e| e.is_of(writer, Operation::Update)) {
        Some(entry) => {
            entry.fields.unite(&taken);
            entry.time = Some(timestamp(writer.now));
        }
        None => entries.push(Entry::new(writer, Operation::Update, taken)),
    }
}

/// Writes the wish to start afresh in the form that outlasts the omission of empty lists (`codec::omit_empty`): one empty
/// entry.
pub fn keep_reset(object: &mut Object) {
    if let Some(Value::Object(metadata)) = object.0.get_mut("metadata")
        && let Some(Value::Array(entries)) = metadata.get_mut("managedFields")
        && entries.is_empty()
    {
        entries.push(Value::Object(Map::new()));
    }
}

/// An empty list, or one empty entry: the wish to start afresh.
fn is_reset(carried: &Value) -> bool {
    match carried.as_array().map(Vec::as_slice) {
        Some([]) => true,
        Some([only]) => only.as_object().is_some_and(Map::is_empty),
        _ => false,
    }
}

/// The entries that hold before the write.
fn current(carried: Option<Value>, old: Option<&Object>, writer: &Writer<'_>) -> Vec<Entry> {
    let carried = carried.filter(|_| writer.subresource.is_empty());
    match carried.and_then(entry::decode) {
        Some(entries) if !entries.is_empty() => entries,
        _ => entry::of(old),
    }
}
