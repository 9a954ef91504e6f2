//! Events of both groups, quotas, classes of runtimes.

use super::*;
use api::GroupVersion;

fn of_group(event: &Value, old: Option<&Value>) -> Vec<String> {
    let version = GroupVersion::parse("events.k8s.io/v1").expect("a version");
    let row = builtin().find(&version.group, &version.version, "events").expect("served");
    let object = |value: &Value| Object::from_value(value.clone()).expect("an object");
    let new = object(event);
    let _known = Known::of(&new, &row.schema);
    match old {
        None => texts(&row.logic.validate(&new)),
        Some(old) => {
            let old = object(old);
            let _known = Known::of(&old, &row.schema);
            texts(&row.validate_update(&new, &old))
        }
    }
}

#[test]
fn events_of_old_lie_where_their_objects_are() {
    let event = |place: &str, about: &str| {
        json!({"metadata": {"name": "e", "namespace": place},
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": about}})
    };
    for (place, about) in [("ns", "ns"), ("default", "")] {
        assert_eq!(created("events", &event(place, about)), [""; 0], "{place} {about}");
    }
    for (place, about) in [("ns", "other"), ("ns", "")] {
        let expect =
            format!("involvedObject.namespace: Invalid value: \"{about}\": does not match event.namespace");
        assert_eq!(created("events", &event(place, about)), [expect.as_str()]);
        assert_eq!(updated("events", &event(place, about), &event("ns", "ns")), [expect]);
    }
    let timed = with(&event("ns", "ns"), "/eventTime", json!("2026-01-01T00:00:00.000000Z"));
    assert_eq!(created("events", &timed)[0], "reportingComponent: Required value");
}

#[test]
fn events_of_the_group_say_who_did_what_when() {
    let event = json!({"metadata": {"name": "e", "namespace": "ns"}, "type": "Normal", "reason": "Made",
        "action": "Making", "reportingController": "example.com/maker", "reportingInstance": "maker-1",
        "eventTime": "2026-01-01T00:00:00.000000Z", "note": "a pod was made",
        "regarding": {"kind": "Pod", "name": "p", "namespace": "ns"}});
    assert_eq!(of_group(&event, None), [""; 0]);
    let timeless = with(&with(&event, "/eventTime", json!(null)), "/type", json!("X"));
    assert_eq!(
        of_group(&timeless, None),
        ["eventTime: Required value", "type: Invalid value: \"\": has invalid value: X"]
    );
    for (pointer, value, expect) in [
        ("/action", json!(""), "action: Required value"),
        ("/reason", json!(""), "reason: Required value"),
        ("/reportingInstance", json!(""), "reportingInstance: Required value"),
        ("/action", json!("a".repeat(129)), "action: Invalid value: \"\": can have at most 128 characters"),
        ("/note", json!("a".repeat(1025)), "message: Invalid value: \"\": can have at most 1024 characters"),
        ("/deprecatedCount", json!(1), "count: Invalid value: \"\": needs to be unset"),
        ("/deprecatedSource", json!({"host": "h"}), "source: Invalid value: \"\": needs to be unset"),
        (
            "/deprecatedFirstTimestamp",
            json!("2026-01-01T00:00:00Z"),
            "firstTimestamp: Invalid value: \"\": needs to be unset",
        ),
        (
            "/series",
            json!({"count": 1, "lastObservedTime": "2026-01-01T00:00:00.000000Z"}),
            "series.count: Invalid value: \"\": should be at least 2",
        ),
        ("/series", json!({"count": 2}), "series.lastObservedTime: Required value"),
    ] {
        assert_eq!(of_group(&with(&event, pointer, value), None), [expect], "{pointer}");
    }
    let series = json!({"count": 2, "lastObservedTime": "2026-01-01T00:00:00.000000Z"});
    assert_eq!(of_group(&with(&event, "/series", series), Some(&event)), [""; 0]);
    assert_eq!(
        of_group(&with(&event, "/note", json!("other")), Some(&event)),
        ["message: Invalid value: \"other\": field is immutable"]
    );
}

#[test]
fn scopes_of_quotas_fit_together() {
    let quota = |hard: Value, scopes: Value| json!({"metadata": {"name": "q"}, "spec": {"hard": hard, "scopes": scopes}});
    let pods = || json!({"pods": "1"});
    assert_eq!(created("resourcequotas", &quota(pods(), json!(["BestEffort"]))), [""; 0]);
    for (hard, scopes, expect) in [
        (pods(), json!(["Foo"]), "spec.scopes: Invalid value: [\"Foo\"]: unsupported scope"),
        (
            json!({"services": "1"}),
            json!(["BestEffort"]),
            "spec.scopes: Invalid value: [\"BestEffort\"]: unsupported scope applied to resource",
        ),
        (
            pods(),
            json!(["BestEffort", "NotBestEffort"]),
            "spec.scopes: Invalid value: [\"BestEffort\",\"NotBestEffort\"]: conflicting scopes",
        ),
    ] {
        assert_eq!(created("resourcequotas", &quota(hard, scopes)), [expect]);
    }
    assert_eq!(
        created("resourcequotas", &quota(json!({"foo": "3"}), json!([]))),
        [
            "spec.hard[foo]: Invalid value: \"foo\": must be a standard resource type or fully qualified",
            "spec.hard[foo]: Invalid value: \"foo\": must be a standard resource for quota",
        ]
    );
    assert_eq!(
        updated("resourcequotas", &quota(pods(), json!(["BestEffort"])), &quota(pods(), json!([]))),
        ["spec.scopes: Invalid value: [\"BestEffort\"]: field is immutable"]
    );
}

#[test]
fn selectors_of_scopes() {
    let quota = |expression: Value| {
        json!({"metadata": {"name": "q"}, "spec": {"hard": {"pods": "1"},
        "scopeSelector": {"matchExpressions": [expression]}}})
    };
    let said = |expression: Value| created("resourcequotas", &quota(expression));
    assert_eq!(said(json!({"scopeName": "PriorityClass", "operator": "In", "values": ["a"]})), [""; 0]);
    let at = "spec.scopeSelector.matchExpressions";
    assert_eq!(
        said(json!({"scopeName": "X", "operator": "Y"})),
        [
            format!("{at}.scopeName: Invalid value: \"X\": unsupported scope"),
            format!("{at}.operator: Invalid value: \"Y\": not a valid selector operator"),
        ]
    );
    assert_eq!(
        said(json!({"scopeName": "PriorityClass", "operator": "In"})),
        [format!(
            "{at}.values: Required value: must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
        )]
    );
    let told = said(json!({"scopeName": "Terminating", "operator": "DoesNotExist", "values": ["a"]}));
    assert!(told[0].starts_with(&format!("{at}.operator: Invalid value: \"DoesNotExist\": must be 'Exist'")));
    assert!(told[1].starts_with(&format!("{at}.values: Invalid value: [\"a\"]: must be no value")));
}

#[test]
fn runtime_classes() {
    let class = json!({"metadata": {"name": "r"}, "handler": "runc", "overhead": {"podFixed": {"cpu": "1m"}},
        "scheduling": {"nodeSelector": {"a": "b"}, "tolerations": [{"operator": "Exists"}]}});
    assert_eq!(created("runtimeclasses", &class), [""; 0]);
    for handler in ["", "Bad_"] {
        let told = created("runtimeclasses", &with(&class, "/handler", json!(handler)));
        assert!(
            told[0].starts_with(&format!("handler: Invalid value: {handler:?}: a lowercase RFC 1123 label"))
        );
    }
    assert_eq!(
        created("runtimeclasses", &with(&class, "/overhead/podFixed/cpu", json!("-1"))),
        ["overhead.limits[cpu]: Invalid value: \"-1\": must be greater than or equal to 0"]
    );
    assert_eq!(
        created("runtimeclasses", &with(&class, "/scheduling/tolerations/0/value", json!("x"))),
        [
            "scheduling.tolerations[0].operator: Invalid value: \"x\": value must be empty when `operator` is 'Exists'"
        ]
    );
    assert_eq!(
        updated("runtimeclasses", &with(&class, "/handler", json!("other")), &class),
        ["handler: Invalid value: \"other\": field is immutable"]
    );
}
