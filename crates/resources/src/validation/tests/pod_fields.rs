//! Fields of a pod's specification that depend on others.

use super::*;

/// What is said of a pod with some more fields in its specification.
fn said(more: Value) -> Vec<String> {
    annotated(json!({}), more)
}

fn annotated(annotations: Value, more: Value) -> Vec<String> {
    let mut spec = json!({"containers": [{"name": "a", "image": "i:1"}]});
    for (key, value) in more.as_object().expect("an object") {
        spec[key] = value.clone();
    }
    created("pods", &json!({"metadata": {"name": "p", "annotations": annotations}, "spec": spec}))
}

fn container(more: Value) -> Value {
    let mut container = json!({"name": "a", "image": "i:1"});
    for (key, value) in more.as_object().expect("an object") {
        container[key] = value.clone();
    }
    container
}

#[test]
fn a_host_name_of_the_authors_own() {
    assert_eq!(said(json!({"hostnameOverride": "a.b"})), [""; 0]);
    assert_eq!(
        said(json!({"hostnameOverride": "a".repeat(65), "setHostnameAsFQDN": true})),
        [
            "spec.hostnameOverride: Forbidden: may not be specified when setHostnameAsFQDN is true",
            "spec.hostnameOverride: Too long: may not be more than 64 bytes",
        ]
    );
}

#[test]
fn what_a_system_does_not_have() {
    assert_eq!(said(json!({"os": {"name": ""}})), ["spec.os.name: Required value"]);
    assert_eq!(
        said(json!({"os": {"name": "plan9"}})),
        ["spec.os: Unsupported value: \"plan9\": supported values: \"linux\", \"windows\""]
    );
    let options = json!({"windowsOptions": {"runAsUserName": "a"}});
    assert_eq!(
        said(json!({"os": {"name": "linux"}, "securityContext": options})),
        ["spec.securityContext.windowsOptions: Forbidden: windows options cannot be set for a linux pod"]
    );
    let privileged = container(json!({"securityContext": {"privileged": true}}));
    assert_eq!(
        said(json!({"os": {"name": "windows"}, "hostPID": true, "securityContext": {"fsGroup": 1},
            "containers": [privileged], "resources": {"limits": {"cpu": "1"}}})),
        [
            "spec.resources: Forbidden: may not be set for a windows pod",
            "spec.securityContext.fsGroup: Forbidden: cannot be set for a windows pod",
            "spec.hostPID: Forbidden: cannot be set for a windows pod",
            "spec.containers[0].securityContext.privileged: Forbidden: cannot be set for a windows pod",
        ]
    );
}

