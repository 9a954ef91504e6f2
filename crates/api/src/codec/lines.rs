//! Keys that a YAML document gives twice, with their lines, in the words of Go's YAML decoder, which clients know from
//! upstream. Looked for only after decoding has met such a key.

use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::value::{self, Limits, MAX_REPORTED};

/// What Go's decoder says of each key that is given again: `line 11: key "foo" already set in map`, in the order of the
/// text. Empty for what is no YAML.
pub fn repeated_keys(bytes: &[u8], limits: &Limits) -> Vec<String> {
    let read = serde_saphyr::with_deserializer_from_slice_with_options(
        bytes,
        value::yaml_options(limits),
        |deserializer| Node::deserialize(deserializer),
    );
    let mut found = Vec::new();
    if let Ok(node) = read {
        node.say(&mut found);
    }
    found.truncate(MAX_REPORTED);
    found
}

/// A value as far as keys are concerned.
enum Node {
    Map(Vec<(String, Spanned<Node>)>),
    List(Vec<Node>),
    Other,
}

impl Node {
    fn say(&self, found: &mut Vec<String>) {
        match self {
            Self::Map(entries) => {
                let mut seen = HashSet::new();
                for (key, value) in entries {
                    // Of what is inside a value Go speaks first.
                    value.value.say(found);
                    if !seen.insert(key) {
                        let line = value.referenced.line();
                        found.push(format!("line {line}: key {key:?} already set in map"));
                    }
                }
            }
            Self::List(items) => items.iter().for_each(|item| item.say(found)),
            Self::Other => {}
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        value::with_stack(|| deserializer.deserialize_any(Nodes))
    }
}

struct Nodes;

impl<'de> Visitor<'de> for Nodes {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_str<E>(self, _: &str) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Node::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element()? {
            all.push(item);
        }
        Ok(Node::List(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut all = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            all.push(entry);
        }
        Ok(Node::Map(all))
    }
}
