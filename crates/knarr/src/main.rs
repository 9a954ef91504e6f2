//! knarr: Kubernetes in one binary.
//!
//! This file decides what the process runs as: one of the internal programs that knarr starts itself (a
//! pod's shim, the CNI plugin), which must not have more than one thread, or a command of the command line.

mod admin;
mod api_error;
mod arguments;
mod certificates;
mod claims;
mod cluster;
mod commands;
mod durable;
mod host;
mod joined;
mod joining;
mod layout;
mod pki;
mod preflight;
mod process;
mod roles;
mod settings;
mod teardown;
mod tokens;
mod which;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use arguments::{Arguments, Command};
use cni::Plugin;

/// Half of glibc's cost for the many small pieces that objects are made of, and less memory lost between them.
/// Its settings are in `.cargo/config.toml`.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let arguments: Vec<std::ffi::OsString> = std::env::args_os().collect();
    if let Some(code) = internal(&arguments) {
        return code;
    }
    match dispatch(&Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            // Not `eprintln!`, which panics where standard error is a file on a full disk.
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The programs that read their arguments themselves, those that knarr starts and `kubectl`: by the name of a link, or by
/// the first argument.
fn internal(arguments: &[std::ffi::OsString]) -> Option<ExitCode> {
    let called_as = arguments.first().map(Path::new).and_then(Path::file_name).and_then(|name| name.to_str());
    if let Some(plugin) = called_as.and_then(Plugin::named) {
        return Some(ExitCode::from(cni::main(plugin)));
    }
    if called_as == Some("kubectl") {
        return Some(ExitCode::from(cli::run(&arguments[1..])));
    }
    match arguments.get(1).and_then(|argument| argument.to_str()) {
        Some("kubectl") => Some(ExitCode::from(cli::run(&arguments[2..]))),
        Some("history" | "undelete" | "diff") => Some(ExitCode::from(cli::run(&arguments[1..]))),
        Some("cni") => Some(ExitCode::from(cni::main(Plugin::Bridge))),
        Some("shim") => Some(shim::main()),
        _ => None,
    }
}

fn dispatch(command: &Command) -> Result<ExitCode> {
    match command {
        Command::Up(up) => commands::up::run(up)?,
        Command::Down(down) => commands::down::run(down)?,
        Command::Status(which) => {
            if !commands::status::run(which)? {
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::Server(server) => roles::server::run(server)?,
        Command::Agent(agent) => roles::agent::run(agent)?,
        Command::Image(image) => asynchronous(commands::image::run(image))?,
        Command::Store(what) => {
            if !commands::store::run(what)? {
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::Dashboard(asked) => asynchronous(commands::dashboard::run(asked))?,
        Command::Why(asked) => asynchronous(commands::why::run(asked))?,
        Command::Token(token) => asynchronous(commands::token::run(token))?,
        // These read their arguments themselves, see `internal`.
        Command::Kubectl { arguments }
        | Command::History { arguments }
        | Command::Undelete { arguments }
        | Command::Diff { arguments } => return Ok(ExitCode::from(cli::run(arguments))),
        Command::Crictl(view) => asynchronous(commands::crictl::run(view))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn asynchronous(work: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}
