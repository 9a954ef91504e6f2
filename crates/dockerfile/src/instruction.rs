//! The instructions and what each takes. Variables are still in the words; see [`crate::expand`].

pub use crate::lines::Heredoc;

use crate::error::SyntaxError;
use crate::lines::Logical;
use crate::mounts::Mount;
use crate::quoting::{Word, plain_words, words};

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instruction {
    From {
        image: String,
        platform: Option<String>,
        name: Option<String>,
    },
    Arg(Vec<(String, Option<String>)>),
    Env(Vec<(String, String)>),
    Label(Vec<(String, String)>),
    Copy(Copy),
    Add(Copy),
    Run(Box<Run>),
    Workdir(String),
    User(String),
    Expose(Vec<String>),
    Volume(Vec<String>),
    Shell(Vec<String>),
    StopSignal(String),
    Entrypoint(Command),
    Cmd(Command),
    Healthcheck,
    /// The instruction for those who build on the image.
    Onbuild(String),
    Maintainer(String),
}

/// A command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Exec(Vec<String>),
    /// For the shell.
    Shell(String),
}

/// `COPY` and `ADD`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Copy {
    pub sources: Vec<Source>,
    pub target: String,
    /// A stage or image.
    pub from: Option<String>,
    pub chown: Option<String>,
    pub chmod: Option<String>,
    pub checksum: Option<String>,
    pub parents: bool,
    pub excludes: Vec<String>,
    /// Of `ADD`: whether archives are unpacked; by default local ones are.
    pub unpack: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Path(String),
    Heredoc(Heredoc),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    pub command: Command,
    pub heredocs: Vec<Heredoc>,
    pub mounts: Vec<Mount>,
    pub network: Network,
}

#[derive(Debug, Clone, std::marker::Copy, PartialEq, Eq)]
pub enum Network {
    Default,
    None,
    Host,
}

/// The names of all instructions.
const NAMES: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// One instruction's text with its flags taken off.
struct Line<'a> {
    logical: &'a Logical,
    name: &'a str,
    flags: Vec<(Word<'a>, &'a str, Option<&'a str>)>,
    /// Where the arguments start.
    rest: usize,
    escape: char,
}

/// Reads an instruction.
pub fn instruction(logical: &Logical, escape: char) -> Result<Instruction, SyntaxError> {
    let text = logical.text.as_str();
    let word = text.split_whitespace().next().unwrap_or_default();
    let upper = word.to_ascii_uppercase();
    let name = NAMES.iter().find(|name| **name == upper).copied();
    let name = name.ok_or_else(|| logical.error(0, format!("unknown instruction: {word}")))?;
    let mut line = Line { logical, name, flags: Vec::new(), rest: word.len(), escape };
    line.take_flags();
    line.instruction()
}

impl<'a> Line<'a> {
    fn take_flags(&mut self) {
        // A flag of HEALTHCHECK or ONBUILD is the business of what is ignored or read later.
        for word in words(&self.logical.text, self.rest, self.escape) {
            let Some(flag) = word.text.strip_prefix("--") else { break };
            self.rest = word.offset + word.text.len();
            if flag.is_empty() {
                break;
            }
            let (key, value) = flag.split_once('=').map_or((flag, None), |(key, value)| (key, Some(value)));
            self.flags.push((word, key, value));
        }
    }

    fn fail(&self, offset: usize, message: impl Into<String>) -> SyntaxError {
        self.logical.error(offset, message)
    }

