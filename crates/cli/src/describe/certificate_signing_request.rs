//! CertificateSigningRequest, with the subject and names of the request.

use std::net::IpAddr;

use jiff::SignedDuration;
use resources::columns::duration;
use serde_json::Value;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::{
    OID_X509_COMMON_NAME, OID_X509_COUNTRY_NAME, OID_X509_LOCALITY_NAME, OID_X509_ORGANIZATION_NAME,
    OID_X509_ORGANIZATIONAL_UNIT, OID_X509_POSTAL_CODE, OID_X509_SERIALNUMBER,
    OID_X509_STATE_OR_PROVINCE_NAME, OID_X509_STREET_ADDRESS, Oid,
};
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::FromDer as _;

use super::config_map::decoded;
use super::events;
use super::fields::Fields as _;
use super::related::{DescribeError, RelatedError};
use super::selectors;
use super::text::{Text, put};
use super::view::View;

pub fn write(view: &View<'_>, text: &mut Text) -> Result<(), DescribeError> {
    let object = view.object;
    let bytes = decoded(object.at("spec.request").unwrap_or(&Value::Null));
    let refused = |message: String| {
        let message = format!("Error parsing CSR: {message}");
        DescribeError::Related(RelatedError { reason: String::new(), message })
    };
    let pem = match parse_x509_pem(&bytes) {
        Ok((_, pem)) if pem.label == "CERTIFICATE REQUEST" => pem,
        _ => return Err(refused("PEM block type must be CERTIFICATE REQUEST".to_owned())),
    };
    let (_, request) =
        X509CertificationRequest::from_der(&pem.contents).map_err(|error| refused(error.to_string()))?;
    put!(text, 0, "Name:\t{}", view.name());
    put!(text, 0, "Labels:\t{}", selectors::map(object, "metadata.labels"));
    put!(text, 0, "Annotations:\t{}", selectors::map(object, "metadata.annotations"));
    put!(text, 0, "CreationTimestamp:\t{}", view.time(object.at("metadata.creationTimestamp")));
    put!(text, 0, "Requesting User:\t{}", object.text("spec.username"));
    if !object.text("spec.signerName").is_empty() {
        put!(text, 0, "Signer:\t{}", object.text("spec.signerName"));
    }
    if object.has("spec.expirationSeconds") {
        let length = SignedDuration::from_secs(object.number("spec.expirationSeconds"));
        put!(text, 0, "Requested Duration:\t{}", duration::human(length));
    }
    put!(text, 0, "Status:\t{}", status(object));
    subject(text, &request);
    names(text, &request);
    events::write(view, text);
    Ok(())
}

fn status(object: &Value) -> String {
    let has =
        |kind: &str| object.items("status.conditions").iter().any(|condition| condition.text("type") == kind);
    let mut status = if has("Denied") {
        "Denied".to_owned()
    } else if has("Approved") {
        "Approved".to_owned()
    } else {
        "Pending".to_owned()
    };
    if has("Failed") {
        status.push_str(",Failed");
    }
    if !object.text("status.certificate").is_empty() {
        status.push_str(",Issued");
    }
    status
}

fn subject(text: &mut Text, request: &X509CertificationRequest<'_>) {
    let values = |oid: &Oid<'static>| -> Vec<String> {
        let subject = &request.certification_request_info.subject;
        subject.iter_by_oid(oid).filter_map(|value| value.as_str().ok()).map(str::to_owned).collect()
    };
    put!(text, 0, "Subject:");
    for (title, oid) in [("Common Name", OID_X509_COMMON_NAME), ("Serial Number", OID_X509_SERIALNUMBER)] {
        put!(text, 0, "\t{title}:\t{}", values(&oid).pop().unwrap_or_default());
    }
    for (title, oid) in [
        ("Organization", OID_X509_ORGANIZATION_NAME),
        ("Organizational Unit", OID_X509_ORGANIZATIONAL_UNIT),
        ("Country", OID_X509_COUNTRY_NAME),
        ("Locality", OID_X509_LOCALITY_NAME),
        ("Province", OID_X509_STATE_OR_PROVINCE_NAME),
        ("StreetAddress", OID_X509_STREET_ADDRESS),
        ("PostalCode", OID_X509_POSTAL_CODE),
    ] {
        list(text, title, &values(&oid));
    }
}

fn list(text: &mut Text, title: &str, values: &[String]) {
    if !values.is_empty() {
        put!(text, 0, "\t{title}:\t{}", values.join("\n\t\t"));
    }
}

fn names(text: &mut Text, request: &X509CertificationRequest<'_>) {
    let mut found: [(&str, Vec<String>); 4] =
        [("DNS Names", vec![]), ("Email Addresses", vec![]), ("URIs", vec![]), ("IP Addresses", vec![])];
    let extensions = request.requested_extensions().into_iter().flatten();
    for extension in extensions {
        let ParsedExtension::SubjectAlternativeName(names) = extension else { continue };
        for name in &names.general_names {
            match name {
                GeneralName::DNSName(name) => found[0].1.push((*name).to_owned()),
                GeneralName::RFC822Name(name) => found[1].1.push((*name).to_owned()),
                GeneralName::URI(name) => found[2].1.push((*name).to_owned()),
                GeneralName::IPAddress(bytes) => found[3].1.extend(address(bytes)),
                _ => {}
            }
        }
    }
    if found.iter().any(|(_, values)| !values.is_empty()) {
        put!(text, 0, "Subject Alternative Names:");
        for (title, values) in &found {
            list(text, title, values);
        }
    }
}

fn address(bytes: &[u8]) -> Option<String> {
    let four: Option<[u8; 4]> = bytes.try_into().ok();
    let sixteen: Option<[u8; 16]> = bytes.try_into().ok();
    four.map(IpAddr::from).or(sixteen.map(IpAddr::from)).map(|address| address.to_string())
}
