//! Approves the requests of kubelets for their own certificates, of whoever the API server says may have them.

use std::sync::Arc;

use informer::{Action, Cache, Controller, Plan, Round, Sources};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec, SubjectAccessReviewStatus,
};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::Api;
use kube::api::PostParams;

use super::request::Request;
use super::signers::Signer;
use super::{ACCOUNT, APPROVED, DENIED, condition, is_issued, with_condition};
use crate::target::{dynamic, target_of};

/// See the module's documentation. Keys are requests.
pub struct CsrApprovingController {
    requests: Cache<CertificateSigningRequest>,
}

/// A request that is to be approved, in these words.
pub struct Observed {
    request: Arc<CertificateSigningRequest>,
    message: &'static str,
}

/// A sort of request that can be approved: the right it takes, and how the approval reads.
type Recognized = (&'static str, &'static str);

const OWN: Recognized =
    ("selfnodeclient", "Auto approving self kubelet client certificate after SubjectAccessReview.");
const NODE: Recognized =
    ("nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview.");

impl Controller for CsrApprovingController {
    const NAME: &'static str = "certificatesigningrequest-approving-controller";
    const QUEUE: &'static str = "certificate_approval";
    const ACCOUNT: &'static str = ACCOUNT;
    type Config = ();
    type Observed = Observed;

    fn sources(sources: &mut Sources<'_>, (): ()) -> Self {
        Self { requests: sources.primary() }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Observed>, kube::Error> {
        let Some(request) = self.requests.get_key(round.key) else { return Ok(None) };
        for (right, message) in recognized(&request) {
            let review = review(&request, right);
            let api = Api::<SubjectAccessReview>::all(round.client.clone());
            let answer = api.create(&PostParams::default(), &review).await?;
            if answer.status.is_some_and(|SubjectAccessReviewStatus { allowed, .. }| allowed) {
                return Ok(Some(Observed { request, message }));
            }
        }
        Ok(None)
    }

    fn reconcile(observed: &Observed, now: jiff::Timestamp) -> Plan {
        let mut plan = Plan::nothing();
        let approved =
            with_condition(&observed.request, APPROVED, "AutoApproved", observed.message.to_owned(), now);
        plan.then(Action::Update {
            target: target_of(&approved).subresource("approval"),
            object: dynamic(&approved),
        });
        plan.because("a kubelet asks for its own certificate")
    }
}

/// What the request may be approved as; nothing where that is decided already.
pub(super) fn recognized(request: &CertificateSigningRequest) -> Vec<Recognized> {
    let decided = condition(request, APPROVED).or_else(|| condition(request, DENIED)).is_some();
    if decided
        || is_issued(request)
        || Signer::named(&request.spec.signer_name) != Some(Signer::KubeletClient)
    {
        return Vec::new();
    }
    let Ok(asked) = Request::read(&request.spec.request.0) else { return Vec::new() };
    let usages = request.spec.usages.clone().unwrap_or_default();
    if Signer::KubeletClient.refusal(&asked, &usages).is_some() {
        return Vec::new();
    }
    let own = request.spec.username.as_deref() == Some(&asked.common_name);
    if own { vec![OWN, NODE] } else { vec![NODE] }
}

fn review(request: &CertificateSigningRequest, right: &str) -> SubjectAccessReview {
    let spec = &request.spec;
    SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: spec.username.clone(),
            uid: spec.uid.clone(),
            groups: spec.groups.clone(),
            extra: spec.extra.clone(),
            resource_attributes: Some(ResourceAttributes {
                group: Some("certificates.k8s.io".to_owned()),
                resource: Some("certificatesigningrequests".to_owned()),
                verb: Some("create".to_owned()),
                subresource: Some(right.to_owned()),
                version: Some("*".to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    }
}
