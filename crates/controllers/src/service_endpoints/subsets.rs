//! The canonical form of Endpoints' subsets: every port once, with all addresses that have it, and ports with the same
//! addresses together. Upstream: `pkg/api/v1/endpoints`, `RepackSubsets`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset};

/// An address under a port; `None` where the Service has no ports.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub address: EndpointAddress,
    pub port: Option<EndpointPort>,
    pub ready: bool,
}

/// An address and the uid of what has it.
type Who = (String, String);

/// Name, number, protocol and application's protocol.
type PortKey = (Option<String>, i32, Option<String>, Option<String>);

/// The subsets of what answers. Of two answers about one address and port, one that is not ready counts.
pub(crate) fn canonical(answers: impl IntoIterator<Item = Answer>) -> Vec<EndpointSubset> {
    let mut addresses: BTreeMap<Who, EndpointAddress> = BTreeMap::new();
    let mut by_port: BTreeMap<Option<PortKey>, BTreeMap<Who, bool>> = BTreeMap::new();
    for Answer { address, port, ready } in answers {
        let uid = address.target_ref.as_ref().and_then(|target| target.uid.clone()).unwrap_or_default();
        let who = (address.ip.clone(), uid);
        let port = port.map(|port| (port.name, port.port, port.protocol, port.app_protocol));
        let known = by_port.entry(port).or_default().entry(who.clone()).or_insert(ready);
        *known = *known && ready;
        addresses.entry(who).or_insert(address);
    }
    let mut by_addresses: BTreeMap<Vec<(Who, bool)>, Vec<EndpointPort>> = BTreeMap::new();
    for (port, answering) in by_port {
        let ports = by_addresses.entry(answering.into_iter().collect()).or_default();
        ports.extend(port.map(|(name, port, protocol, app_protocol)| EndpointPort {
            name,
            port,
            protocol,
            app_protocol,
        }));
    }
    let subset = |(answering, ports): (Vec<(Who, bool)>, Vec<EndpointPort>)| {
        let of = |wanted: bool| {
            let of = answering.iter().filter(|(_, ready)| *ready == wanted);
            some(of.filter_map(|(who, _)| addresses.get(who).cloned()).collect())
        };
        EndpointSubset { addresses: of(true), not_ready_addresses: of(false), ports: some(ports) }
    };
    by_addresses.into_iter().map(subset).collect()
}

/// What the subsets say, one by one.
pub(crate) fn answers(subsets: &[EndpointSubset]) -> impl Iterator<Item = Answer> {
    subsets.iter().flat_map(|subset| {
        let ports: Vec<Option<EndpointPort>> = match subset.ports.as_deref() {
            None | Some([]) => vec![None],
            Some(ports) => ports.iter().cloned().map(Some).collect(),
        };
        let ready = subset.addresses.iter().flatten().map(|address| (address, true));
        let unready = subset.not_ready_addresses.iter().flatten().map(|address| (address, false));
        let all: Vec<_> = ready.chain(unready).collect();
        ports.into_iter().flat_map(move |port| {
            let answer = |(address, ready): &(&EndpointAddress, bool)| Answer {
                address: (*address).clone(),
                port: port.clone(),
                ready: *ready,
            };
            all.iter().map(answer).collect::<Vec<_>>()
        })
    })
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn packed(subsets: Value) -> Value {
        let subsets: Vec<EndpointSubset> = serde_json::from_value(subsets).expect("subsets");
        let packed = canonical(answers(&subsets));
        assert_eq!(canonical(answers(&packed)), packed, "the form is canonical");
        serde_json::to_value(packed).expect("subsets")
    }

    #[test]
    fn ports_with_the_same_addresses_are_together() {
        let [a, b] = [json!({"ip": "10.0.0.1"}), json!({"ip": "10.0.0.2"})];
        let [x, y] = [json!({"name": "x", "port": 1}), json!({"name": "y", "port": 2})];
        let apart = json!([{"addresses": [b], "ports": [x]}, {"addresses": [a], "ports": [x]},
            {"addresses": [a, b], "ports": [y]}]);
        assert_eq!(packed(apart), json!([{"addresses": [a, b], "ports": [x, y]}]));
        let different = json!([{"addresses": [a, b], "ports": [x]}, {"addresses": [b], "ports": [y]}]);
        assert_eq!(packed(different.clone()), different);
        let unready = json!([{"addresses": [a], "notReadyAddresses": [a, b], "ports": [x]}]);
        assert_eq!(packed(unready), json!([{"notReadyAddresses": [a, b], "ports": [x]}]));
        let portless = json!([{"addresses": [b]}, {"addresses": [a]}]);
        assert_eq!(packed(portless), json!([{"addresses": [a, b]}]));
        let of = |uid: &str| json!({"ip": "10.0.0.1", "targetRef": {"uid": uid}});
        let shared = json!([{"addresses": [of("p"), of("q")], "ports": [x]}]);
        assert_eq!(packed(shared.clone()), shared, "one address of two pods");
        assert_eq!(packed(json!([])), json!([]));
    }
}
