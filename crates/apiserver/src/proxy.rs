//! Streams between a client and a node's agent, a pod or a service: [`node`] and [`target`] find the
//! backend, [`forward`] forwards requests and responses, [`tunnel`] the raw bytes after an upgrade.
//!
//! Start with [`forward::send`]. Nothing here interprets the bytes: SPDY and WebSocket frames are forwarded
//! unchanged.

pub(crate) mod forward;
pub(crate) mod node;
mod tunnel;
