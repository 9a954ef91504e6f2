//! Server-side Tables: which columns a kind has, and what stands in them.
//!
//! Start with [`Printer`], which a row carries. The files below hold the columns of built-in kinds, which the kinds'
//! rows refer to; a kind without columns of its own shows name and age. Facts: upstream's `pkg/printers/internalversion/printers.go`.
//! Nothing here reads a clock.

pub(crate) mod autoscaler;
pub(crate) mod basic;
pub(crate) mod binding;
pub(crate) mod claim;
pub mod duration;
pub(crate) mod event;
pub(crate) mod node;
pub(crate) mod pod;
pub(crate) mod policy;
mod read;
pub(crate) mod service;
pub(crate) mod usage;
pub(crate) mod volume;
pub(crate) mod workload;

use std::sync::{Arc, LazyLock};

use api::Object;
use jiff::Timestamp;
use serde_json::Value;

pub(crate) use read::since;

/// The head of a column, as in `meta.k8s.io/v1` `TableColumnDefinition`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head<'a> {
    pub name: &'a str,
    /// `string`, `integer`, `boolean`, `date`.
    pub kind: &'a str,
    /// `name` for the object's name, `quantity` or `duration`, else empty.
    pub format: &'a str,
    pub description: &'a str,
    /// 0 is always shown, 1 only with `-o wide`.
    pub priority: i32,
}

/// Makes Tables of a kind's objects.
pub trait Printer: Send + Sync {
    /// The columns.
    fn heads(&self) -> Vec<Head<'_>>;

    /// The cells of an object's row, as many as there are columns. `now` is what ages are counted to.
    fn cells(&self, object: &Object, now: Timestamp) -> Vec<Value>;

    /// The conditions of an object's row (`TableRowCondition`): that a pod has run to its end.
    fn conditions(&self, _object: &Object) -> Vec<Value> {
        Vec::new()
    }
}

/// A column of a built-in kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Column {
    head: Head<'static>,
    source: Source,
}

/// Field names from the object's top to a value.
pub(crate) type Path = &'static [&'static str];

/// The source of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The kind's own function makes the whole row.
    Code,
    Name,
    Age,
    /// A string or number, and the text for an absent one.
    Text(Path, &'static str),
    /// 0 when absent.
    Number(Path),
    /// The number of entries of a list or map.
    Count(Path),
    /// A boolean, and what an absent one means.
    Flag(Path, bool),
    /// The strings of a list, and the text for an empty one.
    Join(Path, &'static str),
    /// A label selector.
    Selector(Path),
}

impl Column {
    const fn from(mut self, source: Source) -> Self {
        self.source = source;
        self
    }

    const fn with_format(mut self, format: &'static str) -> Self {
        self.head.format = format;
        self
    }

    fn cell(&self, object: &Object, now: Timestamp) -> Value {
        match self.source {
            Source::Code => Value::Null,
            Source::Name => object.name().into(),
            Source::Age => read::age(object, now),
            Source::Text(path, absent) => match object.at(path) {
                Some(Value::Number(number)) => number.to_string().into(),
                _ => read::text_or(object, path, absent),
            },
            Source::Number(path) => read::number(object, path).into(),
            Source::Count(path) => read::count(object, path).into(),
            Source::Flag(path, absent) => object.at(path).and_then(Value::as_bool).unwrap_or(absent).into(),
            Source::Join(path, absent) => {
                read::join(read::items(object, path).iter().filter_map(Value::as_str), absent).into()
            }
            Source::Selector(path) => read::selector_or_none(object.at(path)).into(),
        }
    }
}

/// A built-in kind's columns and the functions that fill them.
#[derive(Clone, Copy)]
pub(crate) struct Columns {
    columns: &'static [Column],
    /// Makes the row; `None` where the columns say where their cells come from.
    cells: Option<fn(&Object, Timestamp) -> Vec<Value>>,
    conditions: fn(&Object) -> Vec<Value>,
}

impl Columns {
    /// The paths that cells are read at.
    pub(crate) fn paths(&self) -> impl Iterator<Item = Path> {
        self.columns.iter().filter_map(|column| match column.source {
            Source::Code | Source::Name | Source::Age => None,
            Source::Text(path, _)
            | Source::Number(path)
            | Source::Count(path)
            | Source::Flag(path, _)
            | Source::Join(path, _)
            | Source::Selector(path) => Some(path),
        })
    }

    /// The same; the conditions of a table's row show that the row's object has ended.
    pub(crate) const fn with_conditions(mut self, conditions: fn(&Object) -> Vec<Value>) -> Self {
        self.conditions = conditions;
        self
    }
}

impl Printer for Columns {
    fn heads(&self) -> Vec<Head<'_>> {
        self.columns.iter().map(|column| column.head).collect()
    }

    fn cells(&self, object: &Object, now: Timestamp) -> Vec<Value> {
        match self.cells {
            Some(cells) => cells(object, now),
            None => self.columns.iter().map(|column| column.cell(object, now)).collect(),
        }
    }

    fn conditions(&self, object: &Object) -> Vec<Value> {
        (self.conditions)(object)
    }
}

const fn column(name: &'static str, kind: &'static str, description: &'static str) -> Column {
    Column { head: Head { name, kind, format: "", description, priority: 0 }, source: Source::Code }
}

const fn wide(name: &'static str, kind: &'static str, description: &'static str) -> Column {
    Column { head: Head { name, kind, format: "", description, priority: 1 }, source: Source::Code }
}

const NAME: Column = Column {
    head: Head {
        name: "Name",
        kind: "string",
        format: "name",
        description: "Name must be unique within a namespace. Is required when creating resources. Cannot be updated.",
        priority: 0,
    },
    source: Source::Name,
};

const AGE: Column = column(
    "Age",
    "string",
    "CreationTimestamp is a timestamp representing the server time when this object was created.",
)
.from(Source::Age);

/// Columns that say where their cells come from.
pub(crate) const fn plain(columns: &'static [Column]) -> Columns {
    Columns { columns, cells: None, conditions: |_| Vec::new() }
}

/// Columns whose cells a function makes.
pub(crate) const fn printed(
    columns: &'static [Column],
    cells: fn(&Object, Timestamp) -> Vec<Value>,
) -> Columns {
    Columns { columns, cells: Some(cells), conditions: |_| Vec::new() }
}

/// Name and age, which any kind has.
pub fn name_and_age() -> Arc<dyn Printer> {
    static SHARED: LazyLock<Arc<dyn Printer>> = LazyLock::new(|| Arc::new(plain(&[NAME, AGE])));
    Arc::clone(&SHARED)
}

/// The printer of `autoscaling/v1` Scales, which no row has.
pub fn scale() -> &'static dyn Printer {
    const SCALE: Columns = plain(basic::SCALE);
    &SCALE
}

#[cfg(test)]
mod tests;
