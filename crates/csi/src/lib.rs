//! The Container Storage Interface as a node speaks it: calls of a driver's Node service, and the registration by which
//! a driver becomes known to the node agent.
//!
//! Drivers of devices (dynamic resource allocation) register in the same way: [`devices`].
//!
//! Start at [`node`] and [`registration`], clients of a driver's unix sockets. This crate holds no policy: it is the wire
//! and nothing else.
//!
//! `node/generated.rs`, `registration/generated.rs` and `devices/generated.rs` are made from `proto/node.proto`,
//! `proto/registration.proto` and `proto/devices.proto` (the part of these interfaces that is used) by `tonic_prost_build` (maps sorted), and never edited.

mod connect;
pub mod devices;
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

#[expect(clippy::allow_attributes_without_reason, reason = "generated code keeps its generator's attributes")]
#[rustfmt::skip]
#[path = "devices/generated.rs"]
pub mod devices_v1;

pub use connect::{ConnectError, MAX_MESSAGE_BYTES, NodeClient, RegistrationClient, node, registration};
