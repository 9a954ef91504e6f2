//! Endpoints and their slices.

use api::Object;
use api::field::{ErrorList, FieldError, Path};
use api::names;
use serde_json::Value;

use super::{check, read};

const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];

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
