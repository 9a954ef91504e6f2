//! Server-side Tables: which columns a kind has, and what stands in them.
//!
//! Start with [`columns`] and [`cells`]. A kind with columns of its own is one entry of [`KINDS`]
//! and one small file; the rest get name and age. Facts: upstream's
//! `pkg/printers/internalversion/printers.go`. Nothing here reads a clock.

pub mod duration;

use api::Object;
use jiff::Timestamp;
use serde_json::Value;

use crate::row::Resource;

/// The head of a column, as in `meta.k8s.io/v1` `TableColumnDefinition`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    pub name: &'static str,
    /// `string`, `integer`, `boolean`, `date`.
    pub kind: &'static str,
    /// `name` for the object's name, else empty.
    pub format: &'static str,
    pub description: &'static str,
    /// 0 is always shown, 1 only with `-o wide`.
    pub priority: i32,
}

/// A kind's columns and the function that fills them.
struct Printer {
    group: &'static str,
    kind: &'static str,
    columns: &'static [Column],
    cells: fn(&Object, Timestamp) -> Vec<Value>,
}

const fn column(name: &'static str, kind: &'static str, description: &'static str) -> Column {
    Column { name, kind, format: "", description, priority: 0 }
}

const fn wide(name: &'static str, kind: &'static str, description: &'static str) -> Column {
    Column { priority: 1, ..column(name, kind, description) }
}

const NAME: Column = Column {
    format: "name",
    ..column(
        "Name",
        "string",
        "Name must be unique within a namespace. Is required when creating resources. Cannot be updated.",
    )
};

const AGE: Column = column(
    "Age",
    "string",
    "CreationTimestamp is a timestamp representing the server time when this object was created.",
);

const GENERIC: Printer = Printer { group: "", kind: "", columns: &[NAME, AGE], cells: generic };

/// All kinds with columns of their own.
const KINDS: &[Printer] = &[];

fn printer(resource: &Resource) -> &'static Printer {
    KINDS.iter().find(|p| p.group == resource.group && p.kind == resource.kind).unwrap_or(&GENERIC)
}

/// The columns of a kind's Table.
pub fn columns(resource: &Resource) -> &'static [Column] {
    printer(resource).columns
}

/// The cells of an object's row, as many as there are columns. `now` is what ages are counted to.
pub fn cells(resource: &Resource, object: &Object, now: Timestamp) -> Vec<Value> {
    (printer(resource).cells)(object, now)
}

fn generic(object: &Object, now: Timestamp) -> Vec<Value> {
    vec![object.name().into(), age(object, now)]
}

/// How long ago the object was created.
fn age(object: &Object, now: Timestamp) -> Value {
    since(object.meta_str("creationTimestamp"), now).into()
}

/// How long ago an RFC 3339 time was; `<unknown>` when it is absent or no time.
fn since(time: &str, now: Timestamp) -> String {
    time.parse::<Timestamp>().map_or_else(|_| "<unknown>".into(), |t| duration::human(now.duration_since(t)))
}
