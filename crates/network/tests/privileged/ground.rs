//! A node in a network namespace of its own, with pods on its bridge and a proxy that is fed by hand.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base::{Shutdown, Supervisor, TaskKind};
use cni::BridgeConfig;
use informer::{Cache, Key, Kind};
use k8s_openapi::api::core::v1::ObjectReference;
use network::services::{NodePorts, Notices, Services, ServicesConfig, ServicesView};
use nix::sched::{CloneFlags, setns, unshare};
use serde_json::{Value, json};
use tokio::sync::watch;

pub const TABLE: &str = "knarrtest-services";
pub const BRIDGE: &str = "knarrtest";
/// For what has to happen; what has not to, happens at once in each of these tests.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// The node. Its address is 192.0.2.1.
pub struct Ground {
    pub config: BridgeConfig,
    /// A machine beside the node.
    pub outside: Pod,
    pub view: ServicesView,
    /// What the proxy takes for the node's addresses.
    pub addresses: watch::Sender<Vec<IpAddr>>,
    /// On which of them node ports are, from the next start on.
    pub node_ports: NodePorts,
    pub notices: Arc<Heard>,
    supervisor: Option<Supervisor>,
    _folder: tempfile::TempDir,
}

/// What the proxy has said of Services: the name, the reason and the message.
#[derive(Default)]
pub struct Heard(Mutex<Vec<(String, String, String)>>);

impl Notices for Heard {
    fn warn(&self, service: &ObjectReference, reason: &'static str, message: String) {
        let name = service.name.clone().unwrap_or_default();
        self.0.lock().expect("unpoisoned").push((name, reason.to_owned(), message));
    }
}

impl Heard {
    /// What was said of a Service, since this was last asked.
    pub fn take(&self, service: &str) -> Vec<(String, String)> {
        let mut all = self.0.lock().expect("unpoisoned");
        let (told, others): (Vec<_>, Vec<_>) = all.drain(..).partition(|(name, ..)| name == service);
        *all = others;
        told.into_iter().map(|(_, reason, message)| (reason, message)).collect()
    }
}

/// A namespace on the node's bridge.
pub struct Pod {
    pub namespace: File,
    pub address: Ipv4Addr,
}

/// Whether bridges pass packets to the rules of IPv4, as they do where somebody has loaded `br_netfilter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BridgeFilter {
    On,
    Off,
}

/// Runs `test` on a node that is a thread's namespace.
pub fn on_a_node(filter: BridgeFilter, test: impl AsyncFnOnce(Ground) + Send + 'static) {
    std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("needs root: a new network namespace");
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        // The proxy's work has to happen in this namespace.
        let own = own_namespace();
        runtime.worker_threads(2).enable_all().on_thread_start(move || {
            setns(&own, CloneFlags::CLONE_NEWNET).expect("entering the node's namespace");
        });
        let runtime = runtime.build().expect("a runtime");
        runtime.block_on(async { test(Ground::new(filter).await).await });
    })
    .join()
    .expect("the test");
}

pub fn own_namespace() -> File {
    File::open("/proc/thread-self/ns/net").expect("the thread's namespace")
}

pub fn sh(command: &str) {
    let done = std::process::Command::new("sh").args(["-ec", command]).status().expect("a shell");
    assert!(done.success(), "{command}");
}

/// Connects the node with a machine outside, 192.0.2.9, by which it reaches everything else.
fn outside() -> Pod {
    let namespace = new_namespace();
    let path = format!("/proc/{}/fd/{}", std::process::id(), namespace.as_raw_fd());
    sh(&format!("ip link set lo up; ip link add outside type veth peer name eth0 netns {path}"));
    sh("ip address add 192.0.2.1/24 dev outside; ip link set outside up; ip route add default via 192.0.2.9");
    let far = "ip link set lo up; ip address add 192.0.2.9/24 dev eth0; ip link set eth0 up";
    inside(&namespace, move || sh(far));
    inside(&namespace, || sh("ip route add default via 192.0.2.1"));
    Pod { namespace, address: Ipv4Addr::new(192, 0, 2, 9) }
}

