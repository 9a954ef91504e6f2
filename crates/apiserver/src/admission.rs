//! Admission: in-tree plugins that change or refuse the objects of requests.
//!
//! Start with [`plugins`]: the list, in upstream's order. One plugin a file. Only plugins know kinds by
//! name, no other step of the pipeline. `reservation` is the step around the commit.

mod asked;
mod authority;
mod certificate_rights;
mod certificate_subject;
mod claim_resize;
mod conditions;
mod default_class;
mod default_toleration_seconds;
mod derived;
mod escalation;
mod limit_ranger;
mod matching;
mod namespace_lifecycle;
mod node_restriction;
mod parameter_rights;
mod plugin;
mod pod_security;
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
mod unattended;
mod webhooks;

use std::sync::Arc;

use api::{Error, Object};
use base::{Clock, Supervisor};

pub use certificate_rights::CertificateRights;
pub use certificate_subject::CertificateSubjectRestriction;
pub use claim_resize::ClaimResize;
pub use default_class::{DefaultIngressClass, DefaultStorageClass};
pub use default_toleration_seconds::DefaultTolerationSeconds;
pub use escalation::Escalation;
pub use limit_ranger::LimitRanger;
pub use namespace_lifecycle::NamespaceLifecycle;
pub use node_restriction::NodeRestriction;
pub use parameter_rights::ParameterRights;
pub use plugin::{Admission, Immediate, Operation, RequestOptions, Review};
pub use pod_security::PodSecurity;
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
pub use unattended::Unattended;
pub use webhooks::{Asking, MutatingWebhooks, ValidatingWebhooks};

use crate::cache::Cache;
use crate::cache::lookup::Lookup;
use crate::identity::authz::Authorizer;
use crate::identity::authz::rbac::Rbac;

/// Has every plugin change the object, in order, and once more after a webhook or policy has. Where other servers write to the store too, a refusal of a new
/// object may come of a cache that lags: the plugin is asked again once the cache has caught up (upstream's plugins
/// read the API before they refuse).
///
/// # Errors
/// The first refusal.
pub(crate) async fn admit(
    plugins: &[Arc<dyn Admission>],
    cache: &Cache,
    review: &Review<'_>,
    mut object: Option<&mut Object>,
) -> Result<(), Error> {
    admit_once(plugins, cache, review, object.as_deref_mut()).await?;
    if review.rounds.begin_second() {
        admit_once(plugins, cache, review, object).await?;
    }
    Ok(())
}

async fn admit_once(
    plugins: &[Arc<dyn Admission>],
    cache: &Cache,
    review: &Review<'_>,
    mut object: Option<&mut Object>,
) -> Result<(), Error> {
    for plugin in plugins {
        let admitted = plugin.admit(review, object.as_deref_mut()).await;
        if admitted.is_err() && review.operation == Operation::Create && cache.is_shared() {
            if let Err(error) = cache.fresh().await {
                tracing::warn!(%error, "the watch cache lags behind what admission has to know");
            }
            plugin.admit(review, object.as_deref_mut()).await?;
            continue;
        }
        admitted?;
    }
    Ok(())
}

/// Has every plugin check the object, in order.
///
/// # Errors
/// The first refusal.
pub(crate) async fn validate(
    plugins: &[Arc<dyn Admission>],
    review: &Review<'_>,
    object: Option<&Object>,
) -> Result<(), Error> {
    for plugin in plugins {
        plugin.validate(review, object).await?;
    }
    Ok(())
}

/// What the plugins decide by.
pub struct Sources<'a> {
    pub lookup: &'a Lookup,
    pub rbac: &'a Rbac,
    pub authorizer: &'a Arc<dyn Authorizer>,
    pub clock: &'a Arc<dyn Clock>,
    pub asking: &'a Asking,
}

/// All plugins in upstream's order (`pkg/kubeapiserver/options/plugins.go`). Requester, Escalation
/// and ParameterRights are no plugins upstream but part of their kinds' storage; they stand last,
/// with what warns of what knarr does not do yet.
pub fn plugins(sources: &Sources<'_>) -> Vec<Arc<dyn Admission>> {
    let Sources { lookup, rbac, authorizer, clock, asking } = *sources;
    vec![
        Arc::new(NamespaceLifecycle::new(lookup.clone(), Arc::clone(clock))),
        Arc::new(LimitRanger::new(lookup.clone())),
        Arc::new(ServiceAccount::new(lookup.clone())),
        Arc::new(NodeRestriction::new(lookup.clone(), Arc::clone(authorizer))),
        Arc::new(TaintNewNodes),
        Arc::new(PodSecurity::new(lookup.clone())),
        Arc::new(Priority::new(lookup.clone())),
        Arc::new(DefaultTolerationSeconds),
        Arc::new(DefaultStorageClass::new(lookup.clone())),
        Arc::new(StorageProtection),
        Arc::new(ClaimResize::new(lookup.clone())),
        Arc::new(RuntimeClass::new(lookup.clone())),
        Arc::new(CertificateRights::approval(Arc::clone(authorizer))),
        Arc::new(CertificateRights::signing(Arc::clone(authorizer))),
        Arc::new(CertificateSubjectRestriction),
        Arc::new(DefaultIngressClass::new(lookup.clone())),
        Arc::new(PodTopologyLabels::new(lookup.clone())),
        Arc::new(MutatingPolicies::new(asking.clone())),
        Arc::new(MutatingWebhooks::new(asking.clone())),
        Arc::new(ValidatingPolicies::new(asking.clone())),
        Arc::new(ValidatingWebhooks::new(asking.clone())),
        Arc::new(Requester),
        Arc::new(Escalation::new(rbac.clone(), Arc::clone(authorizer))),
        Arc::new(ParameterRights::new(lookup.clone(), Arc::clone(&asking.kinds), Arc::clone(authorizer))),
        Arc::new(Unattended),
    ]
}

/// What is set aside for writes. What Services take is part of their storage upstream; the last of upstream's plugins
/// is one that charges.
pub fn reservers(cache: &Cache, clock: &Arc<dyn Clock>, supervisor: &Supervisor) -> Vec<Arc<dyn Reserver>> {
    vec![
        Arc::new(ServiceAllocation::new(cache, Arc::clone(clock), supervisor.clone())),
        Arc::new(ResourceQuota::new(Lookup::new(cache.clone()), Arc::clone(clock))),
    ]
}

#[cfg(test)]
mod tests;
