//! Services, network policies, endpoints.

use super::*;

fn service(spec: Value) -> Value {
    json!({"metadata": {"name": "s", "namespace": "ns"}, "spec": spec})
}

#[test]
fn services() {
    let port = json!({"port": 80});
    for (spec, expect) in [
        (json!({"ports": [port]}), &[][..]),
        (json!({"clusterIP": "None"}), &[]),
        (json!({"type": "ExternalName", "externalName": "a.b."}), &[]),
        (json!({"type": "NodePort", "ports": [port]}), &[]),
        (json!({}), &["spec.ports: Required value"]),
        (
            json!({"ports": [{"port": 0}]}),
            &[
                "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
                "spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive",
            ],
        ),
        (
            json!({"ports": [{"port": 80}, {"port": 81, "name": "b"}]}),
            &["spec.ports[0].name: Required value"],
        ),
        (
            json!({"ports": [port], "type": "Cluster"}),
            &[
                "spec.type: Unsupported value: \"Cluster\": supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \"NodePort\"",
            ],
        ),
        (
            json!({"ports": [{"port": 80, "nodePort": 30000}]}),
            &["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
        ),
        (
            json!({"ports": [port], "type": "NodePort", "clusterIP": "None"}),
            &["spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services"],
        ),
        (json!({"type": "ExternalName"}), &["spec.externalName: Required value"]),
        (
            json!({"ports": [port], "selector": {"a": "b c"}}),
            &[
                "spec.selector: Invalid value: \"b c\": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
            ],
        ),
        (
            json!({"ports": [port], "externalTrafficPolicy": "Local"}),
            &[
                "spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible services",
            ],
        ),
    ] {
        assert_eq!(created("services", &service(spec.clone())), expect, "{spec}");
    }
}

#[test]
fn a_service_keeps_its_address() {
    let at = |ip: &str| service(json!({"clusterIP": ip, "clusterIPs": [ip], "ports": [{"port": 80}]}));
    assert_eq!(updated("services", &at("10.0.0.1"), &at("10.0.0.1")), [""; 0]);
    assert_eq!(
        updated("services", &at("10.0.0.2"), &at("10.0.0.1")),
        ["spec.clusterIPs[0]: Invalid value: [\"10.0.0.2\"]: may not change once set"]
    );
}

#[test]
fn addresses_of_a_service_fit_together() {
    let with = |spec: Value| {
        let mut whole = json!({"type": "ClusterIP", "ports": [{"port": 80}]});
        for (key, value) in spec.as_object().expect("an object") {
            whole[key] = value.clone();
        }
        created("services", &service(whole))
    };
    for (spec, expect) in [
        (json!({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "fd00::1"]}), &[][..]),
        (
            json!({"clusterIPs": ["10.0.0.1"]}),
            &[
                "spec.clusterIPs: Invalid value: [\"10.0.0.1\"]: must be empty when `clusterIP` is not specified",
            ],
        ),
        (
            json!({"clusterIP": "10.0.0.2", "clusterIPs": ["10.0.0.1"]}),
            &["spec.clusterIPs: Invalid value: [\"10.0.0.1\"]: first value must match `clusterIP`"],
        ),
        (
            json!({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "10.0.0.2"]}),
            &[
                "spec.clusterIPs: Invalid value: [\"10.0.0.1\",\"10.0.0.2\"]: may specify no more than one IP for each IP family",
            ],
        ),
        (
            json!({"clusterIP": "None", "clusterIPs": ["None", "10.0.0.2"]}),
            &[
                "spec.clusterIPs: Invalid value: [\"None\",\"10.0.0.2\"]: 'None' must be the first and only value",
            ],
        ),
        (
            json!({"clusterIP": "10.0.0.1", "ipFamilies": ["IPv6"]}),
            &[
                "spec.clusterIPs[0]: Invalid value: \"10.0.0.1\": expected an IPv6 value as indicated by `ipFamilies[0]`",
            ],
        ),
        (json!({"ipFamilies": ["IPv4", "IPv4"]}), &["spec.ipFamilies[1]: Duplicate value: \"IPv4\""]),
        (
            json!({"externalIPs": ["127.0.0.1"]}),
            &[
                "spec.externalIPs[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
            ],
        ),
        (json!({"type": "LoadBalancer", "ports": [{"port": 10250}]}), &[]),
    ] {
        assert_eq!(with(spec.clone()), expect, "{spec}");
    }
}

#[test]
fn a_services_second_address_goes_with_the_policy() {
    let with = |policy: &str, addresses: &[&str]| {
        service(json!({"type": "ClusterIP", "ports": [{"port": 80}], "ipFamilyPolicy": policy,
            "clusterIP": addresses[0], "clusterIPs": addresses}))
    };
    let dual = with("PreferDualStack", &["10.0.0.1", "fd00::1"]);
    assert_eq!(updated("services", &with("SingleStack", &["10.0.0.1"]), &dual), [""; 0]);
    assert_eq!(
        updated("services", &with("PreferDualStack", &["10.0.0.1"]), &dual),
        [
            "spec.ipFamilyPolicy: Invalid value: \"PreferDualStack\": must be set to 'SingleStack' when releasing the secondary clusterIP"
        ]
    );
    let health = |port: u16| {
        service(json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "ports": [{"port": 80}],
            "healthCheckNodePort": port}))
    };
    assert_eq!(
        updated("services", &health(30001), &health(30000)),
        ["spec.healthCheckNodePort: Forbidden: field is immutable"]
    );
}

