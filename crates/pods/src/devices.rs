//! The device claims of a pod: which ResourceClaims it uses, and how pods and claims refer to one another. Upstream:
//! `k8s.io/dynamic-resource-allocation/resourceclaim`.
//!
//! Start with [`claims_of`]. Controllers and scheduler decide by these functions.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::resource::v1::{
    AllocationResult, ResourceClaim, ResourceClaimConsumerReference, ResourceClaimStatus,
};

/// The finalizer of claims that are allocated.
pub const PROTECTION: &str = "resource.kubernetes.io/delete-protection";
/// On a claim that was made from a template: the name that the pod's specification has for the claim.
pub const MADE_FOR: &str = "resource.kubernetes.io/pod-claim-name";
/// The most consumers that a claim can be reserved for.
pub const MAX_RESERVATIONS: usize = 256;

/// Which ResourceClaim an entry of a pod stands for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Source {
    /// The user's own.
    Named(Box<str>),
    /// Made for the pod from the template of this name. The claim's name is known once the pod's status has it.
    Made { template: Box<str>, claim: Option<Box<str>> },
    /// None, as the pod's status says.
    NotNeeded,
}

/// An entry of `spec.resourceClaims`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PodClaim {
    pub name: Box<str>,
    pub source: Source,
}

impl PodClaim {
    /// An entry of the specification. `told`: what the status says of the entry, and the name there, if it has one.
    pub fn of(name: &str, claim: Option<&str>, template: Option<&str>, told: Option<Option<&str>>) -> Self {
        let source = match (claim, told) {
            (Some(claim), _) => Source::Named(claim.into()),
            (None, Some(None)) => Source::NotNeeded,
            (None, told) => Source::Made {
                template: template.unwrap_or_default().into(),
                claim: told.flatten().map(Into::into),
            },
        };
        Self { name: name.into(), source }
    }

    /// The name of the ResourceClaim; `None` where there is none, or none yet.
    pub fn claim(&self) -> Option<&str> {
        match &self.source {
            Source::Named(claim) | Source::Made { claim: Some(claim), .. } => Some(claim),
            Source::Made { claim: None, .. } | Source::NotNeeded => None,
        }
    }

    /// Whether the claim has to belong to the pod.
    pub fn is_made(&self) -> bool {
        matches!(self.source, Source::Made { .. })
    }
}

/// The claims that the pod's specification lists, in its order.
pub fn claims_of(pod: &Pod) -> Vec<PodClaim> {
    let told = |name: &str| {
        let mut statuses =
            pod.status.iter().flat_map(|status| status.resource_claim_statuses.iter().flatten());
        let status = statuses.find(|status| status.name == name)?;
        Some(status.resource_claim_name.as_deref())
    };
    let listed = pod.spec.iter().flat_map(|spec| spec.resource_claims.iter().flatten());
    let claims = listed.map(|entry| {
        let (claim, template) =
            (entry.resource_claim_name.as_deref(), entry.resource_claim_template_name.as_deref());
        PodClaim::of(&entry.name, claim, template, told(&entry.name))
    });
    claims.collect()
}

/// Whether the claim was made for the pod.
pub fn is_of_pod(claim: &ResourceClaim, pod_uid: &str) -> bool {
    let mut owners = claim.metadata.owner_references.iter().flatten();
    owners.any(|owner| owner.controller == Some(true) && owner.uid == pod_uid)
}

/// That a claim of the name that a pod's claim should have belongs to somebody else.
pub fn is_not_owner(namespace: &str, claim: &str, pod: &str) -> String {
    format!("ResourceClaim {namespace}/{claim} was not created for pod {namespace}/{pod} (pod is not owner)")
}

fn status(claim: &ResourceClaim) -> Option<&ResourceClaimStatus> {
    claim.status.as_ref()
}

pub fn allocation(claim: &ResourceClaim) -> Option<&AllocationResult> {
    status(claim)?.allocation.as_ref()
}

/// Who may use the claim.
pub fn consumers(claim: &ResourceClaim) -> &[ResourceClaimConsumerReference] {
    status(claim).and_then(|status| status.reserved_for.as_deref()).unwrap_or_default()
}

/// Whether the claim is reserved for the pod of this uid.
pub fn is_reserved_for(claim: &ResourceClaim, pod_uid: &str) -> bool {
    consumers(claim).iter().any(|consumer| consumer.uid == pod_uid)
}

/// Whether the claim can be reserved for one more.
pub fn can_be_reserved(claim: &ResourceClaim) -> bool {
    consumers(claim).len() < MAX_RESERVATIONS
}

/// Whether the claim is kept from going while it is allocated.
pub fn is_protected(claim: &ResourceClaim) -> bool {
    claim.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == PROTECTION)
}

/// A pod as the user of a claim.
pub fn consumer(name: &str, uid: &str) -> ResourceClaimConsumerReference {
    ResourceClaimConsumerReference {
        api_group: None,
        resource: "pods".to_owned(),
        name: name.to_owned(),
        uid: uid.to_owned(),
    }
}

/// Whether a consumer is a pod.
pub fn is_pod(consumer: &ResourceClaimConsumerReference) -> bool {
    consumer.resource == "pods" && consumer.api_group.as_deref().is_none_or(str::is_empty)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn entries_stand_for_the_claims_that_the_status_names() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p"},
            "spec": {"containers": [], "resourceClaims": [
                {"name": "own", "resourceClaimName": "x"}, {"name": "made", "resourceClaimTemplateName": "t"},
                {"name": "new", "resourceClaimTemplateName": "t"}, {"name": "none", "resourceClaimTemplateName": "t"}]},
            "status": {"resourceClaimStatuses": [{"name": "made", "resourceClaimName": "p-made-1"}, {"name": "none"}]},
        }))
        .expect("a pod");
        let claims = claims_of(&pod);
        assert_eq!(
            claims.iter().map(PodClaim::claim).collect::<Vec<_>>(),
            [Some("x"), Some("p-made-1"), None, None]
        );
        assert_eq!(claims.iter().map(PodClaim::is_made).collect::<Vec<_>>(), [false, true, true, false]);
        assert_eq!(claims[3].source, Source::NotNeeded);
    }
}
