//! The list of commands, one file each.

mod api;
mod apply;
mod autoscale;
mod certificate;
mod cluster;
mod completion;
mod config;
mod cp;
mod create;
mod debug;
mod delete;
mod describe;
mod diff;
mod drain;
mod edit;
mod events;
pub mod exec;
mod explain;
mod expose;
mod generate;
mod get;
mod history;
mod label;
mod logs;
mod nodes;
mod options;
mod patch;
pub mod plugin;
mod port_forward;
mod raw;
mod rollout;
mod scale;
mod set;
mod top;
mod undelete;
mod version;
mod wait;

use crate::failure::Failure;
use crate::session::Session;

/// One command. Its flags are tables as `flags.rs` reads them.
pub struct Command {
    /// Its words (`config view`), and others that mean the same, behind `|`.
    pub words: &'static str,
    pub flags: &'static [&'static str],
    /// What stands behind the words in the usage line.
    pub usage: &'static str,
    pub about: &'static str,
    pub run: fn(&Session) -> Result<(), Failure>,
}

/// All commands that are here.
pub const ALL: &[&[Command]] = &[
    &get::COMMANDS,
    &describe::COMMANDS,
    &generate::COMMANDS,
    &create::COMMANDS,
    &apply::COMMANDS,
    &delete::COMMANDS,
    &label::COMMANDS,
    &scale::COMMANDS,
    &set::COMMANDS,
    &autoscale::COMMANDS,
    &expose::COMMANDS,
    &edit::COMMANDS,
    &diff::COMMANDS,
    &explain::COMMANDS,
    &patch::COMMANDS,
    &config::COMMANDS,
    &rollout::COMMANDS,
    &logs::COMMANDS,
    &debug::COMMANDS,
    &exec::COMMANDS,
    &cp::COMMANDS,
    &port_forward::COMMANDS,
    &wait::COMMANDS,
    &nodes::COMMANDS,
    &drain::COMMANDS,
    &events::COMMANDS,
    &certificate::COMMANDS,
    &top::COMMANDS,
    &cluster::COMMANDS,
    &api::COMMANDS,
    &options::COMMANDS,
    &plugin::COMMANDS,
    &completion::COMMANDS,
    &version::COMMANDS,
    &history::COMMANDS,
    &undelete::COMMANDS,
];

/// What the stock kubectl has and this one does not have yet: refused by name.
pub const NOT_YET: &[&str] = &["alpha", "kustomize", "proxy"];

pub use api::preferred as kinds;
pub use options::line as option;

pub fn all() -> impl Iterator<Item = &'static Command> {
    ALL.iter().flat_map(|group| group.iter())
}

/// The command of these words.
pub fn named(words: &str) -> Option<&'static Command> {
    all().find(|command| command.words.split('|').any(|name| name == words))
}

/// Whether words follow these (`config`, `create secret`).
pub fn is_group(words: &str) -> bool {
    let follows = |name: &str| name.strip_prefix(words).is_some_and(|rest| rest.starts_with(' '));
    all().any(|command| command.words.split('|').any(follows))
}
