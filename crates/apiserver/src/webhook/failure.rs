//! [`Failure`]: why a call has no answer, in the words of upstream's client (`k8s.io/client-go/rest` and Go's own).

use std::error::Error;

use http::StatusCode;
use rustls::CertificateError;

/// Why a webhook has not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub why: String,
    /// The HTTP status that it amounts to.
    pub code: u16,
}

impl Failure {
    /// Nothing came back.
    pub(super) fn unreached(url: &str, why: &str) -> Self {
        Self { why: format!("Post {url:?}: {why}"), code: 503 }
    }

    /// What came back is no success.
    pub(super) fn answered(status: StatusCode, body: &[u8]) -> Self {
        let said = String::from_utf8_lossy(body);
        let why = match status.as_u16() {
            400 => "the server rejected our request for an unknown reason".to_owned(),
            401 => "the server has asked for the client to provide credentials".to_owned(),
            403 => said.trim().to_owned(),
            404 => "the server could not find the requested resource".to_owned(),
            405 => "the server does not allow this method on the requested resource".to_owned(),
            409 => "the server reported a conflict".to_owned(),
            415 => "the server was unable to respond with a content type that the client supports".to_owned(),
            422 => "the server rejected our request due to an error in our request".to_owned(),
            429 => "the server has received too many requests and has asked us to try again later".to_owned(),
            503 => "the server is currently unable to handle the request".to_owned(),
            504 => "the server was unable to return a response in the time allotted, but may still be processing the request".to_owned(),
            500.. => format!("an error on the server ({:?}) has prevented the request from succeeding", said.trim()),
            code => format!("the server responded with the status code {code} but did not return more information"),
        };
        Self { why, code: status.as_u16() }
    }

    /// What came back cannot be read.
    pub(crate) fn unreadable(why: impl std::fmt::Display) -> Self {
        Self { why: why.to_string(), code: 503 }
    }
}

/// A connection that did not come about.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unconnected(pub String);

/// What ended a request, in Go's words where the cause is known.
pub(crate) fn cause(error: &(dyn Error + 'static)) -> String {
    let mut deepest = error;
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(unconnected) = error.downcast_ref::<Unconnected>() {
            return unconnected.0.clone();
        }
        if error.downcast_ref::<hyper::Error>().is_some_and(|e| e.is_incomplete_message() || e.is_closed()) {
            return "EOF".to_owned();
        }
        deepest = error;
        next = error.source();
    }
    deepest.to_string()
}

/// Why a connection was not made, as Go says it of `dial`.
pub(super) fn dialling(host: &str, port: u16, error: &std::io::Error) -> String {
    use std::io::ErrorKind;
    let why = match error.kind() {
        ErrorKind::ConnectionRefused => "connect: connection refused",
        ErrorKind::HostUnreachable => "connect: no route to host",
        ErrorKind::NetworkUnreachable => "connect: network is unreachable",
        _ => return format!("dial tcp: lookup {host}: {error}"),
    };
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    format!("dial tcp {host}:{port}: {why}")
}

/// Why a handshake failed.
pub(super) fn handshake(error: &std::io::Error) -> String {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let bad = |why: &str| format!("tls: failed to verify certificate: x509: {why}");
    match tls {
        Some(rustls::Error::InvalidCertificate(error)) => match error {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                bad("certificate signed by unknown authority")
            }
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => {
                bad("certificate has expired or is not yet valid")
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                bad(&format!("certificate is not valid for the webhook's name: {error}"))
            }
            other => bad(&other.to_string()),
        },
        Some(error) => format!("remote error: tls: {error}"),
        None if error.kind() == std::io::ErrorKind::UnexpectedEof => "EOF".to_owned(),
        None => error.to_string(),
    }
}
