//! The fields that a write changes, and the fields that a configuration names, as sets of field paths.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::element;
use super::set::{FieldSet, Node, put};
use crate::Object;
use crate::schema::{List, Shape, StructId, Types};

/// The fields a write added or modified, and those it removed.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub taken: FieldSet,
    pub removed: FieldSet,
}

impl Changes {
    pub fn is_empty(&self) -> bool {
        self.taken.is_empty() && self.removed.is_empty()
    }
}

/// How a value's parts are owned.
pub(super) enum Parts<'t> {
    /// As a whole.
    None,
    /// Field by field, by the structure.
    Struct(StructId),
    /// Entry by entry, all of one shape.
    Map(&'t Shape),
    /// Item by item.
    List(&'t List),
    /// Entry by entry, without a schema (lists as a whole).
    Deduced,
}

/// How values of a shape are owned; `None` stands for a field no schema names.
pub(super) fn parts<'t>(types: &Types, shape: Option<&'t Shape>) -> Parts<'t> {
    match shape {
        None => Parts::Deduced,
        Some(Shape::Struct(id)) if !types.get(*id).atomic => Parts::Struct(*id),
        Some(Shape::Map(of)) if !of.atomic => Parts::Map(&of.value),
        Some(Shape::List(list)) if list.topology != crate::schema::Topology::Atomic => Parts::List(list),
        Some(_) => Parts::None,
    }
}

/// Whether the field is there in every object, empty or not, so that nobody sets it by itself.
fn always_there(types: &Types, owner: StructId, name: &str) -> bool {
    matches!(name, "metadata" | "spec" | "status") || types.get(owner).field(name).is_some_and(|f| f.required)
}

/// The top-level fields that can be owned.
fn owned_fields(object: &Object) -> impl Iterator<Item = (&String, &Value)> {
    object.0.iter().filter(|(key, _)| *key != "apiVersion" && *key != "kind")
}

/// The fields that differ between `old` and `new`, except fields without an owner.
pub(super) fn changes(types: &Types, id: StructId, old: Option<&Object>, new: &Object) -> Changes {
    let compare = Compare { types };
    let mut delta = Delta::default();
    let nothing = Map::new();
    let old = old.map_or(&nothing, |o| &o.0);
    let owned = |key: &str| key != "apiVersion" && key != "kind";
    compare.entries(old, &new.0, &|key| compare.field(id, key), &owned, &mut delta);
    Changes { taken: FieldSet(delta.taken), removed: FieldSet(delta.removed) }
}

#[derive(Default)]
struct Delta {
    taken: Node,
    taken_itself: bool,
    removed: Node,
    removed_itself: bool,
}

/// What stands at a key: its shape, and who sets it.
struct Slot<'t> {
    shape: Option<&'t Shape>,
    /// See [`always_there`].
    implicit: bool,
    /// The object's own metadata, of which some fields are nobody's.
    object_metadata: bool,
}

struct Compare<'t> {
    types: &'t Types,
}

