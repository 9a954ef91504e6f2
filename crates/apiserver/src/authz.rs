//! Authorization: may this user do this?
//!
//! [`Union`] asks in upstream's order: [`PrivilegedGroup`], [`node::NodeAuthorizer`], [`rbac::Rbac`].

pub mod node;
mod privileged;
pub mod rbac;
mod union;

pub(crate) use privileged::is_privileged;
pub use privileged::{PRIVILEGED_GROUP, PrivilegedGroup};
pub use union::Union;

use crate::eventual::Eventual;
use crate::request::Attributes;

/// The answer of an authorizer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    Allow,
    /// Refused for good; later authorizers are not asked.
    Deny(String),
    /// No opinion, with a reason (may be empty).
    NoOpinion(String),
}

/// Says whether a request is allowed. The built-in ones decide from memory; one that asks a webhook returns
/// [`Eventual::Later`].
///
/// Cancellation safe: a request may be given up while an authorizer waits.
pub trait Authorizer: Send + Sync + 'static {
    fn authorize<'a>(&'a self, attributes: &'a Attributes) -> Eventual<'a, Decision>;

    /// Why a request is allowed, for those who ask (`SubjectAccessReview`); may be empty. Not for the hot path.
    fn explain<'a>(&'a self, attributes: &'a Attributes) -> Eventual<'a, String> {
        let _ = attributes;
        String::new().into()
    }
}
