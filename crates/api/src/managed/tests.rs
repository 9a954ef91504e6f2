use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::schema::sample;
use crate::{Error, Object, Reason};

fn object(value: Value) -> Object {
    Object::from_value(value).expect("an object")
}

fn writer<'a>(manager: &'a str, second: i64) -> Writer<'a> {
    let now = Timestamp::from_second(second).expect("in range");
    Writer { manager, api_version: "v1", subresource: "", now }
}

fn pod(spec: Value) -> Object {
    object(
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"app": "a"}}, "spec": spec}),
    )
}

fn updated(old: Option<&Object>, mut new: Object, writer: &Writer<'_>) -> Object {
    let (types, id) = sample::types();
    update(&types, id, old, &mut new, writer);
    new
}

fn applied(live: Option<&Object>, config: Object, force: bool, writer: &Writer<'_>) -> Result<Object, Error> {
    let (types, id) = sample::types();
    apply(&types, id, live, config, force, writer)
}

fn managed(object: &Object) -> Value {
    object.at(&["metadata", "managedFields"]).cloned().unwrap_or_default()
}

/// The fields of a manager's entry.
fn fields(object: &Object, manager: &str) -> Value {
    let entries = managed(object);
    let entry = entries.as_array().into_iter().flatten().find(|e| e["manager"] == manager);
    entry.map_or(Value::Null, |e| e["fieldsV1"].clone())
}

