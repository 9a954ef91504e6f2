//! [`Ground`]: the folder of one cluster, or of one machine's part of a cluster, and its name. Whatever a run left
//! behind there that was killed with its keeper is taken down first.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::fixtures::Fixtures;
use crate::keeper::Keeper;
use crate::machine::Machine;

pub(crate) struct Ground {
    /// The name that the cluster has on this machine.
    pub name: String,
    pub dir: PathBuf,
    /// Takes everything down, also when the test is killed.
    pub keeper: Keeper,
    knarr: PathBuf,
    /// What command lines begin with.
    prefix: Vec<String>,
}

impl Ground {
    /// Clears and makes the folder, always the same one for a name. `name` has at most 5 letters.
    ///
    /// # Errors
    /// When what was left behind cannot be taken down, or the folder cannot be made.
    pub fn new(fixtures: &Fixtures, name: &str) -> Result<Self> {
        let name = format!("{name}-{}", fixtures.tag);
        Self::made(fixtures, name, None)
    }

    /// The same on a machine of its own, which goes with it.
    ///
    /// # Errors
    /// As [`Self::new`], or when the machine cannot be made.
    pub fn on_machine(fixtures: &Fixtures, name: &str) -> Result<(Self, Machine)> {
        let name = format!("{name}-{}", fixtures.tag);
        if Machine::was_left_behind(&name) {
            clear(fixtures, &name, &Machine::prefix_of(&name))?;
        }
        let machine = Machine::make(&name)?;
        Ok((Self::made(fixtures, name, Some(&machine))?, machine))
    }

    fn made(fixtures: &Fixtures, name: String, machine: Option<&Machine>) -> Result<Self> {
        let prefix = machine.map(Machine::prefix).unwrap_or_default();
        clear(fixtures, &name, &prefix)?;
        let dir = folder(&name);
        fs::create_dir(&dir).with_context(|| format!("making {}", dir.display()))?;
        let keeper = Keeper::start(&format!(
            "KUBECONFIG={dir}/nobodys {prefix} {knarr} down --purge --name {name} --data-dir {dir}/data && rm -rf {dir}{last}",
            prefix = prefix.join(" "),
            knarr = fixtures.knarr.display(),
            dir = dir.display(),
            last = machine.map(|machine| format!(" && {}", machine.removal())).unwrap_or_default(),
        ))?;
        Ok(Self { name, dir, keeper, knarr: fixtures.knarr.clone(), prefix })
    }

    pub fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Runs a `knarr` command about the cluster; its standard output.
    ///
    /// # Errors
    /// When the command fails, with what it said.
    pub fn knarr(&self, arguments: &[&str]) -> Result<String> {
        knarr(&self.prefix, &self.knarr, &self.name, &self.data_dir(), arguments)
    }
}

fn folder(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("knarr-test-{name}"))
}

/// Takes down what a run left behind that was killed with its keeper.
fn clear(fixtures: &Fixtures, name: &str, prefix: &[String]) -> Result<()> {
    let dir = folder(name);
    if dir.exists() {
        knarr(prefix, &fixtures.knarr, name, &dir.join("data"), &["down", "--purge"])?;
        fs::remove_dir_all(&dir).with_context(|| format!("removing {}", dir.display()))?;
    }
    Ok(())
}

fn knarr(
    prefix: &[String],
    program: &Path,
    name: &str,
    data_dir: &Path,
    arguments: &[&str],
) -> Result<String> {
    let mut words = prefix.iter().map(OsStr::new).chain([program.as_os_str()]);
    let first = words.next().context("a program")?;
    let done = Command::new(first)
        .args(words)
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
