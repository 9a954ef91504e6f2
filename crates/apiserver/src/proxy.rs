//! Streams between a client and a node's agent, a pod or a service: [`node`] and [`target`] find the
//! backend, [`forward`] forwards requests and responses, [`tunnel`] the raw bytes after an upgrade.
//!
//! [`aggregated`] does the same for the servers that are registered for a group and version.
//!
//! Start with [`forward::send`]. Nothing here interprets the bytes: SPDY and WebSocket frames are forwarded
//! unchanged; only of pages that a pod or service shows [`links`] rewrites the links.

pub(crate) mod aggregated;
pub(crate) mod forward;
pub(crate) mod links;
pub(crate) mod node;
mod tunnel;
