//! Finding what the tests need: the built binary, the tools, the image archives. What is missing is an error that
//! says how to get it; nothing is skipped.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest, Sha256};

/// Where everything is.
#[derive(Debug, Clone)]
pub struct Fixtures {
    /// The `knarr` under test.
    pub knarr: PathBuf,
    /// Folder of stock kubectls (`kubectl-1.29`, `kubectl-1.35`) and other programs of others.
    pub tools: PathBuf,
    /// Image archives.
    pub images: Vec<PathBuf>,
    /// Four hexadecimal digits that stand for the target folder: part of the names of its clusters, so that
    /// checkouts do not meet on one machine.
    pub tag: String,
    /// Held while tests of this target folder run: one at a time.
    _lock: Arc<File>,
}

impl Fixtures {
    /// Looks for everything; makes the images when they are not there yet. Waits while another run of the same
    /// target folder uses it.
    ///
    /// # Errors
    /// Says what is missing and what brings it.
    pub fn find() -> Result<Self> {
        let target = target_dir()?;
        let knarr = match std::env::var_os("KNARR_BIN") {
            Some(path) => PathBuf::from(path),
            None => target.join("debug/knarr"),
        };
        ensure!(knarr.is_file(), "{} is missing: run cargo build -p knarr", knarr.display());
        let tools = target.join("tools");
        for tool in ["kubectl-1.29", "kubectl-1.35"] {
            let path = tools.join(tool);
            ensure!(path.is_file(), "{} is missing: run scripts/setup test", path.display());
        }
        let images = target.join("images");
        make_images(&images)?;
        let images = ["busybox", "nginx", "kubia"].iter().map(|n| images.join(format!("{n}.tar"))).collect();
        let digest = Sha256::digest(target.as_os_str().as_encoded_bytes());
        let lock = File::create(target.join("e2e.lock")).context("making the lock file")?;
        if lock.try_lock().is_err() {
            eprintln!("waiting for the end-to-end tests that run in {}", target.display());
            lock.lock().context("waiting for other end-to-end tests")?;
        }
        Ok(Self {
            knarr,
            tools,
            images,
            tag: format!("{:02x}{:02x}", digest[0], digest[1]),
            _lock: Arc::new(lock),
        })
    }

    /// All stock kubectls to test with: the one of `PATH` (or the newest) first, then an old one and a new one.
    pub fn kubectls(&self) -> Vec<PathBuf> {
        let old = self.tools.join("kubectl-1.29");
        let new = self.tools.join("kubectl-1.35");
        match on_path("kubectl") {
            Some(own) => vec![own, old, new],
            None => vec![new, old],
        }
    }

    /// The same, and knarr's own.
    pub fn kubectls_and_own(&self) -> Vec<PathBuf> {
        let mut all = self.kubectls();
        all.push(self.knarr.clone());
        all
    }
}

/// Cargo's target folder: the test binary lies in it, two levels down.
fn target_dir() -> Result<PathBuf> {
    let own = std::env::current_exe().context("finding the test's own program")?;
    own.ancestors().nth(3).map(Path::to_path_buf).context("the test does not lie in a target folder")
}

fn make_images(dir: &Path) -> Result<()> {
    // What is there already and still right is not made again.
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let made = Command::new(cargo)
        .args(["run", "-q", "-p", "xtask", "--", "images", "--out"])
        .arg(dir)
        .status()
        .context("running cargo xtask images")?;
    if !made.success() {
        bail!("cargo xtask images failed ({made})");
    }
    Ok(())
}

/// The first program of this name that `PATH` leads to.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}
