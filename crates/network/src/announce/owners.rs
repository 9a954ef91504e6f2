//! Which node announces which address. Pure: every node comes to the same result from the same objects.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use informer::Cached;
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde::Deserialize;

const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// What a Service has announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wish {
    pub addresses: BTreeSet<Ipv4Addr>,
    /// Only by a node that has endpoints of the Service.
    pub is_local: bool,
}

/// The addresses of a Service that are to be announced: those of load balancers that have the condition.
pub(super) fn wish(service: &Service, condition: &str) -> Option<Wish> {
    let (spec, status) = (service.spec.as_ref()?, service.status.as_ref()?);
    let has_condition =
        status.conditions.iter().flatten().any(|one| one.type_ == condition && one.status == "True");
    let is_balanced = spec.type_.as_deref() == Some("LoadBalancer") && spec.load_balancer_class.is_none();
    if !has_condition || !is_balanced {
        return None;
    }
    let ingress = status.load_balancer.as_ref()?.ingress.as_ref()?;
    let addresses = ingress.iter().filter_map(|at| at.ip.as_ref()?.parse().ok()).collect();
    let is_local = spec.external_traffic_policy.as_deref() == Some("Local");
    Some(Wish { addresses, is_local })
}

/// Whether a node can announce addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Member {
    /// It takes traffic for load balancers.
    takes: bool,
    is_ready: bool,
}

pub(super) fn member(node: &Cached<Node>) -> Member {
    let takes = node.label(EXCLUDED).is_none() && !node.is_being_deleted();
    Member { takes, is_ready: node.view::<Readiness>().is_ready }
}

/// What is read of every node.
#[derive(Debug, Default, Deserialize)]
#[serde(from = "Raw")]
struct Readiness {
    is_ready: bool,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Raw {
    status: Option<RawStatus>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawStatus {
    conditions: Option<Vec<RawCondition>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawCondition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

impl From<Raw> for Readiness {
    fn from(raw: Raw) -> Self {
        let conditions = raw.status.unwrap_or_default().conditions.unwrap_or_default();
        Self { is_ready: conditions.iter().any(|one| one.kind == "Ready" && one.status == "True") }
    }
}

/// The nodes that can announce: the ready ones. Where none is, whoever had an address is as good as another.
pub(super) fn able<'n>(members: &[(&'n str, Member)]) -> Vec<&'n str> {
    let takes = || members.iter().filter(|(_, member)| member.takes);
    let ready: Vec<&str> = takes().filter(|(_, member)| member.is_ready).map(|(name, _)| *name).collect();
    if ready.is_empty() { takes().map(|(name, _)| *name).collect() } else { ready }
}

/// The nodes that have endpoints which take connections: ready ones or, where no node has any, those that are about to end
/// and still answer. As the Service proxy chooses.
pub(super) fn with_endpoints<'s>(slices: impl Iterator<Item = &'s EndpointSlice>) -> BTreeSet<String> {
    let (mut ready, mut leaving) = (BTreeSet::new(), BTreeSet::new());
    for endpoint in
        slices.filter(|slice| slice.address_type == "IPv4").flat_map(|slice| slice.endpoints.iter().flatten())
    {
        let Some(node) = endpoint.node_name.clone() else { continue };
        let conditions = endpoint.conditions.as_ref();
        if conditions.and_then(|one| one.ready).unwrap_or(true) {
            ready.insert(node);
        } else if conditions.is_some_and(|one| one.serving.unwrap_or(true) && one.terminating == Some(true)) {
            leaving.insert(node);
        }
    }
    if ready.is_empty() { leaving } else { ready }
}

/// Of these nodes, the one that announces the address: the one with the greatest weight for the address ("highest random
/// weight"), so that a node which goes or comes moves no other node's addresses.
pub(super) fn owner<'n>(address: Ipv4Addr, nodes: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    nodes.max_by_key(|node| (weight(address, node), *node))
}

