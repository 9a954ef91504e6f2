//! `/stats/summary`: the resource usage of pods and containers, as the runtime reports it, and of the node
//! ([`machine`]).

mod machine;

use std::collections::HashMap;

use cri::v1;
use http::{Response, StatusCode};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Map, Value, json};

use super::answer::{self, Body};
use super::{ServerDeps, usage};
use crate::cri_view::LABEL_CONTAINER_NAME;
use crate::seams::ClaimFigures;

pub async fn answer(deps: &ServerDeps) -> Response<Body> {
    let request = v1::ListPodSandboxStatsRequest::default();
    let mut runtime = deps.runtime.clone();
    let listed = deps.operations.counted("list_podsandbox_stats", runtime.list_pod_sandbox_stats(request));
    match listed.await {
        Ok(stats) => {
            let known = deps.pods.pods();
            let by_uid: HashMap<&str, &Pod> =
                known.iter().filter_map(|pod| Some((pod.metadata.uid.as_deref()?, &**pod))).collect();
            let stats = stats.into_inner().stats;
            let claims = deps.volumes.claim_figures().await;
            let now = deps.clock.now();
            let shown = |stats| pod(stats, &by_uid, volumes(stats, &claims, now));
            let pods: Vec<Value> = stats.iter().map(shown).collect();
            let summary = json!({"node": machine::node(deps).await, "pods": pods});
            answer::with_type(StatusCode::OK, "application/json", summary.to_string())
        }
        Err(error) if error.code() == tonic::Code::Unimplemented => {
            answer::text(StatusCode::NOT_IMPLEMENTED, "the container runtime counts no pods' resources")
        }
        Err(error) => answer::text(StatusCode::INTERNAL_SERVER_ERROR, error.message()),
    }
}

/// The volumes of claims that the pod has.
fn volumes(stats: &v1::PodSandboxStats, claims: &[ClaimFigures], now: Timestamp) -> Vec<Value> {
    let metadata = stats.attributes.as_ref().and_then(|attributes| attributes.metadata.as_ref());
    let uid = metadata.map_or("", |metadata| metadata.uid.as_str());
    let one = |claim: &ClaimFigures| {
        let figures = &claim.figures;
        let mut out = Map::from_iter([
            ("time".to_owned(), Value::String(now.to_string())),
            ("name".to_owned(), claim.volume.as_str().into()),
            ("pvcRef".to_owned(), json!({"name": claim.claim, "namespace": claim.namespace})),
        ]);
        let known = [
            ("capacityBytes", figures.capacity_bytes),
            ("availableBytes", figures.available_bytes),
            ("usedBytes", figures.used_bytes),
            ("inodes", figures.inodes),
            ("inodesFree", figures.inodes_free),
            ("inodesUsed", figures.inodes_used),
        ];
        set(&mut out, known.map(|(name, amount)| (name, amount.map(Value::from))));
        Value::Object(out)
    };
    claims.iter().filter(|claim| !uid.is_empty() && claim.pod_uid == uid).map(one).collect()
}

fn pod(stats: &v1::PodSandboxStats, by_uid: &HashMap<&str, &Pod>, volumes: Vec<Value>) -> Value {
    let metadata = stats.attributes.clone().unwrap_or_default().metadata.unwrap_or_default();
    let linux = stats.linux.clone().unwrap_or_default();
    let known = by_uid.get(metadata.uid.as_str()).copied();
    let containers = linux.containers.iter().map(|stats| container(stats, known));
    let mut out = json!({
        "podRef": {"name": metadata.name, "namespace": metadata.namespace, "uid": metadata.uid},
        "containers": containers.collect::<Vec<_>>(),
    });
    let fields = [("cpu", linux.cpu.as_ref().map(cpu)), ("memory", linux.memory.as_ref().map(memory))];
    if let Some(map) = out.as_object_mut() {
        set(map, fields);
        if let Some(network) = linux.network.as_ref().and_then(network) {
            map.insert("network".to_owned(), network);
        }
        if !volumes.is_empty() {
            map.insert("volume".to_owned(), volumes.into());
        }
    }
    out
}

