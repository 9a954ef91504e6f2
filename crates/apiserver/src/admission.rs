//! Admission: in-tree plugins that change or refuse objects on their way in.
//!
//! Start with [`plugins`]: the list, in upstream's order. One plugin a file. Plugins know kinds by name; nothing
//! else of the request's way does. `reservation` is the step around the commit.

mod default_toleration_seconds;
mod escalation;
mod namespace_lifecycle;
mod node_restriction;
mod priority;
mod requester;
mod reservation;
mod service_account;
mod taint_new_nodes;

use std::sync::Arc;

use api::{Error, Object};
use resources::Resource;

pub use default_toleration_seconds::DefaultTolerationSeconds;
pub use escalation::Escalation;
pub use namespace_lifecycle::NamespaceLifecycle;
pub use node_restriction::NodeRestriction;
pub use priority::Priority;
pub use requester::Requester;
pub(crate) use reservation::Reservations;
pub use reservation::{Committed, Hold, Reservation, Reserver};
pub use service_account::ServiceAccount;
pub use taint_new_nodes::TaintNewNodes;

use crate::authz::Authorizer;
use crate::authz::rbac::Rbac;
use crate::eventual::Eventual;
use crate::lookup::Lookup;
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
}

impl Review<'_> {
    /// Whether the request is about a resource of this group and plural, or a subresource of one.
    fn is_about(&self, group: &str, plural: &str) -> bool {
        self.resource.group == group && self.resource.plural == plural
    }

    /// Whether it is about objects of the resource themselves.
    fn is_about_whole(&self, group: &str, plural: &str) -> bool {
        self.is_about(group, plural) && self.attributes.subresource.is_empty()
    }

    /// The name in the request, which a request to create has only in its object: its `generateName` as long
    /// as no name has been made from it.
    fn name<'r>(&'r self, object: Option<&'r Object>) -> &'r str {
        let named = self.attributes.name.as_str();
        if !named.is_empty() {
            return named;
        }
        let Some(object) = object.or(self.old) else { return "" };
        if object.name().is_empty() { object.meta_str("generateName") } else { object.name() }
    }

    /// The refusal of the request.
    fn forbid(&self, object: Option<&Object>, why: impl AsRef<str>) -> Error {
        Error::forbidden(&self.resource.group_resource(), self.name(object), why.as_ref())
    }
}

/// One plugin. The built-in ones answer from memory (the watch caches); one that asks a webhook returns
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
}

/// Has every plugin change the object, in order.
///
/// # Errors
/// The first refusal.
pub(crate) async fn admit(
    plugins: &[Arc<dyn Admission>],
    review: &Review<'_>,
    mut object: Option<&mut Object>,
) -> Result<(), Error> {
    for plugin in plugins {
        plugin.admit(review, object.as_deref_mut()).await?;
    }
    Ok(())
}

/// Has every plugin check the object, in order.
///
/// # Errors
/// The first refusal.
pub(crate) async fn validate(
    plugins: &[Arc<dyn Admission>],
    review: &Review<'_>,
    object: Option<&Object>,
) -> Result<(), Error> {
    for plugin in plugins {
        plugin.validate(review, object).await?;
    }
    Ok(())
}

/// All plugins in upstream's order (`pkg/kubeapiserver/options/plugins.go`). Requester and Escalation are no plugins
/// upstream but part of their kinds' storage; they stand last.
pub fn plugins(lookup: &Lookup, rbac: &Rbac, authorizer: &Arc<dyn Authorizer>) -> Vec<Arc<dyn Admission>> {
    vec![
        Arc::new(NamespaceLifecycle::new(lookup.clone())),
        Arc::new(ServiceAccount::new(lookup.clone())),
        Arc::new(NodeRestriction::new(lookup.clone())),
        Arc::new(TaintNewNodes),
        Arc::new(Priority::new(lookup.clone())),
        Arc::new(DefaultTolerationSeconds),
        Arc::new(Requester),
        Arc::new(Escalation::new(rbac.clone(), Arc::clone(authorizer))),
    ]
}

#[cfg(test)]
mod tests;
