use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::schema::{StructId, sample};
use crate::{Object, Reason};

fn checked(mut value: Value) -> Result<(Value, Vec<String>), String> {
    value["apiVersion"] = json!("v1");
    value["kind"] = json!("Pod");
    let mut object = Object::from_value(value).expect("an object");
    let (types, id) = sample::types();
    let report = structure::check(&types, id, &mut object).map_err(|e| e.message)?;
    object.0.remove("apiVersion");
    object.0.remove("kind");
    Ok((object.into_value(), report.unknown))
}

fn refusal(value: Value) -> String {
    let message = checked(value).expect_err("refused");
    let prefix = "Pod in version \"v1\" cannot be handled as a Pod: ";
    message.strip_prefix(prefix).unwrap_or_else(|| panic!("{message}")).to_owned()
}

#[test]
fn the_last_of_two_values_stands_and_is_reported() {
    let text = br#"{"a":{"b":[{"c":1,"c":2}]},"a":3}"#;
    let decoded = decode_json(text, &Limits::default()).expect("valid");
    assert_eq!(decoded.duplicates, ["a.b[0].c", "a"]);
    assert_eq!(decoded.object.0["a"], 3);
    let decoded = decode_yaml(b"a:\n  b: 1\n  b: 2\n", &Limits::default()).expect("valid");
    assert_eq!(
        (decoded.duplicates, decoded.object.0["a"].clone()),
        (vec!["a.b".to_owned()], json!({"b": 2}))
    );
}

#[test]
fn texts_over_the_limits_are_refused() {
    let limits = Limits { bytes: 50, depth: 3 };
    let refused = |text: &str| decode_json(text.as_bytes(), &limits).expect_err(text);
    assert!(refused(&format!("{{\"a\":\"{}\"}}", "x".repeat(50))).is(Reason::RequestEntityTooLarge));
    assert!(refused("{\"a\":{\"b\":{\"c\":{}}}}").message.contains("max depth"));
    for bad in ["", "{", "[1]", "{} {}", "{\"a\":1e999}", "{\"a\":\u{1}}", "{a:1}"] {
        assert!(refused(bad).is(Reason::BadRequest), "{bad}");
    }
    assert!(decode_json(b" null ", &limits).expect("says nothing").object.0.is_empty());
    let why = refused("{\"a\":1,}").message;
    assert!(why.ends_with("invalid character '}' looking for beginning of object key string"), "{why}");
    let deep = "[".repeat(100_000);
    assert!(decode_json(deep.as_bytes(), &Limits::default()).is_err());
    assert!(decode_yaml(deep.as_bytes(), &Limits::default()).is_err());
    assert!(decode_json(b"{\"a\":\"\xff\"}", &limits).expect_err("no UTF-8").is(Reason::BadRequest));
}

/// A thread of a server has two megabytes of stack, of which a request has used some.
#[test]
fn all_allowed_levels_fit_a_small_stack() {
    let nested = |levels| format!("# YAML\n{}1{}", "{a: ".repeat(levels), "}".repeat(levels));
    let small = std::thread::Builder::new().stack_size(1024 * 1024);
    let read = small.spawn(move || {
        assert!(decode_yaml(nested(100).as_bytes(), &Limits::default()).is_ok());
        assert!(decode_yaml(nested(101).as_bytes(), &Limits::default()).is_err());
    });
    read.expect("a thread").join().expect("read without overflow");
}

#[test]
fn yaml_reads_as_upstream_and_does_not_explode() {
    let yaml = b"a: yes\nb: \"1\"\nc: 1.5\nd: ~\ne: [x, 2]\n8080: port\nf: &f {g: h}\ni: *f\nj: |\n  t\n";
    let value = decode_yaml(yaml, &Limits::default()).expect("valid").object.into_value();
    let expect = json!({"a": true, "b": "1", "c": 1.5, "d": null, "e": ["x", 2], "8080": "port",
        "f": {"g": "h"}, "i": {"g": "h"}, "j": "t\n"});
    assert_eq!(value, expect);
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for i in 1..9 {
        bomb += &format!("a{i}: &a{i} [{}]\n", vec![format!("*a{}", i - 1); 9].join(","));
    }
    assert!(decode_yaml(bomb.as_bytes(), &Limits::default()).expect_err("a bomb").is(Reason::BadRequest));
    let json = decode_yaml(b" {\"a\": \"\x7f\"}", &Limits::default()).expect("JSON taken as it is");
    assert_eq!(json.object.0["a"], "\u{7f}");
    assert!(decode_yaml(b"a: 1\n---\nb: 2\n", &Limits::default()).is_err());
}

