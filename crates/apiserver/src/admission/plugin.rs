//! [`Admission`]: one plugin, and the [`Review`] that is its input.

use api::{Error, Object};
use prometheus_client::registry::Registry;
use resources::Resource;
use serde_json::{Map, Value};

use super::rounds::Rounds;
use crate::eventual::Eventual;
use crate::request::Attributes;

/// The operation, with upstream's spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Create,
    Update,
    Delete,
    Connect,
}

impl Operation {
    /// As messages and webhooks have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
}

/// A request as admission sees it.
pub struct Review<'a> {
    pub attributes: &'a Attributes,
    pub resource: &'a Resource,
    pub operation: Operation,
    /// The stored object (update, delete).
    pub old: Option<&'a Object>,
    /// Nothing will be stored: what is done for the request must have no effect either.
    pub dry_run: bool,
    /// What was asked for beside the object; nothing of a connection.
    pub options: Option<&'a dyn RequestOptions>,
    /// What the plugins know of one another.
    pub rounds: Rounds,
}

/// The options of a request, as webhooks and expressions are shown them.
pub trait RequestOptions: Sync {
    /// The fields that were given, as `CreateOptions` and the like have them.
    fn shown(&self) -> Map<String, Value>;
}

impl Review<'_> {
    /// Whether the request is about a resource of this group and plural, or a subresource of one.
    pub(super) fn is_about(&self, group: &str, plural: &str) -> bool {
        self.resource.group == group && self.resource.plural == plural
    }

    /// Whether it is about objects of the resource themselves.
    pub(super) fn is_about_whole(&self, group: &str, plural: &str) -> bool {
        self.is_about(group, plural) && self.attributes.subresource.is_empty()
    }

    /// The name in the request, which a request to create has only in its object: its `generateName` as long
    /// as no name has been made from it.
    pub(super) fn name<'r>(&'r self, object: Option<&'r Object>) -> &'r str {
        let named = self.attributes.name.as_str();
        if !named.is_empty() {
            return named;
        }
        let Some(object) = object.or(self.old) else { return "" };
        if object.name().is_empty() { object.meta_str("generateName") } else { object.name() }
    }

    /// The name in the request, or else in its object: empty as long as none has been made.
    pub(super) fn given_name<'r>(&'r self, object: Option<&'r Object>) -> &'r str {
        let named = self.attributes.name.as_str();
        if named.is_empty() { object.or(self.old).map_or("", Object::name) } else { named }
    }

    /// The refusal of the request.
    pub(super) fn forbid(&self, object: Option<&Object>, why: impl AsRef<str>) -> Error {
        Error::forbidden(&self.resource.group_resource(), self.name(object), why.as_ref())
    }
}

/// One plugin. Those that decide from memory are written as [`Immediate`]; one that asks a webhook returns
/// [`Eventual::Later`].
///
/// Cancellation safe: a request may be given up while a plugin waits.
pub trait Admission: Send + Sync + 'static {
    fn name(&self) -> &'static str;

    /// May change the object. `object` is `None` on delete.
    fn admit<'a>(
        &'a self,
        review: &'a Review<'_>,
        object: Option<&'a mut Object>,
    ) -> Eventual<'a, Result<(), Error>> {
        let _ = (review, object);
        Ok(()).into()
    }

    /// Sees the final object.
    fn validate<'a>(
        &'a self,
        review: &'a Review<'_>,
        object: Option<&'a Object>,
    ) -> Eventual<'a, Result<(), Error>> {
        let _ = (review, object);
        Ok(()).into()
    }

    /// Adds what the plugin counts to the server's metrics.
    fn register(&self, registry: &mut Registry) {
        let _ = registry;
    }
}

/// A plugin that decides from memory (the watch caches) and never waits. Each is an [`Admission`].
pub trait Immediate: Send + Sync + 'static {
    fn name(&self) -> &'static str;

    /// May change the object. `object` is `None` on delete.
    ///
    /// # Errors
    /// The refusal of the request.
    fn change(&self, review: &Review<'_>, object: Option<&mut Object>) -> Result<(), Error> {
        let _ = (review, object);
        Ok(())
    }

    /// Sees the final object.
    ///
    /// # Errors
    /// The refusal of the request.
    fn check(&self, review: &Review<'_>, object: Option<&Object>) -> Result<(), Error> {
        let _ = (review, object);
        Ok(())
    }
}

impl<T: Immediate> Admission for T {
    fn name(&self) -> &'static str {
        Immediate::name(self)
    }

    fn admit<'a>(
        &'a self,
        review: &'a Review<'_>,
        object: Option<&'a mut Object>,
    ) -> Eventual<'a, Result<(), Error>> {
        self.change(review, object).into()
    }

    fn validate<'a>(
        &'a self,
        review: &'a Review<'_>,
        object: Option<&'a Object>,
    ) -> Eventual<'a, Result<(), Error>> {
        self.check(review, object).into()
    }
}
