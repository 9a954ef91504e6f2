//! A transaction: messages that take effect together or not at all.

use std::io;

use netlink_sys::{Socket, SocketAddr};
use rustix::net::sockopt;

use crate::Attributes;
use crate::attributes::too_long;
use crate::message::{self, messages};

pub(crate) const NETLINK_NETFILTER: isize = 12;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
pub(crate) const SUBSYSTEM: u16 = 10 << 8;
const NEW_TABLE: u16 = SUBSYSTEM;
pub(crate) const GET_TABLE: u16 = SUBSYSTEM | 1;
const DELETE_TABLE: u16 = SUBSYSTEM | 2;
const NEW_CHAIN: u16 = SUBSYSTEM | 3;
pub(crate) const GET_CHAIN: u16 = SUBSYSTEM | 4;
const DELETE_CHAIN: u16 = SUBSYSTEM | 5;
const NEW_RULE: u16 = SUBSYSTEM | 6;
const DELETE_RULE: u16 = SUBSYSTEM | 8;
pub(crate) const NEW_SET: u16 = SUBSYSTEM | 9;
pub(crate) const NEW_SET_ELEMENTS: u16 = SUBSYSTEM | 12;
pub(crate) const GET_SET_ELEMENTS: u16 = SUBSYSTEM | 13;
pub(crate) const DELETE_SET_ELEMENTS: u16 = SUBSYSTEM | 14;
pub(crate) const REQUEST: u16 = 1;
pub(crate) const ACK: u16 = 4;
pub(crate) const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;
/// The priority of source NAT.
const PRIORITY_SRCNAT: i32 = 100;
/// As soon as a frame comes in on a device, before anything else that a table could do with it.
const HOOK_INGRESS: u32 = 0;
const PRIORITY_FIRST: u32 = i32::MIN.cast_unsigned();
const POLICY_DROP: u32 = 0;
/// What the kernel keeps of a socket's send buffer for itself, and more.
const SEND_BUFFER_SPARE_BYTES: usize = 4096;

/// What the packets of a table's chains are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Ipv4 = 2,
    /// Frames that come in on one device.
    Device = 5,
}

/// Where on its way a packet of IPv4 passes a chain (`enum nf_inet_hooks`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// What comes in, before it is routed.
    Prerouting = 0,
    /// What comes in for the machine itself.
    Input = 1,
    /// What the machine passes on.
    Forward = 2,
    /// What the machine's own processes send.
    Output = 3,
    /// What leaves, after routing.
    Postrouting = 4,
}

/// Which packets pass a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passing {
    /// All.
    Every,
    /// The first of each connection; the chain may translate the connection's addresses.
    Connections,
}

