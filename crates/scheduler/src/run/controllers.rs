//! Follows the controllers of pods whose selectors say which pods belong together.

use std::sync::Arc;

use api::selector::{LabelSelector, Operator, Requirement};
use informer::{Delta, Informers, Kind};
use k8s_openapi::api::apps::v1::{ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::ReplicationController;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as SelectorObject;

/// Tells the uid of each controller with its selector when it comes or its specification changes, and without one when
/// it is gone.
pub(super) fn subscribe(
    informers: &Informers,
    tell: impl Fn(Arc<str>, Option<LabelSelector>) + Clone + Send + Sync + 'static,
) {
    follow::<ReplicaSet>(informers, tell.clone(), |set| selector(&set.spec.as_ref()?.selector));
    follow::<StatefulSet>(informers, tell.clone(), |set| selector(&set.spec.as_ref()?.selector));
    follow::<ReplicationController>(informers, tell, |controller| {
        let labels = controller.spec.as_ref()?.selector.as_ref()?;
        let requirements = labels
            .iter()
            .map(|(key, value)| Requirement::new(key, Operator::Equals, vec![value.clone()]).ok());
        requirements.collect::<Option<Vec<_>>>().map(LabelSelector::of)
    });
}

/// Waits until all are known.
pub(super) async fn wait_synced(informers: &Informers) {
    let (sets, stateful) = (informers.cache::<ReplicaSet>(), informers.cache::<StatefulSet>());
    let controllers = informers.cache::<ReplicationController>();
    tokio::join!(sets.wait_synced(), stateful.wait_synced(), controllers.wait_synced());
}

fn follow<K: Kind>(
    informers: &Informers,
    tell: impl Fn(Arc<str>, Option<LabelSelector>) + Send + Sync + 'static,
    selector: fn(&K) -> Option<LabelSelector>,
) {
    informers.cache::<K>().subscribe(move |delta: &Delta<K>| match delta {
        Delta::Applied { new, old } => {
            let is_same =
                old.as_ref().is_some_and(|old| old.uid == new.uid && old.generation == new.generation);
            if !is_same && let Some(selector) = new.typed().and_then(|object| selector(object)) {
                tell(Arc::clone(&new.uid), Some(selector));
            }
        }
        Delta::Deleted(old) => tell(Arc::clone(&old.uid), None),
    });
}

fn selector(object: &SelectorObject) -> Option<LabelSelector> {
    LabelSelector::from_object(&serde_json::to_value(object).ok()?).ok()
}
