//! [`Events`]: hears of changes to tables, whoever makes them.

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use netlink_sys::{Socket, SocketAddr};
use rustix::net::sockopt;

use crate::batch::{NETLINK_NETFILTER, SUBSYSTEM};
use crate::dump::text;
use crate::message::{FAMILY_HEADER, attributes, messages};

/// `NFNLGRP_NFTABLES`.
const GROUP: u32 = 7;
/// What may wait to be read: a flood of changes, not a table of a hundred thousand elements.
const ROOM_BYTES: usize = 1 << 20;

/// A subscription to changes of tables. Readable (as a file descriptor) when there is news.
#[derive(Debug)]
pub struct Events(Socket);

impl Events {
    /// Hears of what happens from now on.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn subscribe() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        sockopt::set_socket_recv_buffer_size_force(&socket, ROOM_BYTES)?;
        socket.bind(&SocketAddr::new(0, 0))?;
        socket.add_membership(GROUP)?;
        socket.set_non_blocking(true)?;
        Ok(Self(socket))
    }

    /// Reads what has come, and returns whether some of it is about `table` of IPv4 and from another socket than the one
    /// with `port`. True too where so much came that some of it was lost.
    ///
    /// # Errors
    /// When the socket breaks.
    pub fn concern(&self, table: &str, port: u32) -> io::Result<bool> {
        let mut concerned = false;
        loop {
            match self.0.recv_from_full() {
                Ok((datagram, _)) => {
                    let ours = |payload: &[u8]| {
                        let body = payload.get(FAMILY_HEADER..).unwrap_or_default();
                        // The table's name is the first attribute of all these messages.
                        attributes(body).any(|(kind, value)| kind == 1 && text(value) == table)
                    };
                    concerned |= messages(&datagram).any(|message| {
                        message.kind & !0xff == SUBSYSTEM && message.port != port && ours(message.payload)
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(concerned),
                Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NOBUFS.raw_os_error()) => {
                    concerned = true;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl AsRawFd for Events {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
