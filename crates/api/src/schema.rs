//! What the machinery must know about types to decode strictly, prune, merge and track fields:
//! a table of structures with their fields' shapes. The table is data (built-in kinds: generated,
//! in the `resources` crate; CRDs: made at run time); this module only defines and walks it.

#[cfg(test)]
pub(crate) mod sample;

use std::collections::HashMap;

use serde_json::Value;

/// Index of a structure in its [`Types`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StructId(pub u32);

/// All structures of one API, by index and by name (`io.k8s.api.core.v1.PodSpec`).
#[derive(Debug, Default)]
pub struct Types {
    structs: Vec<Struct>,
    by_name: HashMap<Box<str>, StructId>,
    /// By index: whether any field has a default of its own.
    with_defaults: Vec<bool>,
}

impl Types {
    /// The table of `structs`; each one's [`StructId`] is its position.
    pub fn new(structs: Vec<Struct>) -> Self {
        let by_name = structs.iter().zip(0u32..).map(|(s, i)| (s.name.clone(), StructId(i))).collect();
        let with_defaults = structs.iter().map(|s| s.fields.iter().any(|f| f.default.is_some())).collect();
        Self { structs, by_name, with_defaults }
    }

    pub fn find(&self, name: &str) -> Option<StructId> {
        self.by_name.get(name).copied()
    }

    /// # Panics
    /// When `id` is of another table.
    pub fn get(&self, id: StructId) -> &Struct {
        &self.structs[id.0 as usize]
    }

    /// Whether any field of the structure itself has a default.
    ///
    /// # Panics
    /// When `id` is of another table.
    pub fn has_defaults(&self, id: StructId) -> bool {
        self.with_defaults[id.0 as usize]
    }

    pub fn iter(&self) -> impl Iterator<Item = (StructId, &Struct)> {
        (0u32..).map(StructId).zip(&self.structs)
    }
}

/// One structure (an OpenAPI definition with properties).
#[derive(Debug)]
pub struct Struct {
    pub name: Box<str>,
    /// Sorted by name, for binary search.
    pub fields: Box<[Field]>,
    /// `x-kubernetes-map-type: atomic`: owned and replaced as a whole.
    pub atomic: bool,
    /// Fields no schema names are kept (`x-kubernetes-preserve-unknown-fields`).
    pub preserve_unknown: bool,
}

impl Struct {
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.binary_search_by(|f| (*f.name).cmp(name)).ok().map(|i| &self.fields[i])
    }
}

/// A field of a structure.
#[derive(Debug)]
pub struct Field {
    pub name: Box<str>,
    pub shape: Shape,
    pub required: bool,
    /// The value an absent field takes on decoding, where the schema itself says so (CRDs).
    pub default: Option<Box<Value>>,
    /// `patchStrategy: retainKeys` on this field (strategic merge).
    pub retain_keys: bool,
    /// `patchStrategy: replace` on this field: a strategic merge patch holds its whole new value.
    pub replace: bool,
}

/// What values a field, list item or map value may take.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    Bool,
    Int32,
    Int64,
    Float,
    String,
    /// Base64 in a string.
    Bytes,
    IntOrString,
    /// A string or a number, as `resource.Quantity`.
    Quantity,
    /// RFC 3339 with seconds.
    Time,
    /// RFC 3339 with microseconds.
    MicroTime,
    /// A Go duration such as `5m0s`.
    Duration,
    /// Anything (`RawExtension`, `JSON`, `FieldsV1`).
    Any,
    Struct(StructId),
    List(Box<List>),
    Map(Box<MapOf>),
}

/// A list and how its items are told apart.
#[derive(Debug, Clone, PartialEq)]
pub struct List {
    pub item: Shape,
    /// For server-side apply.
    pub topology: Topology,
    /// For strategic merge: `patchStrategy: merge`.
    pub merge: bool,
    /// For strategic merge: `patchMergeKey`.
    pub merge_key: Option<Box<str>>,
}

/// `x-kubernetes-list-type`; absent means atomic.
#[derive(Debug, Clone, PartialEq)]
pub enum Topology {
    Atomic,
    Set,
    /// `x-kubernetes-list-map-keys` with the value an absent key takes, where upstream defaults it
    /// (`protocol: TCP`).
    Map(Box<[(Box<str>, Option<Value>)]>),
}

/// A string-keyed map.
#[derive(Debug, Clone, PartialEq)]
pub struct MapOf {
    pub value: Shape,
    pub atomic: bool,
}
