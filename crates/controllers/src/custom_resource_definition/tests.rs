use serde_json::{Value, json};

use super::*;

fn known(name: &str, metadata: Value, names: Value, status: Value) -> Known {
    let group = group_of(name);
    let whole = json!({
        "metadata": metadata, "spec": {"group": group, "names": names,
            "versions": [{"name": "v1", "served": true, "storage": true}]}, "status": status,
    });
    let definition: Definition = serde_json::from_value(whole).unwrap();
    Known {
        name: name.to_owned(),
        version: 7,
        being_deleted: metadata.get("deletionTimestamp").is_some(),
        finalizers: definition.metadata.finalizers.clone(),
        definition: Arc::new(definition),
    }
}

fn names(plural: &str, kind: &str) -> Value {
    json!({"plural": plural, "singular": kind.to_lowercase(), "kind": kind, "listKind": format!("{kind}List"), "shortNames": ["w"]})
}

fn at() -> jiff::Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn statuses(known: Vec<Known>) -> Vec<(String, Value)> {
    let observed = Observed { known, left: BTreeMap::new() };
    let plan = CustomResourceDefinitionController::reconcile(&observed, at());
    plan.actions
        .iter()
        .rev()
        .map(|action| {
            let Action::MergePatch { target, patch } = action else { panic!("{action:?}") };
            (target.name.clone(), patch["status"].clone())
        })
        .collect()
}

fn condition<'v>(status: &'v Value, name: &str) -> &'v Value {
    status["conditions"].as_array().unwrap().iter().find(|c| c["type"] == name).unwrap_or(&Value::Null)
}

#[test]
fn the_oldest_gets_a_name_and_is_served() {
    let first = json!({"creationTimestamp": "2026-01-01T00:00:00Z"});
    let second = json!({"creationTimestamp": "2026-01-01T00:00:01Z"});
    let told = statuses(vec![
        known("gadgets.example.com", second, names("gadgets", "Gadget"), json!({})),
        known("widgets.example.com", first, names("widgets", "Widget"), json!({})),
    ]);
    let (name, status) = &told[0];
    assert_eq!(name, "widgets.example.com");
    assert_eq!(status["acceptedNames"], names("widgets", "Widget"));
    assert_eq!(condition(status, "NamesAccepted")["reason"], "NoConflicts");
    assert_eq!(
        condition(status, "Established"),
        &json!({"type": "Established", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z",
            "reason": "InitialNamesAccepted", "message": "the initial names have been accepted"})
    );
    let (name, status) = &told[1];
    assert_eq!(name, "gadgets.example.com");
    assert_eq!(condition(status, "NamesAccepted")["reason"], "ShortNamesConflict");
    assert_eq!(condition(status, "NamesAccepted")["message"], r#""w" is already in use"#);
    assert_eq!(condition(status, "Established")["reason"], "NotAccepted");
    assert_eq!(status["acceptedNames"]["kind"], "Gadget");
}

#[test]
fn what_is_settled_is_left_alone() {
    let fresh = known("widgets.example.com", json!({}), names("widgets", "Widget"), json!({}));
    let (_, status) = statuses(vec![fresh]).remove(0);
    let done = known("widgets.example.com", json!({}), names("widgets", "Widget"), status);
    assert_eq!(statuses(vec![done]), []);
}

#[test]
fn a_definition_goes_after_its_objects() {
    let metadata = json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["other/x", CLEANUP]});
    let going = known(
        "widgets.example.com",
        metadata,
        names("widgets", "Widget"),
        json!({"conditions": [
        {"type": "Established", "status": "True"}], "acceptedNames": names("widgets", "Widget")}),
    );
    let plan = |left: Instances| {
        let left = BTreeMap::from([("widgets.example.com".to_owned(), left)]);
        CustomResourceDefinitionController::reconcile(&Observed { known: vec![going.clone()], left }, at())
    };
    let collection = going.definition.collection();
    assert_eq!(collection.as_ref().unwrap().path(), "/apis/example.com/v1/widgets");
    let some = plan(Instances { collection, count: 2, undeleted: BTreeSet::from(["a".to_owned()]) });
    let [Action::MergePatch { patch, .. }, Action::Batch(deletions)] = &some.actions[..] else {
        panic!("{some:?}")
    };
    assert_eq!(condition(&patch["status"], "Terminating")["reason"], "InstanceDeletionInProgress");
    let [Action::DeleteCollection { target, .. }] = &deletions[..] else { panic!("{deletions:?}") };
    assert_eq!(target.path(), "/apis/example.com/v1/namespaces/a/widgets");
    let none = plan(Instances::default());
    let [Action::MergePatch { patch, .. }, Action::JsonPatch { patch: last, .. }] = &none.actions[..] else {
        panic!("{none:?}")
    };
    assert_eq!(condition(&patch["status"], "Terminating")["status"], "False");
    assert_eq!(last[1], json!({"op": "remove", "path": "/metadata/finalizers/1"}));
}

#[test]
fn groups_of_the_project_itself_are_told_whether_they_are_approved() {
    let metadata = json!({"annotations": {"api-approved.kubernetes.io": "https://example.com/1"}});
    let (_, status) = statuses(vec![known("x.a.k8s.io", metadata, names("x", "X"), json!({}))]).remove(0);
    let told = condition(&status, "KubernetesAPIApprovalPolicyConformant");
    assert_eq!(
        (&told["status"], &told["message"]),
        (&json!("True"), &json!("approved in https://example.com/1"))
    );
}
