//! The rolling update: one step at a time, within the limits of surge and unavailability.

use super::limits;
use super::rollout::{Revision, Rollout};

/// How large the new set may be now.
pub(super) fn new_size(rollout: &Rollout<'_>) -> i32 {
    if !limits::is_rolling(rollout.spec) {
        return rollout.replicas;
    }
    let size = rollout.new.as_ref().map_or(0, |new| new.replicas);
    let room = rollout.ceiling() - rollout.total();
    if room <= 0 { size } else { size + room.min(rollout.replicas - size) }
}

/// Scales the new set up (or down to what is wanted) or else the old ones down.
pub(super) fn step(rollout: &mut Rollout<'_>) {
    let (replicas, ceiling) = (rollout.replicas, rollout.ceiling());
    let size = new_size(rollout);
    if let Some(new) = &mut rollout.new
        && new.replicas != replicas
    {
        let size = if new.replicas > replicas { replicas } else { size };
        if size != new.replicas {
            return Rollout::resize(new, size, replicas, ceiling);
        }
    }
    scale_down_old(rollout);
}

fn scale_down_old(rollout: &mut Rollout<'_>) {
    if rollout.old.iter().all(|r| r.replicas == 0) {
        return;
    }
    let (replicas, ceiling) = (rollout.replicas, rollout.ceiling());
    let least_available = replicas - rollout.limits.max_unavailable;
    // Pods of the new set that do not serve yet must not make the old ones go any faster.
    let coming = rollout.new.as_ref().map_or(0, |new| new.replicas - new.available_within_size());
    let most = rollout.total() - least_available - coming;
    if most <= 0 {
        return;
    }
    // Pods that do not serve go first: they would only hold the update up.
    let unhealthy = |r: &Revision| r.replicas - r.available_within_size();
    take(&mut rollout.old, most, unhealthy, replicas, ceiling);
    let serving: i32 = rollout.all().map(Revision::available_within_size).sum();
    let spare = serving - least_available;
    take(&mut rollout.old, spare, |r| r.replicas, replicas, ceiling);
}

/// Takes up to `budget` pods away, oldest set first, from each as many as `of` allows.
fn take(old: &mut [Revision], budget: i32, of: impl Fn(&Revision) -> i32, replicas: i32, ceiling: i32) {
    let mut left = budget;
    for revision in old {
        let fewer = of(revision).min(revision.replicas).min(left);
        if fewer > 0 {
            Rollout::resize(revision, revision.replicas - fewer, replicas, ceiling);
            left -= fewer;
        }
    }
}
