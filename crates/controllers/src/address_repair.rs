//! Keeps Services' addresses and the IPAddress objects that say who has which in accord: an object that a killed server
//! left behind is removed, one that is missing is made. Upstream: `pkg/registry/core/service/ipallocator/controller`.
//!
//! The API server takes an address before it stores the Service and gives it back after the Service is gone: for a
//! while each may be there without the other. An object without a Service is left alone for as long as a request may
//! take, and nothing is repaired before the API itself was asked, because caches of two kinds do not move together.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use client::EventType;
use informer::{Action, Cache, Controller, DeletePolicy, Delta, Key, Plan, Round, Sources};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::{IPAddress, IPAddressSpec, ParentReference, ServiceCIDR};
use kube::core::ObjectMeta;
use kube::{Api, Resource};

use crate::service_cidr::{gives, prefixes};
use crate::target::{dynamic, target, target_of};

const LABEL_FAMILY: &str = "ipaddress.kubernetes.io/ip-family";
const LABEL_MANAGED_BY: &str = "ipaddress.kubernetes.io/managed-by";
const MANAGED_BY: &str = "ipallocator.k8s.io";
/// How long an object may be without its Service: as long as a request may take.
const GRACE: SignedDuration = SignedDuration::from_secs(60);

/// See the module's documentation. Keys with a namespace are Services, those without are addresses.
pub struct AddressRepairController {
    services: Cache<Service>,
    addresses: Cache<IPAddress>,
    ranges: Cache<ServiceCIDR>,
}

/// What a Service's address is like.
struct Assigned {
    address: IpAddr,
    is_in_range: bool,
    object: Option<Arc<IPAddress>>,
    /// Whether another Service has the address too, and the object says that it is that one's.
    is_anothers: bool,
}

/// What a decision depends on.
pub struct Observed(Subject);

enum Subject {
    Service {
        service: Arc<Service>,
        assigned: Vec<Assigned>,
    },
    /// `holder`: the Service that the object names, as the API has it.
    Address {
        object: Arc<IPAddress>,
        holder: Option<Arc<Service>>,
    },
}

/// The addresses of a Service, as it writes them.
fn assigned_to(service: &Service) -> impl Iterator<Item = &String> {
    let spec = service.spec.as_ref().filter(|spec| spec.type_.as_deref() != Some("ExternalName"));
    spec.into_iter().flat_map(|spec| spec.cluster_ips.iter().flatten()).filter(|address| *address != "None")
}

fn has(service: &Service, address: IpAddr) -> bool {
    assigned_to(service).any(|own| own.parse() == Ok(address))
}

fn key_of(service: &Service) -> Key {
    let metadata = &service.metadata;
    Key::new(metadata.namespace.as_deref().unwrap_or(""), metadata.name.as_deref().unwrap_or(""))
}

/// The Service that an object names; `None` where that is no Service.
fn parent(object: &IPAddress) -> Option<Key> {
    let parent = &object.spec.parent_ref;
    let is_service = parent.group.as_deref().unwrap_or("").is_empty() && parent.resource == "services";
    is_service.then(|| Key::new(parent.namespace.as_deref().unwrap_or(""), &parent.name))
}

const fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IPv4" } else { "IPv6" }
}

fn label<'o>(object: &'o IPAddress, key: &str) -> Option<&'o str> {
    object.metadata.labels.as_ref()?.get(key).map(String::as_str)
}

impl Controller for AddressRepairController {
    const NAME: &'static str = "ipallocator-repair-controller";
    const WORKERS: usize = 2;
    type Config = ();
    type Observed = Observed;

