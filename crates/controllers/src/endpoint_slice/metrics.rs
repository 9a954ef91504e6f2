//! Figures of the controller, under upstream's names (`k8s.io/endpointslice/metrics`).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use informer::{Action, Key, Plan};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

use super::packing::LIMIT;
use super::plan::Observed;
use super::topology;
use crate::service_endpoints::slices::{PortSet, endpoints};

/// The kinds of distribution that upstream counts by name; others are what an implementation makes of them.
const DISTRIBUTIONS: [&str; 3] = ["PreferClose", "PreferSameZone", "PreferSameNode"];
const OTHER_DISTRIBUTION: &str = "ImplementationSpecific";
/// Prometheus' default buckets, which upstream takes for the numbers of slices.
const DEFAULT_BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Operation {
    operation: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Distribution {
    traffic_distribution: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    topology: &'static str,
    traffic_distribution: &'static str,
}

fn endpoint_counts() -> Histogram {
    Histogram::new(exponential_buckets(2.0, 2.0, 15))
}

fn slice_counts() -> Histogram {
    Histogram::new(DEFAULT_BUCKETS)
}

/// The families. Clones share them. Upstream's counters are called without `_total`, which only gauges can be here.
#[derive(Clone)]
pub struct Metrics {
    added: Histogram,
    removed: Histogram,
    desired: Gauge,
    slices: Gauge,
    desired_slices: Gauge,
    changes: Family<Operation, Gauge>,
    changed: Family<Kind, Histogram, fn() -> Histogram>,
    syncs: Family<Ended, Gauge>,
    distributions: Family<Distribution, Gauge>,
    services: Arc<Mutex<HashMap<Key, Share>>>,
}

/// What a Service adds to the gauges.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Share {
    endpoints: i64,
    slices: i64,
    desired_slices: i64,
    distribution: Option<&'static str>,
}

/// What a round has done, if its plan is carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Done {
    share: Share,
    added: usize,
    removed: usize,
    created: usize,
    updated: usize,
    deleted: usize,
    has_topology: bool,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            added: endpoint_counts(),
            removed: endpoint_counts(),
            desired: Gauge::default(),
            slices: Gauge::default(),
            desired_slices: Gauge::default(),
            changes: Family::default(),
            changed: Family::new_with_constructor(slice_counts),
            syncs: Family::default(),
            distributions: Family::default(),
            services: Arc::default(),
        }
    }
}

impl Metrics {
    /// Figures that are shown with the process's.
    pub fn registered(process: &base::Metrics) -> Self {
        let metrics = Self::default();
        let all = metrics.clone();
        process.register(|registry| {
            let registry = registry.sub_registry_with_prefix("endpoint_slice_controller");
            registry.register(
                "endpoints_added_per_sync",
                "Number of endpoints added on each Service sync",
                all.added,
            );
            registry.register(
                "endpoints_removed_per_sync",
                "Number of endpoints removed on each Service sync",
                all.removed,
            );
            registry.register("endpoints_desired", "Number of endpoints desired", all.desired);
            registry.register("num_endpoint_slices", "Number of EndpointSlices", all.slices);
            registry.register(
                "desired_endpoint_slices",
                "Number of EndpointSlices that would exist with perfect endpoint allocation",
                all.desired_slices,
            );
            registry.register("changes", "Number of EndpointSlice changes", all.changes);
            registry.register(
                "endpointslices_changed_per_sync",
                "Number of EndpointSlices changed on each Service sync",
                all.changed,
            );
            registry.register("syncs", "Number of EndpointSlice syncs", all.syncs);
            registry.register(
                "services_count_by_traffic_distribution",
                "Number of Services using some specific trafficDistribution",
                all.distributions,
            );
        });
        metrics
    }

    /// A round that has ended; without anything done where the Service is gone.
    pub(super) fn note(&self, service: &Key, done: Option<&Done>, is_success: bool) {
        let result = if is_success { "success" } else { "error" };
        self.syncs.get_or_create(&Ended { result }).inc();
        if !is_success {
            return;
        }
        self.replace(service, done.map(|done| done.share));
        let Some(done) = done else { return };
        self.added.observe(float(done.added));
        self.removed.observe(float(done.removed));
        let kind = Kind {
            topology: if done.has_topology { "Auto" } else { "Disabled" },
            traffic_distribution: done.share.distribution.unwrap_or(""),
        };
        self.changed.get_or_create(&kind).observe(float(done.created + done.updated + done.deleted));
        for (operation, count) in
            [("create", done.created), ("update", done.updated), ("delete", done.deleted)]
        {
            if count > 0 {
                self.changes.get_or_create(&Operation { operation }).inc_by(whole(count));
            }
        }
    }

