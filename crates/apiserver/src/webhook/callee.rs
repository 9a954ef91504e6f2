//! [`Callee`]: where a webhook is, out of a `clientConfig`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Uri;
use serde_json::Value;

/// A webhook's address and whom it is known by. Equal ones share connections.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Callee {
    /// `https://host[:port]` as messages have it.
    pub origin: String,
    /// With a slash at its beginning.
    pub path: String,
    /// The name that the certificate is for, and where to connect unless a Service says where.
    pub host: String,
    pub port: u16,
    pub service: Option<ServiceRef>,
    /// PEM; the machine's own authorities are trusted where it is empty.
    pub ca_bundle: Vec<u8>,
}

/// A port of a Service.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ServiceRef {
    pub namespace: String,
    pub name: String,
    pub port: u16,
}

impl Callee {
    /// Reads a `clientConfig`.
    ///
    /// # Errors
    /// What is wrong with it, in upstream's words.
    pub(crate) fn read(client: &Value) -> Result<Self, String> {
        let text = |value: &Value, key: &str| value[key].as_str().unwrap_or("").to_owned();
        let bundle = text(client, "caBundle");
        let ca_bundle =
            STANDARD.decode(bundle).map_err(|error| format!("the caBundle is no base64: {error}"))?;
        let service = &client["service"];
        if service.is_object() {
            let port = service["port"].as_u64().unwrap_or(443);
            let port = u16::try_from(port).map_err(|_| format!("port {port} is none"))?;
            let (namespace, name) = (text(service, "namespace"), text(service, "name"));
            let host = format!("{name}.{namespace}.svc");
            let origin = format!("https://{host}:{port}");
            let path = rooted(&text(service, "path"));
            let service = Some(ServiceRef { namespace, name, port });
            return Ok(Self { origin, path, host, port, service, ca_bundle });
        }
        let url = text(client, "url");
        if url.is_empty() {
            return Err("webhook configuration must have either service or URL".to_owned());
        }
        let uri: Uri = url.parse().map_err(|error| format!("Unparsable URL: {error}"))?;
        let authority = uri.authority().ok_or_else(|| format!("Unparsable URL: {url:?} has no host"))?;
        Ok(Self {
            origin: format!("https://{authority}"),
            path: rooted(uri.path()),
            host: authority.host().trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: authority.port_u16().unwrap_or(443),
            service: None,
            ca_bundle,
        })
    }

    /// What is asked for, with the time limit told to the webhook.
    pub(super) fn url(&self, timeout_s: u64) -> String {
        format!("{}{}?timeout={timeout_s}s", self.origin, self.path)
    }
}

fn rooted(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn services_and_urls_are_read() {
        let service = json!({"service": {"namespace": "ns", "name": "hook", "path": "/a", "port": 8443}});
        let callee = Callee::read(&service).unwrap();
        assert_eq!(callee.url(10), "https://hook.ns.svc:8443/a?timeout=10s");
        assert_eq!((callee.host.as_str(), callee.port), ("hook.ns.svc", 8443));
        let callee = Callee::read(&json!({"url": "https://[::1]:9/x/y", "caBundle": "YQ=="})).unwrap();
        assert_eq!(callee.url(1), "https://[::1]:9/x/y?timeout=1s");
        assert_eq!((callee.host.as_str(), callee.port, callee.ca_bundle.as_slice()), ("::1", 9, &b"a"[..]));
        let callee = Callee::read(&json!({"url": "https://example.com"})).unwrap();
        assert_eq!((callee.url(1).as_str(), callee.port), ("https://example.com/?timeout=1s", 443));
        assert_eq!(
            Callee::read(&json!({})).unwrap_err(),
            "webhook configuration must have either service or URL"
        );
    }
}