#[test]
fn wrong_types_are_refused_in_upstreams_words() {
    for (value, words) in [
        (
            json!({"spec": {"containers": "x"}}),
            "json: cannot unmarshal string into Go struct field PodSpec.spec.containers of type []v1.Container",
        ),
        (
            json!({"spec": {"containers": [{"image": 5}]}}),
            "json: cannot unmarshal number into Go struct field Container.spec.containers.image of type string",
        ),
        (
            json!({"metadata": {"labels": {"a": 1}}}),
            "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string",
        ),
        (
            json!({"spec": {"replicas": 1.5}}),
            "json: cannot unmarshal number 1.5 into Go struct field PodSpec.spec.replicas of type int32",
        ),
        (
            json!({"spec": {"replicas": 3_000_000_000u32}}),
            "json: cannot unmarshal number 3000000000 into Go struct field PodSpec.spec.replicas of type int32",
        ),
        (
            json!({"spec": []}),
            "json: cannot unmarshal array into Go struct field Pod.spec of type v1.PodSpec",
        ),
        (
            json!({"spec": {"containers": [{"ports": [{"target": true}]}]}}),
            "json: cannot unmarshal bool into Go value of type int32",
        ),
        (
            json!({"spec": {"containers": [{"resources": {"limits": {"cpu": "1 x"}}}]}}),
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        (json!({"data": {"k": "a$"}}), "illegal base64 data at input byte 1"),
        (
            json!({"metadata": {"creationTimestamp": "soon"}}),
            "parsing time \"soon\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"soon\" as \"2006\"",
        ),
        (json!({"spec": {"timeout": "5"}}), "time: missing unit in duration \"5\""),
    ] {
        assert_eq!(refusal(value.clone()), words, "{value}");
    }
}

#[test]
fn values_are_made_canonical_and_unknown_fields_dropped() {
    let (value, unknown) = checked(json!({
        "metadata": {"labels": {"a": null}, "foo": 1, "creationTimestamp": "2024-01-01T02:00:00.5+02:00"},
        "spec": {"nodeName": null, "bar": {"x": 1}, "replicas": 3, "timeout": "1h5m0.5s", "containers": [null,
            {"baz": [], "resources": {"limits": {"cpu": 0.5, "memory": "1024Mi"}}}]},
        "extra": {"any": [null]},
    }))
    .expect("valid");
    let expect = json!({
        "metadata": {"labels": {"a": ""}, "creationTimestamp": "2024-01-01T00:00:00Z"},
        "spec": {"replicas": 3, "timeout": "1h5m0.5s",
            "containers": [{}, {"resources": {"limits": {"cpu": "500m", "memory": "1Gi"}}}]},
        "extra": {"any": [null]},
    });
    assert_eq!(value, expect);
    assert_eq!(sorted(unknown), ["metadata.foo", "spec.bar", "spec.containers[1].baz"]);
}

fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort();
    texts
}

#[test]
fn strict_validation_refuses_and_warning_warns() {
    let found = Strictness::new(vec!["spec.a".into()], vec!["spec.b".into()]);
    let pod = Object::new("v1", "Pod");
    let e = found.judge(FieldValidation::Strict, &pod).expect_err("strict");
    assert_eq!(
        e.message,
        "Pod in version \"v1\" cannot be handled as a Pod: strict decoding error: duplicate field \"spec.a\", unknown field \"spec.b\""
    );
    let warnings = found.judge(FieldValidation::Warn, &pod);
    assert_eq!(
        warnings,
        Ok(vec!["duplicate field \"spec.a\"".to_owned(), "unknown field \"spec.b\"".to_owned()])
    );
    assert_eq!(found.judge(FieldValidation::Ignore, &pod), Ok(vec![]));
    assert_eq!(FieldValidation::parse(""), Ok(FieldValidation::Warn));
    assert!(FieldValidation::parse("strict").is_err());
}

