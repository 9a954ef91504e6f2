//! The decision: which slices are made, written and removed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use client::EventType;
use informer::{Action, DeletePolicy, FailedWrite, Failure, Plan};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::desired::{self, Candidate, Group};
use super::packing::pack;
use super::slice::{self, is_owned_by};
use super::topology::{self, Shares};
use crate::service_endpoints::member::{self, Family};
use crate::service_endpoints::slices::{PortSet, endpoints};
use crate::target::{dynamic, target_of, update};

/// What a decision is made from.
#[derive(Debug, Clone)]
pub struct Observed {
    pub(super) service: Arc<Service>,
    /// The selected pods that may be endpoints, in the order of their names.
    pub(super) candidates: Vec<Candidate>,
    /// The slices that carry the Service's name, in the order of their names.
    pub(super) slices: Vec<Arc<EndpointSlice>>,
    /// The zones' parts of the CPU; `None` where the Service does not ask for hints by them.
    pub(super) shares: Option<Shares>,
    /// The failure of the last plan.
    pub(super) failure: Option<Failure>,
}

/// The writes of one family.
#[derive(Debug, Default)]
struct Writes {
    create: Vec<EndpointSlice>,
    update: Vec<EndpointSlice>,
    delete: Vec<Arc<EndpointSlice>>,
    /// Not written.
    same: Vec<Arc<EndpointSlice>>,
}

pub(super) fn plan(observed: &Observed) -> Plan {
    let mut plan = Plan::nothing();
    let service = &*observed.service;
    let Some(spec) = &service.spec else { return plan };
    plan.actions.extend(complaints(observed, spec));
    let mut writes = Writes::default();
    let families = member::families(spec);
    for family in &families {
        let of_family = observed.slices.iter().filter(|slice| slice.address_type == family.name());
        let of_family: Vec<_> = of_family.cloned().collect();
        let mut more = of_one_family(service, spec, &observed.candidates, *family, of_family.clone());
        if let Some(shares) = &observed.shares {
            plan.actions.extend(give_hints(&mut more, shares, service, *family, &of_family));
        }
        recycle(&mut more, service);
        writes.create.extend(more.create);
        writes.update.extend(more.update);
        writes.delete.extend(more.delete);
    }
    let is_foreign =
        |slice: &&Arc<EndpointSlice>| !families.iter().any(|family| family.name() == slice.address_type);
    writes.delete.extend(observed.slices.iter().filter(is_foreign).cloned());
    if service.metadata.deletion_timestamp.is_some() {
        // The garbage collector removes the Service's slices, and would find new ones.
        writes.create.clear();
    }
    let trigger = trigger(observed);
    for slice in writes.create.iter_mut().chain(&mut writes.update) {
        slice::note_trigger(slice, trigger);
    }
    let [made, written, removed] = [writes.create.len(), writes.update.len(), writes.delete.len()];
    if made + written + removed == 0 {
        return plan;
    }
    plan.actions.extend(batch(writes.create.iter().map(creation)));
    plan.actions.extend(batch(writes.update.iter().map(update)));
    plan.actions.extend(batch(writes.delete.iter().map(|slice| deletion(slice))));
    plan.because(format!("slices: {made} made, {written} written, {removed} removed"))
}

fn of_one_family(
    service: &Service,
    spec: &ServiceSpec,
    candidates: &[Candidate],
    family: Family,
    existing: Vec<Arc<EndpointSlice>>,
) -> Writes {
    let before = existing.len();
    let mut writes = Writes::default();
    let (own, foreign): (Vec<_>, Vec<_>) =
        existing.into_iter().partition(|slice| is_owned_by(slice, service));
    writes.delete.extend(foreign);
    let mut by_ports: BTreeMap<PortSet, Vec<Arc<EndpointSlice>>> = BTreeMap::new();
    for slice in own {
        by_ports.entry(PortSet::of(slice.ports.as_deref().unwrap_or_default())).or_default().push(slice);
    }
    let keeps_hints = topology::is_asked_for(service);
    let labels = slice::labels(service);
    let is_relabelled = |slice: &EndpointSlice| slice.metadata.labels.as_ref() != Some(&labels);
    for (key, Group { ports, endpoints }) in desired::groups(service, spec, candidates, family) {
        let packing = pack(endpoints, &by_ports.remove(&key).unwrap_or_default(), is_relabelled, keeps_hints);
        let changed = packing.changed.into_iter();
        writes.update.extend(changed.map(|(slice, held)| slice::changed(&slice, service, held)));
        writes.create.extend(packing.new.into_iter().map(|held| slice::fresh(service, family, &ports, held)));
        writes.delete.extend(packing.emptied);
        writes.same.extend(packing.same);
    }
    // Nobody has these ports any more.
    writes.delete.extend(by_ports.into_values().flatten());
    if writes.delete.len() == before && writes.create.is_empty() {
        keep_one(&mut writes, service, family, &is_relabelled);
    }
    writes
}

