//! Replaces the pods of old templates, as many at a time as the strategy allows (`update.go`).

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::daemons::is_available;
use super::manage::{Changes, View};
use super::placement::Fit;
use crate::replicas::pod::Replica;
use crate::scaled::scaled;

/// How many nodes may be without an available pod, and how many may have two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    pub unavailable: usize,
    pub surge: usize,
}

pub(super) fn is_rolling(set: &DaemonSet) -> bool {
    let strategy = set.spec.as_ref().and_then(|spec| spec.update_strategy.as_ref());
    strategy.and_then(|strategy| strategy.type_.as_deref()).unwrap_or("RollingUpdate") == "RollingUpdate"
}

impl Limits {
    /// The limits of a set that `desired` nodes are to run.
    pub fn of(set: &DaemonSet, desired: usize) -> Self {
        let none = Self { unavailable: 0, surge: 0 };
        let strategy = set.spec.as_ref().and_then(|spec| spec.update_strategy.as_ref());
        let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
        let Some(rolling) = rolling.filter(|_| is_rolling(set)) else { return none };
        let total = i32::try_from(desired).unwrap_or(i32::MAX);
        let count = |value: Option<&IntOrString>| {
            usize::try_from(value.map_or(0, |value| scaled(value, total, true))).unwrap_or(0)
        };
        let limits = Self {
            unavailable: count(rolling.max_unavailable.as_ref()),
            surge: count(rolling.max_surge.as_ref()),
        };
        // An update that may do nothing would never end.
        if desired > 0 && limits == none { Self { unavailable: 1, surge: 0 } } else { limits }
    }
}

/// The one pod of the present template and the one of old on a node; `None` if there are more of either.
fn pair<'a>(view: &View<'a>, pods: &[&'a Replica]) -> Option<(Option<&'a Replica>, Option<&'a Replica>)> {
    let staying = pods.iter().copied().filter(|pod| !pod.is_being_deleted());
    let (new, old): (Vec<&Replica>, Vec<&Replica>) = staying.partition(|pod| view.current.is_of(pod));
    (new.len() <= 1 && old.len() <= 1).then(|| (new.first().copied(), old.first().copied()))
}

/// All nodes that have pods or should have one, each with its pods.
fn nodes<'v, 'a>(view: &'v View<'a>) -> impl Iterator<Item = (&'v str, &'v [&'a Replica])> {
    let with_pods = view.pods.iter().map(|(node, pods)| (node.as_str(), pods.as_slice()));
    let without = view.fits.iter().filter(|(node, fit)| **fit == Fit::Run && !view.pods.contains_key(*node));
    with_pods.chain(without.map(|(node, _)| (node.as_str(), &[][..])))
}

/// Deletes pods of old; what comes in their place is the next round's to make.
pub(super) fn replace<'a>(view: &View<'a>, limits: Limits) -> Changes<'a> {
    let available = |pod: &Replica| is_available(pod, view.min_ready_s, view.now);
    let mut unavailable = 0;
    let (mut replaced, mut candidates) = (Vec::new(), Vec::new());
    for (_, pods) in nodes(view) {
        match pair(view, pods) {
            Some((Some(new), None)) => unavailable += usize::from(!available(new)),
            Some((None, Some(old))) if available(old) => candidates.push(old),
            Some((None, Some(old))) => {
                replaced.push(old);
                unavailable += 1;
            }
            None | Some((None, None) | (Some(_), Some(_))) => unavailable += 1,
        }
    }
    candidates.truncate(limits.unavailable.saturating_sub(unavailable));
    Changes { delete: replaced.into_iter().chain(candidates).collect(), ..Changes::default() }
}

/// Makes new pods beside those of old, and deletes each of old once its successor is available.
pub(super) fn surge<'a>(view: &View<'a>, limits: Limits, desired: usize) -> Changes<'a> {
    let available = |pod: &Replica| is_available(pod, view.min_ready_s, view.now);
    let (mut surging, mut available_nodes) = (0, 0);
    let (mut delete, mut misplaced) = (Vec::new(), Vec::new());
    let (mut create, mut candidates) = (Vec::new(), Vec::new());
    for (node, pods) in nodes(view) {
        let Some((new, old)) = pair(view, pods) else {
            surging += 1;
            continue;
        };
        available_nodes += usize::from(old.or(new).is_some_and(available));
        let Some(old) = old else { continue };
        let belongs = view.fits.get(node) == Some(&Fit::Run);
        match new {
            Some(new) if available(new) => delete.push(old),
            Some(_) => surging += 1,
            None if available(old) && belongs => candidates.push(node.to_owned()),
            None if available(old) => misplaced.push(old),
            None if belongs => create.push(node.to_owned()),
            None => delete.push(old),
        }
    }
    // Where the nodes of a set change, a pod in the wrong place goes once another is available in the right one.
    misplaced.truncate(available_nodes.saturating_sub(desired));
    delete.extend(misplaced);
    candidates.truncate(limits.surge.saturating_sub(surging));
    create.extend(candidates);
    Changes { create, delete, ..Changes::default() }
}
