//! From the arguments to an exit code: which command is meant, its flags, and what is said when it fails.

use std::ffi::OsString;

use crate::commands::{self, Command, NOT_YET};
use crate::completion;
use crate::failure::{Failure, quoted};
use crate::flags::{FlagSet, HELP};
use crate::globals::{CONNECTION, PROGRAM};
use crate::help;
use crate::output::err;
use crate::session::Session;
use crate::words::split;

/// Runs `kubectl` with `arguments` (without the program's name) and returns the exit code.
pub fn run(arguments: &[OsString]) -> u8 {
    let texts: Option<Vec<String>> = arguments.iter().map(|a| a.to_str().map(str::to_owned)).collect();
    let ended = match texts {
        Some(texts) => dispatch(&texts),
        None => Err(Failure::message("an argument is not UTF-8")),
    };
    let Err(failure) = ended else { return 0 };
    let text = failure.text();
    if !text.is_empty() {
        err(&text);
        if !text.ends_with('\n') {
            err("\n");
        }
    }
    failure.code()
}

fn dispatch(arguments: &[String]) -> Result<(), Failure> {
    if let Some((request, rest)) = arguments.split_first()
        && completion::REQUESTS.contains(&request.as_str())
    {
        return completion::answer(request, rest);
    }
    let (words, rest) = split(arguments)?;
    let Some(first) = words.first() else {
        return nothing_asked(&rest);
    };
    if first == "help" {
        return dispatch(&[&rest[..], &["--help".to_owned()]].concat());
    }
    // The longest of the words that are a command; what follows are arguments.
    let command =
        (1..=words.len()).rev().find_map(|count| Some((count, commands::named(&words[..count].join(" "))?)));
    match command {
        Some((count, _)) if count < words.len() && commands::is_group(&words.join(" ")) => {
            help::group(&words)
        }
        // `create secret foo`: what follows a group must be a command.
        Some((count, _))
            if (count + 1..words.len()).any(|long| commands::is_group(&words[..long].join(" "))) =>
        {
            help::group(&words)
        }
        Some((count, command)) => {
            let mut arguments = rest;
            arguments.splice(0..0, words[count..].iter().cloned());
            execute(command, &arguments)
        }
        None if commands::is_group(first) => help::group(&words),
        None if NOT_YET.contains(&first.as_str()) => Err(unknown(first)),
        None => {
            let all = [words.clone(), rest].concat();
            Err(commands::plugin::run(&all).unwrap_or_else(|| unknown(first)))
        }
    }
}

/// With neither command nor arguments, help is printed; flags are checked all the same.
fn nothing_asked(rest: &[String]) -> Result<(), Failure> {
    match FlagSet::of(&[CONNECTION, PROGRAM]).parse(rest) {
        Ok(_) => help::program(),
        Err(what) if what == HELP => help::program(),
        Err(what) => Err(Failure::Verbatim(format!("error: {what}\nSee 'kubectl --help' for usage."))),
    }
}

fn execute(command: &Command, arguments: &[String]) -> Result<(), Failure> {
    let words = command.words.split('|').next().unwrap_or_default();
    let mut tables = command.flags.to_vec();
    tables.extend([CONNECTION, PROGRAM]);
    let flags = match FlagSet::of(&tables).parse(arguments) {
        Ok(flags) => flags,
        Err(what) if what == HELP => return help::command(command),
        Err(what) => {
            return Err(Failure::Verbatim(format!("error: {what}\nSee 'kubectl {words} --help' for usage.")));
        }
    };
    if flags.text("v") != "0" || flags.changed("vmodule") {
        err("Warning: knarr kubectl does not know --v and --vmodule yet\n");
    }
    let warnings_are_errors = flags.bool("warnings-as-errors");
    let session = Session::new(words.to_owned(), flags);
    (command.run)(&session)?;
    match session.client_if_made().map_or(0, |client| client.warnings()) {
        0 => Ok(()),
        _ if !warnings_are_errors => Ok(()),
        1 => Err(Failure::message("1 warning received")),
        several => Err(Failure::message(format!("{several} warnings received"))),
    }
}

fn unknown(word: &str) -> Failure {
    if NOT_YET.contains(&word) {
        return Failure::message(format!(
            "knarr kubectl does not know {} yet; use the stock kubectl",
            quoted(word)
        ));
    }
    let mut text = format!("error: unknown command {} for \"kubectl\"\n", quoted(word));
    let mut similar: Vec<&str> = top_words().into_iter().filter(|known| is_similar(word, known)).collect();
    similar.dedup();
    if !similar.is_empty() {
        text.push_str("\nDid you mean this?\n");
        text.extend(similar.iter().map(|known| format!("\t{known}\n")));
    }
    Failure::Verbatim(text)
}

/// The first words of all commands, in the order in which the stock kubectl knows them.
fn top_words() -> Vec<&'static str> {
    const ORDER: [&str; 45] = [
        "create",
        "expose",
        "run",
        "set",
        "explain",
        "get",
        "edit",
        "delete",
        "rollout",
        "scale",
        "autoscale",
        "certificate",
        "cluster-info",
        "top",
        "cordon",
        "uncordon",
        "drain",
        "taint",
        "describe",
        "logs",
        "attach",
        "exec",
        "port-forward",
        "proxy",
        "cp",
        "auth",
        "debug",
        "events",
        "diff",
        "apply",
        "patch",
        "replace",
        "wait",
        "kustomize",
        "label",
        "annotate",
        "completion",
        "alpha",
        "api-resources",
        "api-versions",
        "config",
        "plugin",
        "version",
        "options",
        "help",
    ];
    ORDER.to_vec()
}

fn is_similar(word: &str, known: &str) -> bool {
    distance(&word.to_lowercase(), known) <= 2 || known.starts_with(&word.to_lowercase())
}

/// How many letters are to be put in, taken out or replaced to make one word of the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().collect());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let least = (diagonal + usize::from(x != y)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], least);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_nearly_a_command_is_named() {
        assert_eq!(distance("gett", "get"), 1);
        assert_eq!(distance("", "get"), 3);
        let text = unknown("gett").text();
        assert_eq!(
            text,
            "error: unknown command \"gett\" for \"kubectl\"\n\nDid you mean this?\n\tset\n\tget\n"
        );
        assert!(unknown("kustomize").text().contains("yet"));
    }
}
