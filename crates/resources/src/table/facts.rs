//! What is known of kinds beyond their paths and types: short names, categories, field selectors,
//! places in the store, the order of groups. One readable table; a line a fact.
//!
//! Sources: upstream's `pkg/registry/*/storage` (names), `pkg/apis/*/*/conversion.go` (field
//! labels), `default_storage_factory_builder.go` (places), `aggregator.go` (order).

use api::GroupVersion;

use crate::convert;
use crate::part::{PartHandler, ScalePaths};
use crate::row::Convert;

/// The facts of one resource. Paths of field selectors lead into the stored version.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts {
    pub short_names: &'static [&'static str],
    pub categories: &'static [&'static str],
    pub fields: &'static [(&'static str, &'static str)],
    /// Where it differs from the plural.
    pub storage_prefix: Option<&'static str>,
    pub ttl_s: Option<u64>,
    /// See [`crate::Resource::deprecated`].
    pub deprecated: Option<&'static str>,
}

const NONE: Facts = Facts {
    short_names: &[],
    categories: &[],
    fields: &[],
    storage_prefix: None,
    ttl_s: None,
    deprecated: None,
};

const fn short(names: &'static [&'static str]) -> Facts {
    Facts { short_names: names, ..NONE }
}

impl Facts {
    const fn all(mut self) -> Self {
        self.categories = &["all"];
        self
    }

    const fn extensions(mut self) -> Self {
        self.categories = &["api-extensions"];
        self
    }

    const fn at(mut self, prefix: &'static str) -> Self {
        self.storage_prefix = Some(prefix);
        self
    }

    const fn fields(mut self, fields: &'static [(&'static str, &'static str)]) -> Self {
        self.fields = fields;
        self
    }

    const fn deprecated(mut self, warning: &'static str) -> Self {
        self.deprecated = Some(warning);
        self
    }

    const fn ttl(mut self, ttl_s: u64) -> Self {
        self.ttl_s = Some(ttl_s);
        self
    }
}

/// (group, plural, facts).
#[rustfmt::skip]
const FACTS: &[(&str, &str, Facts)] = &[
    ("", "componentstatuses", short(&["cs"]).deprecated("v1 ComponentStatus is deprecated in v1.19+")),
    ("", "configmaps", short(&["cm"])),
    ("", "endpoints", short(&["ep"]).at("services/endpoints").deprecated("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice")),
    ("", "events", short(&["ev"]).ttl(3600).fields(EVENT_FIELDS)),
    ("", "limitranges", short(&["limits"])),
    ("", "namespaces", short(&["ns"]).fields(&[("status.phase", "status.phase")])),
    ("", "nodes", short(&["no"]).at("minions").fields(&[("spec.unschedulable", "spec.unschedulable")])),
    ("", "persistentvolumeclaims", short(&["pvc"])),
    ("", "persistentvolumes", short(&["pv"])),
    ("", "pods", short(&["po"]).all().fields(POD_FIELDS)),
    ("", "replicationcontrollers", short(&["rc"]).all().at("controllers").fields(&[("status.replicas", "status.replicas")])),
    ("", "resourcequotas", short(&["quota"])),
    ("", "secrets", NONE.fields(&[("type", "type")])),
    ("", "serviceaccounts", short(&["sa"])),
    ("", "services", short(&["svc"]).all().at("services/specs").fields(&[("spec.clusterIP", "spec.clusterIP"), ("spec.type", "spec.type")])),
    ("admissionregistration.k8s.io", "mutatingadmissionpolicies", NONE.extensions()),
    ("admissionregistration.k8s.io", "mutatingadmissionpolicybindings", NONE.extensions()),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations", NONE.extensions()),
    ("admissionregistration.k8s.io", "validatingadmissionpolicies", NONE.extensions()),
    ("admissionregistration.k8s.io", "validatingadmissionpolicybindings", NONE.extensions()),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations", NONE.extensions()),
    ("apiextensions.k8s.io", "customresourcedefinitions", short(&["crd", "crds"]).extensions().at("apiextensions.k8s.io/customresourcedefinitions")),
    ("apiregistration.k8s.io", "apiservices", NONE.extensions().at("apiregistration.k8s.io/apiservices")),
    ("apps", "daemonsets", short(&["ds"]).all()),
    ("apps", "deployments", short(&["deploy"]).all()),
    ("apps", "replicasets", short(&["rs"]).all().fields(&[("status.replicas", "status.replicas")])),
    ("apps", "statefulsets", short(&["sts"]).all()),
    ("autoscaling", "horizontalpodautoscalers", short(&["hpa"]).all()),
    ("batch", "cronjobs", short(&["cj"]).all()),
    ("batch", "jobs", NONE.all().fields(&[("status.successful", "status.succeeded")])),
    ("certificates.k8s.io", "certificatesigningrequests", short(&["csr"]).fields(&[("spec.signerName", "spec.signerName")])),
    ("events.k8s.io", "events", short(&["ev"]).ttl(3600).fields(EVENTS_FIELDS)),
    ("networking.k8s.io", "ingresses", short(&["ing"]).at("ingress")),
    ("networking.k8s.io", "ipaddresses", short(&["ip"])),
    ("networking.k8s.io", "networkpolicies", short(&["netpol"])),
    ("policy", "poddisruptionbudgets", short(&["pdb"])),
    ("resource.k8s.io", "resourceslices", NONE.fields(&[("spec.driver", "spec.driver"), ("spec.nodeName", "spec.nodeName")])),
    ("scheduling.k8s.io", "priorityclasses", short(&["pc"])),
    ("storage.k8s.io", "storageclasses", short(&["sc"])),
    ("storage.k8s.io", "volumeattributesclasses", short(&["vac"])),
];

