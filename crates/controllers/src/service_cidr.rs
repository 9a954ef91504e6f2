//! Ranges of Services' addresses: each is marked ready, and held by a finalizer for as long as it alone covers an
//! address that somebody has. Upstream: `pkg/controller/servicecidrs`.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use informer::{Action, Cache, Controller, Delta, Index, Key, Plan, Round, Sources};
use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::networking::v1::{IPAddress, ServiceCIDR};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use serde_json::json;

use crate::target::target_of;

const FINALIZER: &str = "networking.k8s.io/service-cidr-finalizer";
const READY: &str = "Ready";
/// How long a range that nobody needs stays, for writes in progress that have taken an address of it.
const GRACE: SignedDuration = SignedDuration::from_secs(10);

/// See the module's documentation. Keys are ranges.
pub struct ServiceCidrController {
    ranges: Cache<ServiceCIDR>,
    addresses: Cache<IPAddress>,
}

/// A range, and whether others need it: asked only of one that is being deleted.
pub struct Observed {
    range: Arc<ServiceCIDR>,
    is_needed: bool,
}

/// The prefixes of a range object.
pub(crate) fn prefixes(range: &ServiceCIDR) -> impl Iterator<Item = IpNet> {
    let cidrs = range.spec.iter().flat_map(|spec| spec.cidrs.iter().flatten());
    cidrs.filter_map(|cidr| cidr.parse().ok())
}

/// Whether a Service can have the address from the prefix: of IPv4 neither the network's nor the broadcast address.
pub(crate) fn gives(prefix: &IpNet, address: IpAddr) -> bool {
    let ends = [prefix.network(), prefix.broadcast()];
    let reserved = if address.is_ipv4() { &ends[..] } else { &ends[..1] };
    prefix.contains(&address) && !reserved.contains(&address)
}

/// The ranges that are being deleted wait for other ranges and for addresses that go.
fn leaving(index: &Index<ServiceCIDR>) -> Vec<Key> {
    index.keys("")
}

impl Controller for ServiceCidrController {
    const NAME: &'static str = "service-cidr-controller";
    const ACCOUNT: &'static str = "service-cidrs-controller";
    const QUEUE: &'static str = "servicecidrs";
    const WORKERS: usize = 1;
    type Config = ();
    type Observed = Observed;

    fn sources(sources: &mut Sources<'_>, (): ()) -> Self {
        let ranges: Cache<ServiceCIDR> = sources.reads();
        let going = ranges.index("leaving", |range, found| {
            if range.is_being_deleted() {
                found("");
            }
        });
        let waiting = going.clone();
        sources.mapped(move |delta: &Delta<ServiceCIDR>| {
            let mut keys = leaving(&waiting);
            keys.push(delta.object().key.clone());
            keys
        });
        let addresses = sources.mapped(move |delta: &Delta<IPAddress>| match delta {
            Delta::Deleted(_) => leaving(&going),
            Delta::Applied { .. } => Vec::new(),
        });
        Self { ranges, addresses }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Observed>, kube::Error> {
        let Some(range) = self.ranges.get_key(round.key) else { return Ok(None) };
        let is_needed = range.metadata.deletion_timestamp.is_some() && self.is_needed(round.key, &range);
        Ok(Some(Observed { range, is_needed }))
    }

    fn reconcile(Observed { range, is_needed }: &Observed, now: Timestamp) -> Plan {
        let mut plan = Plan::nothing();
        let held = range.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER);
        let Some(deleted) = &range.metadata.deletion_timestamp else {
            if !held {
                let patch = json!({"metadata": {"finalizers": [FINALIZER]}});
                plan.then(Action::StrategicPatch { target: target_of(&**range), patch });
            }
            plan.actions.extend(report(range, "True", "", "Kubernetes Service CIDR is ready", now));
            return plan;
        };
        if *is_needed {
            let message = "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a \
                           new ServiceCIDR";
            plan.actions.extend(report(range, "False", "Terminating", message, now));
            return plan.because("addresses of the range are in use");
        }
        let left = GRACE - now.duration_since(deleted.0);
        if left.is_positive() {
            plan.look_again(Duration::try_from(left).unwrap_or(Duration::ZERO));
            return plan.because("writes in progress may have taken an address");
        }
        if held {
            let patch = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": [FINALIZER]}});
            plan.then(Action::StrategicPatch { target: target_of(&**range), patch });
        }
        plan.because("nobody needs the range")
    }
}

impl ServiceCidrController {
    /// Whether an address would be left without a range. None would where other ranges cover all prefixes.
    fn is_needed(&self, key: &Key, range: &ServiceCIDR) -> bool {
        let others: Vec<IpNet> =
            (self.ranges.scan("a range is being deleted: the others are compared").iter())
                .filter(|other| other.key != *key)
                .filter_map(|other| other.typed().cloned())
                .flat_map(|other| prefixes(&other).collect::<Vec<_>>())
                .collect();
        let mine: Vec<IpNet> = prefixes(range).collect();
        if mine.iter().all(|prefix| others.iter().any(|other| other.contains(prefix))) {
            return false;
        }
        let addresses = self.addresses.scan("a range is being deleted: all addresses are looked at");
        let mut addresses = addresses.iter().filter_map(|address| address.name().parse::<IpAddr>().ok());
        addresses.any(|address| {
            mine.iter().any(|prefix| gives(prefix, address))
                && !others.iter().any(|prefix| gives(prefix, address))
        })
    }
}

