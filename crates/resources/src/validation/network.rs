//! Network policies, endpoints.

use api::Object;
use api::field::{ErrorList, FieldError, Path};
use api::names;
use serde_json::Value;

use super::{check, read, selector};

const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];

pub(crate) fn network_policy(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::root("spec");
    let spec = read::top(object, "spec");
    selector::label_selector(&mut errors, &path.child("podSelector"), read::get(spec, "podSelector"));
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        let at = path.child(direction);
        for (i, rule) in read::list(spec, direction).iter().enumerate() {
            let at = at.index(i);
            let ports = at.child("ports");
            for (j, port) in read::list(rule, "ports").iter().enumerate() {
                policy_port(&mut errors, &ports.index(j), port);
            }
            let peers_path = at.child(peers);
            for (j, found) in read::list(rule, peers).iter().enumerate() {
                peer(&mut errors, &peers_path.index(j), found);
            }
        }
    }
    let at = path.child("policyTypes");
    if read::list(spec, "policyTypes").len() > 2 {
        let value = read::raw(spec, "policyTypes").cloned().unwrap_or(Value::Null);
        errors.push(FieldError::invalid(&at, value, "may not specify more than two policyTypes"));
    } else {
        for (i, kind) in read::texts(spec, "policyTypes").enumerate() {
            if !matches!(kind, "Ingress" | "Egress") {
                errors.push(FieldError::not_supported(&at.index(i), kind, &["Egress", "Ingress"]));
            }
        }
    }
    errors
}

fn policy_port(errors: &mut ErrorList, path: &Path<'_>, port: &Value) {
    let protocol = read::text(port, "protocol");
    check::if_given_one_of(errors, &path.child("protocol"), protocol, &PROTOCOLS);
    let number = read::get(port, "port");
    if number.is_some() {
        check::port_or_name(errors, &path.child("port"), number);
    }
    let Some(end) = read::int(port, "endPort") else { return };
    match number.map(Value::as_i64) {
        None => {
            let detail = "may not be specified when `port` is not specified";
            errors.push(FieldError::invalid(&path.child("endPort"), end, detail));
        }
        Some(None) => {
            let detail = "may not be specified when `port` is non-numeric";
            errors.push(FieldError::invalid(&path.child("endPort"), end, detail));
        }
        Some(Some(start)) => {
            if end < start {
                let detail = "must be greater than or equal to `port`";
                errors.push(FieldError::invalid(&path.child("endPort"), end, detail));
            }
            check::port(errors, &path.child("endPort"), end);
        }
    }
}

fn peer(errors: &mut ErrorList, path: &Path<'_>, peer: &Value) {
    let mut others = 0;
    for key in ["podSelector", "namespaceSelector"] {
        if let Some(found) = read::get(peer, key) {
            others += 1;
            selector::label_selector(errors, &path.child(key), Some(found));
        }
    }
    let Some(block) = read::get(peer, "ipBlock") else {
        if others == 0 {
            errors.push(FieldError::required(path, "must specify a peer"));
        }
        return;
    };
    if others > 0 {
        errors.push(FieldError::forbidden(path, "may not specify both ipBlock and another peer"));
        return;
    }
    let at = path.child("ipBlock");
    let range = read::text(block, "cidr");
    if check::required(errors, &at.child("cidr"), range) {
        check::cidr(errors, &at.child("cidr"), range);
    }
    let except = at.child("except");
    for (i, excepted) in read::texts(block, "except").enumerate() {
        check::cidr(errors, &except.index(i), excepted);
    }
}

pub(crate) fn endpoint_slice(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let family = read::top_raw(object, "addressType").and_then(Value::as_str).unwrap_or("");
    check::one_of(&mut errors, &Path::root("addressType"), family, &["FQDN", "IPv4", "IPv6"]);
    let path = Path::root("endpoints");
    let list = read::top(object, "endpoints").as_array();
    for (i, endpoint) in list.into_iter().flatten().enumerate() {
        let at = path.index(i);
        let addresses = at.child("addresses");
        if read::list(endpoint, "addresses").is_empty() {
            errors.push(FieldError::required(&addresses, "must contain at least 1 address"));
        }
        for (j, address) in read::texts(endpoint, "addresses").enumerate() {
            match family {
                "IPv4" | "IPv6" => check::ip(&mut errors, &addresses.index(j), address),
                _ => {
                    let faults = names::dns1123_subdomain(address);
                    check::faults(&mut errors, &addresses.index(j), address, faults);
                }
            }
        }
    }
    errors
}

pub(crate) fn endpoints(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let path = Path::root("subsets");
    let list = read::top(object, "subsets").as_array();
    for (i, subset) in list.into_iter().flatten().enumerate() {
        let at = path.index(i);
        let all = ["addresses", "notReadyAddresses"];
        if all.iter().all(|key| read::list(subset, key).is_empty()) {
            errors.push(FieldError::required(&at, "must specify `addresses` or `notReadyAddresses`"));
        }
        for key in all {
            let addresses = at.child(key);
            for (j, address) in read::list(subset, key).iter().enumerate() {
                check::ip(&mut errors, &addresses.index(j).child("ip"), read::text(address, "ip"));
            }
        }
        let ports = at.child("ports");
        let several = read::list(subset, "ports").len() > 1;
        for (j, port) in read::list(subset, "ports").iter().enumerate() {
            let at = ports.index(j);
            if several {
                check::required(&mut errors, &at.child("name"), read::text(port, "name"));
            }
            check::port(&mut errors, &at.child("port"), read::int(port, "port").unwrap_or(0));
            check::one_of(&mut errors, &at.child("protocol"), read::text(port, "protocol"), &PROTOCOLS);
        }
    }
    errors
}