const POD_FIELDS: &[(&str, &str)] = &[
    ("spec.hostNetwork", "spec.hostNetwork"),
    ("spec.nodeName", "spec.nodeName"),
    ("spec.restartPolicy", "spec.restartPolicy"),
    ("spec.schedulerName", "spec.schedulerName"),
    ("spec.serviceAccountName", "spec.serviceAccountName"),
    ("status.nominatedNodeName", "status.nominatedNodeName"),
    ("status.phase", "status.phase"),
    ("status.podIP", "status.podIP"),
];

const EVENT_FIELDS: &[(&str, &str)] = &[
    ("involvedObject.apiVersion", "involvedObject.apiVersion"),
    ("involvedObject.fieldPath", "involvedObject.fieldPath"),
    ("involvedObject.kind", "involvedObject.kind"),
    ("involvedObject.name", "involvedObject.name"),
    ("involvedObject.namespace", "involvedObject.namespace"),
    ("involvedObject.resourceVersion", "involvedObject.resourceVersion"),
    ("involvedObject.uid", "involvedObject.uid"),
    ("reason", "reason"),
    ("reportingComponent", "reportingComponent"),
    ("source", "source.component"),
    ("type", "type"),
];

/// The same fields under the names of events.k8s.io; events are stored as the core group's.
const EVENTS_FIELDS: &[(&str, &str)] = &[
    ("reason", "reason"),
    ("regarding.apiVersion", "involvedObject.apiVersion"),
    ("regarding.fieldPath", "involvedObject.fieldPath"),
    ("regarding.kind", "involvedObject.kind"),
    ("regarding.name", "involvedObject.name"),
    ("regarding.namespace", "involvedObject.namespace"),
    ("regarding.resourceVersion", "involvedObject.resourceVersion"),
    ("regarding.uid", "involvedObject.uid"),
    ("reportingController", "reportingComponent"),
    ("type", "type"),
];

/// The facts of a resource; those of a plain one where the table has no line.
pub(super) fn find(group: &str, plural: &str) -> Facts {
    FACTS.iter().find(|(g, p, _)| *g == group && *p == plural).map_or(NONE, |(_, _, facts)| *facts)
}

/// The groups and plurals the table speaks of.
#[cfg(test)]
pub(super) fn mentioned() -> impl Iterator<Item = (&'static str, &'static str)> {
    FACTS.iter().map(|(group, plural, _)| (*group, *plural))
}

/// Another version that objects are stored in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stored {
    group: &'static str,
    version: &'static str,
    pub convert: Convert,
}

impl Stored {
    pub fn version(&self) -> GroupVersion {
        GroupVersion::new(self.group, self.version)
    }
}

