//! A command that keeps running (`kubectl get -w`, `logs -f`, `port-forward`): its lines as they come, with a
//! deadline. Killed when dropped, and with the test.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::transcript::Transcript;

/// Seconds to wait for an awaited line.
const DEADLINE: Duration = Duration::from_secs(90);

/// A running command.
pub struct Stream {
    name: String,
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
    transcript: Transcript,
}

impl Stream {
    /// A command that the kernel kills when the thread that started it is gone, as it is after an interrupt.
    pub(crate) fn mortal(program: &str) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", program]);
        command
    }

    /// Starts it; standard output and standard error are read together, line by line.
    #[track_caller]
    pub(crate) fn start(name: &str, mut command: Command, transcript: &Transcript) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().expect("bash is on every Debian machine");
        let (sender, lines) = channel();
        let out = child.stdout.take().expect("stdout was asked for");
        let err = child.stderr.take().expect("stderr was asked for");
        let other = sender.clone();
        std::thread::spawn(move || {
            // Ends when the command does, or when nobody listens any more.
            BufReader::new(out).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        std::thread::spawn(move || {
            BufReader::new(err).lines().map_while(Result::ok).try_for_each(|line| other.send(line))
        });
        Self { name: name.to_owned(), child, lines, seen: Vec::new(), transcript: transcript.clone() }
    }

    /// Waits for a line that holds `wanted`, and gives it.
    #[track_caller]
    pub fn wait_for(&mut self, wanted: &str) -> String {
        self.wait_until(wanted, |line| line.contains(wanted))
    }

    /// Waits for a line that fits; `what` names it should it not come.
    #[track_caller]
    pub fn wait_until(&mut self, what: &str, fits: impl Fn(&str) -> bool) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if fits(&line) {
                        return line;
                    }
                }
                Err(end) => {
                    let how = if end == RecvTimeoutError::Timeout { "in time" } else { "before it ended" };
                    panic!("$ {}\nnever said {what:?} {how}; it said:\n{}", self.name, self.seen.join("\n"));
                }
            }
        }
    }

    /// Types a line into it.
    pub fn type_line(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("stdin was asked for");
        writeln!(stdin, "{line}").expect("the command reads its input");
    }

    /// Waits until it ends by itself; its exit code.
    #[track_caller]
    pub fn finish(&mut self) -> i32 {
        drop(self.child.stdin.take());
        let deadline = Instant::now() + DEADLINE;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.seen.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("$ {}\ndid not end in time", self.name),
            }
        }
        self.child.wait().expect("a child can be waited for").code().unwrap_or(-1)
    }

    /// Everything it said so far.
    pub fn seen(&self) -> &[String] {
        &self.seen
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // It leads a group of its own, so that what it started goes with it.
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        // Fails where all of it has ended already.
        let _ = group.map(|group| kill_process_group(group, Signal::KILL));
        let _ = self.child.wait();
        self.seen.extend(self.lines.try_iter());
        self.transcript.add(&format!("{} (meanwhile)", self.name), "", &self.seen.join("\n"));
    }
}