#[test]
fn a_create_is_the_creators() {
    let spec = json!({"containers": [{"name": "a", "image": "x", "args": ["1"],
        "ports": [{"containerPort": 80}], "resources": {}}], "nodeSelector": {"k": "v"}});
    let created = updated(None, pod(spec), &writer("kubectl", 0));
    let expect = json!([{
        "apiVersion": "v1", "fieldsType": "FieldsV1", "manager": "kubectl", "operation": "Update",
        "time": "1970-01-01T00:00:00Z",
        "fieldsV1": {
            "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
            "f:spec": {
                "f:nodeSelector": {},
                "f:containers": {".": {}, "k:{\"name\":\"a\"}": {
                    ".": {}, "f:name": {}, "f:image": {}, "f:args": {}, "f:resources": {},
                    "f:ports": {".": {}, "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}},
                }},
            },
        },
    }]);
    assert_eq!(managed(&created), expect);
}

#[test]
fn a_change_moves_the_field_and_no_change_moves_nothing() {
    let one = updated(None, pod(json!({"nodeName": "a", "priority": 1})), &writer("one", 1));
    let mut changed = one.clone();
    changed.set_at(&["spec", "priority"], json!(2));
    let two = updated(Some(&one), changed, &writer("two", 2));
    assert_eq!(fields(&two, "two"), json!({"f:spec": {"f:priority": {}}}));
    assert_eq!(fields(&two, "one")["f:spec"], json!({"f:nodeName": {}}));

    let again = updated(Some(&two), two.clone(), &writer("three", 3));
    assert_eq!(again, two, "a write that changes nothing leaves the entries and their times");
    let mut forgetful = two.clone();
    forgetful.remove_at(&["metadata", "managedFields"]);
    assert_eq!(updated(Some(&two), forgetful, &writer("three", 3)), two, "a client may leave them out");

    let mut removed = two.clone();
    removed.remove_at(&["spec", "nodeName"]);
    removed.remove_at(&["spec", "priority"]);
    let three = updated(Some(&two), removed, &writer("three", 3));
    assert_eq!(fields(&three, "two"), Value::Null);
    assert_eq!(fields(&three, "three"), Value::Null);
    assert!(fields(&three, "one").get("f:spec").is_none());
}

#[test]
fn unowned_metadata_is_nobodys_and_subresources_are_kept_apart() {
    let one = updated(None, pod(json!({})), &writer("one", 1));
    let mut new = one.clone();
    new.set_meta_str("resourceVersion", "7");
    new.set_meta_str("uid", "u");
    new.set_at(&["metadata", "generation"], json!(2));
    assert_eq!(managed(&updated(Some(&one), new.clone(), &writer("two", 2))), managed(&one));
    new.set_at(&["spec", "priority"], json!(2));
    let by_status = Writer { subresource: "status", ..writer("one", 2) };
    let two = updated(Some(&one), new, &by_status);
    let entries = managed(&two);
    assert_eq!(entries.as_array().map(Vec::len), Some(2));
    assert_eq!(entries[1]["subresource"], "status");
}

#[test]
fn managed_fields_can_be_replaced_reset_and_are_kept_when_malformed() {
    let one = updated(None, pod(json!({"priority": 1})), &writer("one", 1));
    let with = |value: Value| {
        let mut new = one.clone();
        new.set_at(&["metadata", "managedFields"], value);
        updated(Some(&one), new, &writer("two", 2))
    };
    assert_eq!(managed(&with(json!([]))), Value::Null);
    assert_eq!(managed(&with(json!([{}]))), Value::Null);
    assert_eq!(managed(&with(json!([{"manager": "x", "operation": "Fly"}]))), managed(&one));
    assert_eq!(managed(&with(json!("nonsense"))), managed(&one));
    let renamed = json!([{"manager": "x", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": {"f:priority": {}}}, "time": "2020-01-01T00:00:00Z"}]);
    assert_eq!(managed(&with(renamed.clone())), renamed);
}

#[test]
fn many_updaters_become_ancient() {
    let mut live = updated(None, pod(json!({})), &writer("m0", 0));
    for i in 1..20 {
        let mut new = live.clone();
        new.set_at(&["metadata", "labels", &format!("l{i}")], json!("x"));
        live = updated(Some(&live), new, &writer(&format!("m{i}"), i));
    }
    let entries = managed(&live);
    let entries = entries.as_array().expect("a list");
    assert_eq!(entries.len(), 10);
    assert_eq!(entries[0]["manager"], "ancient-changes");
    assert_eq!(entries[9]["manager"], "m19");
    assert!(fields(&live, "ancient-changes")["f:metadata"]["f:labels"].get("f:l5").is_some());
}

#[test]
fn applying_merges_and_prunes() {
    let first =
        pod(json!({"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}], "priority": 5}));
    let live = applied(None, first, false, &writer("me", 1)).expect("applies");
    assert_eq!(
        fields(&live, "me")["f:spec"]["f:containers"],
        json!({
        "k:{\"name\":\"a\"}": {".": {}, "f:image": {}, "f:name": {}},
        "k:{\"name\":\"b\"}": {".": {}, "f:image": {}, "f:name": {}}})
    );
    // A default, and another's label and container.
    let mut other = live.clone();
    other.set_at(
        &["spec", "containers"],
        json!([{"name": "a", "image": "1", "tty": true},
        {"name": "b", "image": "1", "tty": true}, {"name": "c", "image": "1"}]),
    );
    other.set_at(&["metadata", "labels", "theirs"], json!("x"));
    let live = updated(Some(&live), other, &writer("other", 2));

    let second = object(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "a", "image": "2"}]}}));
    let result = applied(Some(&live), second.clone(), false, &writer("me", 3)).expect("applies");
    assert_eq!(
        result.at(&["spec"]),
        Some(&json!({"containers": [
        {"name": "a", "image": "2", "tty": true}, {"name": "c", "image": "1"}]}))
    );
    assert_eq!(result.at(&["metadata", "labels"]), Some(&json!({"theirs": "x"})));
    let again = applied(Some(&result), second, false, &writer("me", 9)).expect("applies");
    assert_eq!(again, result, "applying the same changes nothing, not even the time");
}

#[test]
fn conflicts_are_named_and_can_be_forced() {
    let live = updated(
        None,
        pod(json!({"replicas": 1, "containers": [{"name": "a", "image": "1"}]})),
        &writer("kubectl", 1),
    );
    let config = |spec: Value| {
        object(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}))
    };
    let e = applied(Some(&live), config(json!({"replicas": 2})), false, &writer("me", 2)).expect_err("owned");
    assert!(e.is(Reason::Conflict));
    assert_eq!(e.message, "Apply failed with 1 conflict: conflict with \"kubectl\" using v1: .spec.replicas");
    let causes = &e.details.as_ref().expect("details")["causes"];
    assert_eq!(
        causes,
        &json!([{"reason": "FieldManagerConflict", "message": "conflict with \"kubectl\" using v1",
        "field": ".spec.replicas"}])
    );
    let two = config(json!({"replicas": 2, "containers": [{"name": "a", "image": "2"}]}));
    let e = applied(Some(&live), two.clone(), false, &writer("me", 2)).expect_err("owned");
    assert_eq!(
        e.message,
        "Apply failed with 2 conflicts: conflicts with \"kubectl\" using v1:\n- .spec.containers[name=\"a\"].image\n- .spec.replicas"
    );
    let forced = applied(Some(&live), two, true, &writer("me", 2)).expect("forced");
    assert_eq!(forced.at(&["spec", "replicas"]), Some(&json!(2)));
    assert!(fields(&forced, "kubectl")["f:spec"].get("f:replicas").is_none());
    let same = applied(Some(&live), config(json!({"replicas": 1})), false, &writer("me", 2)).expect("agrees");
    assert!(fields(&same, "kubectl")["f:spec"].get("f:replicas").is_some(), "both own what they agree on");
}

