//! Claims, classes and slices of devices.

use super::*;

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";

fn claim() -> Value {
    json!({"metadata": {"name": "c"}, "spec": {"devices": {
        "requests": [
            {"name": "a", "exactly": {"deviceClassName": "gpu", "selectors": [
                {"cel": {"expression": "device.driver == 'example.com'"}}]}},
            {"name": "b", "firstAvailable": [{"name": "big", "deviceClassName": "gpu"}]},
        ],
        "constraints": [{"requests": ["a", "b/big"], "matchAttribute": "example.com/numa"}],
        "config": [{"requests": ["a"], "opaque": {"driver": "example.com", "parameters": {"x": 1}}}],
    }}})
}

#[test]
fn claims_are_judged_request_by_request() {
    assert_eq!(created("resourceclaims", &claim()), [""; 0]);
    let request = "/spec/devices/requests/0";
    let exactly = |field: &str| format!("{request}/exactly/{field}");
    for (pointer, value, expect) in [
        (
            "/spec/devices/requests/-".to_owned(),
            json!({"name": "a", "exactly": {"deviceClassName": "gpu"}}),
            "spec.devices.requests[2]: Duplicate value: \"a\"".to_owned(),
        ),
        (
            format!("{request}/exactly"),
            json!(null),
            "spec.devices.requests[0]: Required value: exactly one of `exactly` or `firstAvailable` is required"
                .to_owned(),
        ),
        (
            exactly("deviceClassName"),
            json!(""),
            "spec.devices.requests[0].exactly.deviceClassName: Required value".to_owned(),
        ),
        (
            exactly("allocationMode"),
            json!("X"),
            "spec.devices.requests[0].exactly.allocationMode: Unsupported value: \"X\": supported values: \"All\", \"ExactCount\""
                .to_owned(),
        ),
        (
            exactly("count"),
            json!(-1),
            "spec.devices.requests[0].exactly.count: Invalid value: -1: must be greater than zero".to_owned(),
        ),
        (
            exactly("tolerations"),
            json!([{"operator": "Exists", "value": "v"}]),
            "spec.devices.requests[0].exactly.tolerations[0].value: Invalid value: \"v\": must be empty for operator `Exists`"
                .to_owned(),
        ),
    ] {
        assert_eq!(created("resourceclaims", &with(&claim(), &pointer, value)), [expect], "{pointer}");
    }
    let renamed = created("resourceclaims", &with(&claim(), &format!("{request}/name"), json!("A_")));
    assert_eq!(renamed[0], format!("spec.devices.requests[0].name: Invalid value: \"A_\": {LABEL}"));
    let broken = with(&claim(), &exactly("selectors/0/cel/expression"), json!("1 +"));
    let told = created("resourceclaims", &broken);
    assert!(
        told[0].starts_with(
            "spec.devices.requests[0].exactly.selectors[0].cel.expression: Invalid value: \"1 +\":"
        ),
        "{told:?}"
    );
    let many: Vec<Value> =
        (0..33).map(|i| json!({"name": format!("a{i}"), "exactly": {"deviceClassName": "g"}})).collect();
    let told = created(
        "resourceclaims",
        &json!({"metadata": {"name": "c"}, "spec": {"devices": {"requests": many}}}),
    );
    assert_eq!(told, ["spec.devices.requests: Too many: 33: must have at most 32 items"]);
}

#[test]
fn constraints_and_settings_are_about_requests() {
    let nothing = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";
    for (pointer, value, expect) in [
        (
            "/spec/devices/constraints/0/requests/0".to_owned(),
            json!("z"),
            format!("spec.devices.constraints[0].requests[0]: Invalid value: \"z\": {nothing}"),
        ),
        (
            "/spec/devices/constraints/0/matchAttribute".to_owned(),
            json!("numa"),
            "spec.devices.constraints[0].matchAttribute: Invalid value: \"numa\": a fully qualified name must be a domain and a name separated by a slash"
                .to_owned(),
        ),
        (
            "/spec/devices/config/0/opaque".to_owned(),
            json!(null),
            "spec.devices.config[0].opaque: Required value".to_owned(),
        ),
        (
            "/spec/devices/config/0/opaque/parameters".to_owned(),
            json!([]),
            "spec.devices.config[0].opaque.parameters: Invalid value: \"<value omitted>\": must be a valid JSON object"
                .to_owned(),
        ),
    ] {
        assert_eq!(created("resourceclaims", &with(&claim(), &pointer, value)), [expect], "{pointer}");
    }
}

