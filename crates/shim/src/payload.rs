//! The last steps before a container's program runs, in the process that becomes it, and how their
//! failure gets back to the shim: over a pipe that closes by itself when the program starts.

#![expect(unsafe_code, reason = "resets signals in what becomes a container: no safe call")]

use std::collections::HashSet;
use std::convert::Infallible;
use std::ffi::CString;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use libcontainer::capabilities::drop_privileges;
use libcontainer::oci_spec::runtime::{LinuxCapabilities, LinuxSeccomp, Spec};
use libcontainer::seccomp::initialize_seccomp;
use libcontainer::syscall::syscall::create_syscall;
use libcontainer::workload::{Executor, ExecutorError, ExecutorValidationError};

use crate::protocol::Failure;

/// Searched when a container's environment has no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs the program of an OCI spec, with failures written to a pipe.
#[derive(Clone)]
pub struct Payload {
    report: RawFd,
    confinement: Option<Confinement>,
}

/// What the OCI library leaves out for a further process in a container: the seccomp filter. Loading one needs
/// a capability unless no_new_privs is set, so the process comes here with more than it may keep.
#[derive(Clone)]
pub struct Confinement {
    pub filter: LinuxSeccomp,
    /// What the program may keep; none when the process holds no more than that.
    pub capabilities: Option<LinuxCapabilities>,
}

impl Confinement {
    fn apply(&self) -> Result<(), String> {
        initialize_seccomp(&self.filter).map_err(|e| format!("cannot load the seccomp filter: {e}"))?;
        let Some(capabilities) = &self.capabilities else { return Ok(()) };
        drop_privileges(capabilities, create_syscall().as_ref())
            .map_err(|e| format!("cannot drop capabilities: {e}"))
    }
}

/// The shim's end of that pipe.
pub struct Report {
    read: OwnedFd,
    write: Option<OwnedFd>,
}

impl Report {
    pub fn new(confinement: Option<Confinement>) -> io::Result<(Self, Payload)> {
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let payload = Payload { report: write.as_raw_fd(), confinement };
        Ok((Self { read, write: Some(write) }, payload))
    }

    /// The number of the end that the program's process needs.
    pub fn descriptor(&self) -> Option<RawFd> {
        self.write.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// The failure as the process itself told it, else `failure`.
    pub fn instead_of(self, failure: Failure) -> Failure {
        match failure {
            Failure::Payload(text) => Failure::Payload(self.failure().unwrap_or(text)),
            other => other,
        }
    }

    /// Waits until the program runs or has failed to; the failure's text if so.
    pub fn failure(mut self) -> Option<String> {
        self.write = None;
        let mut text = String::new();
        let read = std::fs::File::from(self.read).take(4096).read_to_string(&mut text);
        match read {
            Ok(0) => None,
            Ok(_) => Some(text),
            Err(error) => Some(format!("cannot learn whether the program runs: {error}")),
        }
    }
}

impl Payload {
    fn fail(&self, text: &str) {
        // SAFETY: the descriptor was open when this process was forked and nothing here closes it.
        let report = unsafe { std::os::fd::BorrowedFd::borrow_raw(self.report) };
        // Nobody left to read means nobody left to tell.
        let _ = rustix::io::write(report, text.as_bytes());
    }

    /// Becomes the program; returns only when that fails.
    fn replace_process(&self, spec: &Spec) -> Result<Infallible, String> {
        let (program, argv) = Self::program(spec)?;
        let file = CString::new(program.as_os_str().as_encoded_bytes())
            .map_err(|_| "the program's path contains a NUL byte".to_owned())?;
        reset_signals();
        if let Some(confinement) = &self.confinement {
            confinement.apply()?;
        }
        nix::unistd::execv(&file, &argv)
            .map_err(|errno| format!("exec {}: {}", program.display(), errno.desc().to_lowercase()))
    }

    fn program(spec: &Spec) -> Result<(PathBuf, Vec<CString>), String> {
        let process = spec.process().as_ref().ok_or("the spec has no process")?;
        let args = process.args().as_deref().unwrap_or_default();
        let name = args.first().filter(|n| !n.is_empty()).ok_or("no command specified")?;
        let path =
            process.env().iter().flatten().find_map(|e| e.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH);
        let argv = args
            .iter()
            .map(|a| CString::new(a.as_str()).map_err(|_| format!("argument {a:?} contains a NUL byte")))
            .collect::<Result<_, _>>()?;
        Ok((find_program(name, path)?, argv))
    }
}

impl Executor for Payload {
    fn validate(&self, spec: &Spec) -> Result<(), ExecutorValidationError> {
        Self::program(spec).map(drop).map_err(|text| {
            self.fail(&text);
            ExecutorValidationError::ArgValidationError(text)
        })
    }

    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        let outcome = self.replace_process(spec);
        let Err(text) = outcome;
        self.fail(&text);
        Err(ExecutorError::Other(text))
    }
}

/// Programs expect the default for every signal: Rust ignores SIGPIPE, and whoever started the server may have
/// ignored others.
fn reset_signals() {
    // The kernel's `struct sigaction` of the default: all zero.
    let default = [0u64; 4];
    for signal in 1..=64 {
        // SAFETY: the argument is as large as the kernel's structure and lives through the call; refused for
        // SIGKILL and SIGSTOP, which can't be ignored anyway. The C library would refuse two more.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), 0, 8) };
    }
    let nothing = 0u64;
    // SAFETY: an empty set of the kernel's size.
    unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const nothing, 0, 8) };
}

/// Looks a program up as `execvp` would; the error's text is what pod owners know from other runtimes.
fn find_program(name: &str, path: &str) -> Result<PathBuf, String> {
    if name.contains('/') {
        return runnable(Path::new(name)).map_err(|problem| match problem {
            Problem::Missing => format!("exec: {name:?}: stat {name}: no such file or directory"),
            Problem::Forbidden => format!("exec: {name:?}: permission denied"),
        });
    }
    let mut seen = HashSet::new();
    let mut forbidden = false;
    for dir in path.split(':').filter(|d| seen.insert(*d)) {
        match runnable(&Path::new(if dir.is_empty() { "." } else { dir }).join(name)) {
            Ok(found) => return Ok(found),
            Err(Problem::Forbidden) => forbidden = true,
            Err(Problem::Missing) => {}
        }
    }
    if forbidden {
        return Err(format!("exec: {name:?}: permission denied"));
    }
    Err(format!("exec: {name:?}: executable file not found in $PATH"))
}

enum Problem {
    Missing,
    Forbidden,
}

fn runnable(path: &Path) -> Result<PathBuf, Problem> {
    let Ok(metadata) = path.metadata() else { return Err(Problem::Missing) };
    if !metadata.is_file() || metadata.permissions().mode() & 0o111 == 0 {
        return Err(Problem::Forbidden);
    }
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_reported_as_other_runtimes_do() {
        let text = find_program("no-such-program", "/bin:/usr/bin").expect_err("it does not exist");
        assert_eq!(text, "exec: \"no-such-program\": executable file not found in $PATH");
        let text = find_program("/no/such", "").expect_err("it does not exist");
        assert_eq!(text, "exec: \"/no/such\": stat /no/such: no such file or directory");
        assert!(find_program("/etc/passwd", "").expect_err("not executable").ends_with("permission denied"));
    }
}
