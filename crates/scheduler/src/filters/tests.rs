use serde_json::json;

use crate::pod::{HostPort, tolerates};

#[test]
fn tolerations_as_upstream() {
    let cases = [
        (json!({"operator": "Exists"}), true),
        (json!({"key": "k", "operator": "Exists"}), true),
        (json!({"key": "k", "value": "v"}), true),
        (json!({"key": "k", "value": "other"}), false),
        (json!({"key": "k", "value": "v", "effect": "NoExecute"}), false),
        (json!({"key": "other", "operator": "Exists"}), false),
        (json!({"value": "v"}), false),
    ];
    for (toleration, expected) in cases {
        let parsed = serde_json::from_value(toleration.clone()).expect("a toleration");
        assert_eq!(tolerates(&parsed, "k", "v", "NoSchedule"), expected, "{toleration}");
    }
}

#[test]
fn ports_on_different_addresses_do_not_clash() {
    let port = |ip: &str| HostPort { ip: ip.into(), protocol: "TCP".into(), port: 80 };
    assert!(port("").clashes(&port("10.0.0.1")));
    assert!(port("0.0.0.0").clashes(&port("10.0.0.1")));
    assert!(!port("10.0.0.2").clashes(&port("10.0.0.1")));
}