    fn sources(sources: &mut Sources<'_>, (): ()) -> Self {
        let services = sources.mapped(|delta: &Delta<Service>| {
            let mut keys = vec![delta.object().key.clone()];
            // What it had may be without a Service now.
            let before = match delta {
                Delta::Deleted(gone) => gone.typed(),
                Delta::Applied { old, .. } => old.as_ref().and_then(|old| old.typed()),
            };
            keys.extend(before.into_iter().flat_map(|before| {
                assigned_to(before).map(|address| Key::new("", address)).collect::<Vec<_>>()
            }));
            keys
        });
        let addresses = sources.mapped(|delta: &Delta<IPAddress>| {
            let named = delta.object().typed().and_then(|object| parent(object));
            [Some(delta.object().key.clone()), named].into_iter().flatten().collect()
        });
        Self { services, addresses, ranges: sources.reads() }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Observed>, kube::Error> {
        let subject = if round.key.namespace.is_empty() {
            self.address(round).await?
        } else {
            self.service(round).await?
        };
        Ok(subject.map(Observed))
    }

    fn reconcile(Observed(subject): &Observed, now: Timestamp) -> Plan {
        let mut plan = Plan::nothing();
        match subject {
            Subject::Service { service, assigned } => {
                assigned.iter().for_each(|assigned| repair(&mut plan, service, assigned));
            }
            Subject::Address { object, holder } => clear(&mut plan, object, holder.as_deref(), now),
        }
        plan
    }
}

impl AddressRepairController {
    async fn service(&self, round: &Round<'_>) -> Result<Option<Subject>, kube::Error> {
        let Some(service) = self.services.get_key(round.key) else { return Ok(None) };
        let ranges = self.ranges.scan("there are few ranges");
        let ranges: Vec<_> = ranges
            .iter()
            .filter_map(|range| Some(prefixes(range.typed()?).collect::<Vec<_>>()))
            .flatten()
            .collect();
        let mut assigned = Vec::new();
        for address in assigned_to(&service).filter_map(|address| address.parse::<IpAddr>().ok()) {
            let name = address.to_string();
            let mut object = self.addresses.get("", &name);
            let is_own =
                object.as_ref().and_then(|object| parent(object)).is_some_and(|key| key == *round.key);
            let mut is_anothers = false;
            if !is_own {
                object = Api::<IPAddress>::all(round.client.clone()).get_opt(&name).await?.map(Arc::new);
                let Some(now) = live(round, round.key).await? else { return Ok(None) };
                if now.metadata.uid != service.metadata.uid || !has(&now, address) {
                    continue;
                }
                let named = object.as_ref().and_then(|object| parent(object)).filter(|key| key != round.key);
                if let Some(named) = named {
                    is_anothers = live(round, &named).await?.is_some_and(|other| has(&other, address));
                }
            }
            let is_in_range = ranges.iter().any(|prefix| gives(prefix, address));
            assigned.push(Assigned { address, is_in_range, object, is_anothers });
        }
        Ok(Some(Subject::Service { service, assigned }))
    }

