//! Shows in the status of every ResourceQuota what is used of it. Admission, which refuses what would be too much,
//! counts for itself.
//!
//! Nothing is counted on a timer: [`tally`] takes in the objects that have changed. Only a pod that outstays its grace
//! period is waited for, because from then on it counts no more. Upstream: `pkg/controller/resourcequota`.

mod tally;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use api::{GroupResource, Object};
use informer::{Action, Cache, Controller, Plan, Round, Sources};
use k8s_openapi::api::core::v1::{ResourceQuota, ResourceQuotaStatus};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use resources::ResourceSource;
use resources::quota::{self, Amounts, Quota};

use crate::target::update_status;
use tally::Tallies;

/// See the module's documentation. Keys are quotas.
pub struct ResourceQuotaController {
    quotas: Cache<ResourceQuota>,
    tallies: Arc<Tallies>,
}

/// A quota, what is used of it, and when that changes by itself.
pub struct Observed {
    quota: Arc<ResourceQuota>,
    used: Amounts,
    next_expiry: Option<jiff::Timestamp>,
}

impl Controller for ResourceQuotaController {
    const NAME: &'static str = "resourcequota-controller";
    const QUEUE: &'static str = "resourcequota_primary";
    type Config = Arc<dyn ResourceSource>;
    type Observed = Observed;

    fn sources(sources: &mut Sources<'_>, kinds: Arc<dyn ResourceSource>) -> Self {
        let quotas: Cache<ResourceQuota> = sources.primary();
        let tallies = Tallies::new(sources.informers().clone(), kinds, sources.queue(), quotas.clone());
        Self { quotas, tallies: Arc::new(tallies) }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Observed>, kube::Error> {
        let namespace = &round.key.namespace;
        let Some(cached) = self.quotas.find(round.key) else {
            if !self.quotas.any_in(namespace) {
                self.tallies.forget(namespace);
            }
            return Ok(None);
        };
        let (Some(quota), Ok(object)) =
            (self.quotas.get_key(round.key), serde_json::from_slice::<Object>(cached.item().json()))
        else {
            return Ok(None);
        };
        let bounds = Quota::of(&object);
        let (mut used, mut next_expiry) = (Amounts::new(), None);
        for resource in counted(&bounds) {
            let Some(tally) = self.tallies.of(&resource).await else { continue };
            let (amounts, expiry) = tally.used(namespace, &bounds, round.now);
            quota::add(&mut used, &amounts);
            next_expiry = next_expiry.into_iter().chain(expiry).min();
        }
        Ok(Some(Observed { quota, used, next_expiry }))
    }

    fn reconcile(observed: &Observed, now: jiff::Timestamp) -> Plan {
        let mut plan = Plan::nothing();
        let hard = observed.quota.spec.as_ref().and_then(|spec| spec.hard.clone()).unwrap_or_default();
        let used = observed.used.iter().map(|(name, amount)| (name.clone(), Quantity(amount.to_string())));
        let status = ResourceQuotaStatus { hard: Some(hard), used: Some(used.collect()) };
        if let Some(expiry) = observed.next_expiry {
            let wait = expiry.duration_since(now).as_millis().clamp(0, i128::from(u32::MAX));
            plan.look_again(Duration::from_millis(u64::try_from(wait).unwrap_or_default() + 1));
        }
        let known = observed.quota.status.clone().unwrap_or_default();
        let known = ResourceQuotaStatus {
            hard: Some(known.hard.unwrap_or_default()),
            used: Some(known.used.unwrap_or_default()),
        };
        if known == status || observed.quota.metadata.deletion_timestamp.is_some() {
            return plan;
        }
        let mut next = ResourceQuota::clone(&observed.quota);
        next.status = Some(status);
        let update: Action = update_status(&next);
        plan.then(update);
        plan.because("what is used has changed")
    }
}

/// The resources whose objects are counted.
fn counted(quota: &Quota) -> BTreeSet<GroupResource> {
    quota.hard.keys().filter_map(|name| quota::resource_of(name)).collect()
}

#[cfg(test)]
mod tests;
