//! Scaling in the middle of a rollout, or while it is paused: every running set gets its share, so that the
//! risk of a bad revision stays as large as it was.

use super::limits;
use super::rollout::{MAX, Revision, Rollout};

/// Sizes all sets for the deployment's present number of replicas.
pub(super) fn scale(rollout: &mut Rollout<'_>) {
    let (replicas, ceiling) = (rollout.replicas, rollout.ceiling());
    let running = rollout.all().filter(|r| r.replicas > 0).count();
    if running <= 1 {
        let only = match running {
            1 => rollout.all_mut().find(|r| r.replicas > 0),
            // Nothing runs: the new set, or else the latest, takes it all.
            _ if rollout.new.is_some() => rollout.new.as_mut(),
            _ => rollout.old.last_mut(),
        };
        if let Some(only) = only {
            Rollout::resize(only, replicas, replicas, ceiling);
        }
        return;
    }
    if rollout.new.as_ref().is_some_and(|new| is_saturated(new, replicas)) {
        for old in rollout.old.iter_mut().filter(|r| r.replicas > 0) {
            Rollout::resize(old, 0, replicas, ceiling);
        }
        return;
    }
    if limits::is_rolling(rollout.spec) {
        share(rollout);
    }
}

fn is_saturated(new: &Revision, replicas: i32) -> bool {
    new.replicas == replicas
        && new.number(super::rollout::DESIRED) == Some(replicas)
        && new.available() == replicas
}

fn share(rollout: &mut Rollout<'_>) {
    let (replicas, ceiling) = (rollout.replicas, rollout.ceiling());
    let allowed = if replicas > 0 { ceiling } else { 0 };
    let before = rollout.deployment.status.as_ref().and_then(|s| s.replicas).unwrap_or(0);
    let change = allowed - rollout.total();
    let mut running: Vec<&mut Revision> = rollout.all_mut().filter(|r| r.replicas > 0).collect();
    // What comes goes to the largest and newest first, what goes is taken from the largest and oldest.
    running.sort_by(|a, b| {
        let by_age = a.created().cmp(&b.created());
        b.replicas.cmp(&a.replicas).then(if change > 0 { by_age.reverse() } else { by_age })
    });
    let mut given = 0;
    let mut sizes = Vec::with_capacity(running.len());
    for revision in &running {
        let left = change - given;
        let share = share_of(revision, replicas, ceiling, before);
        let share = match change.signum() {
            1 => share.min(left),
            -1 => share.max(left),
            _ => 0,
        };
        given += share;
        sizes.push(revision.replicas + share);
    }
    // What rounding left over goes to the first.
    if let Some(first) = sizes.first_mut() {
        *first += change - given;
    }
    for (revision, size) in running.into_iter().zip(sizes) {
        Rollout::resize(revision, size, replicas, ceiling);
    }
}

/// How much a set grows (or, if negative, shrinks) when every set keeps its share of the total.
fn share_of(revision: &Revision, replicas: i32, ceiling: i32, before: i32) -> i32 {
    if replicas == 0 {
        return -revision.replicas;
    }
    let whole = revision.number(MAX).filter(|max| *max > 0).unwrap_or(before);
    if whole <= 0 {
        return 0;
    }
    let size = f64::from(revision.replicas) * f64::from(ceiling) / f64::from(whole);
    // Rounded figures of 32 bits fit: both factors are counts of pods.
    size.round() as i32 - revision.replicas
}
