//! Entries of `metadata.managedFields`: reading, writing, their order and their number.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::Writer;
use super::set::FieldSet;
use crate::Object;

/// At most so many entries of updates are kept, as upstream; the oldest are united beyond that.
const MAX_UPDATE_ENTRIES: usize = 10;
/// The manager of the united entries.
const ANCIENT: &str = "ancient-changes";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Apply,
    Update,
}

/// The fields that one manager owns.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub manager: String,
    pub operation: Operation,
    pub api_version: String,
    pub subresource: String,
    /// RFC 3339, UTC, whole seconds: sorts as text.
    pub time: Option<String>,
    pub fields: FieldSet,
}

impl Entry {
    pub fn new(writer: &Writer<'_>, operation: Operation, fields: FieldSet) -> Self {
        Self {
            manager: writer.manager.to_owned(),
            operation,
            api_version: writer.api_version.to_owned(),
            subresource: writer.subresource.to_owned(),
            time: Some(timestamp(writer.now)),
            fields,
        }
    }

    /// Whether a write is this entry's. An applier keeps its entry across versions.
    pub fn is_of(&self, writer: &Writer<'_>, operation: Operation) -> bool {
        self.operation == operation
            && self.manager == writer.manager
            && self.subresource == writer.subresource
            && (operation == Operation::Apply || self.api_version == writer.api_version)
    }

    fn decode(value: Value) -> Option<Self> {
        let Value::Object(mut map) = value else { return None };
        let mut text = |key: &str| match map.remove(key) {
            Some(Value::String(text)) => Some(text),
            None | Some(Value::Null) => Some(String::new()),
            Some(_) => None,
        };
        let operation = match text("operation")?.as_str() {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return None,
        };
        let (manager, api_version, subresource) =
            (text("manager")?, text("apiVersion")?, text("subresource")?);
        let time = text("time")?;
        if !matches!(text("fieldsType")?.as_str(), "FieldsV1") {
            return None;
        }
        let fields = match map.remove("fieldsV1") {
            None | Some(Value::Null) => FieldSet::default(),
            Some(fields) => FieldSet::decode(fields)?,
        };
        let time = (!time.is_empty()).then_some(time);
        Some(Self { manager, operation, api_version, subresource, time, fields })
    }

    fn encode(self) -> Value {
        let mut map = Map::new();
        let operation = if self.operation == Operation::Apply { "Apply" } else { "Update" };
        map.insert("apiVersion".into(), self.api_version.into());
        map.insert("fieldsType".into(), "FieldsV1".into());
        map.insert("fieldsV1".into(), self.fields.encode());
        map.insert("manager".into(), self.manager.into());
        map.insert("operation".into(), operation.into());
        if !self.subresource.is_empty() {
            map.insert("subresource".into(), self.subresource.into());
        }
        if let Some(time) = self.time {
            map.insert("time".into(), time.into());
        }
        Value::Object(map)
    }
}

/// Whether two objects differ in nothing but the times of their managed fields, which are then not worth a write
/// (upstream: `apiserver/pkg/endpoints/handlers/fieldmanager/equality.go`).
pub fn differ_in_times_only(new: &Object, old: &Object) -> bool {
    const FIELD: &str = "managedFields";
    fn equal_but<'a>(
        skipped: &str,
        new: Option<&'a Map<String, Value>>,
        old: Option<&'a Map<String, Value>>,
    ) -> bool {
        let members = |map: Option<&'a Map<String, Value>>| {
            map.into_iter().flatten().filter(move |(key, _)| *key != skipped)
        };
        members(new).eq(members(old))
    }
    let entries =
        |object: &'_ Object| -> Option<usize> { Some(object.metadata()?.get(FIELD)?.as_array()?.len()) };
    let entry = |object: &'_ Object, i: usize| object.metadata().and_then(|m| m.get(FIELD)?.get(i).cloned());
    equal_but("metadata", Some(&new.0), Some(&old.0))
        && equal_but(FIELD, new.metadata(), old.metadata())
        && entries(new) == entries(old)
        && (0..entries(new).unwrap_or(0)).all(|i| {
            let (new, old) = (entry(new, i), entry(old, i));
            equal_but(
                "time",
                new.as_ref().and_then(Value::as_object),
                old.as_ref().and_then(Value::as_object),
            )
        })
}

/// RFC 3339, UTC, whole seconds.
pub(super) fn timestamp(now: Timestamp) -> String {
    let whole = Timestamp::from_second(now.as_second()).unwrap_or(now);
    whole.to_string()
}

/// Reads entries; `None` when any is malformed.
pub(super) fn decode(value: Value) -> Option<Vec<Entry>> {
    match value {
        Value::Null => Some(Vec::new()),
        Value::Array(entries) => entries.into_iter().map(Entry::decode).collect(),
        _ => None,
    }
}

/// The entries of a stored object; none when they are malformed.
pub(super) fn of(object: Option<&Object>) -> Vec<Entry> {
    let stored = object.and_then(Object::metadata).and_then(|m| m.get("managedFields"));
    stored.cloned().and_then(decode).unwrap_or_default()
}

/// Writes entries to an object: without empty ones, in upstream's order, few enough.
pub(super) fn store(object: &mut Object, mut entries: Vec<Entry>) {
    entries.retain(|e| !e.fields.is_empty());
    unite_oldest(&mut entries, MAX_UPDATE_ENTRIES);
    sort(&mut entries);
    let metadata = object.metadata_mut();
    if entries.is_empty() {
        metadata.remove("managedFields");
    } else {
        let entries = entries.into_iter().map(Entry::encode).collect();
        metadata.insert("managedFields".to_owned(), Value::Array(entries));
    }
}

