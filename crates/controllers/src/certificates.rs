//! Requests for certificates: the nodes' own are approved, approved ones are signed with the cluster's CA, and old
//! ones are deleted.
//!
//! A controller a file: [`approving`], [`signing`], [`cleaner`]. `request` reads what is asked for, `signers` says who
//! may get what, `serving_names` which names are a node's own, [`authority`] signs. Upstream: `pkg/controller/certificates`. Its signer `legacy-unknown` is not
//! there: the API's v1 takes no request for it.

pub mod approving;
pub mod authority;
pub mod cleaner;
mod der;
mod request;
mod serving_names;
mod signers;
pub mod signing;

#[cfg(test)]
mod tests;

use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// The service account of all three.
const ACCOUNT: &str = "certificate-controller";
const APPROVED: &str = "Approved";
const DENIED: &str = "Denied";
const FAILED: &str = "Failed";

/// The condition of a type, whatever its status.
fn condition<'r>(
    request: &'r CertificateSigningRequest,
    kind: &str,
) -> Option<&'r CertificateSigningRequestCondition> {
    request.status.as_ref()?.conditions.iter().flatten().find(|condition| condition.type_ == kind)
}

/// Whether the request bears its certificate.
fn is_issued(request: &CertificateSigningRequest) -> bool {
    request
        .status
        .as_ref()
        .and_then(|status| status.certificate.as_ref())
        .is_some_and(|certificate| !certificate.0.is_empty())
}

/// The request with one more condition.
fn with_condition(
    request: &CertificateSigningRequest,
    kind: &str,
    reason: &str,
    message: String,
    now: jiff::Timestamp,
) -> CertificateSigningRequest {
    let mut next = request.clone();
    next.status.get_or_insert_default().conditions.get_or_insert_default().push(
        CertificateSigningRequestCondition {
            type_: kind.to_owned(),
            status: "True".to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message),
            last_update_time: Some(Time(now)),
            last_transition_time: Some(Time(now)),
        },
    );
    next
}
