//! `/stats/summary`: the resource usage of pods and containers, as the runtime reports it, and of the node
//! ([`machine`]).

mod machine;
mod rates;

use std::collections::HashMap;

use cri::v1;
use http::{Response, StatusCode};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Map, Value, json};

use super::answer::{self, Body};
use super::{ServerDeps, usage};
use crate::cri_view::LABEL_CONTAINER_NAME;
use crate::node::machine::Pressure;
use crate::seams::{ClaimFigures, PodDirectory};
pub use rates::Rates;

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
            let disk = machine::disk(deps).await;
            let of = Of { by_uid: &by_uid, rates: &deps.rates, logs: &*deps.pods, disk: disk.as_ref(), now };
            let shown = |stats| pod(stats, &of, volumes(stats, &claims, now));
            let pods: Vec<Value> = stats.iter().map(shown).collect();
            let summary = json!({"node": machine::node(deps, disk), "pods": pods});
            answer::with_type(StatusCode::OK, "application/json", summary.to_string())
        }
        Err(error) if error.code() == tonic::Code::Unimplemented => {
            answer::text(StatusCode::NOT_IMPLEMENTED, "the container runtime counts no pods' resources")
        }
        Err(error) => answer::text(StatusCode::INTERNAL_SERVER_ERROR, error.message()),
    }
}

/// What is known beside the runtime's figures.
struct Of<'a> {
    by_uid: &'a HashMap<&'a str, &'a Pod>,
    rates: &'a Rates,
    logs: &'a dyn PodDirectory,
    /// The file system that layers and logs are on.
    disk: Option<&'a Pressure>,
    now: Timestamp,
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

fn pod(stats: &v1::PodSandboxStats, of: &Of<'_>, volumes: Vec<Value>) -> Value {
    let metadata = stats.attributes.clone().unwrap_or_default().metadata.unwrap_or_default();
    let linux = stats.linux.clone().unwrap_or_default();
    let known = of.by_uid.get(metadata.uid.as_str()).copied();
    let containers = linux.containers.iter().map(|stats| container(stats, &metadata, of));
    let mut out = Map::from_iter([
        (
            "podRef".to_owned(),
            json!({"name": metadata.name, "namespace": metadata.namespace, "uid": metadata.uid}),
        ),
        ("containers".to_owned(), containers.collect()),
    ]);
    let started = known.and_then(|pod| pod.status.as_ref()?.start_time.as_ref());
    let processes = linux.process.as_ref().and_then(|process| number(&process.process_count));
    let swapped = linux.containers.iter().filter_map(|c| number(&c.swap.as_ref()?.swap_usage_bytes));
    let swapped: Vec<u64> = swapped.collect();
    let sum = (!swapped.is_empty()).then(|| swapped.iter().sum::<u64>());
    let fields = [
        ("startTime", started.map(|started| Value::String(started.0.to_string()))),
        ("cpu", linux.cpu.as_ref().map(|usage| cpu(usage, &metadata.uid, of.rates))),
        ("memory", linux.memory.as_ref().map(memory)),
        ("network", linux.network.as_ref().and_then(network)),
        ("volume", (!volumes.is_empty()).then(|| volumes.into())),
        ("process_stats", processes.map(|count| json!({"process_count": count}))),
        ("swap", sum.map(|bytes| json!({"time": of.now.to_string(), "swapUsageBytes": bytes}))),
    ];
    set(&mut out, fields);
    Value::Object(out)
}

fn container(stats: &v1::ContainerStats, pod: &v1::PodSandboxMetadata, of: &Of<'_>) -> Value {
    let attributes = stats.attributes.clone().unwrap_or_default();
    let named = attributes.metadata.map(|m| m.name).filter(|n| !n.is_empty());
    let name = named.or_else(|| attributes.labels.get(LABEL_CONTAINER_NAME).cloned()).unwrap_or_default();
    let known = of.by_uid.get(pod.uid.as_str());
    let status = known.and_then(|pod| usage::status_of(pod, &name));
    let running = status.and_then(|status| status.state.as_ref()?.running.as_ref()?.started_at.as_ref());
    let started = running.map(|started| Value::String(started.0.to_string()));
    let logs = log_folder(of.logs, pod, &name)
        .map(|bytes| on_disk(of, of.now.to_string().into(), Some(bytes), None));
    let disk = stats.writable_layer.as_ref().map(|layer| {
        on_disk(of, time(layer.timestamp), number(&layer.used_bytes), number(&layer.inodes_used))
    });
    let swap = stats.swap.as_ref().map(|swap| {
        figures(
            time(swap.timestamp),
            [
                ("swapAvailableBytes", number(&swap.swap_available_bytes)),
                ("swapUsageBytes", number(&swap.swap_usage_bytes)),
            ],
        )
    });
    let mut out = Map::from_iter([("name".to_owned(), Value::String(name))]);
    let fields = [
        ("startTime", started),
        ("cpu", stats.cpu.as_ref().map(|usage| cpu(usage, &attributes.id, of.rates))),
        ("memory", stats.memory.as_ref().map(memory)),
        ("rootfs", disk),
        ("logs", logs),
        ("swap", swap),
    ];
    set(&mut out, fields);
    Value::Object(out)
}

/// How large a container's logs are, with those that were rotated.
fn log_folder(pods: &dyn PodDirectory, pod: &v1::PodSandboxMetadata, container: &str) -> Option<u64> {
    let found = pods.container(&pod.namespace, &pod.name, container, false).ok()?;
    let files = std::fs::read_dir(found.log_path.parent()?).ok()?;
    let sizes = files.filter_map(|file| file.ok()?.metadata().ok()).filter(std::fs::Metadata::is_file);
    Some(sizes.map(|file| file.len()).sum())
}

