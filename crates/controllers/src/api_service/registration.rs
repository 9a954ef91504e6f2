//! Registers what this server serves itself: the built-in groups and versions once as the server starts, those of custom
//! kinds as they come and go. Upstream: `kube-aggregator/pkg/controllers/autoregister` and
//! `pkg/controlplane/controller/crdregistration`.
//!
//! A label says that a registration is kept here; one without it is its maker's, whoever serves the group and version
//! otherwise.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use api::GroupVersion;
use informer::{Action, Cache, Controller, DeletePolicy, Key, Plan, Round, Sources, Tally};
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::{APIService, APIServiceSpec};
use kube::core::ObjectMeta;
use resources::{KindTable, Priority, ResourceSource, is_registered};

use crate::target::{dynamic, target, target_of, update};

/// The label of registrations that are kept here, with how.
const MANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";

/// How a registration is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeping {
    /// Set right as the server starts, then left to its users.
    OnStart,
    /// Set right whenever it differs.
    Always,
}

impl Keeping {
    fn label(self) -> &'static str {
        match self {
            Self::OnStart => "onstart",
            Self::Always => "true",
        }
    }
}

/// See the module's documentation. Keys are registrations.
pub struct ApiServiceRegistrationController {
    kinds: Arc<dyn ResourceSource>,
    api_services: Cache<APIService>,
    /// Those that have been looked at since the server started.
    settled: Arc<Mutex<BTreeSet<Key>>>,
}

/// What there is and what there should be.
pub struct Observed {
    gv: GroupVersion,
    wanted: Option<Keeping>,
    found: Option<Arc<APIService>>,
    /// Whether this is the first look since the server started.
    is_first: bool,
}

impl Controller for ApiServiceRegistrationController {
    const NAME: &'static str = "apiservice-registration-controller";
    const QUEUE: &'static str = "autoregister";
    type Config = Arc<dyn ResourceSource>;
    type Observed = Observed;

    fn sources(sources: &mut Sources<'_>, kinds: Arc<dyn ResourceSource>) -> Self {
        let api_services: Cache<APIService> = sources.primary();
        let managed = api_services.index("managed", |api_service, found| {
            if let Some(how) = api_service.label(MANAGED) {
                found(how);
            }
        });
        let (queue, served) = (sources.queue(), Arc::downgrade(&kinds));
        let wake = move || {
            let Some(kinds) = served.upgrade() else { return };
            let names = kinds.table().group_versions().iter().map(key).collect::<Vec<_>>();
            for key in names.into_iter().chain(managed.keys(Keeping::Always.label())) {
                queue.add(key);
            }
        };
        wake();
        kinds.on_change(Box::new(wake));
        Self { kinds, api_services, settled: Arc::default() }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Observed>, kube::Error> {
        let Some((version, group)) = round.key.name.split_once('.') else { return Ok(None) };
        let gv = GroupVersion::new(group, version);
        let settled = self.settled.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Some(Observed {
            wanted: wanted(&self.kinds.table(), &gv),
            found: self.api_services.get_key(round.key),
            is_first: !settled.contains(round.key),
            gv,
        }))
    }

    fn reconcile(observed: &Observed, _: jiff::Timestamp) -> Plan {
        let mut plan = Plan::nothing();
        let Observed { gv, wanted, found, is_first } = observed;
        match (found, wanted) {
            (None, None) => {}
            (None, Some(Keeping::OnStart)) if !is_first => {}
            (None, Some(keeping)) => {
                let object = dynamic(&registration(gv, *keeping));
                plan.then(Action::Create { target: target::<APIService>("", ""), object });
                return plan.because("the group and version is served and not registered");
            }
            (Some(found), wanted) => {
                let is_kept = match found.metadata.labels.as_ref().and_then(|labels| labels.get(MANAGED)) {
                    Some(how) if how == Keeping::Always.label() => true,
                    Some(how) if how == Keeping::OnStart.label() => *is_first,
                    _ => false,
                };
                if is_kept {
                    return keep(plan, gv, found, *wanted);
                }
            }
        }
        plan
    }

    fn tally(&self, key: &Key, _: Option<(&Observed, &Plan)>) -> Option<Tally> {
        let (settled, key) = (Arc::clone(&self.settled), key.clone());
        Some(Box::new(move |is_done| {
            if is_done {
                settled.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
            }
        }))
    }
}

fn keep(mut plan: Plan, gv: &GroupVersion, found: &Arc<APIService>, wanted: Option<Keeping>) -> Plan {
    let Some(keeping) = wanted else {
        let policy = DeletePolicy { uid: found.metadata.uid.clone(), ..DeletePolicy::default() };
        plan.then(Action::Delete { target: target_of(&**found), policy });
        return plan.because("the group and version is served no more");
    };
    let mut mended = APIService::clone(found);
    let wanted = registration(gv, keeping);
    mended.spec = wanted.spec;
    let labels = mended.metadata.labels.get_or_insert_default();
    labels.extend(wanted.metadata.labels.unwrap_or_default());
    if mended == **found {
        return plan;
    }
    plan.then(update(&mended));
    plan.because("the registration is not as the server serves it")
}

fn key(gv: &GroupVersion) -> Key {
    Key::new("", &format!("{}.{}", gv.version, gv.group))
}

/// How the group and version is registered, if it is.
fn wanted(table: &KindTable, gv: &GroupVersion) -> Option<Keeping> {
    let rows = table.rows_of(gv);
    if rows.is_empty() {
        return None;
    }
    if rows.iter().all(|row| row.schema.custom().is_some()) {
        return Some(Keeping::Always);
    }
    is_registered(gv).then_some(Keeping::OnStart)
}

fn registration(gv: &GroupVersion, keeping: Keeping) -> APIService {
    let Priority { group, version } = Priority::served(gv);
    let narrow = |priority: i64| i32::try_from(priority).unwrap_or(i32::MAX);
    APIService {
        metadata: ObjectMeta {
            name: Some(format!("{}.{}", gv.version, gv.group)),
            labels: Some([(MANAGED.to_owned(), keeping.label().to_owned())].into()),
            ..ObjectMeta::default()
        },
        spec: Some(APIServiceSpec {
            group: Some(gv.group.clone()).filter(|group| !group.is_empty()),
            version: Some(gv.version.clone()),
            group_priority_minimum: narrow(group),
            version_priority: narrow(version),
            ..APIServiceSpec::default()
        }),
        status: None,
    }
}

#[cfg(test)]
mod tests;