/// Alike on all machines and in all versions: FNV-1a, whose last step is `SplitMix64`'s, which spreads what differs in the
/// last bytes alone.
fn weight(address: Ipv4Addr, node: &str) -> u64 {
    let bytes = node.bytes().chain(address.octets());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use super::*;

    fn addresses() -> Vec<Ipv4Addr> {
        (0..100).map(|last| Ipv4Addr::new(192, 0, 2, last)).collect()
    }

    #[test]
    fn a_node_that_goes_moves_its_own_addresses_alone() {
        let nodes = ["a", "b", "c", "d"];
        let before: BTreeMap<Ipv4Addr, &str> =
            addresses().into_iter().filter_map(|one| Some((one, owner(one, nodes.into_iter())?))).collect();
        let share = |node: &str| before.values().filter(|owner| **owner == node).count();
        assert!(nodes.into_iter().all(|node| (15..=35).contains(&share(node))), "{before:?}");
        for (address, had) in &before {
            let has = owner(*address, nodes.into_iter().rev().filter(|node| *node != "b"));
            assert!(has == Some(*had) || *had == "b", "{address}");
        }
        assert_eq!(owner(Ipv4Addr::new(192, 0, 2, 1), [].into_iter()), None);
    }

    #[test]
    fn the_choice_is_the_same_in_all_versions() {
        let owners: Vec<_> = addresses()[..8]
            .iter()
            .filter_map(|one| owner(*one, ["node-1", "node-2", "node-3"].into_iter()))
            .collect();
        assert_eq!(owners.len(), 8);
        assert_eq!(
            weight(Ipv4Addr::new(192, 0, 2, 1), "node-1"),
            weight(Ipv4Addr::new(192, 0, 2, 1), "node-1")
        );
    }

    #[test]
    fn ready_nodes_are_able_and_others_where_none_is() {
        let member = |takes, is_ready| Member { takes, is_ready };
        let some = [("a", member(true, false)), ("b", member(true, true)), ("c", member(false, true))];
        assert_eq!(able(&some), ["b"]);
        assert_eq!(able(&[some[0], some[2]]), ["a"]);
        assert!(able(&[]).is_empty());
    }

    #[test]
    fn a_service_says_what_is_announced() {
        let service = |spec: Value, conditions: Value| -> Service {
            let status = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.8"}, {"hostname": "x"}]}, "conditions": conditions});
            serde_json::from_value(json!({"metadata": {}, "spec": spec, "status": status}))
                .expect("a Service")
        };
        let condition = json!([{"type": "ours", "status": "True", "reason": "r", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
        let balancer = json!({"type": "LoadBalancer"});
        let addresses = BTreeSet::from([Ipv4Addr::new(192, 0, 2, 8)]);
        let told = wish(&service(balancer.clone(), condition.clone()), "ours");
        assert_eq!(told, Some(Wish { addresses: addresses.clone(), is_local: false }));
        let local = json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local"});
        assert_eq!(
            wish(&service(local, condition.clone()), "ours"),
            Some(Wish { addresses, is_local: true })
        );
        assert_eq!(wish(&service(balancer.clone(), Value::Null), "ours"), None, "the nodes' own");
        assert_eq!(wish(&service(balancer, condition.clone()), "other"), None);
        assert_eq!(wish(&service(json!({"type": "ClusterIP"}), condition.clone()), "ours"), None);
        let classed = json!({"type": "LoadBalancer", "loadBalancerClass": "example.com/x"});
        assert_eq!(wish(&service(classed, condition), "ours"), None);
    }

    #[test]
    fn endpoints_that_leave_count_where_no_others_are() {
        let slice = |endpoints: Value| -> EndpointSlice {
            let slice = json!({"metadata": {}, "addressType": "IPv4", "endpoints": endpoints});
            serde_json::from_value(slice).expect("a slice")
        };
        let ready = json!({"addresses": ["10.0.0.1"], "nodeName": "a"});
        let leaving = json!({"addresses": ["10.0.0.2"], "nodeName": "b",
            "conditions": {"ready": false, "serving": true, "terminating": true}});
        let broken = json!({"addresses": ["10.0.0.3"], "nodeName": "c", "conditions": {"ready": false}});
        let of = |slices: &[EndpointSlice]| with_endpoints(slices.iter()).into_iter().collect::<Vec<_>>();
        assert_eq!(of(&[slice(json!([leaving])), slice(json!([ready, broken]))]), ["a"]);
        assert_eq!(of(&[slice(json!([leaving, broken]))]), ["b"]);
        assert!(of(&[]).is_empty());
    }

    #[test]
    fn readiness_is_read_from_a_node() {
        let read = |json: &str| serde_json::from_str::<Readiness>(json).expect("readable").is_ready;
        assert!(read(
            r#"{"status":{"conditions":[{"type":"DiskPressure","status":"False"},{"type":"Ready","status":"True"}]}}"#
        ));
        assert!(!read(r#"{"status":{"conditions":[{"type":"Ready","status":"Unknown"}]}}"#));
        assert!(!read(r#"{"status":null}"#) && !read(r#"{"status":{"conditions":null}}"#));
    }
}
