//! Definitions of custom resources: accepts their names, has them served, and deletes their objects before they go.
//!
//! Source: upstream's `apiextensions-apiserver/pkg/controller/{status,establish,finalizer,apiapproval}`. Names are
//! unique within a group ([`naming`]), so one key stands for a group. What is left of a definition's objects is read
//! live ([`instances`]); their changes wake the group while the definition is being deleted.

mod instances;
mod naming;
mod status;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use informer::{
    Action, Cached, Controller, Delta, Index, Informers, Key, Meta, Plan, Queue, Round, Sources, Target,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde_json::json;

use instances::Instances;
use status::Definition;

/// What keeps a definition while its objects are deleted.
const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";
/// How soon the objects are read again once their deletion was requested; most are gone by then.
const AGAIN: Duration = Duration::ZERO;

/// See the module's documentation. Keys are groups.
pub struct CustomResourceDefinitionController {
    by_group: Index<CustomResourceDefinition>,
    informers: Informers,
    queue: Queue<Key>,
    /// The collections whose changes wake their group.
    followed: Mutex<BTreeSet<String>>,
}

/// A definition as it is, with what is read of it.
#[derive(Debug, Clone)]
pub struct Known {
    name: String,
    version: u64,
    being_deleted: bool,
    finalizers: Vec<String>,
    definition: Arc<Definition>,
}

/// The definitions of a group, and the objects that are left of those that are being deleted.
pub struct Observed {
    known: Vec<Known>,
    left: BTreeMap<String, Instances>,
}

impl Known {
    fn of(cached: &Cached<CustomResourceDefinition>) -> Self {
        let meta: &Meta = cached;
        let definition: Arc<Definition> = cached.view();
        Self {
            name: meta.name().to_owned(),
            version: meta.version,
            being_deleted: meta.is_being_deleted(),
            finalizers: definition.metadata.finalizers.clone(),
            definition,
        }
    }

    /// Whether the objects have to go.
    fn goes(&self) -> bool {
        self.being_deleted && self.finalizers.iter().any(|finalizer| finalizer == CLEANUP)
    }

    fn target(&self) -> Target {
        Target::new("apiextensions.k8s.io", "v1", "customresourcedefinitions", "", &self.name)
    }
}

fn group_of(name: &str) -> &str {
    name.split_once('.').map_or("", |(_, group)| group)
}

impl Controller for CustomResourceDefinitionController {
    const NAME: &'static str = "customresourcedefinition-controller";
    const QUEUE: &'static str = "crd_naming_condition_controller";
    const WORKERS: usize = 2;
    type Config = ();
    type Observed = Observed;

    fn sources(sources: &mut Sources<'_>, (): ()) -> Self {
        let definitions = sources.mapped(|delta: &Delta<CustomResourceDefinition>| {
            vec![Key::new("", group_of(delta.object().name()))]
        });
        let by_group = definitions.index("group", |definition, found| found(group_of(definition.name())));
        let (informers, queue) = (sources.informers().clone(), sources.queue());
        Self { by_group, informers, queue, followed: Mutex::default() }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Observed>, kube::Error> {
        let known: Vec<Known> = self.by_group.get(&round.key.name).iter().map(Known::of).collect();
        let mut left = BTreeMap::new();
        for going in known.iter().filter(|known| known.goes()) {
            let Some(target) = going.definition.collection() else {
                left.insert(going.name.clone(), Instances::default());
                continue;
            };
            // First: what changes from here on is told.
            self.follow(round.key, &target);
            left.insert(going.name.clone(), instances::read(round.client, target).await?);
        }
        self.unfollow(round.key, &known);
        Ok(Some(Observed { known, left }))
    }

    fn reconcile(observed: &Observed, now: jiff::Timestamp) -> Plan {
        let mut plan = Plan::nothing();
        for (known, status) in naming::settled(&observed.known, now) {
            let mut status = status;
            if let Some(left) = observed.left.get(&known.name) {
                finish(&mut plan, known, left, &mut status, now);
            }
            if status != known.definition.status {
                let patch = json!({
                    "metadata": {"resourceVersion": known.version.to_string()}, "status": status,
                });
                // Before what `finish` adds, which may remove the definition.
                plan.actions
                    .insert(0, Action::MergePatch { target: known.target().subresource("status"), patch });
                plan = plan.because("the definition's names or conditions differ");
            }
        }
        plan
    }
}

/// Goes on with the end of a definition.
fn finish(
    plan: &mut Plan,
    known: &Known,
    left: &Instances,
    status: &mut status::Status,
    now: jiff::Timestamp,
) {
    if left.is_empty() {
        status.set("Terminating", "False", "InstanceDeletionCompleted", "removed all instances", now);
        let Some(place) = known.finalizers.iter().position(|finalizer| finalizer == CLEANUP) else { return };
        let path = format!("/metadata/finalizers/{place}");
        let patch = json!([{"op": "test", "path": path, "value": CLEANUP}, {"op": "remove", "path": path}]);
        plan.then(Action::JsonPatch { target: known.target(), patch });
        plan.reasons.push("no object is left of the definition".to_owned());
        return;
    }
    let message = "CustomResource deletion is in progress";
    status.set("Terminating", "True", "InstanceDeletionInProgress", message, now);
    let deletions = left.deletions();
    if !deletions.is_empty() {
        plan.then(Action::Batch(deletions));
        plan.look_again(AGAIN);
    }
    plan.reasons.push("the definition has objects".to_owned());
}

impl CustomResourceDefinitionController {
    /// Has the changes of a collection wake the group.
    fn follow(&self, group: &Key, collection: &Target) {
        let path = collection.path();
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        if followed.insert(path.clone()) {
            let (queue, group) = (self.queue.clone(), group.clone());
            self.informers.objects(&path).subscribe(move |change| {
                if change.gone {
                    queue.add(group.clone());
                }
            });
        }
    }

    /// Forgets collections whose definitions are gone: what is defined by their name later is another one.
    fn unfollow(&self, group: &Key, known: &[Known]) {
        let going: BTreeSet<String> = known
            .iter()
            .filter(|k| k.goes())
            .filter_map(|k| Some(k.definition.collection()?.path()))
            .collect();
        let prefix = format!("/apis/{}/", group.name);
        let mut followed = self.followed.lock().unwrap_or_else(PoisonError::into_inner);
        followed.retain(|path| !path.starts_with(&prefix) || going.contains(path));
    }
}

#[cfg(test)]
mod tests;
