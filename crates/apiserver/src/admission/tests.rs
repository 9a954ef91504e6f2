//! Each plugin on objects as they come.

mod optional;

use std::sync::Arc;

use futures::FutureExt;
use serde_json::{Value, json};

use super::*;
use crate::identity::authz::PrivilegedGroup;
use crate::request::{Attributes, Notes, User};
use crate::testing::Fixture;

/// A request to be admitted.
pub(super) struct Ask<'a> {
    pub user: &'a str,
    pub operation: Operation,
    pub group: &'a str,
    /// `plural` or `plural/subresource`.
    pub resource: &'a str,
    /// `namespace/name`.
    pub place: &'a str,
    pub old: Option<Value>,
}

pub(super) const CREATE_POD: Ask<'static> =
    Ask { user: "ann", operation: Operation::Create, group: "", resource: "pods", place: "a/", old: None };

/// What comes out of admission, or the code and message of the refusal.
pub(super) fn admit(
    plugin: &dyn Admission,
    ask: &Ask<'_>,
    object: Option<Value>,
) -> Result<Value, (u16, String)> {
    admit_noting(plugin, ask, object, &Notes::default())
}

/// The same, of a plugin that notes something.
pub(super) fn admit_noting(
    plugin: &dyn Admission,
    ask: &Ask<'_>,
    object: Option<Value>,
    notes: &Notes,
) -> Result<Value, (u16, String)> {
    admitting(plugin, ask, object, notes)
        .now_or_never()
        .expect("a plugin of the house answers without waiting")
}

async fn admitting(
    plugin: &dyn Admission,
    ask: &Ask<'_>,
    object: Option<Value>,
    notes: &Notes,
) -> Result<Value, (u16, String)> {
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
        notes: notes.clone(),
        ..Attributes::default()
    };
    let old = ask.old.clone().and_then(Object::from_value);
    let review = Review {
        attributes: &attributes,
        resource: row,
        operation: ask.operation,
        old: old.as_ref(),
        dry_run: false,
        options: None,
        rounds: Rounds::default(),
    };
    let mut object = object.and_then(Object::from_value);
    let admitted = async {
        plugin.admit(&review, object.as_mut()).await?;
        plugin.validate(&review, object.as_ref()).await
    };
    admitted
        .await
        .map(|()| object.map_or(Value::Null, Object::into_value))
        .map_err(|error| (error.code(), error.message))
}

pub(super) fn refusal(plugin: &dyn Admission, ask: &Ask<'_>, object: Option<Value>) -> (u16, String) {
    admit(plugin, ask, object).unwrap_err()
}

