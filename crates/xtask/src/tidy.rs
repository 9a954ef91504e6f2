//! `cargo xtask tidy`: the tree's own rules, checked.
//!
//! Each rule is a function from what stands in the tree to [`Finding`]s; start with [`run`], which lists
//! them. What a rule allows stands in the folder `tidy/` at the root. Never changes a source file; the one
//! thing it writes is the ratchet, and only downwards unless asked.

mod absent;
mod circles;
mod documents;
mod edges;
mod kinds;
mod lengths;
mod licences;
mod packages;
mod paths;
mod ratchet;
mod text;
mod tokens;
mod tree;
mod unsafety;

use std::fmt;

use anyhow::{Result, bail};

use packages::Packages;
use ratchet::Ratchet;
use tree::Tree;

/// Where a rule is broken, and how.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    /// From the tree's root.
    path: String,
    /// From 1; 0 where the file as a whole is meant.
    line: usize,
    what: String,
}

impl Finding {
    fn new(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.what),
            line => write!(f, "{}:{line}: {}", self.path, self.what),
        }
    }
}

/// Checks every rule. `accept_excess` lets the ratchet rise to what is there now: a decision to be reviewed.
///
/// # Errors
/// When a rule is broken, or the tree cannot be read.
pub fn run(accept_excess: bool) -> Result<()> {
    let tree = Tree::read()?;
    let packages = Packages::read(tree.root())?;
    let ratchet = Ratchet::read(tree.root())?;

    let mut findings = Vec::new();
    findings.extend(lengths::files(&tree));
    findings.extend(text::check(&tree));
    findings.extend(kinds::check(&tree)?);
    findings.extend(edges::check(&tree, &packages)?);
    findings.extend(absent::check(&tree)?);
    findings.extend(unsafety::check(&tree)?);
    findings.extend(circles::check(&tree, &packages)?);
    findings.extend(licences::check(&tree, &packages)?);
    findings.extend(documents::check(&tree, &packages));

    let mut excess = lengths::functions(&tree)?;
    excess.extend(packages.duplicates());
    findings.extend(ratchet.compare(&excess, accept_excess)?);

    findings.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    for finding in &findings {
        println!("{finding}");
    }
    if !findings.is_empty() {
        bail!("tidy has {} findings", findings.len());
    }
    println!("tidy: {} files, {} packages, no findings", tree.files().len(), packages.len());
    Ok(())
}