    async fn address(&self, round: &Round<'_>) -> Result<Option<Subject>, kube::Error> {
        let Some(object) = self.addresses.get_key(round.key) else { return Ok(None) };
        if label(&object, LABEL_MANAGED_BY) != Some(MANAGED_BY) {
            return Ok(None);
        }
        let Some(named) = parent(&object) else { return Ok(Some(Subject::Address { object, holder: None })) };
        let Ok(address) = round.key.name.parse::<IpAddr>() else { return Ok(None) };
        let mut holder = self.services.get_key(&named);
        if holder.as_ref().is_some_and(|holder| has(holder, address)) {
            return Ok(None);
        }
        if age(&object, round.now) > GRACE {
            holder = live(round, &named).await?.map(Arc::new);
        }
        Ok(Some(Subject::Address { object, holder }))
    }
}

/// A Service as the API has it.
async fn live(round: &Round<'_>, key: &Key) -> Result<Option<Service>, kube::Error> {
    Api::<Service>::namespaced(round.client.clone(), &key.namespace).get_opt(&key.name).await
}

fn age(object: &IPAddress, now: Timestamp) -> SignedDuration {
    let made = object.metadata.creation_timestamp.as_ref();
    made.map_or(SignedDuration::ZERO, |made| now.duration_since(made.0))
}

/// Sees to it that a Service's address is the Service's.
fn repair(plan: &mut Plan, service: &Service, assigned: &Assigned) {
    let (address, family) = (assigned.address, family(assigned.address));
    let key = key_of(service);
    let mut tell = |reason, message| plan.then(event(service, reason, message));
    if !assigned.is_in_range {
        let why = "is not within any configured Service CIDR; please recreate service";
        return tell("ClusterIPOutOfRange", format!("Cluster IP [{family}]: {address} {why}"));
    }
    let Some(object) = &assigned.object else {
        let message = format!("Cluster IP [{family}]: {address} is not allocated; repairing");
        tell("ClusterIPNotAllocated", message);
        return plan.then(create(service, address));
    };
    if assigned.is_anothers {
        let why = "was assigned to multiple services; please recreate service";
        tell("ClusterIPAlreadyAllocated", format!("Cluster IP [{family}]:{address} {why}"));
    } else if parent(object).is_none_or(|named| named != key) {
        let message = format!(
            "the ClusterIP [{family}]: {address} for Service {}/{} has a wrong reference; repairing",
            key.namespace, key.name
        );
        tell("ClusterIPNotAllocated", message);
        plan.actions.extend([delete(object), create(service, address)]);
    } else if label(object, LABEL_FAMILY) != Some(family)
        || label(object, LABEL_MANAGED_BY) != Some(MANAGED_BY)
    {
        plan.actions.extend([delete(object), create(service, address)]);
    }
}

/// Removes an object that is nobody's.
fn clear(plan: &mut Plan, object: &IPAddress, holder: Option<&Service>, now: Timestamp) {
    let name = object.metadata.name.as_deref().unwrap_or("");
    let Some(named) = parent(object) else {
        let ParentReference { group, resource, namespace, name: other } = &object.spec.parent_ref;
        let [group, namespace] = [group, namespace].map(|text| text.as_deref().unwrap_or(""));
        // A structure as Go prints it.
        let message = format!(
            "IPAddress {name} appears to have been modified, not referencing a Service \
             &ParentReference{{Group:{group},Resource:{resource},Namespace:{namespace},Name:{other},}}: cleaning up"
        );
        plan.then(event(object, "IPAddressNotAllocated", message));
        return plan.then(delete(object));
    };
    let address = name.parse::<IpAddr>();
    if holder.is_some_and(|holder| address.is_ok_and(|address| has(holder, address))) {
        return;
    }
    let left = GRACE - age(object, now);
    if !left.is_negative() {
        let wait = Duration::try_from(left).unwrap_or(Duration::ZERO);
        return plan.look_again(wait + Duration::from_secs(1));
    }
    let Key { namespace, name: service } = &named;
    let about = format!("IPAddress: {name} for Service {namespace}/{service}");
    let (reason, why) = match holder {
        None => ("IPAddressNotAllocated", "appears to have leaked: cleaning up"),
        Some(_) => ("IPAddressWrongReference", "has a wrong reference; cleaning up"),
    };
    plan.then(event(object, reason, format!("{about} {why}")));
    plan.then(delete(object));
}

fn event<K: Resource<DynamicType = ()>>(about: &K, reason: &'static str, message: String) -> Action {
    Action::Event { about: client::reference(about), event_type: EventType::Warning, reason, message }
}

/// Deletes this very object.
fn delete(object: &IPAddress) -> Action {
    let uid = object.metadata.uid.clone();
    Action::Delete { target: target_of(object), policy: DeletePolicy { uid, ..DeletePolicy::default() } }
}

fn create(service: &Service, address: IpAddr) -> Action {
    let Key { namespace, name } = key_of(service);
    let labels = [(LABEL_FAMILY, family(address)), (LABEL_MANAGED_BY, MANAGED_BY)];
    let labels: BTreeMap<String, String> =
        labels.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let parent_ref = ParentReference {
        group: None,
        resource: "services".to_owned(),
        namespace: Some(namespace.to_string()),
        name: name.to_string(),
    };
    let object = IPAddress {
        metadata: ObjectMeta {
            name: Some(address.to_string()),
            labels: Some(labels),
            ..ObjectMeta::default()
        },
        spec: IPAddressSpec { parent_ref },
    };
    Action::Create { target: target::<IPAddress>("", ""), object: dynamic(&object) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service() -> Service {
        serde_json::from_value(json!({
            "metadata": {"namespace": "d", "name": "s", "uid": "u"},
            "spec": {"type": "ClusterIP", "clusterIP": "10.96.0.5", "clusterIPs": ["10.96.0.5"]},
        }))
        .expect("a service")
    }

    fn object(by: &str, family: &str) -> IPAddress {
        serde_json::from_value(json!({
            "metadata": {"name": "10.96.0.5", "uid": "o", "creationTimestamp": "2026-01-01T00:00:00Z",
                "labels": {LABEL_FAMILY: family, LABEL_MANAGED_BY: MANAGED_BY}},
            "spec": {"parentRef": {"resource": "services", "namespace": "d", "name": by}},
        }))
        .expect("an address")
    }

    /// What a plan does, a line an action.
    fn told(plan: &Plan) -> Vec<String> {
        let line = |action: &Action| match action {
            Action::Event { reason, message, .. } => format!("{reason}: {message}"),
            Action::Create { object, .. } => {
                let parent = object.str_at(&["spec", "parentRef", "name"]).unwrap_or_default();
                format!("create {} for {parent}", object.name())
            }
            Action::Delete { target, policy } => format!("delete {} {:?}", target.name, policy.uid),
            other => format!("{other:?}"),
        };
        plan.actions.iter().map(line).collect()
    }

    fn repaired(is_in_range: bool, object: Option<IPAddress>, is_anothers: bool) -> Vec<String> {
        let address = "10.96.0.5".parse().expect("an address");
        let assigned = vec![Assigned { address, is_in_range, object: object.map(Arc::new), is_anothers }];
        let observed = Observed(Subject::Service { service: Arc::new(service()), assigned });
        told(&AddressRepairController::reconcile(&observed, Timestamp::UNIX_EPOCH))
    }

    #[test]
    fn a_services_address_is_made_the_services() {
        assert_eq!(repaired(true, Some(object("s", "IPv4")), false), <[&str; 0]>::default());
        assert_eq!(
            repaired(true, None, false),
            [
                "ClusterIPNotAllocated: Cluster IP [IPv4]: 10.96.0.5 is not allocated; repairing",
                "create 10.96.0.5 for s",
            ]
        );
        assert_eq!(
            repaired(true, Some(object("gone", "IPv4")), false),
            [
                "ClusterIPNotAllocated: the ClusterIP [IPv4]: 10.96.0.5 for Service d/s has a wrong reference; repairing",
                "delete 10.96.0.5 Some(\"o\")",
                "create 10.96.0.5 for s",
            ]
        );
        assert_eq!(
            repaired(true, Some(object("s", "IPv6")), false),
            ["delete 10.96.0.5 Some(\"o\")", "create 10.96.0.5 for s"]
        );
        assert_eq!(
            repaired(true, Some(object("t", "IPv4")), true),
            [
                "ClusterIPAlreadyAllocated: Cluster IP [IPv4]:10.96.0.5 was assigned to multiple services; please recreate service"
            ]
        );
        assert_eq!(
            repaired(false, None, false),
            [
                "ClusterIPOutOfRange: Cluster IP [IPv4]: 10.96.0.5 is not within any configured Service CIDR; please recreate service"
            ]
        );
    }

    fn cleared(object: IPAddress, holder: Option<Service>, now: &str) -> Plan {
        let observed = Observed(Subject::Address { object: Arc::new(object), holder: holder.map(Arc::new) });
        AddressRepairController::reconcile(&observed, now.parse().expect("a time"))
    }

    #[test]
    fn an_object_without_a_service_goes_after_a_while() {
        let early = cleared(object("s", "IPv4"), None, "2026-01-01T00:00:20Z");
        assert_eq!((early.actions.len(), early.again_after), (0, Some(Duration::from_secs(41))));
        let late = "2026-01-01T00:01:01Z";
        assert_eq!(
            told(&cleared(object("s", "IPv4"), None, late)),
            [
                "IPAddressNotAllocated: IPAddress: 10.96.0.5 for Service d/s appears to have leaked: cleaning up",
                "delete 10.96.0.5 Some(\"o\")",
            ]
        );
        assert_eq!(told(&cleared(object("s", "IPv4"), Some(service()), late)), <[&str; 0]>::default());
        let mut other = service();
        other.spec.get_or_insert_default().cluster_ips = Some(vec!["10.96.0.6".to_owned()]);
        assert_eq!(
            told(&cleared(object("s", "IPv4"), Some(other), late)),
            [
                "IPAddressWrongReference: IPAddress: 10.96.0.5 for Service d/s has a wrong reference; cleaning up",
                "delete 10.96.0.5 Some(\"o\")",
            ]
        );
    }
}
