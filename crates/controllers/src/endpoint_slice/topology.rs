//! The older way to hints, by the annotation `service.kubernetes.io/topology-mode: Auto` (KEP-2433): every zone is meant
//! to use as many endpoints as it has of the cluster's CPU. Hints that are still good enough stay, so that a change
//! writes few slices. Upstream: `k8s.io/endpointslice/topologycache`.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointHints, EndpointSlice, ForZone};

use crate::service_endpoints::slices::endpoints;

/// How much more than its part an endpoint may have to bear.
const OVERLOAD: f64 = 0.2;
const ANNOTATIONS: [&str; 2] =
    ["service.kubernetes.io/topology-aware-hints", "service.kubernetes.io/topology-mode"];

/// Each zone's part of the cluster's CPU; `None` where nodes do not say enough, or there are fewer than two zones.
pub(super) type Shares = Option<BTreeMap<String, f64>>;

/// Whether the Service asks for hints by its annotation.
pub(super) fn is_asked_for(service: &Service) -> bool {
    let annotations = service.metadata.annotations.as_ref();
    let value = annotations.and_then(|all| ANNOTATIONS.iter().find_map(|key| all.get(*key)));
    value.is_some_and(|value| value == "Auto" || value == "auto")
}

/// The zones' parts, from the zone and the CPU, in thousandths of a core, of every node that may run pods.
pub(super) fn shares<'n>(nodes: impl Iterator<Item = (Option<&'n str>, i64)>) -> Shares {
    let mut by_zone: BTreeMap<String, i64> = BTreeMap::new();
    for (zone, cpu_m) in nodes {
        let zone = zone.filter(|_| cpu_m > 0)?;
        *by_zone.entry(zone.to_owned()).or_default() += cpu_m;
    }
    let part = |cpu_m: i64, all: i64| small(cpu_m) / small(all);
    let all = by_zone.values().sum();
    (by_zone.len() > 1).then(|| by_zone.into_iter().map(|(zone, cpu_m)| (zone, part(cpu_m, all))).collect())
}

/// Exact for all numbers of endpoints and of thousandths of cores that there are.
#[expect(clippy::cast_precision_loss, reason = "the numbers are far below 2^52")]
fn small(number: i64) -> f64 {
    number as f64
}

fn count(number: usize) -> f64 {
    small(i64::try_from(number).unwrap_or(i64::MAX))
}

/// How many endpoints are meant for a zone.
#[derive(Debug, Clone, Copy)]
struct Allocation {
    maximum: usize,
    desired: f64,
}

fn allocations(shares: &Shares, ready: usize) -> Result<BTreeMap<&str, Allocation>, String> {
    let Some(shares) = shares else {
        let why = "allocatable CPU or zone not specified on one or more nodes";
        return Err(format!("Insufficient Node information: {why}"));
    };
    let numbers = format!("({ready} endpoints, {} zones)", shares.len());
    if shares.len() > ready {
        return Err(format!("Insufficient number of endpoints {numbers}"));
    }
    let least = |share: f64| ceil(share * count(ready) / (1.0 + OVERLOAD));
    let all: usize = shares.values().map(|share| least(*share)).sum();
    if all > ready {
        let why =
            "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold";
        return Err(format!("{why} {numbers}"));
    }
    let allocation = |share: f64| {
        let minimum = least(share);
        Allocation { maximum: minimum + ready - all, desired: (share * count(ready)).max(count(minimum)) }
    };
    Ok(shares.iter().map(|(zone, share)| (&**zone, allocation(*share))).collect())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a number of endpoints"
)]
fn ceil(number: f64) -> usize {
    number.ceil() as usize
}

fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) == Some(true)
}

fn zone_of(endpoint: &Endpoint) -> Option<&str> {
    endpoint.zone.as_deref().filter(|zone| !zone.is_empty())
}

fn for_zone(zone: &str) -> Option<EndpointHints> {
    let zones = vec![ForZone { name: zone.to_owned() }];
    Some(EndpointHints { for_zones: Some(zones), for_nodes: None })
}

/// Gives the endpoints of the slices that are written their hints. Slices that were to stay and cannot are moved from
/// `same` to `written`.
///
/// # Errors
/// Says why there are no hints; then no slice has any.
pub(super) fn give(
    shares: &Shares,
    written: &mut Vec<EndpointSlice>,
    same: &mut Vec<Arc<EndpointSlice>>,
) -> Result<(), String> {
    let given = try_to_give(shares, written, same);
    if given.is_err() {
        let hinted = same.extract_if(.., |slice| endpoints(slice).iter().any(|one| one.hints.is_some()));
        written.extend(hinted.map(Arc::unwrap_or_clone));
        for endpoint in written.iter_mut().flat_map(|slice| slice.endpoints.iter_mut().flatten()) {
            endpoint.hints = None;
        }
    }
    given
}