#[tokio::test]
async fn nothing_is_made_where_no_namespace_is() {
    let f = Fixture::new().await;
    let plugin = NamespaceLifecycle::new(f.lookup.clone(), Arc::new(base::SystemClock));
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
    let mut missing = pod.clone();
    missing["spec"]["serviceAccountName"] = "bot".into();
    assert_eq!(
        refusal(&plugin, &CREATE_POD, Some(missing.clone())),
        (403, r#"pods "p" is forbidden: error looking up service account a/bot: serviceaccount "bot" not found"#.into())
    );
    missing["metadata"] = json!({"generateName": "rs-"});
    assert_eq!(
        refusal(&plugin, &CREATE_POD, Some(missing)).1,
        r#"pods "rs-" is forbidden: error looking up service account a/bot: serviceaccount "bot" not found"#
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

#[tokio::test(start_paused = true)]
async fn a_pod_waits_for_the_default_account_of_a_new_namespace() {
    let f = Fixture::new().await;
    let plugin = ServiceAccount::new(f.lookup.clone());
    let pod = || Some(json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}]}}));
    let notes = Notes::default();
    let began = tokio::time::Instant::now();
    let refused = admitting(&plugin, &CREATE_POD, pod(), &notes).await.unwrap_err();
    assert_eq!(refused.0, 403);
    assert_eq!(began.elapsed().as_millis(), 1800, "as long as upstream asks again");

    let mut waiting = Box::pin(admitting(&plugin, &CREATE_POD, pod(), &notes));
    assert!((&mut waiting).now_or_never().is_none());
    let account = json!({"metadata": {"name": "default", "namespace": "a"}});
    f.put("serviceaccounts/b/default", &account).await;
    assert!((&mut waiting).now_or_never().is_none(), "that was another namespace's");
    f.put("serviceaccounts/a/default", &account).await;
    let began = tokio::time::Instant::now();
    assert_eq!(waiting.await.unwrap()["spec"]["serviceAccountName"], "default");
    assert_eq!(began.elapsed().as_millis(), 0, "the account's arrival ends the wait");
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
    let with_condition = |status: &str| json!({"metadata": {"name": "n"}, "status": {"conditions": [{"type": "Ready", "status": status}]}});
    let ready = with_condition("True");
    assert_eq!(
        admit(&TaintNewNodes, &create, Some(ready.clone())).unwrap(),
        ready,
        "it takes pods from the start"
    );
    let unready = admit(&TaintNewNodes, &create, Some(with_condition("False"))).unwrap();
    assert_eq!(unready["spec"]["taints"], out["spec"]["taints"]);
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
    let plugin = NodeRestriction::new(f.lookup.clone(), Arc::new(PrivilegedGroup));
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
    let plugin = NodeRestriction::new(f.lookup.clone(), Arc::new(PrivilegedGroup));
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
    let volumes =
        json!([{"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}]);
    let pod = json!({"metadata": {"name": "p", "uid": "pu"}, "spec": {"nodeName": "n1", "volumes": volumes}});
    f.put("pods/a/p", &pod).await;
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
async fn nodes_get_tokens_for_what_their_pods_ask_for() {
    let f = Fixture::new().await;
    let group = "rbac.authorization.k8s.io";
    let rbac = Rbac::start(&f.lookup, &f.supervisor).unwrap();
    let plugin = NodeRestriction::new(f.lookup.clone(), Arc::new(rbac.clone()));
    let token =
        |user: &'static str| Ask { user, resource: "serviceaccounts/token", place: "a/bot", ..CREATE_POD };
    let node = token("system:node:n1");
    let demand = |audiences: Value| {
        Some(
            json!({"spec": {"audiences": audiences, "boundObjectRef": {"kind": "Pod", "name": "p", "uid": "pu"}}}),
        )
    };
    let pod = json!({"metadata": {"name": "p", "uid": "pu"}, "spec": {"nodeName": "n1", "volumes": [
        {"name": "t", "projected": {"sources": [{"secret": {"name": "s"}}, {"serviceAccountToken": {"path": "t", "audience": "vault"}}]}},
        {"name": "c", "csi": {"driver": "inline.csi"}},
        {"name": "d", "persistentVolumeClaim": {"claimName": "data"}},
        {"name": "e", "ephemeral": {}},
    ]}});
    f.put("pods/a/p", &pod).await;
    let unasked = |audience: &str| {
        (
            403,
            format!(
                "serviceaccounts \"bot\" is forbidden: audience {audience:?} not found in pod spec volume, system:node:n1 is not authorized to request tokens for this audience"
            ),
        )
    };
    assert!(admit(&plugin, &node, demand(json!(["vault"]))).is_ok());
    assert_eq!(refusal(&plugin, &node, demand(json!(["bank"]))), unasked("bank"));
    assert_eq!(refusal(&plugin, &node, demand(json!([]))), unasked(""));
    assert_eq!(
        refusal(&plugin, &node, demand(json!(["vault", "bank"]))).1,
        r#"serviceaccounts "bot" is forbidden: node may only request 0 or 1 audiences"#
    );
    // Those of CSI drivers: of the volume itself, of a claim's volume, of a volume made for the pod.
    for (driver, audience) in [("inline.csi", "i"), ("claim.csi", "c"), ("own.csi", "e")] {
        let object =
            json!({"metadata": {"name": driver}, "spec": {"tokenRequests": [{"audience": audience}]}});
        f.put(&format!("csidrivers/{driver}"), &object).await;
    }
    for (claim, volume, driver) in [("data", "v1", "claim.csi"), ("p-e", "v2", "own.csi")] {
        let object = json!({"metadata": {"name": claim, "namespace": "a"}, "spec": {"volumeName": volume}});
        f.put(&format!("persistentvolumeclaims/a/{claim}"), &object).await;
        let object = json!({"metadata": {"name": volume}, "spec": {"csi": {"driver": driver}}});
        f.put(&format!("persistentvolumes/{volume}"), &object).await;
    }
    for audience in ["i", "c", "e"] {
        assert!(admit(&plugin, &node, demand(json!([audience]))).is_ok(), "{audience}");
    }
    // A right of the node's own.
    let role = json!({"metadata": {"name": "ask"}, "rules": [
        {"verbs": ["request-serviceaccounts-token-audience"], "apiGroups": [""], "resources": ["bank"], "resourceNames": ["bot"]}]});
    f.put("clusterroles/ask", &role).await;
    let binding = json!({"metadata": {"name": "ask"}, "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "ask"},
        "subjects": [{"apiGroup": group, "kind": "User", "name": "system:node:n1"}]});
    f.put("clusterrolebindings/ask", &binding).await;
    rbac.settled().await;
    assert!(admit(&plugin, &node, demand(json!(["bank"]))).is_ok());
    assert!(admit(&plugin, &token("ann"), demand(json!(["x"]))).is_ok(), "others are no nodes");
    f.stop().await;
}

/// The PEM of a request in base64.
fn asked_for(common_name: &str, organizations: &[&str]) -> String {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, common_name);
    for organization in organizations {
        params.distinguished_name.push(rcgen::DnType::OrganizationName, *organization);
    }
    let key = rcgen::KeyPair::generate().unwrap();
    base64::Engine::encode(
        &base64::prelude::BASE64_STANDARD,
        params.serialize_request(&key).unwrap().pem().unwrap(),
    )
}

#[tokio::test]
async fn devices_are_had_as_an_administrator_where_a_label_says_so() {
    let f = Fixture::new().await;
    let plugin = DeviceAdmin::new(f.lookup.clone());
    let claims = Ask { group: "resource.k8s.io", resource: "resourceclaims", place: "a/", ..CREATE_POD };
    let claim = |admin: bool| {
        json!({"metadata": {"name": "c"}, "spec": {"devices": {"requests": [
        {"name": "r", "exactly": {"deviceClassName": "x", "adminAccess": admin}}]}}})
    };
    assert!(admit(&plugin, &claims, Some(claim(false))).is_ok());
    let expected = "ResourceClaim.resource.k8s.io \"c\" is invalid: spec.devices.requests[0].exactly.adminAccess: Forbidden: \
        admin access to devices requires the `resource.kubernetes.io/admin-access: true` label on the containing namespace";
    assert_eq!(refusal(&plugin, &claims, Some(claim(true))), (422, expected.to_owned()));
    let templates = Ask { resource: "resourceclaimtemplates", ..claims };
    let template = json!({"metadata": {"name": "t"}, "spec": {"spec": claim(true)["spec"]}});
    assert!(
        refusal(&plugin, &templates, Some(template))
            .1
            .contains("spec.spec.devices.requests[0].exactly.adminAccess")
    );
}

#[tokio::test]
async fn nodes_say_what_is_theirs_and_no_more() {
    let f = Fixture::new().await;
    let plugin = NodeRestriction::new(f.lookup.clone(), Arc::new(PrivilegedGroup));
    let user = "system:node:n1";
    let why = |ask: &Ask<'_>, object: Value| refusal(&plugin, ask, Some(object)).1;
    let slices = Ask { user, group: "resource.k8s.io", resource: "resourceslices", place: "/", ..CREATE_POD };
    let slice = |node: &str| json!({"metadata": {"name": "s"}, "spec": {"nodeName": node}});
    assert!(admit(&plugin, &slices, Some(slice("n1"))).is_ok());
    assert!(
        why(&slices, slice("n2"))
            .ends_with("can only create ResourceSlice with the same NodeName as the requesting node")
    );
    let delete = Ask { operation: Operation::Delete, place: "/s", old: Some(slice("n2")), ..slices };
    assert!(refusal(&plugin, &delete, None).1.contains("can only delete ResourceSlice"));

    let claim = |phase: &str, size: &str| json!({"metadata": {"name": "c"}, "status": {"phase": phase, "capacity": {"storage": size}}});
    let grown = Ask {
        user,
        operation: Operation::Update,
        resource: "persistentvolumeclaims/status",
        place: "a/c",
        old: Some(claim("Bound", "1Gi")),
        ..CREATE_POD
    };
    assert!(admit(&plugin, &grown, Some(claim("Bound", "2Gi"))).is_ok());
    assert!(
        why(&grown, claim("Lost", "2Gi"))
            .contains("is not allowed to update fields other than status.quantity and status.conditions")
    );

    let requests = Ask {
        user,
        group: "certificates.k8s.io",
        resource: "certificatesigningrequests",
        place: "/",
        ..CREATE_POD
    };
    let request = |signer: &str, name: &str| json!({"metadata": {"name": "r"}, "spec": {"signerName": signer, "request": asked_for(name, &["system:nodes"])}});
    let serving = "kubernetes.io/kubelet-serving";
    assert!(admit(&plugin, &requests, Some(request(serving, "system:node:n1"))).is_ok());
    assert!(
        why(&requests, request(serving, "system:node:n2"))
            .ends_with("can only create a node CSR with CN=system:node:n1")
    );
    assert!(admit(&plugin, &requests, Some(request("example.com/a", "system:node:n2"))).is_ok());
    f.stop().await;
}

#[tokio::test]
async fn certificates_are_given_by_who_may_and_make_no_master() {
    let f = Fixture::new().await;
    let group = "certificates.k8s.io";
    let create = Ask { group, resource: "certificatesigningrequests", place: "/", ..CREATE_POD };
    let client = "kubernetes.io/kube-apiserver-client";
    let request = |signer: &str, organization: &str| json!({"metadata": {"name": "r"}, "spec": {"signerName": signer, "request": asked_for("jane", &[organization])}});
    let plugin = CertificateSubjectRestriction;
    assert!(admit(&plugin, &create, Some(request(client, "dev"))).is_ok());
    assert_eq!(
        refusal(&plugin, &create, Some(request(client, "system:masters"))),
        (403, r#"certificatesigningrequests.certificates.k8s.io "r" is forbidden: use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed"#.into())
    );
    assert!(admit(&plugin, &create, Some(request("example.com/a", "system:masters"))).is_ok());

    let rbac = Rbac::start(&f.lookup, &f.supervisor).unwrap();
    let role = json!({"metadata": {"name": "sign"}, "rules": [
        {"verbs": ["approve"], "apiGroups": [group], "resources": ["signers"], "resourceNames": ["example.com/*"]},
        {"verbs": ["sign"], "apiGroups": [group], "resources": ["signers"], "resourceNames": [client]}]});
    f.put("clusterroles/sign", &role).await;
    let binding = json!({"metadata": {"name": "b"}, "roleRef": {"kind": "ClusterRole", "name": "sign"}, "subjects": [{"kind": "User", "name": "ann"}]});
    f.put("clusterrolebindings/b", &binding).await;
    rbac.settled().await;
    let approval = CertificateRights::approval(Arc::new(rbac.clone()));
    let signing = CertificateRights::signing(Arc::new(rbac.clone()));
    let update = |subresource, signer: &str| Ask {
        operation: Operation::Update,
        resource: subresource,
        place: "/r",
        old: Some(request(signer, "dev")),
        ..create
    };
    let answered = |signer: &str| {
        let mut answered = request(signer, "dev");
        answered["status"] = json!({"conditions": [{"type": "Approved"}]});
        Some(answered)
    };
    let part = "certificatesigningrequests/approval";
    assert!(admit(&approval, &update(part, "example.com/a"), answered("example.com/a")).is_ok());
    assert_eq!(
        refusal(&approval, &update(part, client), answered(client)).1,
        r#"certificatesigningrequests.certificates.k8s.io "r" is forbidden: user not permitted to approve requests with signerName "kubernetes.io/kube-apiserver-client""#
    );
    let status = "certificatesigningrequests/status";
    assert!(admit(&signing, &update(status, client), answered(client)).is_ok());
    assert!(
        refusal(&signing, &update(status, "example.com/a"), answered("example.com/a"))
            .1
            .contains("not permitted to sign")
    );
    let unchanged = update(status, "example.com/a");
    assert!(admit(&signing, &unchanged, unchanged.old.clone()).is_ok(), "metadata signs nothing");
    f.stop().await;
}

#[tokio::test]
async fn a_node_changes_of_its_own_volumes_what_it_has_done_and_nothing_else() {
    let f = Fixture::new().await;
    let plugin = NodeRestriction::new(f.lookup.clone(), Arc::new(PrivilegedGroup));
    let volume = |node: &str, finalizers: &[&str], annotations: Value| {
        json!({"metadata": {"name": "v", "labels": {"knarr.dev/node": node}, "finalizers": finalizers,
            "annotations": annotations}, "spec": {"capacity": {"storage": "1Gi"}}})
    };
    let held = ["knarr.dev/directory", "kubernetes.io/pv-protection"];
    let update = |old: &Value, new: &Value| {
        let ask = Ask {
            user: "system:node:n1",
            operation: Operation::Update,
            resource: "persistentvolumes",
            place: "/v",
            old: Some(old.clone()),
            ..CREATE_POD
        };
        admit(&plugin, &ask, Some(new.clone())).map(drop).map_err(|(_, why)| why)
    };
    let made = || json!({"knarr.dev/directory-made": "true"});
    let mine = volume("n1", &held, json!({}));
    assert_eq!(update(&mine, &volume("n1", &held, made())), Ok(()));
    assert_eq!(update(&mine, &volume("n1", &held[1..], json!({}))), Ok(()));
    let other = volume("n2", &held, json!({}));
    assert!(
        update(&other, &volume("n2", &held, made())).is_err_and(|why| why.contains("its own directories"))
    );
    for wrong in [
        volume("n1", &held[..1], json!({})),
        volume("n1", &held, json!({"a": "b"})),
        volume("n2", &held, json!({})),
    ] {
        assert!(update(&mine, &wrong).is_err_and(|why| why.contains("let the volume go")), "{wrong}");
    }
    assert!(update(&volume("n1", &held, made()), &mine).is_err(), "what was made stays made");
    f.stop().await;
}

#[test]
fn claims_and_volumes_are_made_with_the_finalizer_that_keeps_them() {
    let finalizers = |resource, object: Value, operation| {
        let ask = Ask { resource, operation, ..CREATE_POD };
        admit(&StorageProtection, &ask, Some(object)).unwrap()["metadata"]["finalizers"].clone()
    };
    let bare = || json!({"metadata": {"name": "x"}});
    let claim = |object| finalizers("persistentvolumeclaims", object, Operation::Create);
    assert_eq!(claim(bare()), json!(["kubernetes.io/pvc-protection"]));
    let own = json!({"metadata": {"name": "x", "finalizers": ["a/b", "kubernetes.io/pvc-protection"]}});
    assert_eq!(claim(own), json!(["a/b", "kubernetes.io/pvc-protection"]));
    let volume = finalizers("persistentvolumes", bare(), Operation::Create);
    assert_eq!(volume, json!(["kubernetes.io/pv-protection"]));
    let class = Ask { group: "storage.k8s.io", resource: "volumeattributesclasses", ..CREATE_POD };
    let class = admit(&StorageProtection, &class, Some(bare())).unwrap();
    assert_eq!(class["metadata"]["finalizers"], json!(["kubernetes.io/vac-protection"]));
    assert_eq!(finalizers("persistentvolumes", bare(), Operation::Update), Value::Null);
    assert_eq!(finalizers("pods", bare(), Operation::Create), Value::Null);
}

#[tokio::test]
async fn the_default_class_is_the_newest_and_says_whether_claims_grow() {
    let f = Fixture::new().await;
    let create = Ask { resource: "persistentvolumeclaims", ..CREATE_POD };
    let claim = |spec: Value| json!({"metadata": {"name": "c"}, "spec": spec});
    let plugin = DefaultStorageClass::new(f.lookup.clone());
    assert_eq!(admit(&plugin, &create, Some(claim(json!({})))).unwrap(), claim(json!({})));
    for (name, born, grows) in [
        ("old", "2026-01-01T00:00:00Z", true),
        ("b", "2026-02-01T00:00:00Z", false),
        ("a", "2026-02-01T00:00:00Z", false),
    ] {
        let class = json!({"metadata": {"name": name, "creationTimestamp": born, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}, "allowVolumeExpansion": grows});
        f.put(&format!("storageclasses/{name}"), &class).await;
    }
    assert_eq!(admit(&plugin, &create, Some(claim(json!({})))).unwrap()["spec"]["storageClassName"], "a");
    let none = claim(json!({"storageClassName": ""}));
    assert_eq!(admit(&plugin, &create, Some(none.clone())).unwrap(), none);

    let sized = |class: &str, size: &str, phase: &str| json!({"metadata": {"name": "c"}, "spec": {"storageClassName": class, "resources": {"requests": {"storage": size}}}, "status": {"phase": phase}});
    let resize = ClaimResize::new(f.lookup.clone());
    let grow = |class: &str, phase: &str| {
        let ask = Ask {
            operation: Operation::Update,
            place: "a/c",
            old: Some(sized(class, "1Gi", phase)),
            ..create
        };
        admit(&resize, &ask, Some(sized(class, "2Gi", phase))).map(drop).map_err(|(_, why)| why)
    };
    assert_eq!(grow("old", "Bound"), Ok(()));
    assert!(
        grow("old", "Pending").unwrap_err().ends_with("only bound persistent volume claims can be expanded")
    );
    assert!(grow("a", "Bound").unwrap_err().ends_with("only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize"));

    let class = json!({"metadata": {"name": "web", "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}}});
    f.put("ingressclasses/web", &class).await;
    let ingress = Ask { group: "networking.k8s.io", resource: "ingresses", ..CREATE_POD };
    let given = admit(&DefaultIngressClass::new(f.lookup.clone()), &ingress, Some(claim(json!({})))).unwrap();
    assert_eq!(given["spec"]["ingressClassName"], "web");
    f.stop().await;
}

#[tokio::test]
async fn a_pod_knows_its_nodes_zone() {
    let f = Fixture::new().await;
    let plugin = PodTopologyLabels::new(f.lookup.clone());
    let labels =
        json!({"topology.kubernetes.io/zone": "z1", "topology.kubernetes.io/region": "r1", "other": "x"});
    f.put("minions/n1", &json!({"metadata": {"name": "n1", "labels": labels}})).await;
    let own = json!({"name": "p", "labels": {"topology.kubernetes.io/zone": "own"}});
    let pod = |node: &str| json!({"metadata": own, "spec": {"nodeName": node}});
    let binding = |kind: &str, node: &str| json!({"metadata": own, "target": {"kind": kind, "name": node}});
    let bind = Ask { resource: "pods/binding", place: "a/p", ..CREATE_POD };
    for (ask, placed) in [(&CREATE_POD, pod("n1")), (&bind, binding("Node", "n1"))] {
        assert_eq!(
            admit(&plugin, ask, Some(placed)).unwrap()["metadata"]["labels"],
            json!({"topology.kubernetes.io/zone": "z1", "topology.kubernetes.io/region": "r1"})
        );
    }
    let others =
        [(&CREATE_POD, pod("n2")), (&bind, binding("Node", "n2")), (&bind, binding("Machine", "n1"))];
    for (ask, other) in others {
        assert_eq!(admit(&plugin, ask, Some(other.clone())).unwrap(), other);
    }
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
