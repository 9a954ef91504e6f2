//! [`Events`]: hears of changes to tables, whoever makes them.

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use netlink_sys::{Socket, SocketAddr};
use rustix::net::sockopt;

use crate::batch::{Family, NETLINK_NETFILTER, SUBSYSTEM};
use crate::message::{FAMILY_HEADER, Message, attributes, messages};

/// `NFNLGRP_NFTABLES`.
const GROUP: u32 = 7;
/// What may wait to be read: a flood of changes, not a table of a hundred thousand elements.
const ROOM_BYTES: usize = 1 << 20;

/// Messages that say what went (`enum nf_tables_msg_types`).
const GONE_TABLE: u8 = 2;
const GONE_CHAIN: u8 = 5;
const GONE_RULE: u8 = 8;
const GONE_SET: u8 = 11;
const GONE_ELEMENTS: u8 = 14;

/// What happened to a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What<'a> {
    /// It went, with all in it.
    Gone,
    /// A chain of this name went, or rules of it.
    ChainCut(&'a str),
    /// A set of this name went, or elements of it.
    SetCut(&'a str),
    /// Something came, or else changed.
    Other,
}

/// A change that somebody has made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change<'a> {
    /// Of the table: one of [`Family`], or another.
    family: u8,
    pub table: &'a str,
    pub what: What<'a>,
}

impl Change<'_> {
    /// Whether the change is of this table.
    pub fn is_of(&self, family: Family, table: &str) -> bool {
        self.family == family as u8 && self.table == table
    }
}

/// The change that a message tells of.
fn change<'a>(message: &Message<'a>) -> Option<Change<'a>> {
    let [kind, subsystem] = message.kind.to_le_bytes();
    let is_of_tables = u16::from(subsystem) << 8 == SUBSYSTEM;
    let family = *message.payload.first().filter(|_| is_of_tables)?;
    let body = message.payload.get(FAMILY_HEADER..)?;
    let name =
        |number: u16| attributes(body).find(|(kind, _)| *kind == number).and_then(|(_, value)| name(value));
    // The table's name is the first attribute of all these messages.
    let table = name(1)?;
    let what = match kind {
        GONE_TABLE => What::Gone,
        GONE_CHAIN => What::ChainCut(name(3)?),
        GONE_RULE => What::ChainCut(name(2)?),
        GONE_SET | GONE_ELEMENTS => What::SetCut(name(2)?),
        _ => What::Other,
    };
    Some(Change { family, table, what })
}

/// A name as the kernel writes it: it ends with a zero.
fn name(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value.strip_suffix(&[0]).unwrap_or(value)).ok()
}

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
        let is_whole = self.read(port, |change| concerned |= change.is_of(Family::Ipv4, table))?;
        Ok(concerned || !is_whole)
    }

    /// Calls `take` with each change that has come from another socket than the one with `port`. Returns whether that was
    /// all: where too much came, some of it was lost.
    ///
    /// # Errors
    /// When the socket breaks.
    pub fn read(&self, port: u32, mut take: impl FnMut(Change<'_>)) -> io::Result<bool> {
        let mut is_whole = true;
        loop {
            match self.0.recv_from_full() {
                Ok((datagram, _)) => {
                    let others = messages(&datagram).filter(|message| message.port != port);
                    others.filter_map(|message| change(&message)).for_each(&mut take);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(is_whole),
                Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NOBUFS.raw_os_error()) => {
                    is_whole = false;
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
