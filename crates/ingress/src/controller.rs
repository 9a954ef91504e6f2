//! Writes where each Ingress is reached into its status, and what it does not get into its events.
//!
//! An Ingress of another class is somebody else's: nothing of it is touched, but for what was written here before it
//! went over to that class.

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use client::EventType;
use informer::{Action, Cached, Controller, Delta, Key, Plan, Round, Sources, Target};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Secret, Service};
use k8s_openapi::api::networking::v1::{Ingress, IngressClass, IngressLoadBalancerIngress};
use serde_json::{Value, json};

use crate::told::{Reach, Told};
use crate::translate::problems::{Problem, conflict, problems};
use crate::view::{View, is_own_class, view};

/// See the module's documentation. Keys are Ingresses.
pub(crate) struct IngressController {
    view: View,
    told: Told,
    left: Left,
}

/// Ingresses that were served here and are not any more.
#[derive(Clone, Default)]
struct Left(Arc<Mutex<HashSet<Key>>>);

impl Left {
    fn keys(&self) -> MutexGuard<'_, HashSet<Key>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a decision depends on.
pub(crate) struct Observed {
    ingress: Arc<Ingress>,
    /// Where the Ingress is reached, if it is served here.
    reach: Option<Reach>,
    problems: BTreeSet<Problem>,
}

impl Controller for IngressController {
    const NAME: &'static str = "ingress-controller";
    const EVENT_SOURCE: &'static str = "ingress-controller";
    type Config = Told;
    type Observed = Observed;

