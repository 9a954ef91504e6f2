//! The packages of the build on Linux, as cargo tells them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::ratchet::Excess;

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
pub struct Package {
    pub name: String,
    pub version: String,
    pub license: Option<String>,
    /// Absent for what stands in this tree.
    pub source: Option<String>,
    pub dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
pub struct Dependency {
    pub name: String,
    /// Absent: a normal one; else `dev` or `build`.
    pub kind: Option<String>,
    /// Present for what stands in this tree.
    pub path: Option<String>,
}

pub struct Packages(Vec<Package>);

impl Packages {
    pub fn read(root: &Path) -> Result<Self> {
        let told = Command::new("cargo")
            .args(["metadata", "--format-version", "1", "--locked"])
            .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
            .current_dir(root)
            .output()
            .context("running cargo")?;
        if !told.status.success() {
            bail!("cargo metadata failed: {}", String::from_utf8_lossy(&told.stderr).trim());
        }
        let metadata: Metadata = serde_json::from_slice(&told.stdout)?;
        Ok(Self(metadata.packages))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The crates of this tree.
    pub fn own(&self) -> impl Iterator<Item = &Package> {
        self.0.iter().filter(|package| package.source.is_none())
    }

    /// Everybody else's.
    pub fn foreign(&self) -> impl Iterator<Item = &Package> {
        self.0.iter().filter(|package| package.source.is_some())
    }

    /// Packages that are there in more than one version: each costs build time and bytes.
    pub fn duplicates(&self) -> Vec<Excess> {
        let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for package in &self.0 {
            versions.entry(&package.name).or_default().insert(&package.version);
        }
        let several = versions.into_iter().filter(|(_, versions)| versions.len() > 1);
        several
            .map(|(name, versions)| Excess {
                rule: "versions",
                name: name.to_owned(),
                amount: versions.len(),
                limit: 1,
            })
            .collect()
    }
}
