//! How the figures of a pod's containers make the pod's.

use k8s_openapi::api::core::v1::{Container, PodSpec};

/// Whether an init container keeps running beside the containers after it (`restartPolicy: Always`, KEP-753).
pub fn is_sidecar(init: &Container) -> bool {
    init.restart_policy.as_deref() == Some("Always")
}

/// Something that adds up over containers that run at the same time.
pub trait Figure: Clone + Default {
    fn add(&mut self, other: &Self);
    /// The larger of the two, resource by resource.
    fn raise_to(&mut self, other: &Self);
}

/// The most a pod needs at any time: its containers with its sidecars together, or an init container beside the
/// sidecars started before it, whichever is more (KEP-753, "Resources calculation for scheduling and pod admission").
pub fn at_peak<'a, F: Figure>(spec: &'a PodSpec, of: impl Fn(&'a Container) -> F) -> F {
    let mut running = F::default();
    let mut peak = F::default();
    for container in spec.init_containers.iter().flatten() {
        if is_sidecar(container) {
            running.add(&of(container));
            peak.raise_to(&running);
        } else {
            let mut beside = running.clone();
            beside.add(&of(container));
            peak.raise_to(&beside);
        }
    }
    for container in &spec.containers {
        running.add(&of(container));
    }
    running.raise_to(&peak);
    running
}
