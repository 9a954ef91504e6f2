//! Stopping a container: the event, the preStop hook, then the signal.

use std::time::Duration;

use jiff::SignedDuration;

use super::{Executor, Input, Outcome, failed, regarding};
use crate::events::{self, Part, Severity};

/// However long the hook took, the process gets this long (upstream `minimumGracePeriodInSeconds`).
const LEAST_GRACE_S: i64 = 2;

impl Executor {
    /// Stops a container within `grace_s` seconds, of which the preStop hook may use up most; one that gets no time is
    /// killed without its hook.
    pub(super) async fn stop(
        &self,
        input: &Input,
        name: &str,
        id: &str,
        grace_s: i64,
        message: String,
    ) -> Outcome {
        let member = input.want.member(name);
        let about = match member {
            Some(member) => regarding(&input.want, member),
            None => events::reference(&input.want.pod, Part::Container(name)),
        };
        self.events.record(about.clone(), Severity::Normal, "Killing", message);
        let began = self.clock.now();
        let hook = member
            .filter(|_| grace_s > 0)
            .and_then(|m| m.spec.lifecycle.as_ref()?.pre_stop.as_ref().map(|hook| (m, hook)));
        if let Some((member, hook)) = hook {
            let patience = Duration::from_secs(u64::try_from(grace_s).unwrap_or(0));
            let run = self.run_hook(input, member, id, hook);
            match tokio::time::timeout(patience, run).await {
                Ok(Ok(())) => {}
                Ok(Err(why)) => {
                    tracing::info!(pod = input.want.name(), container = name, why, "preStop hook failed");
                    let text = "PreStopHook failed".to_owned();
                    self.events.record(about, Severity::Warning, "FailedPreStopHook", text);
                }
                Err(_) => {
                    tracing::info!(pod = input.want.name(), container = name, "preStop hook took too long");
                }
            }
        }
        let used: SignedDuration = self.clock.now().duration_since(began);
        let left_s = grace_s.saturating_sub(used.as_secs()).max(LEAST_GRACE_S.min(grace_s));
        match self.cri.stop_container(id, left_s).await {
            Ok(()) => Outcome::Done,
            Err(error) => failed(error),
        }
    }
}
