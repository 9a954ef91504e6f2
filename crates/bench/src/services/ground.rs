//! The node: a network namespace with a machine on each side, caches that are filled by hand, and the proxy.

use std::fs::File;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use base::{Shutdown, Supervisor, TaskKind};
use informer::{Cache, Item};
use network::services::{NodePorts, Services, ServicesConfig, ServicesView};
use nix::sched::{CloneFlags, setns, unshare};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

pub const TABLE: &str = "knarr-bench-services";
const PATIENCE: Duration = Duration::from_mins(2);
/// The machines beside the node.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
pub const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 6);
/// Where the server listens for the Service, and the Service's address.
pub const PORT: u16 = 8080;
pub const SERVICE: Ipv4Addr = Ipv4Addr::new(10, 98, 255, 1);

pub struct Ground {
    pub client: File,
    pub server: File,
    view: ServicesView,
    supervisor: Option<Supervisor>,
}

/// Takes the thread into a namespace of its own; the threads of the runtime are in it too.
pub fn enter() -> Result<Runtime> {
    unshare(CloneFlags::CLONE_NEWNET).context("making a network namespace; root may")?;
    let own = own_namespace()?;
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().on_thread_start(move || {
        setns(&own, CloneFlags::CLONE_NEWNET).expect("a thread may enter its process's namespaces");
    });
    Ok(runtime.build()?)
}

fn own_namespace() -> Result<File> {
    File::open("/proc/thread-self/ns/net").context("opening a namespace")
}

fn ip(arguments: &str) -> Result<()> {
    let done = Command::new("ip").args(arguments.split(' ')).status().context("calling ip")?;
    if !done.success() {
        bail!("ip {arguments}: {done}");
    }
    Ok(())
}

/// Runs `work` in a namespace.
pub fn inside<T: Send + 'static>(namespace: &File, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let namespace = namespace.try_clone()?;
    let thread = std::thread::spawn(move || {
        setns(&namespace, CloneFlags::CLONE_NEWNET)?;
        anyhow::Ok(work())
    });
    thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?
}

/// A machine at the other end of a link of four addresses; the node has the first.
fn machine(name: &str, address: Ipv4Addr) -> Result<File> {
    let maker = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET)?;
        own_namespace()
    });
    let namespace = maker.join().map_err(|_| anyhow::anyhow!("a thread panicked"))??;
    let path = format!("/proc/{}/fd/{}", std::process::id(), namespace.as_raw_fd());
    let node = Ipv4Addr::from_bits(address.to_bits() - 1);
    ip(&format!("link add {name} type veth peer name eth0 netns {path}"))?;
    ip(&format!("address add {node}/30 dev {name}"))?;
    ip(&format!("link set {name} up"))?;
    inside(&namespace, move || {
        ip("link set lo up")?;
        ip(&format!("address add {address}/30 dev eth0"))?;
        ip("link set eth0 up")?;
        ip(&format!("route add default via {node}"))
    })??;
    Ok(namespace)
}

/// The process's resident memory.
///
/// # Errors
/// When the kernel does not say.
pub fn resident_mb() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1000.0)
}

fn item(object: &Value) -> Item {
    Item::read(object.to_string().into_bytes().into()).expect("an object with a name")
}

/// The slice of the Service of a number.
pub fn slice(service: usize, endpoints: usize) -> Item {
    let address = |number: usize| {
        let bits = Ipv4Addr::new(10, 0, 0, 0).to_bits() + u32::try_from(service * 16 + number).unwrap_or(0);
        Ipv4Addr::from_bits(bits).to_string()
    };
    let one = |number| {
        json!({"addresses": [address(number)], "nodeName": "elsewhere",
            "conditions": {"ready": true, "serving": true, "terminating": false},
            "targetRef": {"kind": "Pod", "namespace": "bench", "name": format!("s{service:05}-{number}"),
                "uid": "5f9a1f6e-7a0b-4f0e-9d4e-1c8f0a3b2c1d"}})
    };
    let endpoints: Vec<Value> = (0..endpoints).map(one).collect();
    of_service(&format!("s{service:05}"), &Value::from(endpoints))
}

