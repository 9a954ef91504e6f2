use std::str::FromStr;

use serde_json::{Value, json};

use super::*;

fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("the test writes objects")
}

fn zone() -> Zone {
    let view = View { services: Cache::new(), slices: Cache::new() };
    let service = |name: &str, spec: Value| -> Service {
        read(json!({"metadata": {"name": name, "namespace": "default"}, "spec": spec}))
    };
    let web = json!({"clusterIP": "10.96.0.20", "clusterIPs": ["10.96.0.20", "fd00::20"],
        "ports": [{"name": "http", "port": 80, "protocol": "TCP"}, {"name": "dns", "port": 53, "protocol": "UDP"}]});
    view.services.apply(service("web", web));
    view.services
        .apply(service("db", json!({"clusterIP": "None", "ports": [{"name": "sql", "port": 5432}]})));
    view.services.apply(service("empty", json!({"clusterIP": "None"})));
    view.services.apply(service("out", json!({"type": "ExternalName", "externalName": "db.example.org"})));
    let alias_of = |name: &str| json!({"type": "ExternalName", "externalName": name});
    view.services.apply(service("inside", alias_of("web.default.svc.cluster.local")));
    view.services.apply(service("ring", alias_of("ring.default.svc.cluster.local")));
    view.slices.apply(read(json!({
        "metadata": {"name": "db-x", "namespace": "default", "labels": {SERVICE_NAME_LABEL: "db", HEADLESS_LABEL: ""}},
        "addressType": "IPv4",
        "endpoints": [
            {"addresses": ["10.244.0.5"], "hostname": "db-0", "conditions": {"ready": true}},
            {"addresses": ["10.244.0.6"]},
            {"addresses": ["10.244.0.7"], "hostname": "db-2", "conditions": {"ready": false}},
        ],
        "ports": [{"name": "sql", "port": 5432, "protocol": "TCP"}],
    })));
    let ranges = ["10.96.0.0/16", "10.244.0.0/16"].map(|r| r.parse().expect("a range")).to_vec();
    Zone::new("cluster.local", ranges, view).expect("a domain")
}

/// Asks for `name`; records come back as `TYPE data`, one a line.
#[track_caller]
fn check(name: &str, kind: RecordType, expect: &str) {
    let mut name = Name::from_str(name).expect("a name");
    name.set_fqdn(true);
    let line = |record: &Record| format!("{} {}", record.record_type(), record.data);
    let said = match zone().answer(&name, kind) {
        Answer::Records(records) => {
            let is_alias = records[0].record_type() == RecordType::CNAME;
            assert!(records.iter().all(|r| (is_alias || r.name == name) && r.ttl == TTL_S));
            assert_eq!(records[0].name, name);
            records.iter().map(line).collect::<Vec<_>>().join("\n")
        }
        Answer::Alias(target) => line(&alias(&name, target)),
        other => format!("{other:?}"),
    };
    assert_eq!(said, expect, "{name} {kind}");
}

#[test]
fn services_have_addresses_by_family() {
    check("web.default.svc.cluster.local", RecordType::A, "A 10.96.0.20");
    check("WEB.Default.svc.Cluster.Local", RecordType::A, "A 10.96.0.20");
    check("web.default.svc.cluster.local", RecordType::AAAA, "AAAA fd00::20");
    check("web.default.svc.cluster.local", RecordType::MX, "NoData");
    check("web.other.svc.cluster.local", RecordType::A, "NoName");
    check("gone.default.svc.cluster.local", RecordType::A, "NoName");
    check("out.default.svc.cluster.local", RecordType::A, "CNAME db.example.org.");
    let inside = "CNAME web.default.svc.cluster.local.";
    check("inside.default.svc.cluster.local", RecordType::A, &format!("{inside}\nA 10.96.0.20"));
    check("inside.default.svc.cluster.local", RecordType::CNAME, inside);
    check("ring.default.svc.cluster.local", RecordType::A, "CNAME ring.default.svc.cluster.local.");
}

