//! The numbers of running pods and containers, counted when the metrics are read.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::origin::{is_static, mirrored_uid};
use crate::seams::PodDirectory;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Named {
    node: String,
}

/// `true` of pods that are not from the API; empty else.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Source {
    r#static: &'static str,
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
    let (desired, active) = (Family::<Source, Gauge>::default(), Family::<Source, Gauge>::default());
    let mirrors = Gauge::<i64>::default();
    node.register(|registry| {
        registry.register(
            "kubelet_desired_pods",
            "The number of pods the kubelet is being instructed to run. static is true if the pod is not from the apiserver",
            desired.clone(),
        );
        registry.register(
            "kubelet_active_pods",
            "The number of pods the kubelet considers active and which are being considered when admitting new pods. \
             static is true if the pod is not from the apiserver",
            active.clone(),
        );
        registry.register(
            "kubelet_mirror_pods",
            "The number of mirror pods the kubelet will try to create (one per admitted static pod)",
            mirrors.clone(),
        );
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
        for (family, [of_api, of_others]) in [(&desired, counted.desired), (&active, counted.active)] {
            family.get_or_create(&Source { r#static: "" }).set(of_api);
            family.get_or_create(&Source { r#static: "true" }).set(of_others);
        }
        mirrors.set(counted.active[1]);
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
    /// Of the API, and of others; the parts of the node's own process are neither.
    desired: [i64; 2],
    active: [i64; 2],
}

fn count(here: &dyn PodDirectory) -> Count {
    let mut count = Count::default();
    for pod in here.pods() {
        if mirrored_uid(&pod).is_none() {
            let source = usize::from(is_static(&pod));
            count.desired[source] += 1;
            count.active[source] += i64::from(!pods::is_terminal(&pod));
        }
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
