//! The shim's only loop: waits for the next event and passes it to the [`Pod`]. [`main`] is the shim's entry point.
//!
//! Nothing here wakes up unless something happened.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{SocketFlags, accept_with};

use crate::pod::Pod;
use crate::protocol::{Event, Failure, MAX_PACKET_BYTES, Message, Op, Request};
use crate::wire::{self, Received};

/// The owner of a file that became ready.
enum Source {
    Listener,
    Server(usize),
    /// Some process that ended.
    Child,
    /// Output of a container; ready to be read, or an attached client to take more.
    Output(String, usize),
}

/// Runs a shim until it is told to end.
///
/// The working directory is the sandbox's, standard input the socket it serves. Must be called in a process
/// that has one thread: the OCI library forks and changes state of the whole process.
pub fn main() -> std::process::ExitCode {
    match Pod::open().and_then(|(pod, listener)| run(pod, listener)) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            complain!("shim: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

/// Serves `pod` on `listener` until it is told to shut down and everything has ended.
fn run(mut pod: Pod, listener: OwnedFd) -> io::Result<()> {
    let mut servers: Vec<OwnedFd> = Vec::new();
    while !pod.is_done() {
        let ready = wait(&pod, &listener, &servers)?;
        let mut gone = Vec::new();
        for source in ready {
            match source {
                Source::Listener => {
                    match accept_with(&listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                        Ok(server) => servers.push(server),
                        Err(
                            rustix::io::Errno::AGAIN
                            | rustix::io::Errno::INTR
                            | rustix::io::Errno::CONNABORTED,
                        ) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                Source::Server(index) => {
                    if !serve(&mut pod, &servers[index]) {
                        gone.push(index);
                    }
                }
                Source::Child => {}
                Source::Output(container, index) => pod.pump(&container, index),
            }
        }
        // Also after requests: a failed start may have left a process to reap.
        for event in pod.collect() {
            report(&servers, &event);
        }
        for index in gone.into_iter().rev() {
            servers.swap_remove(index);
        }
    }
    Ok(())
}

fn wait(pod: &Pod, listener: &OwnedFd, servers: &[OwnedFd]) -> io::Result<Vec<Source>> {
    let mut watched: Vec<(Source, BorrowedFd<'_>, PollFlags)> =
        vec![(Source::Listener, listener.as_fd(), PollFlags::IN)];
    watched.extend(servers.iter().enumerate().map(|(i, s)| (Source::Server(i), s.as_fd(), PollFlags::IN)));
    let children = pod.pause.iter().chain(pod.execs.iter().map(|e| &e.child));
    watched.extend(children.map(|c| (Source::Child, c.as_fd(), PollFlags::IN)));
    for (id, container) in &pod.containers {
        watched.extend(container.init.iter().map(|c| (Source::Child, c.as_fd(), PollFlags::IN)));
        for (index, output) in container.outputs.iter().enumerate() {
            let source = || Source::Output(id.clone(), index);
            watched.extend(output.readable().map(|fd| (source(), fd, PollFlags::IN)));
            watched.extend(output.writable().map(|fd| (source(), fd, PollFlags::OUT)));
        }
    }
    let mut polled: Vec<PollFd<'_>> =
        watched.iter().map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)).collect();
    match poll(&mut polled, None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let ready: Vec<bool> = polled.iter().map(|p| !p.revents().is_empty()).collect();
    Ok(watched.into_iter().zip(ready).filter(|(_, ready)| *ready).map(|((source, ..), _)| source).collect())
}

/// Answers one request; false when the server has gone.
fn serve(pod: &mut Pod, server: &OwnedFd) -> bool {
    let (body, files) = match wire::receive(server) {
        Ok(Received::Packet(body, files)) => (body, files),
        Ok(Received::Closed) => return false,
        Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
    };
    let request: Request = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(error) => {
            complain!("a request is not understood: {error}");
            return false;
        }
    };
    // The server waits for nothing less than the answer to Start, so an exit that followed at once comes after it.
    let ending = matches!(request.op, Op::Shutdown);
    let (result, file) = pod.answer(request.op, files);
    let borrowed: Vec<BorrowedFd<'_>> = file.iter().map(AsFd::as_fd).collect();
    send(server, &Message::Reply { id: request.id, result }, &borrowed) || ending
}

fn report(servers: &[OwnedFd], event: &Event) {
    for server in servers {
        // A server that has gone is noticed when its socket is read; the event stands on disk.
        send(server, &Message::Event(event.clone()), &[]);
    }
}

/// False when the server can't be reached any more.
fn send(server: &OwnedFd, message: &Message, files: &[BorrowedFd<'_>]) -> bool {
    let mut body = match serde_json::to_vec(message) {
        Ok(body) => body,
        Err(error) => {
            complain!("a message cannot be written: {error}");
            return false;
        }
    };
    if body.len() > MAX_PACKET_BYTES {
        let Message::Reply { id, .. } = message else { return false };
        let failure = Failure::Other("the shim's answer is too long".to_owned());
        let short = Message::Reply { id: *id, result: Err(failure) };
        body = serde_json::to_vec(&short).unwrap_or_default();
    }
    wire::send(server, &body, files).is_ok()
}
