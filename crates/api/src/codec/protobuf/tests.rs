use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::schema::{List, MapOf, Topology};

fn field(name: &str, shape: Shape) -> Field {
    Field {
        name: name.into(),
        shape,
        required: false,
        default: None,
        retain_keys: false,
        replace: false,
        place: 0,
    }
}

fn structure(name: &str, mut fields: Vec<Field>) -> Struct {
    fields.sort_by(|a, b| a.name.cmp(&b.name));
    Struct { name: name.into(), fields: fields.into(), atomic: false, preserve_unknown: false }
}

/// A small kind with something of everything.
fn kind() -> (Types, Messages) {
    let list = |item| {
        Shape::List(Box::new(List { item, topology: Topology::Atomic, merge: false, merge_key: None }))
    };
    let map = |value| Shape::Map(Box::new(MapOf { value, atomic: false }));
    let types = Types::new(vec![
        structure(
            "Thing",
            vec![
                field("name", Shape::String),
                field("replicas", Shape::Int32),
                field("port", Shape::IntOrString),
                field("cpu", Shape::Quantity),
                field("at", Shape::Time),
                field("tags", list(Shape::String)),
                field("labels", map(Shape::String)),
                field("extra", map(list(Shape::String))),
                field("data", Shape::Bytes),
                field("inner", Shape::Struct(StructId(1))),
                field("count", Shape::Int64),
                field("free", Shape::Any),
            ],
        ),
        structure("Inner", vec![field("on", Shape::Bool)]),
    ]);
    let names = ["name", "replicas", "port", "cpu", "at", "tags", "labels", "extra", "data", "inner"];
    let mut members: Vec<Member> = (1..)
        .zip(names)
        .map(|(number, name)| Member { number, target: Target::Field(name.into()) })
        .collect();
    members.push(Member { number: 11, target: Target::Embedded("Part".into()) });
    members.push(Member { number: 12, target: Target::Field("free".into()) });
    let count = Member { number: 1, target: Target::Field("count".into()) };
    let on = Member { number: 1, target: Target::Field("on".into()) };
    let messages =
        Messages::new([("Thing".into(), members), ("Part".into(), vec![count]), ("Inner".into(), vec![on])]);
    (types, messages)
}

/// A field holding bytes.
fn part(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2, u8::try_from(bytes.len()).unwrap()];
    out.extend_from_slice(bytes);
    out
}

fn enveloped_by_hand(raw: &[u8]) -> Vec<u8> {
    let type_meta = [part(1, b"v1"), part(2, b"Thing")].concat();
    [b"k8s\0".to_vec(), part(1, &type_meta), part(2, raw)].concat()
}

#[test]
fn objects_come_out_as_their_json() {
    let (types, messages) = kind();
    let raw = [
        part(1, b"a"),
        vec![2 << 3, 0],
        part(3, &[vec![1 << 3, 1], part(3, b"http")].concat()),
        part(4, &part(1, b"100m")),
        part(5, &[1 << 3, 0x80, 0x01]),
        part(6, b"x"),
        part(6, b""),
        part(7, &[part(1, b"k"), part(2, b"v")].concat()),
        part(8, &[part(1, b"e"), part(2, &[part(1, b"1"), part(1, b"2")].concat())].concat()),
        part(9, b"\x00\xff"),
        part(10, &[]),
        part(11, &[1 << 3, 7]),
        part(15, b"a field of the future"),
    ]
    .concat();
    let object =
        decode(&types, &messages, StructId(0), &enveloped_by_hand(&raw), &Limits::default()).unwrap();
    assert_eq!(
        object.into_value(),
        json!({
            "apiVersion": "v1", "kind": "Thing", "name": "a", "replicas": 0, "port": "http", "cpu": "100m",
            "at": "1970-01-01T00:02:08Z", "tags": ["x", ""], "labels": {"k": "v"},
            "extra": {"e": ["1", "2"]}, "data": "AP8=", "inner": {}, "count": 7,
        })
    );
}

