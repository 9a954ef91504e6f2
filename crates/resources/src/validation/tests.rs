//! Messages and paths, as upstream has them: an object that is fine, one thing made wrong, and what
//! is said of it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use api::Object;
use api::field::ErrorList;
use proptest::prelude::*;
use regex::Regex;
use serde_json::{Value, json};

use super::read::structure::Known;
use crate::arbitrary::{self, Entropy};
use crate::{Resource, builtin, builtin_types};

mod bounds;
mod certificates;
mod csi;
mod definitions;
mod devices;
mod events;
mod ingress;
mod jobs;
mod network;
mod pod_changes;
mod pod_fields;
mod pod_volumes;
mod pods;
mod roles;
mod services;
mod storage;
mod warnings;
mod webhooks;
mod workloads;

fn row(plural: &str) -> &'static Resource {
    builtin().rows().find(|r| r.plural == plural).expect("a built-in kind")
}

fn object(plural: &str, value: &Value) -> Object {
    let row = row(plural);
    let mut object = Object::from_value(value.clone()).expect("an object");
    object.set_type(&row.gvk());
    row.logic.default(&mut object);
    object
}

fn texts(errors: &ErrorList) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

/// What is said of a new object.
fn created(plural: &str, value: &Value) -> Vec<String> {
    let mut object = object(plural, value);
    let logic = &row(plural).logic;
    logic.prepare_create(&mut object);
    let _known = Known::of(&object, &row(plural).schema);
    texts(&logic.validate(&object))
}

/// What is said of a change.
fn updated(plural: &str, new: &Value, old: &Value) -> Vec<String> {
    compared(plural, new, old, Resource::validate_update)
}

/// What is said of a change of the status.
fn status_updated(plural: &str, new: &Value, old: &Value) -> Vec<String> {
    compared(plural, new, old, |row, new, old| row.logic.validate_status_update(new, old))
}

fn compared(
    plural: &str,
    new: &Value,
    old: &Value,
    judge: fn(&Resource, &Object, &Object) -> ErrorList,
) -> Vec<String> {
    let (row, new, old) = (row(plural), object(plural, new), object(plural, old));
    let _known = [&new, &old].map(|object| Known::of(object, &row.schema));
    texts(&judge(row, &new, &old))
}

/// What the author of an object is warned of.
fn warned(plural: &str, value: &Value) -> Vec<String> {
    let object = object(plural, value);
    let _known = Known::of(&object, &row(plural).schema);
    row(plural).logic.warnings(&object)
}

/// The object with a field set to another value; `null` takes it away.
fn with(base: &Value, pointer: &str, value: Value) -> Value {
    let mut changed = base.clone();
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer has a slash");
    let parent = changed.pointer_mut(parent).expect("the field's parent exists");
    match (parent, value) {
        (Value::Object(map), Value::Null) => drop(map.remove(key)),
        (Value::Object(map), value) => drop(map.insert(key.to_owned(), value)),
        (Value::Array(list), value) if key == "-" => list.push(value),
        (Value::Array(list), value) => list[key.parse::<usize>().expect("an index")] = value,
        _ => panic!("no such parent"),
    }
    changed
}

#[test]
fn config_maps() {
    let map = |data: Value| json!({"metadata": {"name": "a"}, "data": data});
    assert!(created("configmaps", &map(json!({"a.b_c-1": "x"}))).is_empty());
    let said = created("configmaps", &map(json!({"a b": "x"})));
    assert_eq!(
        said,
        [
            "data[a b]: Invalid value: \"a b\": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
        ]
    );
    let big = map(json!({"a": "x".repeat(1024 * 1024 + 1)}));
    assert_eq!(created("configmaps", &big), ["[]: Too long: may not be more than 1048576 bytes"]);
    let twice = json!({"data": {"a": "x"}, "binaryData": {"a": "eA=="}});
    assert_eq!(
        created("configmaps", &twice),
        ["data[a]: Invalid value: \"a\": duplicate of key present in binaryData"]
    );
    let frozen = json!({"immutable": true, "data": {"a": "x"}});
    assert_eq!(
        updated("configmaps", &json!({"data": {"a": "y"}}), &frozen),
        [
            "immutable: Forbidden: field is immutable when `immutable` is set",
            "data: Forbidden: field is immutable when `immutable` is set"
        ]
    );
}

#[test]
fn secrets() {
    for (kind, data, expect) in [
        ("Opaque", json!({}), &[][..]),
        ("kubernetes.io/tls", json!({}), &["data[tls.crt]: Required value", "data[tls.key]: Required value"]),
        ("kubernetes.io/ssh-auth", json!({}), &["data[ssh-privatekey]: Required value"]),
        (
            "kubernetes.io/basic-auth",
            json!({}),
            &["data[username]: Required value", "data[password]: Required value"],
        ),
        ("kubernetes.io/basic-auth", json!({"password": ""}), &[]),
        (
            "kubernetes.io/dockerconfigjson",
            json!({".dockerconfigjson": "ew=="}),
            &[
                "data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": unexpected end of JSON input",
            ],
        ),
        (
            "kubernetes.io/service-account-token",
            json!({}),
            &["metadata.annotations[kubernetes.io/service-account.name]: Required value"],
        ),
    ] {
        assert_eq!(created("secrets", &json!({"type": kind, "data": data})), expect, "{kind}");
    }
    assert_eq!(
        updated("secrets", &json!({"type": "b"}), &json!({"type": "a"})),
        ["type: Invalid value: \"b\": field is immutable"]
    );
}

