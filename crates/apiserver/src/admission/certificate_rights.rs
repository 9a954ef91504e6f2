//! Requests for certificates are decided and signed by who may do so for their signer.
//!
//! Upstream: `plugin/pkg/admission/certificates/approval` and `…/signing`, two plugins that differ in a verb.

use std::sync::Arc;

use api::{Error, Object};

use super::plugin::{Admission, Operation, Review};
use super::signing_request::{GROUP, PLURAL, signer_name};
use crate::eventual::Eventual;
use crate::identity::authz::{Authorizer, Decision};
use crate::request::Attributes;

/// The plugins `CertificateApproval` and `CertificateSigning`.
pub struct CertificateRights {
    sort: Sort,
    authorizer: Arc<dyn Authorizer>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sort {
    Approval,
    Signing,
}

impl CertificateRights {
    pub fn approval(authorizer: Arc<dyn Authorizer>) -> Self {
        Self { sort: Sort::Approval, authorizer }
    }

    pub fn signing(authorizer: Arc<dyn Authorizer>) -> Self {
        Self { sort: Sort::Signing, authorizer }
    }

    fn verb(&self) -> &'static str {
        match self.sort {
            Sort::Approval => "approve",
            Sort::Signing => "sign",
        }
    }

    fn concerns(&self, review: &Review<'_>, new: &Object) -> bool {
        if review.operation != Operation::Update || !review.is_about(GROUP, PLURAL) {
            return false;
        }
        match (self.sort, review.attributes.subresource.as_str()) {
            (Sort::Approval, "approval") => true,
            // Metadata signs nothing.
            (Sort::Signing, "status") => {
                let parts = [["status", "certificate"], ["status", "conditions"]];
                review.old.is_none_or(|old| parts.iter().any(|part| old.at(part) != new.at(part)))
            }
            _ => false,
        }
    }

    /// Whether the user may do it for this signer, or for all of its domain.
    async fn check(&self, review: &Review<'_>, new: &Object) -> Result<(), Error> {
        let signer = signer_name(review.old.unwrap_or(new));
        let domain = signer.split_once('/').map_or(signer, |(domain, _)| domain);
        for name in [signer.to_owned(), format!("{domain}/*")] {
            let attributes = Attributes {
                user: Arc::clone(&review.attributes.user),
                verb: self.verb().to_owned(),
                is_resource: true,
                group: GROUP.to_owned(),
                version: "*".to_owned(),
                resource: "signers".to_owned(),
                name,
                ..Attributes::default()
            };
            if self.authorizer.authorize(&attributes).await == Decision::Allow {
                return Ok(());
            }
        }
        let why = format!("user not permitted to {} requests with signerName {signer:?}", self.verb());
        Err(review.forbid(Some(new), why))
    }
}

impl Admission for CertificateRights {
    fn name(&self) -> &'static str {
        match self.sort {
            Sort::Approval => "CertificateApproval",
            Sort::Signing => "CertificateSigning",
        }
    }

    /// A decision or signature asks the authorizer, which may wait. All else is answered at once.
    fn validate<'a>(
        &'a self,
        review: &'a Review<'_>,
        object: Option<&'a Object>,
    ) -> Eventual<'a, Result<(), Error>> {
        match object.filter(|object| self.concerns(review, object)) {
            Some(object) => Eventual::later(self.check(review, object)),
            None => Ok(()).into(),
        }
    }
}
