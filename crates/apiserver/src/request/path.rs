//! What a method and a path ask for ([`RequestInfo`]), read as upstream reads them
//! (`k8s.io/apiserver/pkg/endpoints/request/requestinfo.go`). Pure; knows no kinds besides the one
//! path rule that `/namespaces/NAME` is both a prefix and a resource.

use std::borrow::Cow;

use http::Method;
use percent_encoding::percent_decode_str;

use crate::request::query::Query;

/// A request's target in the terms of the API. All fields may be empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestInfo {
    pub is_resource: bool,
    /// API verb, or the lower-case method for paths that are no resource.
    pub verb: &'static str,
    pub group: String,
    pub version: String,
    pub namespace: String,
    pub resource: String,
    pub subresource: String,
    pub name: String,
    /// What follows the subresource (a proxied path).
    pub rest: String,
    /// The decoded path.
    pub path: String,
}

impl RequestInfo {
    /// Reads method, path (still percent-encoded) and query.
    ///
    /// # Errors
    /// When the path is not UTF-8 after decoding.
    pub fn parse(method: &Method, raw_path: &str, query: &Query) -> Result<Self, api::Error> {
        let path: Cow<'_, str> = percent_decode_str(raw_path)
            .decode_utf8()
            .map_err(|_| api::Error::bad_request("the request path is not valid UTF-8"))?;
        let mut info = Self { verb: method_name(method), path: path.clone().into_owned(), ..Self::default() };
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let rest = match parts.as_slice() {
            ["api", version, rest @ ..] if !rest.is_empty() => {
                info.version = (*version).to_owned();
                rest
            }
            ["apis", group, version, rest @ ..] if !rest.is_empty() => {
                info.group = (*group).to_owned();
                info.version = (*version).to_owned();
                rest
            }
            _ => return Ok(info),
        };
        info.is_resource = true;
        info.verb = resource_verb(method);
        info.read_resource(rest, query);
        Ok(info)
    }

    fn read_resource(&mut self, mut parts: &[&str], query: &Query) {
        let mut special = false;
        if let [verb @ ("watch" | "proxy"), rest @ ..] = parts {
            self.verb = if *verb == "watch" { "watch" } else { "proxy" };
            special = true;
            parts = rest;
        }
        if let ["namespaces", namespace, rest @ ..] = parts {
            self.namespace = (*namespace).to_owned();
            if let [next, ..] = rest
                && !matches!(*next, "status" | "finalize")
            {
                parts = rest;
            }
        }
        if let [resource, rest @ ..] = parts {
            self.resource = (*resource).to_owned();
            if let [name, rest @ ..] = rest {
                self.name = (*name).to_owned();
                if let [subresource, rest @ ..] = rest {
                    self.subresource = (*subresource).to_owned();
                    self.rest = rest.join("/");
                }
            }
        }
        if self.name.is_empty() && !special {
            self.verb = match self.verb {
                "get" if query.flag("watch") => "watch",
                "get" => "list",
                "delete" => "deletecollection",
                other => other,
            };
        }
        if self.name.is_empty()
            && matches!(self.verb, "list" | "watch" | "deletecollection")
            && let Some(name) = named_by_selector(query)
        {
            self.name = name;
        }
    }

    /// Whether the request may rightly take as long as it wants.
    pub fn long_running(&self) -> bool {
        if !self.is_resource {
            return false;
        }
        matches!(self.verb, "watch" | "proxy")
            || matches!(self.subresource.as_str(), "attach" | "exec" | "log" | "portforward" | "proxy")
    }

    /// Whether the request changes nothing.
    pub fn read_only(&self) -> bool {
        matches!(self.verb, "get" | "list" | "watch" | "head" | "options")
    }
}

/// The object whose name a selector asks for; authorization by name applies to it.
fn named_by_selector(query: &Query) -> Option<String> {
    let selector = query.get("fieldSelector")?;
    // All of its terms hold for what it selects. An escaped comma is part of a value, which may look like a term.
    let mut terms = (!selector.contains('\\')).then_some(selector)?.split(',');
    let name = terms.find_map(|term| term.strip_prefix("metadata.name="))?;
    let name = name.strip_prefix('=').unwrap_or(name);
    (!name.is_empty() && !name.contains(['/', '%'])).then(|| name.to_owned())
}

