//! SPDY/3.1 (draft 3.1, <https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/>), the
//! part of the protocol that Kubernetes clients use.
//!
//! Start with `connection`, the server's end, and `client`. `frame` and `headers` are the wire format, `stream` is the interface for users.
//! No flow-control windows: the clients' library (`moby/spdystream`) neither keeps nor grants them,
//! and would stall if this server used windows. TCP provides back pressure; buffers are bounded.

pub mod client;
pub mod connection;
mod dictionary;
mod error;
pub mod frame;
pub mod headers;
pub mod stream;

pub use client::{Opener, connect};
pub use connection::{Connection, Limits, accept};
pub use error::FrameError;
pub use headers::Headers;
pub use stream::Stream;
