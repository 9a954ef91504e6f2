//! Empties and then removes namespaces that are being deleted.
//!
//! The contents of a namespace are read live, kind by kind ([`contents`]): a cache could miss an object that
//! was made a moment ago, and finalizing would orphan that object. Pods are deleted first, so that the objects
//! they use stay until the pods have stopped (KEP-5080). [`conditions`] reports to users what is left.

mod conditions;
mod contents;

use std::sync::Arc;
use std::time::Duration;

use informer::{Action, Cache, Controller, Delta, Key, Plan, Round, Sources};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use resources::ResourceSource;

use crate::target::{dynamic, target_of, update_status};
use contents::{Contents, Reader};

/// The finalizer in `spec.finalizers` that this controller removes.
const FINALIZER: &str = "kubernetes";
/// The first wait before reading the contents again while other components finalize objects; deleted pods wake the
/// controller earlier.
const FINALIZER_WAIT: Duration = Duration::from_secs(1);
/// The longest wait (upstream reads again after about as long).
const FINALIZER_WAIT_MAX: Duration = Duration::from_secs(8);

/// Whether new objects may be made in the namespace.
pub(crate) fn is_active(namespace: &Namespace) -> bool {
    namespace.metadata.deletion_timestamp.is_none()
        && namespace.status.as_ref().and_then(|s| s.phase.as_deref()) != Some("Terminating")
}

/// See the module's documentation. Keys are namespaces.
pub struct NamespaceController {
    namespaces: Cache<Namespace>,
    reader: Reader,
}

/// A namespace that is being deleted, and what it still holds.
pub struct Observed {
    namespace: Arc<Namespace>,
    contents: Contents,
}

impl Controller for NamespaceController {
    const NAME: &'static str = "namespace-controller";
    const QUEUE: &'static str = "namespace";
    type Config = Arc<dyn ResourceSource>;
    type Observed = Observed;

    fn sources(sources: &mut Sources<'_>, kinds: Arc<dyn ResourceSource>) -> Self {
        let namespaces: Cache<Namespace> = sources.primary();
        let known = namespaces.clone();
        sources.mapped::<Pod>(move |delta| match delta {
            Delta::Applied { .. } => Vec::new(),
            Delta::Deleted(pod) => {
                let key = Key::new("", pod.namespace());
                let going = known.find(&key).is_some_and(|ns| ns.is_being_deleted());
                going.then_some(key).into_iter().collect()
            }
        });
        Self { namespaces, reader: Reader::new(kinds) }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Observed>, kube::Error> {
        let Some(namespace) = self.namespaces.get_key(round.key) else { return Ok(None) };
        if namespace.metadata.deletion_timestamp.is_none() || !has_finalizer(&namespace) {
            return Ok(None);
        }
        let contents = self.reader.read(round.client, &round.key.name).await;
        Ok(Some(Observed { namespace, contents }))
    }

    fn reconcile(observed: &Observed, now: jiff::Timestamp) -> Plan {
        let mut plan = Plan::nothing();
        let Observed { namespace, contents } = observed;
        if contents.is_empty() {
            // Where others hold the namespace, what became of its contents is worth telling.
            let is_held = namespace.metadata.finalizers.as_ref().is_some_and(|others| !others.is_empty());
            if let Some(told) = is_held.then(|| tell(namespace, contents, now)).flatten() {
                plan.then(told);
                return plan.because("nothing is left in the namespace, which others hold");
            }
            plan.then(finalize(namespace));
            return plan.because("nothing is left in the namespace");
        }
        let deletions = contents.deletions();
        // What this round deletes is mostly gone by the next: only what outlives its deletion is worth telling.
        if deletions.is_empty() || !contents.failures.is_empty() || !contents.undiscovered.is_empty() {
            plan.actions.extend(tell(namespace, contents, now));
        }
        if deletions.is_empty() {
            plan.look_again(patience(namespace, now));
            return plan.because("what is left is being finalized by others");
        }
        plan.then(Action::Batch(deletions));
        // Most objects are gone as soon as they are deleted: look at once.
        plan.look_again(Duration::ZERO);
        plan.because("the namespace has contents")
    }
}

fn has_finalizer(namespace: &Namespace) -> bool {
    let finalizers = namespace.spec.as_ref().and_then(|s| s.finalizers.as_deref()).unwrap_or_default();
    finalizers.iter().any(|f| f == FINALIZER)
}

/// The update that reports in the status what is left; `None` if the status reports it already.
fn tell(namespace: &Namespace, contents: &Contents, now: jiff::Timestamp) -> Option<Action> {
    let before = namespace.status.as_ref().and_then(|s| s.conditions.clone()).unwrap_or_default();
    let conditions = conditions::of(&before, contents, now);
    if conditions == before {
        return None;
    }
    let mut told = namespace.clone();
    told.status.get_or_insert_default().conditions = Some(conditions);
    Some(update_status(&told))
}

/// How long to wait before reading again: the longer the deletion has taken, the longer the wait.
fn patience(namespace: &Namespace, now: jiff::Timestamp) -> Duration {
    let waited = namespace.metadata.deletion_timestamp.as_ref().map_or(0, |since| {
        now.as_second()
            .saturating_sub(since.0.as_second())
            .clamp(0, 4 * FINALIZER_WAIT_MAX.as_secs().cast_signed())
    });
    Duration::from_secs(waited.cast_unsigned() / 4).clamp(FINALIZER_WAIT, FINALIZER_WAIT_MAX)
}

fn finalize(namespace: &Arc<Namespace>) -> Action {
    let mut finalized = Namespace::clone(namespace);
    if let Some(finalizers) = finalized.spec.as_mut().and_then(|s| s.finalizers.as_mut()) {
        finalizers.retain(|f| f != FINALIZER);
    }
    Action::Update { target: target_of(&**namespace).subresource("finalize"), object: dynamic(&finalized) }
}

#[cfg(test)]
mod tests;
