//! The numbers of running pods and containers, counted when the metrics are read.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::seams::PodDirectory;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Named {
    node: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    container_state: &'static str,
}

/// Shows the node's name, its running pods, and its containers by state.
// The full stop after each help text is added where it is shown.
pub fn register(node: &base::Metrics, name: &str, pods: Arc<dyn PodDirectory>) {
    let named = Family::<Named, Gauge>::default();
    named.get_or_create(&Named { node: name.to_owned() }).set(1);
    let (running, containers) = (Gauge::<i64>::default(), Family::<State, Gauge>::default());
    node.register(|registry| {
        registry.register("kubelet_node_name", "The node's name. The count is always 1", named);
        registry.register(
            "kubelet_running_pods",
            "Number of pods that have a running pod sandbox",
            running.clone(),
        );
        registry.register("kubelet_running_containers", "Number of containers by state", containers.clone());
    });
    node.before_render(move || {
        let counted = count(pods.as_ref());
        running.set(counted.pods);
        let states = [("created", counted.waiting), ("exited", counted.exited), ("running", counted.running)];
        for (state, count) in states {
            containers.get_or_create(&State { container_state: state }).set(count);
        }
    });
}

#[derive(Debug, Default)]
struct Count {
    pods: i64,
    waiting: i64,
    running: i64,
    exited: i64,
}

fn count(pods: &dyn PodDirectory) -> Count {
    let mut count = Count::default();
    for pod in pods.pods() {
        let Some(status) = &pod.status else { continue };
        count.pods += i64::from(status.phase.as_deref() == Some("Running"));
        let containers = status.container_statuses.iter().flatten();
        for state in containers.filter_map(|container| container.state.as_ref()) {
            if state.running.is_some() {
                count.running += 1;
            } else if state.terminated.is_some() {
                count.exited += 1;
            } else {
                count.waiting += 1;
            }
        }
    }
    count
}
