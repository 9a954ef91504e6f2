//! What controllers read of a pod: [`Facts`], kept beside the cached bytes, and [`Replica`], a cached pod with
//! its facts.

pub(crate) mod attempt;

use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;

use informer::Cached;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use pods::devices::PodClaim;
use pods::volumes::UsedClaim;
use serde::Deserialize;
use serde::de::IgnoredAny;

use attempt::{Attempt, RawMeta, RawState};
pub(crate) use pods::{is_ready, is_terminal, ready_condition};

const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// Since when the pod has been ready; `None` if it is not ready or the time is unknown.
pub(crate) fn ready_since(pod: &Pod) -> Option<Timestamp> {
    ready_condition(pod)?.last_transition_time.as_ref().map(|t| t.0)
}

/// Whether a ready pod has been ready for long enough to be available.
pub(crate) enum Availability {
    NotReady,
    /// The pod will be available after this time.
    In(SignedDuration),
    Available,
}

/// Fields of a pod that rounds over many pods look at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Raw")]
pub(crate) struct Facts {
    /// Empty while it has none.
    pub node_name: Box<str>,
    pub phase: Phase,
    pub ready: bool,
    /// When the Ready condition last became true or false.
    pub ready_changed: Option<Timestamp>,
    pub deletion_cost: i32,
    /// The most restarts of any container, and of any init container.
    pub restarts: (i32, i32),
    pub evicted: bool,
    /// Something has said that it is about to end the pod.
    pub disruption_target: bool,
    /// The pod's addresses, of each family at most one.
    pub ips: Box<[IpAddr]>,
    pub hostname: Box<str>,
    pub subdomain: Box<str>,
    /// The ports that have a name: of containers, then of sidecars.
    pub named_ports: Box<[NamedPort]>,
    /// Of Jobs' pods.
    pub attempt: Option<Box<Attempt>>,
    /// The claims that the pod's volumes use.
    pub claims: Box<[UsedClaim]>,
    /// The device claims that the pod lists.
    pub device_claims: Box<[PodClaim]>,
}

