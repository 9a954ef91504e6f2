//! [`Json`]: an object's JSON as the cache holds it, with the object's managed fields apart.
//!
//! Managed fields are up to two fifths of an object, and objects that are made alike have the same but for times and
//! addresses. So they are kept as references to [`Templates`] and the few bytes that are the object's own. Whoever
//! reads the object without managed fields, as every component in this process does, shares the cache's bytes; for
//! others [`Json::whole`] and [`Json::pieces`] put the object together as it was written, byte by byte.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;
use memchr::memmem;
use store::Revision;

use super::templates::{Template, Templates};
use super::version::{find_managed_fields, replace_resource_version, with_resource_version};

/// Managed fields are cut behind each of these, so that times stand alone.
const TIME: &[u8] = b"\"time\":\"";

/// See the module's documentation. Cheap to clone but for objects with managed fields.
#[derive(Clone)]
pub struct Json {
    /// The object without its managed fields, then what of these is its own.
    bytes: Bytes,
    /// The length of the object without its managed fields.
    lean: u32,
    /// Where in it the managed fields belong.
    at: u32,
    /// The managed fields.
    parts: Box<[Part]>,
}

/// A stretch of managed fields: own bytes, the template's beginning, own bytes, the template's end.
#[derive(Clone)]
struct Part {
    template: Option<Template>,
    before: u32,
    prefix: u32,
    between: u32,
    suffix: u32,
}

impl Json {
    /// Takes a stored value and puts the revision in; `None` when it is no JSON object.
    pub(super) fn read(value: &[u8], revision: Revision, templates: &Templates) -> Option<Self> {
        let whole = with_resource_version(value, revision)?;
        let plain = |bytes: Bytes| {
            let lean = u32::try_from(bytes.len()).ok()?;
            Some(Self { bytes, lean, at: lean, parts: Box::default() })
        };
        match find_managed_fields(&whole) {
            Some(managed) => Self::apart(&whole, managed, templates),
            None => plain(whole),
        }
    }

    fn apart(whole: &[u8], managed: Range<usize>, templates: &Templates) -> Option<Self> {
        let (mut own, mut parts) = (Vec::new(), Vec::new());
        let (text, mut from) = (&whole[managed.clone()], 0);
        let mut before = 0;
        while from < text.len() {
            let rest = &text[from..];
            let length = memmem::find(rest, TIME).map_or(rest.len(), |at| at + TIME.len());
            let part = Part::of(&rest[..length], before, templates, &mut own)?;
            parts.push(part);
            from += length;
            // The time itself.
            before = text[from..].iter().position(|byte| *byte == b'"').unwrap_or(text.len() - from);
            own.extend_from_slice(&text[from..from + before]);
            from += before;
        }
        let lean = whole.len() - managed.len();
        let mut bytes = Vec::with_capacity(lean + own.len());
        bytes.extend_from_slice(&whole[..managed.start]);
        bytes.extend_from_slice(&whole[managed.end..]);
        bytes.extend_from_slice(&own);
        Some(Self {
            bytes: bytes.into(),
            lean: u32::try_from(lean).ok()?,
            at: u32::try_from(managed.start).ok()?,
            parts: parts.into(),
        })
    }

    /// The same with the version replaced that [`Json::read`] put in.
    pub(super) fn at_revision(&self, old: Revision, new: Revision) -> Self {
        let bytes = replace_resource_version(&self.bytes, old, new);
        // The version stands before all that is counted from the beginning.
        let moved = |place: u32| (place as usize + bytes.len() - self.bytes.len()) as u32;
        Self { lean: moved(self.lean), at: moved(self.at), parts: self.parts.clone(), bytes }
    }

    /// The object without its managed fields, in the cache's bytes.
    pub fn lean(&self) -> Bytes {
        self.bytes.slice(..self.lean as usize)
    }

    /// The object; a copy where it has managed fields.
    pub fn whole(&self) -> Bytes {
        if self.parts.is_empty() {
            return self.bytes.clone();
        }
        let mut whole = Vec::with_capacity(self.len());
        self.each_piece(|source, range| whole.extend_from_slice(&source[range]));
        whole.into()
    }

    /// The object in pieces that follow each other, none of them copied.
    pub fn pieces(&self, pieces: &mut VecDeque<Bytes>) {
        self.each_piece(|source, range| pieces.push_back(source.slice(range)));
    }

    /// The managed fields as they stand in the object, with the comma before them; empty where it has none.
    pub(crate) fn managed_fields(&self) -> Bytes {
        if self.parts.is_empty() {
            return Bytes::new();
        }
        let (whole, after) = (self.whole(), (self.lean - self.at) as usize);
        whole.slice(self.at as usize..whole.len() - after)
    }

    /// The length of the whole object.
    fn len(&self) -> usize {
        let shared = |part: &Part| (part.prefix + part.suffix) as usize;
        self.bytes.len() + self.parts.iter().map(shared).sum::<usize>()
    }

    /// What is held in memory for this object alone.
    pub(super) fn held_bytes(&self) -> usize {
        self.bytes.len() + size_of_val(&*self.parts)
    }

    fn each_piece(&self, mut add: impl FnMut(&Bytes, Range<usize>)) {
        let (at, lean) = (self.at as usize, self.lean as usize);
        let mut add = |source: &Bytes, from: usize, length: usize| {
            if length > 0 {
                add(source, from..from + length);
            }
        };
        add(&self.bytes, 0, at);
        let mut own = lean;
        for part in &self.parts {
            let mut add_own = |length: u32| {
                add(&self.bytes, own, length as usize);
                own += length as usize;
            };
            add_own(part.before);
            let Some(template) = &part.template else {
                add_own(part.between);
                continue;
            };
            add(template, 0, part.prefix as usize);
            let mut add_own = |length: u32| {
                add(&self.bytes, own, length as usize);
                own += length as usize;
            };
            add_own(part.between);
            add(template, template.len() - part.suffix as usize, part.suffix as usize);
        }
        add(&self.bytes, at, lean - at);
    }
}

