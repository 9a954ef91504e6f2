//! [`Counts`]: what a Job's pods and its status say together, without counting any pod twice.

use std::collections::{HashMap, HashSet};

use k8s_openapi::api::batch::v1::JobStatus;

use super::failure_policy::Verdict;
use super::indexes::Indexes;
use super::pod::JobPod;
use super::settings::{PerIndex, Settings};

pub(super) struct Counts<'a> {
    pub active: Vec<JobPod<'a>>,
    pub ready: i32,
    /// Pods that are being deleted and have not ended.
    pub terminating: i32,
    /// Pods, or indexes of an Indexed Job.
    pub succeeded: i32,
    /// Pods whose failure counts.
    pub failed: i32,
    pub indexes: Option<IndexCounts<'a>>,
}

/// What is known of an Indexed Job's indexes.
pub(super) struct IndexCounts<'a> {
    pub limit: u32,
    /// The indexes that the status has as succeeded.
    pub told: Indexes,
    pub succeeded: Indexes,
    /// Only where failures are counted index by index.
    pub failed: Option<Indexes>,
    /// The last failed pod of an index that has no other yet: the next one takes over its count of failures.
    pub replaced: HashMap<u32, JobPod<'a>>,
}

impl<'a> Counts<'a> {
    pub fn of(settings: &Settings<'_>, status: &JobStatus, pods: &[JobPod<'a>]) -> Self {
        let active: Vec<JobPod<'a>> = pods.iter().copied().filter(JobPod::is_active).collect();
        let uncounted = status.uncounted_terminated_pods.as_ref();
        let set = |uids: Option<&'_ Vec<String>>| -> HashSet<String> {
            uids.into_iter().flatten().cloned().collect()
        };
        let told_succeeded = set(uncounted.and_then(|pods| pods.succeeded.as_ref()));
        let told_failed = set(uncounted.and_then(|pods| pods.failed.as_ref()));
        let valid =
            |pod: &&JobPod<'_>| pod.tracked && (settings.indexes.is_none() || pod.index(settings).is_some());
        let succeeded = pods
            .iter()
            .filter(valid)
            .filter(|pod| pod.has_succeeded() && !told_succeeded.contains(pod.uid()));
        let failed = pods.iter().filter(valid).filter(|pod| {
            pod.has_failed(settings)
                && !told_failed.contains(pod.uid())
                && pod.verdict(settings) != Verdict::Ignore
        });
        let indexes = settings.indexes.map(|limit| IndexCounts::of(settings, limit, status, pods, &active));
        let succeeded = status.succeeded.unwrap_or(0) + to_i32(succeeded.count() + told_succeeded.len());
        Self {
            ready: to_i32(active.iter().filter(|pod| pod.replica.facts.ready).count()),
            terminating: to_i32(pods.iter().filter(|pod| pod.replica.is_terminating()).count()),
            succeeded: indexes.as_ref().map_or(succeeded, |indexes| indexes.succeeded.total()),
            failed: status.failed.unwrap_or(0) + to_i32(failed.count() + told_failed.len()),
            active,
            indexes,
        }
    }
}

impl<'a> IndexCounts<'a> {
    fn of(
        settings: &Settings<'_>,
        limit: u32,
        status: &JobStatus,
        pods: &[JobPod<'a>],
        active: &[JobPod<'a>],
    ) -> Self {
        let tracked = || {
            pods.iter()
                .filter(|pod| pod.tracked)
                .filter_map(|pod| pod.index(settings).map(|index| (index, pod)))
        };
        let told = Indexes::parse(status.completed_indexes.as_deref().unwrap_or(""), limit);
        let succeeded = told.with(tracked().filter(|(_, pod)| pod.has_succeeded()).map(|(index, _)| index));
        let failed = settings.per_index.map(|per_index| {
            let told = Indexes::parse(status.failed_indexes.as_deref().unwrap_or(""), limit);
            told.with(
                tracked().filter(|(_, pod)| fails_index(settings, per_index, pod)).map(|(index, _)| index),
            )
        });
        let mut replaced: HashMap<u32, JobPod<'a>> = HashMap::new();
        if let Some(failed) = &failed {
            let running: HashSet<u32> = active.iter().filter_map(JobPod::any_index).collect();
            let open = |index: u32| !succeeded.has(index) && !failed.has(index) && !running.contains(&index);
            for (index, pod) in tracked().filter(|(index, pod)| pod.has_failed(settings) && open(*index)) {
                let later = |last: &JobPod<'_>| {
                    last.attempt().all_index_failures() <= pod.attempt().all_index_failures()
                        && pod.finished() >= last.finished()
                };
                if replaced.get(&index).is_none_or(later) {
                    replaced.insert(index, *pod);
                }
            }
        }
        Self { limit, told, succeeded, failed, replaced }
    }
}

/// Whether the pod's failure is the last one its index may have.
fn fails_index(settings: &Settings<'_>, per_index: PerIndex, pod: &JobPod<'_>) -> bool {
    pod.has_failed(settings)
        && match pod.verdict(settings) {
            Verdict::FailIndex => true,
            Verdict::Ignore => false,
            Verdict::Count | Verdict::FailJob(_) => pod.attempt().index_failures >= per_index.backoff_limit,
        }
}

pub(super) fn to_i32(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}
