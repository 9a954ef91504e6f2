//! Client certificates: the common name is the user, the organizations are the groups.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use api::Error;
use ring::digest::{SHA256, digest};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::authenticator::{AUTHENTICATED_GROUP, Authenticator, Credentials};
use crate::eventual::Eventual;
use crate::request::User;

pub(super) const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// Reads the user off a certificate whose chain the TLS layer has checked.
#[derive(Debug, Clone, Copy, Default)]
pub struct ClientCertificate;

impl ClientCertificate {
    fn user_of(credentials: &Credentials<'_>) -> Result<Option<Arc<User>>, Error> {
        let Some(der) = credentials.client_certificate else { return Ok(None) };
        let (_, certificate) = X509Certificate::from_der(der).map_err(|_| Error::unauthorized())?;
        let texts = |attributes: &mut dyn Iterator<Item = &x509_parser::x509::AttributeTypeAndValue<'_>>| {
            attributes.filter_map(|a| a.as_str().ok().map(str::to_owned)).collect::<Vec<_>>()
        };
        let subject = certificate.subject();
        let Some(name) = texts(&mut subject.iter_common_name()).pop().filter(|name| !name.is_empty()) else {
            return Ok(None);
        };
        let mut groups = texts(&mut subject.iter_organization());
        if !groups.iter().any(|group| group == AUTHENTICATED_GROUP) {
            groups.push(AUTHENTICATED_GROUP.to_owned());
        }
        let mut id = "X509SHA256=".to_owned();
        for byte in digest(&SHA256, der).as_ref() {
            // Writing to a string cannot fail.
            let _infallible = write!(id, "{byte:02x}");
        }
        let extra = BTreeMap::from([(CREDENTIAL_ID.to_owned(), vec![id])]);
        Ok(Some(Arc::new(User { name, uid: String::new(), groups, extra })))
    }
}

impl Authenticator for ClientCertificate {
    fn authenticate<'a>(
        &'a self,
        credentials: &'a Credentials<'_>,
    ) -> Eventual<'a, Result<Option<Arc<User>>, Error>> {
        Self::user_of(credentials).into()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    #[test]
    fn the_subject_is_the_user() {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "ann");
        params.distinguished_name.push(DnType::OrganizationName, "system:masters");
        let certificate = params.self_signed(&key).unwrap();
        let credentials =
            Credentials { client_certificate: Some(certificate.der()), ..Credentials::default() };
        let user = ClientCertificate::user_of(&credentials).unwrap().unwrap();
        assert_eq!(user.name, "ann");
        assert_eq!(user.groups, ["system:masters", "system:authenticated"]);
        assert_eq!(user.extra[CREDENTIAL_ID][0].len(), "X509SHA256=".len() + 64);

        let bad = Credentials { client_certificate: Some(b"x"), ..Credentials::default() };
        assert!(ClientCertificate::user_of(&bad).is_err());
        assert_eq!(ClientCertificate::user_of(&Credentials::default()).unwrap(), None);
    }
}
