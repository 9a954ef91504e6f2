//! The table, the decisions, and a whole server set up twice.

use std::sync::Arc;

use base::SystemClock;
use serde_json::json;

use super::*;
use crate::identity::authn::service_account::SigningKey;
use crate::identity::authz::Decision;
use crate::request::{Attributes, User};
use crate::security::{Security, SecurityConfig};
use crate::testing::Fixture;
use crate::{Config, Deps, Server};

fn config() -> BootstrapConfig {
    BootstrapConfig {
        cluster_name: "knarr".into(),
        cluster_domain: "cluster.local".into(),
        pod_cidr: "10.244.0.0/16".into(),
        service_cidr: "10.96.0.0/12".into(),
        service_ip: "10.96.0.1".parse().unwrap(),
        dns_ip: "10.96.0.10".parse().unwrap(),
        corefile: ". {\n}\n".into(),
        advertise_ip: "192.0.2.1".parse().unwrap(),
        secure_port: 6443,
        client_ca_pem: "pem".into(),
        front_proxy_ca_pem: "proxy pem".into(),
        front_proxy_name: "front-proxy-client".into(),
    }
}

fn find(name: &str) -> Object {
    policy::objects().into_iter().find(|object| object.name() == name).unwrap()
}

#[test]
fn the_table_is_read_as_upstream_has_it() {
    let objects = policy::objects();
    assert!(objects.len() > 100, "{}", objects.len());
    let name = |object: &Object| format!("{} {}/{}", object.kind(), object.namespace(), object.name());
    let names: std::collections::BTreeSet<String> = objects.iter().map(name).collect();
    assert_eq!(names.len(), objects.len(), "none is twice in it");
    let view = find("view");
    assert_eq!(view.label("kubernetes.io/bootstrapping"), Some("rbac-defaults"));
    assert_eq!(view.label("rbac.authorization.k8s.io/aggregate-to-edit"), Some("true"));
    assert_eq!(view.annotation("rbac.authorization.kubernetes.io/autoupdate"), Some("true"));
    let selector = view.at(&["aggregationRule", "clusterRoleSelectors"]).unwrap();
    assert_eq!(selector[0]["matchLabels"]["rbac.authorization.k8s.io/aggregate-to-view"], "true");
    let count = |role: &Object| role.0["rules"].as_array().unwrap().len();
    let (edit, admin) = (find("edit"), find("admin"));
    assert!(count(&view) > 5 && count(&edit) > count(&view) && count(&admin) > count(&edit));
    assert_eq!(admin.label("rbac.authorization.k8s.io/aggregate-to-admin"), None);
    let binding = objects
        .iter()
        .find(|o| o.kind() == "ClusterRoleBinding" && o.name() == "system:controller:job-controller")
        .unwrap();
    assert_eq!(
        binding.0["subjects"],
        json!([{"kind": "ServiceAccount", "name": "job-controller", "namespace": "kube-system"}])
    );
    let node =
        objects.iter().find(|o| o.kind() == "ClusterRoleBinding" && o.name() == "system:node").unwrap();
    assert!(!node.0.contains_key("subjects"));
    assert!(!node_rules().is_empty());
}

#[test]
fn what_is_missing_is_added_and_what_was_added_stays() {
    let wanted = find("system:basic-user");
    assert_eq!(plan(&wanted, None), Some(Action::Create(wanted.clone())));
    let mut found = wanted.clone();
    found.set_meta_str("resourceVersion", "7");
    assert_eq!(plan(&wanted, Some(&found)), None);
    let extra = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["x"]});
    found.0.insert("rules".into(), json!([wanted.0["rules"][0], extra]));
    let Some(Action::Update(next)) = plan(&wanted, Some(&found)) else { panic!() };
    assert_eq!(next.0["rules"].as_array().unwrap().len(), 3);
    assert_eq!(next.0["rules"][1], extra);
    assert_eq!(next.resource_version(), "7");
    assert_eq!(plan(&wanted, Some(&next)), None);
    found.set_at(
        &["metadata", "annotations"],
        json!({"rbac.authorization.kubernetes.io/autoupdate": "false"}),
    );
    assert_eq!(plan(&wanted, Some(&found)), None);

    let binding = policy::objects().into_iter().find(|o| o.kind() == "ClusterRoleBinding").unwrap();
    let mut other = binding.clone();
    other.set_at(&["roleRef", "name"], "other".into());
    assert_eq!(plan(&binding, Some(&other)), Some(Action::Replace(binding.clone())));
    // What cannot be changed is made anew: the server's address may be of another family than before.
    let [.., slice] = objects::api_service(&config());
    let six = BootstrapConfig { advertise_ip: "2001:db8::1".parse().unwrap(), ..config() };
    let [.., other] = objects::api_service(&six);
    assert_eq!(plan(&other, Some(&slice)), Some(Action::Replace(other.clone())));
    let mut other = binding.clone();
    other.set_at(&["subjects"], json!([{"kind": "User", "name": "x"}]));
    let Some(Action::Update(next)) = plan(&binding, Some(&other)) else { panic!() };
    assert_eq!(next.0["subjects"].as_array().unwrap().len(), 2);
}