fn container(stats: &v1::ContainerStats, pod: Option<&Pod>) -> Value {
    let attributes = stats.attributes.clone().unwrap_or_default();
    let named = attributes.metadata.map(|m| m.name).filter(|n| !n.is_empty());
    let name = named.or_else(|| attributes.labels.get(LABEL_CONTAINER_NAME).cloned()).unwrap_or_default();
    let status = pod.and_then(|pod| usage::status_of(pod, &name));
    let running = status.and_then(|status| status.state.as_ref()?.running.as_ref()?.started_at.as_ref());
    let started = running.map(|started| Value::String(started.0.to_string()));
    let mut out = Map::from_iter([("name".to_owned(), Value::String(name))]);
    let disk = stats.writable_layer.as_ref().map(|layer| {
        json!({"time": time(layer.timestamp), "usedBytes": number(&layer.used_bytes),
            "inodesUsed": number(&layer.inodes_used)})
    });
    let (cpu, memory) = (stats.cpu.as_ref().map(cpu), stats.memory.as_ref().map(memory));
    set(&mut out, [("startTime", started), ("cpu", cpu), ("memory", memory), ("rootfs", disk)]);
    Value::Object(out)
}

fn set<const N: usize>(map: &mut Map<String, Value>, fields: [(&str, Option<Value>); N]) {
    map.extend(fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
}

fn cpu(usage: &v1::CpuUsage) -> Value {
    json!({"time": time(usage.timestamp), "usageNanoCores": number(&usage.usage_nano_cores),
        "usageCoreNanoSeconds": number(&usage.usage_core_nano_seconds)})
}

fn memory(usage: &v1::MemoryUsage) -> Value {
    json!({"time": time(usage.timestamp), "availableBytes": number(&usage.available_bytes),
        "usageBytes": number(&usage.usage_bytes), "workingSetBytes": number(&usage.working_set_bytes),
        "rssBytes": number(&usage.rss_bytes), "pageFaults": number(&usage.page_faults),
        "majorPageFaults": number(&usage.major_page_faults)})
}

fn network(usage: &v1::NetworkUsage) -> Option<Value> {
    let one = |i: &v1::NetworkInterfaceUsage| {
        json!({"name": i.name, "rxBytes": number(&i.rx_bytes), "rxErrors": number(&i.rx_errors),
            "txBytes": number(&i.tx_bytes), "txErrors": number(&i.tx_errors)})
    };
    let mut out = one(usage.default_interface.as_ref()?);
    let map = out.as_object_mut()?;
    map.insert("time".to_owned(), time(usage.timestamp));
    map.insert("interfaces".to_owned(), usage.interfaces.iter().map(one).collect());
    Some(out)
}

fn number(value: &Option<v1::UInt64Value>) -> Option<u64> {
    value.as_ref().map(|v| v.value)
}

/// Nanoseconds since 1970 as the API writes times; null when the runtime gave none.
fn time(nanoseconds: i64) -> Value {
    let known = (nanoseconds > 0).then(|| Timestamp::from_nanosecond(i128::from(nanoseconds)).ok()).flatten();
    known.map_or(Value::Null, |t| Value::String(t.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seams::VolumeFigures;

    #[test]
    fn a_pod_shows_what_its_claims_hold() {
        let metadata = v1::PodSandboxMetadata { uid: "u".into(), ..Default::default() };
        let attributes = v1::PodSandboxAttributes { metadata: Some(metadata), ..Default::default() };
        let stats = v1::PodSandboxStats { attributes: Some(attributes), ..Default::default() };
        let claim = |uid: &str| ClaimFigures {
            pod_uid: uid.into(),
            volume: "data".into(),
            namespace: "n".into(),
            claim: "c".into(),
            figures: VolumeFigures { capacity_bytes: Some(7), ..VolumeFigures::default() },
        };
        let now = Timestamp::UNIX_EPOCH;
        let shown = pod(&stats, &HashMap::new(), volumes(&stats, &[claim("u"), claim("other")], now));
        let volume = json!({"time": now.to_string(), "name": "data", "capacityBytes": 7,
            "pvcRef": {"name": "c", "namespace": "n"}});
        assert_eq!(shown["volume"], json!([volume]));
        assert!(pod(&stats, &HashMap::new(), Vec::new()).get("volume").is_none());
    }
}
