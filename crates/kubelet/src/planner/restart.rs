//! Starting containers: restart counts, crash back-off, images first.

use jiff::SignedDuration;

use super::action::{Action, Notice};
use super::action_key::ActionKey;
use super::context::{Context, Waiting};
use super::desired::Member;
use super::observed::CrashBackoff;
use super::reported::{self, BACK_OFF};
use crate::cri_view::{Record, Sandbox};

/// The first wait of a container that keeps ending.
pub const CRASH_INITIAL: SignedDuration = SignedDuration::from_secs(10);
/// The longest wait of a container that keeps ending.
pub const CRASH_MAX: SignedDuration = SignedDuration::from_secs(300);
/// A container that ran this long starts with a clean slate.
pub const CRASH_RESET: SignedDuration = SignedDuration::from_secs(600);

/// How long a failed pull or start shows as an error before it shows as a back-off.
const ERROR_SHOWN: SignedDuration = SignedDuration::from_secs(3);

/// How long a container's end shows as such before it shows as a back-off.
const EXIT_SHOWN: SignedDuration = SignedDuration::from_secs(1);

/// Plans the next start of a container: its image, then itself, unless a back-off holds it.
/// Without a sandbox only the image is looked after.
pub fn start(ctx: &mut Context<'_>, member: &Member, sandbox: Option<&Sandbox>) {
    let name = &member.spec.name;
    if ctx.is_starting(name) {
        return go_on_waiting(ctx, name);
    }
    let last = ctx.seen.runtime.latest(name);
    let backoff = match crash_gate(ctx, member, last) {
        Gate::Open(backoff) => backoff,
        Gate::Closed => return,
    };
    go_on_waiting(ctx, name);
    if wait_for_setback(ctx, ActionKey::Start(name.clone()), name) {
        return;
    }
    let attempt = next_attempt(ctx, name, last);
    let resolved = ctx.seen.images.get(name).is_some_and(|(known, _)| *known == attempt);
    if !resolved {
        if !wait_for_setback(ctx, ActionKey::Image(name.clone()), name) {
            ctx.act(Action::EnsureImage { container: name.clone(), attempt });
        }
        return;
    }
    if let Some(sandbox) = sandbox {
        let sandbox_id = sandbox.id.clone();
        ctx.act(Action::StartContainer { container: name.clone(), sandbox_id, attempt, backoff });
    }
}

/// A container that backed off shows so until it is made anew.
fn go_on_waiting(ctx: &mut Context<'_>, name: &str) {
    let latest = ctx.seen.runtime.latest(name);
    let ended = latest.is_some_and(|record| record.exit().is_some() && !ctx.is_spent(record));
    if ended && let Some(waiting) = reported::backs_off(ctx.want, name) {
        ctx.waiting.insert(name.to_owned(), waiting);
    }
}

/// The number of the next attempt: past the runtime's records, and past what the API already counts
/// where the runtime has lost its records.
fn next_attempt(ctx: &Context<'_>, name: &str, last: Option<&Record>) -> u32 {
    if let Some(record) = last {
        return record.attempt.saturating_add(1);
    }
    let known = reported::of_started(ctx.want, name);
    let known = known.map(|status| u32::try_from(status.restart_count).unwrap_or(0));
    let newest = known.max(ctx.seen.former.get(name).copied());
    newest.map_or(0, |attempt| attempt.saturating_add(1))
}

enum Gate {
    Open(Option<CrashBackoff>),
    Closed,
}

