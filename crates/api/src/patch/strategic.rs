//! Strategic merge patch: objects merge field by field, lists as the schema says, and directives in
//! the patch (`$patch`, `$retainKeys`, `$setElementOrder/…`, `$deleteFromPrimitiveList/…`) say the rest
//! (`k8s.io/apimachinery/pkg/util/strategicpatch`).

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::order;
use crate::schema::{List, Shape, StructId, Types};
use crate::{Error, Object};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const SET_ORDER: &str = "$setElementOrder/";
const DELETE_ITEMS: &str = "$deleteFromPrimitiveList/";

type Fields = Map<String, Value>;

/// Applies a strategic merge patch to a copy of `original`, of structure `id`.
///
/// # Errors
/// 400 when a directive of the patch is malformed or an item lacks its list's merge key.
pub fn strategic(types: &Types, id: StructId, original: &Object, patch: &Object) -> Result<Object, Error> {
    let mut result = original.0.clone();
    Merge { types }.fields(Some(&Shape::Struct(id)), &mut result, &patch.0)?;
    Ok(Object(result))
}

struct Merge<'t> {
    types: &'t Types,
}

impl Merge<'_> {
    fn fields(&self, shape: Option<&Shape>, original: &mut Fields, patch: &Fields) -> Result<(), Error> {
        match shape {
            Some(Shape::Struct(id)) => {
                let table = self.types.get(*id);
                self.merge(&|name| table.field(name).map(|f| (&f.shape, f.replace)), original, patch)
            }
            Some(Shape::Map(of)) => self.merge(&|_| Some((&of.value, false)), original, patch),
            _ => self.merge(&|_| None, original, patch),
        }
    }

    /// `known` gives a field's shape, and whether the patch replaces it as a whole.
    fn merge<'s>(
        &self,
        known: &dyn Fn(&str) -> Option<(&'s Shape, bool)>,
        original: &mut Fields,
        patch: &Fields,
    ) -> Result<(), Error> {
        match patch.get(DIRECTIVE).map(|d| d.as_str().unwrap_or_default()) {
            None | Some("merge") => {}
            Some("replace") => {
                *original = plain_fields(patch);
                return Ok(());
            }
            Some("delete") => {
                original.clear();
                return Ok(());
            }
            Some(other) => return Err(Error::bad_request(format!("unknown patch type: {other}"))),
        }
        retain_keys(original, patch)?;
        let has_orders = patch.keys().any(|key| key.starts_with(SET_ORDER));
        for (key, value) in patch {
            if let Some(field) = key.strip_prefix(SET_ORDER) {
                self.ordered_list(known(field).map(|(shape, _)| shape), field, original, patch, value)?;
            } else if let Some(field) = key.strip_prefix(DELETE_ITEMS) {
                let gone = value.as_array().ok_or_else(|| bad_list(key))?;
                let gone: HashSet<String> = gone.iter().map(Value::to_string).collect();
                if let Some(Value::Array(items)) = original.get_mut(field) {
                    items.retain(|item| !gone.contains(&item.to_string()));
                }
            } else if key == DIRECTIVE || key == RETAIN_KEYS || (has_orders && is_ordered(patch, key)) {
                // Done above, or together with its order.
            } else if value.is_null() {
                original.remove(key);
            } else if let Some((_, true)) = known(key) {
                original.insert(key.clone(), plain(value));
            } else {
                self.field(known(key).map(|(shape, _)| shape), key, original, value)?;
            }
        }
        Ok(())
    }

    fn field(
        &self,
        shape: Option<&Shape>,
        key: &str,
        original: &mut Fields,
        patch: &Value,
    ) -> Result<(), Error> {
        match (original.get_mut(key), patch) {
            (Some(Value::Object(original)), Value::Object(patch)) => self.fields(shape, original, patch),
            (Some(Value::Array(items)), Value::Array(patch)) => match shape {
                Some(Shape::List(list)) if list.merge => self.unordered_list(list, items, patch),
                _ => {
                    *items = plain_items(patch);
                    Ok(())
                }
            },
            _ => {
                original.insert(key.to_owned(), plain(patch));
                Ok(())
            }
        }
    }

    fn list(&self, list: &List, items: &mut Vec<Value>, patch: &[Value]) -> Result<(), Error> {
        let of_objects = patch.first().or(items.first()).is_some_and(Value::is_object);
        if !of_objects {
            let mut known: HashSet<String> = items.iter().map(Value::to_string).collect();
            items.extend(patch.iter().filter(|value| known.insert(value.to_string())).cloned());
            return Ok(());
        }
        if patch.iter().any(|p| directive(p) == Some("replace")) {
            let kept = patch.iter().filter(|p| p.get(DIRECTIVE).is_none());
            *items = kept.map(plain).collect();
            return Ok(());
        }
        let key = list.merge_key.as_deref().ok_or_else(|| {
            Error::bad_request("cannot merge lists without merge key for a list of objects")
        })?;
        let (mut deleted, mut merged) = (HashSet::new(), Vec::with_capacity(patch.len()));
        for item in patch {
            let identity = item.get(key).map(Value::to_string).ok_or_else(|| {
                let item = in_go(item);
                Error::bad_request(format!("map: {item} does not contain declared merge key: {key}"))
            })?;
            match directive(item) {
                Some("delete") => drop(deleted.insert(identity)),
                Some("merge") | None => merged.push((identity, item)),
                Some(other) => return Err(Error::bad_request(format!("unknown patch type: {other}"))),
            }
        }
        let identity = |item: &Value| item.get(key).map(Value::to_string);
        if !deleted.is_empty() {
            items.retain(|item| identity(item).is_none_or(|identity| !deleted.contains(&identity)));
        }
        let mut places: HashMap<String, usize> = HashMap::with_capacity(items.len());
        for (at, item) in items.iter().enumerate() {
            if let Some(identity) = identity(item) {
                places.entry(identity).or_insert(at);
            }
        }
        for (identity, item) in merged {
            let found = places.get(&identity).and_then(|at| items.get_mut(*at));
            match (found, item) {
                (Some(Value::Object(original)), Value::Object(item)) => {
                    self.fields(Some(&list.item), original, item)?;
                }
                _ => {
                    places.insert(identity, items.len());
                    items.push(plain(item));
                }
            }
        }
        Ok(())
    }

    /// A list without an order of its own: what the patch names stands in the patch's order, and what is new in the
    /// patch before what it meets of the original, as upstream's `normalizeElementOrder` has it.
    fn unordered_list(&self, list: &List, items: &mut Vec<Value>, patch: &[Value]) -> Result<(), Error> {
        let of_objects = patch.first().or(items.first()).is_some_and(Value::is_object);
        let merge_key = list.merge_key.as_deref().filter(|_| of_objects);
        let live = items.clone();
        self.list(list, items, patch)?;
        let asked: Vec<Value> = patch.iter().filter(|item| directive(item).is_none()).cloned().collect();
        *items = order::arrange(std::mem::take(items), &asked, &live, merge_key);
        Ok(())
    }

    /// A list with its `$setElementOrder`.
    fn ordered_list(
        &self,
        shape: Option<&Shape>,
        field: &str,
        original: &mut Fields,
        patch: &Fields,
        asked: &Value,
    ) -> Result<(), Error> {
        let asked = asked.as_array().ok_or_else(|| bad_list(SET_ORDER))?;
        let list = match shape {
            Some(Shape::List(list)) if list.merge => Some(list),
            _ => None,
        };
        let of_objects = asked.first().is_some_and(Value::is_object);
        let merge_key = list.and_then(|l| l.merge_key.as_deref()).filter(|_| of_objects);
        let patch_items = match patch.get(field) {
            Some(Value::Array(items)) => Some(items),
            None => None,
            Some(Value::Null) => {
                original.remove(field);
                return Ok(());
            }
            Some(_) => return Err(bad_list(field)),
        };
        if let Some(items) = patch_items {
            order::check(items, asked, merge_key)?;
        }
        let live = match original.get(field) {
            Some(Value::Array(items)) => items.clone(),
            _ => Vec::new(),
        };
        if live.is_empty() && patch_items.is_none() {
            return Ok(());
        }
        let mut merged = live.clone();
        match (patch_items, list) {
            (Some(items), Some(list)) => self.list(list, &mut merged, items)?,
            (Some(items), None) => merged = plain_items(items),
            (None, _) => {}
        }
        let arranged = order::arrange(merged, asked, &live, merge_key);
        original.insert(field.to_owned(), Value::Array(arranged));
        Ok(())
    }
}

