//! The facts about types that the machinery needs to decode strictly, prune, merge and track
//! fields: a table of structures with their fields' shapes. The table is data (built-in kinds:
//! generated, in the `resources` crate; CRDs: made at run time); this module only defines and walks
//! it.

#[cfg(test)]
pub(crate) mod sample;

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

/// Index of a structure in its [`Types`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StructId(pub u32);

/// All structures of one API, by index and by name (`io.k8s.api.core.v1.PodSpec`). A set may extend another one,
/// whose structures it then shares: what many APIs have in common (`ObjectMeta`) is held once.
#[derive(Debug, Default)]
pub struct Types {
    /// The set that this one extends. Its structures keep their indices.
    base: Option<Arc<Types>>,
    /// The index of the first structure in `structs`.
    first: u32,
    structs: Vec<Struct>,
    by_name: HashMap<Box<str>, StructId>,
    /// By index from `first` on: whether any field has a default of its own.
    with_defaults: Vec<bool>,
    /// By index from `first` on, as far as any are known: what is written where it is not said.
    zeros: Vec<Zeros>,
}

/// Fields of a structure with the values that are written where an object lacks them.
type Zeros = Box<[(Box<str>, Value)]>;

impl Types {
    /// The table of `structs`; each one's [`StructId`] is its position.
    pub fn new(structs: Vec<Struct>) -> Self {
        Self::from_index(None, 0, structs)
    }

    /// The table of `base` with `structs` added, whose [`StructId`]s follow those of `base`: the first is
    /// [`Types::next_id`] of `base`.
    pub fn extending(base: Arc<Types>, structs: Vec<Struct>) -> Self {
        let first = base.next_id().0;
        Self::from_index(Some(base), first, structs)
    }

    fn from_index(base: Option<Arc<Types>>, first: u32, structs: Vec<Struct>) -> Self {
        let by_name = structs.iter().zip(first..).map(|(s, i)| (s.name.clone(), StructId(i))).collect();
        let with_defaults = structs.iter().map(|s| s.fields.iter().any(|f| f.default.is_some())).collect();
        Self { base, first, structs, by_name, with_defaults, zeros: Vec::new() }
    }

    /// The table that this one extends.
    pub fn base(&self) -> Option<&Arc<Types>> {
        self.base.as_ref()
    }

    /// The index that a structure added to this table gets.
    pub fn next_id(&self) -> StructId {
        let own = u32::try_from(self.structs.len()).expect("a table has fewer than 2^32 structures");
        StructId(self.first + own)
    }

    pub fn find(&self, name: &str) -> Option<StructId> {
        let own = self.by_name.get(name).copied();
        own.or_else(|| self.base.as_ref()?.find(name))
    }

    /// # Panics
    /// When `id` is of another table.
    pub fn get(&self, id: StructId) -> &Struct {
        match id.0.checked_sub(self.first) {
            Some(own) => &self.structs[own as usize],
            None => self.extended().get(id),
        }
    }

    /// Whether any field of the structure itself has a default.
    ///
    /// # Panics
    /// When `id` is of another table.
    pub fn has_defaults(&self, id: StructId) -> bool {
        match id.0.checked_sub(self.first) {
            Some(own) => self.with_defaults[own as usize],
            None => self.extended().has_defaults(id),
        }
    }

    /// The same, with the fields of own structures that are written even where an object lacks them, and their values.
    ///
    /// # Panics
    /// When a structure is not of this table.
    #[must_use]
    pub fn with_zeros(mut self, zeros: impl IntoIterator<Item = (StructId, Vec<(Box<str>, Value)>)>) -> Self {
        self.zeros.resize_with(self.structs.len(), Zeros::default);
        for (id, zeros) in zeros {
            self.zeros[(id.0 - self.first) as usize] = zeros.into_boxed_slice();
        }
        self
    }

    /// The fields of a structure that are written even where an object lacks them, and their values.
    ///
    /// # Panics
    /// When `id` is of another table.
    pub fn zeros(&self, id: StructId) -> &[(Box<str>, Value)] {
        match id.0.checked_sub(self.first) {
            Some(own) => self.zeros.get(own as usize).map_or(&[], |zeros| zeros),
            None => self.extended().zeros(id),
        }
    }

    fn extended(&self) -> &Types {
        self.base.as_deref().expect("the indices of a table that extends none begin with 0")
    }

    /// The structures of this table, those of the table it extends left out.
    pub fn iter(&self) -> impl Iterator<Item = (StructId, &Struct)> {
        (self.first..).map(StructId).zip(&self.structs)
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
    /// Where the field stands in JSON among the structure's other fields; those of one place stand by name.
    pub place: u16,
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

/// A list and how its items are identified.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn structure(name: &str, field: &str, shape: Shape) -> Struct {
        let field = Field {
            name: field.into(),
            shape,
            required: false,
            default: Some(Box::new(1.into())),
            retain_keys: false,
            replace: false,
            place: 0,
        };
        Struct { name: name.into(), fields: [field].into(), atomic: false, preserve_unknown: false }
    }

    #[test]
    fn a_table_that_extends_another_shares_its_structures() {
        let base = Arc::new(Types::new(vec![structure("meta", "name", Shape::String)]));
        let meta = base.find("meta").expect("just added");
        let own = structure("widget", "metadata", Shape::Struct(meta));
        let types = Types::extending(Arc::clone(&base), vec![own]);
        assert_eq!((types.find("meta"), types.find("widget")), (Some(meta), Some(base.next_id())));
        assert_eq!((&*types.get(meta).name, &*types.get(base.next_id()).name), ("meta", "widget"));
        assert!(types.has_defaults(meta) && types.has_defaults(base.next_id()));
        assert_eq!(types.iter().map(|(id, _)| id).collect::<Vec<_>>(), [base.next_id()]);
        assert_eq!(base.find("widget"), None);
    }
}
