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

/// The first error among the answers, or success once the batch's end is acknowledged.
fn verdict(answer: &[u8], last: u32) -> Option<io::Result<()>> {
    let word = |at: usize| answer.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_ne_bytes);
    let mut at = 0;
    let mut acknowledged = false;
    while let (Some(length), Some(kind)) = (word(at), answer.get(at + 4..at + 6)) {
        if kind == ERROR_MESSAGE.to_ne_bytes() {
            let code = word(at + 16)?.cast_signed();
            if code != 0 {
                return Some(Err(io::Error::from_raw_os_error(-code)));
            }
            acknowledged |= word(at + 8) == Some(last);
        }
        let length = usize::try_from(length).ok().filter(|length| *length >= 16)?;
        at += length.next_multiple_of(4);
    }
    acknowledged.then_some(Ok(()))
}
