//! Admission: in-tree plugins that change or refuse objects on their way in.
//!
//! Start with [`plugins`]: the list, in upstream's order. One plugin a file. Plugins know kinds by name; nothing
//! else of the request's way does. `reservation` is the step around the commit.

mod default_toleration_seconds;
mod escalation;
mod namespace_lifecycle;
mod node_restriction;
mod plugin;
mod priority;
mod requester;
mod reservation;
mod service_account;
mod taint_new_nodes;

use std::sync::Arc;

use api::{Error, Object};

pub use default_toleration_seconds::DefaultTolerationSeconds;
pub use escalation::Escalation;
pub use namespace_lifecycle::NamespaceLifecycle;
pub use node_restriction::NodeRestriction;
pub use plugin::{Admission, Immediate, Operation, Review};
pub use priority::Priority;
pub use requester::Requester;
pub(crate) use reservation::Reservations;
pub use reservation::{Attempt, Committed, Hold, Reservation, Reserver};
pub use service_account::ServiceAccount;
pub use taint_new_nodes::TaintNewNodes;

use crate::cache::lookup::Lookup;
use crate::identity::authz::Authorizer;
use crate::identity::authz::rbac::Rbac;

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