/// Gives hints by zones' parts of the CPU; the event that says whether that has become possible or is not.
fn give_hints(
    writes: &mut Writes,
    shares: &Shares,
    service: &Service,
    family: Family,
    before: &[Arc<EndpointSlice>],
) -> Option<Action> {
    let had = before.iter().flat_map(|slice| endpoints(slice)).any(|endpoint| endpoint.hints.is_some());
    let made = writes.create.len();
    let mut written = std::mem::take(&mut writes.create);
    written.append(&mut writes.update);
    let given = topology::give(shares, &mut written, &mut writes.same);
    writes.update = written.split_off(made);
    writes.create = written;
    let (event_type, reason, message) = match given {
        Err(why) => (EventType::Warning, "TopologyAwareHintsDisabled", why),
        Ok(()) if had => return None,
        Ok(()) => (
            EventType::Normal,
            "TopologyAwareHintsEnabled",
            "Topology Aware Hints has been enabled".to_owned(),
        ),
    };
    let message = format!("{message}, addressType: {}", family.name());
    Some(Action::Event { about: client::reference(service), event_type, reason, message })
}

/// A Service without endpoints has a slice without any, by which others see that there are none.
fn keep_one(
    writes: &mut Writes,
    service: &Service,
    family: Family,
    is_relabelled: &impl Fn(&EndpointSlice) -> bool,
) {
    let is_placeholder = |slice: &EndpointSlice| {
        let ports = slice.ports.as_deref().unwrap_or_default();
        is_owned_by(slice, service)
            && !is_relabelled(slice)
            && ports.is_empty()
            && endpoints(slice).is_empty()
    };
    match &writes.delete[..] {
        [only] if is_placeholder(only) => writes.delete.clear(),
        _ => writes.create.push(slice::fresh(service, family, &[], Vec::new())),
    }
}

/// Writes slices that would be removed, instead of making others.
fn recycle(writes: &mut Writes, service: &Service) {
    let (mut spare, foreign): (Vec<_>, Vec<_>) =
        std::mem::take(&mut writes.delete).into_iter().partition(|slice| is_owned_by(slice, service));
    spare.reverse();
    let mut create = Vec::new();
    for fresh in std::mem::take(&mut writes.create) {
        match spare.pop() {
            Some(old) => writes.update.push(slice::recycled(&old, fresh)),
            None => create.push(fresh),
        }
    }
    spare.reverse();
    writes.create = create;
    writes.delete = foreign.into_iter().chain(spare).collect();
}

/// When the earliest change happened that the slices do not show yet: that a pod became ready or ceased to be, or,
/// where there are no slices, that the Service was made. Read from the slices, so that a restart forgets nothing.
fn trigger(observed: &Observed) -> Option<Timestamp> {
    let service = &*observed.service;
    let mut shown: HashMap<&str, Option<bool>> = HashMap::new();
    let own: Vec<_> = observed.slices.iter().filter(|slice| is_owned_by(slice, service)).collect();
    if own.is_empty() {
        return service.metadata.creation_timestamp.as_ref().map(|made| made.0);
    }
    for endpoint in own.iter().flat_map(|slice| endpoints(slice)) {
        if let Some(uid) = endpoint.target_ref.as_ref().and_then(|target| target.uid.as_deref()) {
            shown.insert(uid, endpoint.conditions.as_ref().and_then(|conditions| conditions.serving));
        }
    }
    let is_new = |pod: &&Candidate| shown.get(&*pod.pod.uid) != Some(&Some(pod.pod.facts.ready));
    observed.candidates.iter().filter(is_new).filter_map(|new| new.pod.facts.ready_changed).min()
}

/// Events about pods that were left out, and about the failure of the last plan.
fn complaints(observed: &Observed, spec: &ServiceSpec) -> Option<Action> {
    let metadata = &observed.service.metadata;
    let [namespace, name] = [&metadata.namespace, &metadata.name].map(|text| text.as_deref().unwrap_or(""));
    let left_out = observed.candidates.iter().filter(|candidate| desired::is_left_out(candidate, spec));
    let mut why: Vec<String> = left_out
        .map(|Candidate { pod, .. }| {
            let node = &pod.facts.node_name;
            format!("skipping Pod {} for Service {namespace}/{name}: Node {node} Not Found", pod.name())
        })
        .collect();
    why.extend(observed.failure.as_ref().map(|Failure { write, target, message, .. }| {
        let what = match write {
            FailedWrite::Create => "create EndpointSlice".to_owned(),
            FailedWrite::Delete => format!("delete {target} EndpointSlice"),
            FailedWrite::Other => format!("update {target} EndpointSlice"),
        };
        format!("failed to {what} for Service {namespace}/{name}: {message}")
    }));
    let why = match &why[..] {
        [] => return None,
        [only] => only.clone(),
        several => format!("[{}]", several.join(", ")),
    };
    Some(Action::Event {
        about: client::reference(&*observed.service),
        event_type: EventType::Warning,
        reason: "FailedToUpdateEndpointSlices",
        message: format!("Error updating Endpoint Slices for Service {namespace}/{name}: {why}"),
    })
}

fn batch(actions: impl Iterator<Item = Action>) -> Option<Action> {
    let mut actions: Vec<Action> = actions.collect();
    match actions.len() {
        0 => None,
        1 => actions.pop(),
        _ => Some(Action::Batch(actions)),
    }
}

fn creation(slice: &EndpointSlice) -> Action {
    Action::Create { target: target_of(slice), object: dynamic(slice) }
}

fn deletion(slice: &EndpointSlice) -> Action {
    let policy = DeletePolicy { uid: slice.metadata.uid.clone(), ..DeletePolicy::default() };
    Action::Delete { target: target_of(slice), policy }
}
