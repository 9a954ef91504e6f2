//! The decision: what a Service's Endpoints say, and whether they have to be written.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use client::EventType;
use informer::{Action, DeletePolicy, FailedWrite, Failure, Plan};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Service, ServiceSpec,
};
use kube::core::ObjectMeta;

use super::capacity;
use crate::replicas::pod::Replica;
use crate::service_endpoints::member::{self, Family};
use crate::service_endpoints::subsets::{Answer, answers, canonical};
use crate::service_endpoints::{HEADLESS, TRIGGER_TIME};
use crate::target::{dynamic, target_of, update};

/// Marks what this controller wrote.
pub(super) const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
pub(super) const MANAGER: &str = "endpoint-controller";
/// Says that addresses were left out.
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";

/// What a decision is made from.
#[derive(Debug, Clone)]
pub enum Observed {
    Served(Served),
    /// Endpoints of a Service that is gone.
    Leftover(Arc<Endpoints>),
}

/// A Service whose Endpoints are made of pods.
#[derive(Debug, Clone)]
pub struct Served {
    pub(super) service: Arc<Service>,
    /// The selected pods that have an address and have not ended, in the order of their names.
    pub(super) pods: Vec<Replica>,
    pub(super) current: Option<Arc<Endpoints>>,
    /// The failure of the last plan.
    pub(super) failure: Option<Failure>,
}

pub(super) fn plan(observed: &Observed) -> Plan {
    let mut plan = Plan::nothing();
    let served = match observed {
        Observed::Served(served) => served,
        Observed::Leftover(leftover) => {
            let policy = DeletePolicy { uid: leftover.metadata.uid.clone(), ..DeletePolicy::default() };
            plan.then(Action::Delete { target: target_of(&**leftover), policy });
            return plan.because("the Service is gone");
        }
    };
    let service = &*served.service;
    let Some(spec) = &service.spec else { return plan };
    let mut subsets = canonical(served.pods.iter().flat_map(|pod| answers_of(service, spec, pod)));
    let truncated = capacity::truncate(&mut subsets);
    let labels = labels(service, spec);
    let current = served.current.as_deref();
    let is_told = current.is_some_and(|current| {
        let annotations = current.metadata.annotations.as_ref();
        current.subsets.as_deref().unwrap_or_default() == subsets
            && current.metadata.labels.as_ref() == Some(&labels)
            && annotations.is_some_and(|all| all.contains_key(OVER_CAPACITY)) == truncated
    });
    if is_told {
        return plan;
    }
    let mut annotations =
        current.and_then(|current| current.metadata.annotations.clone()).unwrap_or_default();
    annotate(&mut annotations, TRIGGER_TIME, trigger(served, spec).map(|time| time.to_string()));
    annotate(&mut annotations, OVER_CAPACITY, truncated.then(|| "truncated".to_owned()));
    let metadata = current.map_or_else(
        || ObjectMeta {
            name: service.metadata.name.clone(),
            namespace: service.metadata.namespace.clone(),
            ..ObjectMeta::default()
        },
        |current| current.metadata.clone(),
    );
    let metadata = ObjectMeta {
        labels: Some(labels),
        annotations: (!annotations.is_empty()).then_some(annotations),
        ..metadata
    };
    let endpoints = Endpoints { metadata, subsets: (!subsets.is_empty()).then_some(subsets) };
    plan.actions.extend(served.failure.as_ref().and_then(|failure| complaint(failure, &endpoints)));
    plan.then(match current {
        Some(_) => update(&endpoints),
        None => {
            let mut target = target_of(&endpoints);
            target.name.clear();
            Action::Create { target, object: dynamic(&endpoints) }
        }
    });
    plan.because("the endpoints have changed")
}

fn annotate(annotations: &mut BTreeMap<String, String>, key: &str, value: Option<String>) {
    match value {
        Some(value) => drop(annotations.insert(key.to_owned(), value)),
        None => drop(annotations.remove(key)),
    }
}

/// The Service's labels and the controller's.
fn labels(service: &Service, spec: &ServiceSpec) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    if member::is_headless(spec) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    labels
}

