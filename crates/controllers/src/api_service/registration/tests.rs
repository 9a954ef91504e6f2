use serde_json::{Value, json};

use super::*;

fn observed(wanted: Option<Keeping>, found: Option<(&str, Value)>, is_first: bool) -> Observed {
    let found = found.map(|(label, spec)| {
        let labels = if label.is_empty() { json!({}) } else { json!({MANAGED: label}) };
        let object = json!({"metadata": {"name": "v1.a", "labels": labels}, "spec": spec});
        Arc::new(serde_json::from_value(object).expect("a registration"))
    });
    Observed { gv: GroupVersion::new("a", "v1"), wanted, found, is_first }
}

/// The verb of what is done, and what is written.
fn done(observed: &Observed) -> (&'static str, Value) {
    let plan = ApiServiceRegistrationController::reconcile(observed, jiff::Timestamp::UNIX_EPOCH);
    match plan.actions.into_iter().next() {
        None => ("nothing", Value::Null),
        Some(Action::Create { object, .. }) => ("create", Value::Object(object.0)),
        Some(Action::Update { object, .. }) => ("update", Value::Object(object.0)),
        Some(Action::Delete { .. }) => ("delete", Value::Null),
        Some(other) => panic!("unexpected {other:?}"),
    }
}

fn right() -> Value {
    json!({"group": "a", "version": "v1", "groupPriorityMinimum": 1000, "versionPriority": 100})
}

fn wrong() -> Value {
    json!({"group": "a", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1,
        "service": {"namespace": "n", "name": "s"}})
}

#[test]
fn what_is_served_and_kept_is_set_right() {
    let (verb, object) = done(&observed(Some(Keeping::Always), None, false));
    assert_eq!(verb, "create");
    assert_eq!(object["metadata"]["labels"], json!({MANAGED: "true"}));
    assert_eq!(object["spec"], right());
    let (verb, object) = done(&observed(Some(Keeping::Always), Some(("true", wrong())), false));
    assert_eq!((verb, &object["spec"]), ("update", &right()));
    for (wanted, found, is_first, verb) in [
        (Some(Keeping::Always), Some(("true", right())), false, "nothing"),
        (None, Some(("true", right())), false, "delete"),
        (None, Some(("onstart", right())), false, "nothing"),
        (None, Some(("onstart", right())), true, "delete"),
        (Some(Keeping::OnStart), None, true, "create"),
        (Some(Keeping::OnStart), None, false, "nothing"),
        (Some(Keeping::OnStart), Some(("onstart", wrong())), true, "update"),
        (Some(Keeping::OnStart), Some(("onstart", wrong())), false, "nothing"),
        (None, None, true, "nothing"),
    ] {
        assert_eq!(done(&observed(wanted, found, is_first)).0, verb, "{wanted:?} {is_first}");
    }
}

#[test]
fn what_others_have_made_is_theirs() {
    for wanted in [None, Some(Keeping::Always), Some(Keeping::OnStart)] {
        for is_first in [false, true] {
            assert_eq!(done(&observed(wanted, Some(("", wrong())), is_first)).0, "nothing");
        }
    }
}

#[test]
fn built_in_groups_are_registered_with_upstreams_priorities() {
    let table = resources::builtin();
    let of = |group: &str, version: &str| wanted(table, &GroupVersion::new(group, version));
    assert_eq!(of("", "v1"), Some(Keeping::OnStart));
    assert_eq!(of("apps", "v1"), Some(Keeping::OnStart));
    assert_eq!(of("apiregistration.k8s.io", "v1"), None, "it is served whatever is registered");
    assert_eq!(of("metrics.k8s.io", "v1beta1"), None, "an add-on registers it in upstream's clusters");
    assert_eq!(of("apps", "v2"), None);
    let core = registration(&GroupVersion::new("", "v1"), Keeping::OnStart);
    assert_eq!(core.metadata.name.as_deref(), Some("v1."));
    let spec = core.spec.expect("a specification");
    assert_eq!((spec.group, spec.group_priority_minimum, spec.version_priority), (None, 18_000, 1));
    let scaling = registration(&GroupVersion::new("autoscaling", "v2"), Keeping::OnStart).spec.expect("one");
    assert_eq!((scaling.group_priority_minimum, scaling.version_priority), (17_500, 30));
}