#[test]
fn what_was_not_tracked_belongs_to_before_first_apply() {
    let live = pod(json!({"replicas": 1}));
    let config = pod(json!({"replicas": 2}));
    let e = applied(Some(&live), config, false, &writer("me", 2)).expect_err("owned");
    assert!(e.message.contains("\"before-first-apply\" using v1: .spec.replicas"), "{e}");
    let mut carries = pod(json!({}));
    carries.set_at(&["metadata", "managedFields"], json!([]));
    assert_eq!(
        applied(None, carries, false, &writer("me", 2)).expect_err("carries").message,
        "metadata.managedFields must be nil"
    );
}

#[test]
fn a_configuration_whose_items_cannot_be_told_apart_is_refused() {
    let (types, id) = sample::types();
    let refused = |config: Value| {
        let error = typed::check(&types, id, &object(config)).expect_err("refused");
        assert_eq!((error.code(), error.reason.as_str()), (500, ""));
        error.message
    };
    let ports =
        json!([{"containerPort": 80}, {"containerPort": 81}, {"containerPort": 80, "protocol": "TCP"}]);
    let twice = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "ns"},
        "spec": {"containers": [{"name": "a", "ports": ports}]}});
    assert_eq!(
        refused(twice),
        "failed to create typed patch object (ns/p; /v1, Kind=Pod): .spec.containers[name=\"a\"].ports: duplicate entries for key [containerPort=80,protocol=\"TCP\"]"
    );
    let several = json!({"apiVersion": "apps/v1", "kind": "Pod", "metadata": {"name": "p", "finalizers": ["x", "x"]},
        "spec": {"containers": [{"name": "a"}, {"name": "a", "odd": 1}]}});
    assert_eq!(
        refused(several),
        "failed to create typed patch object (/p; apps/v1, Kind=Pod): errors:\n  .metadata.finalizers: duplicate entries for key [=\"x\"]\n  .spec.containers: duplicate entries for key [name=\"a\"]\n  .spec.containers[name=\"a\"].odd: field not declared in schema"
    );
    let keyless = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"containers": [{"image": "i"}, null, 1, {"name": "a", "ports": [{"protocol": "TCP"}]}]}});
    let omits = |key: &str| {
        format!(
            "associative list with keys has an element that omits key field \"{key}\" (and doesn't have default value)"
        )
    };
    let faults = [
        format!(".spec.containers: element 0: {}", omits("name")),
        ".spec.containers: element 1: associative list with keys may not have a null element".to_owned(),
        ".spec.containers: element 2: associative list with keys may not have non-map elements".to_owned(),
        format!(".spec.containers[name=\"a\"].ports: element 0: {}", omits("containerPort")),
    ];
    assert_eq!(
        refused(keyless),
        format!(
            "failed to create typed patch object (/p; /v1, Kind=Pod): errors:\n  {}",
            faults.join("\n  ")
        )
    );
    let sound = json!({"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": "a",
        "args": ["x", "x"], "ports": [{"containerPort": 80}, {"containerPort": 80, "protocol": "UDP"}]}]}, "extra": {"a": 1}});
    typed::check(&types, id, &object(sound)).expect("sound");
}

#[test]
fn an_apply_that_changes_nothing_differs_in_its_time_only() {
    let mut config = pod(json!({"replicas": 1}));
    config.set_at(&["metadata", "annotations"], json!({}));
    let mut live = applied(None, config.clone(), false, &writer("me", 1)).expect("no conflict");
    // Stored objects have no empty maps.
    live.remove_at(&["metadata", "annotations"]);
    let mut again = applied(Some(&live), config, false, &writer("me", 2)).expect("no conflict");
    again.remove_at(&["metadata", "annotations"]);
    assert_ne!(again, live);
    assert!(differ_in_times_only(&again, &live));
    again.set_at(&["spec", "replicas"], json!(2));
    assert!(!differ_in_times_only(&again, &live));
    let other =
        applied(Some(&live), pod(json!({"replicas": 1})), false, &writer("other", 2)).expect("no conflict");
    assert!(!differ_in_times_only(&other, &live));
}

