//! Pods.

use super::*;

fn pod() -> Value {
    json!({
        "metadata": {"name": "p", "namespace": "ns"},
        "spec": {
            "containers": [{"name": "a", "image": "nginx:1", "ports": [{"containerPort": 80}], "env": []}],
            "volumes": [{"name": "v"}],
        },
    })
}

/// One change of a pod that is fine, and what is said of it.
fn check(pointer: &str, value: Value, expect: &[&str]) {
    assert_eq!(created("pods", &with(&pod(), pointer, value)), expect, "{pointer}");
}

#[test]
fn a_sound_pod_is_taken() {
    assert!(created("pods", &pod()).is_empty());
}

#[test]
fn the_spec() {
    check("/spec/containers", json!([]), &["spec.containers: Required value"]);
    check(
        "/spec/restartPolicy",
        json!("Sometimes"),
        &[
            "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"OnFailure\", \"Never\"",
        ],
    );
    check(
        "/spec/dnsPolicy",
        json!("X"),
        &[
            "spec.dnsPolicy: Unsupported value: \"X\": supported values: \"ClusterFirstWithHostNet\", \"ClusterFirst\", \"Default\", \"None\"",
        ],
    );
    check(
        "/spec/activeDeadlineSeconds",
        json!(0),
        &["spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"],
    );
    check(
        "/spec/ephemeralContainers",
        json!([{"name": "e", "image": "x"}]),
        &["spec.ephemeralContainers: Forbidden: cannot be set on create"],
    );
    check(
        "/spec/tolerations",
        json!([{"operator": "Equal"}]),
        &[
            "spec.tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
        ],
    );
    check(
        "/spec/hostAliases",
        json!([{"ip": "1.2.3", "hostnames": ["a"]}]),
        &[
            "spec.hostAliases[0].ip: Invalid value: \"1.2.3\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
        ],
    );
    check(
        "/spec/nodeSelector",
        json!({"a": "b c"}),
        &[
            "spec.nodeSelector: Invalid value: \"b c\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
        ],
    );
}

#[test]
fn containers() {
    check("/spec/containers/0/name", json!(null), &["spec.containers[0].name: Required value"]);
    check("/spec/containers/0/image", json!(null), &["spec.containers[0].image: Required value"]);
    check(
        "/spec/containers/0/image",
        json!(" x"),
        &["spec.containers[0].image: Invalid value: \" x\": must not have leading or trailing whitespace"],
    );
    check(
        "/spec/containers/-",
        json!({"name": "a", "image": "b:1"}),
        &["spec.containers[1].name: Duplicate value: \"a\""],
    );
    check(
        "/spec/containers/0/name",
        json!("A"),
        &[
            "spec.containers[0].name: Invalid value: \"A\": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
        ],
    );
    check(
        "/spec/containers/0/ports/0/containerPort",
        json!(70000),
        &[
            "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive",
        ],
    );
    check(
        "/spec/containers/0/ports/0/protocol",
        json!("tcp"),
        &[
            "spec.containers[0].ports[0].protocol: Unsupported value: \"tcp\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
        ],
    );
    check(
        "/spec/containers/0/imagePullPolicy",
        json!("X"),
        &[
            "spec.containers[0].imagePullPolicy: Unsupported value: \"X\": supported values: \"Always\", \"IfNotPresent\", \"Never\"",
        ],
    );
    check(
        "/spec/containers/0/resources",
        json!({"limits": {"memory": "1Mi"}, "requests": {"memory": "1Gi"}}),
        &[
            "spec.containers[0].resources.requests: Invalid value: \"1Gi\": must be less than or equal to memory limit of 1Mi",
        ],
    );
    check(
        "/spec/containers/0/resources",
        json!({"limits": {"gpu": "1"}}),
        &[
            "spec.containers[0].resources.limits[gpu]: Invalid value: \"gpu\": must be a standard resource type or fully qualified",
            "spec.containers[0].resources.limits[gpu]: Invalid value: \"gpu\": must be a standard resource for containers",
            "spec.containers[0].resources.requests[gpu]: Invalid value: \"gpu\": must be a standard resource type or fully qualified",
            "spec.containers[0].resources.requests[gpu]: Invalid value: \"gpu\": must be a standard resource for containers",
        ],
    );
    check(
        "/spec/containers/0/volumeMounts",
        json!([{"name": "w", "mountPath": "/x"}]),
        &["spec.containers[0].volumeMounts[0].name: Not found: \"w\""],
    );
    let escaping = json!({"allowPrivilegeEscalation": false, "privileged": true});
    check(
        "/spec/containers/0/securityContext",
        escaping,
        &[
            "spec.containers[0].securityContext: Invalid value: {\"allowPrivilegeEscalation\":false,\"privileged\":true}: cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
        ],
    );
}