fn bad_list(what: &str) -> Error {
    Error::bad_request(format!("invalid patch format of {what}: expected a list"))
}

/// A value as Go prints it.
fn in_go(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(in_go).collect::<Vec<_>>().join(" ")),
        Value::Object(fields) => {
            let mut pairs: Vec<String> =
                fields.iter().map(|(key, value)| format!("{key}:{}", in_go(value))).collect();
            pairs.sort_unstable();
            format!("map[{}]", pairs.join(" "))
        }
        simple => simple.to_string(),
    }
}

fn directive(item: &Value) -> Option<&str> {
    item.get(DIRECTIVE).map(|d| d.as_str().unwrap_or_default())
}

/// Whether a list of the patch comes with an order, and so is merged together with that.
fn is_ordered(patch: &Fields, key: &str) -> bool {
    patch.contains_key(&format!("{SET_ORDER}{key}"))
}

/// `$retainKeys`: fields of the original that the list does not name go.
fn retain_keys(original: &mut Fields, patch: &Fields) -> Result<(), Error> {
    let Some(names) = patch.get(RETAIN_KEYS) else { return Ok(()) };
    let names = names.as_array().ok_or_else(|| bad_list(RETAIN_KEYS))?;
    let names: HashSet<&str> = names.iter().filter_map(Value::as_str).collect();
    let named = |key: &str| names.contains(key);
    let stray = patch.iter().any(|(k, v)| !k.starts_with('$') && !v.is_null() && !named(k));
    if stray {
        return Err(Error::bad_request("invalid patch format of retainKeys"));
    }
    original.retain(|key, _| named(key));
    Ok(())
}

/// A patch's value as it stands where the original has none: without nulls and directives.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(plain_fields(fields)),
        Value::Array(items) => Value::Array(plain_items(items)),
        other => other.clone(),
    }
}

fn plain_items(items: &[Value]) -> Vec<Value> {
    items.iter().filter(|i| i.get(DIRECTIVE).is_none() || directive(i) == Some("merge")).map(plain).collect()
}

fn plain_fields(fields: &Fields) -> Fields {
    let is_directive = |key: &str| {
        key == DIRECTIVE || key == RETAIN_KEYS || key.starts_with(SET_ORDER) || key.starts_with(DELETE_ITEMS)
    };
    let kept = fields.iter().filter(|(k, v)| !v.is_null() && !is_directive(k));
    kept.map(|(k, v)| (k.clone(), plain(v))).collect()
}