#[test]
fn of_typed_json_fields_are_named_as_they_stand() {
    let json = br#"{"z": [{"q": 1, "q": 2}], "spec": {"b": 1, "a": 2, "c": 3, "a": 4, "x": {"y": 1, "y": 1}, "c": 5}, "m": 0}"#;
    let duplicates = ["z[0].q", "spec.a", "spec.x.y", "spec.c"].map(str::to_owned).to_vec();
    let unknown = ["m", "spec.b", "spec.c", "spec.x"].map(str::to_owned).to_vec();
    let found = Strictness::of_typed_json(duplicates, unknown, json);
    let expect = [
        "duplicate field \"z[0].q\"",
        "unknown field \"spec.b\"",
        "unknown field \"spec.c\"",
        "duplicate field \"spec.a\"",
        "unknown field \"spec.x\"",
        "unknown field \"m\"",
    ];
    assert_eq!(
        found.judge(FieldValidation::Warn, &Object::new("v1", "Pod")),
        Ok(expect.map(str::to_owned).to_vec())
    );
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<i32>().prop_map(|n| Value::from(f64::from(n) / 8.0)),
        "[ -~é\n\t]{0,6}".prop_map(Value::from),
        prop::sample::select(vec!["1Gi", "2024-01-01T00:00:00Z", "5m0s", "TCP", "aGk="])
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 60, 5, |inner| {
        let keys = prop::sample::select(vec![
            "metadata",
            "labels",
            "finalizers",
            "creationTimestamp",
            "spec",
            "containers",
            "name",
            "image",
            "args",
            "ports",
            "containerPort",
            "target",
            "resources",
            "limits",
            "data",
            "timeout",
            "replicas",
            "other",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((keys, inner), 0..5)
                .prop_map(|e| Value::Object(e.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_text_makes_decoding_panic(text in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = decode_json(&text, &Limits::default());
        let _ = decode_yaml(&text, &Limits::default());
    }

    #[test]
    fn no_yaml_makes_decoding_panic(text in "[a-c:&*<{}\\[\\],|>!?\\-'\" \n0-9.~%@]{0,60}") {
        let _ = decode_yaml(text.as_bytes(), &Limits::default());
    }

    #[test]
    fn floats_read_as_they_were_written(number in prop::num::f64::NORMAL) {
        let read = decode_json(format!("{{\"a\":{number:e}}}").as_bytes(), &Limits::default()).expect("a float");
        prop_assert_eq!(read.object.0["a"].as_f64(), Some(number));
    }

    #[test]
    fn json_is_yaml(value in any_json().prop_filter("an object", Value::is_object)) {
        let text = value.to_string();
        let by_json = decode_json(text.as_bytes(), &Limits::default()).expect("own text");
        prop_assert_eq!(by_json.object.0, value.as_object().expect("filtered").clone());
        let by_yaml = decode_yaml(format!("# YAML\n{text}").as_bytes(), &Limits::default()).expect("JSON is YAML");
        prop_assert_eq!(by_yaml.object.into_value(), value);
    }

    #[test]
    fn what_passes_the_check_passes_again_unchanged(value in any_json().prop_filter("an object", Value::is_object)) {
        let (types, _) = sample::types();
        if let Ok((once, _)) = checked(value) {
            let mut twice = Object::from_value(once.clone()).expect("an object");
            let report = structure::check(&types, StructId(0), &mut twice).expect("passed before");
            prop_assert!(report.unknown.is_empty());
            prop_assert_eq!(twice.into_value(), once);
        }
    }
}

#[test]
fn keys_given_again_are_told_with_the_lines_of_their_values() {
    let yaml = "a: 1\nspec:\n  list:\n  - {x: 1, x: 2}\n  foo: foo1\n  foo: foo2\n\"a\":\n  b: 2\n";
    let expected = [
        "line 4: key \"x\" already set in map",
        "line 6: key \"foo\" already set in map",
        "line 8: key \"a\" already set in map",
    ];
    assert_eq!(repeated_keys(yaml.as_bytes(), &Limits::default()), expected);
    assert_eq!(
        repeated_keys(b"{\"a\": 1,\n\"a\": 2}", &Limits::default()),
        ["line 2: key \"a\" already set in map"]
    );
    assert!(repeated_keys(b"a: [", &Limits::default()).is_empty());
    let deep = format!("{}1", "a: {a: 1, ".repeat(400));
    assert!(repeated_keys(deep.as_bytes(), &Limits::default()).is_empty());
    let found = Strictness::of_yaml(expected.map(str::to_owned).to_vec(), vec!["z".to_owned()]);
    let pod = Object::from_value(json!({"apiVersion": "v1", "kind": "Pod"})).expect("an object");
    let refused = found.judge(FieldValidation::Strict, &pod).expect_err("refused").message;
    assert!(refused.contains(
        "strict decoding error: yaml: unmarshal errors:\n  line 4: key \"x\" already set in map\n  line 6"
    ));
    assert!(refused.ends_with("already set in map, unknown field \"z\""), "{refused}");
    assert_eq!(found.judge(FieldValidation::Warn, &pod).expect("warned").len(), 4);
}
