//! Words that may follow a line that is being typed: the requests `__complete` and `__completeNoDesc`, which the scripts of
//! `completion` send. Start with [`answer`]. The protocol is cobra's (`completions.go`), so that the stock kubectl's scripts
//! work as well: a word a line, with a description behind a tab, then `:` and what the shell is to do.

mod names;

use crate::commands::{self, Command};
use crate::flags::{Flag, FlagSet, HELP, Kind, Parsed};
use crate::globals::{CONNECTION, PROGRAM};
use crate::output::{err, out};
use crate::session::Session;
use crate::words;

/// What the shell is to do beside offering the words: bits, as in cobra.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Directive(u8);

impl Directive {
    pub const DEFAULT: Self = Self(0);
    pub const NO_SPACE: Self = Self(2);
    pub const NO_FILES: Self = Self(4);
    pub const FILTER_FILES: Self = Self(8);
    pub const NO_SPACE_NO_FILES: Self = Self(6);

    fn text(self) -> String {
        let named = [
            (2, "ShellCompDirectiveNoSpace"),
            (4, "ShellCompDirectiveNoFileComp"),
            (8, "ShellCompDirectiveFilterFileExt"),
        ];
        let set: Vec<&str> =
            named.iter().filter(|(bit, _)| self.0 & bit != 0).map(|(_, name)| *name).collect();
        if set.is_empty() { "ShellCompDirectiveDefault".to_owned() } else { set.join(", ") }
    }
}

/// Words that may follow, and what the shell is to do.
pub type Offer = (Vec<String>, Directive);

/// The requests' names. The second one wants no descriptions.
pub const REQUESTS: [&str; 2] = ["__complete", "__completeNoDesc"];

/// How long the server may take to answer, in seconds, where no flag says so: somebody waits at the keyboard.
const PATIENCE: &str = "--request-timeout=5s";

/// Answers a request: `arguments` are the words after the program's name, of which the last is being typed.
///
/// # Errors
/// When no word is given, or the answer cannot be written.
pub fn answer(request: &str, arguments: &[String]) -> Result<(), crate::failure::Failure> {
    let Some((typed, before)) = arguments.split_last() else {
        let why = "error: requires at least 1 arg(s), only received 0";
        return Err(crate::failure::Failure::Verbatim(why.to_owned()));
    };
    let (words, directive) = offer(before, typed).unwrap_or_else(|why| {
        err(&format!("[Debug] [Error] {why}\n"));
        (Vec::new(), Directive::DEFAULT)
    });
    let with_descriptions = request == REQUESTS[0];
    let mut text = String::new();
    for word in &words {
        let word = if with_descriptions { word } else { word.split('\t').next().unwrap_or_default() };
        text.push_str(word.lines().next().unwrap_or_default().trim());
        text.push('\n');
    }
    out(&format!("{text}:{}\n", directive.0))?;
    err(&format!("Completion ended with directive: {}\n", directive.text()));
    Ok(())
}

/// The line so far.
struct Line<'a> {
    /// The words of the command or group that is meant.
    path: String,
    command: Option<&'static Command>,
    flags: FlagSet,
    parsed: Parsed,
    /// What is being typed; of a flag's value, the value alone.
    typed: &'a str,
}

fn offer(before: &[String], typed: &str) -> Result<Offer, String> {
    let (path, rest) = found(before)
        .ok_or_else(|| format!("unable to find a command for arguments: [{}]", before.join(" ")))?;
    let command = commands::named(&path);
    let mut tables = command.map(|command| command.flags.to_vec()).unwrap_or_default();
    tables.extend([CONNECTION, PROGRAM]);
    let flags = FlagSet::of(&tables);
    let has_ended = rest.iter().any(|word| word == "--");
    let valued = if has_ended { Ok(None) } else { valued(&flags, &path, &rest, typed) };
    let (flag, kept, typed) = match valued {
        Ok(Some((flag, kept, typed))) => (Some(flag), kept, typed),
        _ => (None, rest.len(), typed),
    };
    let parsed = match flags.parse(&rest[..kept]) {
        Ok(parsed) => parsed,
        Err(why) if why == HELP => return Ok((Vec::new(), Directive::NO_FILES)),
        Err(why) => {
            return Err(format!("Error while parsing flags from args [{}]: {why}", rest[..kept].join(" ")));
        }
    };
    valued?;
    let line = Line { path, command, flags, parsed, typed };
    if let Some(flag) = flag {
        return Ok(line.flag_value(&flag, &rest[..kept]));
    }
    if typed.starts_with('-') && !typed.contains('=') && !has_ended {
        return Ok((line.flag_names(), Directive::NO_FILES));
    }
    Ok(line.words(&rest[..kept]))
}

