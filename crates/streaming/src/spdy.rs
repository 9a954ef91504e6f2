//! SPDY/3.1 (draft 3.1, <https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/>), the server's side,
//! as much of it as Kubernetes clients speak.
//!
//! Start with `connection`. `frame` and `headers` are the wire format, `stream` is what users hold.
//! No flow-control windows: the clients' library (`moby/spdystream`) neither keeps nor grants them,
//! and would stall if they were kept here. Back pressure is TCP's, buffers are bounded.

pub mod connection;
mod dictionary;
pub mod frame;
pub mod headers;
pub mod stream;

pub use connection::{Connection, Limits, accept};
pub use frame::FrameError;
pub use headers::Headers;
pub use stream::Stream;