fn try_to_give(
    shares: &Shares,
    written: &mut Vec<EndpointSlice>,
    same: &mut Vec<Arc<EndpointSlice>>,
) -> Result<(), String> {
    let ready = |slice: &EndpointSlice| endpoints(slice).iter().filter(|one| is_ready(one)).count();
    let all = written.iter().map(ready).sum::<usize>() + same.iter().map(|slice| ready(slice)).sum::<usize>();
    let allocations = allocations(shares, all)?;
    let mut given: BTreeMap<String, usize> = BTreeMap::new();
    let unfit = same.extract_if(.., |slice| !is_good_enough(slice, &allocations, &mut given));
    written.extend(unfit.map(Arc::unwrap_or_clone));
    for endpoint in written.iter_mut().flat_map(|slice| slice.endpoints.iter_mut().flatten()) {
        endpoint.hints = None;
        if is_ready(endpoint) {
            let zone = zone_of(endpoint).ok_or("One or more endpoints do not have a zone specified")?;
            *given.entry(zone.to_owned()).or_default() += 1;
            endpoint.hints = for_zone(zone);
        }
    }
    let (mut giving, mut receiving) = moves(&allocations, &given);
    for endpoint in written.iter_mut().flat_map(|slice| slice.endpoints.iter_mut().flatten()) {
        let Some(mut left) = receiving.first_entry() else { break };
        let from = zone_of(endpoint).filter(|_| is_ready(endpoint)).and_then(|zone| giving.get_mut(zone));
        if let Some(surplus) = from.filter(|surplus| **surplus > 0) {
            *surplus -= 1;
            *left.get_mut() -= 1;
            endpoint.hints = for_zone(left.key());
            if *left.get() == 0 {
                left.remove();
            }
        }
    }
    Ok(())
}

/// Whether the hints of a slice can stay beside those of the slices before; these are counted in `given`.
fn is_good_enough(
    slice: &EndpointSlice,
    allocations: &BTreeMap<&str, Allocation>,
    given: &mut BTreeMap<String, usize>,
) -> bool {
    let mut own: BTreeMap<&str, usize> = BTreeMap::new();
    for endpoint in endpoints(slice).iter().filter(|endpoint| is_ready(endpoint)) {
        let zones = endpoint.hints.as_ref().and_then(|hints| hints.for_zones.as_deref()).unwrap_or_default();
        if zones.is_empty() {
            return false;
        }
        for zone in zones {
            *own.entry(&zone.name).or_default() += 1;
        }
    }
    let fits = own.iter().all(|(zone, number)| {
        let before = given.get(*zone).copied().unwrap_or(0);
        allocations.get(zone).is_some_and(|allocation| before + number <= allocation.maximum)
    });
    if fits {
        for (zone, number) in own {
            *given.entry(zone.to_owned()).or_default() += number;
        }
    }
    fits
}

