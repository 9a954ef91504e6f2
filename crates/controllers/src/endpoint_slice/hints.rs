//! For which zones and nodes an endpoint is meant, by the Service's `trafficDistribution` (KEP-4444, KEP-3015).

use k8s_openapi::api::core::v1::ServiceSpec;
use k8s_openapi::api::discovery::v1::{EndpointHints, ForNode, ForZone};

/// The hints of an endpoint; `None` where the Service does not ask for any, or the endpoint is not ready.
pub(super) fn of(
    spec: &ServiceSpec,
    ready: bool,
    zone: Option<&str>,
    node: Option<&str>,
) -> Option<EndpointHints> {
    let by_node = match spec.traffic_distribution.as_deref() {
        Some("PreferClose" | "PreferSameZone") => false,
        Some("PreferSameNode") => true,
        _ => return None,
    };
    let for_zones = zone.map(|zone| vec![ForZone { name: zone.to_owned() }]);
    let for_nodes = node.filter(|_| by_node).map(|node| vec![ForNode { name: node.to_owned() }]);
    let any = for_zones.is_some() || for_nodes.is_some();
    (ready && any).then_some(EndpointHints { for_nodes, for_zones })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_follow_the_traffic_distribution() {
        let hints = |distribution: &str, ready, zone: Option<&str>| {
            let traffic_distribution = Some(distribution.to_owned()).filter(|text| !text.is_empty());
            let spec = ServiceSpec { traffic_distribution, ..ServiceSpec::default() };
            let hints = of(&spec, ready, zone, Some("n"))?;
            let zones = hints.for_zones.into_iter().flatten().map(|zone| zone.name);
            Some(zones.chain(hints.for_nodes.into_iter().flatten().map(|node| node.name)).collect::<Vec<_>>())
        };
        let words = |all: &[&str]| Some(all.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!(hints("", true, Some("z")), None);
        assert_eq!(hints("PreferClose", true, Some("z")), words(&["z"]));
        assert_eq!(hints("PreferSameZone", true, Some("z")), words(&["z"]));
        assert_eq!(hints("PreferSameZone", true, None), None);
        assert_eq!(hints("PreferSameNode", true, Some("z")), words(&["z", "n"]));
        assert_eq!(hints("PreferSameNode", true, None), words(&["n"]));
        assert_eq!(hints("PreferSameNode", false, Some("z")), None);
    }
}
