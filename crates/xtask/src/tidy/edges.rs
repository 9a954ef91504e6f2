//! Which crate may use which: `tidy/edges.txt`. An edge that is not there is a design decision to be made first.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};

use super::Finding;
use super::packages::Packages;
use super::tree::Tree;

const FILE: &str = "tidy/edges.txt";
/// Stands for every crate.
const ANY: &str = "*";

pub fn check(tree: &Tree, packages: &Packages) -> Result<Vec<Finding>> {
    let allowed = parse(&tree.table(FILE)?)?;
    let mut findings = Vec::new();
    for package in packages.own() {
        let manifest = format!("crates/{}/Cargo.toml", package.name);
        let Some(allowed) = allowed.get(package.name.as_str()) else {
            findings.push(Finding::new(&manifest, 0, format!("the crate does not stand in {FILE}")));
            continue;
        };
        // What only tests use does not shape the product.
        let used = package.dependencies.iter().filter(|dependency| dependency.kind.as_deref() != Some("dev"));
        for dependency in used.filter(|dependency| dependency.path.is_some()) {
            if !allowed.contains(ANY) && !allowed.contains(dependency.name.as_str()) {
                let what = format!("{} may not use {}, by {FILE}", package.name, dependency.name);
                findings.push(Finding::new(&manifest, 0, what));
            }
        }
    }
    Ok(findings)
}

fn parse<'a>(lines: &[(usize, &'a str)]) -> Result<BTreeMap<&'a str, BTreeSet<&'a str>>> {
    let edges = lines.iter().map(|(number, line)| {
        let (name, uses) =
            line.split_once(':').with_context(|| format!("{FILE}:{number}: not NAME: NAME…"))?;
        Ok((name, uses.split_whitespace().collect()))
    });
    edges.collect()
}
