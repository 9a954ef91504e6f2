//! Giving running containers, and the pod around them, other resources.

use super::{Executor, Input, Outcome, failed, not_in_pod};
use crate::planner::{Failure, ResizedContainer};
use crate::resources::{PodLimits, parse_effective};

impl Executor {
    /// The pod's room grows first and shrinks last: what is inside never has more than the whole.
    pub(super) async fn resize(
        &self,
        input: &Input,
        from: PodLimits,
        to: PodLimits,
        containers: &[ResizedContainer],
    ) -> Outcome {
        let pod = &input.want.pod;
        for resized in containers {
            if let Err(why) = self.can_shrink(resized).await {
                return Outcome::Failed(why);
            }
        }
        if let Err(why) = self.pod_can_shrink(input, from, to).await {
            return Outcome::Failed(why);
        }
        if from != to
            && let Err(error) = self.sandboxes.limit(pod, from.grown_to(&to)).await
        {
            return failed(error);
        }
        for resized in containers {
            let Some(member) = input.want.member(&resized.container) else {
                return not_in_pod(&resized.container);
            };
            let resources = self.containers.resources(pod, &member.spec);
            if let Err(error) = self.cri.update_resources(&resized.id, resources).await {
                return failed(error);
            }
        }
        if from != to
            && let Err(error) = self.sandboxes.limit(pod, to).await
        {
            return failed(error);
        }
        Outcome::Done
    }

    /// Memory that is in use cannot be taken away: the kernel would end the container.
    async fn can_shrink(&self, resized: &ResizedContainer) -> Result<(), Failure> {
        let limit = |text: &str| {
            let limits = parse_effective(text)?.limits?;
            Some(limits.get("memory")?.0.parse::<api::quantity::Quantity>().ok()?.value())
        };
        let Some(limit) = limit(&resized.to).filter(|new| limit(&resized.from).is_none_or(|old| *new < old))
        else {
            return Ok(());
        };
        let used = self.cri.memory_usage(&resized.id).await.map_err(|error| refuse(error.to_string()))?;
        let what = format!("container {:?}", resized.container);
        is_below(used, limit).map_or(Ok(()), |used| Err(too_low(&what, limit, used)))
    }

    /// As [`Self::can_shrink`], of the whole.
    async fn pod_can_shrink(&self, input: &Input, from: PodLimits, to: PodLimits) -> Result<(), Failure> {
        let limit = to.memory_bytes;
        if limit == 0 || (from.memory_bytes != 0 && from.memory_bytes <= limit) {
            return Ok(());
        }
        let used = self.sandboxes.memory_usage(&input.want.pod).await;
        is_below(used, limit).map_or(Ok(()), |used| Err(too_low("pod", limit, used)))
    }
}

fn refuse(message: String) -> Failure {
    Failure { reason: String::new(), message }
}

/// What is used, where the limit is below.
fn is_below(used: Option<u64>, limit: i64) -> Option<i64> {
    used.and_then(|used| i64::try_from(used).ok()).filter(|used| *used > limit)
}

fn too_low(what: &str, limit: i64, used: i64) -> Failure {
    refuse(format!("attempting to set {what} memory limit ({limit}) below current usage ({used})"))
}