pub fn new_namespace() -> File {
    let maker = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("a new network namespace");
        own_namespace()
    });
    maker.join().expect("the thread")
}

impl Ground {
    async fn new(filter: BridgeFilter) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let config = BridgeConfig {
            bridge: BRIDGE.into(),
            subnet: "10.99.7.0/24".into(),
            cluster_cidr: "10.99.0.0/16".into(),
            ipam_dir: folder.path().join("ipam"),
            veth_prefix: "knt".into(),
            service_addresses: vec![],
            mtu: None,
            policy_socket: None,
        };
        let outside = outside();
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("a node forwards");
        let value = if filter == BridgeFilter::On { "1" } else { "0" };
        match std::fs::write("/proc/sys/net/bridge/bridge-nf-call-iptables", value) {
            Err(error) if filter == BridgeFilter::On => panic!("the kernel has no br_netfilter: {error}"),
            _ => {}
        }
        cni::prepare_node(&config).await.expect("the bridge");
        let view = ServicesView { services: Cache::new(), slices: Cache::new(), node: Cache::new() };
        view.services.objects().replace(vec![]);
        view.slices.objects().replace(vec![]);
        view.node.objects().replace(vec![]);
        let addresses = watch::Sender::new(vec![IpAddr::from([192, 0, 2, 1])]);
        let (node_ports, notices) = (NodePorts::All, Arc::default());
        Self { config, outside, view, addresses, node_ports, notices, supervisor: None, _folder: folder }
    }

    /// The node's address on the bridge.
    pub fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 99, 7, 1)
    }

    /// Starts the proxy, and waits until the kernel has the table.
    pub async fn start(&mut self) {
        let config = ServicesConfig {
            table: TABLE.into(),
            pods: "10.99.0.0/16".parse().expect("a range"),
            node: "here".into(),
            addresses: self.addresses.subscribe(),
            answered: vec![Ipv4Addr::new(10, 98, 0, 1)],
            node_ports: self.node_ports.clone(),
            kin: ("knarrtest".into(), "-services".into()),
            notices: self.notices.clone(),
        };
        let services = Services::new(config, self.view.clone());
        let supervisor = Supervisor::new(Shutdown::new());
        let shutdown = supervisor.shutdown().clone();
        supervisor.spawn(TaskKind::Essential, "Service proxy", services.run(shutdown));
        self.supervisor = Some(supervisor);
    }

    /// Stops the proxy, as a kill would: the table stays.
    pub async fn stop(&mut self) {
        if let Some(supervisor) = self.supervisor.take() {
            supervisor.shutdown().start();
            supervisor.drain(PATIENCE).await;
        }
    }

    pub async fn pod(&self, name: &str) -> Pod {
        let namespace = new_namespace();
        let path = PathBuf::from(format!("/proc/self/fd/{}", namespace.as_raw_fd()));
        let attached =
            cni::attach(&self.config, name, Path::new(&path), "eth0", &[]).await.expect("attached");
        Pod { namespace, address: attached.address }
    }

    /// A Service of this specification.
    pub fn service(&self, name: &str, spec: Value) {
        self.service_with_status(name, spec, json!({}));
    }

    pub fn service_with_status(&self, name: &str, spec: Value, status: Value) {
        let metadata = json!({"name": name, "namespace": "default"});
        apply(&self.view.services, json!({"metadata": metadata, "spec": spec, "status": status}));
    }

    /// The Service's endpoints, all on this node, ready, at one port each.
    pub fn endpoints(&self, service: &str, protocol: &str, port: u16, addresses: &[Ipv4Addr]) {
        let endpoints: Vec<Value> =
            addresses.iter().map(|ip| json!({"addresses": [ip.to_string()], "nodeName": "here"})).collect();
        self.slice(service, json!([{"port": port, "protocol": protocol}]), &Value::from(endpoints));
    }

    pub fn slice(&self, service: &str, ports: Value, endpoints: &Value) {
        let labels = json!({"kubernetes.io/service-name": service});
        let metadata = json!({"name": format!("{service}-1"), "namespace": "default", "labels": labels});
        let slice =
            json!({"metadata": metadata, "addressType": "IPv4", "endpoints": endpoints, "ports": ports});
        apply(&self.view.slices, slice);
    }

    pub fn delete_service(&self, name: &str) {
        self.view.services.objects().remove(&Key::new("default", name));
    }
}

