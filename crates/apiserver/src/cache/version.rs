//! Puts the revision into an object's bytes without parsing them.
//!
//! The store's values have no `metadata.resourceVersion`: the resource version is the revision of the change, known only
//! once the value is written. The version is inserted behind the members of `metadata` that upstream writes before it.

use std::ops::Range;

use api::layout::BEFORE_RESOURCE_VERSION;
use bytes::{BufMut, Bytes, BytesMut};
use store::Revision;

/// The object with `metadata.resourceVersion` set; `None` when the bytes are no JSON object. The value must
/// hold none yet. Looks only at what stands before the metadata, which in stored objects is a few bytes.
pub fn with_resource_version(object: &[u8], revision: Revision) -> Option<Bytes> {
    let place = find_metadata(object)?;
    let mut out = BytesMut::with_capacity(object.len() + 48);
    let (before, after) = object.split_at(place.at());
    out.put_slice(before);
    let member = format!("\"resourceVersion\":\"{revision}\"");
    match place {
        Place::Inside { first, last, .. } => {
            if last && !first {
                out.put_u8(b',');
            }
            out.put_slice(member.as_bytes());
            if !last {
                out.put_u8(b',');
            }
        }
        Place::Absent { empty, .. } => {
            out.put_slice(b"\"metadata\":{");
            out.put_slice(member.as_bytes());
            out.put_u8(b'}');
            if !empty {
                out.put_u8(b',');
            }
        }
    }
    out.put_slice(after);
    Some(out.freeze())
}

/// Changes the version that [`with_resource_version`] put in.
pub(super) fn replace_resource_version(object: &Bytes, old: Revision, new: Revision) -> Bytes {
    let member = format!("\"resourceVersion\":\"{old}\"");
    let Some(place) = find_metadata(object) else { return object.clone() };
    let after = place.at() + member.len();
    if object.get(place.at()..after) != Some(member.as_bytes()) {
        return object.clone();
    }
    let mut out = BytesMut::with_capacity(object.len() + 8);
    out.put_slice(&object[..place.at()]);
    out.put_slice(format!("\"resourceVersion\":\"{new}\"").as_bytes());
    out.put_slice(&object[after..]);
    out.freeze()
}

/// The object with managed fields, of which it must have none yet: `member` is theirs with the comma before it. They stand
/// last in the metadata, which must hold something else. `None` for what is no such object.
pub(crate) fn with_managed_fields(object: &[u8], member: &[u8]) -> Option<Bytes> {
    let mut scan = Scan { bytes: object, at: 0 };
    scan.expect(b'{')?;
    while scan.string()? != b"metadata" {
        scan.expect(b':')?;
        scan.skip_value()?;
        scan.expect(b',')?;
    }
    scan.expect(b':')?;
    (scan.peek()? == b'{').then_some(())?;
    scan.skip_value()?;
    let (before, after) = object.split_at_checked(scan.at.checked_sub(1)?)?;
    (!before.trim_ascii_end().ends_with(b"{")).then_some(())?;
    Some([before, member, after].concat().into())
}

/// Where to insert.
enum Place {
    /// Into the metadata: whether as the first of its members, and as the last.
    Inside { at: usize, first: bool, last: bool },
    /// With metadata, at the offset after an opening brace; whether its object has no members.
    Absent { at: usize, empty: bool },
}

impl Place {
    fn at(&self) -> usize {
        match self {
            Self::Inside { at, .. } | Self::Absent { at, .. } => *at,
        }
    }
}

fn find_metadata(object: &[u8]) -> Option<Place> {
    let mut scan = Scan { bytes: object, at: 0 };
    scan.expect(b'{')?;
    let start = scan.at;
    if scan.peek()? == b'}' {
        return Some(Place::Absent { at: start, empty: true });
    }
    loop {
        let key = scan.string()?;
        scan.expect(b':')?;
        if key == b"metadata" && scan.peek()? == b'{' {
            return find_inside(&mut scan);
        }
        scan.skip_value()?;
        match scan.next()? {
            b',' => {}
            b'}' => return Some(Place::Absent { at: start, empty: false }),
            _ => return None,
        }
    }
}

/// The place among the members of the metadata, at whose opening brace `scan` stands.
fn find_inside(scan: &mut Scan<'_>) -> Option<Place> {
    scan.expect(b'{')?;
    let mut at = scan.at;
    let mut first = true;
    if scan.peek()? == b'}' {
        return Some(Place::Inside { at, first, last: true });
    }
    loop {
        let key = scan.string()?;
        if !BEFORE_RESOURCE_VERSION.iter().any(|before| before.as_bytes() == key) {
            return Some(Place::Inside { at, first, last: false });
        }
        scan.expect(b':')?;
        scan.skip_value()?;
        first = false;
        at = scan.at;
        match scan.next()? {
            b',' => at = scan.at,
            b'}' => return Some(Place::Inside { at, first, last: true }),
            _ => return None,
        }
    }
}

/// Where an object's managed fields stand, with the comma before them, in bytes that [`with_resource_version`] made:
/// there they are never the first of the metadata.
pub(super) fn find_managed_fields(object: &[u8]) -> Option<Range<usize>> {
    let Place::Inside { at, .. } = find_metadata(object)? else { return None };
    let mut scan = Scan { bytes: object, at };
    let mut comma = at;
    loop {
        let key = scan.string()?;
        scan.expect(b':')?;
        scan.skip_value()?;
        if key == b"managedFields" {
            return (comma > at).then_some(comma..scan.at);
        }
        comma = scan.at;
        scan.expect(b',')?;
    }
}

