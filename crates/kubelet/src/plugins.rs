//! Plugins of the node, drivers of volumes and of devices: how they become known to the node agent, and which ones are.
//!
//! Start at [`Registrar::run`]. A plugin puts a socket into the folder of registrations and is asked there what it is
//! ([`registration`]); when the socket goes, so does the plugin. What a driver says of the node is written to the
//! API ([`csi_node`]). Volumes find drivers in [`Drivers`], ResourceClaims in [`crate::devices::Drivers`].

pub mod csi_node;
pub mod drivers;
mod registrar;
pub mod registration;
mod sockets;

pub use csi_node::CsiNodes;
pub use drivers::Drivers;
pub use registrar::Registrar;
