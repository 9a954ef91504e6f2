//! The cluster that is measured: started for it, and taken down when it is dropped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

const NAME: &str = "bench";
/// What the kernel counts processor time in, a second.
const TICKS_PER_S: f64 = 100.0;

/// A running cluster of one node.
pub struct Cluster {
    knarr: PathBuf,
    data: TempDir,
    pid: i32,
    /// From calling `knarr up` to its return: the node is Ready.
    pub boot: Duration,
}

impl Cluster {
    /// Starts a cluster from nothing.
    pub fn start(knarr: &Path) -> Result<Self> {
        let knarr = knarr.canonicalize().with_context(|| format!("finding {}", knarr.display()))?;
        let data = tempfile::Builder::new().prefix("knarr-bench-").tempdir()?;
        let mut cluster = Self { knarr, data, pid: 0, boot: Duration::ZERO };
        let started = Instant::now();
        cluster.call(&["up", "--no-kubeconfig"])?;
        cluster.boot = started.elapsed();
        let record =
            fs::read(format!("/run/knarr/{NAME}/server.pid")).context("reading the server's pid file")?;
        let record: serde_json::Value = serde_json::from_slice(&record)?;
        cluster.pid =
            record["pid"].as_i64().and_then(|pid| pid.try_into().ok()).context("the pid file has no pid")?;
        Ok(cluster)
    }

    /// Imports every archive of a folder.
    pub fn import(&self, images: &Path) -> Result<()> {
        let mut archives = Vec::new();
        for entry in fs::read_dir(images).with_context(|| format!("reading {}", images.display()))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "tar") {
                archives.push(path.to_str().context("a path is not UTF-8")?.to_owned());
            }
        }
        let mut arguments = vec!["image", "import"];
        arguments.extend(archives.iter().map(String::as_str));
        self.call(&arguments)
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        format!("/etc/knarr/{NAME}.kubeconfig").into()
    }

    /// The program's size in bytes.
    pub fn binary_bytes(&self) -> Result<u64> {
        Ok(fs::metadata(&self.knarr)?.len())
    }

    /// Processor time the server has used, in seconds.
    pub fn cpu_s(&self) -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).context("the server is gone")?;
        // The program's name, in parentheses, may hold spaces.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks =
            |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
        Ok((ticks(11) + ticks(12)) / TICKS_PER_S)
    }

    /// The server's resident memory in MB (10⁶ bytes).
    pub fn resident_mb(&self) -> Result<f64> {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.pid)).context("the server is gone")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kib: f64 = line.trim().trim_end_matches(" kB").trim().parse()?;
        Ok(kib * 1024.0 / 1e6)
    }

    fn call(&self, arguments: &[&str]) -> Result<()> {
        let (verb, rest) = match arguments {
            ["image", verb, rest @ ..] => (vec!["image", verb], rest),
            [verb, rest @ ..] => (vec![*verb], rest),
            [] => bail!("no command"),
        };
        let output = Command::new(&self.knarr)
            .args(verb)
            .args(["--name", NAME, "--data-dir"])
            .arg(self.data.path())
            .args(rest)
            .output()
            .with_context(|| format!("running {}", self.knarr.display()))?;
        if !output.status.success() {
            bail!("knarr {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Err(error) = self.call(&["down", "--purge"]) {
            eprintln!("the cluster could not be taken down: {error:#}");
        }
    }
}