    fn sources(sources: &mut Sources<'_>, told: Told) -> Self {
        let seen = View::new(sources.informers());
        let left = Left::default();
        let (of, gone) = (seen.clone(), left.clone());
        sources.mapped(move |delta: &Delta<Ingress>| {
            let ingress = delta.object();
            if delta.old().is_some_and(|old| of.is_ours(old)) && !of.is_ours(ingress) {
                gone.keys().insert(ingress.key.clone());
            }
            let mut keys = vec![ingress.key.clone()];
            keys.extend(of.losers(delta));
            keys
        });
        let (of, gone) = (seen.clone(), left.clone());
        sources.mapped(move |delta: &Delta<IngressClass>| {
            let keys = of.by_class.keys(delta.object().name());
            let was_ours = match delta {
                Delta::Deleted(class) => is_own_class(class),
                Delta::Applied { new, old } => old.as_ref().is_some_and(is_own_class) && !is_own_class(new),
            };
            if was_ours {
                gone.keys().extend(keys.iter().cloned());
            }
            keys
        });
        let of = seen.clone();
        sources.mapped(move |delta: &Delta<Service>| of.of_service(&delta.object().key));
        let of = seen.clone();
        sources.mapped(move |delta: &Delta<Secret>| of.of_secret(&delta.object().key));
        let (of, queue) = (seen.clone(), sources.queue());
        told.wake_by(move || of.ours().into_iter().for_each(|key| queue.add(key)));
        Self { view: seen, told, left }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Observed>, kube::Error> {
        let Some(cached) = self.view.ingresses.find(round.key) else {
            self.left.keys().remove(round.key);
            return Ok(None);
        };
        let Some(ingress) = cached.typed().cloned() else { return Ok(None) };
        if self.view.is_ours(&cached) {
            self.left.keys().remove(round.key);
            // Comes again when it is known.
            let Some(reach) = self.told.reach() else { return Ok(None) };
            let problems = self.problems(&cached);
            return Ok(Some(Observed { ingress, reach: Some(reach), problems }));
        }
        // Told once: what is written there afterwards is somebody else's. A write that fails comes again as this.
        let has_left = self.left.keys().remove(round.key) || round.failure.is_some();
        let observed = || Observed { ingress, reach: None, problems: BTreeSet::new() };
        Ok(has_left.then(observed))
    }

    fn reconcile(observed: &Observed, _: Timestamp) -> Plan {
        plan(observed)
    }
}

impl IngressController {
    fn problems(&self, ingress: &Cached<Ingress>) -> BTreeSet<Problem> {
        let certificate =
            |secret: &Key| self.view.certificate(secret).map(|_| ()).map_err(|error| error.to_string());
        let mut found =
            problems(ingress.namespace(), &view(ingress), |key| self.view.services.get_key(key), certificate);
        found.extend(conflict(&self.view.lost(ingress)));
        found
    }
}

fn told(ingress: &Ingress) -> &[IngressLoadBalancerIngress] {
    let balancer = ingress.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    balancer.and_then(|balancer| balancer.ingress.as_deref()).unwrap_or_default()
}

fn plan(Observed { ingress, reach, problems }: &Observed) -> Plan {
    let mut plan = Plan::nothing();
    let event = |event_type, reason, message: String| Action::Event {
        about: client::reference(&**ingress),
        event_type,
        reason,
        message,
    };
    let had = told(ingress);
    let wanted = reach.as_ref().map(|reach| reach.addresses.as_slice()).unwrap_or_default();
    let held: Vec<IpAddr> = had.iter().filter_map(|at| at.ip.as_ref()?.parse().ok()).collect();
    if held != wanted || held.len() != had.len() {
        plan.then(status(ingress, wanted));
        if !wanted.is_empty() {
            let text: Vec<String> = wanted.iter().map(ToString::to_string).collect();
            plan.then(event(
                EventType::Normal,
                "Served",
                format!("The Ingress is served at {}", text.join(", ")),
            ));
        }
    }
    for trouble in reach.iter().flat_map(|reach| &reach.troubles) {
        plan.then(event(EventType::Warning, "PortUnavailable", trouble.clone()));
    }
    for Problem { reason, message } in problems {
        plan.then(event(EventType::Warning, reason, message.clone()));
    }
    plan.because(format!("addresses: {wanted:?}"))
}

/// The patch of the status, which fails if the Ingress has changed since.
fn status(ingress: &Ingress, addresses: &[IpAddr]) -> Action {
    let metadata = &ingress.metadata;
    let list: Vec<Value> = addresses.iter().map(|ip| json!({"ip": ip})).collect();
    let list = if list.is_empty() { Value::Null } else { list.into() };
    let patch = json!({
        "metadata": {"uid": metadata.uid, "resourceVersion": metadata.resource_version},
        "status": {"loadBalancer": {"ingress": list}},
    });
    let [namespace, name] = [&metadata.namespace, &metadata.name].map(|text| text.as_deref().unwrap_or(""));
    let target = Target::new("networking.k8s.io", "v1", "ingresses", namespace, name);
    Action::MergePatch { target: target.subresource("status"), patch }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ingress(status: &Value) -> Arc<Ingress> {
        let ingress = json!({"metadata": {"namespace": "n", "name": "i", "uid": "u", "resourceVersion": "7"},
            "status": status});
        Arc::new(serde_json::from_value(ingress).expect("an Ingress"))
    }

    /// What is done, in words.
    fn done(status: &Value, reach: Option<Reach>, problems: &[(&'static str, &str)]) -> Vec<String> {
        let problems = problems
            .iter()
            .map(|(reason, message)| Problem { reason, message: (*message).to_owned() })
            .collect();
        let plan = plan(&Observed { ingress: ingress(status), reach, problems });
        let told = |action: &Action| match action {
            Action::Event { reason, message, .. } => format!("{reason}: {message}"),
            Action::MergePatch { target, patch } => {
                assert_eq!(target.path(), "/apis/networking.k8s.io/v1/namespaces/n/ingresses/i/status");
                assert_eq!(patch["metadata"], json!({"uid": "u", "resourceVersion": "7"}));
                patch["status"]["loadBalancer"]["ingress"].to_string()
            }
            other => panic!("unexpected {other:?}"),
        };
        plan.actions.iter().map(told).collect()
    }

    fn at(address: &str) -> Option<Reach> {
        Some(Reach { addresses: vec![address.parse().expect("an address")], troubles: Vec::new() })
    }

    #[test]
    fn the_status_says_where_the_ingress_is_reached() {
        let one = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}});
        assert_eq!(
            done(&json!({"loadBalancer": {}}), at("192.0.2.1"), &[]),
            [r#"[{"ip":"192.0.2.1"}]"#, "Served: The Ingress is served at 192.0.2.1"]
        );
        assert_eq!(done(&one, at("192.0.2.1"), &[]), Vec::<String>::new());
        assert_eq!(
            done(&one, at("192.0.2.2"), &[]),
            [r#"[{"ip":"192.0.2.2"}]"#, "Served: The Ingress is served at 192.0.2.2"]
        );
        let closed = Some(Reach { addresses: Vec::new(), troubles: vec!["port 80 is taken".to_owned()] });
        assert_eq!(
            done(&one, closed, &[("Odd", "x")]),
            ["null", "PortUnavailable: port 80 is taken", "Odd: x"]
        );
        assert_eq!(done(&one, None, &[]), ["null"], "it has left the class");
        let host = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"hostname": "x"}]}});
        assert_eq!(done(&host, at("192.0.2.1"), &[])[0], r#"[{"ip":"192.0.2.1"}]"#);
    }
}
