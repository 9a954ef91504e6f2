//! Authorization: may this user do this?
//!
//! [`Union`] asks in upstream's order: [`PrivilegedGroup`], [`node::NodeAuthorizer`], [`rbac::Rbac`].

mod authorizer;
pub mod node;
mod privileged;
pub mod rbac;
mod union;

pub use authorizer::{Authorizer, Decision};
pub(crate) use privileged::is_privileged;
pub use privileged::{PRIVILEGED_GROUP, PrivilegedGroup};
pub use union::Union;
