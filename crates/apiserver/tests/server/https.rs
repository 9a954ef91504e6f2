//! The server behind TLS.
