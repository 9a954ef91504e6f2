//! A real cluster of the built `knarr`, removed whatever happens to the test.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::fixtures::Fixtures;
use crate::ground::Ground;
use crate::shell::Shell;
use crate::transcript::Transcript;

/// A running cluster. Taken down when dropped, and also when the test is interrupted or killed.
pub struct Cluster {
    pub fixtures: Fixtures,
    /// How long `knarr up` took.
    pub boot: Duration,
    /// What `knarr up` printed.
    pub said: String,
    /// Where all its files are, and those of its terminals.
    ground: Ground,
}

impl Cluster {
    /// Starts a cluster and imports the images, where it has nodes. `name` has at most 5 letters; `mirror`
    /// (`host:port`) is asked for images of docker.io.
    ///
    /// # Errors
    /// What `knarr` said when it could not.
    pub fn start(fixtures: &Fixtures, name: &str, nodes: u8, mirror: Option<&str>) -> Result<Self> {
        Self::started(fixtures, Ground::new(fixtures, name)?, nodes, mirror, &[])
    }

    /// Starts one more server of a cluster whose objects are in the etcd at `urls`; `first` is the server whose keys it
    /// gets, but for the first.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn sharing(
        fixtures: &Fixtures,
        name: &str,
        nodes: u8,
        urls: &str,
        first: Option<&Self>,
    ) -> Result<Self> {
        let ground = Ground::new(fixtures, name)?;
        if let Some(first) = first {
            let (from, to) = (first.data_dir().join("pki"), ground.data_dir().join("pki"));
            fs::create_dir_all(&to)?;
            for file in ["ca.crt", "ca.key", "front-proxy-ca.crt", "front-proxy-ca.key", "sa.key"] {
                fs::copy(from.join(file), to.join(file)).with_context(|| format!("copying {file}"))?;
            }
        }
        Self::started(fixtures, ground, nodes, None, &["--etcd-servers", urls])
    }

    fn started(
        fixtures: &Fixtures,
        ground: Ground,
        nodes: u8,
        mirror: Option<&str>,
        more: &[&str],
    ) -> Result<Self> {
        let config = ground.dir.join("config.yaml").display().to_string();
        let mut settings = format!("auditLog: {}/audit.log\n", ground.dir.display());
        if let Some(mirror) = mirror {
            settings.push_str(&format!("registryMirrors:\n  docker.io: [\"{mirror}\"]\n"));
        }
        let count = nodes.to_string();
        let mut arguments = vec!["up", "--no-kubeconfig", "--config", &config];
        arguments.extend(more);
        match nodes {
            // Only the settings can say so.
            0 => settings.push_str("nodes: 0\n"),
            _ => arguments.extend(["--nodes", &count]),
        }
        fs::write(&config, settings)?;
        let started = Instant::now();
        let said = ground.knarr(&arguments)?;
        let boot = started.elapsed();
        if nodes == 0 {
            return Ok(Self { fixtures: fixtures.clone(), boot, said, ground });
        }
        let mut import = vec!["image", "import"];
        import.extend(fixtures.images.iter().filter_map(|path| path.to_str()));
        ground.knarr(&import)?;
        Ok(Self { fixtures: fixtures.clone(), boot, said, ground })
    }

    /// Runs a `knarr` command for this cluster; its standard output.
    ///
    /// # Errors
    /// When the command fails, with what it said.
    pub fn knarr(&self, arguments: &[&str]) -> Result<String> {
        self.ground.knarr(arguments)
    }

    /// The name it has on this machine.
    pub fn name(&self) -> &str {
        &self.ground.name
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        PathBuf::from(format!("/etc/knarr/{}.kubeconfig", self.name()))
    }

    /// Where the cluster keeps its lasting state.
    pub fn data_dir(&self) -> PathBuf {
        self.ground.data_dir()
    }

    /// The server's audit log.
    pub fn audit_log(&self) -> PathBuf {
        self.ground.dir.join("audit.log")
    }

    /// The end of what the server logged, at most `lines` lines.
    pub fn log_tail(&self, lines: usize) -> String {
        let log = fs::read(self.data_dir().join("server.log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let all: Vec<&str> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// The server's process id, also while a node is not Ready.
    ///
    /// # Errors
    /// When there is no server.
    pub fn server_pid(&self) -> Result<String> {
        let record = fs::read_to_string(format!("/run/knarr/{}/server.pid", self.name()));
        let record = record.context("reading the server's process id")?;
        let digits = record.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit);
        Ok(digits.collect())
    }

    /// A user's terminal with the administrator's rights, which writes what happens into an account.
    ///
    /// # Errors
    /// When its folder cannot be made.
    pub fn shell(&self, kubectl: &Path, transcript: &Transcript) -> Result<Shell> {
        Shell::new(&self.ground.dir, &self.kubeconfig(), kubectl, &self.fixtures.knarr, transcript)
    }

    /// Takes it down and says whether that worked; dropping it does the same and only prints.
    ///
    /// # Errors
    /// When something of it could not be removed.
    pub fn take_down(mut self) -> Result<()> {
        self.ground.keeper.finish()
    }
}
