//! The loop: which pods concern which budget, and what is read before deciding.

use std::sync::Arc;

use api::selector::LabelSelector;
use informer::{Cache, Cached, Controller, Delta, Key, Plan, Round, Sources};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use resources::ResourceSource;

use super::plan::{self, Observed};
use super::scale::Scales;
use crate::replicas::pod::Replica;
use crate::selecting::Selecting;
use crate::service_endpoints::selected::Selected;

/// See the module's documentation. Keys are budgets.
pub struct DisruptionController {
    budgets: Cache<PodDisruptionBudget>,
    pods: Selected,
    scales: Scales,
}

impl Controller for DisruptionController {
    const NAME: &'static str = "disruption-controller";
    const EVENT_SOURCE: &'static str = "controllermanager";
    const QUEUE: &'static str = "disruption";
    type Config = Arc<dyn ResourceSource>;
    type Observed = Observed;

    fn sources(sources: &mut Sources<'_>, kinds: Arc<dyn ResourceSource>) -> Self {
        let budgets: Cache<PodDisruptionBudget> = sources.primary();
        let covering = Selecting::new(&budgets, selector);
        let pods: Cache<Pod> = sources.mapped(move |delta| concerned(&covering, delta));
        Self { budgets, pods: Selected::new(&pods), scales: Scales::new(sources, kinds) }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Observed>, kube::Error> {
        let Some(budget) = self.budgets.get_key(round.key) else { return Ok(None) };
        let selector = selector(&budget).unwrap_or_else(LabelSelector::nothing);
        let pods = self.pods.matching(&round.key.namespace, &selector);
        let pods: Vec<Replica> = pods.into_iter().map(Replica::of).collect();
        let scale = match plan::goes_by_scale(&budget) {
            true => Some(self.scales.of(round.client, &round.key.namespace, &pods).await),
            false => None,
        };
        Ok(Some(Observed { budget, pods, scale }))
    }

    fn reconcile(observed: &Observed, now: jiff::Timestamp) -> Plan {
        plan::plan(observed, now)
    }
}

/// The pods that a budget covers: with an empty selector all of the namespace, without one none.
fn selector(budget: &PodDisruptionBudget) -> Option<LabelSelector> {
    let selector = serde_json::to_value(budget.spec.as_ref()?.selector.as_ref()?).ok()?;
    LabelSelector::from_object(&selector).ok()
}

/// The budgets that cover a pod or did so.
fn concerned(covering: &Selecting<PodDisruptionBudget>, delta: &Delta<Pod>) -> Vec<Key> {
    let state = |pod: &Cached<Pod>| {
        let replica = Replica::of(pod.clone());
        (pod.labels.clone(), pod.controller().cloned(), pod.is_being_deleted(), replica.facts.ready)
    };
    if let Delta::Applied { new, old: Some(old) } = delta
        && state(new) == state(old)
    {
        return Vec::new();
    }
    let mut keys = covering.of(delta.object());
    if let Some(old) = delta.old() {
        keys.extend(covering.of(old));
        keys.sort();
        keys.dedup();
    }
    keys
}
