//! [`Portal`]: a thread that has entered a member's namespaces and starts processes there. No other thread of the server is
//! ever there.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::mpsc;

use nix::sched::{CloneFlags, unshare};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

struct Request {
    command: Command,
    answer: oneshot::Sender<io::Result<Child>>,
}

/// See the module's documentation. The thread ends when the portal is dropped; what it started is told of that, where it
/// has asked to be told of the end of its parent.
pub(super) struct Portal {
    requests: mpsc::Sender<Request>,
}

impl Portal {
    /// Enters the network namespace named by the file, and a new namespace of host names, in which the host has the name.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn open(netns: &Path, host_name: &str) -> io::Result<Self> {
        let (netns, host_name) = (netns.to_owned(), host_name.to_owned());
        let (requests, inbox) = mpsc::channel::<Request>();
        let (done, entered) = oneshot::channel();
        let runtime = Handle::current();
        std::thread::Builder::new().name("member".to_owned()).spawn(move || {
            let result = enter(&netns, &host_name);
            let has_failed = result.is_err();
            // The caller may have given up waiting.
            if done.send(result).is_err() || has_failed {
                return;
            }
            let _context = runtime.enter();
            for Request { mut command, answer } in inbox {
                // Nobody may be waiting any more: the process then ends with its standard input.
                let _ = answer.send(command.spawn());
            }
        })?;
        entered.await.unwrap_or_else(|_| Err(gone()))?;
        Ok(Self { requests })
    }

    /// Starts a process.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn spawn(&self, command: Command) -> io::Result<Child> {
        let (answer, started) = oneshot::channel();
        self.requests.send(Request { command, answer }).map_err(|_| gone())?;
        started.await.unwrap_or_else(|_| Err(gone()))
    }
}

fn gone() -> io::Error {
    io::Error::other("the thread in the node's namespaces died")
}

fn enter(netns: &Path, host_name: &str) -> io::Result<()> {
    let file = File::open(netns)?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
    unshare(CloneFlags::CLONE_NEWUTS)?;
    Ok(rustix::system::sethostname(host_name.as_bytes())?)
}
