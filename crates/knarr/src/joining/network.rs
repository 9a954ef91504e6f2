//! The cluster's addresses, from the ConfigMap `kube-system/kubeadm-config`: kubeadm's description of a cluster, which
//! every node may read.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use serde::Deserialize;

use crate::api_error::words;
use crate::cluster::{CLUSTER_DOMAIN, ClusterNetwork};

const NAMESPACE: &str = "kube-system";
const NAME: &str = "kubeadm-config";
const KEY: &str = "ClusterConfiguration";
/// Which addresses of the Services' range the API's Service and cluster DNS have, as with kubeadm.
const API_SERVICE: u32 = 1;
const DNS: u32 = 10;

#[derive(Deserialize)]
struct ClusterConfiguration {
    networking: Networking,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Networking {
    #[serde(default)]
    dns_domain: Option<String>,
    pod_subnet: String,
    service_subnet: String,
}

/// Asks for the cluster's addresses.
///
/// # Errors
/// When the ConfigMap cannot be read, or does not say what a node must know.
pub async fn of(client: &Client) -> Result<ClusterNetwork> {
    let maps = Api::<ConfigMap>::namespaced(client.clone(), NAMESPACE);
    let what = || format!("reading the cluster's addresses from the ConfigMap {NAMESPACE}/{NAME}");
    let map = maps.get(NAME).await.map_err(words).with_context(what)?;
    let text = map.data.as_ref().and_then(|data| data.get(KEY));
    read(text.with_context(|| format!("it has no {KEY}")).with_context(what)?).with_context(what)
}

fn read(text: &str) -> Result<ClusterNetwork> {
    let configuration: ClusterConfiguration =
        serde_saphyr::from_str(text).map_err(|error| anyhow::anyhow!("{error}"))?;
    let Networking { dns_domain, pod_subnet, service_subnet } = configuration.networking;
    let services =
        ipv4(&service_subnet).with_context(|| format!("the range of Services {service_subnet:?}"))?;
    let pods = ipv4(&pod_subnet).with_context(|| format!("the range of pods {pod_subnet:?}"))?;
    Ok(ClusterNetwork {
        pod_cidr: pods.to_string(),
        service_cidr: services.to_string(),
        api_service_ip: nth(services, API_SERVICE)?,
        dns_ip: nth(services, DNS)?,
        domain: dns_domain.filter(|domain| !domain.is_empty()).unwrap_or_else(|| CLUSTER_DOMAIN.to_owned()),
    })
}

/// The range of the family that nodes use, of one or two.
fn ipv4(ranges: &str) -> Result<Ipv4Net> {
    ranges.split(',').find_map(|range| range.trim().parse().ok()).context("has no range of IPv4 addresses")
}

fn nth(range: Ipv4Net, n: u32) -> Result<Ipv4Addr> {
    let address = u32::from(range.network()).checked_add(n).map(Ipv4Addr::from);
    address
        .filter(|address| range.contains(address))
        .with_context(|| format!("the range of Services {range} is too small"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(pods: &str, services: &str) -> String {
        format!(
            "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nclusterName: c\nnetworking:\n  dnsDomain: \
             example.org\n  podSubnet: {pods}\n  serviceSubnet: {services}\n"
        )
    }

    #[test]
    fn a_node_knows_the_addresses_from_the_ranges() {
        let network = read(&text("10.244.0.0/16", "10.96.0.0/16")).expect("read");
        assert_eq!(
            (network.pod_cidr.as_str(), network.service_cidr.as_str()),
            ("10.244.0.0/16", "10.96.0.0/16")
        );
        assert_eq!(network.api_service_ip, Ipv4Addr::new(10, 96, 0, 1));
        assert_eq!(network.dns_ip, Ipv4Addr::new(10, 96, 0, 10));
        assert_eq!(network.domain, "example.org");
        let two = read(&text("fd00::/64,10.244.0.0/16", "10.96.0.0/12,fd01::/112")).expect("read");
        assert_eq!((two.pod_cidr.as_str(), two.service_cidr.as_str()), ("10.244.0.0/16", "10.96.0.0/12"));
    }

    #[test]
    fn what_it_cannot_use_is_named() {
        let why = |text: &str| format!("{:#}", read(text).expect_err("refused"));
        assert!(why(&text("fd00::/64", "10.96.0.0/16")).contains("the range of pods \"fd00::/64\""));
        assert!(why(&text("10.244.0.0/16", "10.96.0.0/29")).contains("10.96.0.0/29 is too small"));
        assert!(why("networking: {}").contains("podSubnet"));
    }
}
