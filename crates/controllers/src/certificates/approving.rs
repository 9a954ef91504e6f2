//! Approves the requests of nodes for their own certificates, of whoever the API server says may have them: kubelets'
//! to call with and to be called by, and that of a node's network agents.
//!
//! Upstream approves the first sort alone (`pkg/controller/certificates/approver`).

use std::net::IpAddr;
use std::sync::Arc;

use informer::{Action, Cache, Cached, Controller, Delta, Index, Plan, Round, Sources};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec, SubjectAccessReviewStatus,
};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use k8s_openapi::api::core::v1::{Node, NodeAddress};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::ServiceCIDR;
use kube::Api;
use kube::api::PostParams;
use serde::Deserialize;

use super::request::Request;
use super::serving_names::{self, Addresses};
use super::signers::{NODE_PREFIX, NODES, Signer};
use super::{ACCOUNT, APPROVED, DENIED, condition, is_issued, with_condition};
use crate::target::{dynamic, target_of};

/// The user that a node's network agents are.
const NETWORK_AGENTS: &str = "system:kube-proxy";

/// See the module's documentation. Keys are requests.
pub struct CsrApprovingController {
    requests: Cache<CertificateSigningRequest>,
    nodes: Cache<Node>,
    nodes_by_address: Index<Node>,
    slices: Cache<EndpointSlice>,
    ranges: Cache<ServiceCIDR>,
}

/// A request that is to be approved, in these words.
pub struct Observed {
    request: Arc<CertificateSigningRequest>,
    message: &'static str,
}

/// A sort of request that can be approved: the right it takes, and how the approval reads.
type Recognized = (&'static str, &'static str);

const OWN: Recognized =
    ("selfnodeclient", "Auto approving self kubelet client certificate after SubjectAccessReview.");
const NODE: Recognized =
    ("nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview.");
const AGENTS: Recognized = (
    "selfnodeproxyclient",
    "Auto approving client certificate of a node's network agents after SubjectAccessReview.",
);
const SERVING: Recognized =
    ("selfnodeserver", "Auto approving self kubelet serving certificate after SubjectAccessReview.");

impl Controller for CsrApprovingController {
    const NAME: &'static str = "certificatesigningrequest-approving-controller";
    const QUEUE: &'static str = "certificate_approval";
    const ACCOUNT: &'static str = ACCOUNT;
    type Config = ();
    type Observed = Observed;

    fn sources(sources: &mut Sources<'_>, (): ()) -> Self {
        let requests: Cache<CertificateSigningRequest> = sources.primary();
        let waiting = requests.index("waits for its node", |request, found| {
            if let Some(request) = request.typed()
                && may_be_decided(request, Signer::KubeletServing)
                && let Some(node) = requesting_node(request)
            {
                found(node);
            }
        });
        let nodes: Cache<Node> =
            sources.mapped(move |delta: &Delta<Node>| waiting.keys(delta.object().name()));
        let nodes_by_address = nodes.index("address", |node, found| {
            reported(node).iter().for_each(|address| found(&address.address));
        });
        Self { requests, nodes, nodes_by_address, slices: sources.reads(), ranges: sources.reads() }
    }

    async fn observe(&self, round: &Round<'_>) -> Result<Option<Observed>, kube::Error> {
        let Some(request) = self.requests.get_key(round.key) else { return Ok(None) };
        for (right, message) in recognized(&request) {
            if let Some(why) = self.refusal(&request) {
                let name = &round.key.name;
                tracing::info!(%name, why, "the request for a serving certificate is left to people");
                return Ok(None);
            }
            let review = review(&request, right);
            let api = Api::<SubjectAccessReview>::all(round.client.clone());
            let answer = api.create(&PostParams::default(), &review).await?;
            if answer.status.is_some_and(|SubjectAccessReviewStatus { allowed, .. }| allowed) {
                return Ok(Some(Observed { request, message }));
            }
        }
        Ok(None)
    }

    fn reconcile(observed: &Observed, now: jiff::Timestamp) -> Plan {
        let mut plan = Plan::nothing();
        let approved =
            with_condition(&observed.request, APPROVED, "AutoApproved", observed.message.to_owned(), now);
        plan.then(Action::Update {
            target: target_of(&approved).subresource("approval"),
            object: dynamic(&approved),
        });
        plan.because("a node asks for a certificate of its own")
    }
}

