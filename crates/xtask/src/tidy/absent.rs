//! What a crate must never be built with: `tidy/absent.txt`. Edges speak of neighbours; this speaks of everything
//! that comes along with them.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::Finding;
use super::tree::Tree;

const FILE: &str = "tidy/absent.txt";

pub fn check(tree: &Tree) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for (number, line) in tree.table(FILE)? {
        let (name, absent) =
            line.split_once(':').with_context(|| format!("{FILE}:{number}: not CRATE: PACKAGE…"))?;
        let built = built_for(tree, name)?;
        for package in absent.split_whitespace().filter(|package| built.contains(*package)) {
            let manifest = format!("crates/{name}/Cargo.toml");
            let what = format!(
                "{name} is built with {package}, by {FILE} it may not; see cargo tree -p {name} -i {package}"
            );
            findings.push(Finding::new(&manifest, 0, what));
        }
    }
    Ok(findings)
}

/// The packages that are part of `name` when it is built alone, with the features it asks for and no others'.
fn built_for(tree: &Tree, name: &str) -> Result<BTreeSet<String>> {
    let told = Command::new("cargo")
        .args([
            "tree",
            "--locked",
            "--edges",
            "normal",
            "--prefix",
            "none",
            "--format",
            "{p}",
            "--package",
            name,
        ])
        .args(["--target", "x86_64-unknown-linux-gnu"])
        .current_dir(tree.root())
        .output()
        .context("running cargo")?;
    if !told.status.success() {
        bail!("cargo tree failed: {}", String::from_utf8_lossy(&told.stderr).trim());
    }
    let listed = String::from_utf8(told.stdout)?;
    Ok(listed.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
}
