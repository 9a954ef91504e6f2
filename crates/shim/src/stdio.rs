//! A container's output on its way to the log and to attached clients.
//!
//! A client that reads slowly holds the container's output back rather than losing any of it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use jiff::Timestamp;

use crate::log::{LineSplitter, LogFile, Stream};

const READ_BYTES: usize = 64 << 10;

/// One output stream of a container.
pub struct Output {
    source: Option<OwnedFd>,
    splitter: LineSplitter,
    clients: Vec<Client>,
}

/// The pipe of an attached client, and the output the client has not read yet.
struct Client {
    pipe: OwnedFd,
    pending: Vec<u8>,
}

impl Output {
    pub fn new(source: OwnedFd, stream: Stream) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&source, true)?;
        Ok(Self { source: Some(source), splitter: LineSplitter::new(stream), clients: Vec::new() })
    }

    /// What to wait on for reading; none when it is over or an attached client is behind.
    pub fn readable(&self) -> Option<BorrowedFd<'_>> {
        if self.clients.iter().any(|c| !c.pending.is_empty()) {
            return None;
        }
        self.source.as_ref().map(AsFd::as_fd)
    }

    /// What to wait on for writing.
    pub fn writable(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.clients.iter().filter(|c| !c.pending.is_empty()).map(|c| c.pipe.as_fd())
    }

    pub fn is_over(&self) -> bool {
        self.source.is_none()
    }

    pub fn attach(&mut self, pipe: OwnedFd) -> io::Result<()> {
        if self.is_over() {
            // Dropping the pipe tells the client.
            return Ok(());
        }
        rustix::io::ioctl_fionbio(&pipe, true)?;
        self.clients.push(Client { pipe, pending: Vec::new() });
        Ok(())
    }

    /// Moves what is there, once; true when there may be more.
    pub fn pump(&mut self, log: Option<&mut LogFile>, now: Timestamp) -> bool {
        self.flush();
        let Some(source) = &self.source else { return false };
        let mut buffer = [0u8; READ_BYTES];
        let mut lines = Vec::new();
        let more = match rustix::io::read(source, &mut buffer[..]) {
            Ok(0) => false,
            Ok(count) => {
                let data = &buffer[..count];
                self.splitter.push(data, now, &mut lines);
                self.clients.retain_mut(|client| client.take(data));
                true
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return false,
            // A terminal whose other side was closed answers EIO.
            Err(_) => false,
        };
        if !more {
            self.splitter.finish(now, &mut lines);
            self.source = None;
            self.clients.retain(|c| !c.pending.is_empty());
        }
        if let Some(log) = log
            && !lines.is_empty()
        {
            log.write(&lines);
        }
        more
    }

    /// Hands attached clients what they have room for now.
    pub fn flush(&mut self) {
        let over = self.is_over();
        self.clients.retain_mut(|client| client.take(&[]) && !(over && client.pending.is_empty()));
    }
}

impl Client {
    /// Queues `data` and writes what fits; false when the client has gone.
    fn take(&mut self, data: &[u8]) -> bool {
        self.pending.extend_from_slice(data);
        while !self.pending.is_empty() {
            match rustix::io::write(&self.pipe, &self.pending) {
                Ok(count) => drop(self.pending.drain(..count)),
                Err(rustix::io::Errno::AGAIN) => return true,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return false,
            }
        }
        true
    }
}