impl CsrApprovingController {
    /// Why a request to be served by is not the node's own; `None` for requests of another sort too.
    fn refusal(&self, request: &CertificateSigningRequest) -> Option<String> {
        if Signer::named(&request.spec.signer_name) != Some(Signer::KubeletServing) {
            return None;
        }
        let name = requesting_node(request)?;
        let asked = Request::read(&request.spec.request.0).ok()?;
        let Some(node) = self.nodes.get("", name) else {
            return Some("there is no such node yet".to_owned());
        };
        let is_anothers = |address: IpAddr| {
            self.nodes_by_address.keys(&address.to_string()).iter().any(|key| &*key.name != name)
        };
        let servers = self.slices.get("default", "kubernetes");
        let endpoints = servers.iter().flat_map(|slice| slice.endpoints.iter().flatten());
        let servers = endpoints.flat_map(|endpoint| &endpoint.addresses);
        let ranges = self.ranges.scan("there are few ranges");
        let ranges = ranges.iter().filter_map(|range| range.typed()?.spec.as_ref()?.cidrs.as_ref());
        let known = Addresses {
            own: addresses_of(&node).filter_map(|address| address.parse().ok()).collect(),
            is_anothers: &is_anothers,
            servers: servers.filter_map(|address| address.parse().ok()).collect(),
            services: ranges.flatten().filter_map(|range| range.parse().ok()).collect(),
        };
        serving_names::refusal(name, &asked, &known)
    }
}

/// The addresses that a cached node reports, of which no more than these is read: an index asks for them at every change
/// of every node. None of a node that cannot be read, which who reads it whole tells of.
fn reported(node: &Cached<Node>) -> Vec<NodeAddress> {
    #[derive(Deserialize)]
    struct Reporting {
        status: Option<Report>,
    }
    #[derive(Deserialize)]
    struct Report {
        addresses: Option<Vec<NodeAddress>>,
    }
    let read = serde_json::from_slice::<Reporting>(node.item().json());
    read.ok().and_then(|node| node.status?.addresses).unwrap_or_default()
}

fn addresses_of(node: &Node) -> impl Iterator<Item = &str> {
    let addresses = node.status.iter().flat_map(|status| status.addresses.iter().flatten());
    addresses.map(|address| address.address.as_str())
}

/// The node that has sent the request, by its own certificate.
fn requesting_node(request: &CertificateSigningRequest) -> Option<&str> {
    let groups = request.spec.groups.as_ref()?;
    groups.iter().find(|group| *group == NODES)?;
    request.spec.username.as_deref()?.strip_prefix(NODE_PREFIX).filter(|name| !name.is_empty())
}

/// Whether the request is one to this signer about which nothing is decided yet.
fn may_be_decided(request: &CertificateSigningRequest, signer: Signer) -> bool {
    let decided = condition(request, APPROVED).or_else(|| condition(request, DENIED)).is_some();
    !decided && !is_issued(request) && Signer::named(&request.spec.signer_name) == Some(signer)
}

/// What the request may be approved as; nothing where that is decided already.
pub(super) fn recognized(request: &CertificateSigningRequest) -> Vec<Recognized> {
    let Some(signer) =
        Signer::named(&request.spec.signer_name).filter(|signer| may_be_decided(request, *signer))
    else {
        return Vec::new();
    };
    let Ok(asked) = Request::read(&request.spec.request.0) else { return Vec::new() };
    let usages = request.spec.usages.clone().unwrap_or_default();
    if signer.refusal(&asked, &usages).is_some() {
        return Vec::new();
    }
    let own = request.spec.username.as_deref() == Some(&asked.common_name);
    match signer {
        Signer::KubeletClient if own => vec![OWN, NODE],
        Signer::KubeletClient => vec![NODE],
        Signer::KubeletServing if own && requesting_node(request).is_some() => vec![SERVING],
        Signer::ApiServerClient if requesting_node(request).is_some() && is_network_agents(&asked) => {
            vec![AGENTS]
        }
        Signer::KubeletServing | Signer::ApiServerClient => Vec::new(),
    }
}

/// Whether the request is for the user that network agents are, and for nothing besides.
fn is_network_agents(asked: &Request) -> bool {
    asked.common_name == NETWORK_AGENTS && asked.organizations.is_empty() && asked.other_names.is_none()
}

fn review(request: &CertificateSigningRequest, right: &str) -> SubjectAccessReview {
    let spec = &request.spec;
    SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            user: spec.username.clone(),
            uid: spec.uid.clone(),
            groups: spec.groups.clone(),
            extra: spec.extra.clone(),
            resource_attributes: Some(ResourceAttributes {
                group: Some("certificates.k8s.io".to_owned()),
                resource: Some("certificatesigningrequests".to_owned()),
                verb: Some("create".to_owned()),
                subresource: Some(right.to_owned()),
                version: Some("*".to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    }
}
