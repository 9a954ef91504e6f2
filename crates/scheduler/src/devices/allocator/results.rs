//! What was found, as the status of a claim has it.

use k8s_openapi::api::core::v1::{NodeSelector, NodeSelectorRequirement, NodeSelectorTerm};
use k8s_openapi::api::resource::v1::{
    AllocationResult, DeviceAllocationConfiguration, DeviceAllocationResult, DeviceRequestAllocationResult,
};

use super::{Pick, Search};
use crate::devices::pools::Place;

/// The allocation of a claim on the node.
pub fn of(search: &Search<'_>, order: usize, node: &str) -> AllocationResult {
    let picks: Vec<&Pick> = search.picks.iter().filter(|pick| pick.order == order).collect();
    let results = picks.iter().map(|pick| {
        let (wanted, pool) = (search.alternative(pick), &search.pools[pick.pool]);
        DeviceRequestAllocationResult {
            request: wanted.name.clone(),
            driver: pool.driver.clone(),
            pool: pool.name.clone(),
            device: search.device(pick).name.clone(),
            admin_access: wanted.is_admin.then_some(true),
            tolerations: Some(wanted.tolerations.clone()).filter(|all| !all.is_empty()),
            ..DeviceRequestAllocationResult::default()
        }
    });
    let results: Vec<_> = results.collect();
    let config = configuration(search, order, &picks);
    AllocationResult {
        devices: Some(DeviceAllocationResult {
            results: Some(results).filter(|all| !all.is_empty()),
            config: Some(config).filter(|all| !all.is_empty()),
        }),
        node_selector: node_selector(search, &picks, node),
        allocation_timestamp: None,
    }
}

/// What the drivers are told: what the classes say, then what the claim says.
fn configuration(search: &Search<'_>, order: usize, picks: &[&Pick]) -> Vec<DeviceAllocationConfiguration> {
    let order = &search.orders[order];
    let mut met: Vec<(usize, usize)> = picks.iter().map(|pick| (pick.request, pick.alternative)).collect();
    met.dedup();
    let mut all = Vec::new();
    for (request, alternative) in &met {
        let wanted = &order.requests[*request].alternatives[*alternative];
        let of_class = wanted.class.spec.config.iter().flatten();
        all.extend(of_class.map(|config| DeviceAllocationConfiguration {
            source: "FromClass".to_owned(),
            requests: Some(vec![wanted.name.clone()]),
            opaque: config.opaque.clone(),
        }));
    }
    let is_met = |name: &String| {
        met.iter().any(|(request, alternative)| {
            let request = &order.requests[*request];
            *name == request.name || *name == request.alternatives[*alternative].name
        })
    };
    let devices = order.claim.spec.devices.as_ref();
    for config in devices.into_iter().flat_map(|devices| devices.config.iter().flatten()) {
        let names = config.requests.as_deref().unwrap_or_default();
        if names.is_empty() || names.iter().any(is_met) {
            all.push(DeviceAllocationConfiguration {
                source: "FromClaim".to_owned(),
                requests: config.requests.clone(),
                opaque: config.opaque.clone(),
            });
        }
    }
    all
}

/// The nodes on which all devices can be used; `None` for all nodes.
fn node_selector(search: &Search<'_>, picks: &[&Pick], node: &str) -> Option<NodeSelector> {
    let mut term = NodeSelectorTerm::default();
    for pick in picks {
        let pool = &search.pools[pick.pool];
        match pool.nodes_of(&pool.devices[pick.device]) {
            Place::Node => {
                let only = NodeSelectorRequirement {
                    key: "metadata.name".to_owned(),
                    operator: "In".to_owned(),
                    values: Some(vec![node.to_owned()]),
                };
                // Where one device is of this node alone, nothing else is to be said.
                let term = NodeSelectorTerm { match_fields: Some(vec![only]), match_expressions: None };
                return Some(NodeSelector { node_selector_terms: vec![term] });
            }
            Place::Selected(selector) => {
                // The API takes one term alone.
                for given in &selector.node_selector_terms {
                    add(&mut term.match_expressions, given.match_expressions.as_deref());
                    add(&mut term.match_fields, given.match_fields.as_deref());
                }
            }
            Place::Anywhere => {}
        }
    }
    let says_something = term.match_expressions.is_some() || term.match_fields.is_some();
    says_something.then(|| NodeSelector { node_selector_terms: vec![term] })
}

fn add(held: &mut Option<Vec<NodeSelectorRequirement>>, given: Option<&[NodeSelectorRequirement]>) {
    for requirement in given.into_iter().flatten() {
        let held = held.get_or_insert_default();
        if !held.contains(requirement) {
            held.push(requirement.clone());
        }
    }
}
