//! Two control planes on one etcd: one leads, both answer, and nothing is given out twice.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use base::{Clock, SystemClock};
use etcd::Etcd;
use etcd::testing::Cluster as Members;
use informer::{Cache, Informers};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Endpoints, Event, Pod, Service};
use kube::Api;
use kube::api::{ListParams, PostParams};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::*;
use crate::cluster::{self, Cluster};
use crate::layout::Layout;
use crate::pki::Names;
use crate::settings::{self, Settings};

/// Nothing that is waited for takes longer, on however slow a machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A server of a cluster that does not listen.
struct Peer {
    parts: Parts,
    plane: ControlPlane,
    client: Client,
    informers: Informers,
    _addresses: watch::Sender<Vec<IpAddr>>,
}

impl Peer {
    /// Keys and authorities are those of `folder`, which all share.
    async fn start(name: &str, members: &Members, folder: &Path) -> Self {
        let layout = Layout::new(name, Some(folder));
        let ip = IpAddr::V4(Ipv4Addr::new(192, 0, 2, name.bytes().next().unwrap_or(1)));
        let names = Names { node_name: name.to_owned(), addresses: vec![ip] };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let ingress = settings::Ingress { enabled: false, ..settings::Ingress::default() };
        let parts = Parts {
            pki: Pki::load_or_create(&layout.pki_dir(), &names, clock.now()).expect("keys"),
            settings: Settings { ingress, ..Settings::default() },
            cluster: Cluster { node_name: name.to_owned(), ..cluster::at(0) },
            layout,
            etcd: Some(Etcd::connect(members.config()).await.expect("etcd answers")),
            addresses: vec![ip],
            clock,
            supervisor: Supervisor::new(Shutdown::new()),
        };
        let (plane, security) = prepare(&parts, Vec::new()).await.expect("a control plane");
        let (told, addresses) = watch::channel(vec![ip]);
        loops::start(&parts, &plane, loops::sign_token(&security), addresses).await.expect("loops");
        let client = plane.client("test", "admin", &["system:masters"]);
        let informers = Informers::new(client.clone(), parts.supervisor.clone());
        Self { parts, plane, client, informers, _addresses: told }
    }

    /// Waits until the lease is held by who is called so; returns the lease.
    async fn led_by(&self, lease: &str, name: &str) -> Lease {
        let leases: Cache<Lease> = self.informers.cache();
        let held = |leases: &Cache<Lease>| {
            let found = leases.get("kube-system", lease)?;
            let holder = found.spec.as_ref()?.holder_identity.as_ref()?;
            holder.starts_with(&format!("{name}_")).then(|| (*found).clone())
        };
        patiently(lease, leases.wait_until(|leases| held(leases).is_some())).await;
        held(&leases).expect("it was just there")
    }

    /// The addresses of the Service `kubernetes`, once there are so many.
    async fn endpoints(&self, count: usize) -> Vec<String> {
        let endpoints: Cache<Endpoints> = self.informers.cache();
        let listed = |all: &Cache<Endpoints>| {
            let found = all.get("default", "kubernetes");
            let subsets = found.and_then(|found| found.subsets.clone()).unwrap_or_default();
            let addresses = subsets.into_iter().flat_map(|subset| subset.addresses.unwrap_or_default());
            addresses.map(|address| address.ip).collect::<Vec<_>>()
        };
        patiently("the endpoints", endpoints.wait_until(|all| listed(all).len() == count)).await;
        listed(&endpoints)
    }

    async fn deploy(&self, name: &str) {
        let deployments = Api::default_namespaced(self.client.clone());
        deployments
            .create(&PostParams::default(), &typed(deployment(name)))
            .await
            .map(drop::<k8s_openapi::api::apps::v1::Deployment>)
            .expect("a deployment");
    }

    /// Waits until the deployment has its pods.
    async fn deployed(&self, name: &str) {
        let pods: Cache<Pod> = self.informers.cache();
        let has = |pods: &Cache<Pod>| {
            pods.scan("a test has few pods").iter().filter(|pod| pod.key.name.starts_with(name)).count() == 2
        };
        patiently(name, pods.wait_until(has)).await;
    }

    async fn stop(&self) {
        self.plane.hand_over().await;
        self.parts.supervisor.shutdown().start();
        self.parts.supervisor.drain(Duration::from_secs(10)).await;
        self.plane.close().await;
    }
}

