//! The loop: what is read before deciding, and what is remembered after.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use api::selector::LabelSelector;
use informer::{Cache, Controller, Delta, Key, Plan, Round, Sources, Tally};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Pod;
use resources::ResourceSource;

use super::plan::{self, Observed, Pods};
use super::rate::Memory;
use super::values::{Asker, Values};
use super::{figures, scale};
use crate::service_endpoints::selected::Selected;

/// See the module's documentation. Keys are autoscalers.
pub struct AutoscalerController {
    autoscalers: Cache<HorizontalPodAutoscaler>,
    pods: Selected,
    kinds: Arc<dyn ResourceSource>,
    known: Arc<Mutex<HashMap<Key, Known>>>,
}

/// What is kept of an autoscaler from round to round.
#[derive(Default)]
struct Known {
    memory: Memory,
    /// The pods of what it scales.
    selector: Option<LabelSelector>,
}

impl Controller for AutoscalerController {
    const NAME: &'static str = "horizontal-pod-autoscaler-controller";
    const ACCOUNT: &'static str = "horizontal-pod-autoscaler";
    const EVENT_SOURCE: &'static str = "horizontal-pod-autoscaler";
    const QUEUE: &'static str = "horizontalpodautoscaler";
    type Config = Arc<dyn ResourceSource>;
    type Observed = Observed;

    fn sources(sources: &mut Sources<'_>, kinds: Arc<dyn ResourceSource>) -> Self {
        let autoscalers = sources.mapped(changed);
        let pods: Cache<Pod> = sources.reads();
        Self { autoscalers, pods: Selected::new(&pods), kinds, known: Arc::default() }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Observed>, kube::Error> {
        let Some(autoscaler) = self.autoscalers.get_key(round.key) else { return Ok(None) };
        let spec = &autoscaler.spec;
        let namespace = &round.key.namespace;
        self.kinds.settled().await;
        let table = self.kinds.table();
        let scale = scale::ask(round.client, &table, namespace, &spec.scale_target_ref).await;
        let selector = scale.as_ref().ok().and_then(|scale| plan::selector(scale).ok());
        let (memory, rivals, pods) = self.pods(round.key, selector.clone());
        let measured = selector.filter(|_| plan::goes_by_metrics(spec, scale.as_ref().ok(), &rivals));
        let figures = match &measured {
            Some(selector) if plan::goes_by_figures(spec) => {
                Some(figures::ask(round.client, namespace, selector).await)
            }
            _ => None,
        };
        let values = match &measured {
            Some(selector) => {
                Asker { client: round.client, table: &table, namespace, selector }.ask(spec).await
            }
            None => Values::new(),
        };
        let failure = round.failure.map(|failure| failure.message.clone());
        let pods = Pods { pods, rivals, figures, values };
        Ok(Some(Observed { autoscaler, scale, pods, memory, failure, now: round.now }))
    }

    fn reconcile(observed: &Observed, now: jiff::Timestamp) -> Plan {
        plan::plan(observed, now)
    }

    fn tally(&self, key: &Key, decided: Option<(&Observed, &Plan)>) -> Option<Tally> {
        let Some((observed, _)) = decided else {
            self.known().remove(key);
            return None;
        };
        let (wishes, change, now) = plan::to_remember(observed)?;
        let (known, key) = (Arc::clone(&self.known), key.clone());
        Some(Box::new(move |done| {
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            let change = if done { change } else { 0 };
            known.entry(key).or_default().memory.add(&wishes, change, now);
        }))
    }
}

impl AutoscalerController {
    /// What is remembered of an autoscaler, which autoscalers have these pods too, and the pods.
    fn pods(&self, key: &Key, selector: Option<LabelSelector>) -> (Memory, Vec<String>, Vec<Arc<Pod>>) {
        let mut known = self.known();
        let own = known.entry(key.clone()).or_default();
        own.selector = selector.clone();
        let memory = own.memory.clone();
        let Some(selector) = selector else { return (memory, Vec::new(), Vec::new()) };
        let pods = self.pods.matching(&key.namespace, &selector);
        let selects =
            |selector: &LabelSelector| pods.iter().any(|pod| selector.matches(|key| pod.label(key)));
        let others = known.iter().filter(|(other, _)| other.namespace == key.namespace);
        let others = others.filter(|(_, known)| known.selector.as_ref().is_some_and(selects));
        let mut rivals: Vec<String> = others.map(|(other, _)| other.to_string()).collect();
        rivals.sort();
        drop(known);
        (memory, rivals, pods.iter().filter_map(|pod| pod.typed().cloned()).collect())
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Key, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The key of an autoscaler that wants something else than before; its status is this controller's own.
fn changed(delta: &Delta<HorizontalPodAutoscaler>) -> Vec<Key> {
    let spec = |state: Option<&informer::Cached<HorizontalPodAutoscaler>>| Some(state?.typed()?.spec.clone());
    let same = delta.old().is_some() && spec(delta.old()) == spec(Some(delta.object()));
    if same { Vec::new() } else { vec![delta.object().key.clone()] }
}