#[test]
fn what_is_claimed_stays() {
    let changed = with(&claim(), "/spec/devices/requests/0/name", json!("z"));
    for (plural, new, old) in [
        ("resourceclaims", changed.clone(), claim()),
        (
            "resourceclaimtemplates",
            json!({"metadata": {"name": "t"}, "spec": {"spec": changed["spec"]}}),
            json!({"metadata": {"name": "t"}, "spec": {"spec": claim()["spec"]}}),
        ),
    ] {
        assert_eq!(created(plural, &old), [""; 0]);
        let told = updated(plural, &new, &old);
        assert!(
            told[0].starts_with("spec: Invalid value: {") && told[0].ends_with("field is immutable"),
            "{told:?}"
        );
    }
    let status =
        |status: Value| status_updated("resourceclaims", &with(&claim(), "/status", status), &claim());
    let result = json!({"request": "a", "driver": "example.com", "pool": "p", "device": "d"});
    let consumer = json!({"resource": "pods", "name": "p", "uid": "1"});
    let sound = json!({"allocation": {"devices": {"results": [result]}}, "reservedFor": [consumer]});
    assert_eq!(status(sound), [""; 0]);
    assert_eq!(
        status(json!({"reservedFor": [{"resource": "", "name": "p", "uid": "1"}]})),
        [
            "status.reservedFor[0].resource: Required value",
            "status.reservedFor: Forbidden: may not be specified when `allocated` is not set",
        ]
    );
    let elsewhere = json!({"allocation": {"devices": {"results": [with(&result, "/pool", json!(""))]}}});
    assert_eq!(status(elsewhere), ["status.allocation.devices.results[0].pool: Required value"]);
}

#[test]
fn classes_say_which_devices() {
    let class = |spec: Value| created("deviceclasses", &json!({"metadata": {"name": "c"}, "spec": spec}));
    assert_eq!(
        class(json!({"selectors": [{"cel": {"expression": "true"}}], "extendedResourceName": "a.b/c"})),
        [""; 0]
    );
    assert_eq!(
        class(json!({"selectors": [{}], "extendedResourceName": "cpu"})),
        [
            "spec.selectors[0].cel: Required value",
            "spec.extendedResourceName: Invalid value: \"cpu\": must be a valid extended resource name",
        ]
    );
}

#[test]
fn slices_of_devices() {
    let slice = json!({"metadata": {"name": "s"}, "spec": {"driver": "example.com", "nodeName": "n",
        "pool": {"name": "p", "resourceSliceCount": 1},
        "devices": [{"name": "d", "attributes": {"model": {"string": "a"}, "example.com/v": {"version": "1.0.0"}},
            "capacity": {"memory": {"value": "1Gi"}}, "taints": [{"key": "a", "effect": "NoSchedule"}]}]}});
    assert_eq!(created("resourceslices", &slice), [""; 0]);
    for (pointer, value, expect) in [
        ("/spec/driver", json!(""), "spec.driver: Required value"),
        ("/spec/pool/name", json!(""), "spec.pool.name: Required value"),
        (
            "/spec/pool/resourceSliceCount",
            json!(0),
            "spec.pool.resourceSliceCount: Invalid value: 0: must be greater than zero",
        ),
        (
            "/spec/nodeName",
            json!(null),
            "spec: Required value: exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required",
        ),
        (
            "/spec/allNodes",
            json!(true),
            "spec: Invalid value: \"{`nodeName`, `allNodes`}\": exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required, but multiple fields are set",
        ),
        (
            "/spec/devices/0/attributes/model",
            json!({}),
            "spec.devices[0].attributes[model]: Invalid value: \"\": exactly one value must be specified",
        ),
        (
            "/spec/devices/0/attributes/model",
            json!({"version": "1"}),
            "spec.devices[0].attributes[model].version: Invalid value: \"1\": must be a string compatible with semver.org spec 2.0.0",
        ),
        (
            "/spec/devices/0/taints/0/effect",
            json!("X"),
            "spec.devices[0].taints[0].effect: Unsupported value: \"X\": supported values: \"NoExecute\", \"NoSchedule\", \"None\"",
        ),
        (
            "/spec/devices/0/allNodes",
            json!(true),
            "spec.devices[0]: Invalid value: null: `nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec",
        ),
        ("/spec/devices/-", json!({"name": "d"}), "spec.devices[1]: Duplicate value: \"d\""),
    ] {
        assert_eq!(created("resourceslices", &with(&slice, pointer, value)), [expect], "{pointer}");
    }
    assert_eq!(
        updated("resourceslices", &with(&slice, "/spec/nodeName", json!("m")), &slice),
        ["spec.nodeName: Invalid value: \"m\": field is immutable"]
    );
}
