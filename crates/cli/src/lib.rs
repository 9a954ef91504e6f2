//! knarr's own kubectl: the commands, flags, texts and exit codes of the stock one, without a second program.
//!
//! Start with [`run`], then `commands.rs`, the one list of commands (a file a command). Nothing here knows how a server
//! works inside: all goes over HTTPS, as from any kubectl. A command waits for each answer; threads are not needed.
//! [`printing`] and [`describe`] are pure: from JSON objects to text.

mod app;
mod builder;
mod client;
mod commands;
mod completion;
mod credentials;
pub mod describe;
mod discovery;
mod failure;
mod fetch;
mod flags;
mod format;
mod globals;
mod gojson;
mod help;
mod kubeconfig;
mod last_applied;
mod output;
mod overlay;
mod past;
pub mod printing;
mod remote;
mod session;
mod table;
mod threeway;
mod transport;
mod words;
mod write;

pub use app::run;
