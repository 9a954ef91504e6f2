//! Why a HorizontalPodAutoscaler does not scale.

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Event;

use crate::account::Account;
use crate::reader::Reader;
use crate::{deletion, warnings};

/// # Errors
/// When there is no such autoscaler, or its events cannot be read.
pub async fn tell(reader: &Reader, namespace: &str, name: &str) -> kube::Result<Account> {
    let autoscaler: HorizontalPodAutoscaler = reader.get(namespace, name).await?;
    let events = reader.events(Some(namespace), autoscaler.metadata.uid.as_deref()).await?;
    Ok(account(&autoscaler, &events))
}

pub fn account(autoscaler: &HorizontalPodAutoscaler, events: &[Event]) -> Account {
    let meta = &autoscaler.metadata;
    let mut account = deletion::account(meta).unwrap_or_else(|| state(autoscaler));
    if !account.well {
        account.causes.extend(warnings::lines(events));
    }
    account.of("hpa", meta.namespace.as_deref(), meta.name.as_deref().unwrap_or_default())
}

fn state(autoscaler: &HorizontalPodAutoscaler) -> Account {
    let (spec, status) = (autoscaler.spec.clone(), autoscaler.status.clone().unwrap_or_default());
    let target = format!("{}/{}", spec.scale_target_ref.kind.to_lowercase(), spec.scale_target_ref.name);
    let (current, desired) = (status.current_replicas.unwrap_or(0), status.desired_replicas);
    let mut account = Account::well(format!("keeps {target} at {desired} pods; it has {current}"));
    for condition in status.conditions.iter().flatten() {
        let (reason, message) = (
            condition.reason.as_deref().unwrap_or_default(),
            condition.message.as_deref().unwrap_or_default(),
        );
        match (condition.type_.as_str(), condition.status.as_str()) {
            ("ScalingLimited", "True") => {
                account.well = false;
                account.causes.push(format!("it is limited: {message}"));
                account.help =
                    account.help.or_else(|| Some(limit(reason, spec.min_replicas, spec.max_replicas)));
            }
            ("AbleToScale" | "ScalingActive", "False") => {
                account.well = false;
                account.summary = format!("does not scale {target}");
                account.causes.push(format!("{reason}: {message}"));
                account.help = account.help.or_else(|| remedy(reason, message, &target));
            }
            _ => {}
        }
    }
    account
}

fn limit(reason: &str, min: Option<i32>, max: i32) -> String {
    match reason {
        "TooFewReplicas" => {
            format!("lower minReplicas ({} now), where fewer pods are to be", min.unwrap_or(1))
        }
        _ => format!("raise maxReplicas ({max} now), where more pods are to be"),
    }
}

fn remedy(reason: &str, message: &str, target: &str) -> Option<String> {
    match reason {
        "FailedGetScale" => Some(format!("create {target}, or correct scaleTargetRef")),
        "ScalingDisabled" => Some(format!("scale {target} to at least one pod")),
        "FailedGetResourceMetric" if message.contains("missing request") => {
            Some(format!("give every container of {target} a request for the resource that is measured"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::samples::object;

    #[test]
    fn a_missing_request_is_named() {
        let spec = json!({"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "web"}});
        let status = json!({"desiredReplicas": 1, "currentMetrics": [], "conditions": [{"type": "ScalingActive",
            "status": "False", "reason": "FailedGetResourceMetric", "message": "missing request for cpu in container c"}]});
        assert_eq!(
            account(&object("h", spec, status), &[]).text(),
            "hpa ns/h does not scale deployment/web\n  \
             FailedGetResourceMetric: missing request for cpu in container c\n\
             What would help: give every container of deployment/web a request for the resource that is measured.\n"
        );
    }
}
