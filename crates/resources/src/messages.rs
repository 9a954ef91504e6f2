//! The field numbers of the built-in kinds' protobuf messages, read from the generated
//! `data/messages.txt`: a line for each structure (or message embedded in one), followed by a line
//! ` number field` or ` number *embedded` for each field.

use std::sync::LazyLock;

use api::codec::protobuf::{Member, Messages, Target};

use crate::embedded;

static MESSAGES: LazyLock<Messages> = LazyLock::new(|| parse(&embedded::messages()));

/// The messages of all built-in kinds. Read on first use.
pub fn messages() -> &'static Messages {
    &MESSAGES
}

fn parse(text: &str) -> Messages {
    let mut messages: Vec<(Box<str>, Vec<Member>)> = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some(line) = line.strip_prefix(' ') else {
            messages.push((line.into(), Vec::new()));
            continue;
        };
        let (number, name) = line.split_once(' ').expect("a field's line has a number and a name");
        let target = match name.strip_prefix('*') {
            Some(embedded) => Target::Embedded(embedded.into()),
            None => Target::Field(name.into()),
        };
        let number = number.parse().expect("a field's number is a number");
        let (_, members) = messages.last_mut().expect("a field follows its message");
        members.push(Member { number, target });
    }
    Messages::new(messages)
}
