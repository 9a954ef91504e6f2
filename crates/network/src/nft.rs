//! The few nftables messages needed, over netlink (kernel: `include/uapi/linux/netfilter/nf_tables.h`).
//! A batch is one transaction: a bad message in it leaves everything as it was.

use std::io;
use std::net::Ipv4Addr;

use netlink_sys::{Socket, SocketAddr};

use crate::config::Range;

const NETLINK_NETFILTER: isize = 12;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const SUBSYSTEM: u16 = 10 << 8;
const NEW_TABLE: u16 = SUBSYSTEM;
const GET_TABLE: u16 = SUBSYSTEM | 1;
const DEL_TABLE: u16 = SUBSYSTEM | 2;
const NEW_CHAIN: u16 = SUBSYSTEM | 3;
const NEW_RULE: u16 = SUBSYSTEM | 6;
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;
const FAMILY_IPV4: u8 = 2;
const NESTED: u16 = 0x8000;
const ERROR_MESSAGE: u16 = 2;
const DONE_MESSAGE: u16 = 3;
const DUMP: u16 = 0x300;
/// Length of a netlink message's header.
const HEADER: usize = 16;
/// Postrouting, at the priority of source NAT.
const HOOK_POSTROUTING: u32 = 4;
const PRIORITY_SRCNAT: u32 = 100;
/// Register 1, the base of the network header, and offsets of its addresses.
const REGISTER: u32 = 1;
const NETWORK_HEADER: u32 = 1;
const SOURCE_OFFSET: u32 = 12;
const DESTINATION_OFFSET: u32 = 16;
const CMP_EQ: u32 = 0;
const CMP_NEQ: u32 = 1;

/// Makes (or makes anew) the table that masquerades what pods send out of the cluster.
pub(crate) fn masquerade(table: &str, pods: Range) -> io::Result<()> {
    let mut batch = Batch::new();
    // Adding before deleting makes the deletion succeed whether or not the table was there.
    batch.message(NEW_TABLE, CREATE, |a| a.text(1, table));
    batch.message(DEL_TABLE, 0, |a| a.text(1, table));
    batch.message(NEW_TABLE, CREATE, |a| a.text(1, table));
    batch.message(NEW_CHAIN, CREATE, |a| {
        a.text(1, table);
        a.text(3, "postrouting");
        a.nest(4, |hook| {
            hook.number(1, HOOK_POSTROUTING);
            hook.number(2, PRIORITY_SRCNAT);
        });
        a.text(7, "nat");
    });
    batch.message(NEW_RULE, CREATE | APPEND, |a| {
        a.text(1, table);
        a.text(2, "postrouting");
        a.nest(4, |rule| {
            rule.in_range(SOURCE_OFFSET, pods, CMP_EQ);
            rule.in_range(DESTINATION_OFFSET, pods, CMP_NEQ);
            rule.expression("masq", |_| {});
        });
    });
    batch.send()
}

/// Names of the tables that start with `prefix`.
pub(crate) fn tables(prefix: &str) -> io::Result<Vec<String>> {
    let mut request = Batch { bytes: Vec::new(), sequence: 1 };
    request.frame(GET_TABLE, REQUEST | DUMP, FAMILY_IPV4, 0, &[]);
    let socket = Socket::new(NETLINK_NETFILTER)?;
    socket.send_to(&request.bytes, &SocketAddr::new(0, 0), 0)?;
    let mut names = Vec::new();
    loop {
        let (answer, _) = socket.recv_from_full()?;
        for message in messages(&answer) {
            match message.kind {
                DONE_MESSAGE => return Ok(names),
                ERROR_MESSAGE => {
                    let code = word(message.payload, 0).unwrap_or(0).cast_signed();
                    return if code == 0 { Ok(names) } else { Err(io::Error::from_raw_os_error(-code)) };
                }
                _ => names.extend(table_name(message.payload).filter(|name| name.starts_with(prefix))),
            }
        }
    }
}

/// The name attribute of a table message, whose payload begins with a 4-byte nfgenmsg.
fn table_name(payload: &[u8]) -> Option<String> {
    let mut rest = payload.get(4..)?;
    while let (Some(length), Some(kind)) = (half(rest, 0), half(rest, 2)) {
        let length = usize::from(length);
        let value = rest.get(4..length)?;
        if kind == 1 {
            let text = value.strip_suffix(&[0]).unwrap_or(value);
            return Some(String::from_utf8_lossy(text).into_owned());
        }
        rest = rest.get(length.next_multiple_of(4)..)?;
    }
    None
}