/// How many endpoints zones give to others, and how many they get.
fn moves<'z>(
    allocations: &BTreeMap<&'z str, Allocation>,
    given: &BTreeMap<String, usize>,
) -> (BTreeMap<&'z str, usize>, BTreeMap<&'z str, usize>) {
    let mut over: BTreeMap<&str, f64> = BTreeMap::new();
    for (zone, allocation) in allocations {
        over.insert(zone, count(given.get(*zone).copied().unwrap_or(0)) - allocation.desired);
    }
    let (mut giving, mut receiving): (BTreeMap<&str, usize>, BTreeMap<&str, usize>) = Default::default();
    loop {
        let most = over.iter().max_by(|a, b| a.1.total_cmp(b.1)).map(|(zone, over)| (*zone, *over));
        let least = over.iter().min_by(|a, b| a.1.total_cmp(b.1)).map(|(zone, over)| (*zone, -*over));
        let (Some((from, surplus)), Some((to, lack))) = (most, least) else { break };
        if surplus.max(lack) < 1.0 || surplus < 0.5 || lack < 0.5 {
            break;
        }
        *giving.entry(from).or_default() += 1;
        *receiving.entry(to).or_default() += 1;
        over.insert(from, surplus - 1.0);
        over.insert(to, 1.0 - lack);
    }
    (giving, receiving)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A slice with these endpoints, each by its zone and the zone of its hint.
    fn slice(endpoints: &[(&str, &str)]) -> EndpointSlice {
        let endpoint = |(zone, hint): &(&str, &str)| {
            let hints = if hint.is_empty() { json!(null) } else { json!({"forZones": [{"name": hint}]}) };
            let zone = if zone.is_empty() { json!(null) } else { json!(zone) };
            json!({"addresses": ["10.0.0.1"], "conditions": {"ready": true}, "zone": zone, "hints": hints})
        };
        let endpoints: Vec<_> = endpoints.iter().map(endpoint).collect();
        serde_json::from_value(json!({"metadata": {}, "addressType": "IPv4", "endpoints": endpoints}))
            .expect("a slice")
    }

    fn hints(slice: &EndpointSlice) -> String {
        let hint = |endpoint: &Endpoint| {
            let zones = endpoint.hints.as_ref().and_then(|hints| hints.for_zones.clone()).unwrap_or_default();
            zones.first().map_or("-".to_owned(), |zone| zone.name.clone())
        };
        endpoints(slice).iter().map(hint).collect::<Vec<_>>().join(" ")
    }

    fn nodes(zones: &[(&str, i64)]) -> Shares {
        shares(zones.iter().map(|(zone, cpu_m)| (Some(*zone).filter(|zone| !zone.is_empty()), *cpu_m)))
    }

    #[test]
    fn zones_have_their_part_of_the_cpu() {
        let shares = nodes(&[("a", 1000), ("a", 1000), ("b", 2000)]).expect("two zones");
        assert_eq!(shares.into_iter().collect::<Vec<_>>(), [("a".to_owned(), 0.5), ("b".to_owned(), 0.5)]);
        assert_eq!(nodes(&[("a", 1000)]), None);
        assert_eq!(nodes(&[("a", 1000), ("b", 0)]), None);
        assert_eq!(nodes(&[("a", 1000), ("", 1000), ("b", 1000)]), None);
    }

    #[test]
    fn endpoints_are_spread_as_the_cpu_is() {
        let even = nodes(&[("a", 1000), ("b", 1000)]);
        let mut same = Vec::new();
        let mut written = vec![slice(&[("a", ""), ("a", ""), ("a", ""), ("b", "")])];
        assert_eq!(give(&even, &mut written, &mut same), Ok(()));
        assert_eq!(hints(&written[0]), "b a a b", "one of three is given to the zone that has one");
        // What is good enough stays; what is not is written.
        same = vec![Arc::new(slice(&[("a", "a"), ("b", "b")])), Arc::new(slice(&[("a", "a"), ("b", "c")]))];
        written = Vec::new();
        assert_eq!(give(&even, &mut written, &mut same), Ok(()));
        assert_eq!((same.len(), written.iter().map(hints).collect::<Vec<_>>()), (1, vec!["a b".to_owned()]));
        // By upstream's `TestAddHints`: an uneven one.
        let uneven = nodes(&[("a", 4000), ("b", 4000), ("c", 4000)]);
        written = vec![slice(&[("a", ""), ("b", ""), ("b", "")]), slice(&[("c", ""), ("c", ""), ("a", "")])];
        assert_eq!(give(&uneven, &mut written, &mut Vec::new()), Ok(()));
        assert_eq!(written.iter().map(hints).collect::<Vec<_>>(), ["a b b", "c c a"]);
    }

    #[test]
    fn without_grounds_there_are_no_hints() {
        let refused = |shares: &Shares, endpoints: &[(&str, &str)]| {
            let (mut written, mut same) = (vec![slice(endpoints)], vec![Arc::new(slice(&[("a", "a")]))]);
            let why = give(shares, &mut written, &mut same).expect_err("no hints");
            assert!(same.is_empty() && written.iter().all(|slice| !hints(slice).contains('a')), "{why}");
            why
        };
        let three = nodes(&[("a", 1000), ("b", 1000), ("c", 1000)]);
        assert_eq!(
            refused(&None, &[("a", "")]),
            "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes"
        );
        assert_eq!(refused(&three, &[("a", "")]), "Insufficient number of endpoints (2 endpoints, 3 zones)");
        let why =
            "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold";
        assert_eq!(
            refused(&three, &[("a", ""), ("b", ""), ("c", "")]),
            format!("{why} (4 endpoints, 3 zones)")
        );
        let zoneless = &[("a", ""), ("", "")][..];
        let two = nodes(&[("a", 1000), ("b", 1000)]);
        assert_eq!(
            refused(&two, zoneless),
            "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold (3 endpoints, 2 zones)"
        );
        let zoneless = &[("a", ""), ("", ""), ("b", "")][..];
        assert_eq!(refused(&two, zoneless), "One or more endpoints do not have a zone specified");
    }
}
