//! What a node may read and write.

use serde_json::json;

use super::*;
use crate::bootstrap;
use crate::request::User;
use crate::testing::Fixture;

fn ask(node: &str, text: &str) -> Attributes {
    let user =
        User { name: format!("system:node:{node}"), groups: vec!["system:nodes".into()], ..User::default() };
    let words: Vec<_> = text.split(' ').collect();
    let (resource, subresource) = words[2].split_once('/').unwrap_or((words[2], ""));
    let (namespace, name) = words.get(3).and_then(|place| place.split_once('/')).unwrap_or_default();
    Attributes {
        user: user.into(),
        verb: words[0].into(),
        is_resource: true,
        group: words[1].replace("core", ""),
        resource: resource.into(),
        subresource: subresource.into(),
        namespace: namespace.into(),
        name: name.into(),
        ..Attributes::default()
    }
}

fn pod(node: &str) -> serde_json::Value {
    json!({
        "metadata": {"name": "p", "namespace": "a"},
        "spec": {
            "nodeName": node, "serviceAccountName": "bot", "imagePullSecrets": [{"name": "pull"}],
            "initContainers": [{"envFrom": [{"secretRef": {"name": "init"}}]}],
            "containers": [{"env": [{"valueFrom": {"configMapKeyRef": {"name": "env", "key": "k"}}}]}],
            "volumes": [
                {"name": "v", "secret": {"secretName": "vol"}},
                {"name": "d", "persistentVolumeClaim": {"claimName": "claim"}},
                {"name": "e", "ephemeral": {}},
                {"name": "t", "projected": {"sources": [{"configMap": {"name": "root"}}]}},
            ],
            "resourceClaims": [{"name": "gpu", "resourceClaimName": "shared"}, {"name": "nic", "resourceClaimTemplateName": "t"}],
        },
        "status": {"resourceClaimStatuses": [{"name": "nic", "resourceClaimName": "p-nic-x7"}]},
    })
}

#[tokio::test]
async fn a_node_reads_what_its_pods_need_while_they_are_there() {
    let f = Fixture::new().await;
    let node = NodeAuthorizer::start(&f.lookup, bootstrap::node_rules().into(), &f.supervisor).unwrap();
    f.put("pods/a/p", &pod("n1")).await;
    // Without waiting: a node may act on a pod as soon as it can see it.
    assert_eq!(node.decide(&ask("n1", "get core secrets a/vol")), Decision::Allow);
    let volume =
        json!({"metadata": {"name": "pv"}, "spec": {"claimRef": {"namespace": "a", "name": "claim"}}});
    f.put("persistentvolumes/pv", &volume).await;
    let attachment = json!({"metadata": {"name": "va"}, "spec": {"nodeName": "n1"}});
    f.put("volumeattachments/va", &attachment).await;
    node.settled().await;
    let needs = [
        "get core secrets a/pull",
        "get core secrets a/init",
        "watch core secrets a/vol",
        "get core configmaps a/env",
        "list core configmaps a/root",
        "get core persistentvolumeclaims a/claim",
        "get core persistentvolumeclaims a/p-e",
        "patch core persistentvolumeclaims/status a/claim",
        "get core persistentvolumes /pv",
        "create core serviceaccounts/token a/bot",
        "get resource.k8s.io resourceclaims a/shared",
        "get resource.k8s.io resourceclaims a/p-nic-x7",
        "get core pods a/p",
    ];
    for text in needs {
        assert_eq!(node.decide(&ask("n1", text)), Decision::Allow, "{text}");
        let why = "no relationship found between node 'n2' and this object";
        assert_eq!(node.decide(&ask("n2", text)), no(why), "{text}");
    }
    assert_eq!(node.decide(&ask("n1", "get storage.k8s.io volumeattachments /va")), Decision::Allow);
    let slice = json!({"metadata": {"name": "sl"}, "spec": {"nodeName": "n1"}});
    f.put("resourceslices/sl", &slice).await;
    node.settled().await;
    assert_eq!(node.decide(&ask("n1", "delete resource.k8s.io resourceslices /sl")), Decision::Allow);
    assert!(node.decide(&ask("n2", "delete resource.k8s.io resourceslices /sl")) != Decision::Allow);
    // A status that changes is no reason to look again; a pod that is replaced by one elsewhere is.
    f.put("pods/a/p", &pod("n2")).await;
    node.settled().await;
    for text in needs {
        assert!(node.decide(&ask("n1", text)) != Decision::Allow, "{text}");
        assert_eq!(node.decide(&ask("n2", text)), Decision::Allow, "{text}");
    }
    f.delete("pods/a/p").await;
    node.settled().await;
    for text in needs {
        assert!(node.decide(&ask("n2", text)) != Decision::Allow, "{text}");
    }
    f.stop().await;
}

