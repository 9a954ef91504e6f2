//! Admission: in-tree plugins that change or refuse the objects of requests.
//!
//! Start with [`plugins`]: the list, in upstream's order. One plugin a file. Only plugins know kinds by
//! name, no other step of the pipeline. `reservation` is the step around the commit.

mod always_pull_images;
mod anti_affinity_topology;
mod asked;
mod authority;
mod certificate_rights;
mod certificate_subject;
mod choice;
mod claim_resize;
mod conditions;
mod configuration;
mod default_class;
mod default_toleration_seconds;
mod deny_external_ips;
mod derived;
mod device_admin;
mod escalation;
mod extended_resource_toleration;
mod limit_ranger;
mod matching;
mod namespace_exists;
mod namespace_lifecycle;
mod node_restriction;
mod owner_permissions;
mod parameter_rights;
mod plugin;
mod pod_node_selector;
mod pod_security;
mod pod_toleration_restriction;
mod pod_topology_labels;
mod policies;
mod priority;
mod requester;
mod reservation;
mod resource_quota;
mod rounds;
mod rule;
mod runtime_class;
mod service_account;
mod service_allocation;
mod signing_request;
mod storage_protection;
mod taint_new_nodes;
mod tolerations;
mod webhooks;

use std::sync::Arc;
use std::time::Instant;

use api::{Error, Object};
use base::{Clock, Supervisor};

pub use always_pull_images::AlwaysPullImages;
pub use anti_affinity_topology::AntiAffinityTopology;
pub use certificate_rights::CertificateRights;
pub use certificate_subject::CertificateSubjectRestriction;
pub use choice::Choice;
pub use claim_resize::ClaimResize;
pub use configuration::Configuration;
pub use default_class::{DefaultIngressClass, DefaultStorageClass};
pub use default_toleration_seconds::DefaultTolerationSeconds;
pub use deny_external_ips::DenyServiceExternalIps;
pub use device_admin::DeviceAdmin;
pub use escalation::Escalation;
pub use extended_resource_toleration::ExtendedResourceToleration;
pub use limit_ranger::LimitRanger;
pub use namespace_exists::NamespaceExists;
pub use namespace_lifecycle::NamespaceLifecycle;
pub use node_restriction::NodeRestriction;
pub use owner_permissions::OwnerPermissions;
pub use parameter_rights::ParameterRights;
pub use plugin::{Admission, Immediate, Operation, RequestOptions, Review};
pub use pod_node_selector::PodNodeSelector;
pub use pod_security::PodSecurity;
pub use pod_toleration_restriction::PodTolerationRestriction;
pub use pod_topology_labels::PodTopologyLabels;
pub use policies::{MutatingPolicies, ValidatingPolicies};
pub use priority::Priority;
pub use requester::Requester;
pub(crate) use reservation::Reservations;
pub use reservation::{Attempt, Committed, Hold, Reservation, Reserver, Stage};
pub use resource_quota::ResourceQuota;
pub use rounds::Rounds;
pub use runtime_class::RuntimeClass;
pub use service_account::ServiceAccount;
pub use service_allocation::ServiceAllocation;
pub use storage_protection::StorageProtection;
pub use taint_new_nodes::TaintNewNodes;
pub use webhooks::{Asking, MutatingWebhooks, ValidatingWebhooks};

use crate::cache::Cache;
use crate::cache::lookup::Lookup;
use crate::identity::authz::Authorizer;
use crate::identity::authz::rbac::Rbac;
use crate::metrics::{AdmissionMetrics, Admitted, Step};

/// Has every plugin change the object, in order, and once more after a webhook or policy has. Where other servers write to the store too, a refusal of a new
/// object may come of a cache that lags: the plugin is asked again once the cache has caught up (upstream's plugins
/// read the API before they refuse).
///
/// # Errors
/// The first refusal.
pub(crate) async fn admit(
    panel: &Panel<'_>,
    review: &Review<'_>,
    mut object: Option<&mut Object>,
) -> Result<(), Error> {
    let mut watch = Watch::start(panel, review.operation, Step::Admit);
    let mut admitted = admit_once(panel, review, object.as_deref_mut(), &mut watch).await;
    if admitted.is_ok() && review.rounds.begin_second() {
        admitted = admit_once(panel, review, object, &mut watch).await;
    }
    watch.end(admitted.is_err());
    admitted
}

async fn admit_once(
    panel: &Panel<'_>,
    review: &Review<'_>,
    mut object: Option<&mut Object>,
    watch: &mut Watch<'_>,
) -> Result<(), Error> {
    let cache = panel.cache;
    for (place, plugin) in panel.plugins.iter().enumerate() {
        let mut admitted = plugin.admit(review, object.as_deref_mut()).await;
        if admitted.is_err() && review.operation == Operation::Create && cache.is_shared() {
            if let Err(error) = cache.fresh().await {
                tracing::warn!(%error, "the watch cache lags behind what admission has to know");
            }
            admitted = plugin.admit(review, object.as_deref_mut()).await;
        }
        watch.lap(place, admitted.is_err());
        admitted?;
    }
    Ok(())
}

/// Who is asked, and where that is counted.
pub(crate) struct Panel<'a> {
    pub plugins: &'a [Arc<dyn Admission>],
    pub cache: &'a Cache,
    pub metrics: &'a AdmissionMetrics,
}

/// Takes the time of plugins that are asked one behind the other.
struct Watch<'a> {
    panel: &'a Panel<'a>,
    operation: Operation,
    step: Step,
    started: Instant,
    lap: Instant,
}

