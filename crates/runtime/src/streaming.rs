//! The streaming server of CRI: exec, attach and port-forward over WebSocket and SPDY/3.1.
//!
//! Start with `backend` (what the container side offers). Never knows how
//! containers run, nor who may do what: a one-time token in the URL is the permission.

pub mod backend;

pub use backend::{BackendError, Connection, Exit, Process, Stdio, StreamBackend, TerminalSize};
