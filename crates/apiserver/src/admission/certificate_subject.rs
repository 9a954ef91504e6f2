//! Nobody gets a certificate that makes them a master of the cluster.
//!
//! Upstream: `plugin/pkg/admission/certificates/subjectrestriction`.

use api::{Error, Object};

use super::plugin::{Immediate, Operation, Review};
use super::signing_request::{API_CLIENT, GROUP, PLURAL, signer_name, subject};

const MASTERS: &str = "system:masters";

/// The plugin `CertificateSubjectRestriction`.
pub struct CertificateSubjectRestriction;

impl Immediate for CertificateSubjectRestriction {
    fn name(&self) -> &'static str {
        "CertificateSubjectRestriction"
    }

    fn check(&self, review: &Review<'_>, object: Option<&Object>) -> Result<(), Error> {
        let concerned = review.operation == Operation::Create && review.is_about_whole(GROUP, PLURAL);
        let Some(request) = object.filter(|request| concerned && signer_name(request) == API_CLIENT) else {
            return Ok(());
        };
        let subject =
            subject(request).map_err(|why| review.forbid(object, format!("failed to parse CSR: {why}")))?;
        if subject.organizations.iter().any(|organization| organization == MASTERS) {
            let why = format!("use of {API_CLIENT} signer with {MASTERS} group is not allowed");
            return Err(review.forbid(object, why));
        }
        Ok(())
    }
}
