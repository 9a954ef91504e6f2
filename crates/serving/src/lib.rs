//! How a server takes connections: the loop that accepts them within limits, and TLS whose certificates are
//! replaced while it runs. Shared by all servers of the product.
//!
//! Start with [`accept`] and [`ServerTls`]. The protocol of a connection is the caller's; nothing here knows HTTP.

mod accept;
mod any_certificate;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod tls;

pub use accept::{Excess, Limits, Listener, accept};
pub use any_certificate::{any_certificate, unverified_client};
pub use tls::{Clients, Pem, Policy, ServerTls, TlsError, Unverified};
