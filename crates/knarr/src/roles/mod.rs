//! What a knarr process can be, and how the components meet.

pub mod agent;
pub mod api_access;
pub mod built;
pub mod control_plane;
pub mod daemon;
pub mod logging;
pub mod node;
pub mod parts;
pub mod readiness;
pub mod server;
