//! A real cluster of the built `knarr`, removed whatever happens to the test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::fixtures::Fixtures;
use crate::keeper::Keeper;
use crate::shell::Shell;
use crate::transcript::Transcript;

/// A running cluster. Taken down when dropped, and also when the test is interrupted or killed.
pub struct Cluster {
    /// The name it has on this machine.
    pub name: String,
    pub fixtures: Fixtures,
    /// How long `knarr up` took.
    pub boot: Duration,
    /// What `knarr up` printed.
    pub said: String,
    /// All its files, and those of its terminals.
    dir: PathBuf,
    keeper: Keeper,
}

impl Cluster {
    /// Starts a cluster and imports the images, where it has nodes. `name` has at most 5 letters; `mirror`
    /// (`host:port`) is asked for images of docker.io.
    ///
    /// # Errors
    /// What `knarr` said when it could not.
    pub fn start(fixtures: &Fixtures, name: &str, nodes: u8, mirror: Option<&str>) -> Result<Self> {
        let name = format!("{name}-{}", fixtures.tag);
        // Always the same folder, so that what a run left behind that was killed with its keeper is found.
        let dir = std::env::temp_dir().join(format!("knarr-test-{name}"));
        let data_dir = dir.join("data");
        let knarr = |arguments: &[&str]| knarr(&fixtures.knarr, &name, &data_dir, arguments);
        if dir.exists() {
            knarr(&["down", "--purge"])?;
            fs::remove_dir_all(&dir).with_context(|| format!("removing {}", dir.display()))?;
        }
        fs::create_dir(&dir).with_context(|| format!("making {}", dir.display()))?;
        let keeper = Keeper::start(&format!(
            "KUBECONFIG={dir}/nobodys {knarr} down --purge --name {name} --data-dir {data_dir} && rm -rf {dir}",
            knarr = fixtures.knarr.display(),
            data_dir = data_dir.display(),
            dir = dir.display(),
        ))?;
        let config = dir.join("config.yaml").display().to_string();
        let mut settings = format!("auditLog: {}/audit.log\n", dir.display());
        if let Some(mirror) = mirror {
            settings.push_str(&format!("registryMirrors:\n  docker.io: [\"{mirror}\"]\n"));
        }
        let count = nodes.to_string();
        let mut arguments = vec!["up", "--no-kubeconfig", "--config", &config];
        match nodes {
            // Only the settings can say so.
            0 => settings.push_str("nodes: 0\n"),
            _ => arguments.extend(["--nodes", &count]),
        }
        fs::write(&config, settings)?;
        let started = Instant::now();
        let said = knarr(&arguments)?;
        let boot = started.elapsed();
        if nodes == 0 {
            return Ok(Self { name, fixtures: fixtures.clone(), boot, said, dir, keeper });
        }
        let mut import = vec!["image", "import"];
        import.extend(fixtures.images.iter().filter_map(|path| path.to_str()));
        knarr(&import)?;
        Ok(Self { name, fixtures: fixtures.clone(), boot, said, dir, keeper })
    }

    /// Runs a `knarr` command for this cluster; its standard output.
    ///
    /// # Errors
    /// When the command fails, with what it said.
    pub fn knarr(&self, arguments: &[&str]) -> Result<String> {
        knarr(&self.fixtures.knarr, &self.name, &self.data_dir(), arguments)
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        PathBuf::from(format!("/etc/knarr/{}.kubeconfig", self.name))
    }

    /// Where the cluster keeps its lasting state.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// The server's audit log.
    pub fn audit_log(&self) -> PathBuf {
        self.dir.join("audit.log")
    }

    /// The end of what the server logged, at most `lines` lines.
    pub fn log_tail(&self, lines: usize) -> String {
        let log = fs::read(self.data_dir().join("server.log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let all: Vec<&str> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// The server's process id.
    ///
    /// # Errors
    /// When `knarr status` does not tell it.
    pub fn server_pid(&self) -> Result<String> {
        let status = self.knarr(&["status"])?;
        let (_, rest) = status.split_once("server process ").context("no process in the status")?;
        Ok(rest.chars().take_while(char::is_ascii_digit).collect())
    }

    /// A user's terminal with the administrator's rights, which writes what happens into an account.
    ///
    /// # Errors
    /// When its folder cannot be made.
    pub fn shell(&self, kubectl: &Path, transcript: &Transcript) -> Result<Shell> {
        Shell::new(&self.dir, &self.kubeconfig(), kubectl, &self.fixtures.knarr, transcript)
    }

    /// Takes it down and says whether that worked; dropping it does the same and only prints.
    ///
    /// # Errors
    /// When something of it could not be removed.
    pub fn take_down(mut self) -> Result<()> {
        self.keeper.finish()
    }
}

/// Runs a command of `program` about the cluster `name`.
pub(crate) fn knarr(program: &Path, name: &str, data_dir: &Path, arguments: &[&str]) -> Result<String> {
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
