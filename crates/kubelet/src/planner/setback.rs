//! How long to wait after an action failed.

use std::time::Duration;

use base::backoff::Policy;
use jiff::{SignedDuration, Timestamp};

use super::action_key::ActionKey;
use super::observed::Setback;

/// How an action failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// A container's waiting reason, empty where no container waits for the action.
    pub reason: String,
    pub message: String,
}

/// Volumes are tried again soon: what they lack often comes a moment later.
const VOLUMES: Policy = Policy::new(Duration::from_millis(500), Duration::from_secs(122));
const SANDBOX: Policy = Policy::new(Duration::from_secs(1), Duration::from_secs(30));
const IMAGE: Policy = Policy::new(Duration::from_secs(10), Duration::from_secs(300));
/// Missing ConfigMaps and Secrets: nothing ran, so trying again is cheap.
const CONFIG: Policy = Policy::new(Duration::from_secs(2), Duration::from_secs(15));
/// A container that was made and could not run has ended: the crash back-off holds it. This is for one whose
/// record is lost, and always the shorter of the two.
const RUN: Policy = Policy::new(Duration::from_secs(1), Duration::from_secs(300));
const CLEANUP: Policy = Policy::new(Duration::from_millis(500), Duration::from_secs(30));

/// The setback after one more failure.
pub fn after_failure(
    key: &ActionKey,
    previous: Option<&Setback>,
    failure: Failure,
    now: Timestamp,
) -> Setback {
    let failures = previous.map_or(0, |p| p.failures).saturating_add(1);
    let policy = match key {
        ActionKey::Volumes => VOLUMES,
        ActionKey::NewSandbox => SANDBOX,
        ActionKey::Image(_) => IMAGE,
        ActionKey::Start(_) if failure.reason.starts_with("CreateContainer") => CONFIG,
        ActionKey::Start(_) => RUN,
        _ => CLEANUP,
    };
    let delay = SignedDuration::try_from(policy.delay(failures)).unwrap_or(SignedDuration::MAX);
    let retry_at = now.saturating_add(delay).unwrap_or(Timestamp::MAX);
    Setback { reason: failure.reason, message: failure.message, failures, at: now, retry_at }
}
