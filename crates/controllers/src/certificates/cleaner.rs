//! Deletes old requests: an hour after they were decided, a day after they were made and not decided, and once their
//! certificate has expired. Upstream looks at all of them once an hour; here each is looked at when its time has come.

use std::sync::Arc;
use std::time::Duration;

use informer::plan::DeletePolicy;
use informer::{Action, Cache, Controller, Plan, Round, Sources};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{ACCOUNT, APPROVED, DENIED, FAILED, condition};
use crate::target::target_of;

/// How long a decided request stays.
const DECIDED: SignedDuration = SignedDuration::from_hours(1);
/// How long one stays that nobody decides.
const PENDING: SignedDuration = SignedDuration::from_hours(24);

/// See the module's documentation. Keys are requests.
pub struct CsrCleanerController {
    requests: Cache<CertificateSigningRequest>,
}

impl Controller for CsrCleanerController {
    const NAME: &'static str = "certificatesigningrequest-cleaner-controller";
    const ACCOUNT: &'static str = ACCOUNT;
    const WORKERS: usize = 1;
    type Config = ();
    type Observed = Arc<CertificateSigningRequest>;

    fn sources(sources: &mut Sources<'_>, (): ()) -> Self {
        Self { requests: sources.primary() }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Self::Observed>, kube::Error> {
        Ok(self.requests.get_key(round.key))
    }

    fn reconcile(request: &Self::Observed, now: Timestamp) -> Plan {
        let mut plan = Plan::nothing();
        let Some(until) = kept_until(request) else { return plan };
        if now > until {
            let policy = DeletePolicy { uid: request.metadata.uid.clone(), ..DeletePolicy::default() };
            plan.then(Action::Delete { target: target_of(&**request), policy });
            return plan.because("the request is old");
        }
        let wait = until.duration_since(now).unsigned_abs() + Duration::from_millis(1);
        plan.look_again(wait);
        plan
    }
}

/// Until when a request stays; `None` for one without a beginning.
pub(super) fn kept_until(request: &CertificateSigningRequest) -> Option<Timestamp> {
    let conditions = || request.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let decided = [APPROVED, DENIED, FAILED]
        .iter()
        .filter_map(|kind| condition(request, kind)?.last_update_time.as_ref())
        .filter_map(|at| at.0.checked_add(DECIDED).ok());
    let pending = (conditions().next().is_none())
        .then(|| request.metadata.creation_timestamp.as_ref()?.0.checked_add(PENDING).ok())
        .flatten();
    decided.chain(pending).chain(expiry(request)).min()
}

/// When the certificate expires; `None` without one that can be read.
fn expiry(request: &CertificateSigningRequest) -> Option<Timestamp> {
    let pem = &request.status.as_ref()?.certificate.as_ref()?.0;
    let (_, block) = x509_parser::pem::parse_x509_pem(pem).ok()?;
    let (_, certificate) = X509Certificate::from_der(&block.contents).ok()?;
    Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()
}
