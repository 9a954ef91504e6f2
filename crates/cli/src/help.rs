//! `--help`: our own words, with every flag and its default.

use crate::commands::{self, Command, NOT_YET};
use crate::failure::{Failure, quoted};
use crate::flags::FlagSet;
use crate::output::out;

/// What the program can do.
pub fn program() -> Result<(), Failure> {
    let mut text = "kubectl controls the Kubernetes cluster manager.\n\nCommands:\n".to_owned();
    let mut entries: Vec<(&str, &str)> = commands::all().map(|c| (first_name(c), c.about)).collect();
    entries.sort_unstable();
    text.extend(entries.iter().map(|(words, about)| format!("  {words:<26}{about}\n")));
    text.push_str("\nCommands of the stock kubectl that are not there yet:\n");
    text.push_str(&format!("  {}\n", NOT_YET.join(", ")));
    text.push_str("\nUsage:\n  kubectl [flags] [options]\n\n");
    text.push_str("Use \"kubectl <command> --help\" for more information about a given command.\n");
    out(&text)
}

/// The commands that begin with these words, of which the last may be none.
pub fn group(words: &[String]) -> Result<(), Failure> {
    // This group alone takes any word behind it for itself, and ends well.
    if words.first().is_some_and(|word| word == "certificate") {
        return out(&commands_of("certificate"));
    }
    let joined = words.join(" ");
    if !commands::is_group(&joined) {
        let wrong = words.last().map(String::as_str).unwrap_or_default();
        let right = &words[..words.len().saturating_sub(1)];
        return Err(Failure::Verbatim(format!(
            "error: unknown command {}\nSee 'kubectl {} -h' for help and examples",
            quoted(wrong),
            right.join(" ")
        )));
    }
    out(&commands_of(&joined))?;
    // As with the stock kubectl, a group alone does nothing.
    Err(Failure::Exit(1))
}

/// The commands of a group with what they do.
fn commands_of(joined: &str) -> String {
    let mut text = format!("Usage:\n  kubectl {joined} COMMAND [options]\n\nAvailable Commands:\n");
    for command in commands::all() {
        if let Some(rest) = first_name(command).strip_prefix(joined).and_then(|rest| rest.strip_prefix(' ')) {
            text.push_str(&format!("  {rest:<26}{}\n", command.about));
        }
    }
    text
}

/// One command.
pub fn command(command: &Command) -> Result<(), Failure> {
    let mut text = format!("{}.\n\nOptions:\n", command.about);
    for flag in FlagSet::of(command.flags).sorted() {
        text.push_str(&format!("    {}\n", commands::option(&flag)));
    }
    text.push_str(&format!("\nUsage:\n  kubectl {} {} [options]\n\n", first_name(command), command.usage));
    text.push_str(
        "Use \"kubectl options\" for a list of global command-line options (applies to all commands).\n",
    );
    out(&text)
}

fn first_name(command: &Command) -> &'static str {
    command.words.split('|').next().unwrap_or_default()
}
