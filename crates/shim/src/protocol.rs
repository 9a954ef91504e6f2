//! The messages between server and shim: one JSON document a packet, files beside it where a
//! request or a reply carries some. Also the files in a sandbox's directory that both read.
//!
//! The order of a container's life is Start → [`Event::Container`] → Forget.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The largest packet, in bytes: whatever may be larger (specs, environments) goes through a file.
pub const MAX_PACKET_BYTES: usize = 64 << 10;

/// In a sandbox's directory: [`PodSetup`], written before the shim starts.
pub const POD_FILE: &str = "shim.json";
/// In a sandbox's directory: the socket the shim serves.
pub const SOCKET_FILE: &str = "shim.sock";
/// In a sandbox's directory: the shim's process id.
pub const PID_FILE: &str = "shim.pid";
/// In a sandbox's directory: a folder for each container.
pub const CONTAINERS_DIR: &str = "c";
/// In a container's directory: [`ContainerSetup`], written before the container is started.
pub const SETUP_FILE: &str = "start.json";
/// In a container's directory: [`Started`].
pub const STARTED_FILE: &str = "started.json";
/// In a container's directory: [`Exit`].
pub const EXIT_FILE: &str = "exit.json";

/// The pod's settings, which the shim receives before it starts: how the pause process holds the pod together.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PodSetup {
    /// The pinned network namespace to join; none for the host's.
    pub netns: Option<String>,
    pub own_ipc: bool,
    pub own_uts: bool,
    /// One PID namespace for all containers, held by the pause process.
    pub shared_pid: bool,
    pub hostname: String,
    /// `net.ipv4.ip_forward` → `1`
    pub sysctls: Vec<(String, String)>,
    /// The cgroup the shim itself moves to.
    pub shim_cgroup: String,
}

/// An overlay mount, topmost lower layer first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overlay {
    pub lower: Vec<PathBuf>,
    pub upper: PathBuf,
    pub work: PathBuf,
}

/// A container's settings for the shim, besides the OCI spec in `config.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ContainerSetup {
    pub overlay: Overlay,
    /// Where the CRI log goes; none to discard output.
    pub log_path: Option<String>,
    pub tty: bool,
    pub stdin: bool,
    pub stdin_once: bool,
    pub cgroup: String,
    /// Tolerated when the kernel refuses it: lowering needs a privilege not every host gives.
    pub oom_score_adj: Option<i32>,
    /// The first process is not the init of a PID namespace, so its death leaves others alive.
    pub kill_cgroup_on_exit: bool,
}

/// A container that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    pub pid: i32,
    /// Nanoseconds since 1970.
    pub at_ns: i64,
}

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The exit code; 128 + signal number where a signal killed it.
    pub code: i32,
    /// The kernel killed a process of it for lack of memory.
    pub oom_killed: bool,
    /// Nanoseconds since 1970.
    pub at_ns: i64,
}

/// Asked by the server; answered by [`Message::Reply`] with the same id.
#[derive(Debug, Serialize, Deserialize)]
pub struct Request {
    pub id: u64,
    pub op: Op,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Op {
    /// How things stand.
    State,
    Start {
        container: String,
    },
    /// Sends a signal to the first process, or to every process of the container's cgroup.
    Signal {
        container: String,
        signal: i32,
        everything: bool,
    },
    /// Runs the process described in the file (an OCI `process` object) `process_file`.
    /// Carries stdin, stdout and stderr; with a terminal carries nothing and the reply carries its master.
    Exec {
        container: String,
        exec: String,
        process_file: String,
        tty: bool,
    },
    /// Sends a signal to a process that Exec started; fine when it has ended.
    SignalExec {
        exec: String,
        signal: i32,
    },
    /// Copies output to the carried pipes: stdout's and stderr's, as far as wanted. The reply carries
    /// the write end of stdin or the terminal's master where wanted.
    Attach {
        container: String,
        stdin: bool,
        stdout: bool,
        stderr: bool,
    },
    /// A client that wrote to stdin has left: with `stdin_once` that is the end of stdin.
    StdinLeft {
        container: String,
    },
    ReopenLog {
        container: String,
    },
    /// Drops the state of a container that has ended.
    Forget {
        container: String,
    },
    /// Kills all that is left, the pause process too, and ends the shim.
    Shutdown,
}

/// Said by the shim.
#[derive(Debug, Serialize, Deserialize)]
pub enum Message {
    Reply { id: u64, result: Result<Reply, Failure> },
    Event(Event),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Reply {
    Done,
    Started(Started),
    Exec { pid: i32 },
    State(PodState),
}

/// Why the shim could not do it.
#[derive(Debug, Clone, Serialize, Deserialize, thiserror::Error)]
pub enum Failure {
    /// The process could not be started; the text is for the pod's owner.
    #[error("{0}")]
    Payload(String),
    #[error("container {0:?} is not known to its shim")]
    UnknownContainer(String),
    #[error("container {0:?} is not running")]
    NotRunning(String),
    #[error("{0}")]
    Other(String),
}

/// How a pod stands.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PodState {
    /// None once the pause process has ended.
    pub pause_pid: Option<i32>,
    pub containers: Vec<ContainerState>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ContainerState {
    pub container: String,
    pub started: Started,
    pub exit: Option<Exit>,
}

/// An end that the shim reports to the server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Event {
    /// `started` says what the answer to the start says, as the end may be read before that answer.
    /// Shims from before this field leave it out.
    Container {
        container: String,
        #[serde(default)]
        started: Option<Started>,
        exit: Exit,
    },
    Exec {
        exec: String,
        code: i32,
    },
    Pause,
}