/// The command or group that the words name, and the words after. `None` where the first one is neither.
fn found(before: &[String]) -> Option<(String, Vec<String>)> {
    let before = before.strip_prefix(&["help".to_owned()]).unwrap_or(before);
    let (words, rest) = words::split(before).ok()?;
    let is_known = |path: &str| commands::named(path).is_some() || commands::is_group(path);
    let count = (1..=words.len()).rev().find(|count| is_known(&words[..*count].join(" "))).unwrap_or(0);
    if count == 0 && !words.is_empty() {
        return None;
    }
    Some((words[..count].join(" "), words[count..].iter().cloned().chain(rest).collect()))
}

/// The flag whose value is being typed, with how many of the words before count, and what is typed of the value.
fn valued<'a>(
    flags: &FlagSet,
    path: &str,
    rest: &[String],
    typed: &'a str,
) -> Result<Option<(Flag, usize, &'a str)>, String> {
    let named = |name: &str| {
        let mut letters = name.chars();
        match (letters.next(), letters.next()) {
            (Some(letter), None) => flags.short(letter).copied(),
            _ => flags.named(name).copied(),
        }
    };
    let unknown = |name: &str| {
        let command = path.rsplit(' ').next().unwrap_or_default();
        format!("Subcommand '{command}' does not support flag '{name}'")
    };
    if typed.starts_with('-') {
        let Some((name, value)) = typed.split_once('=') else { return Ok(None) };
        let name =
            name.strip_prefix("--").unwrap_or(name.get(name.len().saturating_sub(1)..).unwrap_or(name));
        return named(name).map(|flag| Some((flag, rest.len(), value))).ok_or_else(|| unknown(name));
    }
    let Some(previous) = rest.last() else { return Ok(None) };
    if previous.len() < 2 || !previous.starts_with('-') || previous == "--" || previous.contains('=') {
        return Ok(None);
    }
    let last = previous.char_indices().next_back().map_or(0, |(at, _)| at);
    let name = previous.strip_prefix("--").unwrap_or(&previous[last..]);
    let flag = named(name).ok_or_else(|| unknown(name))?;
    // A flag whose value may be left out has none in the next word.
    let takes_next = flags.wants_next(&format!("--{}", flag.name));
    Ok(takes_next.then(|| (flag, rest.len() - 1, typed)))
}

/// Flags that a command cannot do without.
const REQUIRED: [(&str, &[&str]); 7] = [
    ("run", &["image"]),
    ("create deployment", &["image"]),
    ("create cronjob", &["image", "schedule"]),
    ("create clusterrolebinding", &["clusterrole"]),
    ("create service externalname", &["external-name"]),
    ("scale", &["replicas"]),
    ("autoscale", &["max"]),
];

impl Line<'_> {
    fn session(&self, rest: &[String]) -> Session {
        let parsed = if self.parsed.changed("request-timeout") {
            self.flags.parse(rest)
        } else {
            self.flags.parse(&[&[PATIENCE.to_owned()], rest].concat())
        };
        Session::new(self.path.clone(), parsed.unwrap_or_default())
    }

    fn flag_value(&self, flag: &Flag, rest: &[String]) -> Offer {
        if flag.name == "filename" {
            return (["json", "yaml", "yml"].map(str::to_owned).to_vec(), Directive::FILTER_FILES);
        }
        names::of_flag(&self.session(rest), flag.name, self.typed).unwrap_or((Vec::new(), Directive::DEFAULT))
    }

    /// Required flags that are not given yet.
    fn required(&self) -> Vec<String> {
        let required =
            REQUIRED.iter().find(|(path, _)| *path == self.path).map_or(&[][..], |(_, flags)| flags);
        let missing = required.iter().filter(|name| !self.parsed.changed(name));
        missing.map(|name| format!("--{name}")).filter(|name| name.starts_with(self.typed)).collect()
    }

    /// Every flag that may still be given: those of all commands first.
    fn flag_names(&self) -> Vec<String> {
        let required = self.required();
        if !required.is_empty() {
            return required;
        }
        let own = self.command.map(|command| FlagSet::of(command.flags).sorted()).unwrap_or_default();
        let help = FlagSet::of(&["h help bool=false"]).sorted();
        let inherited = FlagSet::of(&[CONNECTION, PROGRAM]).sorted();
        let mut own: Vec<Flag> = own.into_iter().chain(help).collect();
        own.sort_by_key(|flag| flag.name);
        let mut offered = Vec::new();
        let shadowed = |flag: &Flag| own.iter().any(|other| other.name == flag.name);
        for flag in inherited.iter().filter(|flag| !shadowed(flag)).chain(&own) {
            let is_many = matches!(flag.kind, Kind::List | Kind::Array);
            if self.parsed.changed(flag.name) && !is_many {
                continue;
            }
            let long = format!("--{}", flag.name);
            if HIDDEN.contains(&flag.name) {
                continue;
            }
            offered.extend(Some(long).filter(|long| long.starts_with(self.typed)));
            let short = flag.short.map(|short| format!("-{short}"));
            offered.extend(short.filter(|short| short.starts_with(self.typed)));
        }
        offered
    }

    /// Words of groups, and what the command itself is about.
    fn words(&self, rest: &[String]) -> Offer {
        let (mut offered, mut directive) = (Vec::new(), Directive::DEFAULT);
        let own = self.command.map_or(&[][..], |command| command.flags);
        let has_own_flag = FlagSet::of(own).sorted().iter().any(|flag| self.parsed.changed(flag.name));
        if self.parsed.arguments.is_empty() && !has_own_flag {
            let following = following(&self.path);
            if !following.is_empty() {
                directive = Directive::NO_FILES;
            }
            offered.extend(following.into_iter().filter(|word| word.starts_with(self.typed)));
        }
        offered.extend(self.required());
        let arguments = &self.parsed.arguments;
        match names::of_argument(&self.session(rest), &self.path, arguments, self.typed) {
            Some((more, directive)) => {
                offered.extend(more);
                (offered, directive)
            }
            None => (offered, directive),
        }
    }
}

