//! Volumes, claims, classes.

use super::*;

fn claim() -> Value {
    json!({
        "metadata": {"name": "c", "namespace": "ns"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    })
}

#[test]
fn claims() {
    assert_eq!(created("persistentvolumeclaims", &claim()), [""; 0]);
    for (pointer, value, expect) in [
        (
            "/spec/accessModes",
            json!([]),
            "spec.accessModes: Required value: at least 1 access mode is required",
        ),
        (
            "/spec/accessModes",
            json!(["Mine"]),
            "spec.accessModes: Unsupported value: \"Mine\": supported values: \"ReadOnlyMany\", \"ReadWriteMany\", \"ReadWriteOnce\", \"ReadWriteOncePod\"",
        ),
        ("/spec/resources/requests", json!({}), "spec.resources[storage]: Required value"),
        (
            "/spec/resources/requests/storage",
            json!("0"),
            "spec.resources[storage]: Invalid value: \"0\": must be greater than zero",
        ),
    ] {
        assert_eq!(created("persistentvolumeclaims", &with(&claim(), pointer, value)), [expect], "{pointer}");
    }
}

#[test]
fn a_bound_claim_may_only_grow() {
    let bound = with(&claim(), "/spec/volumeName", json!("v"));
    assert_eq!(updated("persistentvolumeclaims", &bound, &claim()), [""; 0]);
    let bound = with(&bound, "/status", json!({"phase": "Bound", "capacity": {"storage": "1Gi"}}));
    let sized = |size: &str| with(&bound, "/spec/resources/requests/storage", json!(size));
    assert_eq!(updated("persistentvolumeclaims", &sized("2Gi"), &bound), [""; 0]);
    assert_eq!(
        updated("persistentvolumeclaims", &sized("1Mi"), &bound),
        ["spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"]
    );
    let said = updated(
        "persistentvolumeclaims",
        &with(&bound, "/spec/accessModes", json!(["ReadOnlyMany"])),
        &bound,
    );
    assert!(said[0].starts_with("spec: Forbidden: spec is immutable after creation except"), "{said:?}");
}

#[test]
fn an_expansion_that_failed_is_taken_back_to_more_than_there_is() {
    let given = json!({"phase": "Bound", "capacity": {"storage": "1Gi"}});
    let claim = with(&with(&claim(), "/spec/volumeName", json!("v")), "/status", given);
    let sized = |size: &str| with(&claim, "/spec/resources/requests/storage", json!(size));
    assert_eq!(updated("persistentvolumeclaims", &sized("2Gi"), &sized("3Gi")), [""; 0]);
    assert_eq!(
        updated("persistentvolumeclaims", &sized("1Gi"), &sized("3Gi")),
        ["spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"]
    );
}

#[test]
fn volumes_and_classes() {
    let volume = json!({"metadata": {"name": "v"}, "spec": {
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/data"},
    }});
    assert_eq!(created("persistentvolumes", &volume), [""; 0]);
    let without = created("persistentvolumes", &with(&volume, "/spec/hostPath", json!(null)));
    assert_eq!(without, ["spec: Required value: must specify a volume type"]);
    let class = json!({"metadata": {"name": "c"}, "provisioner": "example.com/disk"});
    assert_eq!(created("storageclasses", &class), [""; 0]);
    assert_eq!(
        created("storageclasses", &with(&class, "/provisioner", json!(""))),
        ["provisioner: Required value"]
    );
    assert_eq!(
        updated("storageclasses", &with(&class, "/provisioner", json!("b")), &class),
        ["provisioner: Forbidden: updates to provisioner are forbidden."]
    );
}

#[test]
fn a_volumes_data_stay_where_they_are() {
    let affinity = json!({"required": {"nodeSelectorTerms": [{"matchExpressions": [
        {"key": "kubernetes.io/hostname", "operator": "In", "values": ["n1"]}]}]}});
    let old = json!({"metadata": {"name": "v"}, "spec": {"capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"], "persistentVolumeReclaimPolicy": "Retain", "volumeMode": "Filesystem",
        "local": {"path": "/data"}, "nodeAffinity": affinity}});
    let changed =
        |pointer: &str, value: Value| updated("persistentvolumes", &with(&old, pointer, value), &old);
    assert_eq!(changed("/spec/capacity/storage", json!("2Gi")), [""; 0]);
    assert_eq!(changed("/spec/persistentVolumeReclaimPolicy", json!("Delete")), [""; 0]);
    assert_eq!(
        changed("/spec/local/path", json!("/other")),
        ["spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation"]
    );
    assert_eq!(
        changed("/spec/volumeMode", json!("Block")),
        ["volumeMode: Invalid value: \"Block\": field is immutable"]
    );
    let moved = json!(["n2"]);
    let said = changed("/spec/nodeAffinity/required/nodeSelectorTerms/0/matchExpressions/0/values", moved);
    assert!(said[0].starts_with("nodeAffinity: Invalid value:"), "{said:?}");
    assert!(said[0].ends_with("field is immutable, except for updating from beta label to GA"), "{said:?}");
}
