//! The decision: which mirrored slices are made, written and removed.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::EventType;
use informer::{Action, DeletePolicy, Plan};
use k8s_openapi::api::core::v1::Endpoints;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};
use kube::core::ObjectMeta;

use super::desired::{self, LIMIT, Mirror};
use crate::service_endpoints::member::Family;
use crate::service_endpoints::slices::{PortSet, name_prefix};
use crate::target::{controller_reference, dynamic, target_of, update};

/// What a decision is made from.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The Endpoints that are mirrored; with `None` no slice is.
    pub(super) endpoints: Option<Arc<Endpoints>>,
    /// The slices of the name that mirror Endpoints, in the order of their names.
    pub(super) slices: Vec<Arc<EndpointSlice>>,
}

pub(super) fn plan(observed: &Observed) -> Plan {
    let mut plan = Plan::nothing();
    let Some(endpoints) = observed.endpoints.as_deref() else {
        plan.actions.extend(observed.slices.iter().map(|slice| deletion(slice)));
        return plan;
    };
    let mirrors = desired::mirrors(endpoints);
    plan.actions.extend(complaints(endpoints, mirrors.invalid, mirrors.skipped));
    let mut existing: BTreeMap<(Option<Family>, PortSet), Vec<Arc<EndpointSlice>>> = BTreeMap::new();
    for slice in &observed.slices {
        let ports = PortSet::of(slice.ports.as_deref().unwrap_or_default());
        existing.entry((Family::parse(&slice.address_type), ports)).or_default().push(slice.clone());
    }
    let mut updates = Vec::new();
    let mut missing = Vec::new();
    for ((family, ports), mirror) in mirrors.slices {
        // One slice is enough; where there are more, the others are spare.
        let first = existing.get_mut(&(Some(family), ports)).filter(|slices| !slices.is_empty());
        match first.map(|slices| slices.remove(0)) {
            Some(old) => updates.extend(mirror_in(&old, endpoints, mirror)),
            None => missing.push((family, mirror)),
        }
    }
    let mut spare: Vec<Arc<EndpointSlice>> = existing.into_values().flatten().collect();
    for (family, mirror) in missing {
        match spare.iter().position(|slice| slice.address_type == family.name()) {
            Some(at) => updates.extend(mirror_in(&spare.remove(at), endpoints, mirror)),
            None if endpoints.metadata.deletion_timestamp.is_none() => {
                let made = fresh(endpoints, family, mirror);
                plan.then(Action::Create { target: target_of(&made), object: dynamic(&made) });
            }
            None => {}
        }
    }
    plan.actions.extend(updates.iter().map(update));
    plan.actions.extend(spare.iter().map(|slice| deletion(slice)));
    plan
}

fn fresh(endpoints: &Endpoints, family: Family, mirror: Mirror) -> EndpointSlice {
    EndpointSlice {
        metadata: ObjectMeta {
            generate_name: Some(name_prefix(endpoints.metadata.name.as_deref().unwrap_or(""))),
            namespace: endpoints.metadata.namespace.clone(),
            labels: Some(desired::labels(endpoints)),
            annotations: desired::annotations(endpoints),
            owner_references: Some(vec![controller_reference(endpoints)]),
            ..ObjectMeta::default()
        },
        address_type: family.name().to_owned(),
        ports: Some(mirror.ports),
        endpoints: Some(mirror.endpoints),
    }
}

/// The slice as it mirrors the Endpoints; `None` where it does already, in whatever order.
fn mirror_in(old: &EndpointSlice, endpoints: &Endpoints, mirror: Mirror) -> Option<EndpointSlice> {
    let metadata = ObjectMeta {
        labels: Some(desired::labels(endpoints)),
        annotations: desired::annotations(endpoints),
        owner_references: Some(vec![controller_reference(endpoints)]),
        ..old.metadata.clone()
    };
    let sorted = |endpoints: &[Endpoint]| {
        let mut endpoints = endpoints.to_vec();
        endpoints.sort_by(|a, b| a.addresses.cmp(&b.addresses));
        endpoints
    };
    let before = ObjectMeta {
        annotations: old.metadata.annotations.clone().filter(|annotations| !annotations.is_empty()),
        ..old.metadata.clone()
    };
    let ports = |ports: &[_]| PortSet::of(ports);
    let is_same = before == metadata
        && ports(old.ports.as_deref().unwrap_or_default()) == ports(&mirror.ports)
        && sorted(old.endpoints.as_deref().unwrap_or_default()) == sorted(&mirror.endpoints);
    (!is_same).then(|| EndpointSlice {
        metadata,
        address_type: old.address_type.clone(),
        ports: Some(mirror.ports),
        endpoints: Some(mirror.endpoints),
    })
}

fn deletion(slice: &EndpointSlice) -> Action {
    let policy = DeletePolicy { uid: slice.metadata.uid.clone(), ..DeletePolicy::default() };
    Action::Delete { target: target_of(slice), policy }
}

/// Events about addresses that are not mirrored.
fn complaints(endpoints: &Endpoints, invalid: usize, skipped: usize) -> Vec<Action> {
    let event = |reason, message| Action::Event {
        about: client::reference(endpoints),
        event_type: EventType::Warning,
        reason,
        message,
    };
    let mut events = Vec::new();
    if invalid > 0 {
        let message = format!("Skipped {invalid} invalid IP addresses when mirroring to EndpointSlices");
        events.push(event("InvalidIPAddress", message));
    }
    if skipped > invalid {
        let message = format!(
            "A max of {LIMIT} addresses can be mirrored to EndpointSlices per Endpoints subset. {skipped} addresses \
             were skipped"
        );
        events.push(event("TooManyAddressesToMirror", message));
    }
    events
}
