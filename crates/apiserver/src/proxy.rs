//! Streams between a client and a node's agent, a pod or a service: [`node`] and [`target`] find the
//! backend, [`forward`] carries requests and answers, [`tunnel`] the raw bytes behind an upgrade.
//!
//! Start with [`forward::send`]. Nothing here knows what flows: SPDY and WebSocket frames pass
//! through as they are.

pub(crate) mod forward;
pub(crate) mod node;
mod tunnel;
