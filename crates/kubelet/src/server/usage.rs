//! `/metrics/resource` and `/metrics/cadvisor`: what node, pods and containers use, under upstream's names.
//!
//! The runtime reports what containers and pods use; what the whole machine uses is read from its cgroups.

mod kernel;

use std::collections::HashMap;
use std::sync::Arc;

use cri::v1;
use http::{HeaderMap, Response, StatusCode};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::ServerDeps;
use super::answer::{self, Body};
use super::metrics::accepted;
use crate::cri_view::LABEL_CONTAINER_NAME;
use crate::metrics::sheet::{Labels, Sheet};

/// What the runtime reports of one container, and what the pod's status adds.
struct Container {
    labels: Labels,
    cadvisor: Labels,
    stats: v1::ContainerStats,
    started_at_s: Option<f64>,
}

/// What the runtime reports of one pod.
struct Usage {
    labels: Labels,
    cadvisor: Labels,
    linux: v1::LinuxPodSandboxStats,
    containers: Vec<Container>,
}

/// `/metrics/resource` (upstream `pkg/kubelet/metrics/collectors/resource_metrics.go`).
pub async fn resource(deps: &ServerDeps, headers: &HeaderMap) -> Response<Body> {
    let sheet = Sheet::default();
    let pods = read(deps).await;
    sheet.gauges(
        "resource_scrape_error",
        "1 if there was an error while getting container metrics, 0 otherwise",
        [(Labels::new(), f64::from(u8::from(pods.is_err())))],
    );
    node(&sheet, deps);
    of_pods(&sheet, &pods.unwrap_or_default());
    shown(&sheet, headers)
}

fn of_pods(sheet: &Sheet, pods: &[Usage]) {
    let containers = || pods.iter().flat_map(|pod| &pod.containers);
    let each = |figure: fn(&Container) -> Option<f64>| {
        containers().filter_map(move |c| Some((c.labels.clone(), figure(c)?))).collect::<Vec<_>>()
    };
    sheet.gauges(
        "container_start_time_seconds",
        "Start time of the container since unix epoch in seconds",
        each(|c| c.started_at_s),
    );
    sheet.counters(
        "container_cpu_usage_seconds",
        "Cumulative cpu time consumed by the container in core-seconds",
        each(|c| cpu_s(c.stats.cpu.as_ref())),
    );
    sheet.gauges(
        "container_memory_working_set_bytes",
        "Current working set of the container in bytes",
        each(|c| number(c.stats.memory.as_ref()?.working_set_bytes.as_ref())),
    );
    sheet.gauges(
        "container_swap_usage_bytes",
        "Current amount of the container swap usage in bytes",
        each(|c| number(c.stats.swap.as_ref()?.swap_usage_bytes.as_ref())),
    );
    let each = |figure: fn(&Usage) -> Option<f64>| {
        pods.iter().filter_map(move |pod| Some((pod.labels.clone(), figure(pod)?))).collect::<Vec<_>>()
    };
    sheet.counters(
        "pod_cpu_usage_seconds",
        "Cumulative cpu time consumed by the pod in core-seconds",
        each(|pod| cpu_s(pod.linux.cpu.as_ref())),
    );
    sheet.gauges(
        "pod_memory_working_set_bytes",
        "Current working set of the pod in bytes",
        each(|pod| number(pod.linux.memory.as_ref()?.working_set_bytes.as_ref())),
    );
    sheet.gauges(
        "pod_swap_usage_bytes",
        "Current amount of the pod swap usage in bytes. Reported only on non-windows systems",
        each(swap),
    );
}

/// What the containers of a pod have in swap: runtimes report no sum.
fn swap(pod: &Usage) -> Option<f64> {
    let of = |c: &Container| number(c.stats.swap.as_ref()?.swap_usage_bytes.as_ref());
    let each: Vec<f64> = pod.containers.iter().filter_map(of).collect();
    (!each.is_empty()).then(|| each.iter().sum())
}