impl<'a> Watch<'a> {
    fn start(panel: &'a Panel<'a>, operation: Operation, step: Step) -> Self {
        let now = Instant::now();
        Self { panel, operation, step, started: now, lap: now }
    }

    fn kind(&self, rejected: bool) -> Admitted {
        Admitted { operation: self.operation as usize, step: self.step, rejected }
    }

    /// Counts the answer of the plugin at a place.
    fn lap(&mut self, place: usize, rejected: bool) {
        let (plugins, now) = (self.panel.plugins, Instant::now());
        let took = now.duration_since(self.lap);
        self.lap = now;
        self.panel.metrics.asked((place, plugins.len()), plugins[place].name(), self.kind(rejected), took);
    }

    fn end(self, rejected: bool) {
        let took = self.lap.duration_since(self.started);
        self.panel.metrics.stepped(self.kind(rejected), took);
    }
}

/// Has every plugin check the object, in order.
///
/// # Errors
/// The first refusal.
pub(crate) async fn validate(
    panel: &Panel<'_>,
    review: &Review<'_>,
    object: Option<&Object>,
) -> Result<(), Error> {
    let mut watch = Watch::start(panel, review.operation, Step::Validate);
    let mut answer = Ok(());
    for (place, plugin) in panel.plugins.iter().enumerate() {
        answer = plugin.validate(review, object).await;
        watch.lap(place, answer.is_err());
        if answer.is_err() {
            break;
        }
    }
    watch.end(answer.is_err());
    answer
}

/// What the plugins decide by.
pub struct Sources<'a> {
    pub lookup: &'a Lookup,
    pub rbac: &'a Rbac,
    pub authorizer: &'a Arc<dyn Authorizer>,
    pub clock: &'a Arc<dyn Clock>,
    pub asking: &'a Asking,
    pub configuration: &'a Configuration,
}

/// The plugins that were chosen, in upstream's order (`pkg/kubeapiserver/options/plugins.go`). Requester, Escalation,
/// ParameterRights and DeviceAdmin are no plugins upstream but part of their kinds' storage; they stand last,
/// with what warns of what knarr does not do yet.
pub fn plugins(sources: &Sources<'_>, choice: &Choice) -> Vec<Arc<dyn Admission>> {
    let mut plugins = all(sources);
    plugins.retain(|plugin| choice.wants(plugin.name()));
    plugins
}

fn all(sources: &Sources<'_>) -> Vec<Arc<dyn Admission>> {
    let Sources { lookup, rbac, authorizer, clock, asking, configuration } = *sources;
    vec![
        Arc::new(NamespaceLifecycle::new(lookup.clone(), Arc::clone(clock))),
        Arc::new(NamespaceExists::new(lookup.clone())),
        Arc::new(AntiAffinityTopology),
        Arc::new(LimitRanger::new(lookup.clone())),
        Arc::new(ServiceAccount::new(lookup.clone())),
        Arc::new(NodeRestriction::new(lookup.clone(), Arc::clone(authorizer))),
        Arc::new(TaintNewNodes),
        Arc::new(AlwaysPullImages),
        Arc::new(PodSecurity::new(lookup.clone(), Arc::clone(&configuration.pod_security))),
        Arc::new(PodNodeSelector::new(lookup.clone())),
        Arc::new(Priority::new(lookup.clone())),
        Arc::new(DefaultTolerationSeconds),
        Arc::new(PodTolerationRestriction::new(lookup.clone())),
        Arc::new(ExtendedResourceToleration),
        Arc::new(DefaultStorageClass::new(lookup.clone())),
        Arc::new(StorageProtection),
        Arc::new(OwnerPermissions::new(Arc::clone(&asking.kinds), Arc::clone(authorizer))),
        Arc::new(ClaimResize::new(lookup.clone())),
        Arc::new(RuntimeClass::new(lookup.clone())),
        Arc::new(CertificateRights::approval(Arc::clone(authorizer))),
        Arc::new(CertificateRights::signing(Arc::clone(authorizer))),
        Arc::new(CertificateSubjectRestriction),
        Arc::new(DefaultIngressClass::new(lookup.clone())),
        Arc::new(DenyServiceExternalIps),
        Arc::new(PodTopologyLabels::new(lookup.clone())),
        Arc::new(MutatingPolicies::new(asking.clone())),
        Arc::new(MutatingWebhooks::new(asking.with(configuration.mutating.clone()))),
        Arc::new(ValidatingPolicies::new(asking.clone())),
        Arc::new(ValidatingWebhooks::new(asking.with(configuration.validating.clone()))),
        Arc::new(Requester),
        Arc::new(Escalation::new(rbac.clone(), Arc::clone(authorizer))),
        Arc::new(ParameterRights::new(lookup.clone(), Arc::clone(&asking.kinds), Arc::clone(authorizer))),
        Arc::new(DeviceAdmin::new(lookup.clone())),
    ]
}

/// What is set aside for writes. What Services take is part of their storage upstream; the last of upstream's plugins
/// is one that charges.
pub fn reservers(
    cache: &Cache,
    clock: &Arc<dyn Clock>,
    supervisor: &Supervisor,
    choice: &Choice,
) -> Vec<Arc<dyn Reserver>> {
    let mut all: Vec<Arc<dyn Reserver>> =
        vec![Arc::new(ServiceAllocation::new(cache, Arc::clone(clock), supervisor.clone()))];
    if choice.wants("ResourceQuota") {
        all.push(Arc::new(ResourceQuota::new(Lookup::new(cache.clone()), Arc::clone(clock))));
    }
    all
}

#[cfg(test)]
mod tests;