#[test]
fn addresses_and_their_ranges() {
    let address = |parent: Value| json!({"metadata": {"name": "10.0.0.1"}, "spec": {"parentRef": parent}});
    let own = json!({"resource": "services", "namespace": "d", "name": "s"});
    assert_eq!(created("ipaddresses", &address(own.clone())), [""; 0]);
    assert_eq!(
        created("ipaddresses", &address(json!({"group": "A b"})))[1..],
        ["spec.parentRef.resource: Required value", "spec.parentRef.name: Required value"]
    );
    let other = json!({"resource": "services", "namespace": "d", "name": "t"});
    assert_eq!(
        updated("ipaddresses", &address(other.clone()), &address(own)),
        [format!("spec.parentRef: Invalid value: {}: field is immutable", other.clone())]
    );
    let faults = crate::validation::service_ranges::address_name;
    assert_eq!(faults("10.0.0.1"), [""; 0]);
    assert_eq!(faults("a"), ["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"]);
    assert_eq!(faults("FD00::1"), ["must be in canonical form (\"fd00::1\")"]);
    assert_eq!(faults("::ffff:1.2.3.4"), ["must not be an IPv4-mapped IPv6 address"]);

    let range = |cidrs: &[&str]| json!({"metadata": {"name": "r"}, "spec": {"cidrs": cidrs}});
    for (cidrs, expect) in [
        (&["10.0.0.0/24", "fd00::/64"][..], &[][..]),
        (&[], &["spec.cidrs: Required value: at least one CIDR required"]),
        (
            &["10.0.0.0/24", "10.1.0.0/24"],
            &[
                "spec.cidrs: Invalid value: {\"CIDRs\":[\"10.0.0.0/24\",\"10.1.0.0/24\"]}: may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64",
            ],
        ),
        (
            &["10.0.0.7/24"],
            &[
                "spec.cidrs[0]: Invalid value: \"10.0.0.7/24\": must not have bits set beyond the prefix length",
            ],
        ),
        (
            &["FD00::/64"],
            &["spec.cidrs[0]: Invalid value: \"FD00::/64\": must be in canonical form (\"fd00::/64\")"],
        ),
        (
            &["10.0.0.0"],
            &[
                "spec.cidrs[0]: Invalid value: \"10.0.0.0\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
            ],
        ),
    ] {
        assert_eq!(created("servicecidrs", &range(cidrs)), expect, "{cidrs:?}");
    }
    let one = range(&["10.0.0.0/24"]);
    assert_eq!(updated("servicecidrs", &range(&["10.0.0.0/24", "fd00::/64"]), &one), [""; 0]);
    assert_eq!(
        updated("servicecidrs", &range(&["10.1.0.0/24"]), &one),
        ["spec.cidrs[0]: Invalid value: \"10.1.0.0/24\": field is immutable"]
    );
    assert_eq!(
        updated("servicecidrs", &one, &range(&["10.0.0.0/24", "fd00::/64"])),
        ["spec.cidrs: Invalid value: [\"10.0.0.0/24\"]: field is immutable"]
    );
}