#[test]
fn nodes_and_namespaces() {
    let taint = |effect: &str| json!({"key": "a", "value": "b", "effect": effect});
    let node = |taints: Value| json!({"metadata": {"name": "n"}, "spec": {"taints": taints}});
    assert!(created("nodes", &node(json!([taint("NoSchedule"), taint("NoExecute")]))).is_empty());
    assert_eq!(
        created("nodes", &node(json!([taint("Never")]))),
        [
            "metadata.taints[0].effect: Unsupported value: \"Never\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\""
        ]
    );
    let twice = created("nodes", &node(json!([taint("NoSchedule"), taint("NoSchedule")])));
    assert_eq!(
        twice,
        [
            "metadata.taints[1]: Duplicate value: {\"effect\":\"NoSchedule\",\"key\":\"a\",\"value\":\"b\"}: taints must be unique by key and effect pair"
        ]
    );
    let range = |range: &str| json!({"spec": {"podCIDR": range, "podCIDRs": [range]}});
    assert!(updated("nodes", &range("10.0.0.0/24"), &json!({"spec": {}})).is_empty());
    assert_eq!(
        updated("nodes", &range("10.0.1.0/24"), &range("10.0.0.0/24")),
        ["spec.podCIDRs: Forbidden: node updates may not change podCIDR except from \"\" to valid"]
    );
    assert_eq!(
        created("namespaces", &json!({"metadata": {"name": "n"}, "spec": {"finalizers": ["x"]}})),
        [
            "spec.finalizers: Invalid value: \"x\": name is neither a standard finalizer name nor is it fully qualified"
        ]
    );
}

/// Runs all of a kind's validation, which reads only what the kind's structure has.
fn judge_all(row: &Resource, new: &Object, old: &Object) {
    let _known = [new, old].map(|object| Known::of(object, &row.schema));
    for object in [new, old] {
        row.logic.validate(object);
        row.logic.warnings(object);
    }
    row.validate_update(new, old);
    row.logic.validate_status_update(new, old);
    row.logic.validate_part_update(new, old);
}

/// Whole objects and empty ones: where values differ from one object to the next, the property below tries more.
#[test]
fn validation_reads_no_field_that_the_structure_lacks() {
    let empty = |row: &Resource| {
        let mut object = Object::default();
        object.set_type(&row.gvk());
        object
    };
    for row in builtin().rows() {
        for text in ["a", "Never", "TCP", "In", "RollingUpdate", "ClusterIP", "LoadBalancer", "ExternalName"]
        {
            let mut whole = arbitrary::whole(row, text);
            judge_all(row, &whole, &empty(row));
            judge_all(row, &empty(row), &whole);
            row.logic.default(&mut whole);
            judge_all(row, &whole, &whole);
        }
    }
}

/// The lines of all that validates, with the files they are in.
fn sources() -> Vec<(PathBuf, String)> {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src/validation")];
    let mut lines = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the sources are here") {
            let path = entry.expect("the sources are here").path();
            if path.is_dir() {
                folders.extend((!path.ends_with("tests") && !path.ends_with("read")).then_some(path));
            } else if !path.ends_with("tests.rs") && !path.ends_with("read.rs") {
                let text = std::fs::read_to_string(&path).expect("the sources are text");
                lines.extend(text.lines().map(|line| (path.clone(), line.to_owned())));
            }
        }
    }
    assert!(lines.len() > 2_000, "only {} lines", lines.len());
    lines
}

/// What reads past `read` would escape the test above.
#[test]
fn validation_reads_by_the_functions_that_know_the_structure() {
    let own = r#"\.pointer\(|\.0\.get\(|\.0\[|\b(str_)?at\(&\[|\.get\(""#;
    let own = Regex::new(own).expect("a pattern");
    for (path, line) in sources() {
        let calls = line.replace("read::at(", "read(");
        assert!(!own.is_match(&calls), "{}: {line}", path.display());
    }
}

/// Also where no test comes by.
#[test]
fn names_that_validation_reads_are_names_of_fields() {
    let fields: HashSet<&str> =
        builtin_types().iter().flat_map(|(_, s)| &s.fields).map(|field| &*field.name).collect();
    let call =
        Regex::new(r#"read::\w+\((?:read::top\(\w+, "(\w+)"\)|[\w.]+), "(\w+)"\)"#).expect("a pattern");
    let mut read = 0;
    for (path, line) in sources() {
        for names in call.captures_iter(&line) {
            for name in names.iter().skip(1).flatten() {
                let known = fields.contains(name.as_str()) || name.as_str() == "storage";
                assert!(known, "{}: {line}", path.display());
                read += 1;
            }
        }
    }
    assert!(read > 200, "only {read} names");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(32) })]

    /// Whatever is of sound structure is judged, not stumbled over.
    #[test]
    fn nothing_of_sound_structure_makes_validation_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..2000),
        other in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        for row in builtin().rows() {
            let logic = &row.logic;
            let mut new = arbitrary::object(row, &mut Entropy::new(&bytes));
            let mut old = arbitrary::object(row, &mut Entropy::new(&other));
            for object in [&mut new, &mut old] {
                logic.default(object);
                logic.prepare_create(object);
            }
            judge_all(row, &new, &old);
            logic.prepare_update(&mut new, &old);
            logic.prepare_status_update(&mut new, &old);
        }
    }
}