/// The patch that reports the condition; `None` where the status has it.
fn report(range: &ServiceCIDR, status: &str, reason: &str, message: &str, now: Timestamp) -> Option<Action> {
    let before = range.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let (ready, others): (Vec<&Condition>, Vec<_>) = before.partition(|condition| condition.type_ == READY);
    let is_same = |condition: &&Condition| {
        condition.status == status && condition.reason == reason && condition.message == message
    };
    if ready.first().is_some_and(is_same) {
        return None;
    }
    let condition = Condition {
        type_: READY.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        last_transition_time: Time(now),
        observed_generation: None,
    };
    let conditions: Vec<&Condition> = others.into_iter().chain([&condition]).collect();
    let patch = json!({"status": {"conditions": conditions}});
    Some(Action::MergePatch { target: target_of(range).subresource("status"), patch })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn range(value: &Value) -> Arc<ServiceCIDR> {
        let mut whole = json!({"metadata": {"name": "a"}, "spec": {"cidrs": ["10.96.0.0/24"]}});
        for (key, value) in value.as_object().expect("an object") {
            whole[key] = value.clone();
        }
        Arc::new(serde_json::from_value(whole).expect("a range"))
    }

    fn plan(value: &Value, is_needed: bool, now: &str) -> Plan {
        let observed = Observed { range: range(value), is_needed };
        ServiceCidrController::reconcile(&observed, now.parse().expect("a time"))
    }

    const NOW: &str = "2026-01-01T00:00:20Z";

    #[test]
    fn a_new_range_is_held_and_ready() {
        let made = plan(&json!({}), false, NOW);
        let [Action::StrategicPatch { patch: held, .. }, Action::MergePatch { target, patch }] =
            &made.actions[..]
        else {
            panic!("{made:?}")
        };
        assert_eq!(*held, json!({"metadata": {"finalizers": [FINALIZER]}}));
        assert_eq!(target.path(), "/apis/networking.k8s.io/v1/servicecidrs/a/status");
        let ready = json!({"conditions": [{"type": "Ready", "status": "True", "reason": "",
            "message": "Kubernetes Service CIDR is ready", "lastTransitionTime": "2026-01-01T00:00:20Z"}]});
        assert_eq!(patch["status"], ready);
        let settled = json!({"metadata": {"name": "a", "finalizers": [FINALIZER]}, "status": ready});
        assert_eq!(plan(&settled, false, NOW).actions, []);
    }

    #[test]
    fn a_range_goes_when_nobody_needs_it() {
        let deleted = json!({"metadata": {"name": "a", "finalizers": [FINALIZER],
            "deletionTimestamp": "2026-01-01T00:00:15Z"}});
        let waits = plan(&deleted, true, NOW);
        let [Action::MergePatch { patch, .. }] = &waits.actions[..] else { panic!("{waits:?}") };
        assert_eq!(patch["status"]["conditions"][0]["reason"], "Terminating");
        assert_eq!(patch["status"]["conditions"][0]["status"], "False");
        let soon = plan(&deleted, false, NOW);
        assert_eq!((soon.actions.len(), soon.again_after), (0, Some(Duration::from_secs(5))));
        let goes = plan(&deleted, false, "2026-01-01T00:00:26Z");
        let [Action::StrategicPatch { patch, .. }] = &goes.actions[..] else { panic!("{goes:?}") };
        assert_eq!(*patch, json!({"metadata": {"$deleteFromPrimitiveList/finalizers": [FINALIZER]}}));
    }

    #[test]
    fn a_range_is_needed_for_what_it_alone_covers() {
        let controller = ServiceCidrController { ranges: Cache::new(), addresses: Cache::new() };
        let named = |name: &str, cidr: &str| {
            let value = json!({"metadata": {"name": name}, "spec": {"cidrs": [cidr]}});
            serde_json::from_value::<ServiceCIDR>(value).expect("a range")
        };
        let going = named("a", "10.96.0.0/24");
        controller.ranges.apply(going.clone());
        let needed = || controller.is_needed(&Key::new("", "a"), &going);
        assert!(!needed(), "no address is in use");
        let address = |name: &str| {
            let parent = json!({"resource": "services", "namespace": "d", "name": "s"});
            let value = json!({"metadata": {"name": name}, "spec": {"parentRef": parent}});
            serde_json::from_value::<IPAddress>(value).expect("an address")
        };
        controller.addresses.apply(address("10.97.0.1"));
        assert!(!needed(), "the address is of another range");
        controller.addresses.apply(address("10.96.0.7"));
        assert!(needed());
        controller.ranges.apply(named("b", "10.96.0.0/29"));
        assert!(needed(), "the smaller range ends with that address");
        controller.ranges.apply(named("c", "10.96.0.0/28"));
        assert!(!needed(), "another range has the address");
    }
}