/// A part of the node's file system.
fn on_disk(of: &Of<'_>, time: Value, used_bytes: Option<u64>, inodes_used: Option<u64>) -> Value {
    let disk = |figure: fn(&Pressure) -> u64| of.disk.map(figure);
    figures(
        time,
        [
            ("availableBytes", disk(|disk| disk.storage_available_bytes)),
            ("capacityBytes", disk(|disk| disk.storage_bytes)),
            ("usedBytes", used_bytes),
            ("inodesFree", disk(|disk| disk.inodes_free)),
            ("inodes", disk(|disk| disk.inodes)),
            ("inodesUsed", inodes_used),
        ],
    )
}

/// The figures that are known, and when.
fn figures<const N: usize>(time: Value, known: [(&str, Option<u64>); N]) -> Value {
    let mut out = Map::from_iter([("time".to_owned(), time)]);
    set(&mut out, known.map(|(name, value)| (name, value.map(Value::from))));
    Value::Object(out)
}

fn set<const N: usize>(map: &mut Map<String, Value>, fields: [(&str, Option<Value>); N]) {
    map.extend(fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
}

fn cpu(usage: &v1::CpuUsage, id: &str, rates: &Rates) -> Value {
    let used = number(&usage.usage_core_nano_seconds);
    let told = number(&usage.usage_nano_cores);
    let rate = told.or_else(|| used.and_then(|used| rates.of(id, usage.timestamp, used)));
    figures(time(usage.timestamp), [("usageNanoCores", rate), ("usageCoreNanoSeconds", used)])
}

fn memory(usage: &v1::MemoryUsage) -> Value {
    let known = [
        ("availableBytes", number(&usage.available_bytes)),
        ("usageBytes", number(&usage.usage_bytes)),
        ("workingSetBytes", number(&usage.working_set_bytes)),
        ("rssBytes", number(&usage.rss_bytes)),
        ("pageFaults", number(&usage.page_faults)),
        ("majorPageFaults", number(&usage.major_page_faults)),
    ];
    figures(time(usage.timestamp), known)
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
    use crate::seams::{ContainerHandle, LookupError, VolumeFigures};

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
        let (rates, by_uid) = (Rates::default(), HashMap::new());
        let of = Of { by_uid: &by_uid, rates: &rates, logs: &Nobody, disk: None, now };
        let shown = pod(&stats, &of, volumes(&stats, &[claim("u"), claim("other")], now));
        let volume = json!({"time": now.to_string(), "name": "data", "capacityBytes": 7,
            "pvcRef": {"name": "c", "namespace": "n"}});
        assert_eq!(shown["volume"], json!([volume]));
        assert!(pod(&stats, &of, Vec::new()).get("volume").is_none());
    }

    /// Knows of one container, whose logs are in a folder.
    struct OneLog(std::path::PathBuf);
    /// Knows of no pod.
    struct Nobody;

    impl PodDirectory for Nobody {
        fn pods(&self) -> Vec<std::sync::Arc<Pod>> {
            Vec::new()
        }

        fn container(&self, _: &str, pod: &str, _: &str, _: bool) -> Result<ContainerHandle, LookupError> {
            Err(LookupError::NoPod(pod.to_owned()))
        }

        fn sandbox(&self, _: &str, pod: &str) -> Result<String, LookupError> {
            Err(LookupError::NoPod(pod.to_owned()))
        }
    }

    impl PodDirectory for OneLog {
        fn pods(&self) -> Vec<std::sync::Arc<Pod>> {
            Vec::new()
        }

        fn container(&self, _: &str, _: &str, _: &str, _: bool) -> Result<ContainerHandle, LookupError> {
            Ok(ContainerHandle { id: "c1".into(), running: true, log_path: self.0.join("0.log") })
        }

        fn sandbox(&self, _: &str, pod: &str) -> Result<String, LookupError> {
            Err(LookupError::NoPod(pod.to_owned()))
        }
    }

    #[test]
    fn a_container_shows_what_is_known_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("0.log"), "12345").expect("written");
        std::fs::write(folder.path().join("0.log.1"), "12").expect("written");
        let value = |value| Some(v1::UInt64Value { value });
        let stats = |second: i64, used| v1::ContainerStats {
            attributes: Some(v1::ContainerAttributes { id: "c1".into(), ..Default::default() }),
            cpu: Some(v1::CpuUsage {
                timestamp: second * 1_000_000_000,
                usage_core_nano_seconds: value(used),
                ..Default::default()
            }),
            memory: Some(v1::MemoryUsage { usage_bytes: value(3), ..Default::default() }),
            swap: Some(v1::SwapUsage { swap_usage_bytes: value(0), ..Default::default() }),
            ..Default::default()
        };
        let (rates, by_uid) = (Rates::default(), HashMap::new());
        let disk = Pressure { storage_bytes: 100, inodes: 7, ..Pressure::default() };
        let (now, logs) = (Timestamp::UNIX_EPOCH, OneLog(folder.path().to_owned()));
        let of = Of { by_uid: &by_uid, rates: &rates, logs: &logs, disk: Some(&disk), now };
        let first = container(&stats(1, 10), &v1::PodSandboxMetadata::default(), &of);
        assert!(first["cpu"].get("usageNanoCores").is_none(), "one look says nothing of a rate");
        assert!(first["memory"].get("availableBytes").is_none(), "there is no limit");
        assert_eq!((&first["logs"]["usedBytes"], &first["logs"]["capacityBytes"]), (&json!(7), &json!(100)));
        assert_eq!(first["swap"]["swapUsageBytes"], json!(0));
        let second = container(&stats(3, 30), &v1::PodSandboxMetadata::default(), &of);
        assert_eq!(second["cpu"]["usageNanoCores"], json!(10));
    }
}
