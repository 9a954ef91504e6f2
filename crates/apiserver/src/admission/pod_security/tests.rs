//! Each check with a pod that it refuses, in upstream's words, and the policy that a namespace's labels make.

use serde_json::{Value, json};

use super::checks::evaluate;
use super::policy::{Level, Version};
use super::*;
use crate::admission::tests::{Ask, CREATE_POD, admit_noting};
use crate::request::Notes;
use crate::testing::Fixture;

fn subject(spec: &Value) -> Subject {
    annotated(&json!({}), spec)
}

fn annotated(annotations: &Value, spec: &Value) -> Subject {
    let pod = json!({"metadata": {"name": "p", "annotations": annotations}, "spec": spec});
    Subject::of_pod(&Object::from_value(pod).expect("an object")).expect("a pod")
}

fn asked(level: Level, minor: Option<u32>) -> LevelVersion {
    LevelVersion { level, version: Version(minor) }
}

/// What `baseline` says of a pod by the rules of a version.
fn baseline(spec: &Value, minor: u32) -> String {
    evaluate(&asked(Level::Baseline, Some(minor)), &subject(spec)).details()
}

/// What `restricted` says of a pod of one container that lacks nothing else.
fn restricted(pod: &Value, container: &Value, minor: u32) -> String {
    let mut own = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}});
    json_patch(&mut own, container);
    let mut spec = json!({"containers": [{"name": "c", "securityContext": own}]});
    json_patch(&mut spec, pod);
    evaluate(&asked(Level::Restricted, Some(minor)), &subject(&spec)).details()
}

/// Puts the fields of `patch` in; null takes one away.
fn json_patch(target: &mut Value, patch: &Value) {
    for (key, value) in patch.as_object().expect("an object") {
        match value {
            Value::Null => drop(target.as_object_mut().expect("an object").remove(key)),
            value => target[key] = value.clone(),
        }
    }
}

