//! The objects of a new cluster besides RBAC's defaults.

use std::net::SocketAddr;

use api::Object;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use resources::flowcontrol;
use serde_json::{Value, json};

use super::BootstrapConfig;
use crate::identity::authn::request_header;

const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

/// What other objects stand on.
pub(super) fn grounds(config: &BootstrapConfig) -> Vec<Object> {
    let namespaces = NAMESPACES
        .iter()
        .map(|name| object(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})));
    namespaces.chain([service_cidr(config)]).collect()
}

pub(super) fn others(config: &BootstrapConfig) -> Vec<Object> {
    let objects = vec![
        priority_class(
            "system-node-critical",
            2_000_001_000,
            "Used for system critical pods that must not be moved from their current node.",
        ),
        priority_class(
            "system-cluster-critical",
            2_000_000_000,
            "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
        ),
        dns_service(config),
        dns_rules(config),
        extension_authentication(config),
        cluster_info(config),
        cluster_configuration(config),
    ];
    objects.into_iter().chain(api_service(config)).collect()
}

/// What a new cluster has and its administrator may change: the class of claims that name none, whose volumes are
/// directories of the nodes. And what requests are limited by, which a controller keeps.
pub(super) fn firsts() -> Vec<Object> {
    let class = object(json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {
            "name": "standard", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": "knarr.dev/directory", "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer", "allowVolumeExpansion": true,
    }));
    let flow = flowcontrol::mandatory().iter().chain(flowcontrol::suggested()).cloned();
    [class].into_iter().chain(flow).collect()
}

/// The Service of the API server, its Endpoints and its slice.
pub(super) fn api_service(config: &BootstrapConfig) -> [Object; 3] {
    [service(config), endpoints(config), endpoint_slice(config)]
}

fn object(value: Value) -> Object {
    Object::from_value(value).expect("the callers write objects")
}

fn priority_class(name: &str, value: i64, description: &str) -> Object {
    object(json!({
        "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name},
        "value": value, "description": description, "preemptionPolicy": "PreemptLowerPriority",
    }))
}

/// The family of an address, as services name it.
fn family(config: &BootstrapConfig) -> &'static str {
    if config.service_ip.is_ipv4() { "IPv4" } else { "IPv6" }
}

fn service(config: &BootstrapConfig) -> Object {
    object(json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": "kubernetes", "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": config.service_ip, "clusterIPs": [config.service_ip],
            "ipFamilies": [family(config)], "ipFamilyPolicy": "SingleStack",
            "internalTrafficPolicy": "Cluster", "sessionAffinity": "None",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": config.secure_port}],
        },
    }))
}

/// Under CoreDNS' well-known name and labels, by which `kubectl cluster-info` and add-ons find cluster DNS.
/// It has no endpoints: every node answers on the address itself.
fn dns_service(config: &BootstrapConfig) -> Object {
    let port =
        |name, port, protocol| json!({"name": name, "port": port, "protocol": protocol, "targetPort": port});
    object(json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": "kube-dns", "namespace": "kube-system",
            "labels": {
                "k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS",
            },
            "annotations": {"prometheus.io/port": "9153", "prometheus.io/scrape": "true"},
        },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": config.dns_ip, "clusterIPs": [config.dns_ip],
            "ipFamilies": [family(config)], "ipFamilyPolicy": "SingleStack",
            "internalTrafficPolicy": "Cluster", "sessionAffinity": "None",
            "ports": [port("dns", 53, "UDP"), port("dns-tcp", 53, "TCP"), port("metrics", 9153, "TCP")],
        },
    }))
}

/// Under CoreDNS' well-known name and key.
fn dns_rules(config: &BootstrapConfig) -> Object {
    object(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "coredns", "namespace": "kube-system"},
        "data": {"Corefile": config.corefile},
    }))
}

fn endpoints(config: &BootstrapConfig) -> Object {
    object(json!({
        "apiVersion": "v1", "kind": "Endpoints",
        "metadata": {
            "name": "kubernetes", "namespace": "default",
            "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
        },
        "subsets": [{
            "addresses": [{"ip": config.advertise_ip}],
            "ports": [{"name": "https", "port": config.secure_port, "protocol": "TCP"}],
        }],
    }))
}

fn endpoint_slice(config: &BootstrapConfig) -> Object {
    let address_type = if config.advertise_ip.is_ipv4() { "IPv4" } else { "IPv6" };
    object(json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": "kubernetes", "namespace": "default",
            "labels": {"kubernetes.io/service-name": "kubernetes"},
        },
        "addressType": address_type,
        "endpoints": [{"addresses": [config.advertise_ip], "conditions": {"ready": true}}],
        "ports": [{"name": "https", "port": config.secure_port, "protocol": "TCP"}],
    }))
}

fn service_cidr(config: &BootstrapConfig) -> Object {
    object(json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": "kubernetes"},
        "spec": {"cidrs": [config.service_cidr]},
    }))
}

/// How API servers that extend this one learn whose client certificates to trust, and whom this one forwards requests
/// for.
pub(super) fn extension_authentication(config: &BootstrapConfig) -> Object {
    let list = |text: &str| json!([text]).to_string();
    object(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "extension-apiserver-authentication", "namespace": "kube-system"},
        "data": {
            "client-ca-file": config.client_ca_pem,
            "requestheader-allowed-names": list(&config.front_proxy_name),
            "requestheader-client-ca-file": config.front_proxy_ca_pem,
            "requestheader-extra-headers-prefix": list(request_header::EXTRA_PREFIX),
            "requestheader-group-headers": list(request_header::GROUP),
            "requestheader-uid-headers": list(request_header::UID),
            "requestheader-username-headers": list(request_header::USERNAME),
        },
    }))
}

/// What anybody may know of the cluster: where its API is, and by which CA. Controllers sign it with the tokens of machines
/// that are to join.
pub(super) fn cluster_info(config: &BootstrapConfig) -> Object {
    let kubeconfig = format!(
        "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: {ca}\n    server: https://{server}\n  \
         name: \"\"\ncontexts: null\ncurrent-context: \"\"\nkind: Config\nusers: null\n",
        ca = BASE64_STANDARD.encode(&config.client_ca_pem),
        server = SocketAddr::new(config.advertise_ip, config.secure_port),
    );
    object(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "cluster-info", "namespace": "kube-public"},
        "data": {"kubeconfig": kubeconfig},
    }))
}

/// What nodes must know of the cluster's network, in kubeadm's words. As with kubeadm, the API's Service has the first
/// address of the Services' range and cluster DNS the tenth.
fn cluster_configuration(config: &BootstrapConfig) -> Object {
    let configuration = format!(
        "apiVersion: kubeadm.k8s.io/v1beta4\nclusterName: {name}\nkind: ClusterConfiguration\nkubernetesVersion: \
         {version}\nnetworking:\n  dnsDomain: {domain}\n  podSubnet: {pods}\n  serviceSubnet: {services}\n",
        name = config.cluster_name,
        version = api::TRACKED_VERSION,
        domain = config.cluster_domain,
        pods = config.pod_cidr,
        services = config.service_cidr,
    );
    object(json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "kubeadm-config", "namespace": "kube-system"},
        "data": {"ClusterConfiguration": configuration},
    }))
}
