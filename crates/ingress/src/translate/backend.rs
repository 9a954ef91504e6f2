//! [`Backend`]: what a rule of an Ingress leads to, and how it is spoken to.

use std::sync::Arc;

use informer::Key;
use k8s_openapi::api::networking::v1::IngressBackend;

use super::manner::Manner;

/// The annotation of an Ingress that says how all its backends are spoken to: `HTTP`, `HTTPS`, `H2C`, `GRPC` or `GRPCS`.
pub const PROTOCOL_ANNOTATION: &str = "ingress.knarr.dev/backend-protocol";

/// How a backend is spoken to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Wire {
    /// Over TLS; the backend's certificate is not checked.
    pub tls: bool,
    /// HTTP/2 at once, not HTTP/1.1.
    pub h2: bool,
}

impl Wire {
    /// `None` for a word that is not known.
    pub fn of_annotation(word: &str) -> Option<Self> {
        match word.to_ascii_uppercase().as_str() {
            "HTTP" => Some(Self { tls: false, h2: false }),
            "HTTPS" => Some(Self { tls: true, h2: false }),
            "H2C" | "GRPC" => Some(Self { tls: false, h2: true }),
            "GRPCS" => Some(Self { tls: true, h2: true }),
            _ => None,
        }
    }

    /// Of the `appProtocol` of a Service's port; what is not known is plain HTTP/1.1.
    pub fn of_app_protocol(protocol: Option<&str>) -> Self {
        match protocol.unwrap_or("").to_ascii_lowercase().as_str() {
            "https" | "kubernetes.io/wss" => Self { tls: true, h2: false },
            "kubernetes.io/h2c" | "h2c" | "grpc" => Self { tls: false, h2: true },
            "grpcs" => Self { tls: true, h2: true },
            _ => Self::default(),
        }
    }
}

/// A port of a Service, by number or by name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Port {
    Number(i32),
    Name(Arc<str>),
}

/// A port of a Service as a rule names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceBackend {
    pub service: Key,
    pub port: Port,
    /// How it is spoken to, where the Ingress says so; else the Service does.
    pub wire: Option<Wire>,
    pub manner: Manner,
}

/// What a rule of an Ingress leads to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Backend {
    Service(ServiceBackend),
    /// A custom resource, by its kind and name: no kind is known here.
    Resource(Arc<str>),
}

impl Backend {
    pub(super) fn of(namespace: &str, backend: &IngressBackend, wire: Option<Wire>, manner: Manner) -> Self {
        let Some(service) = &backend.service else {
            let of = backend.resource.as_ref();
            let text = of.map(|of| format!("{} {}", of.kind, of.name)).unwrap_or_default();
            return Self::Resource(text.into());
        };
        let port = service.port.as_ref();
        let name = port.and_then(|port| port.name.as_deref()).filter(|name| !name.is_empty());
        let number = || Port::Number(port.and_then(|port| port.number).unwrap_or(0));
        let port = name.map_or_else(number, |name| Port::Name(name.into()));
        Self::Service(ServiceBackend { service: Key::new(namespace, &service.name), port, wire, manner })
    }

    /// How requests are treated that go there.
    pub fn manner(&self) -> Manner {
        match self {
            Self::Service(backend) => backend.manner,
            Self::Resource(_) => Manner::default(),
        }
    }
}