#[test]
fn network_policies() {
    let from = |peer: Value| json!({"spec": {"podSelector": {}, "ingress": [{"from": [peer]}]}});
    assert_eq!(created("networkpolicies", &from(json!({"podSelector": {}}))), [""; 0]);
    for (policy, expect) in [
        (from(json!({})), "spec.ingress[0].from[0]: Required value: must specify a peer"),
        (
            from(json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}})),
            "spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: \"11.0.0.0/16\": must be a strict subset of `cidr`",
        ),
        (
            from(json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/9", "10.0.0.0/8"]}})),
            "spec.ingress[0].from[0].ipBlock.except[1]: Invalid value: \"10.0.0.0/8\": must be a strict subset of `cidr`",
        ),
        (
            from(json!({"ipBlock": {"cidr": "0.0.0.0/0", "except": ["2001:db8::/32"]}})),
            "spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: \"2001:db8::/32\": must be a strict subset of `cidr`",
        ),
        (
            json!({"spec": {"podSelector": {}, "policyTypes": ["Both"]}}),
            "spec.policyTypes[0]: Unsupported value: \"Both\": supported values: \"Ingress\", \"Egress\"",
        ),
        (
            json!({"spec": {"podSelector": {}, "egress": [{"ports": [{"protocol": "ICMP"}]}]}}),
            "spec.egress[0].ports[0].protocol: Unsupported value: \"ICMP\": supported values: \"TCP\", \"UDP\", \"SCTP\"",
        ),
        (
            json!({"spec": {"podSelector": {}, "egress": [{"ports": [{"port": "web", "endPort": 70}]}]}}),
            "spec.egress[0].ports[0].endPort: Invalid value: 70: may not be specified when `port` is non-numeric",
        ),
        (
            from(json!({"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}})),
            "spec.ingress[0].from[0]: Forbidden: may not specify both ipBlock and another peer",
        ),
        (
            from(json!({"ipBlock": {"cidr": "10.0.0.0"}})),
            "spec.ingress[0].from[0].ipBlock.cidr: Invalid value: \"10.0.0.0\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
        ),
        (
            json!({"spec": {"podSelector": {}, "egress": [{"ports": [{"port": 80, "endPort": 70}]}]}}),
            "spec.egress[0].ports[0].endPort: Invalid value: 70: must be greater than or equal to `port`",
        ),
    ] {
        assert_eq!(created("networkpolicies", &policy), [expect]);
    }
}

#[test]
fn endpoints() {
    let subset = json!({"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}]});
    assert_eq!(created("endpoints", &json!({"subsets": [subset]})), [""; 0]);
    assert_eq!(
        created("endpoints", &json!({"subsets": [{"ports": [{"port": 80}]}]})),
        ["subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`"]
    );
    let slice = json!({"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}]});
    assert_eq!(created("endpointslices", &slice), [""; 0]);
    assert_eq!(
        created("endpointslices", &with(&slice, "/endpoints/0/addresses", json!([]))),
        ["endpoints[0].addresses: Required value: must contain at least 1 address"]
    );
    let named = with(&with(&slice, "/addressType", json!("FQDN")), "/endpoints/0/addresses", json!(["a.b"]));
    assert_eq!(
        updated("endpointslices", &named, &slice),
        ["addressType: Invalid value: \"FQDN\": field is immutable"]
    );
}

#[test]
fn slices_say_what_can_be_reached() {
    let slice = json!({"addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.1"], "hostname": "a", "nodeName": "n",
            "hints": {"forZones": [{"name": "z"}], "forNodes": [{"name": "n"}]}}],
        "ports": [{"name": "a", "port": 80, "protocol": "TCP", "appProtocol": "example.com/a"}, {"port": 81}]});
    assert_eq!(created("endpointslices", &slice), [""; 0]);
    let label = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
    for (pointer, value, expect) in [
        (
            "/endpoints/0/addresses/0",
            json!("127.0.0.1"),
            "endpoints[0].addresses[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)".to_owned(),
        ),
        (
            "/endpoints/0/addresses/0",
            json!("::1"),
            "endpoints[0].addresses[0]: Invalid value: \"::1\": must be a valid IPv4 address".to_owned(),
        ),
        (
            "/endpoints/0/hostname",
            json!("Bad_"),
            format!("endpoints[0].hostname: Invalid value: \"Bad_\": {label}"),
        ),
        (
            "/endpoints/0/hints/forZones/-",
            json!({"name": "z"}),
            "endpoints[0].hints.forZones[1].name: Duplicate value: \"z\"".to_owned(),
        ),
        ("/ports/0/name", json!("A"), format!("ports[0].name: Invalid value: \"A\": {label}")),
        ("/ports/1/name", json!("a"), "ports[1].name: Duplicate value: \"a\"".to_owned()),
        (
            "/ports/0/protocol",
            json!("X"),
            "ports[0].protocol: Unsupported value: \"X\": supported values: \"SCTP\", \"TCP\", \"UDP\"".to_owned(),
        ),
    ] {
        assert_eq!(created("endpointslices", &with(&slice, pointer, value)), [expect], "{pointer}");
    }
    let named = |name: &str| {
        let slice = with(&slice, "/addressType", json!("FQDN"));
        created("endpointslices", &with(&slice, "/endpoints/0/addresses/0", json!(name)))
    };
    assert_eq!(named("a.b."), [""; 0]);
    assert_eq!(
        named("a"),
        [
            "endpoints[0].addresses[0]: Invalid value: \"a\": should be a domain with at least two segments separated by dots"
        ]
    );
}

#[test]
fn endpoints_are_not_on_the_machine_itself() {
    let subset =
        json!({"subsets": [{"addresses": [{"ip": "10.0.0.1", "nodeName": "n"}], "ports": [{"port": 80}]}]});
    assert_eq!(created("endpoints", &subset), [""; 0]);
    for (ip, why) in [
        ("0.0.0.0", "may not be unspecified (0.0.0.0)"),
        ("127.0.0.1", "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
        ("fe80::1", "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
        ("224.0.0.1", "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"),
    ] {
        assert_eq!(
            created("endpoints", &with(&subset, "/subsets/0/addresses/0/ip", json!(ip))),
            [format!("subsets[0].addresses[0].ip: Invalid value: \"{ip}\": {why}")]
        );
    }
    let told = created("endpoints", &with(&subset, "/subsets/0/addresses/0/hostname", json!("Bad_")));
    assert!(told[0].starts_with("subsets[0].addresses[0].hostname: Invalid value: \"Bad_\":"), "{told:?}");
}
