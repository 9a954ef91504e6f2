//! Ingresses as rules of the router. Pure.
//!
//! Start with [`site`]: the rules of one host out of all Ingresses that name the host, the oldest first. [`backend`]
//! says which port of a Service a rule leads to, [`manner`] how its requests are treated, [`endpoints`] which addresses are
//! behind it, [`problems`] what an Ingress asks for and does not get.

pub mod backend;
pub mod endpoints;
pub mod manner;
pub mod problems;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use informer::{Cached, Key};
use jiff::Timestamp;
use k8s_openapi::api::networking::v1::{HTTPIngressPath, Ingress, IngressSpec};
use serde::Deserialize;

use crate::router::{Conditions, PathMatch, Pattern, Rule, Site, Split};
use backend::{Backend, PROTOCOL_ANNOTATION, Wire};
use manner::Manner;

/// The `spec.controller` of the classes that are served here.
pub const CONTROLLER: &str = "knarr.dev/ingress";
/// How an Ingress names its class where it is older than `spec.ingressClassName`.
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

/// What is read of an Ingress.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct IngressView {
    metadata: Annotated,
    pub spec: IngressSpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Annotated {
    annotations: Option<BTreeMap<String, String>>,
}

impl IngressView {
    /// The name of the class. The field counts before the annotation.
    pub fn class(&self) -> Option<&str> {
        self.spec.ingress_class_name.as_deref().or_else(|| self.annotation(CLASS_ANNOTATION))
    }

    fn annotation(&self, name: &str) -> Option<&str> {
        self.metadata.annotations.as_ref()?.get(name).map(String::as_str)
    }

    /// The hosts that the Ingress has rules for.
    pub fn hosts(&self) -> BTreeSet<Pattern> {
        let rules = self.spec.rules.iter().flatten();
        rules.map(|rule| Pattern::parse(rule.host.as_deref().unwrap_or(""))).collect()
    }

    /// How all backends of the Ingress are spoken to, where it says so in words that are known.
    fn wire(&self) -> Option<Wire> {
        Wire::of_annotation(self.annotation(PROTOCOL_ANNOTATION)?)
    }

    /// The backends of all rules, and the default one.
    pub fn backends<'v>(&'v self, namespace: &'v str) -> impl Iterator<Item = Backend> + 'v {
        let paths = self.spec.rules.iter().flatten().filter_map(|rule| rule.http.as_ref());
        let backends = paths.flat_map(|http| &http.paths).map(|path| &path.backend);
        let backends = backends.chain(&self.spec.default_backend);
        backends.map(move |backend| Backend::of(namespace, backend, self.wire(), Manner::default()))
    }

    /// What the Ingress claims: hosts with paths, of which an older Ingress may have some.
    pub fn claims(&self) -> BTreeSet<Claim> {
        let rules = self.spec.rules.iter().flatten();
        let claims = rules.flat_map(|rule| {
            let host = Pattern::parse(rule.host.as_deref().unwrap_or(""));
            let paths = rule.http.iter().flat_map(|http| &http.paths);
            paths.map(move |path| Claim { host: host.clone(), path: path_match(path) })
        });
        claims.collect()
    }
}

/// A path of a host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    pub host: Pattern,
    pub path: PathMatch,
}

/// The same for claims of the same requests.
impl std::fmt::Display for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.path {
            PathMatch::Exact(path) => write!(f, "{} = {path}", self.host),
            PathMatch::Prefix(path) => write!(f, "{} ~ {}", self.host, path.trim_end_matches('/')),
        }
    }
}

/// An Ingress among others.
#[derive(Debug, Clone)]
pub struct Source {
    pub key: Key,
    pub created: Option<Timestamp>,
    pub view: Arc<IngressView>,
}

impl Source {
    pub fn of(ingress: &Cached<Ingress>) -> Self {
        Self { key: ingress.key.clone(), created: ingress.created, view: ingress.view() }
    }

    /// The order in which Ingresses have a right to what several ask for.
    pub fn seniority(&self) -> (Option<Timestamp>, &Key) {
        (self.created, &self.key)
    }
}

/// Puts Ingresses into the order in which they have a right to what several ask for.
pub fn by_age(sources: &mut [Source]) {
    sources.sort_by(|a, b| a.seniority().cmp(&b.seniority()));
}

/// The rules of a host, out of the Ingresses that name the host, the oldest first. `None` where none has any.
pub fn site(host: &Pattern, sources: &[Source]) -> Option<Site<Backend>> {
    let mut site = Site::default();
    let mut is_named = false;
    for Source { key, view, .. } in sources {
        let manner = view.manner(Some(host));
        let rules = view.spec.rules.iter().flatten();
        let rules = rules.filter(|rule| Pattern::parse(rule.host.as_deref().unwrap_or("")) == *host);
        let mut is_of_source = false;
        for rule in rules {
            is_of_source = true;
            for path in rule.http.iter().flat_map(|http| &http.paths) {
                let backend = Backend::of(&key.namespace, &path.backend, view.wire(), manner);
                let rule = Rule {
                    path: path_match(path),
                    conditions: Conditions::default(),
                    to: Split::whole(backend),
                };
                if !site.add(rule) {
                    tracing::debug!(ingress = %key, ?host, path = path.path, "an older Ingress has the path");
                }
            }
        }
        is_named |= is_of_source;
        if let Some(default) = view.spec.default_backend.as_ref().filter(|_| is_of_source) {
            site.add_default(Split::whole(Backend::of(&key.namespace, default, view.wire(), manner)));
        }
    }
    is_named.then_some(site)
}

/// The backend of requests that no rule takes: of an Ingress without rules, or else of any; of several the oldest's.
pub fn default(sources: &[Source]) -> Option<Backend> {
    let with_default = |source: &&Source| source.view.spec.default_backend.is_some();
    let has_no_rules = |source: &&Source| source.view.spec.rules.as_ref().is_none_or(Vec::is_empty);
    let mut candidates = sources.iter().filter(with_default);
    let source = candidates.clone().find(has_no_rules).or_else(|| candidates.next())?;
    let backend = source.view.spec.default_backend.as_ref()?;
    Some(Backend::of(&source.key.namespace, backend, source.view.wire(), source.view.manner(None)))
}

/// `ImplementationSpecific` is a prefix here.
fn path_match(path: &HTTPIngressPath) -> PathMatch {
    let text = path.path.as_deref().unwrap_or("").into();
    if path.path_type == "Exact" { PathMatch::Exact(text) } else { PathMatch::Prefix(text) }
}
