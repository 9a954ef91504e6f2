//! The cluster that is measured: started for it, and taken down when it is dropped.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

const NAME: &str = "bench";
/// What the kernel counts processor time in, a second.
const TICKS_PER_S: f64 = 100.0;

/// A running cluster.
pub struct Cluster {
    knarr: PathBuf,
    data: TempDir,
    pid: i32,
    /// The server, where it is a child of this process.
    child: Option<Child>,
    /// From starting it to its readiness.
    pub boot: Duration,
}

impl Cluster {
    /// Starts a cluster of one node from nothing; returns when the node is Ready.
    pub fn start(knarr: &Path) -> Result<Self> {
        let mut cluster = Self::new(knarr)?;
        let started = Instant::now();
        cluster.call(&["up", "--no-kubeconfig"])?;
        cluster.boot = started.elapsed();
        cluster.find_pid()?;
        Ok(cluster)
    }

    /// Starts a control plane without a node from nothing; returns when its API answers.
    pub fn control_plane(knarr: &Path) -> Result<Self> {
        let mut cluster = Self::new(knarr)?;
        let started = Instant::now();
        let log = cluster.data.path().join("bench-server.log");
        let mut child = Command::new(&cluster.knarr)
            .args(["server", "--disable-agent", "--name", NAME, "--data-dir"])
            .arg(cluster.data.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(&log)?)
            .spawn()
            .with_context(|| format!("running {}", cluster.knarr.display()))?;
        let output = child.stdout.take().context("the server has no standard output")?;
        cluster.child = Some(child);
        let mut line = String::new();
        // The server says one line, once it is ready.
        BufReader::new(output).read_line(&mut line).context("waiting for the server")?;
        if line.is_empty() {
            bail!("the server did not start: {}", fs::read_to_string(&log)?.trim());
        }
        cluster.boot = started.elapsed();
        cluster.find_pid()?;
        Ok(cluster)
    }

    fn new(knarr: &Path) -> Result<Self> {
        let knarr = knarr.canonicalize().with_context(|| format!("finding {}", knarr.display()))?;
        let data = tempfile::Builder::new().prefix("knarr-bench-").tempdir()?;
        Ok(Self { knarr, data, pid: 0, child: None, boot: Duration::ZERO })
    }

    fn find_pid(&mut self) -> Result<()> {
        let record =
            fs::read(format!("/run/knarr/{NAME}/server.pid")).context("reading the server's pid file")?;
        let record: serde_json::Value = serde_json::from_slice(&record)?;
        self.pid =
            record["pid"].as_i64().and_then(|pid| pid.try_into().ok()).context("the pid file has no pid")?;
        Ok(())
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
        cpu_s(self.pid).context("the server is gone")
    }

    /// Processor time of each of the server's threads so far, in nanoseconds.
    ///
    /// For short stretches, where the kernel's hundredths of a second are too coarse; a thread that ends takes
    /// its time along.
    pub fn thread_times(&self) -> Result<ThreadTimes> {
        let mut times = HashMap::new();
        for thread in fs::read_dir(format!("/proc/{}/task", self.pid)).context("the server is gone")? {
            let path = thread?.path();
            // A thread may end while the others are read.
            let Ok(statistics) = fs::read_to_string(path.join("schedstat")) else { continue };
            let nanoseconds = statistics.split_whitespace().next().and_then(|field| field.parse().ok());
            times.insert(path, nanoseconds.context("a thread's schedstat has no time")?);
        }
        Ok(ThreadTimes(times))
    }

    /// The server's resident memory in MB (10⁶ bytes).
    pub fn resident_mb(&self) -> Result<f64> {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.pid)).context("the server is gone")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kib: f64 = line.trim().trim_end_matches(" kB").trim().parse()?;
        Ok(kib * 1024.0 / 1e6)
    }

    /// The size of the store's file, in bytes.
    pub fn store_bytes(&self) -> Result<u64> {
        Ok(fs::metadata(self.data.path().join("store.redb")).context("finding the store's file")?.len())
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

/// Processor time that a process has used, in seconds.
///
/// # Errors
/// When there is no such process.
pub fn cpu_s(pid: i32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The program's name, in parentheses, may hold spaces.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    Ok((ticks(11) + ticks(12)) / TICKS_PER_S)
}

/// Processor time of each of a process's threads, in nanoseconds.
pub struct ThreadTimes(HashMap<PathBuf, u64>);

impl ThreadTimes {
    /// What the threads took since `before`, in seconds.
    pub fn since_s(&self, before: &Self) -> f64 {
        let took =
            |(thread, now): (&PathBuf, &u64)| now - before.0.get(thread).copied().unwrap_or(0).min(*now);
        self.0.iter().map(took).sum::<u64>() as f64 / 1e9
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Err(error) = self.call(&["down", "--purge"]) {
            eprintln!("the cluster could not be taken down: {error:#}");
        }
        if let Some(child) = &mut self.child
            && let Err(error) = child.wait()
        {
            eprintln!("the server's end could not be waited for: {error}");
        }
    }
}
