//! The field numbers of the built-in kinds' protobuf messages, read from the generated
//! `data/messages.txt`: a line for each structure (or message embedded in one), followed by a line
//! ` number field` or ` number *embedded` for each field. A structure may come again with further fields.

use std::collections::HashMap;
use std::sync::LazyLock;

use api::codec::protobuf::{Member, Messages, Target, Union};

use crate::embedded;

/// The structure of a definition's schema, and its fields of several forms.
const DEFINED: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";
const UNIONS: [(&str, Union); 4] = [
    ("items", Union::OneOrMany),
    ("additionalProperties", Union::OneOrAny),
    ("additionalItems", Union::OneOrAny),
    ("dependencies", Union::OneOrTexts),
];

static MESSAGES: LazyLock<Messages> =
    LazyLock::new(|| parse(&embedded::messages()).with_unions(DEFINED, &UNIONS));

/// The messages of all built-in kinds. Read on first use.
pub fn messages() -> &'static Messages {
    &MESSAGES
}

fn parse(text: &str) -> Messages {
    let mut messages: HashMap<Box<str>, Vec<Member>> = HashMap::new();
    let mut of: Box<str> = "".into();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some(line) = line.strip_prefix(' ') else {
            of = line.into();
            messages.entry(of.clone()).or_default();
            continue;
        };
        let (number, name) = line.split_once(' ').expect("a field's line has a number and a name");
        let target = match name.strip_prefix('*') {
            Some(embedded) => Target::Embedded(embedded.into()),
            None => Target::Field(name.into()),
        };
        let number = number.parse().expect("a field's number is a number");
        let members = messages.get_mut(&of).expect("a field follows its message");
        members.push(Member { number, target });
    }
    Messages::new(messages)
}