/// A reader of JSON that is known to be well formed but for accidents: it never panics, and gives up with `None`.
struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    /// The next byte that is no space, not taken.
    fn peek(&mut self) -> Option<u8> {
        while self.bytes.get(self.at)?.is_ascii_whitespace() {
            self.at += 1;
        }
        self.bytes.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.next()? == byte).then_some(())
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        self.expect(b'"')?;
        let start = self.at;
        loop {
            match self.bytes.get(self.at)? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        self.bytes.get(start..self.at - 1)
    }

    fn skip_value(&mut self) -> Option<()> {
        let mut depth = 0usize;
        loop {
            match self.peek()? {
                b'"' => {
                    self.string()?;
                }
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                _ => self.at += 1,
            }
            if depth == 0 && matches!(self.peek()?, b',' | b'}') {
                return Some(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            r#"[\[\]{}",:\\ a-c\n]{0,8}"#.prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                object_of(inner).prop_map(Value::from),
            ]
        })
    }

    fn object_of(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Map<String, Value>> {
        let key = prop_oneof![Just("metadata".to_owned()), r#"[{}",\\a-c]{0,3}"#];
        prop::collection::btree_map(key, value, 0..4).prop_map(|members| members.into_iter().collect())
    }

    proptest! {
        #[test]
        fn nothing_else_changes(object in object_of(value()), spaced in any::<bool>()) {
            let bytes = if spaced { serde_json::to_vec_pretty(&object) } else { serde_json::to_vec(&object) };
            let got = with_resource_version(&bytes.unwrap(), 7).unwrap();
            let got: Value = serde_json::from_slice(&got).unwrap();
            let mut expected = Value::from(object);
            // Metadata that is no object stays beside the new one; the later member is what readers take.
            if expected["metadata"].is_null() && expected.get("metadata").is_none() || expected["metadata"].is_object() {
                expected["metadata"]["resourceVersion"] = json!("7");
            }
            prop_assert_eq!(got, expected);
        }

        #[test]
        fn any_bytes_are_borne(bytes in prop::collection::vec(prop::sample::select(b"{}[]\",:\\ metadata1".as_slice()), 0..40)) {
            with_resource_version(&bytes, 7);
            with_managed_fields(&bytes, b",1");
            find_managed_fields(&bytes);
        }
    }

    #[track_caller]
    fn check(object: &str, expect: &str) {
        let got = with_resource_version(object.as_bytes(), 7).unwrap();
        assert_eq!(std::str::from_utf8(&got).unwrap(), expect);
        serde_json::from_slice::<serde_json::Value>(&got).unwrap();
    }

    #[test]
    fn the_version_goes_into_the_metadata_of_the_object_itself() {
        check(
            r#"{"kind":"A","metadata":{"name":"x"}}"#,
            r#"{"kind":"A","metadata":{"name":"x","resourceVersion":"7"}}"#,
        );
        check(
            r#"{"metadata":{"name":"x","uid":"u","annotations":{}}}"#,
            r#"{"metadata":{"name":"x","uid":"u","resourceVersion":"7","annotations":{}}}"#,
        );
        check(
            r#"{"metadata":{"annotations":{},"name":"x"}}"#,
            r#"{"metadata":{"resourceVersion":"7","annotations":{},"name":"x"}}"#,
        );
        check(r#"{ "metadata" : { } }"#, r#"{ "metadata" : {"resourceVersion":"7" } }"#);
        check("{}", r#"{"metadata":{"resourceVersion":"7"}}"#);
        check(r#"{"a":[1,{"b":2}]}"#, r#"{"metadata":{"resourceVersion":"7"},"a":[1,{"b":2}]}"#);
        check(
            r#"{"a":"\"metadata\":{","spec":{"metadata":{"x":"}"}},"metadata":{"n":1}}"#,
            r#"{"a":"\"metadata\":{","spec":{"metadata":{"x":"}"}},"metadata":{"resourceVersion":"7","n":1}}"#,
        );
    }

    #[test]
    fn a_version_can_be_replaced() {
        let full = r#"{"metadata":{"name":"x","uid":"u","labels":{}}}"#;
        for object in ["{}", r#"{"kind":"A","metadata":{"name":"x"}}"#, r#"{"metadata":{}}"#, full] {
            let old = with_resource_version(object.as_bytes(), 7).unwrap();
            let new = with_resource_version(object.as_bytes(), 1234).unwrap();
            assert_eq!(replace_resource_version(&old, 7, 1234), new);
        }
    }

    #[test]
    fn managed_fields_are_put_back_where_they_stood() {
        for whole in [
            r#"{"kind":"A","metadata":{"name":"x","resourceVersion":"7","managedFields":[{"a":"}"}]},"z":{"metadata":{}}}"#,
            r#"{"metadata":{"resourceVersion":"7","managedFields":[]}}"#,
        ] {
            let managed = find_managed_fields(whole.as_bytes()).unwrap();
            let lean = [&whole[..managed.start], &whole[managed.end..]].concat();
            let again = with_managed_fields(lean.as_bytes(), whole[managed].as_bytes()).unwrap();
            assert_eq!(again, whole);
        }
        for bad in
            ["{}", r#"{"metadata":{}}"#, r#"{"metadata":{ }}"#, r#"{"metadata":[1]}"#, r#"{"a":1"#, "[]"]
        {
            assert_eq!(with_managed_fields(bad.as_bytes(), b",\"managedFields\":[]"), None, "{bad}");
        }
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for bad in ["", "[]", "7", "{", r#"{"metadata"#, r#"{"a":"\"#, r#"{"a":1]"#, "{\"a\":"] {
            assert!(with_resource_version(bad.as_bytes(), 7).is_none(), "{bad}");
        }
    }
}
