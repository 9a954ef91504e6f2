//! Cluster DNS, on the address of its Service.

use std::sync::Arc;

use anyhow::Result;
use base::SystemClock;
use client::{EventType, Recorder};
use informer::Scope;
use ipnet::IpNet;
use k8s_openapi::api::core::v1::ObjectReference;
use network::dns::{CONFIG_MAP, Dns, DnsConfig, NAMESPACE, RulesFrom, View, default_corefile};

use super::AgentDeps;
use crate::roles::built::Built;

/// Where CoreDNS shows its metrics.
const METRICS_PORT: u16 = 9153;

/// Opens the address.
///
/// # Errors
/// When the node does not have it, or it is taken.
pub(super) async fn build(deps: &AgentDeps) -> Result<Built> {
    let view = View { services: deps.informers.cache(), slices: deps.informers.cache() };
    let cluster = &deps.network;
    let ranges = vec![cluster.pod_cidr.parse()?, cluster.service_cidr.parse()?];
    let mut clients: Vec<IpNet> = ranges.clone();
    // The machine itself asks from the address it is asked on.
    clients.push("127.0.0.0/8".parse()?);
    let config = DnsConfig {
        listen: (cluster.dns_ip, network::dns::PORT).into(),
        domain: cluster.domain.clone(),
        ranges,
        clients,
        metrics: Some((cluster.dns_ip, METRICS_PORT).into()),
        corefile: default_corefile(&cluster.domain),
        resolv_conf: deps.node.resolv_conf.clone(),
    };
    let dns = Dns::bind(config, view, Some(rules(deps))).await?;
    Ok(Built::new(|shutdown| dns.run(shutdown)))
}

/// The ConfigMap that the rules are read from; what is wrong with it is an Event about it.
fn rules(deps: &AgentDeps) -> RulesFrom {
    let one = format!("metadata.name={CONFIG_MAP},metadata.namespace={NAMESPACE}");
    let recorder = Recorder::start(
        deps.api.network.clone(),
        "kube-dns",
        Some(deps.node.name.clone()),
        Arc::new(SystemClock),
        &deps.supervisor,
    );
    let complain = move |map: &k8s_openapi::api::core::v1::ConfigMap, what: &str| {
        let about = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("ConfigMap".to_owned()),
            namespace: map.metadata.namespace.clone(),
            name: map.metadata.name.clone(),
            uid: map.metadata.uid.clone(),
            resource_version: map.metadata.resource_version.clone(),
            ..ObjectReference::default()
        };
        recorder.event(&about, EventType::Warning, "InvalidCorefile", what);
    };
    RulesFrom { maps: deps.informers.cache_of(Scope::fields(one)), complain: Box::new(complain) }
}
