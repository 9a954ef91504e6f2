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

/// The command's words, and what remains of the arguments. Flags may stand before the words.
pub fn split(arguments: &[String]) -> Result<(Vec<String>, Vec<String>), Failure> {
    let globals = FlagSet::of(&[CONNECTION, PROGRAM]);
    let (mut words, mut rest) = (Vec::new(), Vec::new());
    let mut iterator = arguments.iter();
    while let Some(argument) = iterator.next() {
        if argument == "--" {
            rest.push(argument.clone());
            break;
        }
        if argument.len() > 1 && argument.starts_with('-') {
            rest.push(argument.clone());
            if !words.is_empty() && !known(&globals, argument) {
                // A flag of the command's own: no word of the command comes after it.
                break;
            }
            if words.is_empty()
                && !known(&globals, argument)
                && !["-h", "--help"].contains(&argument.as_str())
            {
                let what = format!("Error: flags cannot be placed before plugin name: {argument}");
                return Err(Failure::Verbatim(what));
            }
            if globals.wants_next(argument)
                && (argument.starts_with("--") || words.is_empty())
                && known(&globals, argument)
            {
                rest.extend(iterator.next().cloned());
            }
            continue;
        }
        words.push(argument.clone());
        if !commands::is_group(&words.join(" ")) {
            break;
        }
    }
    rest.extend(iterator.cloned());
    Ok((words, rest))
}

fn known(flags: &FlagSet, argument: &str) -> bool {
    match argument.strip_prefix("--") {
        Some(name) => flags.named(name.split('=').next().unwrap_or_default()).is_some(),
        None => argument.chars().nth(1).is_some_and(|letter| flags.short(letter).is_some()),
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

    fn parts(line: &str) -> (String, String) {
        let arguments: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let (words, rest) = split(&arguments).expect("known flags");
        (words.join(" "), rest.join(" "))
    }

    #[test]
    fn flags_may_stand_before_the_command() {
        assert_eq!(parts("-n shop get pods -o wide"), ("get".into(), "-n shop pods -o wide".into()));
        assert_eq!(parts("--context=a get pods"), ("get".into(), "--context=a pods".into()));
        assert_eq!(parts("get -o name pods"), ("get".into(), "-o name pods".into()));
    }

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
