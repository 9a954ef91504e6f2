//! ResourceClaims: made for pods from templates ([`pod`]), and freed, and deleted, when nobody uses them any more
//! ([`claim`]). Upstream: `pkg/controller/resourceclaim`.

pub mod claim;
pub mod pod;

pub use claim::ResourceClaimController;
pub use pod::PodClaimsController;

use informer::{Cache, Index};
use k8s_openapi::api::core::v1::Pod;

use crate::replicas::pod as facts;

/// Pods by the claims that they list, as `namespace/name`.
fn by_claim(pods: &Cache<Pod>) -> Index<Pod> {
    pods.index("device-claim", |pod, found| {
        for claim in facts::facts(pod).device_claims.iter().filter_map(|entry| entry.claim()) {
            found(&format!("{}/{claim}", pod.namespace()));
        }
    })
}

#[cfg(test)]
mod tests;
