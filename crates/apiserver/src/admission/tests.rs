//! Each plugin on objects as they come.

use std::sync::Arc;

use futures::FutureExt;
use serde_json::{Value, json};

use super::*;
use crate::request::{Attributes, User};
use crate::testing::Fixture;

/// A request to be admitted.
struct Ask<'a> {
    user: &'a str,
    operation: Operation,
    group: &'a str,
    /// `plural` or `plural/subresource`.
    resource: &'a str,
    /// `namespace/name`.
    place: &'a str,
    old: Option<Value>,
}

const CREATE_POD: Ask<'static> =
    Ask { user: "ann", operation: Operation::Create, group: "", resource: "pods", place: "a/", old: None };

/// What comes out of admission, or the code and message of the refusal.
fn admit(plugin: &dyn Admission, ask: &Ask<'_>, object: Option<Value>) -> Result<Value, (u16, String)> {
    let (plural, subresource) = ask.resource.split_once('/').unwrap_or((ask.resource, ""));
    let (namespace, name) = ask.place.split_once('/').unwrap();
    let table = resources::builtin();
    let row = table.find(ask.group, table.preferred_version(ask.group).unwrap(), plural).unwrap();
    let groups =
        if ask.user.starts_with("system:node:") { vec!["system:nodes".to_owned()] } else { vec!["g".into()] };
    let attributes = Attributes {
        user: Arc::new(User { name: ask.user.to_owned(), groups, ..User::default() }),
        is_resource: true,
        group: ask.group.to_owned(),
        version: "v1".to_owned(),
        resource: plural.to_owned(),
        subresource: subresource.to_owned(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        ..Attributes::default()
    };
    let old = ask.old.clone().and_then(Object::from_value);
    let review = Review {
        attributes: &attributes,
        resource: row,
        operation: ask.operation,
        old: old.as_ref(),
        dry_run: false,
    };
    let mut object = object.and_then(Object::from_value);
    let admitted = async {
        plugin.admit(&review, object.as_mut()).await?;
        plugin.validate(&review, object.as_ref()).await
    };
    admitted
        .now_or_never()
        .expect("a plugin of the house answers without waiting")
        .map(|()| object.map_or(Value::Null, Object::into_value))
        .map_err(|error| (error.code(), error.message))
}

fn refusal(plugin: &dyn Admission, ask: &Ask<'_>, object: Option<Value>) -> (u16, String) {
    admit(plugin, ask, object).unwrap_err()
}

#[tokio::test]
async fn nothing_is_made_where_no_namespace_is() {
    let f = Fixture::new().await;
    let plugin = NamespaceLifecycle::new(f.lookup.clone());
    let pod = || Some(json!({"metadata": {"name": "p"}}));
    assert_eq!(refusal(&plugin, &CREATE_POD, pod()), (404, r#"namespaces "a" not found"#.into()));
    f.put("namespaces/a", &json!({"metadata": {"name": "a"}, "status": {"phase": "Active"}})).await;
    assert!(admit(&plugin, &CREATE_POD, pod()).is_ok());
    f.put("namespaces/a", &json!({"metadata": {"name": "a"}, "status": {"phase": "Terminating"}})).await;
    assert_eq!(
        refusal(&plugin, &CREATE_POD, pod()),
        (403, r#"pods "p" is forbidden: unable to create new content in namespace a because it is being terminated"#.into())
    );
    let update = Ask { operation: Operation::Update, place: "a/p", old: pod(), ..CREATE_POD };
    assert!(admit(&plugin, &update, pod()).is_ok());
    let delete = Ask { operation: Operation::Delete, place: "gone/p", ..CREATE_POD };
    assert!(admit(&plugin, &delete, None).is_ok());
    let doom = |place| Ask { operation: Operation::Delete, resource: "namespaces", place, ..CREATE_POD };
    assert_eq!(
        refusal(&plugin, &doom("/kube-system"), None),
        (403, r#"namespaces "kube-system" is forbidden: this namespace may not be deleted"#.into())
    );
    assert!(admit(&plugin, &doom("/a"), None).is_ok());
    f.stop().await;
}

#[tokio::test]
async fn a_pod_gets_its_account_and_the_accounts_things() {
    let f = Fixture::new().await;
    let plugin = ServiceAccount::new(f.lookup.clone());
    let pod = json!({
        "metadata": {"name": "p"},
        "spec": {
            "initContainers": [{"name": "i"}],
            "containers": [
                {"name": "c", "volumeMounts": [{"name": "x", "mountPath": "/x"}]},
                {"name": "own", "volumeMounts": [{"name": "y", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}]},
            ],
        },
    });
    assert_eq!(
        refusal(&plugin, &CREATE_POD, Some(pod.clone())),
        (403, r#"pods "p" is forbidden: error looking up service account a/default: serviceaccount "default" not found"#.into())
    );
    let mut generated = pod.clone();
    generated["metadata"] = json!({"generateName": "rs-"});
    assert_eq!(
        refusal(&plugin, &CREATE_POD, Some(generated)).1,
        r#"pods "rs-" is forbidden: error looking up service account a/default: serviceaccount "default" not found"#
    );
    let account =
        json!({"metadata": {"name": "default", "namespace": "a"}, "imagePullSecrets": [{"name": "s"}]});
    f.put("serviceaccounts/a/default", &account).await;
    let out = admit(&plugin, &CREATE_POD, Some(pod.clone())).unwrap();
    assert_eq!(out["spec"]["serviceAccountName"], "default");
    assert_eq!(out["spec"]["serviceAccount"], "default");
    assert_eq!(out["spec"]["imagePullSecrets"], json!([{"name": "s"}]));
    let name = out["spec"]["volumes"][0]["name"].as_str().unwrap();
    assert!(name.starts_with("kube-api-access-") && name.len() == 21, "{name}");
    assert_eq!(out["spec"]["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"]["path"], "token");
    assert_eq!(out["spec"]["initContainers"][0]["volumeMounts"][0]["name"], name);
    assert_eq!(out["spec"]["containers"][0]["volumeMounts"][1]["name"], name);
    assert_eq!(out["spec"]["containers"][1]["volumeMounts"].as_array().unwrap().len(), 1);

    let mut without = pod.clone();
    without["spec"]["automountServiceAccountToken"] = false.into();
    without["spec"]["imagePullSecrets"] = json!([{"name": "own"}]);
    let out = admit(&plugin, &CREATE_POD, Some(without)).unwrap();
    assert!(out["spec"].get("volumes").is_none());
    assert_eq!(out["spec"]["imagePullSecrets"], json!([{"name": "own"}]));
    f.put(
        "serviceaccounts/a/shy",
        &json!({"metadata": {"name": "shy", "namespace": "a"}, "automountServiceAccountToken": false}),
    )
    .await;
    let mut shy = pod;
    shy["spec"]["serviceAccountName"] = "shy".into();
    assert!(admit(&plugin, &CREATE_POD, Some(shy)).unwrap()["spec"].get("volumes").is_none());

    let mirror = |spec: Value| json!({"metadata": {"name": "m", "annotations": {"kubernetes.io/config.mirror": "x"}}, "spec": spec});
    assert_eq!(admit(&plugin, &CREATE_POD, Some(mirror(json!({})))).unwrap(), mirror(json!({})));
    let secret = mirror(json!({"volumes": [{"name": "v", "secret": {"secretName": "s"}}]}));
    assert_eq!(
        refusal(&plugin, &CREATE_POD, Some(secret)).1,
        r#"pods "m" is forbidden: a mirror pod may not reference secrets"#
    );
    f.stop().await;
}

#[test]
fn pods_tolerate_lost_nodes_for_five_minutes() {
    let tolerations = |given: Value| {
        let pod = json!({"metadata": {"name": "p"}, "spec": {"tolerations": given}});
        let out = admit(&DefaultTolerationSeconds, &CREATE_POD, Some(pod)).unwrap();
        out["spec"]["tolerations"].as_array().unwrap().len()
    };
    assert_eq!(tolerations(json!([])), 2);
    assert_eq!(tolerations(json!([{"operator": "Exists"}])), 1);
    assert_eq!(tolerations(json!([{"key": "node.kubernetes.io/not-ready", "operator": "Exists"}])), 2);
    assert_eq!(tolerations(json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}])), 3);
}

#[test]
fn new_nodes_take_no_pods() {
    let create = Ask { resource: "nodes", place: "/", ..CREATE_POD };
    let node = json!({"metadata": {"name": "n"}});
    let out = admit(&TaintNewNodes, &create, Some(node)).unwrap();
    assert_eq!(
        out["spec"]["taints"],
        json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}])
    );
    assert_eq!(admit(&TaintNewNodes, &create, Some(out.clone())).unwrap(), out);
}