fn typed<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("an object of its kind")
}

fn deployment(name: &str) -> Value {
    let template = json!({
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [{"name": "c", "image": "v1"}]},
    });
    json!({
        "metadata": {"name": name},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": name}}, "template": template},
    })
}

async fn patiently<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| panic!("{what} does not come"))
}

/// The holder of a lease as etcd has it.
async fn holder(members: &Members, lease: &str) -> String {
    let etcd = Etcd::connect(members.config()).await.expect("etcd answers");
    let key = format!("/registry/leases/kube-system/{lease}");
    let stored = etcd.get(&key).await.expect("etcd answers").0.expect("the lease is where upstream has it");
    let stored: Value = serde_json::from_slice(&stored.value).expect("JSON");
    stored["spec"]["holderIdentity"].as_str().expect("a holder").to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_stops_and_another_follows() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let members = Members::start(1, None).expect("etcd starts");
    let a = Peer::start("a", &members, folder.path()).await;
    for lease in [CONTROLLER_MANAGER, "kube-scheduler"] {
        a.led_by(lease, "a").await;
    }
    let b = Peer::start("b", &members, folder.path()).await;
    b.deploy("first").await;
    b.deployed("first").await;
    assert_eq!(b.endpoints(2).await, ["192.0.2.97", "192.0.2.98"]);
    // From now on nothing of this server reaches etcd, nor etcd the server.
    a.plane.close().await;
    let led = b.led_by(CONTROLLER_MANAGER, "b").await;
    let scheduled = b.led_by("kube-scheduler", "b").await;
    for lease in [&led, &scheduled] {
        let spec = lease.spec.as_ref().expect("a spec");
        assert_eq!((spec.lease_transitions, spec.lease_duration_seconds), (Some(1), Some(15)));
    }
    assert!(a.parts.supervisor.shutdown().is_started(), "who was cut off has stopped by now");
    assert_eq!(b.endpoints(1).await, ["192.0.2.98"], "the address of who is gone goes too");
    b.deploy("second").await;
    b.deployed("second").await;
    // The Event goes out before the leader's first work, which has been seen, and maybe arrives after it.
    let events: Api<Event> = Api::namespaced(b.client.clone(), "kube-system");
    let told = async {
        loop {
            let found = events.list(&ListParams::default()).await.expect("a list").items;
            let is_told = |event: &&Event| {
                event.reason.as_deref() == Some("LeaderElection")
                    && event
                        .message
                        .as_deref()
                        .is_some_and(|m| m.starts_with("b_") && m.ends_with(" became leader"))
            };
            if found.iter().filter(is_told).count() == 2 {
                break;
            }
        }
    };
    patiently("the Events", told).await;
    // Who stops in order keeps nobody waiting.
    b.stop().await;
    for lease in [CONTROLLER_MANAGER, "kube-scheduler"] {
        assert_eq!(holder(&members, lease).await, "");
    }
    a.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_and_ports_are_given_out_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let members = Members::start(1, None).expect("etcd starts");
    let (a, b) =
        (Peer::start("a", &members, folder.path()).await, Peer::start("b", &members, folder.path()).await);
    let services = |n: usize| {
        let peer = if n.is_multiple_of(2) { &a } else { &b };
        Api::<Service>::default_namespaced(peer.client.clone())
    };
    let service =
        |name: String, spec: Value| typed::<Service>(json!({"metadata": {"name": name}, "spec": spec}));
    let params = PostParams::default();
    let made = futures::future::join_all((0..40).map(|n| {
        let service = service(format!("any-{n}"), json!({"ports": [{"port": 80}]}));
        let (api, params) = (services(n), &params);
        async move { api.create(params, &service).await.expect("a Service") }
    }))
    .await;
    let addresses: BTreeSet<_> = made.iter().map(|s| s.spec.as_ref().unwrap().cluster_ip.clone()).collect();
    assert_eq!(addresses.len(), 40);
    let same = futures::future::join_all((0..8).map(|n| {
        let spec = json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 30_080}]});
        let service = service(format!("same-{n}"), spec);
        let (api, params) = (services(n), &params);
        async move { api.create(params, &service).await.is_ok() }
    }))
    .await;
    assert_eq!(same.iter().filter(|made| **made).count(), 1);
    a.stop().await;
    b.stop().await;
}
