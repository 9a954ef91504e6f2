//! [`Batch`]: messages received by one system call, and the answers to them, sent by another.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::ops::Range;
use std::os::fd::AsRawFd;

use nix::sys::socket::{MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg};

/// Messages of one call.
const MESSAGES: usize = 32;
/// A longer message is cut, and cannot be read then.
const LONGEST: usize = 4096;

/// See the module's documentation.
pub(super) struct Batch {
    /// Room for each message.
    room: Box<[u8]>,
    received: Vec<(usize, SocketAddr)>,
    /// All answers, one after the other.
    answers: Vec<u8>,
    to: Vec<(Range<usize>, SocketAddr)>,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            room: vec![0; MESSAGES * LONGEST].into(),
            received: Vec::new(),
            answers: Vec::new(),
            to: Vec::new(),
        }
    }
}

impl Batch {
    /// Waits for a message and takes those that are there. A socket that was shut down has an empty one of nobody.
    ///
    /// # Errors
    /// When the socket is broken.
    pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<()> {
        self.received.clear();
        self.answers.clear();
        self.to.clear();
        let mut room: Vec<_> =
            self.room.chunks_exact_mut(LONGEST).map(|room| [IoSliceMut::new(room)]).collect();
        // Made anew: the last call has left in them what it wrote and where it read.
        let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(MESSAGES, None);
        let flags = MsgFlags::MSG_WAITFORONE;
        let messages = recvmmsg(socket.as_raw_fd(), &mut headers, room.iter_mut(), flags, None)?;
        for message in messages {
            let from = message.address.as_ref().and_then(standard);
            self.received.push((message.bytes, from.unwrap_or(NOBODY)));
        }
        Ok(())
    }

    pub fn questions(&self) -> usize {
        self.received.len()
    }

    /// A message, who sent it, and where the answer is to be written.
    pub fn question(&mut self, index: usize) -> (&[u8], SocketAddr, &mut Vec<u8>) {
        let (length, client) = self.received[index];
        (&self.room[index * LONGEST..][..length], client, &mut self.answers)
    }

    /// What was written since the last answer is one for this client; nothing if nothing was.
    pub fn answered(&mut self, client: SocketAddr) {
        let begun = self.to.last().map_or(0, |(range, _)| range.end);
        if begun < self.answers.len() {
            self.to.push((begun..self.answers.len(), client));
        }
    }

    /// Sends the answers. One that cannot be sent is left out.
    pub fn send(&mut self, socket: &UdpSocket) {
        let mut sent = 0;
        while sent < self.to.len() {
            match self.give(socket, sent) {
                Ok(count) => sent += count.max(1),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::debug!(%error, client = %self.to[sent].1, "a DNS answer could not be sent");
                    sent += 1;
                }
            }
        }
    }

    /// Sends from an answer on; how many were sent.
    fn give(&self, socket: &UdpSocket, from: usize) -> io::Result<usize> {
        let rest = &self.to[from..];
        let answers: Vec<_> =
            rest.iter().map(|(range, _)| [IoSlice::new(&self.answers[range.clone()])]).collect();
        let clients: Vec<_> = rest.iter().map(|(_, client)| Some(SockaddrStorage::from(*client))).collect();
        let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(rest.len(), None);
        let flags = MsgFlags::MSG_DONTWAIT;
        Ok(sendmmsg(socket.as_raw_fd(), &mut headers, &answers, &clients, [], flags)?.count())
    }
}

/// Whom no answer can be sent to.
const NOBODY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);

fn standard(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| SocketAddr::from(SocketAddrV4::from(*v4)));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| SocketAddr::from(SocketAddrV6::from(*v6))))
}
