//! What a knarr process can be, and how the components meet.

pub mod control_plane;
pub mod logging;
pub mod node;
pub mod server;
