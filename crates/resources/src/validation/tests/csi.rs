//! Drivers of volumes, attachments, capacities, and volumes that are no more than their size.

use super::*;

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

#[test]
fn drivers() {
    let driver = json!({"metadata": {"name": "d"}, "spec": {}});
    assert_eq!(created("csidrivers", &driver), [""; 0]);
    let spec = json!({"volumeLifecycleModes": ["X"], "fsGroupPolicy": "Y", "nodeAllocatableUpdatePeriodSeconds": 9,
        "tokenRequests": [{"audience": "a", "expirationSeconds": 1}, {"audience": "a"}]});
    assert_eq!(
        created("csidrivers", &with(&driver, "/spec", spec)),
        [
            "spec.fsGroupPolicy: Unsupported value: \"Y\": supported values: \"File\", \"None\", \"ReadWriteOnceWithFSType\"",
            "spec.tokenRequests[0].expirationSeconds: Invalid value: 1: may not specify a duration less than 10 minutes",
            "spec.tokenRequests[1].audience: Duplicate value: \"a\"",
            "spec.volumeLifecycleModes: Unsupported value: \"X\": supported values: \"Persistent\", \"Ephemeral\"",
            "spec.nodeAllocatableUpdatePeriodSeconds: Invalid value: 9: must be greater than or equal to 10 seconds",
        ]
    );
    let long = json!([{"audience": "a", "expirationSeconds": (1_i64 << 32) + 1}]);
    assert_eq!(
        created("csidrivers", &with(&driver, "/spec/tokenRequests", long)),
        [
            "spec.tokenRequests[0].expirationSeconds: Invalid value: 4294967297: may not specify a duration larger than 2^32 seconds"
        ]
    );
    assert_eq!(updated("csidrivers", &with(&driver, "/spec/podInfoOnMount", json!(true)), &driver), [""; 0]);
    assert_eq!(
        updated("csidrivers", &with(&driver, "/spec/attachRequired", json!(false)), &driver),
        ["spec.attachedRequired: Invalid value: false: field is immutable"]
    );
    assert_eq!(
        updated("csidrivers", &with(&driver, "/spec/volumeLifecycleModes", json!(["Ephemeral"])), &driver),
        ["spec.volumeLifecycleModes: Invalid value: [\"Ephemeral\"]: field is immutable"]
    );
}

#[test]
fn what_nodes_have_of_drivers() {
    let node = |drivers: Value| json!({"metadata": {"name": "n"}, "spec": {"drivers": drivers}});
    let sound =
        node(json!([{"name": "d", "nodeID": "1", "topologyKeys": ["a", "b"], "allocatable": {"count": 1}}]));
    assert_eq!(created("csinodes", &sound), [""; 0]);
    let wrong = json!([{"name": "", "nodeID": "", "allocatable": {"count": -1}, "topologyKeys": ["a", "a", "-"]},
        {"name": "", "nodeID": "x".repeat(257)}]);
    let told = created("csinodes", &node(wrong));
    assert_eq!(
        told[..4],
        [
            format!("spec.drivers[0].name: Invalid value: \"\": {SUBDOMAIN}"),
            "spec.drivers[0].nodeID: Required value".to_owned(),
            "spec.drivers[0].allocatable.count: Invalid value: -1: must be greater than or equal to 0"
                .to_owned(),
            "spec.drivers[0]: Duplicate value: \"a\"".to_owned(),
        ]
    );
    assert!(
        told[4].starts_with("spec.drivers[0]: Invalid value: \"-\": name part must consist of"),
        "{told:?}"
    );
    assert!(told[6].ends_with("must be 256 characters or less"), "{told:?}");
    assert_eq!(told[7], "spec.drivers[1].name: Duplicate value: \"\"");
    let more = with(&sound, "/spec/drivers/0/allocatable/count", json!(2));
    assert_eq!(updated("csinodes", &more, &sound), [""; 0]);
    let told = updated("csinodes", &with(&sound, "/spec/drivers/0/nodeID", json!("2")), &sound);
    assert!(told[0].starts_with("spec.drivers: Invalid value: {"), "{told:?}");
    assert!(told[0].ends_with("field is immutable"), "{told:?}");
}

