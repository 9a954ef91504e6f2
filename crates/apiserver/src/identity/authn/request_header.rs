//! [`RequestHeaders`]: users that a front proxy names in the headers of the requests it forwards. The proxy shows a
//! certificate of a CA of its own; what others write into these headers counts for nothing. [`write`] is the other side:
//! the headers as this server forwards them.
//!
//! Upstream: `apiserver/pkg/authentication/request/headerrequest` and `client-go/transport/round_trippers.go`.

use std::sync::Arc;

use api::Error;
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use rustls::pki_types::{CertificateDer, UnixTime};
use serving::{Clients, TlsError};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::anonymous;
use super::authenticator::AUTHENTICATED_GROUP;
use crate::request::User;

/// The header of the user's name, as upstream's clusters are set up.
pub const USERNAME: &str = "X-Remote-User";
/// The header of the user's uid.
pub const UID: &str = "X-Remote-Uid";
/// The header of the user's groups, one each.
pub const GROUP: &str = "X-Remote-Group";
/// What the headers of everything else that is known of the user begin with.
pub const EXTRA_PREFIX: &str = "X-Remote-Extra-";

/// What need not be escaped in a header's name (RFC 9110, `token`); the escape character itself must be.
const NOT_IN_NAMES: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'*')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// See the module's documentation.
#[derive(Debug)]
pub struct RequestHeaders {
    proxies: Clients,
    /// The common names that a proxy may have.
    names: Vec<String>,
}

impl RequestHeaders {
    /// # Errors
    /// When the CA cannot be parsed.
    pub fn new(ca_pem: &[u8], names: Vec<String>) -> Result<Self, TlsError> {
        Ok(Self { proxies: Clients::from_pem(ca_pem)?, names })
    }

    /// Whether the certificates that a client has shown (leaf first) are a front proxy's.
    pub(crate) fn is_proxy(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> bool {
        let Some(leaf) = chain.first() else { return false };
        self.proxies.verify(chain, now).is_ok() && self.is_allowed(leaf)
    }

    fn is_allowed(&self, leaf: &CertificateDer<'_>) -> bool {
        let Ok((_, certificate)) = X509Certificate::from_der(leaf) else { return false };
        let name = certificate.subject().iter_common_name().last().and_then(|name| name.as_str().ok());
        name.is_some_and(|name| self.names.iter().any(|allowed| allowed == name))
    }
}

/// The user that a front proxy's request names; `None` where it names none.
pub(crate) fn user(headers: &HeaderMap) -> Option<Arc<User>> {
    let texts = |name: &str| headers.get_all(name).iter().filter_map(text).collect::<Vec<_>>();
    let name = headers.get(USERNAME).and_then(text).filter(|name| !name.is_empty())?;
    let mut groups = texts(GROUP);
    let known = [AUTHENTICATED_GROUP, anonymous::GROUP];
    if name != anonymous::USER && !groups.iter().any(|group| known.contains(&group.as_str())) {
        groups.push(AUTHENTICATED_GROUP.to_owned());
    }
    let mut user =
        User { name, uid: headers.get(UID).and_then(text).unwrap_or_default(), groups, ..User::default() };
    for header in headers.keys() {
        let Some(key) = extra_key(header) else { continue };
        let key = percent_decode_str(key).decode_utf8_lossy().into_owned();
        user.extra.entry(key).or_default().extend(texts(header.as_str()));
    }
    Some(Arc::new(user))
}

fn text(value: &HeaderValue) -> Option<String> {
    String::from_utf8(value.as_bytes().to_vec()).ok()
}

fn extra_key(header: &HeaderName) -> Option<&str> {
    let (start, key) = header.as_str().split_at_checked(EXTRA_PREFIX.len())?;
    start.eq_ignore_ascii_case(EXTRA_PREFIX).then_some(key)
}

/// Whether a header is one of those that name a user: what a client sends in it must not be forwarded.
pub(crate) fn is_about_user(header: &HeaderName) -> bool {
    let own = |name: &str| header.as_str().eq_ignore_ascii_case(name);
    own(USERNAME) || own(UID) || own(GROUP) || extra_key(header).is_some()
}

/// Names the user in the headers of a request that is forwarded.
///
/// # Errors
/// When the user has a name that no header can hold.
pub(crate) fn write(headers: &mut HeaderMap, user: &User) -> Result<(), Error> {
    let value = |text: &str| {
        HeaderValue::from_bytes(text.as_bytes())
            .map_err(|_| Error::internal(format!("{text:?} cannot stand in the header of a request")))
    };
    headers.insert(USERNAME, value(&user.name)?);
    if !user.uid.is_empty() {
        headers.insert(UID, value(&user.uid)?);
    }
    for group in &user.groups {
        headers.append(GROUP, value(group)?);
    }
    for (key, values) in &user.extra {
        let name = format!("{EXTRA_PREFIX}{}", utf8_percent_encode(key, NOT_IN_NAMES));
        let name = HeaderName::try_from(name).map_err(Error::internal)?;
        for text in values {
            headers.append(name.clone(), value(text)?);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let user_of = |name: &str, groups: &[&str], extra: &[(&str, &[&str])]| User {
            name: name.to_owned(),
            uid: "u-1".to_owned(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            extra: extra
                .iter()
                .map(|(key, values)| ((*key).to_owned(), values.iter().map(|v| (*v).to_owned()).collect()))
                .collect::<BTreeMap<_, _>>(),
        };
        let known = user_of(
            "ann",
            &["a", "system:authenticated"],
            &[("authentication.kubernetes.io/credential-id", &["X509SHA256=0"]), ("a%b", &["1", "2"])],
        );
        let mut headers = HeaderMap::new();
        write(&mut headers, &known).unwrap();
        assert!(headers.keys().all(is_about_user));
        assert_eq!(headers["x-remote-extra-authentication.kubernetes.io%2fcredential-id"], "X509SHA256=0");
        assert_eq!(user(&headers).as_deref(), Some(&known));
        let mut plain = HeaderMap::new();
        write(&mut plain, &user_of("bob", &[], &[])).unwrap();
        assert_eq!(user(&plain).unwrap().groups, ["system:authenticated"]);
        assert!(write(&mut plain, &user_of("a\nb", &[], &[])).is_err());
        assert_eq!(user(&HeaderMap::new()), None);
    }
}
