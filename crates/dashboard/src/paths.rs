//! Which paths of the API server are passed on.
//!
//! Not the proxies to pods, Services and nodes: what they answer comes from whoever wrote the pod, and would be a
//! page of the dashboard's own origin, with its session.

use percent_encoding::percent_decode_str;

/// What begins a path whose response is wanted as a Table: a browser's WebSocket cannot say what it accepts.
pub const TABLE_PREFIX: &str = "/table";

/// More than the longest path of the API has, with its query.
const LIMIT_BYTES: usize = 16 << 10;

/// A path of the API.
#[derive(Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// The path with its query, as the API server is to see it.
    pub path_and_query: &'a str,
    pub as_table: bool,
}

/// The path of the API that is meant; none where nothing may be passed on.
pub fn target(path_and_query: &str) -> Option<Target<'_>> {
    let table = path_and_query.strip_prefix(TABLE_PREFIX).filter(|rest| rest.starts_with('/'));
    let (as_table, path_and_query) = (table.is_some(), table.unwrap_or(path_and_query));
    let path = path_and_query.split('?').next().unwrap_or_default();
    if path_and_query.len() > LIMIT_BYTES {
        return None;
    }
    let segments: Option<Vec<String>> = path.strip_prefix('/')?.split('/').map(segment).collect();
    let segments = segments?;
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    is_passed_on(&segments).then_some(Target { path_and_query, as_table })
}

/// A segment as it is meant; none where it could be taken for another path than it looks like.
fn segment(raw: &str) -> Option<String> {
    let text = percent_decode_str(raw).decode_utf8().ok()?;
    let is_plain = !text.is_empty()
        && !matches!(&*text, "." | "..")
        && !text.contains(|c: char| matches!(c, '/' | '\\' | '?' | '#' | '%') || c.is_control());
    is_plain.then(|| text.into_owned())
}

fn is_passed_on(segments: &[&str]) -> bool {
    match segments {
        ["version"] => true,
        ["openapi", "v2"] | ["openapi", "v3", ..] => true,
        ["api"] | ["apis"] | ["apis", _] => true,
        ["api", _version, rest @ ..] | ["apis", _, _version, rest @ ..] => !is_proxy(rest),
        _ => false,
    }
}

/// Whether what follows the version is a proxy to somebody else's content.
fn is_proxy(rest: &[&str]) -> bool {
    match rest {
        ["proxy", ..] => true,
        // Old paths of watches, whose next segments are read like any.
        ["watch", rest @ ..] => is_proxy(rest),
        ["namespaces", _, _, _, subresource, ..] => *subresource == "proxy",
        ["namespaces", ..] => false,
        [_, _, subresource, ..] => *subresource == "proxy",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(path: &str) -> bool {
        target(path).is_some()
    }

    #[test]
    fn the_api_is_passed_on() {
        for path in [
            "/version",
            "/api",
            "/apis",
            "/apis/apps",
            "/api/v1",
            "/api/v1/namespaces/proxy/pods/proxy/log?follow=true&container=a",
            "/apis/apps/v1/namespaces/a/deployments/proxy",
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode",
            "/api/v1/nodes/proxy",
            "/openapi/v3/apis/apps/v1",
        ] {
            assert!(passed(path), "{path}");
        }
    }

    #[test]
    fn what_others_wrote_is_not_passed_on() {
        for path in [
            "/api/v1/namespaces/a/pods/b/proxy",
            "/api/v1/namespaces/a/pods/b/proxy/index.html",
            "/api/v1/namespaces/a/services/https:b:443/proxy/",
            "/api/v1/namespaces/a/pods/b/%70roxy/x",
            "/api/v1/nodes/n/proxy/logs",
            "/api/v1/proxy/namespaces/a/pods/b",
            "/api/v1/watch/proxy/x",
            "/apis/a.example/v1/namespaces/a/things/b/proxy",
        ] {
            assert!(!passed(path), "{path}");
        }
    }

    #[test]
    fn no_path_is_taken_for_another() {
        for path in [
            "/api/../metrics",
            "/api/v1/%2e%2e/%2e%2e/metrics",
            "/api/v1/namespaces/a/pods/b%2fproxy",
            "/api/v1/namespaces/a/pods/b/%252e%252e",
            "/api/v1//nodes/n/proxy",
            "/api/v1/nodes\\n",
            "/api/v1/nodes/a%00b",
            "/api/v1/nodes/a%0d%0aX-Remote-User:%20root",
            "/metrics",
            "/logs/",
            "/debug/pprof/",
            "/tables/api/v1/pods",
            "api/v1/pods",
        ] {
            assert!(!passed(path), "{path}");
        }
    }

    #[test]
    fn a_table_is_asked_for_by_a_prefix() {
        let expected = Target { path_and_query: "/api/v1/pods?watch=true", as_table: true };
        assert_eq!(target("/table/api/v1/pods?watch=true"), Some(expected));
        assert_eq!(target("/table/table/api/v1/pods"), None);
    }
}
