//! The pause process: holds the pod's namespaces, does nothing else, and dies with its shim.
//!
//! It is a fork of the shim, not a program of its own: no image, no exec, its pages shared with the shim.

#![expect(unsafe_code, reason = "changes the process that holds a pod: no safe calls")]

use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use crate::children::Child;
use crate::maker;
use crate::protocol::PodSetup;

/// Forks the pause process and waits until its namespaces are set up.
///
/// # Errors
/// The error of the step at which the pause process failed.
pub fn start(setup: &PodSetup) -> io::Result<Child> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let mut flags = 0;
    for (wanted, flag) in [
        (setup.own_ipc, libc::CLONE_NEWIPC),
        (setup.own_uts, libc::CLONE_NEWUTS),
        (setup.shared_pid, libc::CLONE_NEWPID),
    ] {
        if wanted {
            flags |= flag;
        }
    }
    let pid = maker::fork(flags)?;
    if pid == 0 {
        drop(read);
        become_pause(setup, write);
    }
    drop(write);
    let child = Child::watch(pid)?;
    let mut answer = String::new();
    fs::File::from(read).take(4096).read_to_string(&mut answer)?;
    match answer.strip_prefix("ready") {
        Some(_) => Ok(child),
        None if answer.is_empty() => Err(io::Error::other("the pause process died while it was set up")),
        None => Err(io::Error::other(answer)),
    }
}

fn become_pause(setup: &PodSetup, report: OwnedFd) -> ! {
    // Sockets and files of the shim must end when the shim does.
    let outcome = maker::close_others(&[report.as_raw_fd()]).and_then(|()| set_up(setup));
    let text = match &outcome {
        Ok(()) => "ready".to_owned(),
        Err(error) => error.to_string(),
    };
    let written = rustix::io::write(&report, text.as_bytes());
    drop(report);
    if outcome.is_err() || written.is_err() {
        maker::leave(1);
    }
    // SAFETY: nothing in this process uses a descriptor from here on.
    unsafe { libc::syscall(libc::SYS_close_range, 0, libc::c_uint::MAX, 0) };
    loop {
        // SAFETY: pause(2) has no precondition.
        unsafe { libc::pause() };
    }
}

/// Containers that share the PID namespace see this process: its command line is upstream's, without paths of
/// the node (proc_pid_cmdline(5): what stands in memory between two addresses of proc_pid_stat(5)).
fn show_as_pause() -> io::Result<()> {
    const COMMAND_LINE: &[u8] = b"/pause\0";
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The second field, in parentheses, may hold blanks; of the rest the first is field 3.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let address = |field: usize| fields.get(field - 3).and_then(|text| text.parse::<u64>().ok());
    let (Some(start), Some(end)) = (address(48), address(49)) else {
        return Err(io::Error::other("/proc/self/stat tells no addresses"));
    };
    let mut text = COMMAND_LINE.to_vec();
    let room = usize::try_from(end.saturating_sub(start)).map_err(io::Error::other)?;
    text.resize(room, 0);
    let memory = fs::OpenOptions::new().write(true).open("/proc/self/mem")?;
    std::os::unix::fs::FileExt::write_all_at(&memory, &text, start)
}

fn set_up(setup: &PodSetup) -> io::Result<()> {
    let named = |what: &str, error: io::Error| io::Error::new(error.kind(), format!("{what}: {error}"));
    // SAFETY: these calls take plain numbers and change only this process.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        libc::prctl(libc::PR_SET_NAME, c"pause".as_ptr());
        // As init of a shared PID namespace it inherits orphans; ignored children reap themselves.
        libc::signal(libc::SIGCHLD, libc::SIG_IGN);
    }
    // Where a kernel forbids it the pod is as good; only its process list looks different.
    let _ = show_as_pause();
    rustix::process::setsid()?;
    if let Some(netns) = &setup.netns {
        let file = fs::File::open(netns).map_err(|e| named("cannot open the network namespace", e))?;
        let kind = rustix::thread::LinkNameSpaceType::Network;
        rustix::thread::move_into_link_name_space(file.as_fd(), Some(kind))
            .map_err(|e| named("cannot enter the network namespace", e.into()))?;
    }
    if setup.own_uts {
        rustix::system::sethostname(setup.hostname.as_bytes())
            .map_err(|e| named("cannot set the host name", e.into()))?;
    }
    for (name, value) in &setup.sysctls {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        fs::write(&path, value).map_err(|e| named(&format!("cannot set sysctl {name}={value}"), e))?;
    }
    rustix::process::chdir("/")?;
    Ok(())
}
