//! Who may use the node's API: what a request asks for, and the clients that need no review. Pure.
//!
//! [`reviews`](super::reviews) asks the API server about everybody else.

use http::Method;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::reviews::Identity;

/// The clients that are let in without asking the API server: its own, which has authorized the request already.
#[derive(Debug, Clone, Default)]
pub struct Trusted {
    /// Common names of certificates, such as the API server's kubelet client.
    pub users: Vec<String>,
}

impl Trusted {
    pub fn contains(&self, who: &Identity) -> bool {
        self.users.contains(&who.user)
    }
}

/// Reads the subject of a certificate in DER that the cluster's CA has signed; `None` when it names nobody.
pub fn of_certificate(der: &[u8]) -> Option<Identity> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let subject = certificate.subject();
    let user = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    let mut groups: Vec<String> =
        subject.iter_organization().filter_map(|o| o.as_str().ok()).map(str::to_owned).collect();
    groups.push("system:authenticated".to_owned());
    Some(Identity { user, groups, ..Identity::default() })
}

/// What a request needs, as parts of the resource `nodes`: one of them is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needed {
    pub verb: &'static str,
    pub subresources: &'static [&'static str],
}

/// What a request needs, by its method and the segments of its path.
pub fn needed(method: &Method, segments: &[&str]) -> Needed {
    let verb = match *method {
        Method::POST => "create",
        Method::GET => "get",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "",
    };
    let subresources: &[&str] = match segments.first().copied().unwrap_or_default() {
        "pods" | "runningpods" => &["pods", "proxy"],
        "healthz" => &["healthz", "proxy"],
        "configz" => &["configz", "proxy"],
        "statusz" => &["statusz", "proxy"],
        "stats" => &["stats"],
        "metrics" => &["metrics"],
        "logs" => &["log"],
        "checkpoint" => &["checkpoint"],
        _ => &["proxy"],
    };
    Needed { verb, subresources }
}

/// The token of an `Authorization` header with the scheme `Bearer`.
pub fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_need_what_upstream_asks_for() {
        let subresources = |path: &[&str]| needed(&Method::GET, path).subresources.join(",");
        assert_eq!(subresources(&["metrics", "cadvisor"]), "metrics");
        assert_eq!(subresources(&["stats", "summary"]), "stats");
        assert_eq!(subresources(&["logs", "syslog"]), "log");
        assert_eq!(subresources(&["runningpods", ""]), "pods,proxy");
        assert_eq!(subresources(&["exec", "ns", "p", "c"]), "proxy");
        assert_eq!(subresources(&["metricsx"]), "proxy");
        assert_eq!(needed(&Method::POST, &[]).verb, "create");
        assert_eq!(needed(&Method::HEAD, &[]).verb, "");
    }

    #[test]
    fn only_bearer_tokens_are_read() {
        assert_eq!(bearer("Bearer abc"), Some("abc"));
        assert_eq!(bearer("bearer  abc "), Some("abc"));
        assert_eq!(bearer("Basic abc"), None);
        assert_eq!(bearer("Bearer "), None);
        assert_eq!(bearer("abc"), None);
        assert_eq!(of_certificate(b"rubbish"), None);
    }
}
