//! Names typed objects for [`informer::Plan`]s: their [`Target`]s, dynamic forms, references, and whole writes of them.
//!
//! Nothing here decides anything.

use api::Object;
use informer::{Action, Target};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Resource;
use serde::Serialize;

/// An object of kind `K` by its key; its collection when `name` is empty.
pub(crate) fn target<K: Resource<DynamicType = ()>>(namespace: &str, name: &str) -> Target {
    Target::new(&K::group(&()), &K::version(&()), &K::plural(&()), namespace, name)
}

/// The target of a typed object.
pub(crate) fn target_of<K: Resource<DynamicType = ()>>(object: &K) -> Target {
    let meta = object.meta();
    target::<K>(meta.namespace.as_deref().unwrap_or(""), meta.name.as_deref().unwrap_or(""))
}

/// The dynamic form of a typed object.
pub(crate) fn dynamic<K: Serialize>(object: &K) -> Object {
    Object::from_typed(object).expect("typed API objects serialize to JSON objects")
}

/// Replaces an object by a state made from a read one; the write fails if the object has changed since.
pub(crate) fn update<K: Resource<DynamicType = ()> + Serialize>(object: &K) -> Action {
    Action::Update { target: target_of(object), object: dynamic(object) }
}

/// The same for its status alone.
pub(crate) fn update_status<K: Resource<DynamicType = ()> + Serialize>(object: &K) -> Action {
    Action::Update { target: target_of(object).subresource("status"), object: dynamic(object) }
}

/// The reference by which `owner` controls what it makes.
pub(crate) fn controller_reference<K: Resource<DynamicType = ()>>(owner: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: owner.meta().name.clone().unwrap_or_default(),
        uid: owner.meta().uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}
