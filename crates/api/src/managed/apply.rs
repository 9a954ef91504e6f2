//! Server-side apply.

use serde_json::{Map, Value, json};

use super::Writer;
use super::compare::{changes, named_fields};
use super::entry::{self, Entry, Operation, timestamp};
use super::last_applied;
use super::merge::{merge, prune};
use super::set::FieldSet;
use crate::schema::{StructId, Types};
use crate::{Error, Object, Reason};

/// Who owned the fields of an object that was not tracked before its first apply.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// Server-side apply: `config` merged into `live`, with fields the manager applied before, no longer
/// applies and nobody else owns removed. The result has its managed fields; defaults and what a
/// strategy resets are the caller's business. Fields this request may not set (status, without the
/// status subresource) must not be in `config`.
///
/// # Errors
/// 409 naming each conflict, unless `force`; 400 when the configuration carries managed fields or is of
/// another version than the request.
pub fn apply(
    types: &Types,
    id: StructId,
    live: Option<&Object>,
    config: Object,
    force: bool,
    writer: &Writer<'_>,
) -> Result<Object, Error> {
    check(&config, writer)?;
    let last_applied = last_applied::text(&config, writer);
    let named = named_fields(types, id, &config);
    let mut entries = entry::of(live);
    if let (Some(live), true) = (live, entries.is_empty()) {
        let before = Writer { manager: BEFORE_FIRST_APPLY, ..*writer };
        entries.push(Entry::new(&before, Operation::Update, changes(types, id, None, live).taken));
    }
    let last = entries.iter().position(|e| e.is_of(writer, Operation::Apply)).map(|i| entries.remove(i));
    let mut result = match live {
        Some(live) => {
            let mut merged = live.clone();
            merge(types, id, &mut merged, config);
            merged
        }
        None => config,
    };
    if let Some(last) = &last {
        let mut managed = named.clone();
        // No configuration comes without metadata, though nothing in it may be owned.
        managed.0.entry("f:metadata").or_insert_with(|| Value::Object(Map::new()));
        entries.iter().for_each(|e| managed.unite(&e.fields));
        prune(types, id, &mut result, &last.fields, &managed);
    }
    let changes = changes(types, id, live, &result);
    if !force && let Err(conflict) = check_conflicts(&entries, &changes.taken) {
        let live = live.ok_or(conflict)?;
        let mut contested = changes.taken.clone();
        contested.subtract(&last_applied::own_fields(types, id, live, writer));
        check_conflicts(&entries, &contested)?;
    }
    for entry in &mut entries {
        entry.fields.subtract(&changes.taken);
        entry.fields.subtract(&changes.removed);
    }
    let time = match last {
        Some(last) if changes.is_empty() && last.fields == named => last.time,
        _ => Some(timestamp(writer.now)),
    };
    entries.push(Entry { time, ..Entry::new(writer, Operation::Apply, named) });
    entry::store(&mut result, entries);
    if let Some(text) = last_applied {
        last_applied::keep(&mut result, text);
    }
    Ok(result)
}

fn check(config: &Object, writer: &Writer<'_>) -> Result<(), Error> {
    let managed = config.metadata().and_then(|m| m.get("managedFields"));
    if managed.is_some_and(|m| !m.is_null()) {
        return Err(Error::bad_request("metadata.managedFields must be nil"));
    }
    if config.api_version() != writer.api_version {
        return Err(Error::bad_request(format!(
            "Incorrect version specified in apply patch. Specified patch version: {}, expected: {}",
            config.api_version(),
            writer.api_version
        )));
    }
    Ok(())
}

/// Refuses when another manager owns what the apply changes.
fn check_conflicts(entries: &[Entry], taken: &FieldSet) -> Result<(), Error> {
    let mut conflicts: Vec<(String, Vec<String>)> = Vec::new();
    for entry in entries {
        let paths = entry.fields.common_paths(taken);
        if !paths.is_empty() {
            conflicts.push((describe(entry), paths));
        }
    }
    conflicts.sort();
    let count: usize = conflicts.iter().map(|(_, paths)| paths.len()).sum();
    let message = match conflicts.as_slice() {
        [] => return Ok(()),
        [(manager, paths)] if count == 1 => {
            format!("Apply failed with 1 conflict: conflict with {manager}: {}", paths.concat())
        }
        many => {
            let mut lines = Vec::new();
            for (manager, paths) in many {
                lines.push(format!("conflicts with {manager}:"));
                lines.extend(paths.iter().map(|path| format!("- {path}")));
            }
            format!("Apply failed with {count} conflicts: {}", lines.join("\n"))
        }
    };
    let causes: Vec<Value> = conflicts
        .iter()
        .flat_map(|(manager, paths)| paths.iter().map(move |path| (manager, path)))
        .map(|(manager, path)| {
            json!({"reason": "FieldManagerConflict", "message": format!("conflict with {manager}"), "field": path})
        })
        .collect();
    Err(Error::new(Reason::Conflict, message).with_detail("causes", causes))
}

/// `"kubectl" with subresource "scale" using apps/v1`
fn describe(entry: &Entry) -> String {
    let mut out = format!("{:?}", entry.manager);
    if !entry.subresource.is_empty() {
        out.push_str(&format!(" with subresource {:?}", entry.subresource));
    }
    if entry.operation == Operation::Update {
        out.push_str(&format!(" using {}", entry.api_version));
    }
    out
}