#[test]
fn headless_services_have_their_ready_endpoints() {
    check("db.default.svc.cluster.local", RecordType::A, "A 10.244.0.5\nA 10.244.0.6");
    check("db-0.db.default.svc.cluster.local", RecordType::A, "A 10.244.0.5");
    check("10-244-0-6.db.default.svc.cluster.local", RecordType::A, "A 10.244.0.6");
    check("db-2.db.default.svc.cluster.local", RecordType::A, "NoName");
    check("empty.default.svc.cluster.local", RecordType::A, "NoName");
    check(
        "_sql._tcp.db.default.svc.cluster.local",
        RecordType::SRV,
        "SRV 0 100 5432 db-0.db.default.svc.cluster.local.\nSRV 0 100 5432 10-244-0-6.db.default.svc.cluster.local.",
    );
}

#[test]
fn named_ports_are_found_by_protocol() {
    check(
        "_http._tcp.web.default.svc.cluster.local",
        RecordType::SRV,
        "SRV 0 100 80 web.default.svc.cluster.local.",
    );
    check(
        "_dns._udp.web.default.svc.cluster.local",
        RecordType::SRV,
        "SRV 0 100 53 web.default.svc.cluster.local.",
    );
    check("_http._udp.web.default.svc.cluster.local", RecordType::SRV, "NoName");
    check("http.tcp.web.default.svc.cluster.local", RecordType::SRV, "NoName");
}

#[test]
fn addresses_lead_back_to_services() {
    check("20.0.96.10.in-addr.arpa", RecordType::PTR, "PTR web.default.svc.cluster.local.");
    check("21.0.96.10.in-addr.arpa", RecordType::PTR, "NoName");
    check("8.8.8.8.in-addr.arpa", RecordType::PTR, "Elsewhere");
    check("5.0.244.10.in-addr.arpa", RecordType::PTR, "PTR db-0.db.default.svc.cluster.local.");
    check("6.0.244.10.in-addr.arpa", RecordType::PTR, "PTR 10-244-0-6.db.default.svc.cluster.local.");
    check("6.0.244.10.in-addr.arpa", RecordType::A, "NoData");
    check("7.0.244.10.in-addr.arpa", RecordType::PTR, "NoName");
}

#[test]
fn the_addresses_of_what_a_service_record_names_go_along() {
    let additional = |name: &str| {
        let name = Name::from_str(name).expect("a name");
        let Answer::Records(answers) = zone().answer(&name, RecordType::SRV) else {
            panic!("{name} has records")
        };
        let found = zone().additional(&answers);
        found.iter().map(|record| format!("{} {}", record.name, record.data)).collect::<Vec<_>>()
    };
    assert_eq!(
        additional("_http._tcp.web.default.svc.cluster.local."),
        ["web.default.svc.cluster.local. 10.96.0.20", "web.default.svc.cluster.local. fd00::20"]
    );
    assert_eq!(
        additional("_sql._tcp.db.default.svc.cluster.local."),
        [
            "db-0.db.default.svc.cluster.local. 10.244.0.5",
            "10-244-0-6.db.default.svc.cluster.local. 10.244.0.6"
        ]
    );
    assert_eq!(zone().additional(&[]), []);
}

#[test]
fn the_domain_itself_and_pods_have_names() {
    check("10-244-0-7.default.pod.cluster.local", RecordType::A, "A 10.244.0.7");
    check("10-244-0-7.default.pod.cluster.local", RecordType::AAAA, "NoData");
    check("x-y.default.pod.cluster.local", RecordType::A, "NoName");
    check("dns-version.cluster.local", RecordType::TXT, "TXT 1.1.0");
    check("default.svc.cluster.local", RecordType::A, "NoData");
    check("nobody.svc.cluster.local", RecordType::A, "NoName");
    check("cluster.local", RecordType::A, "NoData");
    check("example.org", RecordType::A, "Elsewhere");
    check("notcluster.local", RecordType::A, "Elsewhere");
    check("a.b.c.d.e.f.svc.cluster.local", RecordType::A, "NoName");
}
