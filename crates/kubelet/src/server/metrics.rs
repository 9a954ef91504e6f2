//! `/metrics`: what this node runs, under upstream's names.

use std::fmt::Write;

use base::metrics::{Format, Metrics};
use http::{Response, StatusCode};

use super::ServerDeps;
use super::answer::{self, Body};

pub fn answer(deps: &ServerDeps) -> Response<Body> {
    let pods = deps.pods.pods();
    let statuses = || pods.iter().filter_map(|p| p.status.as_ref());
    let running = statuses().filter(|s| s.phase.as_deref() == Some("Running")).count();
    let (mut waiting, mut up, mut exited) = (0u64, 0u64, 0u64);
    for state in
        statuses().flat_map(|s| s.container_statuses.iter().flatten()).filter_map(|c| c.state.as_ref())
    {
        if state.running.is_some() {
            up += 1;
        } else if state.terminated.is_some() {
            exited += 1;
        } else {
            waiting += 1;
        }
    }
    let mut out = String::new();
    let mut gauge = |name: &str, help: &str, values: &[(String, u64)]| {
        let mut add = || -> std::fmt::Result {
            writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge")?;
            values.iter().try_for_each(|(labels, value)| writeln!(out, "{name}{labels} {value}"))
        };
        add().expect("writing to a String cannot fail");
    };
    let node = format!("{{node=\"{}\"}}", deps.node_name);
    gauge("kubelet_node_name", "The node's name. The count is always 1.", &[(node, 1)]);
    gauge(
        "kubelet_running_pods",
        "Number of pods that have a running pod sandbox",
        &[(String::new(), running as u64)],
    );
    let state = |name: &str| format!("{{container_state=\"{name}\"}}");
    gauge(
        "kubelet_running_containers",
        "Number of containers by state",
        &[(state("created"), waiting), (state("exited"), exited), (state("running"), up)],
    );
    out.push_str(&process());
    answer::with_type(StatusCode::OK, Format::Prometheus.content_type(), out)
}

/// What the kernel says of the process that the node agent is part of.
fn process() -> String {
    let metrics = Metrics::default();
    metrics.register_process();
    metrics.render(Format::Prometheus).expect("writing to a String cannot fail")
}
