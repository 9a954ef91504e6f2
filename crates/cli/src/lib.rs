//! knarr's own kubectl: the commands, flags, texts and exit codes of the stock one, without a second program.
//!
//! Start with [`run`], then `commands.rs`, the one list of commands (a file a command). Nothing here knows how a server
//! works inside: all goes over HTTPS, as from any kubectl. [`printing`] and [`describe`] are pure: from JSON objects to
//! text.

mod app;
mod commands;
pub mod describe;
pub mod printing;

pub use app::run;
