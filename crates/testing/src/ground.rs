//! [`Ground`]: the folder of one cluster, or of one machine's part of a cluster, and its name. Whatever a run left
//! behind there that was killed with its keeper is taken down first.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::fixtures::Fixtures;
use crate::keeper::Keeper;

pub(crate) struct Ground {
    /// The name that the cluster has on this machine.
    pub name: String,
    pub dir: PathBuf,
    /// Takes everything down, also when the test is killed.
    pub keeper: Keeper,
    knarr: PathBuf,
}

impl Ground {
    /// Clears and makes the folder, always the same one for a name. `name` has at most 5 letters.
    ///
    /// # Errors
    /// When what was left behind cannot be taken down, or the folder cannot be made.
    pub fn new(fixtures: &Fixtures, name: &str) -> Result<Self> {
        let name = format!("{name}-{}", fixtures.tag);
        let dir = std::env::temp_dir().join(format!("knarr-test-{name}"));
        let data_dir = dir.join("data");
        if dir.exists() {
            knarr(&fixtures.knarr, &name, &data_dir, &["down", "--purge"])?;
            fs::remove_dir_all(&dir).with_context(|| format!("removing {}", dir.display()))?;
        }
        fs::create_dir(&dir).with_context(|| format!("making {}", dir.display()))?;
        let keeper = Keeper::start(&format!(
            "KUBECONFIG={dir}/nobodys {knarr} down --purge --name {name} --data-dir {data_dir} && rm -rf {dir}",
            knarr = fixtures.knarr.display(),
            data_dir = data_dir.display(),
            dir = dir.display(),
        ))?;
        Ok(Self { name, dir, keeper, knarr: fixtures.knarr.clone() })
    }

    pub fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Runs a `knarr` command about the cluster; its standard output.
    ///
    /// # Errors
    /// When the command fails, with what it said.
    pub fn knarr(&self, arguments: &[&str]) -> Result<String> {
        knarr(&self.knarr, &self.name, &self.data_dir(), arguments)
    }
}

fn knarr(program: &Path, name: &str, data_dir: &Path, arguments: &[&str]) -> Result<String> {
    let done = Command::new(program)
        .args(arguments)
        .args(["--name", name, "--data-dir"])
        .arg(data_dir)
        // Never the user's own: it is not ours to change.
        .env("KUBECONFIG", data_dir.with_file_name("nobodys"))
        .output()
        .with_context(|| format!("running {}", program.display()))?;
    let out = String::from_utf8_lossy(&done.stdout).into_owned();
    let err = String::from_utf8_lossy(&done.stderr);
    ensure!(done.status.success(), "knarr {} ({}): {out}{err}", arguments.join(" "), done.status);
    Ok(out)
}