    fn arguments(&self) -> &'a str {
        self.logical.text[self.rest..].trim()
    }

    fn start(&self) -> usize {
        let rest = &self.logical.text[self.rest..];
        self.rest + (rest.len() - rest.trim_start().len())
    }

    fn required(&self) -> Result<&'a str, SyntaxError> {
        match self.arguments() {
            "" => Err(self.fail(0, format!("{} requires at least one argument", self.name))),
            arguments => Ok(arguments),
        }
    }

    fn one(&self) -> Result<String, SyntaxError> {
        match self.arguments() {
            "" => Err(self.fail(0, format!("{} requires exactly one argument", self.name))),
            argument => Ok(argument.to_owned()),
        }
    }

    fn no_flags(&self) -> Result<(), SyntaxError> {
        self.flags.first().map_or(Ok(()), |(word, ..)| Err(self.unknown(*word)))
    }

    fn unknown(&self, word: Word<'_>) -> SyntaxError {
        let flag = word.text.split('=').next().unwrap_or_default();
        self.fail(word.offset, format!("unknown flag: {flag}"))
    }

    fn instruction(&self) -> Result<Instruction, SyntaxError> {
        if !["FROM", "COPY", "ADD", "RUN", "HEALTHCHECK"].contains(&self.name) {
            self.no_flags()?;
        }
        Ok(match self.name {
            "FROM" => self.from()?,
            "ARG" => Instruction::Arg(self.args()?),
            "ENV" => Instruction::Env(self.pairs()?),
            "LABEL" => Instruction::Label(self.pairs()?),
            "COPY" => Instruction::Copy(self.copy()?),
            "ADD" => Instruction::Add(self.copy()?),
            "RUN" => Instruction::Run(Box::new(self.run()?)),
            "WORKDIR" => Instruction::Workdir(self.one()?),
            "USER" => Instruction::User(self.one()?),
            "EXPOSE" => Instruction::Expose(self.list(false)?),
            "VOLUME" => Instruction::Volume(self.list(true)?),
            "SHELL" => match self.json() {
                Some(shell) if !shell.is_empty() => Instruction::Shell(shell),
                _ => return Err(self.fail(self.start(), "SHELL requires the arguments to be in JSON form")),
            },
            "STOPSIGNAL" => Instruction::StopSignal(self.one()?),
            "ENTRYPOINT" => Instruction::Entrypoint(self.command()?),
            "CMD" => Instruction::Cmd(self.command()?),
            "HEALTHCHECK" => self.required().map(|_| Instruction::Healthcheck)?,
            "ONBUILD" => Instruction::Onbuild(self.onbuild()?),
            _ => Instruction::Maintainer(self.one()?),
        })
    }

    fn from(&self) -> Result<Instruction, SyntaxError> {
        let mut platform = None;
        for (word, key, value) in &self.flags {
            match (*key, value) {
                ("platform", Some(value)) => platform = Some((*value).to_owned()),
                _ => return Err(self.unknown(*word)),
            }
        }
        let words = plain_words(&self.logical.text, self.rest);
        let name = match words.as_slice() {
            [_] => None,
            [_, as_, name] if as_.text.eq_ignore_ascii_case("as") => Some(self.stage_name(*name)?),
            _ => return Err(self.fail(0, "FROM requires either one or three arguments")),
        };
        Ok(Instruction::From { image: words[0].text.to_owned(), platform, name })
    }

    fn stage_name(&self, word: Word<'_>) -> Result<String, SyntaxError> {
        let name = word.text.to_ascii_lowercase();
        let fine = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c));
        let reserved = ["scratch", "context"].contains(&name.as_str());
        match (fine, reserved) {
            (true, false) => Ok(name),
            (true, true) => Err(self.fail(word.offset, format!("stage name {name:?} is reserved"))),
            _ => Err(self.fail(
                word.offset,
                format!(
                    "invalid name for build stage: {:?}, name can't start with a number or contain symbols",
                    word.text
                ),
            )),
        }
    }

    fn args(&self) -> Result<Vec<(String, Option<String>)>, SyntaxError> {
        self.required()?;
        let words = words(&self.logical.text, self.rest, self.escape);
        let pair = |word: &Word<'_>| match word.text.split_once('=') {
            Some(("", _)) => Err(self.fail(word.offset, "ARG names can not be blank")),
            Some((key, value)) => Ok((key.to_owned(), Some(value.to_owned()))),
            None => Ok((word.text.to_owned(), None)),
        };
        words.iter().map(pair).collect()
    }

    fn pairs(&self) -> Result<Vec<(String, String)>, SyntaxError> {
        self.required()?;
        let all = words(&self.logical.text, self.rest, self.escape);
        if !all[0].text.contains('=') {
            // The old form: one name, the rest is its value.
            let value = self.logical.text[all[0].offset + all[0].text.len()..].trim();
            if value.is_empty() {
                return Err(self.fail(all[0].offset, format!("{} must have two arguments", self.name)));
            }
            return Ok(vec![(all[0].text.to_owned(), value.to_owned())]);
        }
        let pair = |word: &Word<'_>| match word.text.split_once('=') {
            Some(("", _)) => Err(self.fail(word.offset, format!("{} names can not be blank", self.name))),
            Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
            None => Err(self.fail(
                word.offset,
                format!("Syntax error - can't find = in {:?}. Must be of the form: name=value", word.text),
            )),
        };
        all.iter().map(pair).collect()
    }

    fn json(&self) -> Option<Vec<String>> {
        let text = self.arguments();
        text.starts_with('[').then(|| serde_json::from_str(text).ok()).flatten()
    }

    fn list(&self, json: bool) -> Result<Vec<String>, SyntaxError> {
        self.required()?;
        if let Some(list) = self.json().filter(|_| json) {
            return Ok(list);
        }
        Ok(plain_words(&self.logical.text, self.rest).iter().map(|word| word.text.to_owned()).collect())
    }

    fn command(&self) -> Result<Command, SyntaxError> {
        Ok(self.json().map_or_else(|| Command::Shell(self.arguments().to_owned()), Command::Exec))
    }

    fn onbuild(&self) -> Result<String, SyntaxError> {
        let text = self.required()?;
        let trigger = text.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
        match trigger.as_str() {
            "ONBUILD" => Err(self.fail(self.start(), "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")),
            "FROM" | "MAINTAINER" => {
                Err(self.fail(self.start(), format!("{trigger} isn't allowed as an ONBUILD trigger")))
            }
            _ => {
                let mut whole = text.to_owned();
                for heredoc in &self.logical.heredocs {
                    whole.push_str(&format!("\n{}{}", heredoc.content, heredoc.name));
                }
                Ok(whole)
            }
        }
    }

    fn copy(&self) -> Result<Copy, SyntaxError> {
        let mut copy = Copy::default();
        let add = self.name == "ADD";
        for (word, key, value) in &self.flags {
            let flag = || match value {
                None | Some("true") => Ok(true),
                Some("false") => Ok(false),
                Some(other) => Err(self.fail(word.offset, format!("invalid value for --{key}: {other}"))),
            };
            let text = || match value {
                Some(value) => Ok((*value).to_owned()),
                None => Err(self.fail(word.offset, format!("missing a value on flag: --{key}"))),
            };
            match *key {
                "chown" => copy.chown = Some(text()?),
                "chmod" => copy.chmod = Some(text()?),
                "from" if !add => copy.from = Some(text()?),
                "checksum" if add => copy.checksum = Some(text()?),
                "unpack" if add => copy.unpack = Some(flag()?),
                "parents" if !add => copy.parents = flag()?,
                "exclude" => copy.excludes.push(text()?),
                // A layer of its own is what every COPY makes here.
                "link" => _ = flag()?,
                _ => return Err(self.unknown(*word)),
            }
        }
        self.sources(&mut copy)?;
        Ok(copy)
    }

    fn sources(&self, copy: &mut Copy) -> Result<(), SyntaxError> {
        let mut all = match self.json() {
            Some(list) => list,
            None => {
                plain_words(&self.logical.text, self.rest).iter().map(|word| word.text.to_owned()).collect()
            }
        };
        let missing = "requires at least two arguments, but only one was provided. Destination could not be determined.";
        if all.len() < 2 {
            return Err(self.fail(0, format!("{} {missing}", self.name)));
        }
        copy.target = all.pop().unwrap_or_default();
        if copy.target.starts_with("<<") {
            return Err(
                self.fail(self.start(), format!("{} cannot accept a heredoc as a destination", self.name))
            );
        }
        let mut heredocs = self.logical.heredocs.iter();
        for source in all {
            copy.sources.push(match source.starts_with("<<").then(|| heredocs.next()).flatten() {
                Some(heredoc) => Source::Heredoc(heredoc.clone()),
                None => Source::Path(source),
            });
        }
        Ok(())
    }

    fn run(&self) -> Result<Run, SyntaxError> {
        let (mut mounts, mut network) = (Vec::new(), Network::Default);
        for (word, key, value) in &self.flags {
            match (*key, value) {
                ("mount", Some(value)) => {
                    mounts.push(Mount::parse(value).map_err(|message| self.fail(word.offset, message))?);
                }
                ("network", Some(value)) => {
                    network = match *value {
                        "default" => Network::Default,
                        "none" => Network::None,
                        "host" => Network::Host,
                        other => {
                            return Err(self.fail(word.offset, format!("invalid network mode: {other:?}")));
                        }
                    };
                }
                ("security", Some("sandbox")) => {}
                ("security", Some(other)) => {
                    return Err(self.fail(word.offset, format!("security {other:?} is not allowed")));
                }
                _ => return Err(self.unknown(*word)),
            }
        }
        self.required()?;
        Ok(Run { command: self.command()?, heredocs: self.logical.heredocs.clone(), mounts, network })
    }
}
