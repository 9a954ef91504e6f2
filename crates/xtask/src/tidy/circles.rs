//! No crate's top-level modules may use one another in a circle: such modules are one, or need a third.
//! `tidy/circles.txt` names the circles that are still there, each with its reason.
//!
//! Start with [`check`]. Edges are the paths of code that runs (`crate::module`, `super::module`), tests apart. A name
//! that the crate's root re-exports counts as its module's.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};

use super::Finding;
use super::packages::Packages;
use super::paths::{self, Root};
use super::tree::Tree;

const FILE: &str = "tidy/circles.txt";

/// What a module uses, by the module's name.
type Uses = BTreeMap<String, BTreeSet<String>>;

/// Circles that the table does not name, and names in the table that are in no circle.
///
/// # Errors
/// When the table or a file is malformed.
pub fn check(tree: &Tree, packages: &Packages) -> Result<Vec<Finding>> {
    let allowed = parse(&tree.table(FILE)?)?;
    let mut findings = Vec::new();
    let mut needed: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for package in packages.own() {
        let folder = format!("crates/{}/src/", package.name);
        let mut roots = ["lib.rs", "main.rs"].into_iter().map(|name| format!("{folder}{name}"));
        let Some(root) = roots.find(|path| tree.text(path).is_some()) else { continue };
        let uses = uses(tree, &folder, &root)?;
        for circle in circles(&uses) {
            let known = allowed.get(package.name.as_str());
            if known.is_some_and(|known| circle.iter().all(|name| known.contains(name.as_str()))) {
                needed.entry(&package.name).or_default().extend(circle);
            } else {
                let edges = describe(&circle, &uses);
                findings.push(Finding::new(&root, 0, format!("modules in a circle, see {FILE}: {edges}")));
            }
        }
    }
    for (name, modules) in &allowed {
        let unneeded =
            modules.iter().filter(|module| !needed.get(name).is_some_and(|all| all.contains(**module)));
        findings.extend(
            unneeded
                .map(|module| Finding::new(FILE, 0, format!("{module} of {name} is in no circle any more"))),
        );
    }
    Ok(findings)
}

fn parse<'a>(lines: &[(usize, &'a str)]) -> Result<BTreeMap<&'a str, BTreeSet<&'a str>>> {
    let mut allowed: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (number, line) in lines {
        let (names, reason) = line.split_once(':').unwrap_or((line, ""));
        let mut names = names.split_whitespace();
        let (Some(package), false) = (names.next(), reason.trim().is_empty()) else {
            bail!("{FILE}:{number}: not CRATE MODULE MODULE…: REASON")
        };
        allowed.entry(package).or_default().extend(names);
    }
    Ok(allowed)
}

/// Which top-level modules of a crate use which.
fn uses(tree: &Tree, folder: &str, root: &str) -> Result<Uses> {
    let text = tree.text(root).unwrap_or_default();
    let root = Root::parse(text).with_context(|| format!("parsing {root}"))?;
    let mut uses: Uses = root.modules.iter().map(|name| (name.clone(), BTreeSet::new())).collect();
    for file in tree.rust() {
        let Some(inside) = file.path.strip_prefix(folder) else { continue };
        let place = paths::module_of(inside);
        let Some(used) = place.first().and_then(|module| uses.get_mut(*module)) else { continue };
        if paths::is_test(inside) {
            continue;
        }
        let names =
            paths::of_root(&file.text, place.len()).with_context(|| format!("parsing {}", file.path))?;
        used.extend(names.iter().filter_map(|name| root.module_of(name)).map(str::to_owned));
    }
    for (name, used) in &mut uses {
        used.remove(name);
    }
    Ok(uses)
}

/// The largest groups of modules that reach one another.
fn circles(uses: &Uses) -> Vec<BTreeSet<String>> {
    let reached: BTreeMap<&str, BTreeSet<&str>> =
        uses.keys().map(|name| (name.as_str(), reachable(uses, name))).collect();
    let mut found: BTreeSet<BTreeSet<String>> = BTreeSet::new();
    for (name, from_here) in reached.iter().filter(|(name, from_here)| from_here.contains(**name)) {
        let back = from_here.iter().filter(|other| reached[**other].contains(*name));
        found.insert(back.map(|name| (*name).to_owned()).collect());
    }
    found.into_iter().collect()
}

fn reachable<'a>(uses: &'a Uses, from: &str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<&str> = uses[from].iter().map(String::as_str).collect();
    while let Some(name) = open.pop() {
        if reached.insert(name) {
            open.extend(uses[name].iter().map(String::as_str));
        }
    }
    reached
}

/// `a → b, b → a`
fn describe(circle: &BTreeSet<String>, uses: &Uses) -> String {
    let edges = circle.iter().flat_map(|from| uses[from].intersection(circle).map(move |to| (from, to)));
    edges.map(|(from, to)| format!("{from} → {to}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(&str, &[&str])]) -> Uses {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        edges.iter().map(|(from, to)| ((*from).to_owned(), set(to))).collect()
    }

    #[test]
    fn finds_groups_that_reach_one_another() {
        let uses = graph(&[
            ("a", &["b"]),
            ("b", &["c"]),
            ("c", &["b", "d"]),
            ("d", &[]),
            ("e", &["f"]),
            ("f", &["e", "a"]),
        ]);
        let found: Vec<Vec<String>> =
            circles(&uses).into_iter().map(|circle| circle.into_iter().collect()).collect();
        assert_eq!(found, [["b", "c"], ["e", "f"]]);
        assert_eq!(describe(&circles(&uses)[0], &uses), "b → c, c → b");
        assert!(circles(&graph(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &[])])).is_empty());
    }

    #[test]
    fn an_exception_has_its_reason() {
        let allowed = parse(&[(1, "api a b: why")]).expect("well formed");
        assert_eq!(allowed["api"], BTreeSet::from(["a", "b"]));
        assert!(parse(&[(1, "api a b")]).is_err());
    }
}