pub fn apply<K: Kind + serde::de::DeserializeOwned>(cache: &Cache<K>, object: Value) {
    cache.apply(serde_json::from_value(object).expect("an object of its kind"));
}

impl Pod {
    /// Runs `work` inside the pod.
    pub fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        inside(&self.namespace, work)
    }

    /// Answers every connection with its name and the client's address, until the process ends.
    pub fn serve(&self, name: &'static str, port: u16) {
        let address = self.address;
        let listener = self.run(move || TcpListener::bind((address, port)).expect("the pod listens"));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                let client = stream.peer_addr().expect("its address").ip();
                // The client may have gone.
                let _ = stream.write_all(format!("{name} {client}").as_bytes());
            }
        });
    }

    /// Answers every datagram with its name and the client's address, until the process ends.
    pub fn serve_udp(&self, name: &'static str, port: u16) {
        let address = self.address;
        let socket = self.run(move || UdpSocket::bind((address, port)).expect("the pod listens"));
        std::thread::spawn(move || {
            loop {
                let (_, client) = socket.recv_from(&mut [0; 16]).expect("a datagram");
                let answer = format!("{name} {}", client.ip());
                socket.send_to(answer.as_bytes(), client).expect("sent");
            }
        });
    }

    pub fn ask(&self, address: impl Into<SocketAddr>) -> Result<String, io::ErrorKind> {
        let address = address.into();
        self.run(move || ask(address))
    }
}

pub fn inside<T: Send + 'static>(namespace: &File, work: impl FnOnce() -> T + Send + 'static) -> T {
    let namespace = namespace.try_clone().expect("a handle");
    std::thread::spawn(move || {
        setns(&namespace, CloneFlags::CLONE_NEWNET).expect("entering the namespace");
        work()
    })
    .join()
    .expect("the thread")
}

/// What a server says on a new connection.
pub fn ask(address: SocketAddr) -> Result<String, io::ErrorKind> {
    ask_within(address, Duration::from_millis(900))
}

/// The same, with more or less patience for the connection: who gets no answer sends its first packet again after a
/// second.
pub fn ask_within(address: SocketAddr, patience: Duration) -> Result<String, io::ErrorKind> {
    let connected = TcpStream::connect_timeout(&address, patience);
    let mut stream = connected.map_err(|error| error.kind())?;
    stream.set_read_timeout(Some(PATIENCE)).expect("set");
    let mut said = String::new();
    stream.read_to_string(&mut said).map_err(|error| error.kind())?;
    Ok(said)
}

/// What a server says to a datagram from a new socket.
pub fn ask_udp(address: SocketAddr) -> Result<String, io::ErrorKind> {
    let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    socket.connect(address).expect("a route");
    exchange(&socket)
}

/// What a server says to a datagram from this socket.
pub fn exchange(socket: &UdpSocket) -> Result<String, io::ErrorKind> {
    socket.set_read_timeout(Some(Duration::from_millis(900))).expect("set");
    socket.send(b"?").map_err(|error| error.kind())?;
    let mut said = [0; 64];
    let length = socket.recv(&mut said).map_err(|error| error.kind())?;
    Ok(String::from_utf8_lossy(&said[..length]).into_owned())
}

/// The names of the servers that answer, and the addresses that they see.
pub fn seen(asked: impl Fn() -> Result<String, io::ErrorKind>) -> (BTreeSet<String>, BTreeSet<String>) {
    let answers: Vec<String> = (0..40).map(|_| asked().expect("an answer")).collect();
    let part =
        |at: usize| answers.iter().map(|said| said.split(' ').nth(at).unwrap_or("").to_owned()).collect();
    (part(0), part(1))
}

pub fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

/// Waits until `condition` holds: the proxy works beside the test.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let holds = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, holds).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}
