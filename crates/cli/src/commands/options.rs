//! `options`: the flags that all commands take.

use super::Command;
use crate::flags::{Flag, FlagSet, Kind};
use crate::globals::{CONNECTION, PROGRAM};
use crate::output::out;

pub const COMMANDS: [Command; 1] = [Command {
    words: "options",
    flags: &[],
    usage: "",
    about: "Print the list of flags inherited by all commands",
    run: |_| {
        let mut text = "The following options can be passed to any command:\n\n".to_owned();
        for flag in FlagSet::of(&[CONNECTION, PROGRAM]).sorted() {
            text.push_str(&format!("    {}\n", line(&flag)));
        }
        out(&text)
    },
}];

/// A flag as help shows it: `-n, --namespace=''`.
pub fn line(flag: &Flag) -> String {
    let short = flag.short.map_or(String::new(), |short| format!("-{short}, "));
    let default = match flag.kind {
        Kind::Text => format!("'{}'", flag.default),
        Kind::List | Kind::Array => "[]".to_owned(),
        Kind::Bool | Kind::Int | Kind::Duration => flag.default.to_owned(),
    };
    format!("{short}--{}={default}", flag.name)
}
