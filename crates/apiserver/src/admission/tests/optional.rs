//! The plugins that are off by default.

use serde_json::json;

use super::*;
use crate::eventual::Eventual;
use crate::identity::authz::Decision;

#[test]
fn images_are_pulled_always() {
    let pod = json!({"metadata": {"name": "p"}, "spec": {
        "containers": [{"name": "a", "image": "i", "imagePullPolicy": "Never"}],
        "initContainers": [{"name": "b", "image": "j"}],
        "volumes": [{"name": "v", "image": {"reference": "k"}}, {"name": "w", "emptyDir": {}}]}});
    let out = admit(&AlwaysPullImages, &CREATE_POD, Some(pod.clone())).unwrap();
    assert_eq!(out["spec"]["containers"][0]["imagePullPolicy"], "Always");
    assert_eq!(out["spec"]["initContainers"][0]["imagePullPolicy"], "Always");
    assert_eq!(out["spec"]["volumes"][0]["image"]["pullPolicy"], "Always");
    assert!(out["spec"]["volumes"][1].get("pullPolicy").is_none());
    // What has no new image is left alone.
    let update = Ask { operation: Operation::Update, place: "a/p", old: Some(pod.clone()), ..CREATE_POD };
    assert_eq!(admit(&AlwaysPullImages, &update, Some(pod.clone())), Ok(pod));
}

#[test]
fn pods_may_shun_nodes_only() {
    let pod = |key: &str| {
        json!({"metadata": {"name": "p"}, "spec": {"affinity": {"podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": key}]}}}})
    };
    assert!(admit(&AntiAffinityTopology, &CREATE_POD, Some(pod("kubernetes.io/hostname"))).is_ok());
    assert_eq!(
        refusal(&AntiAffinityTopology, &CREATE_POD, Some(pod("zone"))),
        (403, "pods \"p\" is forbidden: affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey zone but only key kubernetes.io/hostname is allowed".to_owned())
    );
}

#[test]
fn services_take_no_further_external_addresses() {
    let service = |ips: &[&str]| json!({"metadata": {"name": "s"}, "spec": {"externalIPs": ips}});
    let create = Ask { resource: "services", place: "a/", ..CREATE_POD };
    assert!(admit(&DenyServiceExternalIps, &create, Some(service(&[]))).is_ok());
    assert_eq!(
        refusal(&DenyServiceExternalIps, &create, Some(service(&["1.2.3.4"]))).1,
        "services \"s\" is forbidden: Use of external IPs is denied by admission control"
    );
    let update = Ask {
        operation: Operation::Update,
        resource: "services",
        place: "a/s",
        old: Some(service(&["1.2.3.4", "1.2.3.5"])),
        ..CREATE_POD
    };
    assert!(admit(&DenyServiceExternalIps, &update, Some(service(&["1.2.3.5"]))).is_ok());
    assert!(admit(&DenyServiceExternalIps, &update, Some(service(&["9.9.9.9"]))).is_err());
}

