//! [`Item`]: one object as a cache holds it. [`Cached`]: an item together with its kind.

use std::any::Any;
use std::marker::PhantomData;
use std::ops::{Deref, Range};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Meta;
use crate::Kind;

type Shared = Arc<dyn Any + Send + Sync>;

/// An object: its JSON without managed fields, which no component reads, and its metadata. Never changes.
pub struct Item {
    meta: Meta,
    json: Bytes,
    /// The typed object, for as long as a caller holds a [`Decoded`] of it.
    typed: Mutex<Weak<Shared>>,
    /// The view that [`Item::view`] made.
    view: OnceLock<Shared>,
}

/// A typed object, shared with all who ask for it while this lives.
///
/// What an item refers to is the small allocation of `shared`: a weak reference to the object itself would keep the
/// object's memory.
pub(crate) struct Decoded<K> {
    pub object: Arc<K>,
    _shared: Arc<Shared>,
}

impl<K> Clone for Decoded<K> {
    fn clone(&self) -> Self {
        Self { object: self.object.clone(), _shared: self._shared.clone() }
    }
}

/// A few fields of a kind that are read often, kept beside the bytes. Absent fields are at their defaults.
pub trait View: DeserializeOwned + Default + Send + Sync + 'static {}

impl<V: DeserializeOwned + Default + Send + Sync + 'static> View for V {}

impl Item {
    /// Makes an item from an object's JSON. The bytes are those given where these have no managed fields.
    ///
    /// # Errors
    /// When the bytes are no object.
    pub fn read(json: Bytes) -> Result<Self, serde_json::Error> {
        let (meta, managed_fields) = Meta::read(&json)?;
        let json = managed_fields.map_or(json.clone(), |span| without(&json, span));
        Ok(Self { meta, json, typed: Mutex::default(), view: OnceLock::new() })
    }

    pub fn meta(&self) -> &Meta {
        &self.meta
    }

    /// The object without its managed fields.
    pub fn json(&self) -> &Bytes {
        &self.json
    }

    pub(super) fn share_with(&mut self, other: &Self) {
        self.meta.share_with(&other.meta);
    }

    /// Some fields of the object, read at the first call and kept: all users of a kind ask for the same `V`
    /// (another one is read anew at every call). An object that cannot be decoded yields the default view,
    /// which is logged.
    pub fn view<V: View>(&self) -> Arc<V> {
        let held = self.view.get_or_init(|| Arc::new(self.read_view::<V>()));
        held.clone().downcast::<V>().unwrap_or_else(|_| Arc::new(self.read_view::<V>()))
    }

    fn read_view<V: View>(&self) -> V {
        serde_json::from_slice(&self.json).unwrap_or_else(|error| {
            tracing::error!(key = %self.meta.key, %error, "an object is odd: fields of it read as absent");
            V::default()
        })
    }

    /// The typed object without its managed fields; `None` for one that cannot be read, which is logged.
    pub(crate) fn decode<K: Kind>(&self) -> Option<Decoded<K>> {
        let mut typed = self.typed.lock().unwrap_or_else(PoisonError::into_inner);
        let alive = typed.upgrade().and_then(|shared| {
            let object = Shared::clone(&shared).downcast::<K>().ok()?;
            Some(Decoded { object, _shared: shared })
        });
        if alive.is_some() {
            return alive;
        }
        match K::from_json(&self.json) {
            Ok(object) => {
                let object = Arc::new(object);
                let shared: Arc<Shared> = Arc::new(object.clone());
                *typed = Arc::downgrade(&shared);
                Some(Decoded { object, _shared: shared })
            }
            Err(error) => {
                let kind = K::kind(&());
                tracing::error!(key = %self.meta.key, %kind, %error, "an object is odd and counts as absent");
                None
            }
        }
    }
}

/// A copy of an object in which `null` stands for the managed fields.
fn without(json: &Bytes, managed_fields: Range<usize>) -> Bytes {
    let mut rest = Vec::with_capacity(json.len() - managed_fields.len() + 4);
    rest.extend_from_slice(&json[..managed_fields.start]);
    rest.extend_from_slice(b"null");
    rest.extend_from_slice(&json[managed_fields.end..]);
    rest.into()
}

impl std::fmt::Debug for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Item").field("meta", &self.meta).finish_non_exhaustive()
    }
}

/// A cached object of kind `K`: its [`Meta`] at hand, the typed object on demand. Cheap to clone.
pub struct Cached<K> {
    item: Arc<Item>,
    /// Kept for as long as this handle lives, so that an object is decoded once for all readers of one change.
    typed: OnceLock<Option<Decoded<K>>>,
    kind: PhantomData<fn() -> K>,
}

impl<K: Kind> Cached<K> {
    pub(crate) fn new(item: Arc<Item>) -> Self {
        Self { item, typed: OnceLock::new(), kind: PhantomData }
    }

    /// A typed object as if a cache held it: for tests.
    ///
    /// # Panics
    /// When the object cannot be written as JSON.
    pub fn of(object: &K) -> Self
    where
        K: Serialize,
    {
        let json = serde_json::to_vec(object).expect("API objects can be written as JSON");
        Self::new(Arc::new(Item::read(json.into()).expect("an API object is a JSON object")))
    }

    /// The typed object; see [`Item::decode`].
    pub fn typed(&self) -> Option<&Arc<K>> {
        self.typed.get_or_init(|| self.item.decode()).as_ref().map(|decoded| &decoded.object)
    }

    /// See [`Item::view`].
    pub fn view<V: View>(&self) -> Arc<V> {
        self.item.view()
    }

    pub fn item(&self) -> &Arc<Item> {
        &self.item
    }
}

impl<K> Clone for Cached<K> {
    fn clone(&self) -> Self {
        Self { item: self.item.clone(), typed: self.typed.clone(), kind: PhantomData }
    }
}

impl<K> Deref for Cached<K> {
    type Target = Meta;

    fn deref(&self) -> &Meta {
        &self.item.meta
    }
}

impl<K> std::fmt::Debug for Cached<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.item.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Data {
        data: std::collections::BTreeMap<String, String>,
    }

    fn item(json: &str) -> Item {
        Item::read(Bytes::copy_from_slice(json.as_bytes())).expect("an object")
    }

    #[test]
    fn the_typed_object_is_shared_while_used_and_has_no_managed_fields() {
        let item = item(
            r#"{"metadata":{"name":"a","managedFields":[{"manager":"m","fieldsV1":{"f:data":{}}}],"uid":"u"},"data":{"k":"v"}}"#,
        );
        let first = item.decode::<ConfigMap>().expect("a config map");
        assert_eq!(first.object.metadata.managed_fields, None);
        assert_eq!(first.object.metadata.uid.as_deref(), Some("u"));
        let second = item.decode::<ConfigMap>().expect("a config map");
        assert!(Arc::ptr_eq(&first.object, &second.object));
        let weak = Arc::downgrade(&first.object);
        drop((first, second));
        assert!(weak.upgrade().is_none(), "nobody keeps the typed object");
        assert_eq!(item.view::<Data>().data["k"], "v");
        assert!(Arc::ptr_eq(&item.view::<Data>(), &item.view::<Data>()));
    }

    #[test]
    fn an_odd_object_counts_as_absent() {
        let item = item(r#"{"metadata":{"name":"a"},"data":[1]}"#);
        assert!(item.decode::<ConfigMap>().is_none());
        assert_eq!(*item.view::<Data>(), Data::default());
    }
}
