//! The state of a shim, and how it answers requests and reacts to events.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use base::{Clock, SystemClock};

use crate::children::{Child, reap};
use crate::container::{Container, OCI_DIR};
use crate::exec::{self, Exec};
use crate::files::{read_json, write_whole};
use crate::maker;
use crate::pause;
use crate::protocol::{ContainerState, Event, Failure, Op, PID_FILE, POD_FILE, PodSetup, PodState, Reply};
use cgroup::CgroupMounts;

/// A reply with the file that goes with it.
pub type Answer = (Result<Reply, Failure>, Option<OwnedFd>);

/// All that a shim knows.
pub struct Pod {
    dir: PathBuf,
    cgroups: CgroupMounts,
    clock: SystemClock,
    pub pause: Option<Child>,
    pause_failure: Option<String>,
    pub containers: BTreeMap<String, Container>,
    pub execs: Vec<Exec>,
    pub over: bool,
}

impl Pod {
    /// Reads the working directory's setup, joins the shim's cgroup and starts the pause process. The second value is the
    /// socket to serve.
    pub fn open() -> io::Result<(Self, OwnedFd)> {
        let listener = io::stdin().as_fd().try_clone_to_owned()?;
        // What is forked from here has the standard descriptors, and nothing of the server's behind them.
        rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
        maker::take_in_orphans()?;
        let dir = std::env::current_dir()?;
        let setup: PodSetup = read_json(&dir.join(POD_FILE))?;
        // A leader already when started by hand; then there is no session to leave.
        let _ = rustix::process::setsid();
        let cgroups = CgroupMounts::detect()?;
        let own_pid = std::process::id();
        // One controller: in version 1 each move costs milliseconds, and memory is what a shim uses.
        cgroups.join(&setup.shim_cgroup, own_pid, &["memory"])?;
        std::fs::create_dir_all(dir.join(OCI_DIR))?;
        let (pause, pause_failure) = match pause::start(&setup) {
            Ok(child) => (Some(child), None),
            Err(error) => (None, Some(error.to_string())),
        };
        write_whole(&dir.join(PID_FILE), own_pid.to_string().as_bytes())?;
        let pod = Self {
            dir,
            cgroups,
            clock: SystemClock,
            pause,
            pause_failure,
            containers: BTreeMap::new(),
            execs: Vec::new(),
            over: false,
        };
        Ok((pod, listener))
    }

    /// Carries out a request of the server.
    pub fn answer(&mut self, op: Op, files: Vec<OwnedFd>) -> Answer {
        match op {
            Op::State => (self.state(), None),
            Op::Start { container } => (self.start(container), None),
            Op::Exec { container, exec, process_file, tty } => self
                .exec(&container, &exec, &process_file, tty, files)
                .unwrap_or_else(|failure| (Err(failure), None)),
            Op::Attach { container, stdin, stdout, stderr } => {
                let mut files = files.into_iter();
                let stdout = stdout.then(|| files.next()).flatten();
                let stderr = stderr.then(|| files.next()).flatten();
                match self.running(&container).and_then(|c| c.attach(stdin, stdout, stderr)) {
                    Ok(file) => (Ok(Reply::Done), file),
                    Err(failure) => (Err(failure), None),
                }
            }
            op => (self.change(op).map(|()| Reply::Done), None),
        }
    }

    fn change(&mut self, op: Op) -> Result<(), Failure> {
        match op {
            Op::Signal { container, signal, everything } => {
                let cgroups = self.cgroups.clone();
                self.known(&container)?.signal(signal, everything, &cgroups)?;
            }
            Op::SignalExec { exec, signal } => {
                if let Some(exec) = self.execs.iter().find(|e| e.id == exec) {
                    exec.child.signal(signal).map_err(|e| Failure::Other(e.to_string()))?;
                }
            }
            Op::StdinLeft { container } => self.known(&container)?.stdin_left(),
            Op::ReopenLog { container } => self.running(&container)?.reopen_log()?,
            Op::Forget { container } => {
                if self.containers.get(&container).is_some_and(|c| c.exit.is_none()) {
                    return Err(Failure::Other(format!("container {container:?} still runs")));
                }
                self.containers.remove(&container);
            }
            Op::Shutdown => self.shut_down(),
            Op::State | Op::Start { .. } | Op::Exec { .. } | Op::Attach { .. } => {}
        }
        Ok(())
    }

