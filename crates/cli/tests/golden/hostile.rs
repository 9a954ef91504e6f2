//! Whatever an object, a template or a path is made of: there is an output or an error, never a panic.

use std::fs;
use std::sync::LazyLock;

use cli::printing::{self, OutputFormat};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::folder;
use crate::scenario::Scenario;

/// All objects of the scenarios.
static OBJECTS: LazyLock<Vec<Value>> = LazyLock::new(objects);

fn objects() -> Vec<Value> {
    let mut objects = Vec::new();
    for entry in fs::read_dir(folder()).expect("the folder is there") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "json") {
            objects.extend(Scenario::read(&fs::read_to_string(&path).expect("read")).objects);
        }
    }
    objects
}

fn strange() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        Just(json!([])),
        Just(json!({})),
        Just(json!([null, 1, "x", [[]], {"name": {"a": []}}])),
        Just(json!({"\u{e9}": {"\t": "\n"}, "": null})),
        Just(json!(i64::MIN)),
        Just(json!(u64::MAX)),
        Just(json!(1e308)),
        Just(json!(-0.5)),
        Just(json!(true)),
        Just(json!("9999-99-99T99:99:99Z")),
        Just(json!("-9999-01-01T00:00:00Z")),
        Just(json!("999999999999999999999999Ei")),
        Just(json!("\u{e9}".repeat(200))),
        "[\\PC\t\n\r\u{1b}%{}]{0,20}".prop_map(Value::from),
    ]
}

/// Replaces what a walk down the object ends at.
fn replace(value: &mut Value, walk: &[prop::sample::Index], with: Value) {
    let Some((step, rest)) = walk.split_first() else {
        *value = with;
        return;
    };
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            let at = step.index(fields.len());
            if let Some((_, inner)) = fields.iter_mut().nth(at) {
                replace(inner, rest, with);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            let at = step.index(items.len());
            replace(&mut items[at], rest, with);
        }
        other => *other = with,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn strange_objects_are_described(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((prop::collection::vec(any::<prop::sample::Index>(), 1..9), strange()), 1..6),
    ) {
        let mut object = OBJECTS[which.index(OBJECTS.len())].clone();
        for (walk, with) in changes {
            let kept = (object["apiVersion"].clone(), object["kind"].clone());
            replace(&mut object, &walk, with);
            if let Some(fields) = object.as_object_mut() {
                fields.insert("apiVersion".to_owned(), kept.0);
                fields.insert("kind".to_owned(), kept.1);
            }
        }
        // The others are strange too: they are found beside it.
        let cluster = Cluster::new(vec![object.clone()]);
        let _ = cli::describe::describe_in(&jiff::tz::TimeZone::UTC, &cluster, &object, jiff::Timestamp::UNIX_EPOCH, true);
        for format in [OutputFormat::Json, OutputFormat::Yaml, OutputFormat::Name] {
            let _ = printing::print(&format, &object, &mut Vec::new());
        }
    }

    #[test]
    fn strange_templates_are_refused_or_printed(
        path in "[{}\\[\\].@$*?()=<>'\"a-c0-9:,\\\\ ré\n-]{0,30}",
        template in "(\\{\\{|\\}\\}|[-.$|()\"'`=:,/* \n]|if|end|range|with|else|define|template|block|printf|index|len|\\.a|1|\"%d%s\"|é){0,24}",
    ) {
        let object = json!({"a": [1, {"b": "c"}, null, 1.5], "c": {"a": "b"}});
        for allow_missing_keys in [true, false] {
            let template = template.clone();
            for format in [
                OutputFormat::JsonPath { template: path.clone(), allow_missing_keys },
                OutputFormat::JsonPathAsJson { template: path.clone(), allow_missing_keys },
                OutputFormat::GoTemplate { template, allow_missing_keys },
                OutputFormat::CustomColumns { columns: format!("A:{path}"), headers: true },
            ] {
                let _ = printing::print(&format, &object, &mut Vec::new());
            }
        }
    }

    #[test]
    fn yaml_is_read_back_as_it_was(texts in prop::collection::vec("[\\PC\t\n:#' \"-]{0,30}", 0..6), number in any::<i64>()) {
        // Line breaks to YAML 1.1, which go-yaml writes; none to YAML 1.2, which is read here.
        let texts: Vec<String> = texts.iter().map(|text| text.replace(['\u{2028}', '\u{2029}'], "_")).collect();
        let object = json!({"texts": texts, "number": number, "nested": [[{"a": {"b": texts.first()}}]]});
        let mut out = Vec::new();
        printing::print(&OutputFormat::Yaml, &object, &mut out).expect("printed");
        let text = String::from_utf8(out).expect("UTF-8");
        let read: Value = serde_saphyr::from_str(&text).map_err(|error| TestCaseError::fail(format!("{error}:\n{text}")))?;
        prop_assert_eq!(read, object, "{}", text);
    }
}
