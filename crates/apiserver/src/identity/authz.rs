//! Authorization: whether a user may do what a request asks for.
//!
//! [`Union`] asks [`PrivilegedGroup`] and then those whom [`AuthorizationConfiguration`] names, in its order:
//! [`node::NodeAuthorizer`] and [`rbac::Rbac`] unless it says otherwise.

mod authorizer;
mod configuration;
pub mod node;
pub(crate) mod node_user;
mod privileged;
pub mod rbac;
mod union;
mod webhook;

pub use authorizer::{Authorizer, Decision};
pub use configuration::{AccessWebhook, AuthorizationConfiguration, Mode};
pub(crate) use privileged::is_privileged;
pub use privileged::{PRIVILEGED_GROUP, PrivilegedGroup};
pub use union::Union;
pub use webhook::{AlwaysAllow, AlwaysDeny, Webhook};