/// A container's port that Services can refer to by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamedPort {
    pub name: Box<str>,
    pub protocol: Box<str>,
    pub number: i32,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub(crate) enum Phase {
    Pending,
    Running,
    Succeeded,
    Failed,
    #[default]
    #[serde(other)]
    Unknown,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Raw {
    metadata: RawMeta,
    spec: Option<RawSpec>,
    status: Option<RawStatus>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct RawSpec {
    node_name: Option<Box<str>>,
    hostname: Option<Box<str>>,
    subdomain: Option<Box<str>>,
    containers: Option<Vec<RawTemplate>>,
    init_containers: Option<Vec<RawTemplate>>,
    volumes: Option<Vec<RawVolume>>,
    resource_claims: Option<Vec<RawDeviceClaim>>,
}

/// Of the specification or the status, which know the name of the claim in different cases.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct RawDeviceClaim {
    name: Box<str>,
    resource_claim_name: Option<Box<str>>,
    resource_claim_template_name: Option<Box<str>>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct RawVolume {
    name: Box<str>,
    persistent_volume_claim: Option<RawClaim>,
    ephemeral: Option<IgnoredAny>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct RawClaim {
    claim_name: Box<str>,
}

/// A container as the specification describes it.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct RawTemplate {
    name: Box<str>,
    restart_policy: Option<Box<str>>,
    ports: Option<Vec<RawPort>>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct RawPort {
    name: Option<Box<str>>,
    protocol: Option<Box<str>>,
    container_port: i32,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct RawStatus {
    phase: Option<Phase>,
    reason: Option<String>,
    conditions: Option<Vec<RawCondition>>,
    container_statuses: Option<Vec<RawContainer>>,
    init_container_statuses: Option<Vec<RawContainer>>,
    resource_claim_statuses: Option<Vec<RawDeviceClaim>>,
    #[serde(rename = "podIP")]
    pod_ip: Option<Box<str>>,
    #[serde(rename = "podIPs")]
    pod_ips: Option<Vec<RawAddress>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawAddress {
    ip: Box<str>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct RawCondition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
    last_transition_time: Option<Timestamp>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct RawContainer {
    name: Box<str>,
    restart_count: i32,
    state: RawState,
}

impl From<Raw> for Facts {
    fn from(raw: Raw) -> Self {
        let (spec, status) = (raw.spec.unwrap_or_default(), raw.status.unwrap_or_default());
        let ips = addresses(&status);
        let named_ports = named_ports(&spec);
        let sidecars: Vec<&str> = sidecars(&spec).map(|init| &*init.name).collect();
        let attempt = Attempt::of(&raw.metadata, &status, &sidecars);
        let claims = claims(raw.metadata.name.as_deref().unwrap_or_default(), &spec);
        let device_claims = device_claims(&spec, &status);
        let conditions = status.conditions.unwrap_or_default();
        let ready = conditions.iter().find(|c| c.type_ == "Ready");
        let most = |all: Option<Vec<RawContainer>>| {
            all.into_iter().flatten().map(|container| container.restart_count).max().unwrap_or(0)
        };
        let cost = raw.metadata.annotations.as_ref().and_then(|all| all.get(DELETION_COST));
        Self {
            node_name: spec.node_name.unwrap_or_default(),
            // A pod whose status says nothing has not begun.
            phase: status.phase.unwrap_or(Phase::Pending),
            ready: ready.is_some_and(|condition| condition.status == "True"),
            ready_changed: ready.and_then(|condition| condition.last_transition_time),
            deletion_cost: cost.and_then(|text| text.parse().ok()).unwrap_or(0),
            restarts: (most(status.container_statuses), most(status.init_container_statuses)),
            evicted: status.reason.as_deref() == Some("Evicted"),
            disruption_target: conditions.iter().any(|c| c.type_ == "DisruptionTarget" && c.status == "True"),
            ips,
            hostname: spec.hostname.unwrap_or_default(),
            subdomain: spec.subdomain.unwrap_or_default(),
            named_ports,
            attempt,
            claims,
            device_claims,
        }
    }
}

/// As [`pods::volumes::claims_of`] reads them from the typed object.
fn claims(pod: &str, spec: &RawSpec) -> Box<[UsedClaim]> {
    let used = spec.volumes.iter().flatten().filter_map(|volume| {
        if let Some(source) = &volume.persistent_volume_claim {
            return Some(UsedClaim { name: source.claim_name.clone(), is_ephemeral: false });
        }
        volume.ephemeral?;
        let name = pods::volumes::ephemeral_claim(pod, &volume.name);
        Some(UsedClaim { name: name.into(), is_ephemeral: true })
    });
    used.collect()
}

/// As [`pods::devices::claims_of`] reads them from the typed object.
fn device_claims(spec: &RawSpec, status: &RawStatus) -> Box<[PodClaim]> {
    let told = |name: &str| {
        let told = status.resource_claim_statuses.iter().flatten().find(|told| &*told.name == name)?;
        Some(told.resource_claim_name.as_deref())
    };
    let listed = spec.resource_claims.iter().flatten().map(|entry| {
        let (claim, template) =
            (entry.resource_claim_name.as_deref(), entry.resource_claim_template_name.as_deref());
        PodClaim::of(&entry.name, claim, template, told(&entry.name))
    });
    listed.collect()
}

fn addresses(status: &RawStatus) -> Box<[IpAddr]> {
    let all = status.pod_ips.iter().flatten().map(|address| &address.ip);
    let mut ips: Vec<IpAddr> = all.filter_map(|ip| ip.parse().ok()).collect();
    if ips.is_empty() {
        ips.extend(status.pod_ip.iter().filter_map(|ip| ip.parse::<IpAddr>().ok()));
    }
    ips.into()
}

/// The init containers that run beside the others.
fn sidecars(spec: &RawSpec) -> impl Iterator<Item = &RawTemplate> {
    let is_sidecar = |init: &&RawTemplate| init.restart_policy.as_deref() == Some("Always");
    spec.init_containers.iter().flatten().filter(is_sidecar)
}

fn named_ports(spec: &RawSpec) -> Box<[NamedPort]> {
    let ports =
        spec.containers.iter().flatten().chain(sidecars(spec)).flat_map(|one| one.ports.iter().flatten());
    let named = ports.filter_map(|port| {
        let name = port.name.clone().filter(|name| !name.is_empty())?;
        let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".into());
        Some(NamedPort { name, protocol, number: port.container_port })
    });
    named.collect()
}

impl Facts {
    /// Whether all containers have ended for good.
    pub fn is_terminal(&self) -> bool {
        matches!(self.phase, Phase::Succeeded | Phase::Failed)
    }

    /// Since when the pod has been ready; `None` if it is not ready or the time is unknown.
    pub fn ready_since(&self) -> Option<Timestamp> {
        self.ready_changed.filter(|_| self.ready)
    }
}

/// The facts of a cached pod.
pub(crate) fn facts(pod: &Cached<Pod>) -> Arc<Facts> {
    pod.view()
}

/// A cached pod with its facts; its metadata by dereference.
#[derive(Debug, Clone)]
pub(crate) struct Replica {
    pub object: Cached<Pod>,
    pub facts: Arc<Facts>,
}

impl Deref for Replica {
    type Target = Cached<Pod>;

    fn deref(&self) -> &Cached<Pod> {
        &self.object
    }
}

impl Replica {
    pub fn of(object: Cached<Pod>) -> Self {
        Self { facts: facts(&object), object }
    }

    /// Whether the pod counts as a replica: neither ended nor being deleted.
    pub fn is_active(&self) -> bool {
        !self.facts.is_terminal() && !self.is_being_deleted()
    }

    /// Whether the pod is being deleted and has not ended yet.
    pub fn is_terminating(&self) -> bool {
        !self.facts.is_terminal() && self.is_being_deleted()
    }

    pub fn availability(&self, min_ready_s: i32, now: Timestamp) -> Availability {
        if !self.facts.ready {
            return Availability::NotReady;
        }
        if min_ready_s <= 0 {
            return Availability::Available;
        }
        let wait = SignedDuration::from_secs(min_ready_s.into());
        let Some(since) = self.facts.ready_since() else { return Availability::In(wait) };
        let left = wait - now.duration_since(since);
        if left.is_positive() { Availability::In(left) } else { Availability::Available }
    }
}

/// Pods by the name of their node.
pub(crate) fn by_node(pods: &informer::Cache<Pod>) -> informer::Index<Pod> {
    pods.index("node", |pod, found| {
        let facts = facts(pod);
        if !facts.node_name.is_empty() {
            found(&facts.node_name);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_those_of_the_pod() {
        let json = br#"{"metadata":{"annotations":{"controller.kubernetes.io/pod-deletion-cost":"7"}},
            "spec":{"nodeName":"n"},"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True",
            "lastTransitionTime":"2026-01-01T00:00:00Z"}],"containerStatuses":[{"restartCount":2},{"restartCount":3}]}}"#;
        let facts: Facts = serde_json::from_slice(json).expect("a pod");
        assert_eq!((&*facts.node_name, facts.phase, facts.ready), ("n", Phase::Running, true));
        assert_eq!((facts.deletion_cost, facts.restarts, facts.evicted), (7, (3, 0), false));
        assert!(facts.ready_since().is_some());
        let odd: Facts = serde_json::from_str(r#"{"status":{"phase":"Other"}}"#).expect("a pod");
        assert_eq!(odd.phase, Phase::Unknown);
        let bare: Facts = serde_json::from_str("{}").expect("a pod");
        assert_eq!((bare.phase, bare.ready), (Phase::Pending, false));
    }

    #[test]
    fn facts_say_how_the_pod_is_reached() {
        let json = br#"{"spec":{"hostname":"h","subdomain":"s",
            "containers":[{"ports":[{"containerPort":80},{"name":"web","containerPort":8080,"protocol":"TCP"}]}],
            "initContainers":[{"ports":[{"name":"init","containerPort":1}]},
                {"restartPolicy":"Always","ports":[{"name":"mesh","containerPort":9,"protocol":"UDP"}]}]},
            "status":{"podIP":"10.0.0.1","podIPs":[{"ip":"10.0.0.1"},{"ip":"fd00::1"}],
            "conditions":[{"type":"Ready","status":"False","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}"#;
        let facts: Facts = serde_json::from_slice(json).expect("a pod");
        assert_eq!(facts.ips.iter().map(IpAddr::to_string).collect::<Vec<_>>(), ["10.0.0.1", "fd00::1"]);
        assert_eq!((&*facts.hostname, &*facts.subdomain), ("h", "s"));
        let ports: Vec<_> = facts.named_ports.iter().map(|p| (&*p.name, &*p.protocol, p.number)).collect();
        assert_eq!(
            ports,
            [("web", "TCP", 8080), ("mesh", "UDP", 9)],
            "an init container's port is gone when it serves"
        );
        assert!(facts.ready_changed.is_some() && facts.ready_since().is_none());
        let older: Facts = serde_json::from_str(r#"{"status":{"podIP":"10.0.0.2"}}"#).expect("a pod");
        assert_eq!(older.ips.len(), 1);
    }
}