/// Whether a container that has ended may be started again now. The first restart is immediate; from
/// then on each waits twice as long, counted from the moment it ended (upstream `doBackOff`).
fn crash_gate(ctx: &mut Context<'_>, member: &Member, last: Option<&Record>) -> Gate {
    let Some((record, exit)) = last.and_then(|r| r.exit().map(|exit| (r, exit))) else {
        return Gate::Open(None);
    };
    if ctx.seen.to_restart.contains(&record.id) || ctx.is_spent(record) {
        return Gate::Open(None);
    }
    let name = &member.spec.name;
    let fresh = CrashBackoff { delay: CRASH_INITIAL, updated_at: ctx.now };
    let Some(known) = ctx.seen.crashes.get(name) else { return Gate::Open(Some(fresh)) };
    if exit.finished_at.duration_since(known.updated_at) > CRASH_RESET {
        return Gate::Open(Some(fresh));
    }
    let until = exit.finished_at.saturating_add(known.delay).unwrap_or(ctx.now);
    if ctx.now >= until {
        let delay = known.delay.saturating_mul(2).min(CRASH_MAX);
        return Gate::Open(Some(CrashBackoff { delay, updated_at: ctx.now }));
    }
    ctx.plan.wake_at(until);
    ctx.plan.because(format!("container {name} waits out its back-off"));
    if shows_failed_start(ctx, name) {
        return Gate::Closed;
    }
    let shown = exit.finished_at.saturating_add(EXIT_SHOWN).unwrap_or(ctx.now);
    if ctx.now < shown {
        ctx.plan.wake_at(shown);
        return Gate::Closed;
    }
    let pod = ctx.pod_title();
    let message =
        format!("back-off {} restarting failed container={name} pod={pod}", go_duration(known.delay));
    ctx.waiting.insert(name.clone(), Waiting { reason: BACK_OFF.to_owned(), message });
    ctx.notice(Notice {
        key: format!("crash/{name}/{}", record.attempt),
        container: Some(name.clone()),
        warning: true,
        reason: "BackOff",
        message: format!("Back-off restarting failed container {name} in pod {pod}"),
    });
    Gate::Closed
}

/// A start that has just failed shows as the error it is before it shows as a back-off.
fn shows_failed_start(ctx: &mut Context<'_>, name: &str) -> bool {
    let Some(setback) = ctx.seen.setbacks.get(&ActionKey::Start(name.to_owned())) else { return false };
    let turns_at = setback.at.saturating_add(ERROR_SHOWN).unwrap_or(setback.at);
    if ctx.now >= turns_at {
        return false;
    }
    ctx.plan.wake_at(turns_at);
    let waiting = Waiting { reason: setback.reason.clone(), message: setback.message.clone() };
    ctx.waiting.insert(name.to_owned(), waiting);
    true
}

/// Records why the container waits when its last start or pull failed; true while it must wait.
fn wait_for_setback(ctx: &mut Context<'_>, key: ActionKey, name: &str) -> bool {
    let Some(setback) = ctx.seen.setbacks.get(&key) else { return false };
    let held = ctx.held_back(&key);
    if setback.reason == "ErrImagePull" {
        wait_for_pull(ctx, setback, name);
    } else if !setback.reason.is_empty() && (held || !ctx.waiting.contains_key(name)) {
        let waiting = Waiting { reason: setback.reason.clone(), message: setback.message.clone() };
        ctx.waiting.insert(name.to_owned(), waiting);
    }
    held
}

/// A failed pull: first the error itself, then `ImagePullBackOff` until the next try.
fn wait_for_pull(ctx: &mut Context<'_>, setback: &super::observed::Setback, name: &str) {
    let image = ctx.want.member(name).and_then(|m| m.spec.image.clone()).unwrap_or_default();
    let turns_at = setback.at.saturating_add(ERROR_SHOWN).unwrap_or(setback.at);
    if ctx.now < turns_at {
        ctx.plan.wake_at(turns_at);
        let waiting = Waiting { reason: "ErrImagePull".to_owned(), message: setback.message.clone() };
        ctx.waiting.insert(name.to_owned(), waiting);
        return;
    }
    let backing_off = format!("Back-off pulling image {image:?}");
    let message = format!("{backing_off}: ErrImagePull: {}", setback.message);
    ctx.waiting.insert(name.to_owned(), Waiting { reason: "ImagePullBackOff".to_owned(), message });
    let notice = |key: &str, warning, reason, message| Notice {
        key: format!("pull-{key}/{name}/{}", setback.failures),
        container: Some(name.to_owned()),
        warning,
        reason,
        message,
    };
    ctx.notice(notice("back-off", false, "BackOff", backing_off));
    ctx.notice(notice("failed", true, "Failed", "Error: ImagePullBackOff".to_owned()));
}

/// Whole seconds the way Go prints a duration: `10s`, `1m20s`, `5m0s`.
pub fn go_duration(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    if seconds < 60 { format!("{seconds}s") } else { format!("{}m{}s", seconds / 60, seconds % 60) }
}
