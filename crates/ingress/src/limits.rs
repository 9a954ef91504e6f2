//! [`Limits`]: what a client may take up, and how long it may take.

use std::time::Duration;

use rustix::process::{Resource, getrlimit};

/// Most connections of all clients, also where the process may open more files.
const CONNECTIONS_MAX: u64 = 16_384;
/// Fewest, also where the process may open few files.
const CONNECTIONS_MIN: u64 = 64;

/// The limits of the proxy. What exceeds one is refused or ends; nothing waits for a client for ever.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections of all clients, on all ports. One more is closed at once.
    pub connections: usize,
    /// Connections of one client address. One more is closed at once.
    pub connections_of_client: usize,
    /// Connections to all endpoints.
    pub backend_connections: usize,
    /// Bytes of a request's head, of HTTP/1.1 and of HTTP/2.
    pub header_bytes: usize,
    /// Header lines of a request of HTTP/1.1.
    pub headers: usize,
    /// Streams of one HTTP/2 connection at a time.
    pub streams: u32,
    /// Streams of one HTTP/2 connection that the client has reset and that are not worked off yet; a client that
    /// exceeds them loses its connection (CVE-2023-44487).
    pub resets: usize,
    /// For a TLS handshake, for the head of a request, and between the requests of a connection.
    pub head_patience: Duration,
    /// Between two parts of a request's body, and for a side that takes no more bytes, client or endpoint.
    pub stall_patience: Duration,
    /// For a connection to an endpoint, with TLS.
    pub connect_patience: Duration,
    /// From the end of a request to the head of its response.
    pub response_patience: Duration,
    /// How long a connection to an endpoint is kept without a request: less than servers commonly keep theirs, so that
    /// a server seldom closes one at the moment of a request.
    pub kept: Duration,
    /// Connections without a request that are kept to one endpoint.
    pub kept_of_endpoint: usize,
    /// Endpoints that a request is tried with, one after the other, as long as none has seen it.
    pub attempts: usize,
    /// For requests in progress when the proxy stops.
    pub drain: Duration,
}

impl Limits {
    /// The limits of this process: clients take no more than a quarter of the files that it may open, and connections
    /// to endpoints another quarter.
    pub fn of_process() -> Self {
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let connections = (files / 4).clamp(CONNECTIONS_MIN, CONNECTIONS_MAX);
        let connections = usize::try_from(connections).unwrap_or(usize::MAX);
        Self {
            connections,
            connections_of_client: (connections / 4).max(32),
            backend_connections: connections,
            ..Self::default()
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            connections_of_client: 1024,
            backend_connections: 4096,
            header_bytes: 64 * 1024,
            headers: 100,
            streams: 128,
            resets: 32,
            head_patience: Duration::from_secs(30),
            stall_patience: Duration::from_secs(60),
            connect_patience: Duration::from_secs(3),
            response_patience: Duration::from_secs(60),
            kept: Duration::from_secs(4),
            kept_of_endpoint: 256,
            attempts: 4,
            drain: Duration::from_secs(3),
        }
    }
}
