//! What an Ingress asks for and does not get, for its events.

use std::collections::BTreeSet;
use std::sync::Arc;

use informer::Key;
use k8s_openapi::api::core::v1::Service;

use super::backend::{Backend, PROTOCOL_ANNOTATION, Port, Wire};
use super::endpoints::{self, Lack};
use super::{CLASS_ANNOTATION, Claim, IngressView, manner};
use crate::router::PathMatch;

/// Annotations of other Ingress controllers, which change there what an Ingress does.
const FOREIGN: [&str; 9] = [
    "nginx.ingress.kubernetes.io/",
    "nginx.org/",
    "traefik.ingress.kubernetes.io/",
    "haproxy.org/",
    "haproxy-ingress.github.io/",
    "projectcontour.io/",
    "konghq.com/",
    "alb.ingress.kubernetes.io/",
    "ingress.kubernetes.io/",
];
const OWN: &str = "ingress.knarr.dev/";

/// Something that an Ingress asks for and does not get, in the words of an event.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    pub reason: &'static str,
    pub message: String,
}

/// All that an Ingress does not get. `certificate` says what is wrong with a Secret for TLS.
pub fn problems(
    namespace: &str,
    view: &IngressView,
    service: impl Fn(&Key) -> Option<Arc<Service>>,
    certificate: impl Fn(&Key) -> Result<(), String>,
) -> BTreeSet<Problem> {
    let mut found: BTreeSet<Problem> =
        view.backends(namespace).filter_map(|one| of_backend(&one, &service)).collect();
    found.extend(of_annotations(view));
    for tls in view.spec.tls.iter().flatten() {
        let Some(secret) = tls.secret_name.as_deref().filter(|name| !name.is_empty()) else { continue };
        if let Err(why) = certificate(&Key::new(namespace, secret)) {
            let message = format!(
                "Secret \"{namespace}/{secret}\" cannot be used for TLS: {why}; the fallback certificate is shown"
            );
            found.insert(Problem { reason: "BadCertificate", message });
        }
    }
    found
}

/// The paths of an Ingress that older ones have, each with the older one.
pub fn conflict(lost: &[(Claim, Key)]) -> Option<Problem> {
    let (Claim { host, path }, owner) = lost.first()?;
    let (PathMatch::Exact(path) | PathMatch::Prefix(path)) = path;
    let more = match lost.len() - 1 {
        0 => String::new(),
        more => format!(", and {more} more of this Ingress' paths are others'"),
    };
    let message = format!("host \"{host}\" and path \"{path}\" is already defined in ingress {owner}{more}");
    Some(Problem { reason: "PathConflict", message })
}

fn of_backend(backend: &Backend, service: &impl Fn(&Key) -> Option<Arc<Service>>) -> Option<Problem> {
    let backend = match backend {
        Backend::Service(backend) => backend,
        Backend::Resource(of) => {
            let message = format!("Backend \"{of}\": {}", Lack::Resource);
            return Some(Problem { reason: "UnsupportedBackend", message });
        }
    };
    let lack = endpoints::port(backend, service(&backend.service).as_deref()).err()?;
    let reason = match lack {
        Lack::External | Lack::Resource => "UnsupportedBackend",
        Lack::Service | Lack::Port | Lack::Ready => "BackendNotFound",
    };
    let port = match &backend.port {
        Port::Number(number) => number.to_string(),
        Port::Name(name) => name.to_string(),
    };
    Some(Problem { reason, message: format!("Backend \"{}:{port}\": {lack}", backend.service) })
}

fn of_annotations(view: &IngressView) -> Option<Problem> {
    let names = view.metadata.annotations.iter().flatten().filter(|(name, value)| {
        let is_known = match name.as_str() {
            PROTOCOL_ANNOTATION => Wire::of_annotation(value).is_some(),
            CLASS_ANNOTATION => true,
            name => manner::is_understood(name, value)
                .unwrap_or_else(|| !FOREIGN.iter().chain([&OWN]).any(|prefix| name.starts_with(prefix))),
        };
        !is_known
    });
    let names: Vec<&str> = names.map(|(name, _)| name.as_str()).collect();
    let message = || format!("These annotations are not supported and change nothing: {}", names.join(", "));
    (!names.is_empty()).then(|| Problem { reason: "UnsupportedAnnotation", message: message() })
}