#[test]
fn the_configuration_that_was_applied_last_is_kept_in_step() {
    const NAME: &str = "kubectl.kubernetes.io/last-applied-configuration";
    let config = |replicas: i32| pod(json!({"replicas": replicas}));
    let mut live = applied(None, config(1), false, &writer("kubectl", 1)).expect("no conflict");
    assert_eq!(live.annotation(NAME), None);
    live.set_at(&["metadata", "annotations", NAME], "{}\n".into());
    let by = |manager: &str| applied(Some(&live), config(2), true, &writer(manager, 2)).expect("forced");
    assert_eq!(by("somebody").annotation(NAME), Some("{}\n"));
    assert_eq!(
        by("kubectl").annotation(NAME),
        Some(
            "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"labels\":{\"app\":\"a\"},\"name\":\"p\"},\"spec\":{\"replicas\":2}}\n"
        )
    );
}

fn any_set() -> impl Strategy<Value = FieldSet> {
    let leaf = Just(json!({}));
    let tree = leaf.prop_recursive(4, 30, 4, |inner| {
        let keys = prop::sample::select(vec!["f:a", "f:b", "k:{\"name\":\"x\"}", "v:1", "."]);
        prop::collection::vec((keys, inner), 1..4).prop_map(|entries| {
            let node = entries.into_iter().map(|(k, v)| (k.to_owned(), if k == "." { json!({}) } else { v }));
            let mut node: serde_json::Map<String, Value> = node.collect();
            if node.len() == 1 {
                node.remove(".");
            }
            Value::Object(node)
        })
    });
    tree.prop_map(|v| {
        let mut set = FieldSet::decode(v).expect("well formed");
        set.0.remove(".");
        set
    })
}

/// Any valid configuration: items have different keys, nothing is empty.
fn any_config() -> impl Strategy<Value = Object> {
    let ports = prop::collection::btree_map(1..4u16, "[a-b]", 0..3);
    let container =
        (prop::option::of("[x-z]"), ports, prop::option::of(prop::collection::vec("[a-c]", 1..3)));
    let containers = prop::collection::btree_map("[a-d]", container, 0..4);
    let texts = || prop::collection::btree_map("[k-n]", "[a-c]", 0..3);
    let finalizers = prop::collection::btree_set("[f-h]", 0..3);
    (containers, texts(), texts(), finalizers, prop::option::of(0..3i32)).prop_map(
        |(containers, labels, node_selector, finalizers, priority)| {
            let mut config = object(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}));
            let containers: Vec<Value> = containers
                .into_iter()
                .map(|(name, (image, ports, args))| {
                    let ports: Vec<Value> = ports
                        .into_iter()
                        .map(|(port, name)| json!({"containerPort": port, "name": name}))
                        .collect();
                    let mut container = json!({"name": name});
                    if !ports.is_empty() {
                        container["ports"] = ports.into();
                    }
                    if let Some(image) = image {
                        container["image"] = image.into();
                    }
                    if let Some(args) = args {
                        container["args"] = args.into();
                    }
                    container
                })
                .collect();
            if !containers.is_empty() {
                config.set_at(&["spec", "containers"], containers.into());
            }
            if !labels.is_empty() {
                config.set_at(&["metadata", "labels"], json!(labels));
            }
            if !finalizers.is_empty() {
                config.set_at(&["metadata", "finalizers"], json!(finalizers));
            }
            if !node_selector.is_empty() {
                config.set_at(&["spec", "nodeSelector"], json!(node_selector));
            }
            if let Some(priority) = priority {
                config.set_at(&["spec", "priority"], priority.into());
            }
            config
        },
    )
}

fn without_managed(mut object: Object) -> Object {
    object.remove_at(&["metadata", "managedFields"]);
    object
}

