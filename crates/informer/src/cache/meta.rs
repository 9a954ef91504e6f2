//! [`Meta`]: the metadata that is read often of any object, taken from its JSON in one pass.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use jiff::Timestamp;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::value::RawValue;

use crate::Key;

/// The metadata that caches keep beside an object's bytes. Equal parts are shared between neighbours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    pub key: Key,
    /// Empty where the object has none.
    pub uid: Arc<str>,
    /// The resource version as a number, 0 where the object has none.
    pub version: u64,
    pub generation: i64,
    pub created: Option<Timestamp>,
    /// The deletion timestamp; `None` if the object is not being deleted.
    pub deleted: Option<Timestamp>,
    pub owners: Arc<[Owner]>,
    pub labels: Labels,
    pub finalizers: Arc<[Arc<str>]>,
}

/// An owner reference.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    pub api_version: Arc<str>,
    pub kind: Arc<str>,
    pub name: Arc<str>,
    pub uid: Arc<str>,
    #[serde(default)]
    pub controller: Option<bool>,
    #[serde(default)]
    pub block_owner_deletion: Option<bool>,
}

/// Labels in the order of their keys, in one shared allocation.
#[derive(Clone, PartialEq, Eq)]
pub struct Labels(Arc<str>);

/// Separates the packed parts; no label contains it.
const END: char = '\0';

impl Labels {
    fn pack<'l>(labels: impl Iterator<Item = (&'l str, &'l str)>) -> Self {
        let mut text = String::new();
        for (key, value) in labels {
            for part in [key, value] {
                text.extend(part.chars().filter(|c| *c != END));
                text.push(END);
            }
        }
        Self(text.into())
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find(|(k, _)| *k == key).map(|(_, value)| value)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut parts = self.0.split_terminator(END);
        std::iter::from_fn(move || Some((parts.next()?, parts.next()?)))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'l> FromIterator<(&'l str, &'l str)> for Labels {
    /// From labels in the order of their keys.
    fn from_iter<I: IntoIterator<Item = (&'l str, &'l str)>>(labels: I) -> Self {
        Self::pack(labels.into_iter())
    }
}

impl std::fmt::Debug for Labels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// The part of an object that [`Meta`] is made of.
#[derive(Deserialize)]
struct Top<'a> {
    #[serde(borrow, default)]
    metadata: Raw<'a>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Raw<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    namespace: Option<Cow<'a, str>>,
    #[serde(borrow)]
    uid: Option<Cow<'a, str>>,
    #[serde(borrow)]
    resource_version: Option<Cow<'a, str>>,
    generation: Option<i64>,
    creation_timestamp: Option<Timestamp>,
    deletion_timestamp: Option<Timestamp>,
    owner_references: Option<Vec<Owner>>,
    #[serde(borrow)]
    labels: Option<Pairs<'a>>,
    finalizers: Option<Vec<Arc<str>>>,
    #[serde(borrow)]
    managed_fields: Option<&'a RawValue>,
}

/// Texts by texts, in the order of their keys.
#[derive(Default)]
struct Pairs<'a>(Vec<(Text<'a>, Text<'a>)>);

#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Pairs::default())
    }
}

impl<'de> Visitor<'de> for Pairs<'de> {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of texts")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self, A::Error> {
        while let Some(pair) = map.next_entry()? {
            self.0.push(pair);
        }
        // The API writes them in order, and none twice.
        if !self.0.is_sorted_by(|(one, _), (next, _)| one < next) {
            self.0.reverse();
            self.0.sort_by(|(one, _), (next, _)| one.cmp(next));
            // Of a key that is there twice the last value stands.
            self.0.dedup_by(|(next, _), (one, _)| one == next);
        }
        Ok(self)
    }
}

/// Where the value of the metadata begins, if only plain texts stand before it, as where the API writes an object
/// (`kind`, `apiVersion`); `None` elsewhere.
fn metadata_at(json: &[u8]) -> Option<usize> {
    let mut scan = Scan { json, at: 0 };
    scan.expect(b'{')?;
    loop {
        let key = scan.plain_text()?;
        scan.expect(b':')?;
        if key == b"metadata" {
            return Some(scan.at);
        }
        scan.plain_text()?;
        scan.expect(b',')?;
    }
}

/// A reader of an object's beginning. Gives up at whatever else is there.
struct Scan<'a> {
    json: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    fn expect(&mut self, byte: u8) -> Option<()> {
        self.at += self.json.get(self.at..)?.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let found = *self.json.get(self.at)? == byte;
        self.at += 1;
        found.then_some(())
    }

    /// A text without escapes.
    fn plain_text(&mut self) -> Option<&'a [u8]> {
        self.expect(b'"')?;
        let rest = self.json.get(self.at..)?;
        let length = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
        self.at += length;
        self.expect(b'"')?;
        Some(&rest[..length])
    }
}

