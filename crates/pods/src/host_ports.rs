//! [`HostPort`]: a port of the node that a pod takes for itself.

use k8s_openapi::api::core::v1::Pod;

use crate::container::is_sidecar;

/// The address that stands for all addresses.
const ANYWHERE: &str = "0.0.0.0";

/// See the module's documentation.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPort {
    /// `0.0.0.0` for all addresses.
    pub ip: String,
    pub protocol: String,
    pub port: i32,
}

impl HostPort {
    /// Empty texts are upstream's defaults: all addresses, TCP.
    pub fn new(ip: &str, protocol: &str, port: i32) -> Self {
        let or = |text: &str, default: &str| if text.is_empty() { default } else { text }.to_owned();
        Self { ip: or(ip, ANYWHERE), protocol: or(protocol, "TCP"), port }
    }

    /// Whether the two cannot be on one node (upstream's `HostPortInfo.CheckConflict`).
    pub fn clashes(&self, other: &Self) -> bool {
        self.port == other.port
            && self.protocol == other.protocol
            && (self.ip == ANYWHERE || other.ip == ANYWHERE || self.ip == other.ip)
    }
}

/// The ports of containers that run as long as the pod: its containers and its sidecars, not its other init
/// containers (upstream's `schedutil.GetHostPorts`, which the node's own check uses too).
pub fn host_ports(pod: &Pod) -> Vec<HostPort> {
    let Some(spec) = &pod.spec else { return Vec::new() };
    let sidecars = spec.init_containers.iter().flatten().filter(|c| is_sidecar(c));
    let ports = sidecars.chain(&spec.containers).flat_map(|container| container.ports.iter().flatten());
    ports
        .filter_map(|port| {
            let number = port.host_port.filter(|number| *number > 0)?;
            let text = |field: &Option<String>| field.clone().unwrap_or_default();
            Some(HostPort::new(&text(&port.host_ip), &text(&port.protocol), number))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ports_on_different_addresses_do_not_clash() {
        let port = |ip: &str| HostPort::new(ip, "TCP", 80);
        assert!(port("").clashes(&port("10.0.0.1")));
        assert!(port("0.0.0.0").clashes(&port("10.0.0.1")));
        assert!(!port("10.0.0.2").clashes(&port("10.0.0.1")));
        assert!(!port("10.0.0.2").clashes(&HostPort::new("10.0.0.2", "UDP", 80)));
        assert!(HostPort::new("", "", 80).clashes(&port("")));
    }

    #[test]
    fn init_containers_that_end_take_no_port() {
        let with = |port: u16| json!([{"containerPort": 80, "hostPort": port}, {"containerPort": 81}]);
        let pod: Pod = serde_json::from_value(json!({"spec": {
            "initContainers": [
                {"name": "i", "ports": with(1)},
                {"name": "s", "restartPolicy": "Always", "ports": with(2)},
                {"name": "n", "restartPolicy": "Never", "ports": with(3)},
            ],
            "containers": [{"name": "c", "ports": with(4)}],
        }}))
        .expect("a pod");
        let numbers: Vec<i32> = host_ports(&pod).iter().map(|port| port.port).collect();
        assert_eq!(numbers, [2, 4]);
    }
}
