//! Reads from the kernel: the names of tables, the elements of a set, and whether a set contains a key.

use std::io;

use netlink_sys::{Socket, SocketAddr};

use crate::Attributes;
use crate::batch::{Family, GET_CHAIN, GET_SET_ELEMENTS, GET_TABLE, Head, NETLINK_NETFILTER, REQUEST, frame};
use crate::message::{self, FAMILY_HEADER, attributes, messages};

const DUMP: u16 = 0x300;
/// The most that the kernel puts into a part of a list, if there is room for it. It walks a set from the beginning for each
/// part, so that the fewer there are the better.
const ANSWER_BYTES: usize = 32 << 10;
/// What was listed has changed meanwhile (`NLM_F_DUMP_INTR`).
const INTERRUPTED: u16 = 0x10;
/// Attributes of an element.
const KEY: u16 = 1;
const DATA: u16 = 2;
const KEY_END: u16 = 10;
/// Of an element's data, and of the verdict that these are.
const VERDICT: u16 = 2;
const CHAIN: u16 = 2;

/// Names of the tables of `family` that start with `prefix`. Blocks.
///
/// # Errors
/// When the kernel refuses.
pub fn tables(family: Family, prefix: &str) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    dump(family as u8, GET_TABLE, Attributes::default(), |table| {
        let name = attributes(table).find(|(kind, _)| *kind == 1);
        names.extend(name.map(|(_, value)| text(value)).filter(|name| name.starts_with(prefix)));
    })?;
    Ok(names)
}

/// Names of the chains of a table of IPv4; none where there is no such table. Blocks.
///
/// # Errors
/// When the kernel refuses.
pub fn chains(table: &str) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    // A list of all tables' chains: the kernel knows no other question.
    dump(Family::Ipv4 as u8, GET_CHAIN, Attributes::default(), |chain| {
        let of =
            |kind: u16| attributes(chain).find(|(found, _)| *found == kind).map(|(_, value)| text(value));
        if of(1).is_some_and(|name| name == table) {
            names.extend(of(3));
        }
    })?;
    Ok(names)
}

/// Whether a set of IPv4 has an element with this key; false too where there is no such set. Blocks.
///
/// # Errors
/// When the kernel refuses.
pub fn contains(table: &str, set: &str, key: &[u8]) -> io::Result<bool> {
    let mut asked = Attributes::default();
    asked.text(1, table);
    asked.text(2, set);
    asked.nest(3, |list| list.nest(1, |element| element.nest(1, |value| value.raw(1, key))));
    let socket = ask(Family::Ipv4 as u8, GET_SET_ELEMENTS, REQUEST, asked)?;
    let (answer, _) = socket.recv_from_full()?;
    match messages(&answer).next() {
        Some(message) if message.kind == message::ERROR => match message::verdict(message.payload) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            other => other.map(|()| false),
        },
        found => Ok(found.is_some()),
    }
}

/// Hands over each element of a set of IPv4: its key, and what a map holds for the key. Blocks.
///
/// While the kernel still grows the table of a set that was just filled, a listing has elements twice and lacks
/// others.
///
/// # Errors
/// When the kernel refuses, there is no such set, or something changed meanwhile ([`io::ErrorKind::Interrupted`]).
pub fn elements(table: &str, set: &str, mut take: impl FnMut(&[u8], &[u8])) -> io::Result<()> {
    dump_elements(table, set, |element| {
        if let Some(key) = value(element, KEY) {
            take(key, value(element, DATA).unwrap_or_default());
        }
    })
}

/// Hands over each element of a map of verdicts of IPv4: its key, and the chain that the verdict leads to. Blocks.
///
/// # Errors
/// As [`elements`].
pub fn verdicts(table: &str, map: &str, mut take: impl FnMut(&[u8], &str)) -> io::Result<()> {
    dump_elements(table, map, |element| {
        let (_, data) = attributes(element).find(|(kind, _)| *kind == DATA).unwrap_or_default();
        let (_, verdict) = attributes(data).find(|(kind, _)| *kind == VERDICT).unwrap_or_default();
        let chain = attributes(verdict).find(|(kind, _)| *kind == CHAIN);
        if let (Some(key), Some((_, chain))) = (value(element, KEY), chain) {
            take(key, &text(chain));
        }
    })
}

/// Hands over the first and the last key of each range of a set of ranges of IPv4. Blocks.
///
/// # Errors
/// As [`elements`].
pub fn ranges(table: &str, set: &str, mut take: impl FnMut(&[u8], &[u8])) -> io::Result<()> {
    dump_elements(table, set, |element| {
        if let (Some(from), Some(to)) = (value(element, KEY), value(element, KEY_END)) {
            take(from, to);
        }
    })
}

fn dump_elements(table: &str, set: &str, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    let mut asked = Attributes::default();
    asked.text(1, table);
    asked.text(2, set);
    dump(Family::Ipv4 as u8, GET_SET_ELEMENTS, asked, |message| {
        let lists = attributes(message).filter(|(kind, _)| *kind == 3);
        lists.flat_map(|(_, list)| attributes(list)).for_each(|(_, element)| take(element));
    })
}

/// The value of an attribute of an element.
fn value(element: &[u8], kind: u16) -> Option<&[u8]> {
    let (_, data) = attributes(element).find(|(found, _)| *found == kind)?;
    attributes(data).find(|(kind, _)| *kind == 1).map(|(_, value)| value)
}

/// Asks for a list and hands over the attributes of each of its messages.
pub(crate) fn dump(family: u8, kind: u16, asked: Attributes, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    let socket = ask(family, kind, REQUEST | DUMP, asked)?;
    let mut interrupted = false;
    let mut answer = Vec::with_capacity(ANSWER_BYTES);
    loop {
        answer.clear();
        socket.recv_from(&mut answer, 0)?;
        for message in messages(&answer) {
            interrupted |= message.flags & INTERRUPTED != 0;
            match message.kind {
                message::DONE if interrupted => return Err(io::ErrorKind::Interrupted.into()),
                message::DONE => return Ok(()),
                message::ERROR => return message::verdict(message.payload),
                _ => take(message.payload.get(FAMILY_HEADER..).unwrap_or_default()),
            }
        }
    }
}

/// Sends one question; the answer comes on the socket.
fn ask(family: u8, kind: u16, flags: u16, asked: Attributes) -> io::Result<Socket> {
    let asked = asked.finish()?;
    let mut request = Vec::new();
    frame(&mut request, Head { kind, flags, sequence: 1, family, resource: 0 }, &asked);
    let socket = Socket::new(NETLINK_NETFILTER)?;
    socket.send_to(&request, &SocketAddr::new(0, 0), 0)?;
    Ok(socket)
}

pub(crate) fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value.strip_suffix(&[0]).unwrap_or(value)).into_owned()
}
