//! What no text of the tree may hold, and what every Rust file opens with.

use super::Finding;
use super::tree::{SourceFile, Tree};

/// Notes to come back: they belong into an issue, whose number then stands in the line.
const REMINDERS: [&str; 4] = ["TODO", "FIXME", "XXX", "HACK"];
/// Folders that exist on somebody's machine.
const HOMES: [&str; 2] = ["/home/", "/root/"];
/// This file has to name what it looks for.
const SELF: &str = "crates/xtask/src/tidy/text.rs";

/// Reminders, bare `allow`s, paths of somebody's machine, and files that do not say what they are.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let people = tree.files().iter().filter(|file| !file.is_generated() && file.path != SELF);
    people.flat_map(lines).chain(tree.rust().filter_map(undocumented)).collect()
}

fn lines(file: &SourceFile) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        let mut find = |what: String| findings.push(Finding::new(&file.path, index + 1, what));
        let words: Vec<&str> = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '#').collect();
        let has_issue = || words.iter().any(|word| is_issue(word));
        for reminder in REMINDERS.iter().filter(|reminder| words.contains(reminder) && !has_issue()) {
            find(format!("{reminder} without an issue's number"));
        }
        for home in HOMES.iter().filter(|home| names_folder(line, home)) {
            find(format!("{home} is a folder of one machine"));
        }
        if file.is_rust()
            && ["#[allow(", "#![allow("].iter().any(|allow| line.trim_start().starts_with(allow))
        {
            find("use #[expect(…, reason = \"…\")]".to_owned());
        }
    }
    findings
}

/// `#12`.
fn is_issue(word: &str) -> bool {
    word.strip_prefix('#')
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit()))
}

/// Whether the line holds a path that starts with `folder`, which is more than an end of another path.
fn names_folder(line: &str, folder: &str) -> bool {
    line.match_indices(folder).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|c| c.is_whitespace() || "\"'`(=:".contains(c))
    })
}

/// A file of tests stands beside the file it tests and shares its introduction.
fn undocumented(file: &SourceFile) -> Option<Finding> {
    let documented = file.text.starts_with("//!") || file.path.ends_with("/tests.rs");
    (!documented)
        .then(|| Finding::new(&file.path, 1, "a file opens with `//!`: what it owns, where to start"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> usize {
        lines(&SourceFile { path: "a.rs".into(), text: text.into() }).len()
    }

    #[test]
    fn finds_what_should_not_be_there() {
        for bad in ["// TODO: later", "x // FIXME(me)", "  #[allow(dead_code)]", "let p = \"/home/me/x\";"] {
            assert_eq!(found(bad), 1, "{bad}");
        }
        for good in
            ["// TODO #12", "todo", "fn fixme_or_not()", "#[expect(dead_code)]", "{dir}/root/usr", "a/home/b"]
        {
            assert_eq!(found(good), 0, "{good}");
        }
    }
}
