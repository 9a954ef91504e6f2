//! Whatever is asked of an object in a namespace is refused where there is no such namespace. Off by default, as
//! upstream (`plugin/pkg/admission/namespace/exists`): `NamespaceLifecycle` refuses what is new.

use api::{Error, GroupResource, Object};

use super::plugin::{Immediate, Operation, Review};
use crate::cache::lookup::Lookup;

/// The plugin `NamespaceExists`.
pub struct NamespaceExists {
    lookup: Lookup,
}

impl NamespaceExists {
    pub fn new(lookup: Lookup) -> Self {
        Self { lookup }
    }
}

impl Immediate for NamespaceExists {
    fn name(&self) -> &'static str {
        "NamespaceExists"
    }

    fn check(&self, review: &Review<'_>, _: Option<&Object>) -> Result<(), Error> {
        let namespace = &review.attributes.namespace;
        if namespace.is_empty()
            || review.operation == Operation::Connect
            || review.is_about("", "namespaces")
            || self.lookup.entry("", "namespaces", "", namespace).is_some()
        {
            return Ok(());
        }
        Err(Error::not_found(&GroupResource::new("", "namespaces"), namespace))
    }
}