fn node(sheet: &Sheet, deps: &ServerDeps) {
    let usage = deps.cgroups.node_usage();
    let row = |value: f64| [(Labels::new(), value)];
    if let Some(cpu_ns) = usage.cpu_ns {
        let about = "Cumulative cpu time consumed by the node in core-seconds";
        sheet.counters("node_cpu_usage_seconds", about, row(seconds(cpu_ns)));
    }
    if let Some(bytes) = usage.working_set_bytes {
        let about = "Current working set of the node in bytes";
        sheet.gauges("node_memory_working_set_bytes", about, row(float(bytes)));
    }
    if let Some(bytes) = usage.swap_bytes {
        let about = "Current swap usage of the node in bytes. Reported only on non-windows systems";
        sheet.gauges("node_swap_usage_bytes", about, row(float(bytes)));
    }
}

/// `/metrics/cadvisor`: the families of cAdvisor that dashboards read.
pub async fn cadvisor(deps: &ServerDeps, headers: &HeaderMap) -> Response<Body> {
    let pods = match read(deps).await {
        Ok(pods) => pods,
        Err(status) => return answer::text(StatusCode::INTERNAL_SERVER_ERROR, status.message()),
    };
    let sheet = Sheet::default();
    let of_machine = || vec![("machine_id", String::new())];
    let cpus = deps.facts.allocatable().get("cpu").and_then(|cpu| cpu.0.parse::<f64>().ok());
    sheet.gauges("machine_cpu_cores", "Number of logical CPU cores", cpus.map(|cpus| (of_machine(), cpus)));
    let memory = u64::try_from(deps.facts.memory_capacity_bytes()).unwrap_or_default();
    sheet.gauges(
        "machine_memory_bytes",
        "Amount of memory installed on the machine",
        [(of_machine(), float(memory))],
    );
    let seen_at = seconds(u64::try_from(deps.clock.now().as_nanosecond()).unwrap_or_default()).floor();
    of_cadvisor(&sheet, &pods, seen_at);
    let (cgroups, wanted) = (deps.cgroups.clone(), pods.iter().filter_map(wanted).collect::<Vec<_>>());
    let look = move || {
        let seen = wanted.into_iter().flat_map(|one| kernel::read(cgroups.hierarchy(), one));
        seen.collect::<Vec<_>>()
    };
    match tokio::task::spawn_blocking(look).await {
        Ok(seen) => kernel::families(&sheet, &seen),
        Err(error) => {
            tracing::error!(%error, "looking at the pods' cgroups ended");
            return answer::text(StatusCode::INTERNAL_SERVER_ERROR, "the pods' cgroups cannot be read");
        }
    }
    shown(&sheet, headers)
}

/// Where the kernel counts what a pod and its containers use.
fn wanted(pod: &Usage) -> Option<kernel::Wanted> {
    let id = |labels: &Labels| labels.iter().find(|(name, _)| *name == "id").map(|(_, id)| id.clone());
    let one = |labels: &Labels| (id(labels).unwrap_or_default(), labels.clone());
    let network = pod.linux.network.as_ref();
    // A pod that the node does not know has no cgroup that could be told.
    id(&pod.cadvisor).filter(|cgroup| !cgroup.is_empty())?;
    Some(kernel::Wanted {
        pod: one(&pod.cadvisor),
        interface: network.and_then(|network| Some(network.default_interface.as_ref()?.name.clone())),
        containers: pod.containers.iter().map(|container| one(&container.cadvisor)).collect(),
    })
}

fn of_cadvisor(sheet: &Sheet, pods: &[Usage], seen_at: f64) {
    let containers: Vec<&Container> = pods.iter().flat_map(|pod| &pod.containers).collect();
    let last_seen = containers.iter().map(|c| (c.cadvisor.clone(), seen_at));
    sheet.gauges("container_last_seen", "Last time a container was seen by the exporter", last_seen);
    let started = containers.iter().filter_map(|c| Some((c.cadvisor.clone(), c.started_at_s?)));
    sheet.gauges(
        "container_start_time_seconds",
        "Start time of the container since unix epoch in seconds",
        started,
    );
    let on_disk = containers.iter().filter_map(|c| {
        let used = number(c.stats.writable_layer.as_ref()?.used_bytes.as_ref())?;
        Some(([c.cadvisor.clone(), vec![("device", String::new())]].concat(), used))
    });
    sheet.gauges(
        "container_fs_usage_bytes",
        "Number of bytes that are consumed by the container on this filesystem",
        on_disk,
    );
    cpu_and_memory(sheet, pods);
    network(sheet, pods);
}

