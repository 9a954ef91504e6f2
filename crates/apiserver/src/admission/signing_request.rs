//! What a CertificateSigningRequest object asks for, as far as admission looks.

use api::Object;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;
use x509_parser::x509::AttributeTypeAndValue;

pub(super) const GROUP: &str = "certificates.k8s.io";
pub(super) const PLURAL: &str = "certificatesigningrequests";
pub(super) const API_CLIENT: &str = "kubernetes.io/kube-apiserver-client";
pub(super) const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
pub(super) const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";

/// Who shall be certified.
pub(super) struct Subject {
    pub common_name: String,
    pub organizations: Vec<String>,
}

pub(super) fn signer_name(request: &Object) -> &str {
    request.str_at(&["spec", "signerName"]).unwrap_or_default()
}

/// Reads the request inside the object.
///
/// # Errors
/// What is wrong with it.
pub(super) fn subject(request: &Object) -> Result<Subject, String> {
    let text = request.str_at(&["spec", "request"]).unwrap_or_default();
    let pem = BASE64_STANDARD.decode(text).map_err(|error| error.to_string())?;
    let wrong = || "PEM block type must be CERTIFICATE REQUEST".to_owned();
    let (_, block) = x509_parser::pem::parse_x509_pem(&pem).map_err(|_| wrong())?;
    if block.label != "CERTIFICATE REQUEST" {
        return Err(wrong());
    }
    let (_, parsed) =
        X509CertificationRequest::from_der(&block.contents).map_err(|error| error.to_string())?;
    let texts = |attributes: &mut dyn Iterator<Item = &AttributeTypeAndValue<'_>>| {
        attributes.filter_map(|attribute| attribute.as_str().ok().map(str::to_owned)).collect::<Vec<_>>()
    };
    let name = &parsed.certification_request_info.subject;
    Ok(Subject {
        common_name: texts(&mut name.iter_common_name()).pop().unwrap_or_default(),
        organizations: texts(&mut name.iter_organization()),
    })
}
