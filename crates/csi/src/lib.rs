//! The Container Storage Interface as a node speaks it: calls of a driver's Node service, and the registration by which
//! a driver becomes known to the node agent.
//!
//! Start at [`node`] and [`registration`], clients of a driver's unix sockets. This crate holds no policy: it is the wire
//! and nothing else.
//!
//! `node/generated.rs` and `registration/generated.rs` are made from `proto/node.proto` and `proto/registration.proto` (the
//! part of both interfaces that is used) by `tonic_prost_build` (maps sorted), and never edited.

mod connect;
#[cfg(feature = "testing")]
pub mod testing;

#[expect(clippy::allow_attributes_without_reason, reason = "generated code keeps its generator's attributes")]
#[rustfmt::skip]
#[path = "node/generated.rs"]
pub mod v1;

#[expect(clippy::allow_attributes_without_reason, reason = "generated code keeps its generator's attributes")]
#[rustfmt::skip]
#[path = "registration/generated.rs"]
pub mod registration_v1;

pub use connect::{ConnectError, MAX_MESSAGE_BYTES, NodeClient, RegistrationClient, node, registration};