/// Of pods as a whole and of their containers, in one family, as cAdvisor has them.
fn cpu_and_memory(sheet: &Sheet, pods: &[Usage]) {
    type Parts<'a> = (&'a Labels, Option<&'a v1::CpuUsage>, Option<&'a v1::MemoryUsage>);
    let mut all: Vec<Parts<'_>> = Vec::new();
    for pod in pods {
        all.push((&pod.cadvisor, pod.linux.cpu.as_ref(), pod.linux.memory.as_ref()));
        for container in &pod.containers {
            all.push((&container.cadvisor, container.stats.cpu.as_ref(), container.stats.memory.as_ref()));
        }
    }
    let cpu = all.iter().filter_map(|(labels, cpu, _)| {
        Some(([(*labels).clone(), vec![("cpu", "total".to_owned())]].concat(), cpu_s(*cpu)?))
    });
    sheet.counters("container_cpu_usage_seconds", "Cumulative cpu time consumed in seconds", cpu);
    type Figure = fn(&v1::MemoryUsage) -> Option<f64>;
    let figures: [(&str, &str, Figure); 3] = [
        (
            "container_memory_usage_bytes",
            "Current memory usage in bytes, including all memory regardless of when it was accessed",
            |m| number(m.usage_bytes.as_ref()),
        ),
        ("container_memory_working_set_bytes", "Current working set in bytes", |m| {
            number(m.working_set_bytes.as_ref())
        }),
        ("container_memory_rss", "Size of RSS in bytes", |m| number(m.rss_bytes.as_ref())),
    ];
    for (name, about, figure) in figures {
        let rows =
            all.iter().filter_map(|(labels, _, memory)| Some(((*labels).clone(), figure((*memory)?)?)));
        sheet.gauges(name, about, rows);
    }
}

fn network(sheet: &Sheet, pods: &[Usage]) {
    type Figure = fn(&v1::NetworkInterfaceUsage) -> Option<f64>;
    let figures: [(&str, &str, Figure); 4] = [
        ("container_network_receive_bytes", "Cumulative count of bytes received", |i| {
            number(i.rx_bytes.as_ref())
        }),
        ("container_network_receive_errors", "Cumulative count of errors encountered while receiving", |i| {
            number(i.rx_errors.as_ref())
        }),
        ("container_network_transmit_bytes", "Cumulative count of bytes transmitted", |i| {
            number(i.tx_bytes.as_ref())
        }),
        (
            "container_network_transmit_errors",
            "Cumulative count of errors encountered while transmitting",
            |i| number(i.tx_errors.as_ref()),
        ),
    ];
    for (name, about, figure) in figures {
        let interfaces = pods.iter().flat_map(|pod| {
            let network = pod.linux.network.as_ref();
            let default = network.and_then(|network| network.default_interface.as_ref());
            default.map(|interface| (pod, interface))
        });
        let rows = interfaces.filter_map(|(pod, interface)| {
            let named = vec![("interface", interface.name.clone())];
            Some(([pod.cadvisor.clone(), named].concat(), figure(interface)?))
        });
        sheet.counters(name, about, rows);
    }
}