#[test]
fn users_of_windows() {
    let user = |name: &str| said(json!({"securityContext": {"windowsOptions": {"runAsUserName": name}}}));
    for name in ["Administrator", r"corp.example.com\admin", r"CORP\admin user"] {
        assert_eq!(user(name), [""; 0], "{name}");
    }
    for (name, why) in [
        ("", "runAsUserName cannot be an empty string"),
        (r"a\b\c", "runAsUserName cannot contain more than one backslash"),
        ("..", "runAsUserName's User cannot contain only periods or spaces"),
        ("a@b", r#"runAsUserName's User cannot contain the following characters: "/\:;|=,+*?<>@[]"#),
        (r".a:\b", "runAsUserName's Domain doesn't match the NetBios nor the DNS format"),
    ] {
        let shown = Value::from(name);
        let expect =
            format!("spec.securityContext.windowsOptions.runAsUserName: Invalid value: {shown}: {why}");
        assert_eq!(user(name), [expect]);
    }
    let process = container(json!({"securityContext": {"windowsOptions": {"hostProcess": true}}}));
    assert_eq!(
        said(json!({"containers": [process, {"name": "b", "image": "i:1"}]})),
        [
            "spec: Invalid value: \"\": If pod contains any hostProcess containers then all containers must be HostProcess containers",
            "spec.hostNetwork: Invalid value: false: hostNetwork must be true if pod contains any hostProcess containers",
        ]
    );
}

#[test]
fn signals_belong_to_a_system() {
    let stopped = |os: Value, signal: &str| {
        said(json!({"os": os, "containers": [container(json!({"lifecycle": {"stopSignal": signal}}))]}))
    };
    assert_eq!(stopped(json!({"name": "linux"}), "SIGUSR1"), [""; 0]);
    assert_eq!(
        stopped(json!({"name": "windows"}), "SIGUSR1"),
        [
            "spec.containers[0].lifecycle.stopSignal: Unsupported value: \"SIGUSR1\": supported values: \"SIGKILL\", \"SIGTERM\""
        ]
    );
    assert_eq!(
        stopped(Value::Null, "SIGTERM"),
        [
            "spec.containers[0].lifecycle.stopSignal: Forbidden: may not be set for containers with empty `spec.os.name`"
        ]
    );
}

#[test]
fn rules_of_restarts() {
    let with = |policy: Value, rule: Value| {
        said(
            json!({"containers": [container(json!({"restartPolicy": policy, "restartPolicyRules": [rule]}))]}),
        )
    };
    let codes = json!({"operator": "In", "values": [3]});
    assert_eq!(with("Never".into(), json!({"action": "Restart", "exitCodes": codes})), [""; 0]);
    assert_eq!(
        with(Value::Null, json!({"action": "Stop"})),
        [
            "spec.containers[0].restartPolicy: Required value: must specify restartPolicy when restart rules are used",
            "spec.containers[0].restartPolicyRules[0].action: Unsupported value: \"Stop\": supported values: \"Restart\", \"RestartAllContainers\"",
            "spec.containers[0].restartPolicyRules[0].exitCodes: Required value: must be specified",
        ]
    );
    let init = |policy: Value| {
        let rule = json!({"action": "RestartAllContainers", "exitCodes": codes});
        let mut init = container(json!({"restartPolicy": policy, "restartPolicyRules": [rule]}));
        init["name"] = "i".into();
        said(json!({"initContainers": [init]}))
    };
    assert_eq!(init("Always".into()), [""; 0], "sidecars have rules, too");
    assert_eq!(
        init(Value::Null),
        [
            "spec.initContainers[0].restartPolicy: Required value: must specify restartPolicy when restart rules are used"
        ]
    );
    let mut init =
        container(json!({"resizePolicy": [{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]}));
    init["name"] = "i".into();
    assert_eq!(
        said(json!({"initContainers": [init]})),
        [
            "spec.initContainers[0].resizePolicy[0].restartPolicy: Invalid value: \"RestartContainer\": must not be set to 'RestartContainer' for non-sidecar initContainers"
        ]
    );
}

#[test]
fn a_pods_own_resources_cover_its_containers() {
    let with = |whole: Value, own: Value| {
        said(json!({"resources": whole, "containers": [container(json!({"resources": own}))]}))
    };
    assert_eq!(
        with(json!({"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}), json!({"requests": {"cpu": "1"}})),
        [""; 0]
    );
    assert_eq!(
        with(
            json!({"requests": {"cpu": "500m"}, "limits": {"cpu": "1"}}),
            json!({"requests": {"cpu": "1"}, "limits": {"cpu": "2"}})
        ),
        [
            "spec.resources.requests[cpu]: Invalid value: \"500m\": must be greater than or equal to aggregate container requests of 1",
            "spec.resources.containers[0][cpu].limits: Invalid value: \"2\": must be less than or equal to pod limits of 1",
        ]
    );
    assert_eq!(
        said(json!({"overhead": {"gpu": "1"}})),
        [
            "spec.overhead.limits[gpu]: Invalid value: \"gpu\": must be a standard resource type or fully qualified",
            "spec.overhead.limits[gpu]: Invalid value: \"gpu\": must be a standard resource for containers",
        ]
    );
}

#[test]
fn users_of_the_pods_own_and_what_is_of_the_host() {
    let devices = container(json!({"volumeDevices": [{"name": "v", "devicePath": "/d"}]}));
    let volumes = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]);
    assert_eq!(
        said(json!({"hostUsers": false, "hostIPC": true, "containers": [devices], "volumes": volumes})),
        [
            "spec.HostIPC: Forbidden: when `hostUsers` is false",
            "spec.containers[0].volumeDevices: Forbidden: when `hostUsers` is false",
        ]
    );
    assert_eq!(
        said(json!({"hostPID": true, "shareProcessNamespace": true})),
        [
            "spec.securityContext.shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID cannot both be enabled"
        ]
    );
}

#[test]
fn variables_from_files_and_fields() {
    let env = |source: Value, volumes: Value| {
        let variable = json!({"name": "A", "valueFrom": source});
        said(json!({"containers": [container(json!({"env": [variable]}))], "volumes": volumes}))
    };
    let file = json!({"fileKeyRef": {"volumeName": "v", "path": "f", "key": "K"}});
    assert_eq!(env(file.clone(), json!([{"name": "v", "emptyDir": {}}])), [""; 0]);
    let at = "spec.containers[0].env[0].valueFrom";
    assert_eq!(env(file.clone(), json!([])), [format!("{at}.fileKeyRef.volumeName: Not found: \"v\"")]);
    assert_eq!(
        env(file, json!([{"name": "v", "configMap": {"name": "c"}}])),
        [format!(
            "{at}.fileKeyRef.volumeName: Invalid value: \"v\": referenced volume must be of type emptyDir"
        )]
    );
    assert_eq!(
        env(json!({"fieldRef": {"fieldPath": "spec.x['y']"}}), json!([])),
        [format!(
            "{at}.fieldRef.fieldPath: Invalid value: \"spec.x['y']\": error converting fieldPath: field label does not support subscript: spec.x['y']"
        )]
    );
}

#[test]
fn keys_of_the_pods_own_labels() {
    let spread = |more: Value| {
        let mut constraint = json!({"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"});
        for (key, value) in more.as_object().expect("an object") {
            constraint[key] = value.clone();
        }
        let pod = json!({"metadata": {"name": "p", "labels": {"k": "v"}}, "spec": {
            "containers": [{"name": "a", "image": "i:1"}], "topologySpreadConstraints": [constraint]}});
        created("pods", &pod)
    };
    assert_eq!(spread(json!({"matchLabelKeys": ["k"], "labelSelector": {}})), [""; 0]);
    assert_eq!(
        spread(json!({"matchLabelKeys": ["k"]})),
        [
            "spec.topologySpreadConstraints[0].matchLabelKeys: Forbidden: must not be specified when labelSelector is not set"
        ]
    );
    assert_eq!(
        spread(json!({"matchLabelKeys": ["k"], "labelSelector": {"matchLabels": {"k": "v"}}})),
        [
            "spec.topologySpreadConstraints[0][0]: Invalid value: \"k\": exists in both matchLabelKeys and labelSelector"
        ]
    );
}

#[test]
fn annotations_that_mean_something() {
    assert_eq!(
        annotated(json!({"controller.kubernetes.io/pod-deletion-cost": "+1"}), json!({})),
        [
            "metadata.annotations[controller.kubernetes.io/pod-deletion-cost]: Invalid value: \"+1\": must be a 32bit integer"
        ]
    );
    assert_eq!(
        annotated(json!({"seccomp.security.alpha.kubernetes.io/pod": "x"}), json!({})),
        [
            "metadata.annotations.seccomp.security.alpha.kubernetes.io/pod: Invalid value: \"x\": must be a valid seccomp profile"
        ]
    );
    let key = "container.apparmor.security.beta.kubernetes.io/b";
    assert_eq!(
        annotated(json!({ key: "x" }), json!({})),
        [
            format!("metadata.annotations[{key}]: Invalid value: \"b\": container not found"),
            format!(
                "metadata.annotations[{key}]: Invalid value: \"x\": invalid AppArmor profile name: \"x\""
            ),
        ]
    );
    let fields = json!({"seccompProfile": {"type": "Unconfined"}, "appArmorProfile": {"type": "Localhost", "localhostProfile": "p"}});
    let both = json!({"seccomp.security.alpha.kubernetes.io/pod": "runtime/default",
        "container.apparmor.security.beta.kubernetes.io/a": "localhost/q"});
    assert_eq!(
        annotated(both, json!({"securityContext": fields})),
        [
            "spec.securityContext.seccompProfile.type: Forbidden: seccomp type in annotation and field must match",
            "spec.containers[0].securityContext.appArmorProfile.localhostProfile: Forbidden: apparmor profile in annotation and field must match",
        ]
    );
}
