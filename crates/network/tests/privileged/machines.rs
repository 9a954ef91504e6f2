//! Machines in network namespaces of their own, on one link, each with pods on its bridge and agents that are fed by
//! hand.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::Arc;

use base::{Shutdown, Supervisor, TaskKind};
use cni::BridgeConfig;
use informer::{Cache, Key};
use k8s_openapi::api::core::v1::Node;
use network::announce::{AnnounceConfig, AnnounceView, Announcer};
use network::overlay::{Overlay, OverlayConfig, Routing, pod_mtu};
use network::services::{NodePorts, Services, ServicesConfig, ServicesView};
use nix::sched::{CloneFlags, setns};
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::ground::{PATIENCE, Pod, inside, new_namespace, sh};

/// The name of the tunnel on each machine.
pub const TUNNEL: &str = "knarrtestvx";

/// A machine of the cluster, 192.0.2.N (and 192.0.2.10N), whose pods have addresses of 10.99.N.0/24.
pub struct Machine {
    pub number: u8,
    pub namespace: File,
    /// Runs in the machine's namespace.
    runtime: Runtime,
    config: BridgeConfig,
    pub addresses: watch::Sender<Vec<IpAddr>>,
    overlay: Option<Supervisor>,
    /// The Service proxy and who announces load balancers' addresses.
    services: Option<Supervisor>,
    _folder: tempfile::TempDir,
}

/// The machines, numbered from 1, and the Nodes that all their overlays see.
pub struct Machines {
    pub all: Vec<Machine>,
    pub nodes: Cache<Node>,
    switch: File,
}

/// The condition by which Services say that their addresses are announced.
pub const ANNOUNCED: &str = "knarrtest/Announced";
/// The link of load balancers' addresses on each machine.
pub const ADDRESSES: &str = "knarrtestl";

impl Machines {
    /// Connects as many machines by one link.
    pub fn new(count: u8) -> Self {
        let switch = new_namespace();
        inside(&switch, || sh("ip link add switch type bridge; ip link set switch up"));
        let all: Vec<Machine> = (1..=count).map(|number| Machine::new(number, &switch)).collect();
        let nodes = Cache::new();
        nodes.objects().replace(vec![]);
        let machines = Self { all, nodes, switch };
        for machine in &machines.all {
            machines.node(machine.number, machine.address());
        }
        machines
    }

    /// Says where a machine is.
    pub fn node(&self, number: u8, address: Ipv4Addr) {
        self.node_that_is(number, address, "True");
    }

    /// The same, with the status of its condition Ready.
    pub fn node_that_is(&self, number: u8, address: Ipv4Addr, ready: &str) {
        let node = json!({
            "metadata": {"name": format!("node-{number}")},
            "spec": {"podCIDR": format!("10.99.{number}.0/24")},
            "status": {"addresses": [{"type": "InternalIP", "address": address.to_string()}],
                "conditions": [{"type": "Ready", "status": ready}]},
        });
        self.nodes.apply(serde_json::from_value(node).expect("a Node"));
    }

    pub fn remove_node(&self, number: u8) {
        self.nodes.objects().remove(&Key::new("", &format!("node-{number}")));
    }

    /// A machine of nobody's cluster on the same link, 192.0.2.200.
    pub fn stranger(&self) -> Pod {
        let (namespace, address) = (new_namespace(), Ipv4Addr::new(192, 0, 2, 200));
        let path = format!("/proc/{}/fd/{}", std::process::id(), namespace.as_raw_fd());
        inside(&self.switch, move || {
            sh(&format!("ip link add stranger type veth peer name eth0 netns {path}"));
            sh("ip link set stranger master switch; ip link set stranger up");
        });
        inside(&namespace, move || {
            sh(&format!("ip link set lo up; ip address add {address}/24 dev eth0; ip link set eth0 up"));
        });
        Pod { namespace, address }
    }

    /// Starts the Service proxy of each machine, and who announces load balancers' addresses.
    pub fn serve(&mut self, view: &AnnounceView) {
        for machine in &mut self.all {
            machine.serve(view);
        }
    }

    /// Starts the overlay of each machine.
    pub fn start(&mut self, routing: Routing) {
        for machine in &mut self.all {
            machine.start(self.nodes.clone(), routing);
        }
    }
}

