//! Which of the arguments are the words of a command.

use crate::commands;
use crate::failure::Failure;
use crate::flags::FlagSet;
use crate::globals::{CONNECTION, PROGRAM};

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
            if globals.wants_next(argument) && known(&globals, argument) {
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
        assert_eq!(parts("apply -n shop -f x"), ("apply".into(), "-n shop -f x".into()));
        assert_eq!(
            parts("create -n shop secret generic a"),
            ("create secret generic".into(), "-n shop a".into())
        );
        assert_eq!(parts("get -o name pods"), ("get".into(), "-o name pods".into()));
    }
}
