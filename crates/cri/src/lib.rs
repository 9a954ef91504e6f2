//! The Container Runtime Interface, `runtime.v1`: messages, client and server traits.
//!
//! Start at [`connect`] for a client of a unix socket; the node's runtime implements
//! [`v1::runtime_service_server::RuntimeService`] and [`v1::image_service_server::ImageService`].
//! This crate holds no policy: it is the wire and nothing else.
//!
//! `generated.rs` is made from `proto/runtime.proto` by `tonic_prost_build::configure()` with its
//! defaults (client, server and transport), and never edited.

mod connect;

#[expect(clippy::allow_attributes_without_reason, reason = "generated code keeps its generator's attributes")]
#[rustfmt::skip]
#[path = "generated.rs"]
pub mod v1;

pub use connect::{ConnectError, ImageServiceClient, MAX_MESSAGE_BYTES, RuntimeServiceClient, connect};