#[tokio::test]
async fn a_node_touches_only_its_own() {
    let f = Fixture::new().await;
    let node = NodeAuthorizer::start(&f.lookup, bootstrap::node_rules().into(), &f.supervisor).unwrap();
    for (text, why) in [
        ("get core nodes /n2", "node 'n1' cannot read 'n2', only its own Node object"),
        ("list core nodes", "node 'n1' cannot read all nodes, only its own Node object"),
        ("delete core nodes /n1", ""),
        ("list core pods", "can only list/watch pods with spec.nodeName field selector"),
        ("update core pods a/p", ""),
        ("create core pods/exec a/p", ""),
        ("list core secrets", "can only read namespaced object of this type"),
        ("list core secrets a/", "No Object name found"),
        ("update core secrets a/x", "can only read resources of this type"),
        ("list core persistentvolumes", "can only get individual resources of this type"),
        ("update core persistentvolumes /pv", "can only get individual resources of this type"),
        ("delete core persistentvolumes /pv", "can only get individual resources of this type"),
        ("patch core persistentvolumes/status /pv", "can only get individual resources of this type"),
        ("create core serviceaccounts a/x", "can only create token subresource of serviceaccount"),
        (
            "get coordination.k8s.io leases kube-node-lease/n2",
            "can only access node lease with the same name as the requesting node",
        ),
        (
            "get coordination.k8s.io leases kube-system/n1",
            r#"can only access leases in the "kube-node-lease" system namespace"#,
        ),
        ("list coordination.k8s.io leases", "can only get, create, update, patch, or delete a node lease"),
        (
            "get storage.k8s.io csinodes /n2",
            "can only access CSINode with the same name as the requesting node",
        ),
        (
            "list resource.k8s.io resourceslices",
            "can only list/watch/deletecollection resourceslices with nodeName field selector",
        ),
        ("list resource.k8s.io resourceclaims", "can only get individual resources of this type"),
        ("create apps deployments a/x", ""),
        ("impersonate core users /x", ""),
    ] {
        assert_eq!(node.decide(&ask("n1", text)), no(why), "{text}");
    }
    for text in [
        "get core nodes /n1",
        "create core nodes",
        "patch core nodes/status /n1",
        "create core pods a/",
        "patch core pods/status a/p",
        "update coordination.k8s.io leases kube-node-lease/n1",
        "create coordination.k8s.io leases kube-node-lease/",
        "list core services",
        "create core events a/",
        "watch node.k8s.io runtimeclasses",
    ] {
        assert_eq!(node.decide(&ask("n1", text)), Decision::Allow, "{text}");
    }
    let selected = |field: &str, value: &str, text: &str| {
        let field_selector = vec![(field.to_owned(), value.to_owned())];
        node.decide(&Attributes { field_selector, ..ask("n1", text) })
    };
    assert_eq!(selected("spec.nodeName", "n1", "watch core pods"), Decision::Allow);
    assert!(selected("spec.nodeName", "n2", "watch core pods") != Decision::Allow);
    assert_eq!(selected("metadata.name", "n1", "list core nodes"), Decision::Allow);
    // Who only calls himself a node is none.
    let mut impostor = ask("n1", "get core nodes /n1");
    impostor.user = Arc::new(User { name: "system:node:n1".into(), ..User::default() });
    assert_eq!(node.decide(&impostor), no(""));
    f.stop().await;
}

#[tokio::test]
async fn pods_that_refer_to_the_same_share_what_is_kept_of_it_and_the_last_takes_it_along() {
    let f = Fixture::new().await;
    let node = NodeAuthorizer::start(&f.lookup, bootstrap::node_rules().into(), &f.supervisor).unwrap();
    let pod = |name: &str, node: &str, secret: &str| {
        json!({
            "metadata": {"name": name, "namespace": "a"},
            "spec": {"nodeName": node, "volumes": [{"name": "v", "secret": {"secretName": secret}}]},
        })
    };
    for (name, home) in [("p", "n1"), ("q", "n1"), ("r", "n2"), ("waits", "")] {
        f.put(&format!("pods/a/{name}"), &pod(name, home, "s")).await;
    }
    f.put("pods/a/other", &pod("other", "n2", "t")).await;
    node.settled().await;
    assert_eq!(node.graph.counts(), (2, 4, 2), "nodes, their pods, sets of needs");
    f.delete("pods/a/other").await;
    f.delete("pods/a/p").await;
    node.settled().await;
    assert_eq!(node.graph.counts(), (2, 2, 1));
    assert_eq!(node.decide(&ask("n1", "get core secrets a/s")), Decision::Allow, "the other pod needs it");
    assert!(node.decide(&ask("n2", "get core secrets a/t")) != Decision::Allow);
    assert!(node.decide(&ask("n1", "get core pods a/p")) != Decision::Allow);
    assert!(node.decide(&ask("n1", "get core secrets b/s")) != Decision::Allow);
    f.delete("pods/a/q").await;
    f.delete("pods/a/r").await;
    node.settled().await;
    assert_eq!(node.graph.counts(), (0, 0, 0));
    f.stop().await;
}

#[tokio::test]
async fn a_node_follows_the_volumes_that_are_its_own_directories() {
    let f = Fixture::new().await;
    let node = NodeAuthorizer::start(&f.lookup, bootstrap::node_rules().into(), &f.supervisor).unwrap();
    let listing = |of: &str| Attributes {
        label_selector: vec![("knarr.dev/node".into(), of.into())],
        ..ask("n1", "list core persistentvolumes")
    };
    assert_eq!(node.decide(&listing("n1")), Decision::Allow);
    assert_eq!(node.decide(&listing("n2")), no("can only get individual resources of this type"));
    f.stop().await;
}
