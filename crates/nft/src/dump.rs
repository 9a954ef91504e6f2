//! Reads from the kernel: the names of tables, and whether a set contains a key.

use std::io;

use netlink_sys::{Socket, SocketAddr};

use crate::Attributes;
use crate::batch::{Family, GET_SET_ELEMENTS, GET_TABLE, Head, NETLINK_NETFILTER, REQUEST, frame};
use crate::message::{self, FAMILY_HEADER, attributes, messages};

const DUMP: u16 = 0x300;

/// Names of the tables of `family` that start with `prefix`. Blocks.
///
/// # Errors
/// When the kernel refuses.
pub fn tables(family: Family, prefix: &str) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    dump(family, GET_TABLE, Attributes::default(), |table| {
        let name = attributes(table).find(|(kind, _)| *kind == 1);
        names.extend(name.map(|(_, value)| text(value)).filter(|name| name.starts_with(prefix)));
    })?;
    Ok(names)
}

/// Whether a set of IPv4 has an element with this key; false too where there is no such set. Blocks.
///
/// There is no listing of a set: while the kernel still grows the table of one that was just filled, a listing has
/// elements twice and lacks others.
///
/// # Errors
/// When the kernel refuses.
pub fn contains(table: &str, set: &str, key: &[u8]) -> io::Result<bool> {
    let mut asked = Attributes::default();
    asked.text(1, table);
    asked.text(2, set);
    asked.nest(3, |list| list.nest(1, |element| element.nest(1, |value| value.raw(1, key))));
    let socket = ask(Family::Ipv4, GET_SET_ELEMENTS, REQUEST, asked)?;
    let (answer, _) = socket.recv_from_full()?;
    match messages(&answer).next() {
        Some(message) if message.kind == message::ERROR => match message::verdict(message.payload) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            other => other.map(|()| false),
        },
        found => Ok(found.is_some()),
    }
}

/// Asks for a list and hands over the attributes of each of its messages.
fn dump(family: Family, kind: u16, asked: Attributes, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    let socket = ask(family, kind, REQUEST | DUMP, asked)?;
    loop {
        let (answer, _) = socket.recv_from_full()?;
        for message in messages(&answer) {
            match message.kind {
                message::DONE => return Ok(()),
                message::ERROR => return message::verdict(message.payload),
                _ => take(message.payload.get(FAMILY_HEADER..).unwrap_or_default()),
            }
        }
    }
}

/// Sends one question; the answer comes on the socket.
fn ask(family: Family, kind: u16, flags: u16, asked: Attributes) -> io::Result<Socket> {
    let asked = asked.finish()?;
    let mut request = Vec::new();
    frame(&mut request, Head { kind, flags, sequence: 1, family: family as u8, resource: 0 }, &asked);
    let socket = Socket::new(NETLINK_NETFILTER)?;
    socket.send_to(&request, &SocketAddr::new(0, 0), 0)?;
    Ok(socket)
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value.strip_suffix(&[0]).unwrap_or(value)).into_owned()
}
