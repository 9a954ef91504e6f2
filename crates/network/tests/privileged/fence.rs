//! An agent of network policies that is fed by hand, and pods that it hears of from the CNI plugin.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base::{Shutdown, Supervisor, TaskKind};
use cni::announce::PodName;
use informer::{Cache, Key};
use network::policies::{Answered, Policies, PoliciesConfig, PoliciesView};
use serde_json::{Value, json};
use tokio::net::UnixListener;

use crate::ground::{Ground, PATIENCE, Pod, apply, ask_within, new_namespace};

pub const TABLE: &str = "knarrtest-policies";
/// What the node answers on as if it were a pod of DNS.
pub const DNS: Ipv4Addr = Ipv4Addr::new(10, 98, 0, 10);
/// How long nobody answers who is not to answer.
const SILENCE: Duration = Duration::from_millis(300);

pub struct Fence {
    pub view: PoliciesView,
    socket: PathBuf,
    supervisor: Option<Supervisor>,
    _folder: tempfile::TempDir,
}

impl Fence {
    /// An agent on the node, and two namespaces.
    pub fn new(ground: &mut Ground) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let socket = folder.path().join("policies.sock");
        ground.config.policy_socket = Some(socket.clone());
        let view = PoliciesView { policies: Cache::new(), namespaces: Cache::new(), pods: Cache::new() };
        view.policies.objects().replace(vec![]);
        view.namespaces.objects().replace(vec![]);
        view.pods.objects().replace(vec![]);
        let mut fence = Self { view, socket, supervisor: None, _folder: folder };
        for name in ["here", "there", "kube-system"] {
            fence.namespace(name, json!({"kubernetes.io/metadata.name": name}));
        }
        fence.start();
        fence
    }

    pub fn start(&mut self) {
        // As after a kill.
        let _ = std::fs::remove_file(&self.socket);
        let config = PoliciesConfig {
            table: TABLE.into(),
            node: "node".into(),
            answered: vec![Answered {
                address: DNS,
                namespace: "kube-system".into(),
                labels: vec![("k8s-app".into(), "kube-dns".into())],
                ports: vec![("dns".into(), "UDP".into(), 53)],
            }],
            socket: UnixListener::bind(&self.socket).expect("a socket"),
        };
        let policies = Policies::new(config, self.view.clone());
        let supervisor = Supervisor::new(Shutdown::new());
        let shutdown = supervisor.shutdown().clone();
        supervisor.spawn(TaskKind::Essential, "network policies", policies.run(shutdown));
        self.supervisor = Some(supervisor);
    }

    /// Stops the agent, as a kill would: the table stays.
    pub async fn stop(&mut self) {
        if let Some(supervisor) = self.supervisor.take() {
            supervisor.shutdown().start();
            supervisor.drain(PATIENCE).await;
        }
    }

    pub fn namespace(&self, name: &str, labels: Value) {
        apply(&self.view.namespaces, json!({"metadata": {"name": name, "labels": labels}}));
    }

    pub fn policy(&self, name: &str, spec: Value) {
        let metadata = json!({"name": name, "namespace": "here"});
        apply(&self.view.policies, json!({"metadata": metadata, "spec": spec}));
    }

    pub fn delete_policy(&self, name: &str) {
        self.view.policies.objects().remove(&Key::new("here", name));
    }

    /// A pod as the API has it, on this node, with one named port. Its label `app` is its name.
    pub fn declare(&self, namespace: &str, name: &str, address: Option<Ipv4Addr>) {
        let metadata = json!({"name": name, "namespace": namespace, "uid": format!("uid-{name}"), "labels": {"app": name}});
        let ports = json!([{"name": "web", "containerPort": 8080}]);
        let spec = json!({"nodeName": "node", "containers": [{"name": "c", "ports": ports}]});
        let status = match address {
            Some(address) => json!({"podIP": address.to_string(), "podIPs": [{"ip": address.to_string()}]}),
            None => json!({}),
        };
        apply(&self.view.pods, json!({"metadata": metadata, "spec": spec, "status": status}));
    }

    pub fn delete_pod(&self, namespace: &str, name: &str) {
        self.view.pods.objects().remove(&Key::new(namespace, name));
    }

    /// A pod that the plugin attaches, and that serves at 8080 and 8081.
    pub async fn pod(&self, ground: &Ground, namespace: &str, name: &'static str) -> Pod {
        self.declare(namespace, name, None);
        let pod = self.attach(ground, namespace, name).await.expect("attached");
        pod.serve(name, 8080);
        pod.serve(name, 8081);
        pod.serve_udp(name, 8080);
        pod
    }

    /// Has the plugin attach a pod, as a runtime does.
    pub async fn attach(&self, ground: &Ground, namespace: &str, name: &str) -> Result<Pod, cni::Error> {
        let network = new_namespace();
        let path = PathBuf::from(format!("/proc/self/fd/{}", network.as_raw_fd()));
        let pod = PodName { namespace: namespace.into(), name: name.into(), uid: format!("uid-{name}") };
        let id = container(name);
        let attached = cni::attach_pod(&ground.config, Some(&pod), &id, Path::new(&path), "eth0", &[]);
        let address = attached.await?.address;
        Ok(Pod { namespace: network, address })
    }

    pub async fn detach(&self, ground: &Ground, name: &str) {
        cni::detach(&ground.config, &container(name)).await.expect("detached");
    }
}

/// Interfaces are named by the beginning of containers' names.
fn container(name: &str) -> String {
    name.chars().cycle().take(8).collect()
}

/// Whether a pod is answered.
pub fn reaches(pod: &Pod, address: Ipv4Addr, port: u16) -> bool {
    let asked = pod.run(move || ask_within(SocketAddr::from((address, port)), SILENCE));
    match asked {
        Ok(_) => true,
        Err(io::ErrorKind::TimedOut) => false,
        Err(other) => panic!("{address}:{port}: neither answered nor dropped: {other}"),
    }
}