#[test]
fn json_comes_out_as_the_bytes_that_upstream_writes() {
    let (types, messages) = kind();
    let raw = |json: Value| {
        let fields = json.as_object().expect("an object").clone();
        encode(&types, &messages, StructId(0), &fields)
    };
    let nothing: &[u8] = &[];
    for (json, bytes) in [
        (json!({"name": "a", "unknown": 1}), part(1, b"a")),
        (json!({"replicas": 0}), vec![2 << 3, 0]),
        (json!({"replicas": -1}), [&[2 << 3][..], &[0xff; 9], &[1]].concat()),
        (json!({"replicas": 300}), vec![2 << 3, 0xac, 0x02]),
        (json!({"port": "http"}), part(3, &[vec![1 << 3, 1, 2 << 3, 0], part(3, b"http")].concat())),
        (json!({"port": 80}), part(3, &[vec![1 << 3, 0, 2 << 3, 80], part(3, nothing)].concat())),
        (json!({"cpu": "100m"}), part(4, &part(1, b"100m"))),
        (json!({"at": "1970-01-01T00:02:08Z"}), part(5, &[1 << 3, 0x80, 0x01, 2 << 3, 0])),
        (json!({"at": null, "name": null}), Vec::new()),
        (json!({"tags": ["x", ""]}), [part(6, b"x"), part(6, nothing)].concat()),
        (json!({"labels": {"k": "v"}}), part(7, &[part(1, b"k"), part(2, b"v")].concat())),
        (
            json!({"extra": {"e": ["1", "2"]}}),
            part(8, &[part(1, b"e"), part(2, &[part(1, b"1"), part(1, b"2")].concat())].concat()),
        ),
        (json!({"data": "AP8="}), part(9, b"\x00\xff")),
        (json!({"inner": {}}), part(10, nothing)),
        (json!({"count": 7}), part(11, &[1 << 3, 7])),
        (json!({"free": {"a": [1]}}), part(12, &part(1, br#"{"a":[1]}"#))),
    ] {
        assert_eq!(raw(json.clone()), Ok(bytes), "{json}");
    }
    for (json, why) in [
        (json!({"replicas": "1"}), ".replicas: \"1\" is not what the field holds"),
        (json!({"inner": {"on": 1}}), ".on: 1 is not what the field holds"),
        (json!({"tags": {}}), ".tags: {} is not what the field holds"),
        (json!({"data": "!"}), ".data: Invalid symbol 33, offset 0."),
    ] {
        assert_eq!(raw(json), Err(why.to_owned()));
    }
    let message = part(1, b"a");
    let whole = [enveloped_by_hand(&message), vec![3 << 3 | 2, 0, 4 << 3 | 2, 0]].concat();
    assert_eq!(super::enveloped("v1", "Thing", &message), whole);
    let event = [part(1, b"ADDED"), part(2, &part(1, b"xyz"))].concat();
    assert_eq!(framed("ADDED", b"xyz"), [&[0, 0, 0, 14][..], &event].concat());
}

#[test]
fn what_was_never_set_stays_absent() {
    let (types, messages) = kind();
    let raw = [part(1, b""), part(5, &[]), part(11, &[1 << 3, 0])].concat();
    let object =
        decode(&types, &messages, StructId(0), &enveloped_by_hand(&raw), &Limits::default()).unwrap();
    assert_eq!(object.into_value(), json!({"apiVersion": "v1", "kind": "Thing"}));
}

#[test]
fn broken_bytes_are_refused() {
    let (types, messages) = kind();
    let refused =
        |bytes: &[u8]| decode(&types, &messages, StructId(0), bytes, &Limits::default()).unwrap_err().code();
    assert_eq!(refused(b"{}"), 400);
    assert_eq!(refused(&enveloped_by_hand(&[1 << 3 | 2, 9, b'x'])), 400);
    assert_eq!(refused(&enveloped_by_hand(&[1 << 3, 1])), 400);
    assert_eq!(refused(&enveloped_by_hand(&[0xff; 12])), 400);
    let small = Limits { bytes: 3, ..Limits::default() };
    assert_eq!(decode(&types, &messages, StructId(0), b"k8s\0", &small).unwrap_err().code(), 413);
}

#[test]
fn fields_without_a_schema_nest_no_deeper_than_the_object_may() {
    let (types, messages) = kind();
    let limits = Limits { depth: 10, ..Limits::default() };
    let nested = |levels: usize| {
        let json = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        enveloped_by_hand(&part(12, &part(1, json.as_bytes())))
    };
    assert!(decode(&types, &messages, StructId(0), &nested(9), &limits).is_ok());
    assert_eq!(decode(&types, &messages, StructId(0), &nested(10), &limits).unwrap_err().code(), 400);
}

proptest! {
    #[test]
    fn no_bytes_make_decoding_panic(raw in proptest::collection::vec(any::<u8>(), 0..120)) {
        let (types, messages) = kind();
        // Either outcome will do.
        let _ = decode(&types, &messages, StructId(0), &enveloped_by_hand(&raw), &Limits::default());
    }
}
