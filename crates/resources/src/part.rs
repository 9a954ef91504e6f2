//! [`Part`]: a subresource of a row. The row says which parts there are and which [`PartHandler`] answers each; the
//! API server has one function for every handler.

use std::borrow::Cow;

use api::GroupVersionKind;

use crate::verb::Verb;

/// A subresource, as discovery lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// `status`, `scale`, `exec`, …
    pub name: Cow<'static, str>,
    /// The kind of a request's body or of its response.
    pub kind: GroupVersionKind,
    pub verbs: Vec<Verb>,
    pub handler: PartHandler,
}

impl Part {
    /// The verbs of parts that show or change something of an object.
    pub const OBJECT_VERBS: [Verb; 3] = [Verb::Get, Verb::Patch, Verb::Update];

    /// The `status` of objects of `kind`.
    pub fn status(kind: GroupVersionKind) -> Self {
        let verbs = Self::OBJECT_VERBS.to_vec();
        Self { name: "status".into(), kind, verbs, handler: PartHandler::Status }
    }

    /// The `scale` of objects that have their figures at `paths`.
    pub fn scale(paths: ScalePaths) -> Self {
        let kind = GroupVersionKind::new("autoscaling", "v1", "Scale");
        let verbs = Self::OBJECT_VERBS.to_vec();
        Self { name: "scale".into(), kind, verbs, handler: PartHandler::Scale(paths) }
    }
}

/// Where a scale subresource finds its figures: field paths inside the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScalePaths {
    pub spec_replicas: Vec<Cow<'static, str>>,
    pub status_replicas: Vec<Cow<'static, str>>,
    /// A label selector object, or (ReplicationController) a plain map of labels, or (custom resources) a selector's
    /// text. Empty where there is none.
    pub selector: Vec<Cow<'static, str>>,
}

impl ScalePaths {
    /// Where all built-in kinds have their figures.
    pub fn replicas() -> Self {
        let path = |top: &'static str, field: &'static str| vec![top.into(), field.into()];
        Self {
            spec_replicas: path("spec", "replicas"),
            status_replicas: path("status", "replicas"),
            selector: path("spec", "selector"),
        }
    }
}

/// How requests for a part are answered. The first two are generic and serve any kind; each of the others is a
/// module of the API server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartHandler {
    /// The object, of which only the status is written.
    Status,
    /// A `Scale` over the object's figures.
    Scale(ScalePaths),
    /// `certificatesigningrequests/approval`
    Approval,
    /// `pods/attach`
    Attach,
    /// `pods/binding`
    Binding,
    /// `pods/ephemeralcontainers`
    EphemeralContainers,
    /// `pods/eviction`
    Eviction,
    /// `pods/exec`
    Exec,
    /// `namespaces/finalize`
    Finalize,
    /// `pods/log`
    Log,
    /// `pods/portforward`
    PortForward,
    /// `nodes/proxy`, `pods/proxy`, `services/proxy`
    Proxy(Proxied),
    /// `pods/resize`
    Resize,
    /// `serviceaccounts/token`
    Token,
}

/// What requests are passed on to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proxied {
    /// The agent of a node, or a port of the node.
    Node,
    Pod,
    /// An endpoint of a service.
    Service,
}

impl PartHandler {
    /// Whether the part is a connection to the pod, node or service, and not a view of the object.
    pub fn connects(&self) -> bool {
        matches!(self, Self::Attach | Self::Exec | Self::PortForward | Self::Proxy(_))
    }
}