async fn read(deps: &ServerDeps) -> Result<Vec<Usage>, tonic::Status> {
    let request = v1::ListPodSandboxStatsRequest::default();
    let stats = deps.runtime.clone().list_pod_sandbox_stats(request).await?.into_inner().stats;
    let pods = deps.pods.pods();
    let by_uid: HashMap<&str, &Arc<Pod>> =
        pods.iter().filter_map(|pod| Some((pod.metadata.uid.as_deref()?, pod))).collect();
    let one = |stats: v1::PodSandboxStats| {
        let metadata = stats.attributes.as_ref().and_then(|attributes| attributes.metadata.as_ref());
        let pod = metadata.and_then(|metadata| by_uid.get(metadata.uid.as_str()));
        let cgroup = pod.map(|pod| deps.cgroups.path(pod)).unwrap_or_default();
        usage(stats, pod.map(|pod| pod.as_ref()), &cgroup)
    };
    Ok(stats.into_iter().map(one).collect())
}

/// What one sandbox uses, with the pod it belongs to and the pod's cgroup.
fn usage(stats: v1::PodSandboxStats, pod: Option<&Pod>, cgroup: &str) -> Usage {
    let metadata = stats.attributes.unwrap_or_default().metadata.unwrap_or_default();
    let mut linux = stats.linux.unwrap_or_default();
    let (name, namespace) = (metadata.name, metadata.namespace);
    let cadvisor = |container: &str, id: String, image: &str, cri_id: &str| -> Labels {
        vec![
            ("container", container.to_owned()),
            ("id", id),
            ("image", image.to_owned()),
            ("name", cri_id.to_owned()),
            ("namespace", namespace.clone()),
            ("pod", name.clone()),
        ]
    };
    let containers = std::mem::take(&mut linux.containers).into_iter().map(|stats| {
        let attributes = stats.attributes.clone().unwrap_or_default();
        let named = attributes.metadata.map(|m| m.name).filter(|n| !n.is_empty());
        let container =
            named.or_else(|| attributes.labels.get(LABEL_CONTAINER_NAME).cloned()).unwrap_or_default();
        let status = pod.and_then(|pod| status_of(pod, &container));
        let image = status.map(|status| status.image.clone()).unwrap_or_default();
        let running = status.and_then(|status| status.state.as_ref()?.running.as_ref()?.started_at.as_ref());
        Container {
            labels: vec![
                ("container", container.clone()),
                ("namespace", namespace.clone()),
                ("pod", name.clone()),
            ],
            cadvisor: cadvisor(&container, format!("{cgroup}/{}", attributes.id), &image, &attributes.id),
            started_at_s: running.map(|time| time.0.as_millisecond() as f64 / 1e3),
            stats,
        }
    });
    let containers = containers.collect();
    Usage {
        cadvisor: cadvisor("", cgroup.to_owned(), "", ""),
        labels: vec![("namespace", namespace.clone()), ("pod", name.clone())],
        linux,
        containers,
    }
}

pub(super) fn status_of<'a>(pod: &'a Pod, container: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    let lists =
        [&status.container_statuses, &status.init_container_statuses, &status.ephemeral_container_statuses];
    lists.into_iter().flatten().flatten().find(|status| status.name == container)
}

fn shown(sheet: &Sheet, headers: &HeaderMap) -> Response<Body> {
    accepted(headers, |format| sheet.render(format))
}

fn cpu_s(cpu: Option<&v1::CpuUsage>) -> Option<f64> {
    Some(seconds(cpu?.usage_core_nano_seconds.as_ref()?.value))
}

fn number(value: Option<&v1::UInt64Value>) -> Option<f64> {
    value.map(|value| float(value.value))
}

fn seconds(nanoseconds: u64) -> f64 {
    float(nanoseconds) / 1e9
}