fn resource_verb(method: &Method) -> &'static str {
    match *method {
        Method::POST => "create",
        Method::GET | Method::HEAD => "get",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => method_name(method),
    }
}

fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "get",
        Method::HEAD => "head",
        Method::POST => "post",
        Method::PUT => "put",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        Method::OPTIONS => "options",
        Method::CONNECT => "connect",
        Method::TRACE => "trace",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(method: Method, url: &str, expect: &str) {
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        let i = RequestInfo::parse(&method, path, &Query::parse(query)).unwrap();
        let got = format!(
            "{} {}/{} ns={} {}/{}/{} rest={}",
            i.verb, i.group, i.version, i.namespace, i.resource, i.name, i.subresource, i.rest
        );
        assert_eq!(got, expect, "{url}");
    }

    #[test]
    fn paths_read_as_upstream() {
        let get = Method::GET;
        check(get.clone(), "/api/v1/pods", "list /v1 ns= pods// rest=");
        check(get.clone(), "/api/v1/namespaces", "list /v1 ns= namespaces// rest=");
        check(get.clone(), "/api/v1/namespaces/a", "get /v1 ns=a namespaces/a/ rest=");
        check(Method::PUT, "/api/v1/namespaces/a/finalize", "update /v1 ns=a namespaces/a/finalize rest=");
        check(get.clone(), "/api/v1/namespaces/a/pods/b", "get /v1 ns=a pods/b/ rest=");
        check(
            get.clone(),
            "/apis/apps/v1/namespaces/a/deployments?watch=1",
            "watch apps/v1 ns=a deployments// rest=",
        );
        check(get.clone(), "/api/v1/watch/namespaces/a/pods/b", "watch /v1 ns=a pods/b/ rest=");
        check(get.clone(), "/api/v1/watch/pods", "watch /v1 ns= pods// rest=");
        check(Method::DELETE, "/api/v1/namespaces/a/pods", "deletecollection /v1 ns=a pods// rest=");
        check(Method::POST, "/api/v1/namespaces/a/pods/b/exec", "create /v1 ns=a pods/b/exec rest=");
        check(get.clone(), "/api/v1/nodes/n/proxy/a/b%20c", "get /v1 ns= nodes/n/proxy rest=a/b c");
        check(get.clone(), "/api/v1/pods?fieldSelector=metadata.name%3Db", "list /v1 ns= pods/b/ rest=");
        let both = "/api/v1/pods?fieldSelector=metadata.namespace%3Da%2Cmetadata.name%3D%3Db";
        check(get.clone(), both, "list /v1 ns= pods/b/ rest=");
        check(get.clone(), "/api/v1/pods?fieldSelector=metadata.name!%3Db", "list /v1 ns= pods// rest=");
        let value = "/api/v1/pods?fieldSelector=metadata.namespace!%3Dx%5C%2Cmetadata.name%3Db";
        check(get.clone(), value, "list /v1 ns= pods// rest=");
        check(get.clone(), "/apis/apps/v1", "get / ns= // rest=");
        check(Method::POST, "/version", "post / ns= // rest=");
    }

    #[test]
    fn long_running_requests_are_known() {
        let info = |url: &str| {
            let (path, query) = url.split_once('?').unwrap_or((url, ""));
            RequestInfo::parse(&Method::GET, path, &Query::parse(query)).unwrap()
        };
        assert!(info("/api/v1/pods?watch=true").long_running());
        assert!(info("/api/v1/namespaces/a/pods/b/log").long_running());
        assert!(!info("/api/v1/pods").long_running());
    }

    proptest! {
        #[test]
        fn any_path_is_read_or_refused(
            path in "(/(api|apis|v1|namespaces|pods|watch|proxy|status|[a-z.]{0,4}|%[0-9a-f]{2}|\\PC{0,3})){0,9}",
            query in "[a-z=&.%]{0,20}",
        ) {
            for method in [Method::GET, Method::POST, Method::DELETE] {
                if let Ok(info) = RequestInfo::parse(&method, &path, &Query::parse(&query)) {
                    prop_assert!(info.is_resource || info.resource.is_empty() && info.namespace.is_empty());
                    prop_assert!(!info.verb.is_empty());
                }
            }
        }
    }
}
