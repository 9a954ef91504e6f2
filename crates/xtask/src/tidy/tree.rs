//! The tree as git sees it: tracked files and new ones that are not ignored.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// A text file of the tree.
pub struct SourceFile {
    /// From the tree's root.
    pub path: String,
    pub text: String,
}

impl SourceFile {
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Written by a program: nobody reads it, so no rule of form holds for it.
    pub fn is_generated(&self) -> bool {
        self.path.ends_with("/generated.rs") || self.path.contains("/data/") || self.path == "Cargo.lock"
    }
}

pub struct Tree {
    root: PathBuf,
    files: Vec<SourceFile>,
}

impl Tree {
    /// Reads the tree this program was built from.
    pub fn read() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
        let listed = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(&root)
            .output()
            .context("running git")?;
        if !listed.status.success() {
            bail!("git ls-files failed: {}", String::from_utf8_lossy(&listed.stderr).trim());
        }
        let mut files = Vec::new();
        for path in String::from_utf8(listed.stdout)?.split_terminator('\0') {
            // A file removed and not yet committed, or one that is not text.
            if let Ok(text) = fs::read_to_string(root.join(path)) {
                files.push(SourceFile { path: path.to_owned(), text });
            }
        }
        Ok(Self { root, files })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn files(&self) -> &[SourceFile] {
        &self.files
    }

    /// The Rust files that people write.
    pub fn rust(&self) -> impl Iterator<Item = &SourceFile> {
        self.files.iter().filter(|file| file.is_rust() && !file.is_generated())
    }

    /// A file's text; `None` when there is no such file.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.files.iter().find(|file| file.path == path).map(|file| file.text.as_str())
    }

    /// The lines of a table under `tidy/`, numbered from 1, without comments and empty ones.
    ///
    /// # Errors
    /// When the tree has no such file.
    pub fn table(&self, path: &str) -> Result<Vec<(usize, &str)>> {
        let text = self.text(path).with_context(|| format!("{path} is missing"))?;
        let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
        Ok(lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')).collect())
    }
}
