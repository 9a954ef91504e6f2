//! Takes the condition `DisruptionTarget` back from pods that nobody has deleted within two minutes.

use std::sync::Arc;
use std::time::Duration;

use informer::{Action, Cache, Controller, Delta, Plan, Round, Sources};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use super::plan::DELETION_TIMEOUT;
use crate::replicas::pod::{self, is_terminal};
use crate::target::target_of;

const CONDITION: &str = "DisruptionTarget";
/// The node agent says so before it ends a pod, which may take any time.
const BY_KUBELET: &str = "TerminationByKubelet";

/// See the module's documentation. Keys are pods.
pub struct StaleDisruptionController(Cache<Pod>);

impl Controller for StaleDisruptionController {
    const NAME: &'static str = "disruption-controller";
    const QUEUE: &'static str = "stale_pod_disruption";
    const WORKERS: usize = 1;
    type Config = ();
    type Observed = Arc<Pod>;

    fn sources(sources: &mut Sources<'_>, (): ()) -> Self {
        Self(sources.mapped(|delta: &Delta<Pod>| match delta {
            Delta::Applied { new, .. } if pod::facts(new).disruption_target && !new.is_being_deleted() => {
                vec![new.key.clone()]
            }
            _ => Vec::new(),
        }))
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Arc<Pod>>, kube::Error> {
        Ok(self.0.get_key(round.key))
    }

    fn reconcile(pod: &Arc<Pod>, now: Timestamp) -> Plan {
        let mut plan = Plan::nothing();
        let Some(condition) = told(pod) else { return plan };
        let since = condition.last_transition_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
        let left = DELETION_TIMEOUT - now.duration_since(since);
        if left.is_positive() {
            plan.look_again(Duration::try_from(left).unwrap_or(Duration::ZERO));
            return plan;
        }
        let taken_back = json!({
            "type": CONDITION, "status": "False", "reason": null, "message": null,
            "lastTransitionTime": Time(now), "observedGeneration": pod.metadata.generation,
        });
        plan.then(Action::StrategicPatch {
            target: target_of(&**pod).subresource("status"),
            patch: json!({
                "metadata": {"uid": pod.metadata.uid, "resourceVersion": pod.metadata.resource_version},
                "status": {"conditions": [taken_back]},
            }),
        });
        plan.because("the pod was to be disrupted, and nobody has deleted it")
    }
}

/// The condition of a pod that is still to be disrupted.
fn told(pod: &Pod) -> Option<&PodCondition> {
    if pod.metadata.deletion_timestamp.is_some() || is_terminal(pod) {
        return None;
    }
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    let condition = conditions.iter().find(|condition| condition.type_ == CONDITION)?;
    (condition.status == "True" && condition.reason.as_deref() != Some(BY_KUBELET)).then_some(condition)
}