/// Flags that are read and no longer advertised.
const HIDDEN: [&str; 1] = ["cpu-percent"];

/// The words that may follow those of a group, with what the commands do.
fn following(path: &str) -> Vec<String> {
    let mut words: Vec<(String, &str)> = Vec::new();
    for command in commands::all() {
        let name = command.words.split('|').next().unwrap_or_default();
        let rest = match path {
            "" => Some(name),
            path => name.strip_prefix(path).and_then(|rest| rest.strip_prefix(' ')),
        };
        let Some(rest) = rest else { continue };
        let (word, further) = rest.split_once(' ').unwrap_or((rest, ""));
        match words.iter_mut().find(|(known, _)| known == word) {
            Some((_, about)) if further.is_empty() => *about = command.about,
            Some(_) => {}
            None => words.push((word.to_owned(), if further.is_empty() { command.about } else { "" })),
        }
    }
    if path.is_empty() {
        words.push(("help".to_owned(), "Help about any command"));
        words.extend(commands::plugin::names().into_iter().map(|name| (name, "")));
    }
    words.sort();
    words.dedup_by(|a, b| a.0 == b.0);
    let described =
        |(word, about): (String, &str)| if about.is_empty() { word } else { format!("{word}\t{about}") };
    words.into_iter().map(described).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offered(line: &str) -> (String, u8) {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let (typed, before) = words.split_last().expect("a word");
        let (offered, directive) = offer(before, typed).expect(line);
        let words: Vec<&str> = offered.iter().filter_map(|word| word.split('\t').next()).collect();
        (words.join(" "), directive.0)
    }

    #[test]
    fn commands_and_groups_are_offered() {
        assert_eq!(offered("rollo"), ("rollout".into(), 4));
        assert_eq!(offered("-n shop rollout re"), ("restart resume".into(), 4));
        assert_eq!(offered("create s"), ("secret service serviceaccount".into(), 4));
        assert_eq!(offered("help rollout und"), ("undo".into(), 4));
        assert_eq!(offered("apply -f x vi"), (String::new(), 0));
    }

    #[test]
    fn flags_are_offered_once_and_lists_again() {
        assert_eq!(offered("get pods --show"), ("--show-kind --show-labels --show-managed-fields".into(), 4));
        assert_eq!(offered("get --show-kind pods --show"), ("--show-labels --show-managed-fields".into(), 4));
        assert_eq!(offered("get -L a --label"), ("--label-columns".into(), 4));
        assert_eq!(offered("get pods --help "), (String::new(), 4));
    }

    #[test]
    fn values_are_offered_by_their_flag() {
        assert_eq!(offered("apply -f "), ("json yaml yml".into(), 8));
        assert_eq!(offered("get pods -o=js"), ("json jsonpath jsonpath-as-json jsonpath-file".into(), 4));
        assert_eq!(offered("run x "), ("--image".into(), 0));
        assert_eq!(offered("run x --image=y "), (String::new(), 0));
    }

    #[test]
    fn what_cannot_be_is_said() {
        let said = |line: &str| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let (typed, before) = words.split_last().expect("a word");
            offer(before, typed).expect_err(line)
        };
        assert_eq!(said("fooo "), "unable to find a command for arguments: [fooo]");
        assert_eq!(said("get --foo "), "Error while parsing flags from args [--foo]: unknown flag: --foo");
        assert_eq!(said("get --foo="), "Subcommand 'get' does not support flag 'foo'");
    }
}