    fn state(&self) -> Result<Reply, Failure> {
        if let Some(text) = &self.pause_failure {
            return Err(Failure::Other(text.clone()));
        }
        let containers = self
            .containers
            .iter()
            .map(|(id, c)| ContainerState { container: id.clone(), started: c.started, exit: c.exit })
            .collect();
        Ok(Reply::State(PodState { pause_pid: self.pause.as_ref().map(|p| p.pid), containers }))
    }

    fn start(&mut self, id: String) -> Result<Reply, Failure> {
        if self.containers.contains_key(&id) {
            return Err(Failure::Other(format!("container {id:?} was started before")));
        }
        let container = Container::start(&self.dir, &id, &self.cgroups, &self.clock)?;
        let started = container.started;
        self.containers.insert(id, container);
        Ok(Reply::Started(started))
    }

    fn exec(
        &mut self,
        container: &str,
        id: &str,
        process_file: &str,
        tty: bool,
        stdio: Vec<OwnedFd>,
    ) -> Result<Answer, Failure> {
        self.running(container)?;
        let plan = exec::Plan { container, id, process_file: process_file.as_ref(), tty, stdio };
        let (exec, master) = exec::start(&self.dir, plan)?;
        let pid = exec.child.pid;
        self.execs.push(exec);
        Ok((Ok(Reply::Exec { pid }), master))
    }

    fn known(&mut self, id: &str) -> Result<&mut Container, Failure> {
        self.containers.get_mut(id).ok_or_else(|| Failure::UnknownContainer(id.to_owned()))
    }

    fn running(&mut self, id: &str) -> Result<&mut Container, Failure> {
        let container = self.known(id)?;
        if container.exit.is_some() { Err(Failure::NotRunning(id.to_owned())) } else { Ok(container) }
    }

    /// Reaps ended processes; returns the events to send to the server.
    pub fn collect(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        for (pid, code) in reap() {
            if self.pause.as_ref().is_some_and(|p| p.pid == pid) {
                self.pause = None;
                events.push(Event::Pause);
            } else if let Some(index) = self.execs.iter().position(|e| e.child.pid == pid) {
                events.push(Event::Exec { exec: self.execs.swap_remove(index).id, code });
            } else if let Some((id, container)) =
                self.containers.iter_mut().find(|(_, c)| c.init.as_ref().is_some_and(|i| i.pid == pid))
            {
                let exit = container.ended(code, &self.cgroups, &self.clock);
                let started = Some(container.started);
                events.push(Event::Container { container: id.clone(), started, exit });
            }
        }
        events
    }

    pub fn pump(&mut self, container: &str, output: usize) {
        if let Some(container) = self.containers.get_mut(container) {
            container.pump(output, &self.clock as &dyn Clock);
        }
    }

    /// Ends all that runs. The caller reaps, so that exit codes are kept.
    fn shut_down(&mut self) {
        for container in self.containers.values().filter(|c| c.exit.is_none()) {
            self.cgroups.kill(&container.setup.cgroup);
            if let Some(init) = &container.init
                && let Err(error) = init.signal(libc::SIGKILL)
            {
                complain!("cannot kill a container: {error}");
            }
        }
        if let Some(pause) = &self.pause
            && let Err(error) = pause.signal(libc::SIGKILL)
        {
            complain!("cannot kill the pause process: {error}");
        }
        self.over = true;
    }

    /// Nothing is left that could be waited for.
    pub fn is_done(&self) -> bool {
        self.over && self.pause.is_none() && self.containers.values().all(|c| c.exit.is_some())
    }
}
