//! Signs approved requests. What cannot be signed is marked `Failed`.

use std::sync::Arc;

use informer::{Cache, Controller, Plan, Round, Sources};
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;

use super::authority::Authority;
use super::request::Request;
use super::signers::Signer;
use super::{ACCOUNT, APPROVED, FAILED, condition, is_issued, with_condition};
use crate::target::update_status;

/// See the module's documentation. Keys are requests.
pub struct CsrSigningController {
    authority: Arc<Authority>,
    requests: Cache<CertificateSigningRequest>,
}

/// A request that waits for its signature, and what came of it.
pub struct Observed {
    request: Arc<CertificateSigningRequest>,
    outcome: Outcome,
}

impl Observed {
    #[cfg(test)]
    pub(super) fn of(request: CertificateSigningRequest, outcome: Outcome) -> Self {
        Self { request: Arc::new(request), outcome }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The certificate, in PEM.
    Signed(Vec<u8>),
    /// The signer does not sign that.
    Refused(String),
}

impl Controller for CsrSigningController {
    const NAME: &'static str = "certificatesigningrequest-signing-controller";
    const QUEUE: &'static str = "certificate";
    const ACCOUNT: &'static str = ACCOUNT;
    type Config = Arc<Authority>;
    type Observed = Observed;

    fn sources(sources: &mut Sources<'_>, authority: Arc<Authority>) -> Self {
        Self { authority, requests: sources.primary() }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Observed>, kube::Error> {
        let Some(request) = self.requests.get_key(round.key) else { return Ok(None) };
        let outcome = outcome(&request, &self.authority, round.now);
        Ok(outcome.map(|outcome| Observed { request, outcome }))
    }

    fn reconcile(observed: &Observed, now: jiff::Timestamp) -> Plan {
        let mut plan = Plan::nothing();
        let next = match &observed.outcome {
            Outcome::Signed(certificate) => {
                let mut next = CertificateSigningRequest::clone(&observed.request);
                next.status.get_or_insert_default().certificate = Some(ByteString(certificate.clone()));
                next
            }
            Outcome::Refused(why) => {
                with_condition(&observed.request, FAILED, "SignerValidationFailure", why.clone(), now)
            }
        };
        plan.then(update_status(&next));
        plan.because("an approved request waits for its certificate")
    }
}

/// What comes of a request now; `None` where there is nothing to do, or nobody here to do it.
pub(super) fn outcome(
    request: &CertificateSigningRequest,
    authority: &Authority,
    now: jiff::Timestamp,
) -> Option<Outcome> {
    let is = |kind| condition(request, kind).is_some_and(|condition| condition.status == "True");
    if is_issued(request) || condition(request, APPROVED).is_none() || is(FAILED) || is(super::DENIED) {
        return None;
    }
    let signer = Signer::named(&request.spec.signer_name)?;
    let usages = request.spec.usages.clone().unwrap_or_default();
    let asked = match Request::read(&request.spec.request.0) {
        Ok(asked) => asked,
        Err(why) => return Some(Outcome::Refused(why)),
    };
    if let Some(why) = signer.refusal(&asked, &usages) {
        return Some(Outcome::Refused(why));
    }
    match authority.sign(&asked, &usages, request.spec.expiration_seconds, now) {
        Ok(certificate) => Some(Outcome::Signed(certificate)),
        Err(error) => {
            let name = request.metadata.name.as_deref().unwrap_or_default();
            tracing::error!(%error, name, "a certificate cannot be signed");
            None
        }
    }
}