/// The administrator of a whole server.
async fn served(f: &Fixture) -> (Security, Client) {
    let clock = Arc::new(SystemClock);
    let security = SecurityConfig::new(SigningKey::generate().unwrap());
    let security = Security::start(
        security,
        &f.cache,
        Arc::new(resources::Builtin),
        Arc::new(crate::conversion::ByRow),
        f.caller(),
        clock.clone(),
        &f.supervisor,
    )
    .await
    .unwrap();
    let server = Server::build(
        Config::default(),
        Deps {
            clock,
            supervisor: f.supervisor.clone(),
            store: f.store.clone(),
            cache: f.cache.clone(),
            resources: Arc::new(resources::Builtin),
            authenticator: security.authenticator.clone(),
            authorizer: security.authorizer.clone(),
            admission: security.admission.clone(),
            reservers: security.reservers.clone(),
            converter: Arc::new(crate::conversion::ByRow),
            tokens: Some(security.tokens.clone()),
            rules: Some(security.rules.clone()),
            kubelet: None,
            request_headers: None,
            aggregator: None,
        },
    );
    let admin =
        User { name: "system:apiserver".into(), groups: vec!["system:masters".into()], ..User::default() };
    (security, ::client::in_process(server.in_process(admin)))
}

#[tokio::test]
async fn a_server_is_set_up_once_and_corrected_later() {
    let f = Fixture::new().await;
    let (security, client) = served(&f).await;
    let first = run(&client, &config()).await.unwrap();
    assert_eq!(
        first.created,
        policy::objects().len()
            + objects::grounds(&config()).len()
            + objects::others(&config()).len()
            + objects::firsts().len()
    );
    assert_eq!(run(&client, &config()).await.unwrap(), Summary::default());
    security.settled().await;

    let may = |user: User, verb: &str, resource: &str| {
        let attributes = Attributes {
            user: Arc::new(user),
            verb: verb.into(),
            is_resource: true,
            resource: resource.into(),
            ..Attributes::default()
        };
        security.authorizer.authorize(&attributes).now() == Some(Decision::Allow)
    };
    let user = |name: &str| User { name: name.into(), ..User::default() };
    assert!(may(controller_identity("replicaset-controller"), "create", "pods"));
    assert!(!may(controller_identity("replicaset-controller"), "create", "secrets"));
    assert!(may(user("system:kube-controller-manager"), "watch", "pods"));
    assert!(!may(user("system:kube-controller-manager"), "create", "pods"));
    assert!(may(user("system:kube-scheduler"), "list", "nodes"));
    assert!(!may(user("ann"), "list", "pods"));

    // What somebody broke is put right, and only that; the address may have changed.
    f.delete("clusterroles/view").await;
    f.delete("rolebindings/kube-public/system:controller:bootstrap-signer").await;
    let moved = BootstrapConfig { advertise_ip: "192.0.2.2".parse().unwrap(), ..config() };
    assert_eq!(run(&client, &moved).await.unwrap(), Summary { created: 2, updated: 3 });
    let told = || {
        f.lookup.object("", "configmaps", "kube-public", "cluster-info").unwrap().0["data"]["kubeconfig"]
            .to_string()
    };
    assert!(told().contains("server: https://192.0.2.2:6443"), "{}", told());
    let again = BootstrapConfig { advertise_ip: "2001:db8::1".parse().unwrap(), ..config() };
    publish_cluster_info(&client, &again).await.unwrap();
    assert!(told().contains("server: https://[2001:db8::1]:6443"), "{}", told());
    let slice = f.lookup.object("discovery.k8s.io", "endpointslices", "default", "kubernetes").unwrap();
    assert_eq!(slice.at(&["endpoints"]).unwrap()[0]["addresses"], json!(["192.0.2.2"]));
    f.stop().await;
}

#[tokio::test]
async fn what_the_administrator_has_made_of_a_first_object_stays() {
    let f = Fixture::new().await;
    let (_security, client) = served(&f).await;
    run(&client, &config()).await.unwrap();
    let class = json!({"metadata": {"name": "standard", "annotations": {"storageclass.kubernetes.io/is-default-class": "false"}}, "provisioner": "knarr.dev/directory"});
    f.put("storageclasses/standard", &class).await;
    run(&client, &config()).await.unwrap();
    let kept = f.lookup.object("storage.k8s.io", "storageclasses", "", "standard").unwrap();
    assert_eq!(kept.annotation("storageclass.kubernetes.io/is-default-class"), Some("false"));
    f.delete("storageclasses/standard").await;
    assert_eq!(run(&client, &config()).await.unwrap(), Summary { created: 1, updated: 0 });
    f.stop().await;
}