proptest! {
    #[test]
    fn a_sole_applier_gets_what_it_applies(first in any_config(), second in any_config()) {
        let live = applied(None, first.clone(), false, &writer("me", 1)).expect("no conflict");
        prop_assert_eq!(without_managed(live.clone()), first);
        let live = applied(Some(&live), second.clone(), false, &writer("me", 2)).expect("no conflict");
        prop_assert_eq!(without_managed(live.clone()), second.clone());
        let again = applied(Some(&live), second, false, &writer("me", 3)).expect("no conflict");
        prop_assert_eq!(again, live);
    }

    #[test]
    fn appliers_who_force_get_all_they_apply_and_leave_the_rest(first in any_config(), second in any_config()) {
        let one = applied(None, first, false, &writer("one", 1)).expect("no conflict");
        let two = applied(Some(&one), second.clone(), true, &writer("two", 2)).expect("forced");
        let (types, id) = sample::types();
        let mut merged = without_managed(one);
        merge::merge(&types, id, &mut merged, second.clone());
        prop_assert_eq!(without_managed(two.clone()), merged);
        // Giving everything up leaves what the other still owns, and nobody owns what is gone.
        let nothing = object(json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}));
        let left = applied(Some(&two), nothing, false, &writer("two", 3)).expect("no conflict");
        let there = compare::named_fields(&types, id, &left);
        let mut gone = FieldSet::decode(fields(&left, "one")).unwrap_or_default();
        gone.subtract(&there);
        prop_assert!(gone.is_empty(), "{gone:?}");
        prop_assert_eq!(fields(&left, "two"), Value::Null);
    }

    #[test]
    fn updates_leave_each_field_with_one_owner(configs in prop::collection::vec(any_config(), 1..5)) {
        let mut live: Option<Object> = None;
        for (i, mut config) in configs.into_iter().enumerate() {
            // An object without any owned field is not tracked any more.
            config.set_at(&["metadata", "labels", "always"], json!("x"));
            let second = i64::try_from(i).expect("few");
            live = Some(updated(live.as_ref(), config, &writer(&format!("m{}", i % 3), second)));
        }
        let live = live.expect("at least one");
        let entries = managed(&live);
        let sets: Vec<FieldSet> = entries.as_array().into_iter().flatten()
            .map(|e| FieldSet::decode(e["fieldsV1"].clone()).expect("ours")).collect();
        for (i, set) in sets.iter().enumerate() {
            for other in &sets[i + 1..] {
                prop_assert_eq!(set.common_paths(other), Vec::<String>::new());
            }
        }
        let (types, id) = sample::types();
        let mut unowned = compare::named_fields(&types, id, &live);
        sets.iter().for_each(|set| unowned.subtract(set));
        prop_assert!(unowned.is_empty(), "{unowned:?}");
    }

    #[test]
    fn sets_follow_the_laws(a in any_set(), b in any_set()) {
        let mut union = a.clone();
        union.unite(&b);
        let mut other = b.clone();
        other.unite(&a);
        prop_assert_eq!(&union, &other);
        let mut rest = union.clone();
        rest.subtract(&b);
        prop_assert!(rest.common_paths(&b).is_empty());
        let mut a_only = a.clone();
        a_only.subtract(&b);
        prop_assert_eq!(rest.common_paths(&rest), a_only.common_paths(&a_only));
        union.subtract(&a);
        union.subtract(&b);
        prop_assert!(union.is_empty());
        prop_assert_eq!(FieldSet::decode(a.clone().encode()), Some(a));
    }

    #[test]
    fn hostile_managed_fields_never_panic(junk in "[fkvi]:[a-z{}\":,0-9]{0,8}", value in prop::sample::select(vec!["{}", "null", "1", "{\".\":{}}"])) {
        let value: Value = serde_json::from_str(value).expect("valid");
        let mut live = pod(json!({"priority": 1, "containers": [{"name": "a"}]}));
        live.set_at(&["metadata", "managedFields"], json!([{"manager": "x", "operation": "Apply", "apiVersion": "v1",
            "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {junk.clone(): value.clone(), "f:containers": {junk: value}}}}]));
        let _ = applied(Some(&live), pod(json!({"priority": 2})), false, &writer("x", 1));
        let _ = updated(Some(&live), pod(json!({"priority": 2})), &writer("y", 1));
    }
}

#[test]
fn a_configuration_is_laid_over_what_it_does_not_replace() {
    let (types, id) = sample::types();
    let laid = |live: Value, config: Value| {
        let config = object(json!({"apiVersion": "v1", "kind": "Pod", "spec": config}));
        overlay(&types, id, &pod(live), config).map(|laid| laid.0["spec"].clone())
    };
    let live = || json!({"replicas": 1, "containers": [{"name": "a", "image": "x"}, {"name": "b"}]});
    assert_eq!(
        laid(live(), json!({"containers": [{"name": "b", "image": "y"}, {"name": "c"}]})),
        Ok(
            json!({"replicas": 1, "containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "y"}, {"name": "c"}]})
        )
    );
    for (config, why) in [
        (
            json!({"replicasx": 1}),
            "failed to convert patch object to typed object: .spec.replicasx: field not declared in schema",
        ),
        (
            json!({"replicas": "1"}),
            "failed to convert patch object to typed object: .spec.replicas: expected numeric (int or float), got string",
        ),
        (
            json!({"nodeSelector": {"a": "b"}, "containers": [{"name": "a", "args": []}]}),
            "invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: .spec.containers[0].args, .spec.nodeSelector",
        ),
    ] {
        assert_eq!(laid(live(), config), Err(why.to_owned()));
    }
}
