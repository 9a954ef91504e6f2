//! Services.

use super::*;

fn service(annotations: Value, spec: Value) -> Value {
    let mut whole = json!({"type": "ClusterIP", "ports": [{"port": 80}]});
    for (key, value) in spec.as_object().expect("an object") {
        whole[key] = value.clone();
    }
    json!({"metadata": {"name": "s", "annotations": annotations}, "spec": whole})
}

#[test]
fn what_services_have_is_refused_in_upstreams_order() {
    let said = |spec: Value| created("services", &service(json!({}), spec));
    let ports =
        json!([{"name": "a", "port": 80, "nodePort": 30000}, {"name": "b", "port": 80, "nodePort": 30000}]);
    assert_eq!(
        said(json!({"type": "NodePort", "ports": ports, "sessionAffinity": "Maybe"})),
        [
            "spec.sessionAffinity: Unsupported value: \"Maybe\": supported values: \"ClientIP\", \"None\"",
            "spec.ports[1].nodePort: Duplicate value: 30000",
            "spec.ports[1]: Duplicate value: {\"AppProtocol\":null,\"Name\":\"\",\"NodePort\":0,\"Port\":80,\"Protocol\":\"TCP\",\"TargetPort\":0}",
        ]
    );
    assert_eq!(
        said(json!({"ports": [{"port": 80, "nodePort": 30000, "appProtocol": ""}]})),
        [
            "spec.ports[0].appProtocol: Invalid value: \"\": name part must be non-empty",
            "spec.ports[0].appProtocol: Invalid value: \"\": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
            "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
        ]
    );
    assert_eq!(
        said(
            json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 0}}})
        ),
        [
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 0: must be greater than 0 and less than 86400"
        ]
    );
    assert_eq!(
        said(json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 70000})),
        ["spec.healthCheckNodePort: Invalid value: 70000: must be between 1 and 65535, inclusive"]
    );
    assert_eq!(
        said(json!({"loadBalancerSourceRanges": ["x"]})),
        [
            "spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'",
            "spec.LoadBalancerSourceRanges[0]: Invalid value: \"x\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
        ]
    );
}

#[test]
fn annotations_of_services_are_judged() {
    let said =
        |annotations: Value, kind: &str| created("services", &service(annotations, json!({"type": kind})));
    let ranges = "service.beta.kubernetes.io/load-balancer-source-ranges";
    assert_eq!(
        said(json!({ ranges: "10.0.0.0/8, y" }), "ClusterIP"),
        [
            format!(
                "metadata.annotations[{ranges}]: Forbidden: may only be used when `type` is 'LoadBalancer'"
            ),
            format!(
                "metadata.annotations[{ranges}]: Invalid value: \"y\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
            ),
        ]
    );
    assert_eq!(said(json!({ ranges: " " }), "LoadBalancer"), [""; 0]);
    let (hints, mode) = ("service.kubernetes.io/topology-aware-hints", "service.kubernetes.io/topology-mode");
    assert_eq!(
        said(json!({hints: "Auto", mode: "Disabled"}), "ClusterIP"),
        [format!(
            "metadata.annotations[{mode}]: Invalid value: \"Disabled\": must match annotations[{hints}] when both are specified"
        )]
    );
}

#[test]
fn where_a_balancer_is_reached() {
    let at = |kind: &str, point: Value| {
        let mut service = service(json!({}), json!({"type": kind}));
        service["status"] = json!({"loadBalancer": {"ingress": [point]}});
        service
    };
    let said =
        |kind: &str, point: Value| status_updated("services", &at(kind, point.clone()), &at(kind, point));
    assert_eq!(said("LoadBalancer", json!({"ip": "10.0.0.1"})), [""; 0]);
    assert_eq!(
        said("ClusterIP", json!({"ip": "10.0.0.1"})),
        ["status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is 'LoadBalancer'"]
    );
    assert_eq!(
        said("LoadBalancer", json!({"hostname": "10.0.0.1", "ipMode": "VIP"})),
        [
            "status.loadBalancer.ingress[0].ipMode: Forbidden: may not be specified when `ip` is not set",
            "status.loadBalancer.ingress[0].hostname: Invalid value: \"10.0.0.1\": must be a DNS name, not an IP address",
        ]
    );
    assert_eq!(
        said("LoadBalancer", json!({"ip": "x", "ipMode": "Maybe"})),
        [
            "status.loadBalancer.ingress[0].ip: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            "status.loadBalancer.ingress[0].ipMode: Unsupported value: \"Maybe\": supported values: \"Proxy\", \"VIP\"",
        ]
    );
}