/// A transaction of any size on tables of one family.
#[derive(Debug)]
pub struct Batch {
    family: Family,
    bytes: Vec<u8>,
    sequence: u32,
    /// The length of the first attribute that was too long.
    too_long: Option<usize>,
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl Batch {
    /// A transaction on tables of IPv4.
    pub fn new() -> Self {
        Self::of(Family::Ipv4)
    }

    /// A transaction on tables of `family`.
    pub fn of(family: Family) -> Self {
        let mut batch = Self { family, bytes: Vec::new(), sequence: 0, too_long: None };
        batch.frame(BATCH_BEGIN, REQUEST, 0, 10, &[]);
        batch
    }

    /// Makes the table; no error if it exists.
    pub fn new_table(&mut self, table: &str) {
        self.message(NEW_TABLE, CREATE, |a| a.text(1, table));
    }

    /// Removes the table with all in it; the batch fails when it is not there.
    pub fn delete_table(&mut self, table: &str) {
        self.message(DELETE_TABLE, 0, |a| a.text(1, table));
    }

    /// Makes a chain that only rules and maps lead to.
    pub fn new_chain(&mut self, table: &str, chain: &str) {
        self.message(NEW_CHAIN, CREATE, |a| {
            a.text(1, table);
            a.text(3, chain);
        });
    }

    /// Makes the chain that new connections pass on their way out, after routing.
    pub fn new_source_nat_chain(&mut self, table: &str, chain: &str) {
        self.new_hooked_chain(table, chain, Passing::Connections, Hook::Postrouting, PRIORITY_SRCNAT);
    }

    /// Makes a chain that packets pass at `hook`; among the chains of a hook, lower priorities come first.
    pub fn new_hooked_chain(
        &mut self,
        table: &str,
        chain: &str,
        passing: Passing,
        hook: Hook,
        priority: i32,
    ) {
        self.message(NEW_CHAIN, CREATE, |a| {
            a.text(1, table);
            a.text(3, chain);
            a.nest(4, |at| {
                at.number(1, hook as u32);
                at.number(2, priority.cast_unsigned());
            });
            a.text(
                7,
                match passing {
                    Passing::Every => "filter",
                    Passing::Connections => "nat",
                },
            );
        });
    }

    /// Makes the chain that every frame passes that comes in on `device`. What none of its rules accepts is dropped.
    pub fn new_ingress_chain(&mut self, table: &str, chain: &str, device: &str) {
        self.message(NEW_CHAIN, CREATE, |a| {
            a.text(1, table);
            a.text(3, chain);
            a.nest(4, |hook| {
                hook.number(1, HOOK_INGRESS);
                hook.number(2, PRIORITY_FIRST);
                hook.text(3, device);
            });
            a.number(5, POLICY_DROP);
            a.text(7, "filter");
        });
    }

    /// Removes every rule of a chain; the batch fails when the chain is not there.
    pub fn delete_rules(&mut self, table: &str, chain: &str) {
        self.message(DELETE_RULE, 0, |a| {
            a.text(1, table);
            a.text(2, chain);
        });
    }

    /// Removes a chain without rules; the batch fails when it is not there.
    pub fn delete_chain(&mut self, table: &str, chain: &str) {
        self.message(DELETE_CHAIN, 0, |a| {
            a.text(1, table);
            a.text(3, chain);
        });
    }

    /// Adds a rule at the end of a chain; `expressions` writes the rule's expressions.
    pub fn new_rule(&mut self, table: &str, chain: &str, expressions: impl FnOnce(&mut Attributes)) {
        self.message(NEW_RULE, CREATE | APPEND, |a| {
            a.text(1, table);
            a.text(2, chain);
            a.nest(4, expressions);
        });
    }

    pub(crate) fn message(&mut self, kind: u16, flags: u16, write: impl FnOnce(&mut Attributes)) {
        let mut attributes = Attributes::default();
        write(&mut attributes);
        let (bytes, too_long) = attributes.into_parts();
        self.too_long = self.too_long.or(too_long);
        self.frame(kind, REQUEST | flags, self.family as u8, 0, &bytes);
    }

    fn frame(&mut self, kind: u16, flags: u16, family: u8, resource: u16, payload: &[u8]) {
        frame(&mut self.bytes, Head { kind, flags, sequence: self.sequence, family, resource }, payload);
        self.sequence += 1;
    }

    /// The bytes of the whole transaction, and the number of its last message.
    pub(crate) fn finish(mut self) -> io::Result<(Vec<u8>, u32)> {
        if let Some(length) = self.too_long {
            return Err(too_long(length));
        }
        let last = self.sequence;
        self.frame(BATCH_END, REQUEST | ACK, 0, 10, &[]);
        Ok((self.bytes, last))
    }

    /// Sends the transaction and waits for the kernel's verdict. Blocks.
    ///
    /// # Errors
    /// What the kernel says of the first message it refuses; `InvalidInput` when something fits no message. Nothing
    /// has changed then.
    pub fn send(self) -> io::Result<()> {
        self.send_by(&Sender::open()?)
    }

    /// As [`Batch::send`], by a socket whose port others may know. After an error the sender is to be opened anew.
    ///
    /// # Errors
    /// As [`Batch::send`].
    pub fn send_by(self, sender: &Sender) -> io::Result<()> {
        let (bytes, last) = self.finish()?;
        let socket = &sender.0;
        make_room(socket, bytes.len())?;
        socket.send_to(&bytes, &SocketAddr::new(0, 0), 0)?;
        loop {
            let (answer, _) = socket.recv_from_full()?;
            if let Some(verdict) = verdict(&answer, last) {
                return verdict;
            }
        }
    }
}

/// A socket that transactions are sent by.
#[derive(Debug)]
pub struct Sender(Socket);

impl Sender {
    /// # Errors
    /// When the kernel refuses.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        socket.bind(&SocketAddr::new(0, 0))?;
        Ok(Self(socket))
    }

    /// By what [`crate::Events`] tells the socket from others.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn port(&self) -> io::Result<u32> {
        let mut address = SocketAddr::new(0, 0);
        self.0.get_address(&mut address)?;
        Ok(address.port_number())
    }
}

/// The kernel takes a transaction in one piece, and refuses one that is larger than the socket's send buffer.
fn make_room(socket: &Socket, bytes: usize) -> io::Result<()> {
    let wanted = bytes + SEND_BUFFER_SPARE_BYTES;
    if sockopt::socket_send_buffer_size(socket)? >= wanted {
        return Ok(());
    }
    // Who may change tables may also exceed the system's limit of buffers.
    Ok(sockopt::set_socket_send_buffer_size_force(socket, wanted)?)
}

pub(crate) struct Head {
    pub kind: u16,
    pub flags: u16,
    pub sequence: u32,
    pub family: u8,
    pub resource: u16,
}

/// Adds a message. Its payload is far below the 4 GiB a message may have: memory is.
pub(crate) fn frame(out: &mut Vec<u8>, head: Head, payload: &[u8]) {
    let length = u32::try_from(20 + payload.len()).expect("a message's attributes each have a limit");
    out.extend(length.to_ne_bytes());
    out.extend(head.kind.to_ne_bytes());
    out.extend(head.flags.to_ne_bytes());
    out.extend(head.sequence.to_ne_bytes());
    out.extend(0u32.to_ne_bytes());
    out.extend([head.family, 0]);
    out.extend(head.resource.to_be_bytes());
    out.extend(payload);
}

/// The first error among the answers, or success once the batch's end is acknowledged.
fn verdict(answer: &[u8], last: u32) -> Option<io::Result<()>> {
    let mut acknowledged = false;
    for message in messages(answer).filter(|m| m.kind == message::ERROR) {
        if let Err(error) = message::verdict(message.payload) {
            return Some(Err(error));
        }
        acknowledged |= message.sequence == last;
    }
    acknowledged.then_some(Ok(()))
}