impl Part {
    /// Keeps a text as what a template has of it and own bytes, which follow `before` others.
    fn of(text: &[u8], before: usize, templates: &Templates, own: &mut Vec<u8>) -> Option<Self> {
        let (template, prefix, suffix) = match templates.like(text) {
            Some(like) => (Some(like.template), like.prefix, like.suffix),
            None => (None, 0, 0),
        };
        own.extend_from_slice(&text[prefix..text.len() - suffix]);
        Some(Self {
            template,
            before: u32::try_from(before).ok()?,
            prefix: u32::try_from(prefix).ok()?,
            between: u32::try_from(text.len() - prefix - suffix).ok()?,
            suffix: u32::try_from(suffix).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;

    fn pieced(json: &Json) -> Vec<u8> {
        let mut pieces = VecDeque::new();
        json.pieces(&mut pieces);
        assert!(pieces.iter().all(|piece| !piece.is_empty()));
        pieces.iter().flat_map(|piece| piece.iter().copied()).collect()
    }

    /// That an object comes back as it was, and without managed fields where those are not wanted.
    fn check(templates: &Templates, value: &[u8]) -> Json {
        let json = Json::read(value, 7, templates).unwrap();
        let whole = with_resource_version(value, 7).unwrap();
        assert_eq!(json.whole(), whole);
        assert_eq!(pieced(&json), whole);
        assert_eq!(json.len(), whole.len());
        let mut expected: Value = serde_json::from_slice(&whole).unwrap();
        if let Some(metadata) = expected["metadata"].as_object_mut() {
            metadata.remove("managedFields");
        }
        let (at, managed) = (json.at as usize, json.managed_fields());
        assert_eq!(managed, whole.slice(at..at + managed.len()));
        assert_eq!(json.lean().len() + managed.len(), whole.len());
        let lean: Value = serde_json::from_slice(&json.lean()).unwrap();
        assert_eq!(lean, expected);
        let later = json.at_revision(7, 12_345);
        assert_eq!(later.whole(), with_resource_version(value, 12_345).unwrap());
        assert_eq!(
            serde_json::from_slice::<Value>(&later.lean()).unwrap()["metadata"]["resourceVersion"],
            "12345"
        );
        json
    }

    fn pod(number: usize) -> Value {
        let fields = |of: &str| -> Map<String, Value> {
            (0..20).map(|n| (format!("f:{of}{n}"), json!({".": {}}))).collect()
        };
        let status = json!({"f:conditions": fields("c"), "f:podIPs": {format!("k:{{\"ip\":\"10.0.0.{number}\"}}"): {}}});
        let entry = |fields: Value, subresource: &str| {
            json!({
                "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields, "manager": "kubelet",
                "operation": "Update", "subresource": subresource, "time": format!("2026-01-01T00:00:{number:02}Z"),
            })
        };
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "labels": {"app": "web"}, "name": format!("web-{number}"),
                "managedFields": [entry(json!({"f:spec": fields("s")}), ""), entry(json!({"f:status": status}), "status")],
            },
            "spec": {"containers": [{"name": "web"}]},
        })
    }

    #[test]
    fn objects_made_alike_share_their_managed_fields() {
        let templates = Templates::default();
        let all: Vec<Json> =
            (10..70).map(|number| check(&templates, pod(number).to_string().as_bytes())).collect();
        assert!(all[0].held_bytes() > all[0].len(), "the first has nobody to share with");
        for json in &all[1..] {
            let own = json.held_bytes() - json.lean as usize - size_of_val(&*json.parts);
            assert!(own < 60, "two times, a few digits of the address, and the end: {own}");
        }
    }

    #[test]
    fn managed_fields_stand_anywhere() {
        let templates = Templates::default();
        for value in [
            r#"{"metadata":{"managedFields":[]}}"#,
            r#"{"metadata":{"managedFields":[{"time":"x"}],"name":"a"}}"#,
            r#"{"metadata":{"a":1,"managedFields":null},"z":1}"#,
            r#"{ "metadata" : { "a" : [ "}" ] , "managedFields" : [ { "time":"2026" , "m":"\"time\":\"" } ] , "z":2 } }"#,
            r#"{"metadata":{"labels":{"managedFields":"no"}},"managedFields":3}"#,
            "{}",
        ] {
            check(&templates, value.as_bytes());
        }
        assert!(Json::read(b"[]", 7, &templates).is_none());
    }

    proptest! {
        #[test]
        fn whatever_managed_fields_hold_comes_back(
            texts in prop::collection::vec(r#"[a-c"\\:{},\[\]]{0,12}(time)?[a-c]{0,90}"#, 0..6),
            repeated in 0_usize..80,
            last in any::<bool>(),
        ) {
            let templates = Templates::default();
            let fields: Vec<Value> = texts
                .iter()
                .map(|text| json!({"fieldsV1": {text.repeat(1 + repeated / 10): {}}, "time": text}))
                .collect();
            let name = if last { "a" } else { "z" };
            let value = json!({"metadata": {name: 1, "managedFields": fields}}).to_string();
            check(&templates, value.as_bytes());
            check(&templates, value.replace('b', "cc").as_bytes());
            check(&templates, value.as_bytes());
        }
    }
}
