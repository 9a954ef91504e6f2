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
        let none = match plural {
            "daemonsets" => {
                "spec.template.metadata.labels: Invalid value: {\"app\":\"x\"}: `selector` does not match template `labels`"
            }
            _ => "spec.selector: Required value",
        };
        assert_eq!(created(plural, &with(&workload(), "/spec/selector", json!(null))), [none], "{plural}");
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
            r#"spec.strategy: Unsupported value: {"RollingUpdate":null,"Type":"X"}: supported values: "Recreate", "RollingUpdate""#,
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

/// A set as charts of databases have them: the template mounts what the claim templates bring.
fn database() -> Value {
    let set = with(&workload(), "/spec/serviceName", json!("db"));
    let mount = json!([{"name": "data", "mountPath": "/data"}]);
    let set = with(&set, "/spec/template/spec/containers/0/volumeMounts", mount);
    let claim = json!({"metadata": {"name": "data"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
    }});
    with(&set, "/spec/volumeClaimTemplates", json!([claim]))
}

#[test]
fn a_stateful_sets_claims_are_volumes_of_its_template() {
    assert_eq!(created("statefulsets", &database()), [""; 0]);
    // A volume of the same name gives way to the claim, whatever it is.
    let own = with(&database(), "/spec/template/spec/volumes", json!([{"name": "data", "secret": {}}]));
    assert_eq!(created("statefulsets", &own), [""; 0]);
    // The controller writes the two names itself.
    let named = with(&database(), "/spec/template/spec/hostname", json!("Not A Name"));
    let named = with(&named, "/spec/template/spec/subdomain", json!("Nor This"));
    assert_eq!(created("statefulsets", &named), [""; 0]);
    let mount = "/spec/template/spec/containers/0/volumeMounts/0/name";
    assert_eq!(
        created("statefulsets", &with(&database(), mount, json!("www"))),
        ["spec.template.spec.containers[0].volumeMounts[0].name: Not found: \"www\""]
    );
    let modes = "/spec/volumeClaimTemplates/0/spec/accessModes";
    assert_eq!(
        created("statefulsets", &with(&database(), modes, json!([]))),
        ["spec.volumeClaimTemplates[0].spec.accessModes: Required value: at least 1 access mode is required"]
    );
}

#[test]
fn a_stateful_set_stored_with_a_fault_can_still_be_scaled() {
    let faulty = with(&database(), "/spec/template/spec/containers/0/image", json!(null));
    let faulty = with(&faulty, "/spec/volumeClaimTemplates/0/spec/accessModes", json!([]));
    let faulty = with(&faulty, "/spec/serviceName", json!("a.b"));
    assert_eq!(updated("statefulsets", &with(&faulty, "/spec/replicas", json!(3)), &faulty), [""; 0]);
    let image = "/spec/template/spec/containers/0/image";
    assert_eq!(
        updated("statefulsets", &with(&database(), image, json!(null)), &database()),
        ["spec.template.spec.containers[0].image: Required value"]
    );
}

#[test]
fn strategies_of_stateful_sets() {
    for (pointer, value, expect) in [
        (
            "/spec/updateStrategy",
            json!({"type": "OnDelete", "rollingUpdate": {"partition": 1}}),
            "spec.updateStrategy.rollingUpdate: Invalid value: {\"partition\":1}: only allowed for updateStrategy 'RollingUpdate'",
        ),
        (
            "/spec/serviceName",
            json!("a.b"),
            "spec.serviceName: Invalid value: \"a.b\": must not contain dots",
        ),
    ] {
        assert_eq!(created("statefulsets", &with(&database(), pointer, value)), [expect], "{pointer}");
    }
    // The field is not served: a new object loses it, and an object that has it keeps it and has it checked.
    let none = with(
        &database(),
        "/spec/updateStrategy",
        json!({"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0}}),
    );
    assert_eq!(created("statefulsets", &none), [""; 0]);
    assert_eq!(
        updated("statefulsets", &none, &database()),
        ["spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: 0: cannot be 0"]
    );
    let plain = json!({"type": "OnDelete"});
    assert_eq!(created("statefulsets", &with(&database(), "/spec/updateStrategy", plain)), [""; 0]);
}

#[test]
fn a_template_may_leave_the_image_of_a_volume_open() {
    let volume = json!([{"name": "v", "image": {"pullPolicy": "Always"}}]);
    let open = with(&workload(), "/spec/template/spec/volumes", volume.clone());
    assert_eq!(created("deployments", &open), [""; 0]);
    let template =
        json!({"metadata": {"name": "t"}, "template": with(&template(), "/spec/volumes", volume.clone())});
    assert_eq!(created("podtemplates", &template), [""; 0]);
    let pod = json!({"metadata": {"name": "p"}, "spec": {
        "containers": [{"name": "a", "image": "b:1"}], "volumes": volume,
    }});
    assert_eq!(created("pods", &pod), ["spec.volumes[0].image.reference: Required value"]);
}

#[test]
fn statuses_hold_together() {
    let with_status = |status: Value| with(&database(), "/status", status);
    let old = with_status(json!({"replicas": 2, "collisionCount": 1}));
    assert_eq!(
        status_updated(
            "statefulsets",
            &with_status(json!({"replicas": 1, "readyReplicas": 2, "currentReplicas": -1})),
            &old
        ),
        [
            "status.currentReplicas: Invalid value: -1: must be greater than or equal to 0",
            "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas",
            "status.collisionCount: Invalid value: 0: cannot be decremented",
        ]
    );
    let sound = json!({"replicas": 2, "readyReplicas": 2, "availableReplicas": 1, "collisionCount": 1});
    assert_eq!(status_updated("statefulsets", &with_status(sound), &old), [""; 0]);
    let ready = json!({"replicas": 2, "readyReplicas": 1, "availableReplicas": 2, "collisionCount": 1});
    assert_eq!(
        status_updated("statefulsets", &with_status(ready), &old),
        ["status.availableReplicas: Invalid value: 2: cannot be greater than status.readyReplicas"]
    );
    let daemons = json!({"metadata": {"name": "d"}, "status": {"numberReady": -1}});
    assert_eq!(
        status_updated("daemonsets", &daemons, &json!({"metadata": {"name": "d"}})),
        ["status.numberReady: Invalid value: -1: must be greater than or equal to 0"]
    );
    let deployment = json!({"metadata": {"name": "d"}, "status": {"replicas": 1, "updatedReplicas": 2}});
    assert_eq!(
        status_updated("deployments", &deployment, &json!({"metadata": {"name": "d"}})),
        ["status.updatedReplicas: Invalid value: 2: cannot be greater than status.replicas"]
    );
}

#[test]
fn the_data_of_a_revision_stays() {
    let revision = json!({"metadata": {"name": "r"}, "data": {"a": 1}, "revision": 1});
    assert_eq!(created("controllerrevisions", &revision), [""; 0]);
    assert_eq!(
        created("controllerrevisions", &json!({"metadata": {"name": "r"}, "revision": -1})),
        [
            "revision: Invalid value: -1: must be greater than or equal to 0",
            "data: Required value: data is mandatory",
        ]
    );
    assert_eq!(updated("controllerrevisions", &with(&revision, "/revision", json!(2)), &revision), [""; 0]);
    assert_eq!(
        updated("controllerrevisions", &with(&revision, "/data/a", json!(2)), &revision),
        ["data: Invalid value: {\"a\":2}: field is immutable"]
    );
}