#[test]
fn probes_and_hooks() {
    check(
        "/spec/containers/0/livenessProbe",
        json!({}),
        &["spec.containers[0].livenessProbe: Required value: must specify a handler type"],
    );
    check(
        "/spec/containers/0/livenessProbe",
        json!({"exec": {"command": ["a"]}, "httpGet": {"port": 80}}),
        &["spec.containers[0].livenessProbe.httpGet: Forbidden: may not specify more than 1 handler type"],
    );
    check(
        "/spec/containers/0/livenessProbe",
        json!({"successThreshold": 2, "tcpSocket": {"port": "A"}}),
        &[
            "spec.containers[0].livenessProbe.tcpSocket.port: Invalid value: \"A\": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)",
            "spec.containers[0].livenessProbe.tcpSocket.port: Invalid value: \"A\": must contain at least one letter (a-z)",
            "spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1",
        ],
    );
    let init = json!([{"name": "i", "image": "b:1", "livenessProbe": {"exec": {"command": ["a"]}}}]);
    check(
        "/spec/initContainers",
        init,
        &[
            "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
        ],
    );
}

#[test]
fn environment() {
    let env = |value: Value, expect: &[&str]| check("/spec/containers/0/env", json!([value]), expect);
    env(
        json!({"name": "a=b"}),
        &[
            "spec.containers[0].env[0].name: Invalid value: \"a=b\": a valid environment variable name must consist only of printable ASCII characters other than '='",
        ],
    );
    let both = json!({"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}});
    env(
        both,
        &[
            "spec.containers[0].env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty",
        ],
    );
    env(
        json!({"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.x"}}}),
        &[
            "spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: \"spec.x\": error converting fieldPath: field label not supported: spec.x",
        ],
    );
    env(json!({"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a/b']"}}}), &[]);
    env(
        json!({"name": "A", "valueFrom": {"secretKeyRef": {"name": "s"}}}),
        &["spec.containers[0].env[0].valueFrom.secretKeyRef.key: Required value"],
    );
}

#[test]
fn volumes() {
    let volume = |value: Value, expect: &[&str]| check("/spec/volumes/0", value, expect);
    volume(json!({"name": "v", "secret": {}}), &["spec.volumes[0].secret.secretName: Required value"]);
    volume(
        json!({"name": "v", "emptyDir": {}, "hostPath": {"path": "/a"}}),
        &["spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type"],
    );
    volume(
        json!({"name": "v", "hostPath": {"path": "/a/../b"}}),
        &["spec.volumes[0].hostPath.path: Invalid value: \"/a/../b\": must not contain '..'"],
    );
    volume(
        json!({"name": "v", "configMap": {"name": "c", "defaultMode": 1000}}),
        &[
            "spec.volumes[0].configMap.defaultMode: Invalid value: 1000: must be a number between 0 and 0777 (octal), both inclusive",
        ],
    );
    let mut two = pod();
    two["spec"]["volumes"] = json!([{"name": "v"}, {"name": "v"}]);
    assert_eq!(created("pods", &two), ["spec.volumes[1].name: Duplicate value: \"v\""]);
}

#[test]
fn updates_change_images_and_little_else() {
    let old = pod();
    assert!(updated("pods", &with(&old, "/spec/containers/0/image", json!("nginx:2")), &old).is_empty());
    assert!(updated("pods", &with(&old, "/spec/activeDeadlineSeconds", json!(5)), &old).is_empty());
    let tolerating = with(&old, "/spec/tolerations", json!([{"key": "a", "operator": "Exists"}]));
    assert!(updated("pods", &tolerating, &old).is_empty());
    assert_eq!(
        updated("pods", &old, &tolerating),
        ["spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"]
    );
    assert_eq!(
        updated("pods", &with(&old, "/spec/containers/-", json!({"name": "b", "image": "c:1"})), &old),
        ["spec.containers: Forbidden: pod updates may not add or remove containers"]
    );
    let said = updated("pods", &with(&old, "/spec/hostname", json!("h")), &old);
    assert_eq!(
        said,
        [
            "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n  core.PodSpec{\n  \t... // 3 identical fields\n- \tHostname: nil,\n+ \tHostname: \"h\",\n  \t... // 5 identical fields\n  }\n"
        ]
    );
}