/// Exact up to 2^53, which no counter of bytes or nanoseconds of a machine matters beyond.
fn float(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use base::metrics::{Format, strict};
    use serde_json::json;

    use super::*;

    fn one_pod() -> Usage {
        let value = |value| Some(v1::UInt64Value { value });
        let cpu =
            Some(v1::CpuUsage { usage_core_nano_seconds: value(1_500_000_000), ..v1::CpuUsage::default() });
        let memory = Some(v1::MemoryUsage {
            working_set_bytes: value(1 << 20),
            usage_bytes: value(2 << 20),
            ..v1::MemoryUsage::default()
        });
        let attributes = v1::ContainerAttributes {
            id: "c1".into(),
            metadata: Some(v1::ContainerMetadata { name: "web".into(), attempt: 0 }),
            ..v1::ContainerAttributes::default()
        };
        let container = v1::ContainerStats {
            attributes: Some(attributes),
            cpu,
            memory,
            swap: Some(v1::SwapUsage { swap_usage_bytes: value(0), ..v1::SwapUsage::default() }),
            ..v1::ContainerStats::default()
        };
        let interface =
            v1::NetworkInterfaceUsage { name: "eth0".into(), rx_bytes: value(7), ..Default::default() };
        let network = v1::NetworkUsage { default_interface: Some(interface), ..v1::NetworkUsage::default() };
        let metadata =
            v1::PodSandboxMetadata { name: "p".into(), namespace: "n".into(), ..Default::default() };
        let stats = v1::PodSandboxStats {
            attributes: Some(v1::PodSandboxAttributes { metadata: Some(metadata), ..Default::default() }),
            linux: Some(v1::LinuxPodSandboxStats {
                cpu,
                memory,
                network: Some(network),
                containers: vec![container],
                ..Default::default()
            }),
            windows: None,
        };
        let state = json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}});
        let status = json!({"name": "web", "image": "nginx:1", "imageID": "", "ready": true, "restartCount": 0,
            "state": state});
        let pod = json!({"status": {"containerStatuses": [status]}});
        usage(stats, Some(&serde_json::from_value(pod).expect("a pod")), "/k/pod1")
    }

    fn has(sheet: &Sheet, lines: &[&str]) {
        let text = sheet.render(Format::Prometheus).expect("text");
        strict::read(&text, Format::Prometheus).unwrap_or_else(|why| panic!("{why}\n{text}"));
        for line in lines {
            assert!(text.lines().any(|shown| shown == *line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn resources_are_shown_under_upstreams_names() {
        let sheet = Sheet::default();
        of_pods(&sheet, &[one_pod()]);
        has(
            &sheet,
            &[
                "container_cpu_usage_seconds_total{container=\"web\",namespace=\"n\",pod=\"p\"} 1.5",
                "container_memory_working_set_bytes{container=\"web\",namespace=\"n\",pod=\"p\"} 1048576.0",
                "container_start_time_seconds{container=\"web\",namespace=\"n\",pod=\"p\"} 1767225600.0",
                "container_swap_usage_bytes{container=\"web\",namespace=\"n\",pod=\"p\"} 0.0",
                "pod_cpu_usage_seconds_total{namespace=\"n\",pod=\"p\"} 1.5",
                "pod_swap_usage_bytes{namespace=\"n\",pod=\"p\"} 0.0",
                "pod_memory_working_set_bytes{namespace=\"n\",pod=\"p\"} 1048576.0",
            ],
        );
    }

    #[test]
    fn containers_and_pods_are_shown_as_cadvisor_does() {
        let sheet = Sheet::default();
        of_cadvisor(&sheet, &[one_pod()], 1.0);
        let web =
            "container=\"web\",id=\"/k/pod1/c1\",image=\"nginx:1\",name=\"c1\",namespace=\"n\",pod=\"p\"";
        let pod = "container=\"\",id=\"/k/pod1\",image=\"\",name=\"\",namespace=\"n\",pod=\"p\"";
        let lines = [
            format!("container_cpu_usage_seconds_total{{{web},cpu=\"total\"}} 1.5"),
            format!("container_cpu_usage_seconds_total{{{pod},cpu=\"total\"}} 1.5"),
            format!("container_memory_usage_bytes{{{web}}} 2097152.0"),
            format!("container_last_seen{{{web}}} 1.0"),
            format!("container_network_receive_bytes_total{{{pod},interface=\"eth0\"}} 7.0"),
        ];
        has(&sheet, &lines.iter().map(String::as_str).collect::<Vec<_>>());
    }
}