/// Whether the Service counts the pod as ready.
fn is_ready(spec: &ServiceSpec, pod: &Replica) -> bool {
    pod.facts.ready || publishes_unready(spec)
}

fn publishes_unready(spec: &ServiceSpec) -> bool {
    spec.publish_not_ready_addresses == Some(true)
}

/// Under which ports a pod answers, by its address of the Service's first family.
fn answers_of(service: &Service, spec: &ServiceSpec, pod: &Replica) -> Vec<Answer> {
    if pod.is_being_deleted() && !publishes_unready(spec) {
        return Vec::new();
    }
    let family = family(spec, pod);
    let Some(ip) = pod.facts.ips.iter().find(|ip| Some(Family::of(**ip)) == family) else {
        return Vec::new();
    };
    let address = EndpointAddress {
        ip: ip.to_string(),
        hostname: member::hostname(pod, service.metadata.name.as_deref().unwrap_or("")),
        node_name: Some(pod.facts.node_name.to_string()),
        target_ref: Some(member::reference(pod)),
    };
    let ready = is_ready(spec, pod);
    let answer = |port| Answer { address: address.clone(), port, ready };
    let ports = spec.ports.as_deref().unwrap_or_default();
    if ports.is_empty() {
        let is_allowed = spec.cluster_ip.as_deref() == Some("None");
        return if is_allowed { vec![answer(None)] } else { Vec::new() };
    }
    let ports = ports.iter().filter_map(|port| {
        Some(EndpointPort {
            name: port.name.clone().filter(|name| !name.is_empty()),
            port: member::target_port(pod, port)?,
            protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
            app_protocol: port.app_protocol.clone(),
        })
    });
    ports.map(|port| answer(Some(port))).collect()
}

/// The Service's first family; of one that says none and has no address, that of the pod's first address.
fn family(spec: &ServiceSpec, pod: &Replica) -> Option<Family> {
    match member::families(spec)[..] {
        [Family::IPv4, Family::IPv6] if spec.ip_families.as_ref().is_none_or(Vec::is_empty) => {
            pod.facts.ips.first().map(|ip| Family::of(*ip))
        }
        [first, ..] => Some(first),
        [] => None,
    }
}

/// When the earliest change happened that the Endpoints do not show yet: that a pod became ready or ceased to be, or,
/// where there are none, that the Service was made.
fn trigger(served: &Served, spec: &ServiceSpec) -> Option<Timestamp> {
    let Some(current) = &served.current else {
        return served.service.metadata.creation_timestamp.as_ref().map(|made| made.0);
    };
    let subsets: &[EndpointSubset] = current.subsets.as_deref().unwrap_or_default();
    let mut shown: HashMap<String, bool> = HashMap::new();
    for Answer { address, ready, .. } in answers(subsets) {
        shown.extend(address.target_ref.and_then(|target| target.uid).map(|uid| (uid, ready)));
    }
    let is_new = |pod: &&Replica| shown.get(&*pod.uid) != Some(&is_ready(spec, pod));
    let new = served.pods.iter().filter(|pod| !pod.is_being_deleted()).filter(is_new);
    new.filter_map(|pod| pod.facts.ready_changed).min()
}

/// The event about the failure of the last plan.
fn complaint(failure: &Failure, endpoints: &Endpoints) -> Option<Action> {
    let [namespace, name] =
        [&endpoints.metadata.namespace, &endpoints.metadata.name].map(|text| text.as_deref().unwrap_or(""));
    let message = &failure.message;
    let (reason, message) = match failure.write {
        FailedWrite::Create => (
            "FailedToCreateEndpoint",
            format!("Failed to create endpoint for service {namespace}/{name}: {message}"),
        ),
        FailedWrite::Other => {
            ("FailedToUpdateEndpoint", format!("Failed to update endpoint {namespace}/{name}: {message}"))
        }
        FailedWrite::Delete => return None,
    };
    Some(Action::Event {
        about: client::reference(endpoints),
        event_type: EventType::Warning,
        reason,
        message,
    })
}
