//! What authors of objects beside pods are warned of, in upstream's words.

use super::*;

fn warned_on_create(plural: &str, value: &Value) -> Vec<String> {
    let object = object(plural, value);
    let _known = Known::of(&object, &row(plural).schema);
    row(plural).logic.warnings_on_create(&object)
}

#[test]
fn a_name_that_becomes_a_pods_should_be_a_label() {
    const TEXT: &str = "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: [must not contain dots]";
    let of =
        |name: &str| json!({"metadata": {"name": name}, "spec": {"template": {"spec": {"containers": []}}}});
    for plural in ["deployments", "replicasets", "replicationcontrollers", "jobs", "cronjobs"] {
        assert_eq!(warned_on_create(plural, &of("a.b")), [TEXT], "{plural}");
        assert!(warned(plural, &of("a.b")).is_empty(), "an update of {plural} cannot change its name");
        assert!(warned_on_create(plural, &of("a-b")).is_empty(), "{plural}");
    }
    // Upstream names none for these.
    for plural in ["daemonsets", "statefulsets"] {
        assert!(warned_on_create(plural, &of("a.b")).is_empty(), "{plural}");
    }
}

#[test]
fn templates_are_looked_at_wherever_they_are() {
    let template = json!({"spec": {"nodeSelector": {"beta.kubernetes.io/os": "linux"}, "containers": []}});
    let text =
        "nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead";
    let cron_job =
        json!({"metadata": {"name": "a"}, "spec": {"jobTemplate": {"spec": {"template": template.clone()}}}});
    assert_eq!(warned("cronjobs", &cron_job), [format!("spec.jobTemplate.spec.template.spec.{text}")]);
    let alone = json!({"metadata": {"name": "a"}, "template": template});
    assert_eq!(warned("podtemplates", &alone), [format!("template.spec.{text}")]);
}

#[test]
fn an_ingress_names_its_class_in_a_field() {
    let annotations = json!({"kubernetes.io/ingress.class": "nginx"});
    let mut ingress = json!({"metadata": {"name": "a", "annotations": annotations}, "spec": {}});
    assert_eq!(
        warned_on_create("ingresses", &ingress),
        [
            "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead"
        ]
    );
    assert!(warned("ingresses", &ingress).is_empty(), "upstream warns on create alone");
    ingress["spec"]["ingressClassName"] = json!("nginx");
    assert!(warned_on_create("ingresses", &ingress).is_empty());
}

#[test]
fn services_say_what_is_ignored_and_what_is_old() {
    let of = |spec: Value| warned("services", &json!({"metadata": {"name": "a"}, "spec": spec}));
    assert_eq!(
        of(json!({"type": "ClusterIP", "clusterIP": "None", "sessionAffinity": "ClientIP",
            "loadBalancerIP": "192.0.2.1", "externalIPs": ["192.0.2.2"]})),
        [
            "spec.loadBalancerIP is ignored for headless services",
            "spec.externalIPs is ignored for headless services",
            "spec.SessionAffinity is ignored for headless services",
        ]
    );
    assert_eq!(
        of(json!({"type": "LoadBalancer", "sessionAffinity": "None", "externalName": "x",
            "externalIPs": ["2001:db8:0::1", "::ffff:192.0.2.1"], "trafficDistribution": "PreferClose"})),
        [
            "spec.externalIPs[0]: IPv6 address \"2001:db8:0::1\" should be in RFC 5952 canonical format (\"2001:db8::1\")",
            "spec.externalIPs[1]: non-standard IP address \"::ffff:192.0.2.1\" will be considered invalid in a future Kubernetes release: use \"192.0.2.1\"",
            "spec.externalIPs is deprecated and may no longer be implemented in some clusters",
            "spec.externalName is ignored when spec.type is not \"ExternalName\"",
            "spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"",
        ]
    );
    assert!(of(json!({"type": "ClusterIP", "clusterIP": "10.0.0.1", "sessionAffinity": "None"})).is_empty());
    let hints = json!({"service.kubernetes.io/topology-aware-hints": "auto"});
    assert_eq!(
        warned("services", &json!({"metadata": {"name": "a", "annotations": hints}, "spec": {}})),
        [
            "annotation service.kubernetes.io/topology-aware-hints is deprecated, please use service.kubernetes.io/topology-mode instead"
        ]
    );
}

