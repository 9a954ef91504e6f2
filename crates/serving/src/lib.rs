//! How a server takes connections: the loop that accepts them within limits, and TLS whose certificates are
//! replaced while it runs. Shared by all servers of the product.
//!
//! Start with [`accept`] and [`Tls`]. The protocol of a connection is the caller's; nothing here knows HTTP.

mod accept;
mod tls;

pub use accept::{Limits, Listener, accept};
pub use tls::{Pem, Policy, Tls, TlsError, Unverified};
