//! [`Moves`]: which pods are to be made or deleted for the wanted number to be active (`manageJob` of
//! `pkg/controller/job/job_controller.go`).

use std::collections::HashSet;
use std::time::Duration;

use informer::Action;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;

use super::backoff::{self, Streak};
use super::counts::{Counts, IndexCounts};
use super::pod::{JobPod, sort_by_worth};
use super::settings::Settings;
use super::template;

/// Upstream's limit of creates or deletes in one round; the pods' own events bring the next one.
const BURST: usize = 500;

pub(super) enum Moves<'a> {
    Nothing,
    /// Pods are missing, but failed so lately that their replacements have to wait.
    Wait(Duration),
    Create(Vec<Action>),
    /// Pods too many: their ends are not counted.
    Delete(Vec<JobPod<'a>>),
    /// The pods that are left when the Job ends.
    End(Vec<JobPod<'a>>),
}

impl<'a> Moves<'a> {
    pub fn of(
        job: &Job,
        settings: &Settings<'_>,
        pods: &[JobPod<'a>],
        counts: &Counts<'a>,
        streak: &Streak,
        now: Timestamp,
    ) -> Self {
        let active = counts.active.len();
        if settings.suspended {
            return Self::delete(for_removal(settings, counts, active));
        }
        let wanted = wanted(settings, counts);
        let mut surplus = for_removal(settings, counts, active.saturating_sub(wanted));
        surplus.truncate(BURST);
        // Either pods are deleted in a round or pods are made; deleting goes first.
        if !surplus.is_empty() {
            return Self::Delete(surplus);
        }
        let going = if settings.replaces_only_failed { usize_of(counts.terminating) } else { 0 };
        let missing = wanted.saturating_sub(going + active);
        if missing == 0 {
            return Self::Nothing;
        }
        if settings.per_index.is_none()
            && let Some(left) = streak.remaining(settings.replaces_only_failed, now)
        {
            return Self::Wait(left);
        }
        let missing = missing.min(BURST);
        match &counts.indexes {
            None => Self::Create(vec![template::pod(job, settings, None, None); missing]),
            Some(indexes) => {
                let open = open_indexes(settings, pods, counts, indexes, missing);
                Self::create_indexes(job, settings, indexes, &open, now)
            }
        }
    }

    fn delete(pods: Vec<JobPod<'a>>) -> Self {
        if pods.is_empty() { Self::Nothing } else { Self::Delete(pods) }
    }

    /// Makes the pods of the indexes whose back-off is over; of none, says how long the shortest takes.
    fn create_indexes(
        job: &Job,
        settings: &Settings<'_>,
        indexes: &IndexCounts<'_>,
        open: &[u32],
        now: Timestamp,
    ) -> Self {
        let mut shortest: Option<Duration> = None;
        let mut creations = Vec::new();
        for index in open {
            let replaced = indexes.replaced.get(index);
            let left = replaced.and_then(|pod| {
                let failures = usize_of(pod.attempt().all_index_failures()).saturating_add(1);
                backoff::remaining(failures, pod.finished(), now)
            });
            match left {
                Some(left) => shortest = Some(shortest.map_or(left, |old| old.min(left))),
                None => creations.push(template::pod(job, settings, Some(*index), replaced)),
            }
        }
        match shortest {
            _ if !creations.is_empty() => Self::Create(creations),
            Some(left) => Self::Wait(left),
            None => Self::Nothing,
        }
    }
}

/// How many pods should be active.
fn wanted(settings: &Settings<'_>, counts: &Counts<'_>) -> usize {
    let parallelism = usize_of(settings.parallelism);
    match settings.completions {
        // Once one has succeeded the others may finish, and no more are made.
        None if counts.succeeded > 0 => counts.active.len(),
        None => parallelism,
        Some(completions) => usize_of(completions.saturating_sub(counts.succeeded)).min(parallelism),
    }
}

/// The first indexes without an end and without a pod.
fn open_indexes(
    settings: &Settings<'_>,
    pods: &[JobPod<'_>],
    counts: &Counts<'_>,
    indexes: &IndexCounts<'_>,
    most: usize,
) -> Vec<u32> {
    let active = counts.active.iter().filter_map(JobPod::any_index);
    let going = pods.iter().filter(|pod| settings.replaces_only_failed && pod.replica.is_terminating());
    let mut taken = indexes.succeeded.with(active.chain(going.filter_map(JobPod::any_index)));
    if let Some(failed) = &indexes.failed {
        taken = taken.union(failed);
    }
    taken.missing(indexes.limit).take(most).collect()
}

/// At least so many active pods to delete; of an Indexed Job first those whose index is not theirs.
fn for_removal<'a>(settings: &Settings<'_>, counts: &Counts<'a>, at_least: usize) -> Vec<JobPod<'a>> {
    let mut left = counts.active.clone();
    let mut doomed = Vec::new();
    if settings.indexes.is_some() {
        // Of several pods of one index the most valuable stays.
        sort_by_worth(&mut left);
        let mut kept = HashSet::new();
        let mut stay: Vec<JobPod<'a>> = Vec::with_capacity(left.len());
        for pod in left.into_iter().rev() {
            match pod.index(settings) {
                Some(index) if kept.insert(index) => stay.push(pod),
                _ => doomed.push(pod),
            }
        }
        left = stay;
    }
    let more = at_least.saturating_sub(doomed.len());
    if more > 0 {
        sort_by_worth(&mut left);
        doomed.extend(left.into_iter().take(more));
    }
    doomed
}

fn usize_of(n: i32) -> usize {
    usize::try_from(n).unwrap_or(0)
}
