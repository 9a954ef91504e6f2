//! One container as its shim holds it: started through the OCI library, watched, cleaned up after its end.
//!
//! `Container::start` is the way in. The OCI library is used only here and in `exec`.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use base::Clock;
use libcontainer::container::Container as OciContainer;
use libcontainer::container::builder::ContainerBuilder;
use libcontainer::oci_spec::runtime::Spec;
use libcontainer::syscall::syscall::SyscallType;

use crate::children::Child;
use crate::console::ConsoleSocket;
use crate::files::{read_json, write_json};
use crate::log::{LogFile, Stream};
use crate::maker;
use crate::mounts::MountedRoot;
use crate::payload::Report;
use crate::protocol::{
    CONTAINERS_DIR, ContainerSetup, EXIT_FILE, Exit, Failure, SETUP_FILE, STARTED_FILE, Started,
};
use crate::stdio::Output;
use cgroup::CgroupMounts;

/// The OCI library's state, in a sandbox's directory.
pub const OCI_DIR: &str = "oci";

/// The OCI specification, in a container's directory.
pub const SPEC_FILE: &str = "config.json";

/// A container that was started.
pub struct Container {
    dir: PathBuf,
    pub setup: ContainerSetup,
    pub started: Started,
    pub exit: Option<Exit>,
    pub init: Option<Child>,
    oci: OciContainer,
    log: Option<LogFile>,
    pub outputs: Vec<Output>,
    stdin: Option<OwnedFd>,
    terminal: Option<OwnedFd>,
}

/// The ends of a container's stdio that the shim keeps.
#[derive(Default)]
struct OwnEnds {
    outputs: Vec<Output>,
    stdin: Option<OwnedFd>,
    terminal: Option<OwnedFd>,
}

impl Container {
    /// Creates and starts the container described in `c/<id>` below `pod_dir`.
    ///
    /// # Errors
    /// [`Failure::Payload`] when the program can't be run; nothing of the container is left then.
    pub fn start(
        pod_dir: &Path,
        id: &str,
        cgroups: &CgroupMounts,
        clock: &dyn Clock,
    ) -> Result<Self, Failure> {
        let dir = pod_dir.join(CONTAINERS_DIR).join(id);
        let setup: ContainerSetup = read_json(&dir.join(SETUP_FILE)).map_err(other)?;
        let log = match &setup.log_path {
            Some(path) => Some(
                LogFile::open(Path::new(path))
                    .map_err(|e| Failure::Other(format!("cannot open the log {path}: {e}")))?,
            ),
            None => None,
        };
        let (oci, own, report) = create(pod_dir, id, &dir, &setup).inspect_err(|_| {
            // The library removes what it made, except a cgroup it had not finished.
            let _ = cgroups.remove(&setup.cgroup);
        })?;
        let mut container = Self {
            init: None,
            exit: None,
            started: Started { pid: oci.pid().map_or(0, |p| p.as_raw()), at_ns: 0 },
            dir,
            setup,
            oci,
            log,
            outputs: own.outputs,
            stdin: own.stdin,
            terminal: own.terminal,
        };
        if let Err(failure) = container.run(report, clock) {
            container.remove_oci(cgroups);
            return Err(failure);
        }
        Ok(container)
    }

    fn run(&mut self, report: Report, clock: &dyn Clock) -> Result<(), Failure> {
        self.init = Some(Child::watch(self.started.pid).map_err(other)?);
        if let Some(score) = self.setup.oom_score_adj {
            // Refused where the host gives no CAP_SYS_RESOURCE; the score is advice.
            let _ = fs::write(format!("/proc/{}/oom_score_adj", self.started.pid), score.to_string());
        }
        self.oci.start().map_err(|e| Failure::Payload(e.to_string()))?;
        if let Some(text) = report.failure() {
            return Err(Failure::Payload(text));
        }
        self.started.at_ns = now_ns(clock);
        write_json(&self.dir.join(STARTED_FILE), &self.started).map_err(other)
    }

    /// Moves output to the log and to attached clients, as far as it is there.
    pub fn pump(&mut self, index: usize, clock: &dyn Clock) {
        if let Some(output) = self.outputs.get_mut(index) {
            output.pump(self.log.as_mut(), clock.now());
        }
    }

    /// Its first process has ended with `code`: ends the rest, saves what is left of its output, writes
    /// down how it ended.
    pub fn ended(&mut self, code: i32, cgroups: &CgroupMounts, clock: &dyn Clock) -> Exit {
        let oom_killed = code != 0 && cgroups.oom_kills(&self.setup.cgroup) > 0;
        if self.setup.kill_cgroup_on_exit {
            cgroups.kill(&self.setup.cgroup);
        }
        let now = clock.now();
        for output in &mut self.outputs {
            while output.pump(self.log.as_mut(), now) {}
        }
        self.stdin = None;
        self.terminal = None;
        self.init = None;
        let exit = Exit { code, oom_killed, at_ns: now_ns(clock) };
        self.exit = Some(exit);
        if let Err(error) = write_json(&self.dir.join(EXIT_FILE), &exit) {
            complain!("cannot keep the exit code of {}: {error}", self.dir.display());
        }
        self.remove_oci(cgroups);
        exit
    }

    /// Removes the library's state and the cgroup, killing what still runs.
    fn remove_oci(&mut self, cgroups: &CgroupMounts) {
        if let Err(error) = self.oci.delete(true) {
            complain!("cannot remove the state of {}: {error}", self.dir.display());
        }
        // Usually gone with the state.
        let _ = cgroups.remove(&self.setup.cgroup);
    }

