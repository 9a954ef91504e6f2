//! Upstream's signers: whom each certifies, for what (`pkg/controller/certificates/signer/signer.go` and
//! `pkg/apis/certificates/helpers.go`).

use super::request::Request;

/// One of the signers of this cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signer {
    /// Whoever speaks to the API server.
    ApiServerClient,
    /// Kubelets that speak to the API server.
    KubeletClient,
    /// Kubelets that are spoken to.
    KubeletServing,
}

pub(super) const NODES: &str = "system:nodes";
pub(super) const NODE_PREFIX: &str = "system:node:";

impl Signer {
    /// The signer of a name; `None` for those of others.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "kubernetes.io/kube-apiserver-client" => Some(Self::ApiServerClient),
            "kubernetes.io/kube-apiserver-client-kubelet" => Some(Self::KubeletClient),
            "kubernetes.io/kubelet-serving" => Some(Self::KubeletServing),
            _ => None,
        }
    }

    /// Why the signer does not sign this.
    pub fn refusal(self, request: &Request, usages: &[String]) -> Option<String> {
        match self {
            Self::ApiServerClient => client_usages(usages),
            Self::KubeletClient => kubelet_client(request, usages),
            Self::KubeletServing => kubelet_serving(request, usages),
        }
    }
}

fn client_usages(usages: &[String]) -> Option<String> {
    let allowed = ["digital signature", "key encipherment", "client auth"];
    if let Some(other) = usages.iter().find(|usage| !allowed.contains(&usage.as_str())) {
        return Some(format!("invalid usage for client certificate: {other}"));
    }
    let client = usages.iter().any(|usage| usage == "client auth");
    (!client).then(|| "missing required usage for client certificate: client auth".to_owned())
}

/// What a kubelet's certificate to call with must be.
fn kubelet_client(request: &Request, usages: &[String]) -> Option<String> {
    let faults = [
        (request.organizations != [NODES], "subject organization is not system:nodes"),
        (!request.dns_names.is_empty(), "DNS subjectAltNames are not allowed"),
        (request.emails > 0, "Email subjectAltNames are not allowed"),
        (!request.addresses.is_empty(), "IP subjectAltNames are not allowed"),
        (request.uris > 0, "URI subjectAltNames are not allowed"),
    ];
    first(&faults)
        .or_else(|| usages_other_than(usages, &["client auth", "digital signature", "key encipherment"]))
        .or_else(|| unnamed(request))
}

fn kubelet_serving(request: &Request, usages: &[String]) -> Option<String> {
    let faults = [
        (request.organizations != [NODES], "subject organization is not system:nodes"),
        (
            request.dns_names.is_empty() && request.addresses.is_empty(),
            "DNS or IP subjectAltName is required",
        ),
        (request.emails > 0, "Email subjectAltNames are not allowed"),
        (request.uris > 0, "URI subjectAltNames are not allowed"),
    ];
    first(&faults)
        .or_else(|| usages_other_than(usages, &["digital signature", "key encipherment", "server auth"]))
        .or_else(|| unnamed(request))
}

fn first(faults: &[(bool, &str)]) -> Option<String> {
    faults.iter().find(|(is, _)| *is).map(|(_, words)| (*words).to_owned())
}

fn unnamed(request: &Request) -> Option<String> {
    let named = request.common_name.starts_with(NODE_PREFIX);
    (!named).then(|| "subject common name does not begin with system:node:".to_owned())
}

/// The usages must be these; keys that only sign need no encipherment.
fn usages_other_than(usages: &[String], wanted: &[&str]) -> Option<String> {
    let mut given: Vec<&str> = usages.iter().map(String::as_str).collect();
    given.sort_unstable();
    given.dedup();
    let only_signing: Vec<&str> =
        wanted.iter().copied().filter(|usage| *usage != "key encipherment").collect();
    (given != wanted && given != only_signing).then(|| format!("usages did not match [{}]", wanted.join(" ")))
}