fn of_service(name: &str, endpoints: &Value) -> Item {
    let labels = json!({"kubernetes.io/service-name": name});
    let metadata = json!({"name": format!("{name}-abcde"), "namespace": "bench", "labels": labels});
    let ports = json!([{"name": "", "port": PORT, "protocol": "TCP"}]);
    item(&json!({"metadata": metadata, "addressType": "IPv4", "endpoints": endpoints, "ports": ports}))
}

fn service(name: &str, address: Ipv4Addr) -> Item {
    let metadata = json!({"name": name, "namespace": "bench"});
    let spec = json!({"clusterIP": address.to_string(), "clusterIPs": [address.to_string()], "type": "ClusterIP",
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": PORT}], "selector": {"app": name}});
    item(&json!({"metadata": metadata, "spec": spec}))
}

impl Ground {
    /// # Errors
    /// When links cannot be made.
    pub fn new() -> Result<Self> {
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
        ip("link set lo up")?;
        let (client, server) = (machine("client", CLIENT)?, machine("server", SERVER)?);
        let view = ServicesView { services: Cache::new(), slices: Cache::new(), node: Cache::new() };
        view.node.objects().replace(Vec::new());
        Ok(Self { client, server, view, supervisor: None })
    }

    /// Begins anew: without proxy, table and objects.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn clear(&mut self) -> Result<()> {
        self.stop().await;
        let mut batch = nft::Batch::new();
        batch.new_table(TABLE);
        batch.delete_table(TABLE);
        batch.send()?;
        self.view =
            ServicesView { services: Cache::new(), slices: Cache::new(), node: self.view.node.clone() };
        Ok(())
    }

    /// As many Services, and the one that leads to the server.
    pub fn fill(&self, count: usize) {
        let address = |number: usize| {
            let bits = Ipv4Addr::new(10, 96, 0, 0).to_bits() + u32::try_from(number).unwrap_or(0) + 256;
            Ipv4Addr::from_bits(bits)
        };
        let mut services: Vec<Item> =
            (0..count).map(|number| service(&format!("s{number:05}"), address(number))).collect();
        services.push(service("server", SERVICE));
        let mut slices: Vec<Item> = (0..count).map(|number| slice(number, super::ENDPOINTS)).collect();
        slices.push(of_service("server", &json!([{"addresses": [SERVER.to_string()]}])));
        self.view.services.objects().replace(services);
        self.view.slices.objects().replace(slices);
    }

    pub fn change(&self, service: usize, endpoints: usize) {
        self.apply(slice(service, endpoints));
    }

    pub fn apply(&self, slice: Item) {
        self.view.slices.objects().apply(slice);
    }

    pub fn start(&mut self) {
        let config = ServicesConfig {
            table: TABLE.into(),
            pods: "192.0.2.0/24".parse().expect("a range"),
            node: "here".into(),
            addresses: tokio::sync::watch::channel(Vec::new()).1,
            answered: Vec::new(),
            node_ports: NodePorts::All,
            kin: (TABLE.into(), String::new()),
            notices: Arc::new(()),
        };
        let services = Services::new(config, self.view.clone());
        let supervisor = Supervisor::new(Shutdown::new());
        let shutdown = supervisor.shutdown().clone();
        supervisor.spawn(TaskKind::Essential, "Service proxy", services.run(shutdown));
        self.supervisor = Some(supervisor);
    }

    pub async fn stop(&mut self) {
        if let Some(supervisor) = self.supervisor.take() {
            supervisor.shutdown().start();
            supervisor.drain(PATIENCE).await;
        }
    }

    /// Asks the kernel until it has, or has not, an endpoint of a Service. Services are told in the order of their
    /// names, so that the number of a pool is known.
    ///
    /// # Errors
    /// When it takes too long.
    pub async fn wait_endpoint(&self, service: usize, place: usize, there: bool) -> Result<()> {
        let (pool, place) = (u32::try_from(service + 1)?, u32::try_from(place)?);
        let key = [pool.to_ne_bytes(), place.to_ne_bytes()].concat();
        let end = Instant::now() + PATIENCE;
        loop {
            if nft::contains(TABLE, "endpoints", &key)? == there {
                return Ok(());
            }
            if Instant::now() > end {
                bail!("the kernel was not told of a Service in {PATIENCE:?}");
            }
            tokio::task::yield_now().await;
        }
    }
}
