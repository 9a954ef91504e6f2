//! Whether every dependency's licence fits Apache-2.0: `tidy/licences.txt` says which do, and for which
//! packages somebody looked closer.

use std::collections::BTreeSet;

use anyhow::Result;

use super::Finding;
use super::packages::Packages;
use super::tree::Tree;

const FILE: &str = "tidy/licences.txt";

pub fn check(tree: &Tree, packages: &Packages) -> Result<Vec<Finding>> {
    let lines = tree.table(FILE)?;
    let (looked_at, licences): (Vec<&str>, Vec<&str>) =
        lines.iter().map(|(_, line)| *line).partition(|line| line.starts_with("package "));
    let licences: BTreeSet<&str> = licences.into_iter().collect();
    let looked_at: BTreeSet<&str> =
        looked_at.into_iter().filter_map(|line| line.split_whitespace().nth(1)).collect();
    let mut findings = Vec::new();
    for package in packages.foreign().filter(|package| !looked_at.contains(package.name.as_str())) {
        let stated = package.license.as_deref().unwrap_or("");
        if !fits(stated, &licences) {
            let what =
                format!("{} {} has the licence {stated:?}, not in {FILE}", package.name, package.version);
            findings.push(Finding::new("Cargo.lock", 0, what));
        }
    }
    Ok(findings)
}

/// Evaluates an SPDX expression, in which `/` once meant `OR`.
fn fits(expression: &str, licences: &BTreeSet<&str>) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    let fits = any(&mut words, licences);
    fits && words.next().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn any(words: &mut Words<'_>, licences: &BTreeSet<&str>) -> bool {
    let mut fits = all(words, licences);
    while words.next_if_eq(&"OR").is_some() {
        fits |= all(words, licences);
    }
    fits
}

fn all(words: &mut Words<'_>, licences: &BTreeSet<&str>) -> bool {
    let mut fits = one(words, licences);
    while words.next_if_eq(&"AND").is_some() {
        fits &= one(words, licences);
    }
    fits
}

fn one(words: &mut Words<'_>, licences: &BTreeSet<&str>) -> bool {
    let Some(word) = words.next() else { return false };
    if word == "(" {
        return any(words, licences) & (words.next() == Some(")"));
    }
    // An exception only permits more.
    if words.next_if_eq(&"WITH").is_some() && words.next().is_none() {
        return false;
    }
    licences.contains(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_expressions() {
        let licences = BTreeSet::from(["MIT", "Apache-2.0"]);
        for good in [
            "MIT",
            "GPL-3.0 OR MIT",
            "MIT/Apache-2.0",
            "(GPL-3.0 OR MIT) AND Apache-2.0",
            "Apache-2.0 WITH X",
        ] {
            assert!(fits(good, &licences), "{good}");
        }
        for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT", "MIT Apache-2.0", "MIT OR", "MIT WITH"] {
            assert_eq!(fits(bad, &licences), bad == "MIT OR", "{bad}");
        }
    }
}