/// The version a resource is stored in, where that is not its own.
pub(super) fn stored_as(group: &str, version: &str, plural: &str) -> Option<Stored> {
    match (group, version, plural) {
        ("events.k8s.io", _, "events") => Some(Stored { group: "", version: "v1", convert: convert::EVENTS }),
        ("autoscaling", "v1", "horizontalpodautoscalers") => {
            Some(Stored { group: "autoscaling", version: "v2", convert: convert::AUTOSCALERS })
        }
        _ => None,
    }
}

/// All built-in kinds with a scale subresource keep their figures in the same places.
fn scale_paths() -> ScalePaths {
    ScalePaths {
        spec_replicas: vec!["spec".into(), "replicas".into()],
        status_replicas: vec!["status".into(), "replicas".into()],
        selector: vec!["spec".into(), "selector".into()],
    }
}

/// Who answers a subresource.
pub(super) fn handler_of(plural: &str, subresource: &str) -> PartHandler {
    match (plural, subresource) {
        (_, "status") => PartHandler::Status,
        (_, "scale") => PartHandler::Scale(scale_paths()),
        ("certificatesigningrequests", "approval") => PartHandler::Approval,
        ("pods", "attach") => PartHandler::Attach,
        ("pods", "binding") => PartHandler::Binding,
        ("pods", "ephemeralcontainers") => PartHandler::EphemeralContainers,
        ("pods", "eviction") => PartHandler::Eviction,
        ("pods", "exec") => PartHandler::Exec,
        ("namespaces", "finalize") => PartHandler::Finalize,
        ("pods", "log") => PartHandler::Log,
        ("pods", "portforward") => PartHandler::PortForward,
        ("pods" | "nodes" | "services", "proxy") => PartHandler::Proxy,
        ("pods", "resize") => PartHandler::Resize,
        ("serviceaccounts", "token") => PartHandler::Token,
        _ => unreachable!("{plural}/{subresource} has no handler"),
    }
}

/// The kind discovery names for a connection, which the OpenAPI document does not say.
pub(super) fn connect_options(kind: &str, handler: &PartHandler) -> Option<String> {
    let what = match handler {
        PartHandler::Attach => "Attach",
        PartHandler::Exec => "Exec",
        PartHandler::PortForward => "PortForward",
        PartHandler::Proxy => "Proxy",
        _ => return None,
    };
    Some(format!("{kind}{what}Options"))
}

/// Groups by falling priority. Others follow in the order they were added.
const GROUP_ORDER: &[&str] = &[
    "",
    "apiregistration.k8s.io",
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "node.k8s.io",
    "discovery.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "resource.k8s.io",
];

/// Sorts and deduplicates: groups by priority, versions of a group from the newest to the oldest
/// (`v2`, `v1`, `v1beta1`, …), as `k8s.io/apimachinery/pkg/version` compares them.
pub(super) fn in_discovery_order(mut versions: Vec<GroupVersion>) -> Vec<GroupVersion> {
    let mut added: Vec<String> = Vec::new();
    for gv in &versions {
        if !GROUP_ORDER.contains(&gv.group.as_str()) && !added.contains(&gv.group) {
            added.push(gv.group.clone());
        }
    }
    let position = |group: &str| {
        GROUP_ORDER.iter().copied().chain(added.iter().map(String::as_str)).position(|g| g == group)
    };
    versions.sort_by_cached_key(|gv| {
        (position(&gv.group), std::cmp::Reverse(version_rank(&gv.version)), gv.version.clone())
    });
    versions.dedup();
    versions
}

/// (stability, major, minor); what is no Kubernetes version ranks last.
fn version_rank(version: &str) -> (u8, u32, u32) {
    let Some(rest) = version.strip_prefix('v') else { return (0, 0, 0) };
    let (major, stability, minor) = if let Some((major, minor)) = rest.split_once("beta") {
        (major, 2, minor)
    } else if let Some((major, minor)) = rest.split_once("alpha") {
        (major, 1, minor)
    } else {
        (rest, 3, "0")
    };
    match (major.parse(), minor.parse()) {
        (Ok(major), Ok(minor)) => (stability, major, minor),
        _ => (0, 0, 0),
    }
}
