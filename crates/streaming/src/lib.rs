//! Streams of exec, attach and port-forward over WebSocket and SPDY/3.1, and the server of CRI that serves them.
//!
//! Start with [`backend`] (what the container side offers) and [`server`] (from URL to session).
//! `negotiate` picks the protocol; `command` and `port_forward` run a session over any of these transports:
//! [`channels`] (WebSocket messages), [`spdy`], or SPDY inside WebSocket through `tunnel`. Never knows
//! how containers run, nor who may do what: a one-time token in the URL is the permission.

pub mod backend;
pub mod channels;
mod command;
mod negotiate;
mod port_forward;
pub mod resize;
pub mod server;
pub mod spdy;
mod spdy_command;
mod status;
mod tokens;
pub mod tunnel;

pub use backend::{BackendError, Connection, Exit, Process, Stdio, StreamBackend, TerminalSize};
pub use server::{StreamingConfig, StreamingServer};
pub use status::Form;
pub use tokens::TooManyPending;
