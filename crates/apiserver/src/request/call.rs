//! A request inside the server ([`Call`]) and the other end of its connection ([`Peer`]). Plain data, filled and read
//! by `pipeline`.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use api::selector::{FieldSelector, LabelSelector, Operator, Requirement};
use http::HeaderMap;
use hyper::upgrade::OnUpgrade;
use rustls::pki_types::CertificateDer;

use crate::body::RequestBody;
use crate::request::path::RequestInfo;
use crate::request::query::Query;
use crate::request::{Attributes, Notes, User};

/// What begins the WebSocket protocol that stands for a bearer token.
pub(crate) const TOKEN_PROTOCOL: &str = "base64url.bearer.authorization.k8s.io.";

/// The certificate a client showed at the handshake.
pub(crate) enum Certificate {
    Absent,
    Verified(CertificateDer<'static>),
    /// A front proxy's: its requests name their user in headers.
    FrontProxy,
    /// There is one, but no trusted CA signed it (or it is not valid now).
    Rejected,
}

/// The other end of a connection, the same for all its requests.
pub(crate) struct Peer {
    pub address: Option<SocketAddr>,
    pub certificate: Certificate,
    /// The identity of an in-process caller.
    pub fixed: Option<Arc<User>>,
    /// Whom the certificate stands for: found out once a connection.
    pub by_certificate: OnceLock<Arc<User>>,
}

impl Peer {
    pub(crate) fn remote(address: SocketAddr, certificate: Certificate) -> Self {
        Self { address: Some(address), certificate, fixed: None, by_certificate: OnceLock::new() }
    }

    pub(crate) fn in_process(user: Arc<User>) -> Self {
        Self {
            address: None,
            certificate: Certificate::Absent,
            fixed: Some(user),
            by_certificate: OnceLock::new(),
        }
    }
}

/// A request on its way through the pipeline.
pub(crate) struct Call {
    pub info: RequestInfo,
    pub method: http::Method,
    /// Path and query as they came.
    pub uri: http::Uri,
    pub query: Query,
    pub headers: HeaderMap,
    pub user: Arc<User>,
    /// Taken once. Behind a lock only because bodies may not be shared between threads.
    pub body: Mutex<RequestBody>,
    /// There when the client's connection can be turned into a raw stream.
    pub upgrade: Option<OnUpgrade>,
    pub peer: Option<SocketAddr>,
    /// What is said about the request beside its answer.
    pub notes: Notes,
}

impl Call {
    /// The request's body; empty when it was taken before.
    pub(crate) fn take_body(&mut self) -> RequestBody {
        std::mem::take(self.body.get_mut().unwrap_or_else(PoisonError::into_inner))
    }

    /// What the request asks for, in the terms of authorization.
    pub(crate) fn attributes(&self) -> Attributes {
        let info = &self.info;
        Attributes {
            user: Arc::clone(&self.user),
            verb: self.authorization_verb().to_owned(),
            is_resource: info.is_resource,
            group: info.group.clone(),
            version: info.version.clone(),
            resource: info.resource.clone(),
            subresource: info.subresource.clone(),
            namespace: info.namespace.clone(),
            name: info.name.clone(),
            field_selector: self.field_selector(),
            label_selector: self.label_selector(),
            path: info.path.clone(),
            notes: self.notes.clone(),
        }
    }

    /// What a list, a watch or the deletion of a collection asks for by equality. One that cannot be parsed is refused later, by its handler.
    fn field_selector(&self) -> Vec<(String, String)> {
        let text = match self.info.verb {
            "list" | "watch" | "deletecollection" => self.query.non_empty("fieldSelector"),
            _ => None,
        };
        let selector = text.and_then(|text| FieldSelector::parse(text).ok()).unwrap_or_default();
        selector
            .requirements()
            .iter()
            .filter(|r| !r.negated)
            .map(|r| (r.field.clone(), r.value.clone()))
            .collect()
    }

    /// The same for labels.
    fn label_selector(&self) -> Vec<(String, String)> {
        let text = match self.info.verb {
            "list" | "watch" | "deletecollection" => self.query.non_empty("labelSelector"),
            _ => None,
        };
        let selector = text.and_then(|text| LabelSelector::parse(text).ok());
        let requirements = selector.iter().flat_map(LabelSelector::requirements);
        let equal = |requirement: &Requirement| match (requirement.operator(), requirement.values()) {
            (Operator::Equals | Operator::In, [only]) => Some((requirement.key().to_owned(), only.clone())),
            _ => None,
        };
        requirements.filter_map(equal).collect()
    }

    /// Opening a stream into a pod is a change even when a WebSocket client has to say GET: upstream asks
    /// for `create` since 1.35 (KEP-2862 companion fix, `AuthorizePodWebsocketUpgradeCreatePermission`).
    fn authorization_verb(&self) -> &'static str {
        let info = &self.info;
        let streams = matches!(info.subresource.as_str(), "exec" | "attach" | "portforward");
        if info.verb == "get" && streams && info.group.is_empty() && info.resource == "pods" {
            return "create";
        }
        info.verb
    }
}
