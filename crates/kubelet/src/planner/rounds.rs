//! The rounds of a pod's containers, and when all of them are done.
//!
//! Where a container ends by a rule whose action is `RestartAllContainers` (KEP-5532), all of the pod's restart, init
//! containers first, in the same sandbox and with the same volumes. A container carries the number of the round that it
//! was made in. Such an end makes the round after it the pod's, and what is of an earlier one makes way. So also a
//! container counts whose start was under way, and an agent that was restarted finds all it needs. Ephemeral
//! containers are of no round.

use jiff::Timestamp;

use super::desired::{Desired, Member, Role};
use super::observed::Observed;

/// The round of the pod.
pub fn current(want: &Desired, seen: &Observed) -> u32 {
    if !want.may_restart_all() {
        return 0;
    }
    let made = seen.runtime.containers.iter().map(|record| record.round);
    let asked = ends(want, seen).map(|(round, _)| round.saturating_add(1));
    made.chain(asked).max().unwrap_or_default()
}

/// The rounds that the newest attempts of containers have ended, and when. A sidecar that ends with its pod has no such
/// effect.
pub fn ends<'a>(want: &'a Desired, seen: &'a Observed) -> impl Iterator<Item = (u32, Timestamp)> + 'a {
    want.members.iter().filter(|member| member.role != Role::Ephemeral).filter_map(|member| {
        let record = seen.runtime.latest(&member.spec.name)?;
        let exit = record.exit().filter(|exit| want.restarts_all(member, exit.code))?;
        let was_done = finished_in(want, seen, record.round).is_some_and(|at| at < exit.finished_at);
        (!was_done && !seen.to_restart.contains(&record.id)).then_some((record.round, exit.finished_at))
    })
}

/// When an init container failed for good, or the last app container ended, where none restarts.
pub fn finished(want: &Desired, seen: &Observed) -> Option<Timestamp> {
    finished_in(want, seen, current(want, seen))
}

fn finished_in(want: &Desired, seen: &Observed, round: u32) -> Option<Timestamp> {
    let exit = |member: &Member| {
        let record = seen.runtime.latest(&member.spec.name).filter(|record| record.round >= round)?;
        let exit = record.exit()?;
        (!want.restarts(member, exit.code) && !seen.to_restart.contains(&record.id)).then_some(exit)
    };
    let failed_init = want.with_role(Role::Init).filter_map(exit).find(|exit| exit.code != 0);
    if let Some(exit) = failed_init {
        return Some(exit.finished_at);
    }
    let mut last = None;
    for member in want.with_role(Role::App) {
        last = last.max(Some(exit(member)?.finished_at));
    }
    last
}
