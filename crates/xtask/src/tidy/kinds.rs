//! No kind's name in the machinery that serves every kind alike: it would be the first of many. `tidy/kinds.txt`
//! says what that machinery is, and which names it may speak of, each with its reason.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};

use super::Finding;
use super::tokens;
use super::tree::Tree;

const FILE: &str = "tidy/kinds.txt";
/// The kind table: GROUP/VERSION PLURAL KIND and more.
const ROWS: &str = "crates/resources/data/rows.txt";

/// What `tidy/kinds.txt` says.
#[derive(Default)]
struct Rules<'a> {
    /// Folders and files that are generic machinery.
    generic: Vec<&'a str>,
    /// What lies in them and is not.
    particular: Vec<&'a str>,
    /// Names that mean something else everywhere.
    words: BTreeSet<&'a str>,
    /// Names that one file needs.
    allowed: BTreeSet<(&'a str, &'a str)>,
}

/// Names of kinds where there should be none, and permissions nothing needs.
///
/// # Errors
/// When a table or a file is malformed.
pub fn check(tree: &Tree) -> Result<Vec<Finding>> {
    let rules = parse(&tree.table(FILE)?)?;
    let names = names(tree.text(ROWS).with_context(|| format!("{ROWS} is missing"))?);
    let mut findings = Vec::new();
    let mut needed = BTreeSet::new();
    for file in tree.rust().filter(|file| rules.holds_for(&file.path)) {
        for word in tokens::words(&file.text).with_context(|| format!("parsing {}", file.path))? {
            let Some(name) = names.get(word.text.as_str()).filter(|name| !rules.words.contains(**name))
            else {
                continue;
            };
            if rules.allowed.contains(&(file.path.as_str(), name)) {
                needed.insert((file.path.as_str(), *name));
            } else {
                findings.push(Finding::new(
                    &file.path,
                    word.line,
                    format!("{name} in generic machinery, see {FILE}"),
                ));
            }
        }
    }
    let unneeded = rules.allowed.difference(&needed);
    findings.extend(
        unneeded
            .map(|(path, name)| Finding::new(FILE, 0, format!("{path} does not speak of {name} any more"))),
    );
    Ok(findings)
}

impl Rules<'_> {
    fn holds_for(&self, path: &str) -> bool {
        let lies_in = |places: &[&str]| places.iter().any(|place| path.starts_with(place));
        let is_test = path.ends_with("/tests.rs") || path.contains("/tests/");
        lies_in(&self.generic) && !lies_in(&self.particular) && !is_test
    }
}

fn parse<'a>(lines: &[(usize, &'a str)]) -> Result<Rules<'a>> {
    let mut rules = Rules::default();
    for (number, line) in lines {
        let (line, reason) = line.split_once(':').unwrap_or((line, ""));
        let fields: Vec<&str> = line.split_whitespace().collect();
        match (&fields[..], reason.trim().is_empty()) {
            (["generic", place], _) => rules.generic.push(place),
            (["particular", place], false) => rules.particular.push(place),
            (["word", name], false) => _ = rules.words.insert(name),
            (["allow", path, name], false) => _ = rules.allowed.insert((path, name)),
            _ => bail!("{FILE}:{number}: neither a rule nor one with its reason"),
        }
    }
    Ok(rules)
}

/// Every kind's name and its plural.
fn names(rows: &str) -> BTreeSet<&str> {
    let rows = rows.lines().filter(|line| !line.starts_with('#'));
    rows.flat_map(|row| row.split_whitespace().skip(1).take(2)).collect()
}