#[test]
fn attachments() {
    let whole = json!({"metadata": {"name": "a"}, "spec": {
        "attacher": "d.example.com", "nodeName": "n", "source": {"persistentVolumeName": "v"}}});
    assert_eq!(created("volumeattachments", &whole), [""; 0]);
    let subdomain = |field: &str| format!("spec.{field}: Invalid value: \"\": {SUBDOMAIN}");
    assert_eq!(
        created("volumeattachments", &with(&whole, "/spec", json!({"source": {}}))),
        [
            "spec.attacher: Required value".to_owned(),
            "spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName"
                .to_owned(),
            subdomain("nodeName"),
            subdomain("attacher"),
        ]
    );
    let inline = json!({"inlineVolumeSpec": {"capacity": {"storage": "1Gi"}, "hostPath": {"path": "/a"},
        "accessModes": ["ReadWriteOnce"], "persistentVolumeReclaimPolicy": "Delete", "storageClassName": "c",
        "volumeMode": "Block", "claimRef": {}, "nodeAffinity": {}}});
    let inside = |key: &str, why: &str| format!("spec.source.inlineVolumeSpec.{key}: {why}");
    let no = "Forbidden: may not be specified in the context of inline volumes";
    assert_eq!(
        created("volumeattachments", &with(&whole, "/spec/source", inline)),
        [
            inside("claimRef", no),
            inside("capacity", no),
            inside("csi", "Required value: has to be specified in the context of inline volumes"),
            inside(
                "persistentVolumeReclaimPolicy",
                "Forbidden: may only be Retain in the context of inline volumes"
            ),
            inside("nodeAffinity", no),
            inside("storageClassName", no),
            inside(
                "volumeMode",
                "Forbidden: may not specify volumeMode other than Filesystem in the context of inline volumes"
            ),
        ]
    );
    let told = updated("volumeattachments", &with(&whole, "/spec/nodeName", json!("other")), &whole);
    assert!(told[0].starts_with("spec: Invalid value: {"), "{told:?}");
    let error = json!({"attachError": {"message": "m".repeat(1025), "errorCode": -1}});
    assert_eq!(
        status_updated("volumeattachments", &with(&whole, "/status", error), &whole),
        [
            "status.attachError.message: Too long: may not be more than 262144 bytes",
            "status.attachError.errorCode: Invalid value: -1: must be between 0 and 2147483647, inclusive",
        ]
    );
}

#[test]
fn capacities() {
    let whole = json!({"metadata": {"name": "c"}, "storageClassName": "s", "capacity": "1Gi",
        "nodeTopology": {"matchLabels": {"a": "b"}}});
    assert_eq!(created("csistoragecapacities", &whole), [""; 0]);
    let wrong = with(&with(&whole, "/storageClassName", json!("")), "/capacity", json!("-1"));
    assert_eq!(
        created("csistoragecapacities", &wrong),
        [
            format!("storageClassName: Invalid value: \"\": {SUBDOMAIN}"),
            "capacity: Invalid value: \"-1\": must be greater than or equal to 0".to_owned(),
        ]
    );
    assert_eq!(
        updated("csistoragecapacities", &with(&whole, "/storageClassName", json!("t")), &whole),
        ["storageClassName: Invalid value: \"t\": field is immutable"]
    );
}

#[test]
fn a_volume_has_a_size_and_nothing_else() {
    let volume = json!({"metadata": {"name": "v"}, "spec": {
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/data"},
    }});
    let said = |pointer: &str, value: Value| created("persistentvolumes", &with(&volume, pointer, value));
    assert_eq!(
        said("/spec/capacity", json!({"cpu": "1", "storage": "1Gi"})),
        [
            "spec.capacity: Unsupported value: {\"cpu\":\"1\",\"storage\":\"1Gi\"}: supported values: \"storage\""
        ]
    );
    assert_eq!(said("/spec/capacity", json!({}))[0], "spec.capacity: Required value");
    assert_eq!(
        said("/spec/nodeAffinity", json!({})),
        ["spec.nodeAffinity.required: Required value: must specify required node constraints"]
    );
    assert_eq!(
        said("/spec/volumeAttributesClassName", json!("")),
        [
            "spec.volumeAttributesClassName: Required value: an empty string is disallowed",
            "spec.csi: Required value: has to be specified when using volumeAttributesClassName",
        ]
    );
    let local = with(&with(&volume, "/spec/hostPath", json!(null)), "/spec/local", json!({"path": "/data"}));
    assert_eq!(
        created("persistentvolumes", &local),
        ["metadata.annotations: Required value: Local volume requires node affinity"]
    );
    let root = with(&volume, "/spec/hostPath/path", json!("/"));
    assert_eq!(
        created("persistentvolumes", &with(&root, "/spec/persistentVolumeReclaimPolicy", json!("Recycle"))),
        ["spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'"]
    );
}

#[test]
fn what_a_class_tells_its_driver() {
    let class = json!({"metadata": {"name": "c"}, "provisioner": "example.com/disk"});
    assert_eq!(
        created("storageclasses", &with(&class, "/parameters", json!({"": "a"}))),
        ["parameters: Invalid value: \"\": field can not be empty."]
    );
    let many: serde_json::Map<String, Value> = (0..513).map(|i| (format!("k{i}"), json!("v"))).collect();
    assert_eq!(
        created("storageclasses", &with(&class, "/parameters", many.into())),
        ["parameters: Too long: may not be more than 512 bytes"]
    );
    let term = json!({"matchLabelExpressions": [{"key": "a", "values": ["b"]}]});
    assert_eq!(created("storageclasses", &with(&class, "/allowedTopologies", json!([term]))), [""; 0]);
    let wrong = json!([term, term, {"matchLabelExpressions": [
        {"key": "a", "values": []}, {"key": "a", "values": ["c", "c"]}]}]);
    assert_eq!(
        created("storageclasses", &with(&class, "/allowedTopologies", wrong)),
        [
            "allowedTopologies[1].matchLabelExpressions: Duplicate value: \"\"",
            "allowedTopologies[2].matchLabelExpressions[0].values: Required value",
            "allowedTopologies[2].matchLabelExpressions[1].values[1]: Duplicate value: \"c\"",
            "allowedTopologies[2].matchLabelExpressions[1].key: Duplicate value: \"a\"",
        ]
    );
}
