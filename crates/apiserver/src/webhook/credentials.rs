//! [`Credentials`]: as whom webhooks are called, by their hosts: the users of a kubeconfig whose names are hosts.
//! Upstream: `k8s.io/apiserver/pkg/util/webhook/authentication.go`.

use std::fmt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use kube::config::{AuthInfo, Kubeconfig};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::ExposeSecret;

use super::callee::Callee;
use super::trust::Identity;

/// A user. Never shown.
pub(crate) struct User {
    /// The value of the `Authorization` header.
    pub authorization: Option<HeaderValue>,
    /// The certificate to come with.
    pub identity: Option<Identity>,
}

/// See the module's documentation.
pub struct Credentials {
    users: Vec<(String, User)>,
    /// The user of the current context, for whoever no name is for.
    current: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.users.iter().map(|(host, _)| host)).finish()
    }
}

impl Credentials {
    /// Reads a kubeconfig.
    ///
    /// # Errors
    /// Why the file cannot be used.
    pub fn read(file: &Path) -> Result<Self, String> {
        let wrong = |why: String| format!("{}: {why}", file.display());
        let kubeconfig = Kubeconfig::read_from(file).map_err(|error| wrong(error.to_string()))?;
        let current = kubeconfig.current_context.as_ref().and_then(|name| {
            let context = kubeconfig.contexts.iter().find(|context| context.name == *name)?;
            context.context.as_ref()?.user.clone()
        });
        let mut users = Vec::new();
        for named in kubeconfig.auth_infos {
            let user = User::read(&named.auth_info.unwrap_or_default());
            let user = user.map_err(|why| wrong(format!("user {:?}: {why}", named.name)))?;
            users.push((named.name, user));
        }
        Ok(Self { users, current })
    }

    /// As whom a webhook is called; `None` for nobody.
    pub(crate) fn of(&self, callee: &Callee) -> Option<&User> {
        let named = |name: &str| self.users.iter().find(|(known, _)| known == name).map(|(_, user)| user);
        let origin = callee.origin.trim_start_matches("https://");
        // The usual port of a Service need not be named.
        if callee.service.is_some()
            && callee.port == 443
            && let Some(user) = named(&callee.host)
        {
            return Some(user);
        }
        if let Some(user) = named(origin) {
            return Some(user);
        }
        let mut rest = origin;
        while let Some((_, after)) = rest.split_once('.') {
            if let Some(user) = named(&format!("*.{after}")) {
                return Some(user);
            }
            rest = after;
        }
        named("*").or_else(|| named(self.current.as_deref()?))
    }
}

impl User {
    fn read(info: &AuthInfo) -> Result<Self, String> {
        if info.exec.is_some() || info.auth_provider.is_some() {
            return Err("programs and providers of credentials are not asked".to_owned());
        }
        let token = match (&info.token, &info.token_file) {
            (Some(token), _) => Some(token.expose_secret().to_owned()),
            (None, Some(file)) => {
                let read = std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
                Some(read.trim().to_owned())
            }
            (None, None) => None,
        };
        let written = match (token, &info.username) {
            (Some(token), _) => Some(format!("Bearer {token}")),
            (None, Some(name)) => {
                let password = info.password.as_ref().map_or("", |password| password.expose_secret());
                Some(format!("Basic {}", STANDARD.encode(format!("{name}:{password}"))))
            }
            (None, None) => None,
        };
        let authorization = written
            .map(|written| {
                let mut value = HeaderValue::from_str(&written)
                    .map_err(|_| "a token that no header can hold".to_owned())?;
                value.set_sensitive(true);
                Ok::<_, String>(value)
            })
            .transpose()?;
        let data = info.client_key_data.as_ref().map(|data| data.expose_secret().to_owned());
        let chain = pem(info.client_certificate_data.as_deref(), info.client_certificate.as_deref())?;
        let key = pem(data.as_deref(), info.client_key.as_deref())?;
        let identity = match (chain, key) {
            (None, None) => None,
            (Some(chain), Some(key)) => Some(identity(&chain, &key)?),
            _ => return Err("a client certificate and its key go together".to_owned()),
        };
        Ok(Self { authorization, identity })
    }
}

/// What is given in base64, or in a file.
fn pem(data: Option<&str>, file: Option<&str>) -> Result<Option<Vec<u8>>, String> {
    match (data, file) {
        (Some(data), _) => STANDARD.decode(data).map(Some).map_err(|error| format!("no base64: {error}")),
        (None, Some(file)) => std::fs::read(file).map(Some).map_err(|error| format!("{file}: {error}")),
        (None, None) => Ok(None),
    }
}

fn identity(chain: &[u8], key: &[u8]) -> Result<Identity, String> {
    let chain = CertificateDer::pem_slice_iter(chain).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| format!("the certificate cannot be read: {error}"))?;
    let key =
        PrivateKeyDer::from_pem_slice(key).map_err(|error| format!("the key cannot be read: {error}"))?;
    Ok(Identity { chain, key })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(users: &str, current: &str) -> Result<Credentials, String> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: {current}\ncontexts: [{{name: c, context: {{cluster: x, user: usual}}}}]\nusers: {users}\n"
        );
        std::fs::write(file.path(), text).expect("written");
        Credentials::read(file.path())
    }

    fn token(credentials: &Credentials, client: serde_json::Value) -> Option<String> {
        let callee = Callee::read(&client).expect("a callee");
        let value = credentials.of(&callee)?.authorization.as_ref()?;
        Some(value.to_str().expect("text").to_owned())
    }

    #[test]
    fn users_are_found_by_host() {
        let users = "[{name: hook.ns.svc, user: {token: a}}, {name: '*.example.com', user: {username: u, password: p}}, \
                     {name: 'hook.ns.svc:8443', user: {token: b}}, {name: usual, user: {token: c}}]";
        let credentials = read(users, "c").expect("read");
        let service = |port: u16| json!({"service": {"namespace": "ns", "name": "hook", "port": port}});
        assert_eq!(token(&credentials, service(443)).as_deref(), Some("Bearer a"));
        assert_eq!(token(&credentials, service(8443)).as_deref(), Some("Bearer b"));
        let url = |url: &str| json!({"url": url});
        assert_eq!(token(&credentials, url("https://a.b.example.com/x")).as_deref(), Some("Basic dTpw"));
        assert_eq!(token(&credentials, url("https://other.org")).as_deref(), Some("Bearer c"));
        let alone = read("[{name: '*', user: {token: d}}]", "''").expect("read");
        assert_eq!(token(&alone, url("https://other.org")).as_deref(), Some("Bearer d"));
        let nobody = read("[{name: x, user: {token: d}}]", "''").expect("read");
        assert_eq!(token(&nobody, url("https://other.org")), None);
        assert!(!format!("{credentials:?}").contains("Bearer"));
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        let wrong = |user: &str| read(&format!("[{{name: x, user: {user}}}]"), "''").expect_err("refused");
        assert!(wrong("{exec: {command: c, apiVersion: v1}}").contains("not asked"));
        assert!(wrong("{client-certificate-data: YQ==}").contains("go together"));
        assert!(wrong("{tokenFile: /nowhere/at/all}").contains("/nowhere/at/all"));
    }
}