    fn replace(&self, service: &Key, share: Option<Share>) {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match share {
            Some(share) => services.insert(service.clone(), share),
            None => services.remove(service),
        };
        let (before, after) = (before.unwrap_or_default(), share.unwrap_or_default());
        self.desired.inc_by(after.endpoints - before.endpoints);
        self.slices.inc_by(after.slices - before.slices);
        self.desired_slices.inc_by(after.desired_slices - before.desired_slices);
        let of = |distribution| {
            self.distributions.get_or_create(&Distribution { traffic_distribution: distribution })
        };
        if before.distribution != after.distribution {
            if let Some(gone) = before.distribution {
                of(gone).dec();
            }
            if let Some(come) = after.distribution {
                of(come).inc();
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "numbers of a Service's endpoints")]
fn float(count: usize) -> f64 {
    count as f64
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// What a plan does to a Service's slices.
pub(super) fn done(observed: &Observed, plan: &Plan) -> Done {
    let mut after: BTreeMap<String, EndpointSlice> = BTreeMap::new();
    let (mut untouched, mut made) = (BTreeSet::new(), Vec::new());
    for slice in &observed.slices {
        untouched.insert(name(slice));
    }
    let (mut created, mut updated, mut deleted) = (0, 0, 0);
    let actions = plan.actions.iter().flat_map(|action| match action {
        Action::Batch(actions) => actions.as_slice(),
        one => std::slice::from_ref(one),
    });
    for action in actions {
        match action {
            Action::Create { object, .. } => {
                created += 1;
                made.extend(object.typed::<EndpointSlice>());
            }
            Action::Update { object, target } => {
                updated += 1;
                untouched.remove(&*target.name);
                after.extend(object.typed().ok().map(|slice| (target.name.clone(), slice)));
            }
            Action::Delete { target, .. } => {
                deleted += 1;
                untouched.remove(&*target.name);
            }
            _ => {}
        }
    }
    let is_touched = |slice: &&Arc<EndpointSlice>| !untouched.contains(name(slice));
    let before: BTreeSet<&str> =
        observed.slices.iter().filter(is_touched).flat_map(|slice| addresses(slice)).collect();
    let written: BTreeSet<&str> = after.values().chain(&made).flat_map(addresses).collect();
    let kept = observed.slices.iter().filter(|slice| untouched.contains(name(slice))).map(|slice| &**slice);
    let mut groups: BTreeMap<(&str, PortSet), usize> = BTreeMap::new();
    let mut slices = 0;
    for slice in kept.chain(after.values()).chain(&made) {
        slices += 1;
        let ports = PortSet::of(slice.ports.as_deref().unwrap_or_default());
        *groups.entry((&slice.address_type, ports)).or_default() += endpoints(slice).len();
    }
    let distribution = observed.service.spec.as_ref().and_then(|spec| spec.traffic_distribution.as_deref());
    let known =
        |text: &str| DISTRIBUTIONS.into_iter().find(|known| *known == text).unwrap_or(OTHER_DISTRIBUTION);
    let share = Share {
        endpoints: whole(groups.values().sum()),
        slices,
        desired_slices: whole(groups.values().map(|count| count.div_ceil(LIMIT)).sum()),
        distribution: distribution.map(known),
    };
    Done {
        share,
        added: written.difference(&before).count(),
        removed: before.difference(&written).count(),
        created,
        updated,
        deleted,
        has_topology: topology::is_asked_for(&observed.service),
    }
}

fn name(slice: &EndpointSlice) -> &str {
    slice.metadata.name.as_deref().unwrap_or("")
}

/// One address of each endpoint.
fn addresses(slice: &EndpointSlice) -> impl Iterator<Item = &str> {
    endpoints(slice).iter().filter_map(|endpoint| endpoint.addresses.first().map(String::as_str))
}