#[test]
fn a_pod_shows_another_from_the_beginning_or_never() {
    let pod = |annotations: Value, node: &str| {
        json!({"metadata": {"name": "p", "annotations": annotations},
            "spec": {"nodeName": node, "restartPolicy": "Always", "containers": [{"name": "a", "image": "i"}]}})
    };
    let mirror = |hash: &str| json!({"kubernetes.io/config.mirror": hash, "other": "x"});
    let at = "metadata.annotations[kubernetes.io/config.mirror]";
    let (plain, shown) = (pod(json!({}), "n"), pod(mirror("1"), "n"));
    let both = |new: &Value, old: &Value| {
        let (whole, status) = (updated("pods", new, old), status_updated("pods", new, old));
        assert_eq!(whole, status);
        whole
    };
    assert_eq!(both(&shown, &plain), [format!("{at}: Forbidden: may not add mirror pod annotation")]);
    let refused = [format!("{at}: Forbidden: may not remove or update mirror pod annotation")];
    assert_eq!(both(&plain, &shown), refused);
    assert_eq!(both(&pod(mirror("2"), "n"), &shown), refused);
    assert_eq!(both(&shown, &shown), [""; 0]);
    let more = with(&shown, "/spec/ephemeralContainers", json!([{"name": "d", "image": "i"}]));
    let part = |new: &Value, old: &Value| {
        compared("pods", new, old, |row, new, old| row.logic.validate_part_update(new, old))
    };
    assert!(
        part(&more, &shown)
            .contains(&": Forbidden: static pods do not support ephemeral containers".to_owned())
    );
    let larger = with(&shown, "/spec/containers/0/resources", json!({"requests": {"cpu": "1"}}));
    assert!(part(&larger, &shown).contains(&": Forbidden: static pods cannot be resized".to_owned()));
    assert!(!part(&larger, &plain).join(" ").contains("static pods"));
    let why = format!("{at}: Invalid value: \"1\": must set spec.nodeName if mirror pod annotation is set");
    assert_eq!(created("pods", &pod(mirror("1"), "")).first(), Some(&why));
}

#[test]
fn what_has_ended_stays_ended() {
    let pod = |policy: &str, state: Value| {
        json!({"metadata": {"name": "p"}, "spec": {"restartPolicy": policy, "containers": [{"name": "a"}]},
            "status": {"containerStatuses": [{"name": "a", "state": state}]}})
    };
    let ended = json!({"terminated": {"exitCode": 0}});
    let update = |policy| {
        let (new, old) = (pod(policy, json!({"running": {}})), pod(policy, ended.clone()));
        status_updated("pods", &new, &old)
    };
    assert_eq!(
        update("Never"),
        ["status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state"]
    );
    assert!(update("Always").is_empty());
}

#[test]
fn warnings_speak_of_what_is_old_or_double_and_of_nothing_else() {
    let affinity =
        json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "k"}]}});
    let set = json!({"metadata": {"name": "a"}, "spec": {"template": {
        "metadata": {"annotations": {"scheduler.alpha.kubernetes.io/critical-pod": "",
            "container.apparmor.security.beta.kubernetes.io/a": "unconfined"}},
        "spec": {
            "affinity": affinity,
            "imagePullSecrets": [{"name": "s"}, {"name": "s"}],
            "containers": [
                {"name": "a", "image": "x:1", "ports": [{"containerPort": 80, "protocol": "TCP"}],
                 "env": [{"name": "PATH", "value": "/a"}, {"name": "PATH", "value": "$(PATH):/b"}]},
                {"name": "b", "image": "x:1", "ports": [{"containerPort": 80, "protocol": "TCP", "hostPort": 8}]},
            ],
        },
    }}});
    assert_eq!(
        warned("replicasets", &set),
        [
            "spec.template.metadata.annotations[scheduler.alpha.kubernetes.io/critical-pod]: non-functional in v1.16+; use the \"priorityClassName\" field instead",
            "spec.template.spec.imagePullSecrets[1].name: duplicate name \"s\"",
            "spec.template.metadata.annotations[container.apparmor.security.beta.kubernetes.io/a]: deprecated since v1.30; use the \"appArmorProfile\" field instead",
            "spec.template.spec.containers[1].ports[0]: overlapping port definition with spec.template.spec.containers[0].ports[0]",
            "spec.template.spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].labelSelector: a null labelSelector results in matching no pod",
        ]
    );
}

#[test]
fn authors_are_warned() {
    let pod = json!({"metadata": {"name": "a.b"}, "spec": {
        "nodeSelector": {"beta.kubernetes.io/os": "linux"},
        "containers": [{"name": "a", "image": "x:1", "env": [{"name": "A"}, {"name": "A"}]}],
    }});
    let warnings = warned("pods", &pod);
    assert_eq!(
        warnings,
        [
            "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: [must not contain dots]",
            "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead",
            "spec.containers[0].env[1]: hides previous definition of \"A\", which may be dropped when using apply",
        ]
    );
}

#[test]
fn many_ports_of_one_number_are_not_compared_all_with_all() {
    let ports: Vec<Value> = (0..1000).map(|_| json!({"containerPort": 80})).collect();
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [
        {"name": "a", "image": "x:1", "ports": ports},
    ]}});
    let warnings = warned("pods", &pod);
    assert!((1000..10_000).contains(&warnings.len()), "{}", warnings.len());
}
