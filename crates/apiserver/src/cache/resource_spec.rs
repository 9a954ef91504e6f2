//! [`ResourceSpec`]: what the cache must know of a resource, such as which keys belong to it.

use std::borrow::Cow;

use api::GroupResource;

use super::{Extract, ROOT, Templates};

/// What the cache must know of a resource.
#[derive(Clone)]
pub struct ResourceSpec {
    /// Where it is stored below `/registry/`, as `things` or `example.com/things`; no slash at the ends.
    pub prefix: String,
    /// What the figures of the store's calls name it.
    pub resource: GroupResource,
    pub namespaced: bool,
    /// Selectable fields by the names selectors use, besides `metadata.name` and `metadata.namespace`.
    pub field_names: Vec<Cow<'static, str>>,
    /// Which of these fields clients watch by one value each, by their places.
    pub triggers: Vec<usize>,
    /// Gives the values of those fields in their order, and the labels.
    pub extract: Extract,
    /// What the managed fields of its objects have in common.
    pub templates: Templates,
}

impl ResourceSpec {
    /// The key of an object; without a name, what the keys of the namespace begin with; without both, those
    /// of the resource.
    pub fn key(&self, namespace: &str, name: &str) -> String {
        match (self.namespaced, namespace) {
            (false, _) | (true, "") => format!("{ROOT}{}/{name}", self.prefix),
            (true, namespace) => format!("{ROOT}{}/{namespace}/{name}", self.prefix),
        }
    }

    /// Whether a key is of this resource, and not of one whose prefix begins alike.
    pub(super) fn owns(&self, key: &str) -> bool {
        let rest = key.strip_prefix(ROOT).and_then(|k| k.strip_prefix(self.prefix.as_str()));
        let rest = rest.and_then(|r| r.strip_prefix('/'));
        rest.is_some_and(|r| r.matches('/').count() == usize::from(self.namespaced))
    }

    /// Namespace and name of a key of this resource.
    pub(super) fn split<'k>(&self, key: &'k str) -> (&'k str, &'k str) {
        let rest = key.get(ROOT.len() + self.prefix.len() + 1..).unwrap_or_default();
        if self.namespaced { rest.split_once('/').unwrap_or(("", rest)) } else { ("", rest) }
    }
}

/// A namespaced resource without selectable fields, for tests.
#[cfg(test)]
pub(super) fn things() -> std::sync::Arc<ResourceSpec> {
    std::sync::Arc::new(ResourceSpec {
        prefix: "things".into(),
        resource: GroupResource::new("", "things"),
        namespaced: true,
        field_names: Vec::new(),
        triggers: Vec::new(),
        extract: super::by_paths::<&str>(&[]),
        templates: Templates::default(),
    })
}
