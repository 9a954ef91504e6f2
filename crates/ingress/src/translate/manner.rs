//! [`Manner`]: how the requests of an Ingress are treated, by its annotations. Pure.
//!
//! What the annotations mean is what those of the same names after `nginx.ingress.kubernetes.io/` mean to ingress-nginx
//! (`docs/user-guide/nginx-configuration/annotations.md` there), but that nothing is redirected unless it is asked for.

use std::time::Duration;

use super::IngressView;
use crate::router::Pattern;

/// `true`: clients of the hosts that the Ingress has TLS for are sent from HTTP to HTTPS.
pub const SSL_REDIRECT: &str = "ingress.knarr.dev/ssl-redirect";
/// `true`: the same for all hosts of the Ingress: somebody else has the certificates.
pub const FORCE_SSL_REDIRECT: &str = "ingress.knarr.dev/force-ssl-redirect";
/// Seconds for a connection to an endpoint.
pub const CONNECT_TIMEOUT: &str = "ingress.knarr.dev/proxy-connect-timeout";
/// Seconds to the head of a response, and between two parts of its body.
pub const READ_TIMEOUT: &str = "ingress.knarr.dev/proxy-read-timeout";
/// Seconds for an endpoint to take more of a request.
pub const SEND_TIMEOUT: &str = "ingress.knarr.dev/proxy-send-timeout";

/// No annotation sets a time longer than a week.
const TIMEOUT_LIMIT_S: u64 = 7 * 24 * 3600;

/// How requests are treated; nothing where the proxy's own limits hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Manner {
    /// Clients that have come without TLS are sent to HTTPS.
    pub to_https: bool,
    pub connect: Option<Duration>,
    pub read: Option<Duration>,
    pub send: Option<Duration>,
}

/// Whether an annotation of these has a value that is understood; `None` for other annotations.
pub(super) fn is_understood(name: &str, value: &str) -> Option<bool> {
    match name {
        SSL_REDIRECT | FORCE_SSL_REDIRECT => Some(value.parse::<bool>().is_ok()),
        CONNECT_TIMEOUT | READ_TIMEOUT | SEND_TIMEOUT => Some(seconds(value).is_some()),
        _ => None,
    }
}

fn seconds(text: &str) -> Option<Duration> {
    let seconds = text.parse::<u64>().ok().filter(|seconds| (1..=TIMEOUT_LIMIT_S).contains(seconds))?;
    Some(Duration::from_secs(seconds))
}

impl IngressView {
    /// How requests for a host are treated; for `None`, those that no rule takes.
    pub(super) fn manner(&self, host: Option<&Pattern>) -> Manner {
        let is = |name| self.annotation(name) == Some("true");
        let time = |name| self.annotation(name).and_then(seconds);
        Manner {
            to_https: is(FORCE_SSL_REDIRECT) || is(SSL_REDIRECT) && self.has_tls(host),
            connect: time(CONNECT_TIMEOUT),
            read: time(READ_TIMEOUT),
            send: time(SEND_TIMEOUT),
        }
    }

    /// Whether the Ingress has TLS for all of a host.
    fn has_tls(&self, host: Option<&Pattern>) -> bool {
        self.spec.tls.iter().flatten().any(|tls| {
            let hosts = tls.hosts.as_deref().unwrap_or_default();
            hosts.is_empty()
                || host.is_some_and(|host| hosts.iter().any(|named| Pattern::parse(named).has(host)))
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn manner(annotations: Value, tls: Value, host: &str) -> Manner {
        let view = json!({"metadata": {"annotations": annotations}, "spec": {"tls": tls}});
        let view: IngressView = serde_json::from_value(view).expect("an Ingress");
        view.manner(Some(&Pattern::parse(host)))
    }

    #[test]
    fn redirects_are_for_hosts_with_tls_unless_they_are_forced() {
        let goes = |annotation: &str, tls: Value, host: &str| {
            manner(json!({annotation: "true"}), tls, host).to_https
        };
        let some = || json!([{"hosts": ["a.x", "*.y"], "secretName": "s"}]);
        assert!(
            goes(SSL_REDIRECT, some(), "A.x")
                && goes(SSL_REDIRECT, some(), "b.y")
                && goes(SSL_REDIRECT, some(), "*.y")
        );
        for without in ["b.x", "y", "c.b.y", "*.x", ""] {
            assert!(!goes(SSL_REDIRECT, some(), without), "{without}");
            assert!(
                goes(FORCE_SSL_REDIRECT, some(), without) && goes(FORCE_SSL_REDIRECT, json!(null), without)
            );
            assert!(goes(SSL_REDIRECT, json!([{"secretName": "s"}]), without), "an entry for all hosts");
        }
        assert!(!goes(SSL_REDIRECT, json!(null), "a.x"));
        assert_eq!(manner(json!({SSL_REDIRECT: "false"}), some(), "a.x"), Manner::default());
        assert_eq!(manner(json!(null), some(), "a.x"), Manner::default());
    }

    #[test]
    fn times_are_whole_seconds() {
        let all = json!({CONNECT_TIMEOUT: "5", READ_TIMEOUT: "3600", SEND_TIMEOUT: "0"});
        let told = manner(all, json!(null), "a");
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(told, Manner { to_https: false, connect: seconds(5), read: seconds(3600), send: None });
        for (value, is_right) in
            [("1", true), ("604800", true), ("604801", false), ("0", false), ("5s", false), ("", false)]
        {
            assert_eq!(is_understood(READ_TIMEOUT, value), Some(is_right), "{value}");
        }
        assert_eq!(is_understood(SSL_REDIRECT, "yes"), Some(false));
        assert_eq!(is_understood("ingress.knarr.dev/other", "1"), None);
    }
}
