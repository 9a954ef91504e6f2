//! Authorization: whether a user may do what a request asks for.
//!
//! [`Union`] asks in upstream's order: [`PrivilegedGroup`], [`node::NodeAuthorizer`], [`rbac::Rbac`].

mod authorizer;
pub mod node;
pub(crate) mod node_user;
mod privileged;
pub mod rbac;
mod union;

pub use authorizer::{Authorizer, Decision};
pub(crate) use privileged::is_privileged;
pub use privileged::{PRIVILEGED_GROUP, PrivilegedGroup};
pub use union::Union;