#[test]
fn a_certificate_is_asked_for_in_the_askers_own_name() {
    let group = "certificates.k8s.io";
    let create = Ask { group, resource: "certificatesigningrequests", place: "/", ..CREATE_POD };
    let sent = json!({"metadata": {"name": "c"}, "spec": {"request": "x", "username": "root", "uid": "0",
        "groups": ["system:masters"], "extra": {"a": ["b"]}}});
    let out = admit(&Requester, &create, Some(sent)).unwrap();
    assert_eq!(out["spec"], json!({"request": "x", "username": "ann", "groups": ["g"]}));
}

#[tokio::test]
async fn priority_comes_from_the_class() {
    let f = Fixture::new().await;
    let plugin = Priority::new(f.lookup.clone());
    let pod = |spec: Value| Some(json!({"metadata": {"name": "p"}, "spec": spec}));
    let out = admit(&plugin, &CREATE_POD, pod(json!({}))).unwrap();
    assert_eq!(out["spec"], json!({"priority": 0, "preemptionPolicy": "PreemptLowerPriority"}));
    assert_eq!(
        refusal(&plugin, &CREATE_POD, pod(json!({"priorityClassName": "high"}))),
        (403, r#"pods "p" is forbidden: no PriorityClass with name high was found"#.into())
    );
    f.put(
        "priorityclasses/high",
        &json!({"metadata": {"name": "high"}, "value": 7, "preemptionPolicy": "Never"}),
    )
    .await;
    let out = admit(&plugin, &CREATE_POD, pod(json!({"priorityClassName": "high"}))).unwrap();
    assert_eq!(out["spec"]["priority"], 7);
    assert_eq!(out["spec"]["preemptionPolicy"], "Never");
    assert!(refusal(&plugin, &CREATE_POD, pod(json!({"priority": 5}))).1.contains("computed 0 from"));
    f.put("priorityclasses/std", &json!({"metadata": {"name": "std"}, "value": 3, "globalDefault": true}))
        .await;
    assert_eq!(admit(&plugin, &CREATE_POD, pod(json!({}))).unwrap()["spec"]["priorityClassName"], "std");
    let class = Ask { group: "scheduling.k8s.io", resource: "priorityclasses", place: "/", ..CREATE_POD };
    let second = json!({"metadata": {"name": "b"}, "globalDefault": true});
    assert!(
        refusal(&plugin, &class, Some(second))
            .1
            .ends_with("PriorityClass std is already marked as default. Only one default can exist")
    );
    let update = Ask {
        operation: Operation::Update,
        place: "a/p",
        old: pod(json!({"priority": 7, "preemptionPolicy": "Never"})),
        ..CREATE_POD
    };
    assert_eq!(admit(&plugin, &update, pod(json!({}))).unwrap()["spec"]["priority"], 7);
    f.stop().await;
}

#[tokio::test]
async fn nodes_keep_to_themselves() {
    let f = Fixture::new().await;
    let plugin = NodeRestriction::new(f.lookup.clone());
    let user = "system:node:n1";
    let why = |ask: &Ask<'_>, object: Value| refusal(&plugin, ask, Some(object)).1;
    let node = |name: &str, labels: Value| json!({"metadata": {"name": name, "labels": labels}});
    let register = Ask { user, resource: "nodes", place: "/", ..CREATE_POD };
    let own = json!({"kubernetes.io/hostname": "n1", "example.com/x": "y", "kubelet.kubernetes.io/z": ""});
    assert!(admit(&plugin, &register, Some(node("n1", own.clone()))).is_ok());
    assert!(why(&register, node("n2", own)).ends_with(r#"node "n1" is not allowed to modify node "n2""#));
    let power = json!({"node-role.kubernetes.io/master": "", "x.node-restriction.kubernetes.io/a": ""});
    assert!(why(&register, node("n1", power)).ends_with(
        r#"is not allowed to set the following labels: node-role.kubernetes.io/master, x.node-restriction.kubernetes.io/a"#
    ));
    let update =
        Ask { operation: Operation::Update, place: "/n1", old: Some(node("n1", json!({}))), ..register };
    let mut untainted = node("n1", json!({}));
    untainted["spec"] = json!({"taints": [{"key": "k"}]});
    assert!(why(&update, untainted).ends_with("is not allowed to modify taints"));

    let create = Ask { user, ..CREATE_POD };
    assert!(why(&create, json!({"metadata": {"name": "p"}})).contains("can only create mirror pods"));
    f.put("minions/n1", &json!({"metadata": {"name": "n1", "uid": "nu"}})).await;
    let mirror = |spec: Value| {
        json!({"metadata": {
            "name": "m", "annotations": {"kubernetes.io/config.mirror": "x"},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "nu", "controller": true}],
        }, "spec": spec})
    };
    assert!(
        admit(&plugin, &create, Some(mirror(json!({"nodeName": "n1", "nodeSelector": {"secret": "x"}}))))
            .is_ok()
    );
    assert!(why(&create, mirror(json!({"nodeName": "n2"}))).contains("spec.nodeName set to itself"));
    let secret =
        json!({"nodeName": "n1", "containers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "s"}}}]}]});
    assert!(
        why(&create, mirror(secret)).ends_with(r#"node "n1" can not create pods that reference secrets"#)
    );

    f.stop().await;
}

#[tokio::test]
async fn nodes_keep_to_their_pods() {
    let f = Fixture::new().await;
    let plugin = NodeRestriction::new(f.lookup.clone());
    let user = "system:node:n1";
    let why = |ask: &Ask<'_>, object: Value| refusal(&plugin, ask, Some(object)).1;
    let status = Ask {
        user,
        operation: Operation::Update,
        resource: "pods/status",
        place: "a/p",
        old: Some(json!({"metadata": {"name": "p"}, "spec": {"nodeName": "n2"}})),
        ..CREATE_POD
    };
    assert!(why(&status, json!({"metadata": {"name": "p"}})).contains("can only update pod status for pods"));
    let token = Ask { user, resource: "serviceaccounts/token", place: "a/bot", ..CREATE_POD };
    f.put("pods/a/p", &json!({"metadata": {"name": "p", "uid": "pu"}, "spec": {"nodeName": "n1"}})).await;
    let demand = |uid: &str| json!({"spec": {"boundObjectRef": {"kind": "Pod", "name": "p", "uid": uid}}});
    assert!(admit(&plugin, &token, Some(demand("pu"))).is_ok());
    assert_eq!(refusal(&plugin, &token, Some(demand("old"))).0, 409);
    assert!(why(&token, json!({"spec": {}})).ends_with("node requested token not bound to a pod"));
    let other = Ask { user: "system:node:n2", ..token };
    assert!(why(&other, demand("pu")).ends_with("bound to a pod scheduled on a different node"));
    let lease = Ask {
        user,
        group: "coordination.k8s.io",
        resource: "leases",
        place: "kube-node-lease/",
        ..CREATE_POD
    };
    assert!(admit(&plugin, &lease, Some(json!({"metadata": {"name": "n1"}}))).is_ok());
    assert!(
        refusal(&plugin, &lease, Some(json!({"metadata": {"name": "n2"}})))
            .1
            .contains("same name as the requesting node")
    );
    f.stop().await;
}

#[tokio::test]
async fn nobody_grants_what_he_does_not_have() {
    let f = Fixture::new().await;
    let group = "rbac.authorization.k8s.io";
    let rules = |verbs: Value| json!([{"verbs": verbs, "apiGroups": [""], "resources": ["pods"]}]);
    let role =
        |name: &str, rules: Value| json!({"metadata": {"name": name, "namespace": "a"}, "rules": rules});
    let binding = |role: &str| json!({"metadata": {"name": "b"}, "roleRef": {"kind": "Role", "name": role}, "subjects": [{"kind": "User", "name": "x"}]});
    f.put("roles/a/reader", &role("reader", rules(json!(["get", "list"])))).await;
    f.put("roles/a/writer", &role("writer", rules(json!(["create"])))).await;
    let bound = json!({"metadata": {"name": "ann", "namespace": "a"}, "roleRef": {"kind": "Role", "name": "reader"}, "subjects": [{"kind": "User", "name": "ann"}]});
    f.put("rolebindings/a/ann", &bound).await;
    let rbac = Rbac::start(&f.lookup, &f.supervisor).unwrap();
    let plugin = Escalation::new(rbac.clone(), Arc::new(rbac.clone()));
    let roles = Ask { group, resource: "roles", ..CREATE_POD };
    let bindings = Ask { group, resource: "rolebindings", ..CREATE_POD };
    assert!(admit(&plugin, &roles, Some(role("r", rules(json!(["get"]))))).is_ok());
    assert_eq!(
        refusal(&plugin, &roles, Some(role("r", rules(json!(["get", "create"]))))),
        (403, concat!(
            r#"roles.rbac.authorization.k8s.io "r" is forbidden: user "ann" (groups=["g"]) is attempting to grant "#,
            "RBAC permissions not currently held:\n",
            r#"{APIGroups:[""], Resources:["pods"], Verbs:["create"]}"#
        ).into())
    );
    assert!(admit(&plugin, &bindings, Some(binding("reader"))).is_ok());
    assert_eq!(refusal(&plugin, &bindings, Some(binding("writer"))).0, 403);
    assert_eq!(
        refusal(&plugin, &bindings, Some(binding("none"))),
        (404, r#"roles.rbac.authorization.k8s.io "none" not found"#.into())
    );
    // Labels of a role that grants more than oneself has may be changed, its rules not.
    let old = role("r", rules(json!(["create"])));
    let update = Ask { operation: Operation::Update, place: "a/r", old: Some(old.clone()), ..roles };
    let mut labelled = old.clone();
    labelled["metadata"]["labels"] = json!({"a": "b"});
    assert!(admit(&plugin, &update, Some(labelled)).is_ok());
    // The verbs `escalate` and `bind` allow it all the same.
    let special = json!([{"verbs": ["escalate", "bind"], "apiGroups": [group], "resources": ["roles"], "resourceNames": ["r", "writer"]}]);
    f.put("roles/a/reader", &role("reader", special)).await;
    rbac.settled().await;
    assert!(admit(&plugin, &roles, Some(role("r", rules(json!(["create"]))))).is_ok());
    assert_eq!(refusal(&plugin, &roles, Some(role("other", rules(json!(["create"]))))).0, 403);
    assert!(admit(&plugin, &bindings, Some(binding("writer"))).is_ok());
    // An aggregated role may come to grant anything.
    let mut all = json!({"metadata": {"name": "c"}, "aggregationRule": {"clusterRoleSelectors": []}});
    let cluster = Ask { group, resource: "clusterroles", place: "/", ..CREATE_POD };
    assert!(refusal(&plugin, &cluster, Some(all.clone())).1.contains("aggregationRule"));
    all["aggregationRule"] = Value::Null;
    assert!(admit(&plugin, &cluster, Some(all)).is_ok());
    f.stop().await;
}
