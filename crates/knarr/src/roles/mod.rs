//! The roles of a knarr process, and how the components are connected.

mod addresses;
pub mod agent;
pub mod api_access;
pub mod built;
pub mod control_plane;
pub mod daemon;
mod election;
pub mod logging;
mod members;
pub mod node;
pub mod parts;
pub mod readiness;
pub mod server;
pub mod shared_store;