impl<'t> Compare<'t> {
    fn field(&self, owner: StructId, key: &str) -> Slot<'t> {
        Slot {
            shape: self.types.get(owner).field(key).map(|f| &f.shape),
            implicit: always_there(self.types, owner, key),
            object_metadata: key == "metadata",
        }
    }

    /// Compares two objects key by key.
    fn entries(
        &self,
        old: &Map<String, Value>,
        new: &Map<String, Value>,
        slot: &dyn Fn(&str) -> Slot<'t>,
        owned: &dyn Fn(&str) -> bool,
        delta: &mut Delta,
    ) {
        for (key, value) in new.iter().filter(|(key, value)| owned(key) && !value.is_null()) {
            let before = old.get(key).filter(|v| !v.is_null());
            self.entry(|| element::field(key), &slot(key), before, Some(value), delta);
        }
        for (key, value) in old.iter().filter(|(key, value)| owned(key) && !value.is_null()) {
            if new.get(key).is_none_or(Value::is_null) {
                self.entry(|| element::field(key), &slot(key), Some(value), None, delta);
            }
        }
    }

    /// Compares what stands at one path element; most often that is equal and costs no allocation.
    fn entry(
        &self,
        element: impl Fn() -> String,
        slot: &Slot<'t>,
        old: Option<&Value>,
        new: Option<&Value>,
        delta: &mut Delta,
    ) {
        let mut below = Delta::default();
        self.value(slot, old, new, &mut below);
        if below.removed_itself || !below.removed.is_empty() {
            put(&mut delta.removed, element(), below.removed_itself, below.removed);
        }
        if below.taken_itself || !below.taken.is_empty() {
            let by_itself = !slot.object_metadata && (!slot.implicit || below.taken.is_empty());
            put(&mut delta.taken, element(), below.taken_itself && by_itself, below.taken);
        }
    }

    fn value(&self, slot: &Slot<'t>, old: Option<&Value>, new: Option<&Value>, delta: &mut Delta) {
        let nothing = Map::new();
        let fields = |v: Option<&'_ Value>| v.is_none_or(Value::is_object);
        let items = |v: Option<&'_ Value>| v.is_none_or(Value::is_array);
        match parts(self.types, slot.shape) {
            Parts::Struct(id) if fields(old) && fields(new) => {
                let (old, new) = (object_or(old, &nothing), object_or(new, &nothing));
                let unowned: &[&str] = if slot.object_metadata { &super::UNOWNED_METADATA } else { &[] };
                let slot = |key: &str| Slot { object_metadata: false, ..self.field(id, key) };
                self.entries(old, new, &slot, &|key| !unowned.contains(&key), delta);
            }
            Parts::Map(shape) if fields(old) && fields(new) => {
                let slot = |_: &str| Slot { shape: Some(shape), implicit: false, object_metadata: false };
                self.entries(object_or(old, &nothing), object_or(new, &nothing), &slot, &|_| true, delta);
            }
            Parts::Deduced if fields(old) && fields(new) => {
                let slot = |_: &str| Slot { shape: None, implicit: false, object_metadata: false };
                self.entries(object_or(old, &nothing), object_or(new, &nothing), &slot, &|_| true, delta);
            }
            Parts::List(list) if items(old) && items(new) && self.items(list, old, new, delta) => {}
            _ => {
                delta.taken_itself = new.is_some() && old != new;
                delta.removed_itself = new.is_none();
                return;
            }
        }
        delta.taken_itself = old.is_none();
        delta.removed_itself = new.is_none();
    }

    /// Compares the items of two lists. `false` when they cannot be told apart.
    fn items(&self, list: &'t List, old: Option<&Value>, new: Option<&Value>, delta: &mut Delta) -> bool {
        if old == new {
            return true;
        }
        let (Some(before), Some(after)) = (keyed(list, old), keyed(list, new)) else { return false };
        let slot = Slot { shape: Some(&list.item), implicit: false, object_metadata: false };
        for (key, item) in &after {
            self.entry(|| key.clone(), &slot, before.get(key).copied(), Some(item), delta);
        }
        for (key, item) in before.iter().filter(|(key, _)| !after.contains_key(*key)) {
            self.entry(|| key.clone(), &slot, Some(item), None, delta);
        }
        true
    }
}

fn object_or<'v>(value: Option<&'v Value>, nothing: &'v Map<String, Value>) -> &'v Map<String, Value> {
    value.and_then(Value::as_object).unwrap_or(nothing)
}

/// The items of a list by their elements; `None` when one has no element.
fn keyed<'v>(list: &List, items: Option<&'v Value>) -> Option<HashMap<String, &'v Value>> {
    let items = items.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    items.iter().map(|item| Some((element::of_item(&list.topology, item)?, item))).collect()
}

/// The fields that an object names, except fields without an owner.
pub(super) fn named_fields(types: &Types, id: StructId, object: &Object) -> FieldSet {
    let mut out = Node::new();
    for (key, value) in owned_fields(object).filter(|(_, v)| !v.is_null()) {
        let shape = types.get(id).field(key).map(|f| &f.shape);
        let mut below = Node::new();
        let whole = name_value(types, shape, value, &mut below);
        let member = match value {
            Value::Object(fields) => whole || fields.is_empty(),
            _ => whole,
        };
        if key == "metadata" {
            for name in super::UNOWNED_METADATA {
                below.remove(&element::field(name));
            }
            put(&mut out, element::field(key), false, below);
        } else {
            put(&mut out, element::field(key), member, below);
        }
    }
    FieldSet(out)
}

/// Notes the parts a value names. Whether the value is owned as a whole.
fn name_value(types: &Types, shape: Option<&Shape>, value: &Value, out: &mut Node) -> bool {
    match (parts(types, shape), value) {
        (Parts::Struct(id), Value::Object(fields)) => {
            for (key, value) in fields.iter().filter(|(_, v)| !v.is_null()) {
                let field = types.get(id).field(key);
                let mut below = Node::new();
                let whole = name_value(types, field.map(|f| &f.shape), value, &mut below);
                let empty = value.as_object().is_some_and(Map::is_empty);
                put(out, element::field(key), whole || empty || field.is_none(), below);
            }
            false
        }
        (Parts::Map(shape), Value::Object(fields)) => {
            name_entries(types, Some(shape), fields, out);
            false
        }
        (Parts::Deduced, Value::Object(fields)) => {
            name_entries(types, None, fields, out);
            false
        }
        (Parts::List(list), Value::Array(items)) => {
            if items.iter().any(|item| element::of_item(&list.topology, item).is_none()) {
                return true;
            }
            for item in items {
                let mut below = Node::new();
                name_value(types, Some(&list.item), item, &mut below);
                if let Some(element) = element::of_item(&list.topology, item) {
                    put(out, element, true, below);
                }
            }
            false
        }
        _ => true,
    }
}

fn name_entries(types: &Types, shape: Option<&Shape>, fields: &Map<String, Value>, out: &mut Node) {
    for (key, value) in fields.iter().filter(|(_, v)| !v.is_null()) {
        let mut below = Node::new();
        name_value(types, shape, value, &mut below);
        put(out, element::field(key), true, below);
    }
}