#[test]
fn storage_says_what_is_old_or_no_whole_number() {
    let annotations = json!({"volume.beta.kubernetes.io/storage-class": "fast"});
    let metadata = json!({"name": "a", "annotations": annotations});
    let class = "metadata.annotations[volume.beta.kubernetes.io/storage-class]: deprecated since v1.8; use \"storageClassName\" attribute instead";
    let terms = json!([{"matchExpressions": [{"key": "beta.kubernetes.io/arch", "operator": "Exists"}]}]);
    let volume = json!({"metadata": metadata.clone(), "spec": {"persistentVolumeReclaimPolicy": "Recycle",
        "nodeAffinity": {"required": {"nodeSelectorTerms": terms}}}});
    assert_eq!(
        warned("persistentvolumes", &volume),
        [
            class,
            "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.",
            "spec.nodeAffinity.required.nodeSelectorTerms[0].matchExpressions[0].key: beta.kubernetes.io/arch is deprecated since v1.14; use \"kubernetes.io/arch\" instead",
        ]
    );
    let spec = json!({"resources": {"requests": {"storage": "500m"}, "limits": {"storage": "1Gi"}}});
    let fraction =
        "resources.requests[storage]: fractional byte value \"500m\" is invalid, must be an integer";
    assert_eq!(
        warned("persistentvolumeclaims", &json!({"metadata": metadata, "spec": spec.clone()})),
        [class.to_owned(), format!("spec.{fraction}")]
    );
    let set = json!({"metadata": {"name": "a"}, "spec": {"revisionHistoryLimit": -1,
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": spec}]}});
    assert_eq!(
        warned("statefulsets", &set),
        [
            format!("spec.volumeClaimTemplates[0].{fraction}"),
            "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended".to_owned(),
        ]
    );
    let topology = json!([{"matchLabelExpressions": [{"key": "failure-domain.beta.kubernetes.io/zone", "values": ["a"]}]}]);
    assert_eq!(
        warned(
            "storageclasses",
            &json!({"metadata": {"name": "a"}, "provisioner": "x", "allowedTopologies": topology})
        ),
        [
            "allowedTopologies[0].matchLabelExpressions[0].key: deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead"
        ]
    );
}

#[test]
fn a_service_account_that_guards_its_secrets_is_told() {
    let annotations = json!({"kubernetes.io/enforce-mountable-secrets": "true"});
    assert_eq!(
        warned("serviceaccounts", &json!({"metadata": {"name": "a", "annotations": annotations}})),
        [
            "metadata.annotations[kubernetes.io/enforce-mountable-secrets]: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"
        ]
    );
}

#[test]
fn ranges_of_a_network_policy_are_to_be_unambiguous() {
    let block = json!({"cidr": "10.0.0.8/24", "except": ["10.0.0.0/25", "::ffff:192.0.2.0/120", "2001:db8:0:0::/64"]});
    let peers = json!([{"podSelector": {}}, {"ipBlock": block}]);
    let path = "spec.egress[0].to[1].ipBlock";
    assert_eq!(
        warned("networkpolicies", &json!({"spec": {"podSelector": {}, "egress": [{"to": peers}]}})),
        [
            format!(
                "{path}.cidr: CIDR value \"10.0.0.8/24\" is ambiguous in this context (should be \"10.0.0.0/24\" or \"10.0.0.8/32\"?)"
            ),
            format!(
                "{path}.except[1]: non-standard CIDR value \"::ffff:192.0.2.0/120\" will be considered invalid in a future Kubernetes release: use \"192.0.2.0/24\""
            ),
            format!(
                "{path}.except[2]: IPv6 CIDR value \"2001:db8:0:0::/64\" should be in RFC 5952 canonical format (\"2001:db8::/64\")"
            ),
        ]
    );
}

#[test]
fn addresses_are_written_in_the_usual_way() {
    let zeros = "non-standard IP address \"010.2.3.4\" will be considered invalid in a future Kubernetes release: use \"10.2.3.4\"";
    let of = |spec: Value| warned("services", &json!({"metadata": {"name": "a"}, "spec": spec}));
    let balanced = |address: &str| of(json!({"type": "LoadBalancer", "loadBalancerIP": address}));
    assert_eq!(balanced("010.2.3.4"), [format!("spec.loadBalancerIP: {zeros}")]);
    for other in ["10.2.3.4", "010.2.3", "010.2.3.4.5", "010.2.3.+4", "010.2.3.256", "name"] {
        assert!(balanced(other).is_empty(), "{other}");
    }
    assert_eq!(
        of(json!({"type": "LoadBalancer", "loadBalancerSourceRanges": ["192.0.2.0/24", "192.0.2.1/24"]})),
        [
            "spec.loadBalancerSourceRanges[1]: CIDR value \"192.0.2.1/24\" is ambiguous in this context (should be \"192.0.2.0/24\" or \"192.0.2.1/32\"?)"
        ]
    );
    let long = "IPv6 address \"2001:DB8::1\" should be in RFC 5952 canonical format (\"2001:db8::1\")";
    let mut slice = json!({"metadata": {"name": "a"}, "addressType": "IPv6",
        "endpoints": [{"addresses": ["2001:db8::2"]}, {"addresses": ["2001:DB8::1"]}]});
    assert_eq!(warned("endpointslices", &slice), [format!("endpoints[1].addresses[0]: {long}")]);
    slice["metadata"]["labels"] =
        json!({"endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"});
    assert!(warned("endpointslices", &slice).is_empty());
    slice["addressType"] = json!("FQDN");
    assert_eq!(warned("endpointslices", &slice), ["spec.addressType: FQDN endpoints are deprecated"]);
    let mut endpoints = json!({"metadata": {"name": "a"}, "subsets": [
        {"addresses": [{"ip": "192.0.2.1"}], "notReadyAddresses": [{"ip": "2001:DB8::1"}]}]});
    assert_eq!(warned("endpoints", &endpoints), [format!("subsets[0].notReadyAddresses[0].ip: {long}")]);
    endpoints["metadata"]["labels"] = json!({"endpoints.kubernetes.io/managed-by": "endpoint-controller"});
    assert!(warned("endpoints", &endpoints).is_empty());
}

#[test]
fn old_labels_and_fields_are_told_where_nodes_and_volumes_are_described() {
    let os = "deprecated since v1.14; use \"kubernetes.io/os\" instead";
    let class = json!({"metadata": {"name": "a"}, "handler": "h",
        "scheduling": {"nodeSelector": {"beta.kubernetes.io/os": "linux", "kubernetes.io/os": "linux"}}});
    assert_eq!(warned("runtimeclasses", &class), [format!("scheduling.nodeSelector: {os}")]);
    let capacity = json!({"metadata": {"name": "a"}, "storageClassName": "s", "nodeTopology": {
        "matchLabels": {"beta.kubernetes.io/os": "linux"},
        "matchExpressions": [{"key": "beta.kubernetes.io/os", "operator": "Exists"}]}});
    assert_eq!(
        warned("csistoragecapacities", &capacity),
        [
            format!("nodeTopology.matchExpressions[0].key: beta.kubernetes.io/os is {os}"),
            format!("nodeTopology.matchLabels.beta.kubernetes.io/os: {os}")
        ]
    );
    let node = json!({"metadata": {"name": "a"}, "spec": {"externalID": "x", "configSource": {"configMap":
        {"namespace": "a", "name": "b", "kubeletConfigKey": "c"}}}});
    assert_eq!(
        warned("nodes", &node),
        [
            "spec.configSource: the feature is removed",
            "spec.externalID: this field is deprecated, and is unused by Kubernetes"
        ]
    );
    let old = json!({"volume.beta.kubernetes.io/mount-options": "ro"});
    let volume = json!({"metadata": {"name": "a", "annotations": old},
        "spec": {"storageos": {"volumeName": "v"}}});
    assert_eq!(
        warned("persistentvolumes", &volume),
        [
            "metadata.annotations[volume.beta.kubernetes.io/mount-options]: deprecated since v1.31; use \"mountOptions\" attribute instead",
            "spec.storageOS: deprecated in v1.22, non-functional in v1.25+"
        ]
    );
}
