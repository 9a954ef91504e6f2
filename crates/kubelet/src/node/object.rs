//! The content of the Node object. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    ContainerImage, DaemonEndpoint, Node, NodeAddress, NodeDaemonEndpoints, NodeFeatures, NodeRuntimeHandler,
    NodeRuntimeHandlerFeatures, NodeSpec, NodeStatus, NodeSystemInfo,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use pods::volumes::directory;

use super::{Machine, NodeConfig};
use crate::volumes::PodDirs;

/// Memory and storage that pods may not count on: the node evicts before they are used up.
const MEMORY_KEPT_BYTES: u64 = 100 << 20;
const STORAGE_KEPT_PERCENT: u64 = 10;
/// Upstream's limits of the list of images.
const MAX_IMAGES: usize = 50;
const MAX_IMAGE_NAMES: usize = 5;
const OS: &str = "linux";

/// The labels of this node, without those it may not give itself.
pub fn labels(config: &NodeConfig, machine: &Machine) -> BTreeMap<String, String> {
    let mut out = config.labels.clone();
    out.retain(|label, _| !is_restricted(label));
    for prefix in ["kubernetes.io", "beta.kubernetes.io"] {
        out.insert(format!("{prefix}/os"), OS.to_owned());
        out.insert(format!("{prefix}/arch"), machine.architecture.clone());
    }
    out.insert("kubernetes.io/hostname".to_owned(), config.name.clone());
    out
}

/// Whether only the control plane may set the label: with it a node could draw pods to itself that are
/// meant for others (upstream's `NodeRestriction` refuses it, and with it the whole registration).
pub fn is_restricted(label: &str) -> bool {
    const OWN: [&str; 8] = [
        "beta.kubernetes.io/instance-type",
        "failure-domain.beta.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "kubernetes.io/hostname",
        "node.kubernetes.io/instance-type",
        "topology.kubernetes.io/region",
        "topology.kubernetes.io/zone",
        "kubernetes.io/os",
    ];
    let domain = label.split_once('/').map_or("", |(domain, _)| domain);
    let within = |parent: &str| domain == parent || domain.ends_with(&format!(".{parent}"));
    let own = OWN.contains(&label) || within("kubelet.kubernetes.io") || within("node.kubernetes.io");
    (within("kubernetes.io") || within("k8s.io")) && !own
}

/// What the node says of itself to controllers.
pub fn annotations(config: &NodeConfig) -> BTreeMap<String, String> {
    let folder = PodDirs::new(config.root.clone()).persistent();
    BTreeMap::from([
        ("volumes.kubernetes.io/controller-managed-attach-detach".to_owned(), "true".to_owned()),
        (directory::FOLDER.to_owned(), folder.to_string_lossy().into_owned()),
    ])
}

/// The object to register, without its status.
pub fn node(config: &NodeConfig, machine: &Machine) -> Node {
    Node {
        metadata: ObjectMeta {
            name: Some(config.name.clone()),
            labels: Some(labels(config, machine)),
            annotations: Some(annotations(config)),
            ..ObjectMeta::default()
        },
        spec: Some(NodeSpec {
            taints: Some(config.taints.clone()).filter(|t| !t.is_empty()),
            ..NodeSpec::default()
        }),
        status: None,
    }
}

/// The part of the status that does not change with time.
pub fn status(config: &NodeConfig, machine: &Machine, runtime_version: &str) -> NodeStatus {
    NodeStatus {
        addresses: Some(addresses(config)),
        capacity: Some(capacity(config, machine)),
        allocatable: Some(allocatable(config, machine)),
        volumes_in_use: Some(config.volumes_in_use.borrow().iter().cloned().collect()),
        daemon_endpoints: Some(NodeDaemonEndpoints {
            kubelet_endpoint: Some(DaemonEndpoint { port: i32::from(config.port) }),
        }),
        node_info: Some(NodeSystemInfo {
            architecture: machine.architecture.clone(),
            boot_id: machine.boot_id.clone(),
            container_runtime_version: runtime_version.to_owned(),
            kernel_version: machine.kernel_version.clone(),
            kube_proxy_version: String::new(),
            kubelet_version: api::TRACKED_VERSION.to_owned(),
            machine_id: machine.machine_id.clone(),
            operating_system: OS.to_owned(),
            os_image: machine.os_image.clone(),
            system_uuid: machine.system_uuid.clone(),
            ..NodeSystemInfo::default()
        }),
        ..NodeStatus::default()
    }
}

/// What of Kubernetes the node can do that not every node can (KEP-5328), sorted.
const DECLARED: [&str; 3] = [
    "GuaranteedQoSPodCPUResize",
    "InPlacePodLevelResourcesVerticalScaling",
    "RestartAllContainersOnContainerExits",
];