#[test]
fn baseline_refuses_what_reaches_the_host() {
    let with =
        |security: Value| json!({"containers": [{"name": "a", "securityContext": security}, {"name": "b"}]});
    let cases = [
        (
            json!({"hostNetwork": true, "hostPID": true, "hostIPC": true, "containers": []}),
            "host namespaces (hostNetwork=true, hostPID=true, hostIPC=true)",
        ),
        (
            with(json!({"privileged": true})),
            r#"privileged (container "a" must not set securityContext.privileged=true)"#,
        ),
        (
            with(json!({"capabilities": {"add": ["SYS_ADMIN", "CHOWN", "NET_RAW"]}})),
            r#"non-default capabilities (container "a" must not include "NET_RAW", "SYS_ADMIN" in securityContext.capabilities.add)"#,
        ),
        (
            json!({"containers": [], "volumes": [{"name": "x", "hostPath": {"path": "/"}}, {"name": "y", "hostPath": {"path": "/"}}, {"name": "z", "emptyDir": {}}]}),
            r#"hostPath volumes (volumes "x", "y")"#,
        ),
        (
            json!({"containers": [{"name": "a", "ports": [{"containerPort": 1, "hostPort": 80}, {"containerPort": 2, "hostPort": 0}]}, {"name": "b", "ports": [{"containerPort": 1, "hostPort": 443}]}]}),
            r#"hostPort (containers "a", "b" use hostPorts 443, 80)"#,
        ),
        (
            json!({"containers": [{"name": "a", "ports": [{"containerPort": 1, "hostPort": 80}]}]}),
            r#"hostPort (container "a" uses hostPort 80)"#,
        ),
        (
            with(json!({"procMount": "Unmasked"})),
            r#"procMount (container "a" must not set securityContext.procMount to "Unmasked")"#,
        ),
        (
            json!({"securityContext": {"seLinuxOptions": {"type": "x_t", "user": "u"}}, "containers": []}),
            r#"seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type "x_t"; user may not be set)"#,
        ),
        (
            json!({"securityContext": {"seccompProfile": {"type": "Unconfined"}}, "containers": [{"name": "a", "securityContext": {"seccompProfile": {"type": "Unconfined"}}}]}),
            r#"seccompProfile (pod and container "a" must not set securityContext.seccompProfile.type to "Unconfined")"#,
        ),
        (
            json!({"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}, {"name": "net.ipv4.tcp_rmem", "value": "1"}]}, "containers": []}),
            "forbidden sysctls (kernel.msgmax)",
        ),
        (
            json!({"securityContext": {"windowsOptions": {"hostProcess": true}}, "containers": []}),
            "hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)",
        ),
        (
            json!({"containers": [{"name": "a", "livenessProbe": {"httpGet": {"host": "10.0.0.1", "port": 1}}, "lifecycle": {"preStop": {"tcpSocket": {"host": "h", "port": 1}}}}]}),
            r#"probe or lifecycle host (container "a" uses probe or lifecycle hosts "10.0.0.1", "h")"#,
        ),
        (
            with(json!({"appArmorProfile": {"type": "Unconfined"}})),
            r#"forbidden AppArmor profile (container "a" must not set AppArmor profile type to "Unconfined")"#,
        ),
    ];
    for (spec, words) in cases {
        assert_eq!(baseline(&spec, 36), words);
    }
    let plain = json!({"initContainers": [{"name": "i"}], "containers": [{"name": "c", "securityContext":
        {"privileged": false, "capabilities": {"add": ["CHOWN"]}, "procMount": "Default", "seLinuxOptions": {"type": "container_t"}}}]});
    assert_eq!(baseline(&plain, 36), "");
}

#[test]
fn rules_hold_from_their_version_on() {
    let sysctl = |name: &str| json!({"securityContext": {"sysctls": [{"name": name, "value": "1"}]}, "containers": []});
    for (name, since) in [
        ("net.ipv4.ip_local_reserved_ports", 27),
        ("net.ipv4.tcp_fin_timeout", 29),
        ("net.ipv4.tcp_wmem", 32),
    ] {
        assert_eq!(baseline(&sysctl(name), since - 1), format!("forbidden sysctls ({name})"));
        assert_eq!(baseline(&sysctl(name), since), "");
    }
    let engine =
        json!({"securityContext": {"seLinuxOptions": {"type": "container_engine_t"}}, "containers": []});
    assert!(!baseline(&engine, 30).is_empty() && baseline(&engine, 31).is_empty());
    let probe =
        json!({"containers": [{"name": "a", "livenessProbe": {"tcpSocket": {"host": "h", "port": 1}}}]});
    assert!(baseline(&probe, 33).is_empty() && !baseline(&probe, 34).is_empty());
    let unmasked = json!({"hostUsers": false, "containers": [{"name": "a", "securityContext": {"procMount": "Unmasked"}}]});
    assert!(!baseline(&unmasked, 34).is_empty() && baseline(&unmasked, 35).is_empty());
    let profile = json!({"container.seccomp.security.alpha.kubernetes.io/a": "unconfined"});
    let old = annotated(&profile, &json!({"containers": [{"name": "a"}]}));
    assert_eq!(
        evaluate(&asked(Level::Baseline, Some(18)), &old).details(),
        r#"seccompProfile (forbidden annotation container.seccomp.security.alpha.kubernetes.io/a="unconfined")"#
    );
    assert!(evaluate(&asked(Level::Baseline, Some(19)), &old).is_empty());
    let apparmor = json!({"container.apparmor.security.beta.kubernetes.io/a": "unconfined"});
    let pod = annotated(&apparmor, &json!({"containers": [{"name": "a"}]}));
    assert_eq!(
        evaluate(&asked(Level::Baseline, None), &pod).details(),
        r#"forbidden AppArmor profile (container.apparmor.security.beta.kubernetes.io/a="unconfined")"#
    );
}

#[test]
fn restricted_demands_that_rights_are_given_up() {
    let none = json!({});
    assert_eq!(restricted(&none, &none, 36), "");
    let cases = [
        (
            none.clone(),
            json!({"allowPrivilegeEscalation": null}),
            r#"allowPrivilegeEscalation != false (container "c" must set securityContext.allowPrivilegeEscalation=false)"#,
        ),
        (
            none.clone(),
            json!({"capabilities": {"add": ["CHOWN", "NET_BIND_SERVICE"]}}),
            r#"unrestricted capabilities (container "c" must set securityContext.capabilities.drop=["ALL"]; container "c" must not include "CHOWN" in securityContext.capabilities.add)"#,
        ),
        (
            json!({"volumes": [{"name": "v", "nfs": {"server": "s", "path": "/"}}, {"name": "i", "image": {"reference": "r"}}]}),
            none.clone(),
            r#"restricted volume types (volume "v" uses restricted volume type "nfs")"#,
        ),
        (
            json!({"volumes": [{"name": "w", "hostPath": {"path": "/"}}, {"name": "v", "nfs": {"server": "s", "path": "/"}}]}),
            none.clone(),
            r#"restricted volume types (volumes "v", "w" use restricted volume types "hostPath", "nfs")"#,
        ),
        (
            none.clone(),
            json!({"runAsNonRoot": null}),
            r#"runAsNonRoot != true (pod or container "c" must set securityContext.runAsNonRoot=true)"#,
        ),
        (
            none.clone(),
            json!({"runAsNonRoot": false}),
            r#"runAsNonRoot != true (container "c" must not set securityContext.runAsNonRoot=false)"#,
        ),
        (
            json!({"securityContext": {"runAsUser": 0}}),
            none.clone(),
            "runAsUser=0 (pod must not set runAsUser=0)",
        ),
        (
            none.clone(),
            json!({"seccompProfile": null}),
            r#"seccompProfile (pod or container "c" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")"#,
        ),
        (
            json!({"hostUsers": false}),
            json!({"procMount": "Unmasked"}),
            r#"procMount (container "c" must not set securityContext.procMount to "Unmasked")"#,
        ),
    ];
    for (pod, container, words) in cases {
        assert_eq!(restricted(&pod, &container, 36), words);
    }
    let inherited =
        json!({"securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "Localhost"}}});
    assert_eq!(restricted(&inherited, &json!({"runAsNonRoot": null, "seccompProfile": null}), 36), "");
    let own_users = json!({"hostUsers": false});
    let root = json!({"runAsNonRoot": null, "runAsUser": 0});
    assert!(restricted(&own_users, &root, 35).is_empty() && !restricted(&own_users, &root, 34).is_empty());
    let windows = json!({"os": {"name": "windows"}});
    let bare = json!({"allowPrivilegeEscalation": null, "capabilities": null, "seccompProfile": null});
    assert!(restricted(&windows, &bare, 25).is_empty() && !restricted(&windows, &bare, 24).is_empty());
    assert_eq!(restricted(&none, &json!({"capabilities": null}), 21), "", "capabilities count from 1.22 on");
}

#[test]
fn a_privileged_pod_is_told_everything_in_upstreams_order() {
    let pod = subject(&json!({"containers": [{"name": "c", "securityContext": {"privileged": true}}]}));
    assert_eq!(
        evaluate(&asked(Level::Restricted, None), &pod).details(),
        r#"privileged (container "c" must not set securityContext.privileged=true), allowPrivilegeEscalation != false (container "c" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container "c" must set securityContext.capabilities.drop=["ALL"]), runAsNonRoot != true (pod or container "c" must set securityContext.runAsNonRoot=true), seccompProfile (pod or container "c" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")"#
    );
    assert!(evaluate(&asked(Level::Privileged, None), &pod).is_empty());
}

#[test]
fn labels_make_a_policy_and_what_cannot_be_read_fails_closed() {
    let of = |labels: &[(&'static str, &'static str)]| {
        let (policy, faults) = Policy::of(labels.iter().copied(), &Policy::default());
        let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
        (format!("{} {} {}", policy.enforce, policy.audit, policy.warn), faults)
    };
    let said = |labels: &[(&'static str, &'static str)]| of(labels).0;
    assert_eq!(said(&[]), "privileged:latest privileged:latest privileged:latest");
    assert_eq!(
        said(&[
            ("pod-security.kubernetes.io/enforce", "restricted"),
            ("pod-security.kubernetes.io/enforce-version", "v1.25")
        ]),
        "restricted:v1.25 privileged:latest restricted:v1.25"
    );
    assert_eq!(
        said(&[
            ("pod-security.kubernetes.io/enforce", "baseline"),
            ("pod-security.kubernetes.io/warn", "privileged"),
            ("pod-security.kubernetes.io/audit", "restricted")
        ]),
        "baseline:latest restricted:latest privileged:latest"
    );
    let (policy, faults) = of(&[
        ("pod-security.kubernetes.io/enforce", "strict"),
        ("pod-security.kubernetes.io/warn", "x"),
        ("pod-security.kubernetes.io/warn-version", "1.25"),
    ]);
    assert_eq!(policy, "restricted:latest privileged:latest privileged:latest");
    assert_eq!(
        faults,
        [
            r#"metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: "strict": must be one of privileged, baseline, restricted"#,
            r#"metadata.labels[pod-security.kubernetes.io/warn]: Invalid value: "x": must be one of privileged, baseline, restricted"#,
            r#"metadata.labels[pod-security.kubernetes.io/warn-version]: Invalid value: "1.25": must be "latest" or "v1.x""#,
        ]
    );
}

/// Asks in namespace `a` with these labels; returns the refusal and the warnings.
async fn ask(
    f: &Fixture,
    labels: Value,
    ask: &Ask<'_>,
    object: Value,
) -> (Option<(u16, String)>, Vec<String>, Notes) {
    f.put("namespaces/a", &json!({"metadata": {"name": "a", "labels": labels}})).await;
    let notes = Notes::default();
    let refused =
        admit_noting(&PodSecurity::new(f.lookup.clone(), Arc::default()), ask, Some(object), &notes).err();
    (refused, notes.warnings(), notes)
}

#[tokio::test]
async fn pods_are_refused_and_what_makes_them_is_warned_of() {
    let f = Fixture::new().await;
    let spec = json!({"containers": [{"name": "c", "image": "i", "securityContext": {"privileged": true}}]});
    let pod = json!({"metadata": {"name": "p"}, "spec": spec});
    let baseline = json!({"pod-security.kubernetes.io/enforce": "baseline"});
    let words = r#"privileged (container "c" must not set securityContext.privileged=true)"#;
    let (refused, warned, notes) = ask(&f, baseline.clone(), &CREATE_POD, pod.clone()).await;
    assert_eq!(
        refused,
        Some((403, format!("pods \"p\" is forbidden: violates PodSecurity \"baseline:latest\": {words}")))
    );
    assert!(warned.is_empty(), "a refusal needs no warning: {warned:?}");
    assert_eq!(notes.annotations()["pod-security.kubernetes.io/enforce-policy"], "baseline:latest");
    assert_eq!(ask(&f, json!({}), &CREATE_POD, pod.clone()).await.0, None);

    let status = Ask {
        operation: Operation::Update,
        resource: "pods/status",
        place: "a/p",
        old: Some(pod.clone()),
        ..CREATE_POD
    };
    assert_eq!(ask(&f, baseline.clone(), &status, pod.clone()).await.0, None);
    let update = Ask { resource: "pods", ..status };
    let mut labelled = pod.clone();
    labelled["metadata"]["labels"] = json!({"a": "b"});
    assert_eq!(ask(&f, baseline.clone(), &update, labelled).await.0, None, "labels do not matter");
    let mut other = pod.clone();
    other["spec"]["containers"][0]["image"] = "other".into();
    assert!(ask(&f, baseline.clone(), &update, other).await.0.is_some(), "an image does");

    let deployment = json!({"metadata": {"name": "d"}, "spec": {"template": {"metadata": {}, "spec": spec}}});
    let create = Ask { group: "apps", resource: "deployments", ..CREATE_POD };
    let (refused, warned, _) = ask(&f, baseline, &create, deployment.clone()).await;
    assert_eq!(
        (refused, warned),
        (None, vec![format!("would violate PodSecurity \"baseline:latest\": {words}")])
    );
    let audited = json!({"pod-security.kubernetes.io/audit": "baseline", "pod-security.kubernetes.io/audit-version": "v1.30"});
    let (_, warned, notes) = ask(&f, audited, &create, deployment).await;
    assert!(warned.is_empty());
    assert_eq!(
        notes.annotations()["pod-security.kubernetes.io/audit-violations"],
        format!("would violate PodSecurity \"baseline:v1.30\": {words}")
    );
    f.stop().await;
}

#[tokio::test]
async fn labels_are_checked_and_existing_pods_told_of() {
    let f = Fixture::new().await;
    let plugin = PodSecurity::new(f.lookup.clone(), Arc::default());
    let namespace = |level: &str| json!({"metadata": {"name": "a", "labels": {"pod-security.kubernetes.io/enforce": level}}});
    let create = Ask { resource: "namespaces", place: "/a", ..CREATE_POD };
    let notes = Notes::default();
    assert_eq!(
        admit_noting(&plugin, &create, Some(namespace("strict")), &notes).unwrap_err(),
        (422, r#"Namespace "a" is invalid: metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: "strict": must be one of privileged, baseline, restricted"#.into())
    );
    for (name, owner) in [("web-1", "rs"), ("web-2", "rs"), ("web-3", "rs"), ("alone", "")] {
        let mut pod = json!({"metadata": {"name": name, "namespace": "a"},
            "spec": {"hostNetwork": owner.is_empty(), "containers": [{"name": "c", "securityContext": {"privileged": true}}]}});
        if !owner.is_empty() {
            pod["metadata"]["ownerReferences"] = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": owner, "uid": owner, "controller": true}]);
        }
        f.put(&format!("pods/a/{name}"), &pod).await;
    }
    let update =
        Ask { operation: Operation::Update, old: Some(json!({"metadata": {"name": "a"}})), ..create };
    admit_noting(&plugin, &update, Some(namespace("baseline")), &notes).unwrap();
    assert_eq!(
        notes.warnings(),
        [
            r#"existing pods in namespace "a" violate the new PodSecurity enforce level "baseline:latest""#,
            "alone: host namespaces, privileged",
            "web-1 (and 2 other pods): privileged",
        ]
    );
    let notes = Notes::default();
    let relaxed = Ask { old: Some(namespace("restricted")), ..update };
    admit_noting(&plugin, &relaxed, Some(namespace("baseline")), &notes).unwrap();
    assert!(notes.warnings().is_empty());
    f.stop().await;
}
