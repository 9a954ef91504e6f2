//! Debian's nginx as a reverse proxy, set up as its documentation advises for speed: connections to the server are kept,
//! and no access log is written.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::cluster::cpu_s;

const PATIENCE: Duration = Duration::from_secs(10);

/// A running nginx.
pub struct Nginx {
    master: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Nginx {
    /// Starts one before a port of this machine; nothing where nginx is not installed (`apt-get install nginx-light`).
    ///
    /// # Errors
    /// When it is installed and does not run.
    pub fn start(backend: u16) -> Result<Option<Self>> {
        let Ok(version) = Command::new("nginx").arg("-v").stderr(Stdio::piped()).output() else {
            eprintln!("nginx is not installed; the Ingress is measured alone");
            return Ok(None);
        };
        eprintln!("beside {}", String::from_utf8_lossy(&version.stderr).trim());
        let folder = tempfile::Builder::new().prefix("knarr-bench-nginx-").tempdir()?;
        // Free a moment ago; nginx says if it is not.
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let (path, at) = (folder.path().join("nginx.conf"), folder.path().display());
        fs::write(
            &path,
            format!(
                "worker_processes auto; daemon off; pid {at}/pid; error_log {at}/error.log;\n\
                 events {{ worker_connections 4096; }}\n\
                 http {{ access_log off; keepalive_requests 1000000000; client_body_temp_path {at}/a; \
                 proxy_temp_path {at}/b; fastcgi_temp_path {at}/c; uwsgi_temp_path {at}/d; scgi_temp_path {at}/e;\n\
                 upstream server {{ server 127.0.0.1:{backend}; keepalive 256; keepalive_requests 1000000000; }}\n\
                 server {{ listen {address}; location / {{ proxy_pass http://server; proxy_http_version 1.1; \
                 proxy_set_header Connection \"\"; proxy_set_header Host $host; \
                 proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme; }} }} }}\n"
            ),
        )?;
        let master = Command::new("nginx").arg("-c").arg(&path).spawn().context("starting nginx")?;
        let nginx = Self { master, address, _folder: folder };
        let begun = Instant::now();
        while std::net::TcpStream::connect(address).is_err() {
            ensure!(begun.elapsed() < PATIENCE, "nginx does not listen on {address}");
            std::thread::yield_now();
        }
        Ok(Some(nginx))
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn master(&self) -> Result<i32> {
        i32::try_from(self.master.id()).context("a process id")
    }

    /// Processor time of all its processes, in seconds.
    ///
    /// # Errors
    /// When it has ended.
    pub fn cpu_s(&self) -> Result<f64> {
        let master = self.master()?;
        let workers = fs::read_to_string(format!("/proc/{master}/task/{master}/children"))?;
        let workers = workers.split_whitespace().map(str::parse::<i32>).collect::<Result<Vec<_>, _>>()?;
        workers.into_iter().chain([master]).map(cpu_s).sum()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let stopped = self.master().and_then(|master| {
            let pid = rustix::process::Pid::from_raw(master).context("a process id")?;
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
            Ok(self.master.wait()?)
        });
        if let Err(error) = stopped {
            eprintln!("nginx could not be stopped: {error:#}");
        }
    }
}
