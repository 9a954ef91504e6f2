//! Which slices Endpoints should have: one for each set of ports and family, as large as its subset.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort as Port, Endpoints};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort};

use crate::service_endpoints::TRIGGER_TIME;
use crate::service_endpoints::member::Family;
use crate::service_endpoints::slices::{MANAGED_BY, PortSet, SERVICE_NAME};
use crate::service_endpoints::subsets::{answers, canonical};

/// How many addresses of a subset are mirrored (upstream's `--mirroring-max-endpoints-per-subset`), which is also how
/// many a slice may hold.
pub(super) const LIMIT: usize = 1_000;
/// The name by which this controller marks its slices.
pub(super) const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A slice that there should be.
#[derive(Debug)]
pub(super) struct Mirror {
    pub ports: Vec<EndpointPort>,
    pub endpoints: Vec<Endpoint>,
}

/// The slices that there should be, and how many addresses are left out.
#[derive(Debug, Default)]
pub(super) struct Mirrors {
    pub slices: BTreeMap<(Family, PortSet), Mirror>,
    /// Addresses that are none.
    pub invalid: usize,
    pub skipped: usize,
}

pub(super) fn mirrors(endpoints: &Endpoints) -> Mirrors {
    let mut mirrors = Mirrors::default();
    for subset in canonical(answers(endpoints.subsets.as_deref().unwrap_or_default())) {
        let ports: Vec<EndpointPort> = subset.ports.iter().flatten().map(port).collect();
        let key = PortSet::of(&ports);
        let ready = subset.addresses.iter().flatten().map(|address| (address, true));
        let unready = subset.not_ready_addresses.iter().flatten().map(|address| (address, false));
        let all: Vec<(&EndpointAddress, bool)> = ready.chain(unready).collect();
        let mut taken = 0;
        for (address, ready) in &all {
            let Ok(ip) = address.ip.parse::<IpAddr>() else {
                mirrors.invalid += usize::from(taken < LIMIT);
                continue;
            };
            if taken < LIMIT {
                taken += 1;
                let fresh = || Mirror { ports: ports.clone(), endpoints: Vec::new() };
                let mirror = mirrors.slices.entry((Family::of(ip), key.clone())).or_insert_with(fresh);
                mirror.endpoints.push(endpoint(ip, address, *ready));
            }
        }
        mirrors.skipped += all.len() - taken;
    }
    mirrors
}

fn port(port: &Port) -> EndpointPort {
    EndpointPort {
        name: Some(port.name.clone().unwrap_or_default()),
        port: Some(port.port),
        protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
        app_protocol: port.app_protocol.clone(),
    }
}

fn endpoint(ip: IpAddr, address: &EndpointAddress, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![ip.to_string()],
        conditions: Some(EndpointConditions { ready: Some(ready), ..EndpointConditions::default() }),
        hostname: address.hostname.clone().filter(|name| !name.is_empty()),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    }
}

/// The Endpoints' labels and those of all mirrored slices.
pub(super) fn labels(endpoints: &Endpoints) -> BTreeMap<String, String> {
    let mut labels = endpoints.metadata.labels.clone().unwrap_or_default();
    labels.insert(SERVICE_NAME.to_owned(), endpoints.metadata.name.clone().unwrap_or_default());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    labels
}

/// The Endpoints' annotations, without what is true of the Endpoints alone.
pub(super) fn annotations(endpoints: &Endpoints) -> Option<BTreeMap<String, String>> {
    let own = BTreeSet::from([TRIGGER_TIME, LAST_APPLIED]);
    let all = endpoints.metadata.annotations.iter().flatten().filter(|(key, _)| !own.contains(&***key));
    let kept: BTreeMap<String, String> = all.map(|(key, value)| (key.clone(), value.clone())).collect();
    (!kept.is_empty()).then_some(kept)
}
