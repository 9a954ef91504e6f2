//! [`Request`]: what a certificate is asked for, read from the PEM that a client has sent.

use std::net::IpAddr;

use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::cri_attributes::ParsedCriAttribute;
use x509_parser::oid_registry::OID_X509_EXT_SUBJECT_ALT_NAME;
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension};

/// The parts of a request, as DER where they go into the certificate as they are.
#[derive(Debug, Default)]
pub(super) struct Request {
    pub common_name: String,
    pub organizations: Vec<String>,
    /// The subject's name.
    pub subject: Vec<u8>,
    pub public_key: Vec<u8>,
    /// The other names, whole.
    pub other_names: Option<Vec<u8>>,
    pub dns_names: Vec<String>,
    pub addresses: Vec<IpAddr>,
    pub emails: usize,
    pub uris: usize,
}

impl Request {
    /// Reads a request and checks that whoever made it has the key.
    ///
    /// # Errors
    /// What is wrong with it, for the log and for people.
    pub fn read(pem: &[u8]) -> Result<Self, String> {
        let (_, block) = x509_parser::pem::parse_x509_pem(pem)
            .map_err(|error| format!("PEM block type must be CERTIFICATE REQUEST: {error}"))?;
        if block.label != "CERTIFICATE REQUEST" {
            return Err("PEM block type must be CERTIFICATE REQUEST".to_owned());
        }
        let (_, parsed) = X509CertificationRequest::from_der(&block.contents)
            .map_err(|error| format!("the request cannot be read: {error}"))?;
        parsed.verify_signature().map_err(|error| format!("the request's signature is wrong: {error}"))?;
        let info = &parsed.certification_request_info;
        let texts = |attributes: &mut dyn Iterator<Item = &x509_parser::x509::AttributeTypeAndValue<'_>>| {
            attributes.filter_map(|attribute| attribute.as_str().ok().map(str::to_owned)).collect::<Vec<_>>()
        };
        let mut request = Self {
            common_name: texts(&mut info.subject.iter_common_name()).pop().unwrap_or_default(),
            organizations: texts(&mut info.subject.iter_organization()),
            subject: info.subject.as_raw().to_vec(),
            public_key: info.subject_pki.raw.to_vec(),
            ..Self::default()
        };
        for attribute in info.iter_attributes() {
            let ParsedCriAttribute::ExtensionRequest(extensions) = attribute.parsed_attribute() else {
                continue;
            };
            for extension in extensions.extensions.iter().filter(|e| e.oid == OID_X509_EXT_SUBJECT_ALT_NAME) {
                let ParsedExtension::SubjectAlternativeName(names) = extension.parsed_extension() else {
                    return Err("the request's other names cannot be read".to_owned());
                };
                request.other_names = Some(extension.value.to_vec());
                for name in &names.general_names {
                    match name {
                        GeneralName::DNSName(name) => request.dns_names.push((*name).to_owned()),
                        GeneralName::IPAddress(bytes) => request.addresses.push(address(bytes)?),
                        GeneralName::RFC822Name(_) => request.emails += 1,
                        GeneralName::URI(_) => request.uris += 1,
                        // Names that Go's library drops do not get into a certificate.
                        _ => return Err("the request has another name of an unknown sort".to_owned()),
                    }
                }
            }
        }
        Ok(request)
    }
}

fn address(bytes: &[u8]) -> Result<IpAddr, String> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let any = four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
    any.map_err(|_| "the request has an address of an unknown length".to_owned())
}