impl<'a> Raw<'a> {
    /// The rest of the object is not read where the metadata stands before it: whoever decodes the object finds what is
    /// wrong there.
    fn read(json: &'a [u8]) -> Result<Self, serde_json::Error> {
        if !json.trim_ascii_start().starts_with(b"{") {
            return Err(de::Error::custom("not a JSON object"));
        }
        let Some(at) = metadata_at(json) else {
            return Ok(serde_json::from_slice::<Top<'a>>(json)?.metadata);
        };
        // A stream: what follows the value does not matter.
        let mut values = serde_json::Deserializer::from_slice(&json[at..]).into_iter();
        values.next().unwrap_or_else(|| Err(de::Error::custom("an object without an end")))
    }
}

impl Meta {
    /// Reads the metadata out of an object's JSON, and where `metadata.managedFields` stand in it.
    ///
    /// # Errors
    /// When the JSON is no object or its metadata is not of the shape that all objects share.
    pub(super) fn read(json: &[u8]) -> Result<(Self, Option<Range<usize>>), serde_json::Error> {
        let raw = Raw::read(json)?;
        let managed = raw.managed_fields.map(|fields| {
            let start = fields.get().as_ptr() as usize - json.as_ptr() as usize;
            start..start + fields.get().len()
        });
        let labels = raw.labels.unwrap_or_default();
        let meta = Self {
            key: Key::new(raw.namespace.as_deref().unwrap_or(""), &raw.name),
            uid: raw.uid.as_deref().unwrap_or("").into(),
            version: raw.resource_version.and_then(|version| version.parse().ok()).unwrap_or(0),
            generation: raw.generation.unwrap_or(0),
            created: raw.creation_timestamp,
            deleted: raw.deletion_timestamp,
            owners: raw.owner_references.unwrap_or_default().into(),
            labels: Labels::pack(labels.0.iter().map(|(key, value)| (&*key.0, &*value.0))),
            finalizers: raw.finalizers.unwrap_or_default().into(),
        };
        Ok((meta, managed))
    }

    /// The owner that controls the object.
    pub fn controller(&self) -> Option<&Owner> {
        self.owners.iter().find(|owner| owner.controller == Some(true))
    }

    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.get(key)
    }

    pub fn is_being_deleted(&self) -> bool {
        self.deleted.is_some()
    }

    pub fn namespace(&self) -> &str {
        &self.key.namespace
    }

    pub fn name(&self) -> &str {
        &self.key.name
    }

    /// Shares equal parts with `other`: siblings have one namespace, one owner and often the same labels.
    pub(super) fn share_with(&mut self, other: &Self) {
        share(&mut self.key.namespace, &other.key.namespace);
        share(&mut self.owners, &other.owners);
        share(&mut self.labels.0, &other.labels.0);
        share(&mut self.finalizers, &other.finalizers);
        if self.uid == other.uid {
            share(&mut self.key.name, &other.key.name);
            share(&mut self.uid, &other.uid);
        }
    }
}

fn share<T: PartialEq + ?Sized>(mine: &mut Arc<T>, other: &Arc<T>) {
    if !Arc::ptr_eq(mine, other) && mine == other {
        *mine = other.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_read_and_managed_fields_are_found() {
        let json = br#"{"kind":"X","metadata":{"resourceVersion":"7","name":"a","namespace":"ns","uid":"u",
            "labels":{"b":"2","a":"1"},"creationTimestamp":"2026-01-01T00:00:00Z","finalizers":["f"],
            "managedFields":[{"manager":"m"}],"ownerReferences":[{"apiVersion":"v1","kind":"K","name":"o","uid":"ou",
            "controller":true}]},"spec":{"metadata":{"name":"no"}}}"#;
        let (meta, managed) = Meta::read(json).expect("an object");
        assert_eq!((meta.name(), meta.namespace(), &*meta.uid, meta.version), ("a", "ns", "u", 7));
        assert_eq!(meta.labels.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "2")]);
        assert_eq!(meta.controller().map(|o| &*o.uid), Some("ou"));
        assert_eq!(&*meta.finalizers[0], "f");
        let span = managed.expect("managed fields");
        assert_eq!(&json[span], br#"[{"manager":"m"}]"#);
        for broken in [&b"[]"[..], b"{", br#"{"metadata":{"labels":7}}"#, b"\xff"] {
            assert!(Meta::read(broken).is_err(), "{broken:?}");
        }
        assert_eq!(Meta::read(b"{}").expect("an object without metadata").0.name(), "");
    }

    #[test]
    fn metadata_is_found_wherever_it_stands() {
        let own = r#""metadata" : {"name":"a","labels":{"b":"2","c\u0031":"\n","a":"1","b":"3"}}"#;
        for json in [
            format!("{{{own}}}"),
            format!(r#" {{ "kind" : "X","apiVersion":"v1", {own},"spec":{{"metadata":{{"name":"no"}}}}}}"#),
            format!(r#"{{"spec":{{"metadata":{{"name":"no"}}}},{own}}}"#),
            format!(r#"{{"kind":"\"metadata\":","n":7,{own}}}"#),
        ] {
            let (meta, managed) = Meta::read(json.as_bytes()).expect(&json);
            assert_eq!((meta.name(), managed), ("a", None), "{json}");
            assert_eq!(meta.labels.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "3"), ("c1", "\n")]);
        }
        for broken in
            [r#"{"kind":"X","metadata":"#, r#"{"kind":"X","metadata":{"name":"a""#, r#"{"metadata":7}"#]
        {
            assert!(Meta::read(broken.as_bytes()).is_err(), "{broken}");
        }
    }
}
