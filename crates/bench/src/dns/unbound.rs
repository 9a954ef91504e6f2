//! Debian's unbound with the names as local data, set up as its documentation advises for speed: a thread for each core,
//! each with sockets of its own, and no log of questions.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::cluster::cpu_s;

const PATIENCE: Duration = Duration::from_secs(10);

/// A running unbound.
pub struct Unbound {
    child: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Unbound {
    /// Starts one that knows these names; nothing where unbound is not installed (`apt-get install unbound`).
    ///
    /// # Errors
    /// When it is installed and does not run.
    pub fn start<'a>(names: impl Iterator<Item = (&'a str, Ipv4Addr)>) -> Result<Option<Self>> {
        let Ok(version) = Command::new("unbound").arg("-V").output() else {
            eprintln!("unbound is not installed; the cluster's DNS is measured alone");
            return Ok(None);
        };
        let version = String::from_utf8_lossy(&version.stdout).into_owned();
        eprintln!("beside unbound {}", version.lines().next().unwrap_or_default());
        let folder = tempfile::Builder::new().prefix("knarr-bench-unbound-").tempdir()?;
        // Free a moment ago; unbound says if it is not.
        let address = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let path = folder.path().join("unbound.conf");
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let mut text = format!(
            "server:\n interface: 127.0.0.1\n port: {}\n num-threads: {threads}\n so-reuseport: yes\n \
             do-daemonize: no\n use-syslog: no\n logfile: \"\"\n verbosity: 0\n log-queries: no\n \
             statistics-interval: 0\n username: \"\"\n chroot: \"\"\n pidfile: \"\"\n directory: \"{}\"\n \
             module-config: \"iterator\"\n local-zone: \"cluster.local.\" static\n",
            address.port(),
            folder.path().display()
        );
        for (name, address) in names {
            writeln!(text, " local-data: \"{name}. 30 IN A {address}\"")?;
        }
        text.push_str("remote-control:\n control-enable: no\n");
        fs::write(&path, text)?;
        let child = Command::new("unbound")
            .args(["-d", "-c"])
            .arg(&path)
            .stdin(Stdio::null())
            .spawn()
            .context("starting unbound")?;
        let unbound = Self { child, address, _folder: folder };
        let begun = Instant::now();
        while std::net::TcpStream::connect(address).is_err() {
            ensure!(begun.elapsed() < PATIENCE, "unbound does not listen on {address}");
            std::thread::yield_now();
        }
        Ok(Some(unbound))
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn pid(&self) -> Result<i32> {
        i32::try_from(self.child.id()).context("a process id")
    }

    /// Processor time of all its threads, in seconds.
    ///
    /// # Errors
    /// When it has ended.
    pub fn cpu_s(&self) -> Result<f64> {
        cpu_s(self.pid()?)
    }
}

impl Drop for Unbound {
    fn drop(&mut self) {
        let stopped = self.pid().and_then(|pid| {
            let pid = rustix::process::Pid::from_raw(pid).context("a process id")?;
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
            Ok(self.child.wait()?)
        });
        if let Err(error) = stopped {
            eprintln!("unbound could not be stopped: {error:#}");
        }
    }
}