/// Adds what the runtime says that it can do, and what the node can do with it.
pub fn tell_features(status: &mut NodeStatus, runtime: &cri::v1::StatusResponse) {
    let policy = runtime.features.as_ref().map(|features| features.supplemental_groups_policy);
    status.features = policy.map(|policy| NodeFeatures { supplemental_groups_policy: Some(policy) });
    let handler = |handler: &cri::v1::RuntimeHandler| NodeRuntimeHandler {
        name: Some(handler.name.clone()),
        features: handler.features.as_ref().map(|features| NodeRuntimeHandlerFeatures {
            recursive_read_only_mounts: Some(features.recursive_read_only_mounts),
            user_namespaces: Some(features.user_namespaces),
        }),
    };
    let mut handlers: Vec<NodeRuntimeHandler> = runtime.runtime_handlers.iter().map(handler).collect();
    handlers.sort_by(|a, b| a.name.cmp(&b.name));
    status.runtime_handlers = Some(handlers).filter(|all| !all.is_empty());
    status.declared_features = Some(DECLARED.map(str::to_owned).to_vec());
}

fn addresses(config: &NodeConfig) -> Vec<NodeAddress> {
    let ips = config.ips.borrow();
    let ips = ips.iter().map(|ip| ("InternalIP", ip.to_string()));
    let all = ips.chain([("Hostname", config.name.clone())]);
    all.map(|(kind, address)| NodeAddress { type_: kind.to_owned(), address }).collect()
}

/// Everything the machine has.
pub fn capacity(config: &NodeConfig, machine: &Machine) -> BTreeMap<String, Quantity> {
    let mut out = BTreeMap::from([
        ("cpu".to_owned(), Quantity(machine.cpus.to_string())),
        ("memory".to_owned(), kibibytes(machine.memory_bytes)),
        ("ephemeral-storage".to_owned(), kibibytes(machine.storage_bytes)),
        ("pods".to_owned(), Quantity(config.max_pods.to_string())),
    ]);
    for (size, bytes) in &machine.hugepages {
        let amount = if *bytes == 0 { Quantity("0".to_owned()) } else { kibibytes(*bytes) };
        out.insert(format!("hugepages-{size}"), amount);
    }
    out
}

/// What pods may count on.
pub fn allocatable(config: &NodeConfig, machine: &Machine) -> BTreeMap<String, Quantity> {
    let mut out = capacity(config, machine);
    let huge: u64 = machine.hugepages.iter().map(|(_, bytes)| bytes).sum();
    let memory = machine.memory_bytes.saturating_sub(MEMORY_KEPT_BYTES).saturating_sub(huge);
    out.insert("memory".to_owned(), kibibytes(memory));
    let storage = machine.storage_bytes / 100 * (100 - STORAGE_KEPT_PERCENT);
    out.insert("ephemeral-storage".to_owned(), Quantity(storage.to_string()));
    out
}

/// What has to change in the node's allocatable amounts for what others count on it (`example.com/dongle`): as much can be
/// asked for as there is; `None` for what there is no more.
pub fn extended(status: &NodeStatus) -> BTreeMap<String, Option<Quantity>> {
    let of_others = |list: &Option<BTreeMap<String, Quantity>>| {
        let named = list.iter().flatten().filter(|(name, _)| name.contains('/'));
        named.map(|(name, amount)| (name.clone(), amount.clone())).collect::<BTreeMap<_, _>>()
    };
    let (there, given) = (of_others(&status.capacity), of_others(&status.allocatable));
    let gone = given.keys().filter(|name| !there.contains_key(*name)).map(|name| (name.clone(), None));
    let changed = there.iter().filter(|(name, amount)| given.get(*name) != Some(amount));
    changed.map(|(name, amount)| (name.clone(), Some(amount.clone()))).chain(gone).collect()
}

fn kibibytes(bytes: u64) -> Quantity {
    Quantity(format!("{}Ki", bytes / 1024))
}

