//! etcd for tests: real processes on loopback ports, in temporary folders, ended with the value that holds them.
//!
//! The program is the one that `scripts/setup test` fetches, or else the machine's.

use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::{Config, Endpoint, TlsFiles};

/// How long etcd may take to be ready.
const PATIENCE: Duration = Duration::from_secs(60);
const TOOLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/tools/etcd");

/// The files of a member that speaks TLS: its certificate and key, and whose clients it lets in.
#[derive(Debug, Clone)]
pub struct ServerTls {
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub client_ca: PathBuf,
}

/// Members of one etcd.
pub struct Cluster {
    folder: tempfile::TempDir,
    pub members: Vec<Member>,
}

/// One process, or the place of one that is gone.
pub struct Member {
    name: String,
    arguments: Vec<String>,
    url: String,
    notices: PathBuf,
    child: Option<Child>,
}

impl Cluster {
    /// Starts `count` members and returns once all are ready.
    ///
    /// # Errors
    /// When etcd is not there or does not come up.
    pub fn start(count: usize, tls: Option<&ServerTls>) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        // Held until all are chosen, so that no two are the same.
        let held =
            (0..2 * count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<io::Result<Vec<_>>>()?;
        let ports = held.iter().map(|held| Ok(held.local_addr()?.port())).collect::<io::Result<Vec<_>>>()?;
        drop(held);
        let (clients, peers) = ports.split_at(count);
        let peer = |n: usize| format!("http://127.0.0.1:{}", peers[n]);
        let all: Vec<_> = (0..count).map(|n| format!("m{n}={}", peer(n))).collect();
        let member = |n: usize| Member::new(folder.path(), n, clients[n], &peer(n), &all.join(","), tls);
        let mut members: Vec<_> = (0..count).map(member).collect();
        // None is ready before the majority is.
        let waiting = members.iter_mut().map(Member::spawn).collect::<io::Result<Vec<_>>>()?;
        waiting.iter().try_for_each(ready)?;
        Ok(Self { folder, members })
    }

    /// How clients without TLS reach all members.
    pub fn config(&self) -> Config {
        Config::new(self.endpoints())
    }

    pub fn endpoints(&self) -> Vec<Endpoint> {
        self.members.iter().map(Member::endpoint).collect()
    }

    pub fn urls(&self) -> String {
        self.members.iter().map(|member| member.url.as_str()).collect::<Vec<_>>().join(",")
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Member {
    fn new(folder: &Path, n: usize, port: u16, peer: &str, all: &str, tls: Option<&ServerTls>) -> Self {
        let name = format!("m{n}");
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://127.0.0.1:{port}");
        let data = folder.join(&name);
        let mut arguments: Vec<String> = [
            ("--name", name.as_str()),
            ("--data-dir", &data.display().to_string()),
            ("--listen-client-urls", &url),
            ("--advertise-client-urls", &url),
            ("--listen-peer-urls", peer),
            ("--initial-advertise-peer-urls", peer),
            ("--initial-cluster", all),
            ("--heartbeat-interval", "50"),
            ("--election-timeout", "500"),
            ("--logger", "zap"),
        ]
        .into_iter()
        .flat_map(|(flag, value)| [flag.to_owned(), value.to_owned()])
        .collect();
        if let Some(tls) = tls {
            let files = [
                ("cert-file", &tls.certificate),
                ("key-file", &tls.key),
                ("trusted-ca-file", &tls.client_ca),
            ];
            arguments.extend(files.map(|(flag, path)| format!("--{flag}={}", path.display())));
            arguments.push("--client-cert-auth".to_owned());
        }
        let notices = folder.join(format!("{name}.notices"));
        Self { name, arguments, url, notices, child: None }
    }

    pub fn endpoint(&self) -> Endpoint {
        Endpoint::parse(&self.url).expect("the address was made here")
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Starts the process; systemd's notices, which etcd sends, come out of the socket.
    fn spawn(&mut self) -> io::Result<UnixDatagram> {
        match std::fs::remove_file(&self.notices) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = UnixDatagram::bind(&self.notices)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let log =
            std::fs::File::options().create(true).append(true).open(self.notices.with_extension("log"))?;
        let program = if Path::new(TOOLS).exists() { TOOLS } else { "etcd" };
        let child = Command::new(program)
            .args(&self.arguments)
            .env("NOTIFY_SOCKET", &self.notices)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .map_err(|error| {
                io::Error::other(format!("{program}, which `scripts/setup test` fetches: {error}"))
            })?;
        self.child = Some(child);
        Ok(socket)
    }

    /// Starts the process again after [`Member::kill`].
    ///
    /// # Errors
    /// When the process does not come up; it does so only with a majority of the others.
    pub fn start(&mut self) -> io::Result<()> {
        let socket = self.spawn()?;
        ready(&socket)
    }

    /// Starts the process again, and does not wait until it is ready.
    ///
    /// # Errors
    /// When there is no such program.
    pub fn begin(&mut self) -> io::Result<()> {
        self.spawn().map(drop)
    }

    /// Ends the process without a warning.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended before.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// The process' number.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// A configuration that names this member alone.
    pub fn config(&self, tls: TlsFiles) -> Config {
        Config { tls, ..Config::new(vec![self.endpoint()]) }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}

fn ready(socket: &UnixDatagram) -> io::Result<()> {
    let mut notice = [0; 256];
    loop {
        let length = socket.recv(&mut notice)?;
        if notice[..length].starts_with(b"READY=1") {
            return Ok(());
        }
    }
}
