//! From the arguments to an exit code.

use std::ffi::OsString;
use std::io::Write;

use crate::commands;

/// Runs `kubectl` with `arguments` (without the program's name) and returns the exit code.
pub fn run(arguments: &[OsString]) -> u8 {
    let Some(name) = arguments.first().map(|name| name.to_string_lossy()) else {
        return refuse("no command given");
    };
    if commands::is_upstreams(&name) {
        return refuse(&format!("knarr kubectl does not know {name:?} yet; use the stock kubectl"));
    }
    refuse(&format!("unknown command {name:?} for \"kubectl\""))
}

fn refuse(message: &str) -> u8 {
    // Not `eprintln!`, which panics where standard error is a file on a full disk.
    let _ = writeln!(std::io::stderr(), "error: {message}");
    1
}