/// The largest images, with a few names each.
pub fn images(images: &[cri::v1::Image]) -> Vec<ContainerImage> {
    let mut sorted: Vec<&cri::v1::Image> = images.iter().collect();
    sorted.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.id.cmp(&b.id)));
    let one = |image: &&cri::v1::Image| {
        let names = image.repo_digests.iter().chain(&image.repo_tags).take(MAX_IMAGE_NAMES);
        ContainerImage {
            names: Some(names.cloned().collect()),
            size_bytes: Some(i64::try_from(image.size).unwrap_or(i64::MAX)),
        }
    };
    sorted.iter().take(MAX_IMAGES).map(one).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn what_others_count_can_be_asked_for() {
        let status = |capacity: &[(&str, &str)], allocatable: &[(&str, &str)]| {
            let list = |all: &[(&str, &str)]| {
                Some(
                    all.iter()
                        .map(|(name, amount)| ((*name).to_owned(), Quantity((*amount).to_owned())))
                        .collect(),
                )
            };
            NodeStatus { capacity: list(capacity), allocatable: list(allocatable), ..NodeStatus::default() }
        };
        let (cpu, less) = (("cpu", "2"), ("cpu", "1"));
        assert_eq!(extended(&status(&[cpu, ("x.io/a", "3")], &[less, ("x.io/a", "3")])), BTreeMap::new());
        let changes = extended(&status(&[cpu, ("x.io/a", "3")], &[less, ("x.io/b", "1")]));
        let wanted = [("x.io/a".to_owned(), Some(Quantity("3".into()))), ("x.io/b".to_owned(), None)];
        assert_eq!(changes, BTreeMap::from(wanted));
    }

    #[test]
    fn the_node_says_what_its_runtime_can_do() {
        let handler = |name: &str, recursive_read_only_mounts| cri::v1::RuntimeHandler {
            name: name.to_owned(),
            features: Some(cri::v1::RuntimeHandlerFeatures {
                recursive_read_only_mounts,
                user_namespaces: false,
            }),
        };
        let told = |runtime: cri::v1::StatusResponse| {
            let mut status = NodeStatus::default();
            tell_features(&mut status, &runtime);
            serde_json::to_value(status).expect("plain fields")
        };
        let new = told(cri::v1::StatusResponse {
            runtime_handlers: vec![handler("runc", false), handler("", true)],
            features: Some(cri::v1::RuntimeFeatures { supplemental_groups_policy: true }),
            ..Default::default()
        });
        assert_eq!(new["features"], serde_json::json!({"supplementalGroupsPolicy": true}));
        let first = serde_json::json!({"name": "",
            "features": {"recursiveReadOnlyMounts": true, "userNamespaces": false}});
        assert_eq!(
            (new["runtimeHandlers"].as_array().map(Vec::len), &new["runtimeHandlers"][0]),
            (Some(2), &first)
        );
        assert!(
            DECLARED.is_sorted() && new["declaredFeatures"].as_array().map(Vec::len) == Some(DECLARED.len())
        );
        let old = told(cri::v1::StatusResponse::default());
        assert!(old["features"].is_null() && old["runtimeHandlers"].is_null());
    }

    #[test]
    fn the_node_says_what_the_machine_has() {
        let config = NodeConfig {
            pressure: tokio::sync::watch::channel(crate::pressure::State::default()).1,
            volumes_in_use: tokio::sync::watch::channel(BTreeSet::new()).1,
            name: "n1".into(),
            labels: [
                ("node-role.kubernetes.io/control-plane", ""),
                ("disk", "ssd"),
                ("x.node.kubernetes.io/y", "z"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
            taints: Vec::new(),
            ips: tokio::sync::watch::channel(vec!["10.0.0.1".parse().expect("an address")]).1,
            port: 10250,
            root: "/".into(),
            max_pods: 110,
            volumes_known: Default::default(),
            own: Default::default(),
        };
        let machine = Machine {
            cpus: 2,
            memory_bytes: 1 << 30,
            storage_bytes: 10 << 30,
            hugepages: vec![("2Mi".into(), 0)],
            architecture: "amd64".into(),
            ..Machine::default()
        };
        let labels = labels(&config, &machine);
        assert_eq!(labels["kubernetes.io/hostname"], "n1");
        assert_eq!(labels["kubernetes.io/arch"], "amd64");
        assert_eq!((labels["disk"].as_str(), labels["x.node.kubernetes.io/y"].as_str()), ("ssd", "z"));
        assert_eq!(labels.len(), 7, "a node does not give itself a role");
        let status = status(&config, &machine, "knarr://0.1.0");
        let text = |map: Option<BTreeMap<String, Quantity>>| {
            let pairs = map.unwrap_or_default().into_iter().map(|(k, v)| format!("{k}={}", v.0));
            pairs.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            text(status.capacity),
            "cpu=2 ephemeral-storage=10485760Ki hugepages-2Mi=0 memory=1048576Ki pods=110"
        );
        assert_eq!(
            text(status.allocatable),
            "cpu=2 ephemeral-storage=9663676380 hugepages-2Mi=0 memory=946176Ki pods=110"
        );
        assert_eq!(status.addresses.map(|a| a.len()), Some(2));
    }
}
