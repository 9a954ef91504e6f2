//! [`Object`]: any Kubernetes object, known only by its metadata.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::gvk::GroupVersionKind;
use crate::layout;

/// A JSON object with Kubernetes' type and object metadata. The machinery (patch, apply, pruning,
/// storage) works on this; the logic of a kind works on typed views made by [`Object::typed`].
///
/// Accessors never fail on wrong types: a field of the wrong type reads as absent. Structure is
/// checked once, at decoding.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct Object(pub Map<String, Value>);

/// Its members are written in upstream's order ([`crate::layout`]).
impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        layout::object(serializer, &self.0)
    }
}

impl Object {
    /// An object of the given `apiVersion` and `kind` with nothing else.
    pub fn new(api_version: &str, kind: &str) -> Self {
        let mut map = Map::new();
        map.insert("apiVersion".into(), api_version.into());
        map.insert("kind".into(), kind.into());
        Self(map)
    }

    /// `None` when the value is not a JSON object.
    pub fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Object(map) => Some(Self(map)),
            _ => None,
        }
    }

    pub fn into_value(self) -> Value {
        Value::Object(self.0)
    }

    /// A typed view of a copy of the object.
    ///
    /// # Errors
    /// When a field does not have the type `T` wants.
    pub fn typed<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        T::deserialize(&self.0)
    }

    /// The dynamic form of a typed object.
    ///
    /// # Errors
    /// When `value` does not serialize to a JSON object.
    pub fn from_typed<T: Serialize>(value: &T) -> Result<Self, serde_json::Error> {
        match serde_json::to_value(value)? {
            Value::Object(map) => Ok(Self(map)),
            _ => Err(serde::ser::Error::custom("not a JSON object")),
        }
    }

    pub fn api_version(&self) -> &str {
        self.top_str("apiVersion")
    }

    pub fn kind(&self) -> &str {
        self.top_str("kind")
    }

    pub fn set_type(&mut self, gvk: &GroupVersionKind) {
        self.0.insert("apiVersion".into(), gvk.group_version().to_string().into());
        self.0.insert("kind".into(), gvk.kind.clone().into());
    }

    fn top_str(&self, key: &str) -> &str {
        self.0.get(key).and_then(Value::as_str).unwrap_or("")
    }

    pub fn metadata(&self) -> Option<&Map<String, Value>> {
        self.0.get("metadata").and_then(Value::as_object)
    }

    /// The metadata, created (or replaced, when it is no object) if need be.
    pub fn metadata_mut(&mut self) -> &mut Map<String, Value> {
        object_entry(&mut self.0, "metadata")
    }

    /// A string field of the metadata; empty when absent.
    pub fn meta_str(&self, key: &str) -> &str {
        self.metadata().and_then(|m| m.get(key)).and_then(Value::as_str).unwrap_or("")
    }

    pub fn set_meta_str(&mut self, key: &str, value: impl Into<String>) {
        self.metadata_mut().insert(key.into(), Value::String(value.into()));
    }

    pub fn name(&self) -> &str {
        self.meta_str("name")
    }

    pub fn namespace(&self) -> &str {
        self.meta_str("namespace")
    }

    pub fn uid(&self) -> &str {
        self.meta_str("uid")
    }

    pub fn resource_version(&self) -> &str {
        self.meta_str("resourceVersion")
    }

    pub fn generation(&self) -> i64 {
        self.metadata().and_then(|m| m.get("generation")).and_then(Value::as_i64).unwrap_or(0)
    }

    pub fn deletion_timestamp(&self) -> Option<&str> {
        self.metadata().and_then(|m| m.get("deletionTimestamp")).and_then(Value::as_str)
    }

    pub fn finalizers(&self) -> impl Iterator<Item = &str> {
        self.metadata()
            .and_then(|m| m.get("finalizers"))
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
    }

    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        self.string_map("labels")
    }

    pub fn label(&self, key: &str) -> Option<&str> {
        self.metadata()?.get("labels")?.get(key)?.as_str()
    }

    pub fn annotations(&self) -> impl Iterator<Item = (&str, &str)> {
        self.string_map("annotations")
    }

    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.metadata()?.get("annotations")?.get(key)?.as_str()
    }

    fn string_map(&self, key: &str) -> impl Iterator<Item = (&str, &str)> {
        self.metadata()
            .and_then(|m| m.get(key))
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .filter_map(|(k, v)| v.as_str().map(|v| (k.as_str(), v)))
    }

    /// The value at a path of field names, e.g. `["spec", "nodeName"]`.
    pub fn at<S: AsRef<str>>(&self, path: &[S]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(self.0.get(first.as_ref())?, |value, key| value.get(key.as_ref()))
    }

    /// The string at a path of field names.
    pub fn str_at(&self, path: &[&str]) -> Option<&str> {
        self.at(path)?.as_str()
    }

    /// Sets the value at a path, making (or replacing by) objects on the way.
    ///
    /// # Panics
    /// When `path` is empty.
    pub fn set_at<S: AsRef<str>>(&mut self, path: &[S], value: Value) {
        let (last, parents) = path.split_last().expect("a path has at least one field");
        let mut map = &mut self.0;
        for key in parents {
            map = object_entry(map, key.as_ref());
        }
        map.insert(last.as_ref().to_owned(), value);
    }

    /// Removes and returns the value at a path.
    pub fn remove_at(&mut self, path: &[&str]) -> Option<Value> {
        let (last, parents) = path.split_last()?;
        let mut map = &mut self.0;
        for key in parents {
            map = map.get_mut(*key)?.as_object_mut()?;
        }
        map.remove(*last)
    }
}

/// The object under `key`, made (or put in place of a value of another type) if need be.
pub fn object_entry<'a>(map: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    let slot = map.entry(key).or_insert_with(|| Value::Object(Map::new()));
    if !slot.is_object() {
        *slot = Value::Object(Map::new());
    }
    match slot {
        Value::Object(map) => map,
        _ => unreachable!("the slot was made an object above"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_read_write_and_remove() {
        let mut o = Object::new("v1", "Pod");
        o.set_at(&["spec", "nodeName"], json!("n1"));
        assert_eq!(o.str_at(&["spec", "nodeName"]), Some("n1"));
        assert_eq!(o.remove_at(&["spec", "nodeName"]), Some(json!("n1")));
        assert_eq!(o.at(&["spec", "nodeName"]), None);
        o.set_meta_str("name", "a");
        assert_eq!((o.name(), o.namespace()), ("a", ""));
    }
}
