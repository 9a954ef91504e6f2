//! Configuration of the node agent's pod side.

use std::sync::Arc;

use base::Clock;
use kube::Client;

use crate::events::Events;
use crate::metrics::Metrics;
use crate::node_facts::NodeFacts;
use crate::seams::{ContainerConfigs, Devices, SandboxConfigs, Volumes};
use crate::source::PodSource;
use crate::static_pods::StaticPods;

/// Everything the pod side of the agent is built from.
pub struct PodsConfig {
    pub client: Client,
    pub runtime: cri::RuntimeServiceClient,
    pub images: cri::ImageServiceClient,
    pub source: PodSource,
    pub statics: StaticPods,
    pub volumes: Arc<dyn Volumes>,
    pub devices: Arc<dyn Devices>,
    pub containers: Arc<dyn ContainerConfigs>,
    pub sandboxes: Arc<dyn SandboxConfigs>,
    pub events: Events,
    pub facts: Arc<NodeFacts>,
    pub metrics: Metrics,
    pub clock: Arc<dyn Clock>,
}