#[test]
fn pods_tolerate_the_taints_of_what_they_ask_for() {
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [
        {"name": "a", "resources": {"requests": {"cpu": "1", "example.com/gpu": "1", "requests.x/y": "1"}}}]}});
    let out = admit(&ExtendedResourceToleration, &CREATE_POD, Some(pod)).unwrap();
    let wanted = json!([{"key": "example.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]);
    assert_eq!(out["spec"]["tolerations"], wanted);
    assert_eq!(admit(&ExtendedResourceToleration, &CREATE_POD, Some(out.clone())), Ok(out));
}

#[tokio::test]
async fn nothing_is_asked_where_no_namespace_is() {
    let f = Fixture::new().await;
    let plugin = NamespaceExists::new(f.lookup.clone());
    let delete = Ask { operation: Operation::Delete, place: "a/p", ..CREATE_POD };
    assert_eq!(refusal(&plugin, &delete, None), (404, r#"namespaces "a" not found"#.into()));
    f.put("namespaces/a", &json!({"metadata": {"name": "a"}})).await;
    assert!(admit(&plugin, &delete, None).is_ok());
    f.stop().await;
}

#[tokio::test]
async fn pods_run_where_their_namespace_says() {
    let f = Fixture::new().await;
    let plugin = PodNodeSelector::new(f.lookup.clone());
    let pod = |selector: Value| json!({"metadata": {"name": "p"}, "spec": {"nodeSelector": selector}});
    let told = |text: &str| json!({"metadata": {"name": "a", "annotations": {"scheduler.alpha.kubernetes.io/node-selector": text}}});
    f.put("namespaces/a", &told("env=prod, tier=x")).await;
    let out = admit(&plugin, &CREATE_POD, Some(pod(json!({"disk": "ssd"})))).unwrap();
    assert_eq!(out["spec"]["nodeSelector"], json!({"disk": "ssd", "env": "prod", "tier": "x"}));
    assert_eq!(
        refusal(&plugin, &CREATE_POD, Some(pod(json!({"env": "test"})))),
        (403, "pods \"p\" is forbidden: pod node label selector conflicts with its namespace node label selector".to_owned())
    );
    f.put("namespaces/a", &told("odd")).await;
    assert_eq!(refusal(&plugin, &CREATE_POD, Some(pod(json!({})))).0, 400);
    f.stop().await;
}

#[tokio::test]
async fn pods_tolerate_what_their_namespace_says_and_permits() {
    let f = Fixture::new().await;
    let plugin = PodTolerationRestriction::new(f.lookup.clone());
    let toleration = |key: &str| json!({"key": key, "operator": "Exists", "effect": "NoSchedule"});
    let pod = |tolerations: Value| json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c"}], "tolerations": tolerations}});
    let told = |defaults: &str, permitted: &str| {
        let annotations = json!({"scheduler.alpha.kubernetes.io/defaultTolerations": defaults,
            "scheduler.alpha.kubernetes.io/tolerationsWhitelist": permitted});
        json!({"metadata": {"name": "a", "annotations": annotations}})
    };
    f.put("namespaces/a", &told(&json!([toleration("gpu")]).to_string(), "")).await;
    let out = admit(&plugin, &CREATE_POD, Some(pod(json!([toleration("own")])))).unwrap();
    assert_eq!(out["spec"]["tolerations"], json!([toleration("gpu"), toleration("own")]));
    // What memory is set aside for may go where little is left.
    let mut large = pod(json!([]));
    large["spec"]["containers"][0]["resources"] = json!({"requests": {"memory": "1Mi"}});
    let out = admit(&plugin, &CREATE_POD, Some(large)).unwrap();
    let pressure = toleration("node.kubernetes.io/memory-pressure");
    assert_eq!(out["spec"]["tolerations"], json!([toleration("gpu"), pressure]));
    f.put("namespaces/a", &told("", &json!([{"key": "gpu", "operator": "Exists"}]).to_string())).await;
    assert!(admit(&plugin, &CREATE_POD, Some(pod(json!([toleration("gpu")])))).is_ok());
    assert_eq!(
        refusal(&plugin, &CREATE_POD, Some(pod(json!([toleration("own")])))),
        (500, "pod tolerations (possibly merged with namespace default tolerations) conflict with its namespace whitelist".to_owned())
    );
    f.put("namespaces/a", &told("odd", "")).await;
    assert_eq!(refusal(&plugin, &CREATE_POD, Some(pod(json!([])))).0, 500);
    f.stop().await;
}

/// Allows what is listed as `VERB RESOURCE[/SUBRESOURCE]`.
struct Allowing(&'static [&'static str]);

impl Authorizer for Allowing {
    fn authorize<'a>(&'a self, asked: &'a Attributes) -> Eventual<'a, Decision> {
        let part =
            if asked.subresource.is_empty() { String::new() } else { format!("/{}", asked.subresource) };
        let allowed = self.0.contains(&format!("{} {}{part}", asked.verb, asked.resource).as_str());
        if allowed { Decision::Allow } else { Decision::NoOpinion("no".to_owned()) }.into()
    }
}

#[test]
fn owners_are_named_by_who_may_delete_and_blocked_by_who_may_finalize() {
    let plugin = |allowed| OwnerPermissions::new(Arc::new(resources::Builtin), Arc::new(Allowing(allowed)));
    let pod = |kind: &str, blocks: bool| {
        json!({"metadata": {"name": "p", "ownerReferences": [
            {"apiVersion": "v1", "kind": kind, "name": "o", "uid": "u", "blockOwnerDeletion": blocks}]}})
    };
    let plain = Some(pod("Node", false));
    assert_eq!(
        refusal(&plugin(&[]), &CREATE_POD, plain.clone()),
        (
            403,
            "pods \"p\" is forbidden: cannot set an ownerRef on a resource you can't delete: no, <nil>"
                .to_owned()
        )
    );
    let deleting = plugin(&["delete pods"]);
    assert!(admit(&deleting, &CREATE_POD, plain.clone()).is_ok());
    assert_eq!(
        refusal(&deleting, &CREATE_POD, Some(pod("Node", true))).1,
        "pods \"p\" is forbidden: cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: no, <nil>"
    );
    assert_eq!(
        refusal(&deleting, &CREATE_POD, Some(pod("Odd", true))).1,
        "pods \"p\" is forbidden: cannot set blockOwnerDeletion in this case because cannot find RESTMapping for APIVersion v1 Kind Odd: no matches for kind \"Odd\" in version \"v1\""
    );
    assert!(
        admit(&plugin(&["delete pods", "update nodes/finalizers"]), &CREATE_POD, Some(pod("Node", true)))
            .is_ok()
    );
    // What does not change the owners is nobody's business.
    let update = Ask { operation: Operation::Update, place: "a/p", old: plain.clone(), ..CREATE_POD };
    assert!(admit(&plugin(&[]), &update, plain).is_ok());
    assert!(admit(&plugin(&[]), &update, Some(pod("Node", true))).is_err());
}