impl Machine {
    fn new(number: u8, switch: &File) -> Self {
        let namespace = new_namespace();
        let path = format!("/proc/{}/fd/{}", std::process::id(), namespace.as_raw_fd());
        let port = format!("ip link add port{number} type veth peer name eth0 netns {path}");
        inside(switch, move || {
            sh(&format!("{port}; ip link set port{number} master switch; ip link set port{number} up"));
        });
        inside(&namespace, move || {
            sh("ip link set lo up; ip link set eth0 up");
            // The machine has another address, by which the kernel sends what is not told otherwise.
            sh(&format!(
                "ip address add 192.0.2.10{number}/24 dev eth0; ip address add 192.0.2.{number}/24 dev eth0"
            ));
            std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("a node forwards");
        });
        let own = namespace.try_clone().expect("a handle");
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        runtime.worker_threads(1).enable_all().on_thread_start(move || {
            setns(&own, CloneFlags::CLONE_NEWNET).expect("entering the machine's namespace");
        });
        let folder = tempfile::tempdir().expect("a temporary folder");
        let address = Ipv4Addr::new(192, 0, 2, number);
        let mut config = BridgeConfig {
            bridge: "knarrtest".into(),
            subnet: format!("10.99.{number}.0/24"),
            cluster_cidr: "10.99.0.0/16".into(),
            ipam_dir: folder.path().join("ipam"),
            veth_prefix: "knt".into(),
            service_addresses: vec![],
            mtu: None,
            policy_socket: None,
        };
        let runtime = runtime.build().expect("a runtime");
        let (mtu, prepared) = {
            let config = config.clone();
            let prepare = async move { (pod_mtu(address).await, cni::prepare_node(&config).await) };
            runtime.block_on(runtime.spawn(prepare)).expect("the machine's work")
        };
        prepared.expect("the bridge");
        config.mtu = Some(mtu.expect("the link's"));
        let addresses = watch::Sender::new(vec![address.into()]);
        Self { number, namespace, runtime, config, addresses, overlay: None, services: None, _folder: folder }
    }

    pub fn address(&self) -> Ipv4Addr {
        Ipv4Addr::new(192, 0, 2, self.number)
    }

    fn start(&mut self, nodes: Cache<Node>, routing: Routing) {
        let config = OverlayConfig {
            name: TUNNEL.into(),
            route_protocol: 107,
            routing,
            pods: "10.99.0.0/16".parse().expect("a range"),
            range: self.config.subnet.parse().expect("a range"),
            node: format!("node-{}", self.number),
            addresses: self.addresses.subscribe(),
        };
        let supervisor = Supervisor::new(Shutdown::new());
        let shutdown = supervisor.shutdown().clone();
        let _in_the_namespace = self.runtime.enter();
        supervisor.spawn(TaskKind::Essential, "overlay", Overlay::new(config, nodes).run(shutdown));
        self.overlay = Some(supervisor);
    }

    pub fn serve(&mut self, view: &AnnounceView) {
        let name = format!("node-{}", self.number);
        let node = Cache::new();
        node.objects().replace(vec![]);
        let proxied = ServicesView { services: view.services.clone(), slices: view.slices.clone(), node };
        let services = ServicesConfig {
            table: "knarrtest-services".into(),
            pods: "10.99.0.0/16".parse().expect("a range"),
            node: name.clone(),
            addresses: self.addresses.subscribe(),
            answered: vec![],
            node_ports: NodePorts::All,
            kin: ("knarrtest".into(), "-services".into()),
            notices: Arc::new(()),
        };
        let addresses = self.addresses.subscribe();
        let announce = AnnounceConfig { name: ADDRESSES.into(), condition: ANNOUNCED, node: name, addresses };
        let supervisor = Supervisor::new(Shutdown::new());
        let shutdown = supervisor.shutdown().clone();
        let _in_the_namespace = self.runtime.enter();
        let proxy = Services::new(services, proxied).run(shutdown.clone());
        supervisor.spawn(TaskKind::Essential, "Service proxy", proxy);
        let announcer = Announcer::new(announce, view.clone()).run(shutdown);
        supervisor.spawn(TaskKind::Essential, "addresses", announcer);
        self.services = Some(supervisor);
    }

    /// Stops what [`Machine::serve`] has started, as a kill would: what the kernel has stays.
    pub fn stop_serving(&mut self) {
        if let Some(supervisor) = self.services.take() {
            supervisor.shutdown().start();
            self.runtime.block_on(supervisor.drain(PATIENCE));
        }
    }

    /// Stops the overlay, as a kill would: what the kernel has stays.
    pub fn stop(&mut self) {
        if let Some(supervisor) = self.overlay.take() {
            supervisor.shutdown().start();
            self.runtime.block_on(supervisor.drain(PATIENCE));
        }
    }

    /// A pod on the machine.
    pub fn pod(&self, name: &str) -> Pod {
        let namespace = new_namespace();
        let path = PathBuf::from(format!("/proc/self/fd/{}", namespace.as_raw_fd()));
        let (config, name) = (self.config.clone(), name.to_owned());
        let attach = async move { cni::attach(&config, &name, &path, "eth0", &[]).await };
        let attached = self.runtime.block_on(self.runtime.spawn(attach)).expect("the machine's work");
        Pod { namespace, address: attached.expect("attached").address }
    }

    /// Runs `work` on the machine, outside its pods.
    pub fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        inside(&self.namespace, work)
    }

    /// Moves the machine to another address, of which its overlay hears.
    pub fn move_to(&self, address: Ipv4Addr) {
        let number = self.number;
        self.run(move || {
            sh(&format!("ip address del 192.0.2.{number}/24 dev eth0; ip address add {address}/24 dev eth0"));
        });
        self.addresses.send_replace(vec![address.into()]);
    }
}
