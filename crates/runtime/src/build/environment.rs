//! The variables of a stage: arguments, environment, and words expanded with both.

use std::collections::{BTreeMap, BTreeSet};

use dockerfile::{Quotes, expand};

use super::config::Settings;
use super::outcome::Failure;
use crate::image::manifest::Platform;

/// Arguments that need no `ARG`, and that no cache key depends on.
const PROXIES: [&str; 5] = ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"];

/// The arguments that a client gave and the file declares before its first stage.
#[derive(Debug, Clone, Default)]
pub struct Globals {
    pub given: BTreeMap<String, String>,
    pub declared: BTreeMap<String, String>,
    pub platform: BTreeMap<String, String>,
}

impl Globals {
    pub fn new(given: BTreeMap<String, String>, host: &Platform) -> Self {
        let mut platform = BTreeMap::new();
        let whole = match host.variant.as_str() {
            "" => format!("{}/{}", host.os, host.architecture),
            variant => format!("{}/{}/{variant}", host.os, host.architecture),
        };
        for of in ["TARGET", "BUILD"] {
            for (part, value) in [
                ("PLATFORM", &whole),
                ("OS", &host.os),
                ("ARCH", &host.architecture),
                ("VARIANT", &host.variant),
            ] {
                platform.insert(format!("{of}{part}"), value.clone());
            }
        }
        Self { given, declared: BTreeMap::new(), platform }
    }

    pub fn lookup(&self, name: &str) -> Option<String> {
        self.declared.get(name).or_else(|| self.platform.get(name)).cloned()
    }

    /// The variables that tools read for their proxy.
    pub fn proxies(&self) -> impl Iterator<Item = (&String, &String)> {
        self.given.iter().filter(|(name, _)| is_proxy(name))
    }
}

pub fn is_proxy(name: &str) -> bool {
    PROXIES.contains(&name.to_ascii_uppercase().as_str())
}

/// The arguments of one stage.
#[derive(Debug, Clone, Default)]
pub struct Arguments {
    values: BTreeMap<String, Option<String>>,
    pub used: BTreeSet<String>,
}

impl Arguments {
    /// `ARG name=default`; what the client gave wins, what the file says for all stages comes last.
    pub fn declare(&mut self, name: &str, default: Option<String>, globals: &Globals) {
        self.used.insert(name.to_owned());
        let given = globals.given.get(name).cloned();
        let value = given.or(default).or_else(|| globals.lookup(name));
        self.values.insert(name.to_owned(), value);
    }

    /// Those with a value that the environment does not hide.
    pub fn visible<'a>(&'a self, settings: &'a Settings) -> impl Iterator<Item = (&'a String, &'a String)> {
        let shown =
            |(name, value): (&'a String, &'a Option<String>)| value.as_ref().map(|value| (name, value));
        self.values.iter().filter_map(shown).filter(|(name, _)| settings.variable(name).is_none())
    }

    pub fn lookup(&self, name: &str, settings: &Settings) -> Option<String> {
        let variable = settings.variable(name).map(str::to_owned);
        variable.or_else(|| self.values.get(name).cloned().flatten())
    }

    pub fn expand(&self, word: &str, escape: char, settings: &Settings) -> Result<String, Failure> {
        self.expand_as(word, escape, Quotes::Removed, settings)
    }

    pub fn expand_as(
        &self,
        word: &str,
        escape: char,
        quotes: Quotes,
        settings: &Settings,
    ) -> Result<String, Failure> {
        expand(word, escape, quotes, &|name| self.lookup(name, settings)).map_err(Failure::of)
    }
}

/// `path` below `folder` unless it is absolute; without `.` and `..`. A `/` at its end stays.
pub fn absolute(folder: &str, path: &str) -> String {
    let joined = if path.starts_with('/') { path.to_owned() } else { format!("{folder}/{path}") };
    let mut names: Vec<&str> = Vec::new();
    for name in joined.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    let folder = (path.ends_with('/') || path.ends_with("/.") || path == ".") && !names.is_empty();
    format!("/{}{}", names.join("/"), if folder { "/" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_made_absolute() {
        for (folder, path, want) in [
            ("/app", "x", "/app/x"),
            ("/app", "./", "/app/"),
            ("/app", ".", "/app/"),
            ("", "x/", "/x/"),
            ("/a/b", "../c", "/a/c"),
            ("/a", "/../../etc", "/etc"),
            ("/", ".", "/"),
        ] {
            assert_eq!(absolute(folder, path), want, "{folder} {path}");
        }
    }

    #[test]
    fn what_was_given_wins_and_the_environment_hides() {
        let host =
            Platform { architecture: "amd64".to_owned(), os: "linux".to_owned(), variant: String::new() };
        let mut globals = Globals::new(BTreeMap::from([("A".to_owned(), "given".to_owned())]), &host);
        globals.declared.insert("B".to_owned(), "global".to_owned());
        let (mut arguments, mut settings) = (Arguments::default(), Settings::default());
        arguments.declare("A", Some("default".to_owned()), &globals);
        arguments.declare("B", None, &globals);
        arguments.declare("TARGETARCH", None, &globals);
        arguments.declare("C", None, &globals);
        let expanded = arguments.expand("$A-$B-$TARGETARCH-$C-$D", '\\', &settings).expect("words");
        assert_eq!(expanded, "given-global-amd64--");
        settings.set_variable("A", "env");
        assert_eq!(arguments.lookup("A", &settings).as_deref(), Some("env"));
        assert_eq!(arguments.visible(&settings).count(), 2);
    }
}