    pub fn signal(&self, signal: i32, everything: bool, cgroups: &CgroupMounts) -> Result<(), Failure> {
        let Some(init) = &self.init else { return Ok(()) };
        if everything && signal == libc::SIGKILL {
            cgroups.kill(&self.setup.cgroup);
        } else if everything {
            let signal = rustix::process::Signal::from_named_raw(signal)
                .ok_or_else(|| Failure::Other(format!("{signal} is no signal")))?;
            cgroups.signal(&self.setup.cgroup, signal);
        }
        init.signal(signal).map_err(other)
    }

    pub fn reopen_log(&mut self) -> Result<(), Failure> {
        match &mut self.log {
            Some(log) => log.reopen().map_err(other),
            None => Ok(()),
        }
    }

    /// Copies output to `pipes`; what to write input to, if there is something.
    pub fn attach(
        &mut self,
        stdin: bool,
        stdout: Option<OwnedFd>,
        stderr: Option<OwnedFd>,
    ) -> Result<Option<OwnedFd>, Failure> {
        for (index, pipe) in [(0, stdout), (1, stderr)] {
            if let (Some(output), Some(pipe)) = (self.outputs.get_mut(index), pipe) {
                output.attach(pipe).map_err(other)?;
            }
        }
        // A terminal is handed out in any case: its size is set through it.
        if let Some(terminal) = &self.terminal {
            return terminal.try_clone().map(Some).map_err(other);
        }
        match &self.stdin {
            Some(pipe) if stdin => pipe.try_clone().map(Some).map_err(other),
            _ => Ok(None),
        }
    }

    pub fn stdin_left(&mut self) {
        if self.setup.stdin_once {
            self.stdin = None;
        }
    }
}

/// Forks the container's first process and has it wait at the door.
fn create(
    pod_dir: &Path,
    id: &str,
    dir: &Path,
    setup: &ContainerSetup,
) -> Result<(OciContainer, OwnEnds, Report), Failure> {
    let rootfs = dir.join("rootfs");
    let root = MountedRoot::mount(&setup.overlay, &rootfs)
        .map_err(|e| Failure::Other(format!("cannot mount the root file system: {e}")))?;
    let mut spec = Spec::load(dir.join(SPEC_FILE)).map_err(|e| Failure::Other(e.to_string()))?;
    let root_dir = root.dir().map_err(other)?;
    if let Some(process) = spec.process() {
        root_dir.ensure_dir(process.cwd()).map_err(|e| {
            let why = crate::mountpoints::reason(&e);
            Failure::Payload(format!("chdir to cwd ({:?}) set in config.json failed: {why}", process.cwd()))
        })?;
    }
    let moved = root_dir.ensure_mount_points(&mut spec);
    if moved.map_err(|e| Failure::Payload(format!("error during container init: {e}")))? {
        spec.save(dir.join(SPEC_FILE)).map_err(|e| Failure::Other(e.to_string()))?;
    }
    drop(root_dir);
    let (report, payload) = Report::new(None).map_err(other)?;
    let mut builder = ContainerBuilder::new(id.to_owned(), SyscallType::default())
        .with_root_path(pod_dir.join(OCI_DIR))
        .map_err(|e| Failure::Other(e.to_string()))?
        .with_executor(payload);
    let mut own = OwnEnds::default();
    let mut console = None;
    let mut keep: Vec<RawFd> = report.descriptor().into_iter().collect();
    if setup.tty {
        let socket = ConsoleSocket::listen(&Path::new(CONTAINERS_DIR).join(id).join("tty")).map_err(other)?;
        builder = builder.with_console_socket(Some(dir.join("tty")));
        console = Some(socket);
    } else {
        let pipes = pipes(setup, &mut own).map_err(other)?;
        keep.extend(pipes.iter().map(AsRawFd::as_raw_fd));
        let [stdin, stdout, stderr] = pipes;
        builder = builder.with_stdin(stdin).with_stdout(stdout).with_stderr(stderr);
    }
    let made = maker::make(&keep, move || {
        let built = builder.as_init(dir).with_systemd(false).with_detach(true).build();
        let oci = built.map_err(|error| Failure::Payload(chain(&error)))?;
        Ok(oci.pid().map_or(0, |pid| pid.as_raw()))
    });
    if let Err(failure) = made {
        return Err(report.instead_of(failure));
    }
    let oci = OciContainer::load(pod_dir.join(OCI_DIR).join(id)).map_err(|e| Failure::Other(chain(&e)))?;
    if let Some(console) = console {
        let master = console.master().map_err(other)?;
        own.outputs.push(Output::new(master.try_clone().map_err(other)?, Stream::Stdout).map_err(other)?);
        own.terminal = Some(master);
    }
    Ok((oci, own, report))
}

/// The container's ends of its stdio.
fn pipes(setup: &ContainerSetup, own: &mut OwnEnds) -> io::Result<[OwnedFd; 3]> {
    let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
    let input = if setup.stdin {
        let (read, write) = pipe()?;
        own.stdin = Some(write);
        read
    } else {
        fs::File::open("/dev/null")?.into()
    };
    let (out_read, out_write) = pipe()?;
    let (err_read, err_write) = pipe()?;
    own.outputs = vec![Output::new(out_read, Stream::Stdout)?, Output::new(err_read, Stream::Stderr)?];
    Ok([input, out_write, err_write])
}

/// An error with all its causes.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.ends_with(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}

pub fn now_ns(clock: &dyn Clock) -> i64 {
    i64::try_from(clock.now().as_nanosecond()).unwrap_or(i64::MAX)
}

pub fn other(error: io::Error) -> Failure {
    Failure::Other(error.to_string())
}