/// Removes the table; fine when it is gone.
pub(crate) fn remove_table(table: &str) -> io::Result<()> {
    let mut batch = Batch::new();
    batch.message(DEL_TABLE, 0, |a| a.text(1, table));
    match batch.send() {
        Err(error) if error.raw_os_error() == Some(nix::libc::ENOENT) => Ok(()),
        other => other,
    }
}

/// Netlink attributes being written.
#[derive(Default)]
struct Attributes(Vec<u8>);

impl Attributes {
    fn raw(&mut self, kind: u16, value: &[u8]) {
        let length = u16::try_from(4 + value.len()).expect("attributes here are short");
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    fn text(&mut self, kind: u16, value: &str) {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.raw(kind, &bytes);
    }

    fn number(&mut self, kind: u16, value: u32) {
        self.raw(kind, &value.to_be_bytes());
    }

    fn nest(&mut self, kind: u16, write: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        write(&mut inner);
        self.raw(kind | NESTED, &inner.0);
    }

    /// One expression of a rule.
    fn expression(&mut self, name: &str, data: impl FnOnce(&mut Self)) {
        self.nest(1, |element| {
            element.text(1, name);
            element.nest(2, data);
        });
    }

    /// Goes on with the rule only if the address at `offset` is (or, with `CMP_NEQ`, is not) in the range.
    fn in_range(&mut self, offset: u32, range: Range, comparison: u32) {
        self.expression("payload", |e| {
            e.number(1, REGISTER);
            e.number(2, NETWORK_HEADER);
            e.number(3, offset);
            e.number(4, 4);
        });
        self.expression("bitwise", |e| {
            e.number(1, REGISTER);
            e.number(2, REGISTER);
            e.number(3, 4);
            e.nest(4, |mask| mask.raw(1, &range.mask().octets()));
            e.nest(5, |xor| xor.raw(1, &Ipv4Addr::UNSPECIFIED.octets()));
        });
        self.expression("cmp", |e| {
            e.number(1, REGISTER);
            e.number(2, comparison);
            e.nest(3, |value| value.raw(1, &range.network.octets()));
        });
    }
}

/// A transaction.
struct Batch {
    bytes: Vec<u8>,
    sequence: u32,
}

impl Batch {
    fn new() -> Self {
        let mut batch = Self { bytes: Vec::new(), sequence: 0 };
        batch.frame(BATCH_BEGIN, REQUEST, 0, 10, &[]);
        batch
    }

    fn message(&mut self, kind: u16, flags: u16, write: impl FnOnce(&mut Attributes)) {
        let mut attributes = Attributes::default();
        write(&mut attributes);
        self.frame(kind, REQUEST | flags, FAMILY_IPV4, 0, &attributes.0);
    }

    fn frame(&mut self, kind: u16, flags: u16, family: u8, resource: u16, payload: &[u8]) {
        let length = u32::try_from(20 + payload.len()).expect("messages here are short");
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(flags.to_ne_bytes());
        self.bytes.extend(self.sequence.to_ne_bytes());
        self.bytes.extend(0u32.to_ne_bytes());
        self.bytes.extend([family, 0]);
        self.bytes.extend(resource.to_be_bytes());
        self.bytes.extend(payload);
        self.sequence += 1;
    }

    /// Sends the transaction and waits for the kernel's verdict.
    fn send(mut self) -> io::Result<()> {
        let last = self.sequence;
        self.frame(BATCH_END, REQUEST | ACK, 0, 10, &[]);
        let socket = Socket::new(NETLINK_NETFILTER)?;
        socket.send_to(&self.bytes, &SocketAddr::new(0, 0), 0)?;
        loop {
            let (answer, _) = socket.recv_from_full()?;
            if let Some(verdict) = verdict(&answer, last) {
                return verdict;
            }
        }
    }
}

/// A netlink message of an answer.
struct Message<'a> {
    kind: u16,
    sequence: u32,
    payload: &'a [u8],
}

/// The messages of a datagram; it ends at the first one that is malformed.
fn messages(mut datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = usize::try_from(word(datagram, 0)?).ok()?;
        let payload = datagram.get(HEADER..length)?;
        let message = Message { kind: half(datagram, 4)?, sequence: word(datagram, 8)?, payload };
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

/// The first error among the answers, or success once the batch's end is acknowledged.
fn verdict(answer: &[u8], last: u32) -> Option<io::Result<()>> {
    let mut acknowledged = false;
    for message in messages(answer).filter(|m| m.kind == ERROR_MESSAGE) {
        let code = word(message.payload, 0)?.cast_signed();
        if code != 0 {
            return Some(Err(io::Error::from_raw_os_error(-code)));
        }
        acknowledged |= message.sequence == last;
    }
    acknowledged.then_some(Ok(()))
}
