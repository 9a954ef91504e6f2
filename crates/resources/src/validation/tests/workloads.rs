//! What runs pods.

use super::*;

fn template() -> Value {
    json!({"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "a", "image": "b:1"}]}})
}

fn workload() -> Value {
    json!({
        "metadata": {"name": "w", "namespace": "ns"},
        "spec": {"selector": {"matchLabels": {"app": "x"}}, "template": template()},
    })
}

#[test]
fn sound_ones_are_taken() {
    for plural in ["replicasets", "deployments", "daemonsets", "statefulsets"] {
        assert_eq!(created(plural, &workload()), [""; 0], "{plural}");
    }
    let rc = json!({"metadata": {"name": "w"}, "spec": {"template": template()}});
    assert_eq!(created("replicationcontrollers", &rc), [""; 0]);
}

#[test]
fn the_selector_selects_the_template() {
    let other = with(&workload(), "/spec/template/metadata/labels", json!({"app": "y"}));
    let mismatch = "spec.template.metadata.labels: Invalid value: {\"app\":\"y\"}: `selector` does not match template `labels`";
    for plural in ["replicasets", "deployments", "daemonsets", "statefulsets"] {
        assert_eq!(created(plural, &other), [mismatch], "{plural}");
        assert_eq!(
            created(plural, &with(&workload(), "/spec/selector", json!(null))),
            ["spec.selector: Required value"],
            "{plural}"
        );
    }
    let rc = json!({"spec": {"selector": {"app": "z"}, "template": with(&template(), "/metadata/labels", json!({"app": "y"}))}});
    assert_eq!(created("replicationcontrollers", &rc), [mismatch]);
    assert_eq!(
        created("deployments", &with(&workload(), "/spec/selector", json!({}))),
        ["spec.selector: Invalid value: {}: empty selector is invalid for deployment"]
    );
    let changed = with(&workload(), "/spec/selector/matchLabels", json!({"app": "x", "b": "c"}));
    let changed = with(&changed, "/spec/template/metadata/labels", json!({"app": "x", "b": "c"}));
    assert_eq!(
        updated("deployments", &changed, &workload()),
        ["spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"x\",\"b\":\"c\"}}: field is immutable"]
    );
}

#[test]
fn figures_and_strategies() {
    for (pointer, value, expect) in [
        ("/spec/replicas", json!(-1), "spec.replicas: Invalid value: -1: must be greater than or equal to 0"),
        (
            "/spec/strategy",
            json!({"type": "Recreate", "rollingUpdate": {}}),
            "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
        ),
        (
            "/spec/strategy",
            json!({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}),
            "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0",
        ),
        (
            "/spec/strategy",
            json!({"rollingUpdate": {"maxUnavailable": "101%"}}),
            "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"101%\": must not be greater than 100%",
        ),
        (
            "/spec/strategy",
            json!({"type": "X"}),
            "spec.strategy.type: Unsupported value: \"X\": supported values: \"Recreate\", \"RollingUpdate\"",
        ),
        (
            "/spec/progressDeadlineSeconds",
            json!(0),
            "spec.progressDeadlineSeconds: Invalid value: 0: must be greater than minReadySeconds",
        ),
        (
            "/spec/template/spec/restartPolicy",
            json!("Never"),
            "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"",
        ),
        (
            "/spec/template/spec/containers/0/image",
            json!(null),
            "spec.template.spec.containers[0].image: Required value",
        ),
    ] {
        assert_eq!(created("deployments", &with(&workload(), pointer, value)), [expect], "{pointer}");
    }
}

#[test]
fn stateful_sets_change_little() {
    let set = with(&workload(), "/spec/serviceName", json!("a"));
    assert!(updated("statefulsets", &with(&set, "/spec/replicas", json!(3)), &set).is_empty());
    let said = updated("statefulsets", &with(&set, "/spec/serviceName", json!("b")), &set);
    assert!(
        said[0].starts_with("spec: Forbidden: updates to statefulset spec for fields other than"),
        "{said:?}"
    );
}
