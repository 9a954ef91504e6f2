//! No modules of one folder may use one another in a circle: such modules are one, or need a third. The folder is a
//! crate's `src` or that of a module; what a module below uses counts for the module in the folder.
//! `tidy/circles.txt` names the circles that are still there, each with its reason.
//!
//! Start with [`check`]. Edges are the paths of code that runs (`crate::module`, `super::module`), tests apart. A name
//! that a module re-exports counts as the module's that defines it. A module and its own children may use one another.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};

use super::Finding;
use super::packages::Packages;
use super::paths::{self, Module, Modules};
use super::tree::{SourceFile, Tree};

const FILE: &str = "tidy/circles.txt";

/// What the modules of one folder use of one another, by their paths (`a::b`).
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
        let source = format!("crates/{}/src/", package.name);
        for uses in uses(tree, &source)? {
            for circle in circles(&uses) {
                let known = allowed.get(package.name.as_str());
                if known.is_some_and(|known| circle.iter().all(|name| known.contains(name.as_str()))) {
                    needed.entry(&package.name).or_default().extend(circle);
                } else {
                    let edges = describe(&circle, &uses);
                    findings.push(Finding::new(
                        &source,
                        0,
                        format!("modules in a circle, see {FILE}: {edges}"),
                    ));
                }
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

/// For each folder of a crate, which of its modules use which.
fn uses(tree: &Tree, source: &str) -> Result<Vec<Uses>> {
    let inside = |file: &SourceFile| {
        let inside = file.path.strip_prefix(source)?;
        (!paths::is_test(inside)).then(|| paths::module_of(inside))
    };
    let files: Vec<_> = tree.rust().filter_map(|file| Some((inside(file)?, file))).collect();
    let mut modules = Modules::default();
    for (place, file) in &files {
        let module = Module::parse(&file.text, place).with_context(|| format!("parsing {}", file.path))?;
        modules.insert(place.clone(), module);
    }
    let declared: BTreeSet<Vec<String>> = modules.places().collect();
    let mut folders: BTreeMap<Vec<String>, Uses> = BTreeMap::new();
    for place in &declared {
        let folder = place[..place.len() - 1].to_vec();
        folders.entry(folder).or_default().entry(place.join("::")).or_default();
    }
    for (place, file) in files.iter().filter(|(place, _)| declared.contains(place)) {
        let used = paths::of_crate(&file.text, place).with_context(|| format!("parsing {}", file.path))?;
        for home in used.iter().map(|path| modules.home(path)) {
            // The folder in which the two ways part.
            let shared = place.iter().zip(&home).take_while(|(one, other)| one == other).count();
            if shared < place.len() && shared < home.len() {
                let uses = folders.entry(place[..shared].to_vec()).or_default();
                let name = |path: &[String]| path[..=shared].join("::");
                uses.entry(name(place)).or_default().insert(name(&home));
            }
        }
    }
    Ok(folders.into_values().collect())
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