fn sort(entries: &mut [Entry]) {
    entries.sort_by(|a, b| {
        let key = |e: &Entry| (e.operation, e.time.clone().unwrap_or_default());
        let names = |e: &Entry| (e.manager.clone(), e.api_version.clone(), e.subresource.clone());
        key(a).cmp(&key(b)).then_with(|| names(a).cmp(&names(b)))
    });
}

/// Unites the oldest updates of each version while there are too many. The only update of its version keeps its name,
/// because renaming it saves nothing (upstream: `apimachinery/pkg/util/managedfields/internal/capmanagers.go`).
fn unite_oldest(entries: &mut Vec<Entry>, max: usize) {
    let updates = entries.iter().filter(|e| e.operation == Operation::Update).count();
    if updates <= max {
        return;
    }
    sort(entries);
    // What was united before is where the next oldest go.
    entries.sort_by_key(|e| e.manager != ANCIENT);
    let mut surplus = updates - max;
    let mut kept: Vec<Entry> = Vec::with_capacity(entries.len());
    for entry in entries.drain(..) {
        let older = kept
            .iter_mut()
            .find(|k| k.operation == Operation::Update && k.api_version == entry.api_version)
            .filter(|_| surplus > 0 && entry.operation == Operation::Update);
        let Some(older) = older else {
            kept.push(entry);
            continue;
        };
        ANCIENT.clone_into(&mut older.manager);
        older.subresource.clear();
        older.fields.unite(&entry.fields);
        older.time = older.time.take().max(entry.time);
        surplus -= 1;
    }
    *entries = kept;
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry((manager, api_version, hour, fields): (&str, &str, u8, &str)) -> Entry {
        let fields = fields.chars().map(|c| (format!("f:{c}"), json!({}))).collect();
        Entry {
            manager: manager.to_owned(),
            operation: Operation::Update,
            api_version: api_version.to_owned(),
            subresource: String::new(),
            time: Some(format!("2020-01-01T{hour:02}:00:00Z")),
            fields: FieldSet(fields),
        }
    }

    /// The cases of upstream's `capmanagers_test.go`.
    #[test]
    fn the_oldest_updates_of_a_version_are_united_and_one_alone_keeps_its_name() {
        type Row = (&'static str, &'static str, u8, &'static str);
        let cases: [(&[Row], &[Row]); 6] = [
            (
                &[("m1", "v1", 1, "a"), ("m2", "v1", 2, "b"), ("m3", "v1", 3, "c"), ("m4", "v1", 4, "d")],
                &[(ANCIENT, "v1", 2, "ab"), ("m3", "v1", 3, "c"), ("m4", "v1", 4, "d")],
            ),
            (
                &[(ANCIENT, "v1", 2, "ab"), ("m3", "v1", 3, "c"), ("m4", "v1", 4, "d"), ("m5", "v1", 5, "e")],
                &[(ANCIENT, "v1", 3, "abc"), ("m4", "v1", 4, "d"), ("m5", "v1", 5, "e")],
            ),
            (
                &[
                    ("m1", "v1", 1, "a"),
                    ("m2", "v2", 2, "b"),
                    ("m3", "v1", 3, "c"),
                    ("m4", "v1", 4, "d"),
                    ("m5", "v1", 5, "e"),
                ],
                &[("m2", "v2", 2, "b"), (ANCIENT, "v1", 4, "acd"), ("m5", "v1", 5, "e")],
            ),
            (
                &[
                    ("m2", "v2", 2, "b"),
                    (ANCIENT, "v1", 4, "acd"),
                    ("m5", "v1", 5, "e"),
                    ("m6", "v3", 6, "f"),
                    ("m7", "v2", 7, "g"),
                ],
                &[(ANCIENT, "v1", 5, "acde"), ("m6", "v3", 6, "f"), (ANCIENT, "v2", 7, "bg")],
            ),
            (
                &[
                    (ANCIENT, "v1", 5, "acde"),
                    ("m6", "v3", 6, "f"),
                    (ANCIENT, "v2", 7, "bg"),
                    ("m8", "v3", 8, "h"),
                ],
                &[(ANCIENT, "v1", 5, "acde"), (ANCIENT, "v2", 7, "bg"), (ANCIENT, "v3", 8, "fh")],
            ),
            (
                &[
                    (ANCIENT, "v1", 5, "acde"),
                    ("m6", "v3", 6, "f"),
                    (ANCIENT, "v2", 7, "bg"),
                    ("m8", "v4", 8, "h"),
                ],
                &[
                    (ANCIENT, "v1", 5, "acde"),
                    ("m6", "v3", 6, "f"),
                    (ANCIENT, "v2", 7, "bg"),
                    ("m8", "v4", 8, "h"),
                ],
            ),
        ];
        for (before, after) in cases {
            let mut entries: Vec<Entry> = before.iter().copied().map(entry).collect();
            unite_oldest(&mut entries, 3);
            sort(&mut entries);
            assert_eq!(entries, after.iter().copied().map(entry).collect::<Vec<_>>());
            let united = entries.clone();
            unite_oldest(&mut entries, 3);
            sort(&mut entries);
            assert_eq!(entries, united, "uniting twice changes nothing more");
        }
    }
}
