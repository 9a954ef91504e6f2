//! The documents that go stale unseen: `ARCHITECTURE.md` and `docs/dependencies.md`.

use std::collections::BTreeSet;

use super::Finding;
use super::packages::Packages;
use super::tree::Tree;

const ARCHITECTURE: &str = "ARCHITECTURE.md";
const ARCHITECTURE_LINES: usize = 300;
const DEPENDENCIES: &str = "docs/dependencies.md";

/// A map that is too long, names what is not there or leaves out a crate; a dependency nobody gave reasons for.
pub fn check(tree: &Tree, packages: &Packages) -> Vec<Finding> {
    let mut findings = architecture(tree, packages);
    findings.extend(dependencies(tree, packages));
    findings
}

fn architecture(tree: &Tree, packages: &Packages) -> Vec<Finding> {
    let Some(text) = tree.text(ARCHITECTURE) else { return vec![missing(ARCHITECTURE)] };
    let mut findings = Vec::new();
    let lines = text.lines().count();
    if lines > ARCHITECTURE_LINES {
        findings.push(Finding::new(ARCHITECTURE, 0, format!("{lines} lines; at most {ARCHITECTURE_LINES}")));
    }
    let top: BTreeSet<&str> = tree.files().iter().filter_map(|file| file.path.split('/').next()).collect();
    for (index, line) in text.lines().enumerate() {
        let paths =
            quoted(line).filter(|path| path.split('/').next().is_some_and(|first| top.contains(first)));
        findings.extend(
            paths
                .filter(|path| !exists(tree, path))
                .map(|path| Finding::new(ARCHITECTURE, index + 1, format!("there is no {path}"))),
        );
    }
    let unnamed = packages.own().filter(|package| !quoted(text).any(|word| word == package.name));
    findings.extend(
        unnamed.map(|package| Finding::new(ARCHITECTURE, 0, format!("says nothing of `{}`", package.name))),
    );
    findings
}

fn dependencies(tree: &Tree, packages: &Packages) -> Vec<Finding> {
    let Some(text) = tree.text(DEPENDENCIES) else { return vec![missing(DEPENDENCIES)] };
    let explained: BTreeSet<&str> = quoted(text).collect();
    let used: BTreeSet<&str> = packages
        .own()
        .flat_map(|package| &package.dependencies)
        .filter(|dependency| dependency.path.is_none())
        .map(|dependency| dependency.name.as_str())
        .collect();
    used.difference(&explained)
        .map(|name| Finding::new(DEPENDENCIES, 0, format!("does not say why `{name}` is used")))
        .collect()
}

fn missing(path: &str) -> Finding {
    Finding::new(path, 0, "is missing")
}

/// What stands between backquotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Whether the tree has such a file, or a folder with files in it.
fn exists(tree: &Tree, path: &str) -> bool {
    let folder = format!("{}/", path.trim_end_matches('/'));
    tree.files().iter().any(|file| file.path == path || file.path.starts_with(&folder))
}
