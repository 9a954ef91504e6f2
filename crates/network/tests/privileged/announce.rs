//! Addresses of load balancers on the link of the nodes, as a machine of nobody's cluster reaches them.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use informer::Cache;
use network::announce::AnnounceView;
use network::overlay::Routing;
use serde_json::{Value, json};

use crate::ground::{PATIENCE, Pod, apply};
use crate::machines::{ADDRESSES, ANNOUNCED, Machine, Machines};

/// Of no machine.
const BALANCED: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 50);

struct Cluster {
    machines: Machines,
    view: AnnounceView,
    /// A pod on each machine, which says the number of the machine.
    pods: Vec<Pod>,
    client: Pod,
}

/// A cluster of three machines, with a Service of the address.
fn cluster(policy: &str) -> Cluster {
    let mut machines = Machines::new(3);
    let view = AnnounceView { services: Cache::new(), slices: Cache::new(), nodes: machines.nodes.clone() };
    view.services.objects().replace(vec![]);
    view.slices.objects().replace(vec![]);
    let pods: Vec<Pod> = machines.all.iter().map(|machine| machine.pod("00000001")).collect();
    ["1", "2", "3"].into_iter().zip(&pods).for_each(|(name, pod)| pod.serve(name, 8080));
    let client = machines.stranger();
    let cluster = Cluster {
        view,
        pods,
        client,
        machines: {
            machines.start(Routing::Direct);
            machines
        },
    };
    cluster.service(policy, BALANCED);
    cluster.endpoints(&[1, 2, 3]);
    let Cluster { mut machines, view, pods, client } = cluster;
    machines.serve(&view);
    Cluster { machines, view, pods, client }
}

impl Cluster {
    fn service(&self, policy: &str, address: Ipv4Addr) {
        let condition = json!([{"type": ANNOUNCED, "status": "True", "reason": "Test", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
        let spec = json!({"clusterIP": "10.98.0.7", "type": "LoadBalancer", "externalTrafficPolicy": policy,
            "ports": [{"port": 80}]});
        let status =
            json!({"loadBalancer": {"ingress": [{"ip": address.to_string()}]}, "conditions": condition});
        let metadata = json!({"name": "web", "namespace": "default"});
        apply(&self.view.services, json!({"metadata": metadata, "spec": spec, "status": status}));
    }

    /// The pods of these machines are the Service's endpoints.
    fn endpoints(&self, numbers: &[usize]) {
        let one = |number: &usize| {
            let address = self.pods[number - 1].address.to_string();
            json!({"addresses": [address], "nodeName": format!("node-{number}")})
        };
        let endpoints: Vec<Value> = numbers.iter().map(one).collect();
        let labels = json!({"kubernetes.io/service-name": "web"});
        let metadata = json!({"name": "web-1", "namespace": "default", "labels": labels});
        apply(
            &self.view.slices,
            json!({"metadata": metadata, "addressType": "IPv4", "endpoints": endpoints, "ports": [{"port": 8080}]}),
        );
    }

    fn ask(&self, port: u16) -> Result<String, io::ErrorKind> {
        self.client.ask(SocketAddr::from((BALANCED, port)))
    }

    /// The numbers of the machines that have the address.
    fn owners(&self) -> Vec<u8> {
        let has = |machine: &&Machine| machine.run(|| addresses().contains(&format!("{BALANCED}/32")));
        self.machines.all.iter().filter(has).map(|machine| machine.number).collect()
    }

    /// Waits until one machine has the address for which this holds, and returns its number.
    fn owner_when(&self, what: &str, holds: impl Fn(u8) -> bool) -> u8 {
        let started = Instant::now();
        loop {
            let owners = self.owners();
            if let [owner] = owners[..]
                && holds(owner)
            {
                return owner;
            }
            assert!(started.elapsed() < PATIENCE, "{what}: {owners:?}");
            std::thread::yield_now();
        }
    }

    fn answers(&self, what: &str) -> String {
        let started = Instant::now();
        loop {
            match self.ask(80) {
                Ok(said) => return said,
                Err(error) => assert!(started.elapsed() < PATIENCE, "{what}: {error}"),
            }
        }
    }

    /// Waits until the client sends to the machine of this number: an answer may come before the kernel has written
    /// down from where.
    fn sends_to(&self, number: u8) {
        let mac = self.mac(number);
        let known = || self.client.run(|| output(&format!("ip neighbour show {BALANCED}"), "lladdr"));
        let started = Instant::now();
        while known() != mac {
            assert!(started.elapsed() < PATIENCE, "the client sends to {}, not to {mac}", known());
            std::thread::yield_now();
        }
    }

    fn mac(&self, number: u8) -> String {
        self.machines.all[usize::from(number) - 1].run(|| output("ip link show eth0", "link/ether"))
    }
}

fn addresses() -> String {
    let shown = std::process::Command::new("ip").args(["-o", "address", "show", "dev", ADDRESSES]).output();
    String::from_utf8(shown.expect("ip").stdout).expect("text")
}

/// The word after `word` in what the command prints.
fn output(command: &str, word: &str) -> String {
    let shown = std::process::Command::new("sh").args(["-c", command]).output().expect("a shell");
    let text = String::from_utf8(shown.stdout).expect("text");
    text.split_whitespace().skip_while(|one| *one != word).nth(1).unwrap_or("").to_owned()
}

#[test]
fn an_address_is_on_one_node_and_moves_when_the_node_is_lost() {
    let mut cluster = cluster("Cluster");
    let first = cluster.owner_when("one machine takes the address", |_| true);
    cluster.answers("the address answers");
    cluster.sends_to(first);
    // Who listens on all addresses of the owner is not reached by it.
    let own = cluster.machines.all[usize::from(first) - 1]
        .run(|| TcpListener::bind("0.0.0.0:2222").expect("a server"));
    assert_eq!(cluster.ask(2222), Err(io::ErrorKind::ConnectionRefused));
    let itself = |port: u16| {
        cluster.machines.all[usize::from(first) - 1]
            .run(move || crate::ground::ask(SocketAddr::from((BALANCED, port))))
    };
    assert_eq!(itself(2222), Err(io::ErrorKind::ConnectionRefused), "by the owner itself neither");
    assert!(itself(80).is_ok(), "which reaches the Service");
    drop(own);
    // The agent may go and come back: the address stays.
    let owner = usize::from(first) - 1;
    cluster.machines.all[owner].stop_serving();
    cluster.answers("while the agent is gone");
    let view = cluster.view.clone();
    cluster.machines.all[owner].serve(&view);

    // Lost: the others hear that it is not ready. It hears nothing, and has no link any more.
    cluster.machines.all[owner].stop_serving();
    cluster.machines.all[owner].run(|| crate::ground::sh("ip link set eth0 down"));
    let number = first;
    cluster.machines.node_that_is(number, cluster.machines.all[owner].address(), "Unknown");
    let others = cluster.machines.all.iter().filter(|machine| machine.number != first);
    let takes = |machine: &Machine| machine.run(|| addresses().contains(&BALANCED.to_string()));
    let started = Instant::now();
    let second = loop {
        if let Some(machine) = others.clone().find(|machine| takes(machine)) {
            break machine.number;
        }
        assert!(started.elapsed() < PATIENCE, "another machine takes the address");
    };
    let others: Vec<usize> = [1, 2, 3].into_iter().filter(|number| *number != usize::from(first)).collect();
    cluster.endpoints(&others);
    let moved = Instant::now();
    cluster.answers("the address answers elsewhere");
    assert!(moved.elapsed() < Duration::from_secs(2), "the client was told: {:?}", moved.elapsed());
    cluster.sends_to(second);
}

#[test]
fn a_local_policy_keeps_the_address_with_the_endpoints() {
    let mut cluster = cluster("Local");
    cluster.endpoints(&[2]);
    cluster.owner_when("the one with an endpoint", |owner| owner == 2);
    assert_eq!(cluster.answers("it answers"), "2 192.0.2.200", "and sees the client");
    cluster.endpoints(&[3]);
    cluster.owner_when("the endpoint's new node", |owner| owner == 3);
    assert_eq!(cluster.answers("it answers there"), "3 192.0.2.200");
    // Taken away by hand: put back.
    cluster.machines.all[2]
        .run(|| crate::ground::sh(&format!("ip address del {BALANCED}/32 dev {ADDRESSES}")));
    cluster.owner_when("the address is put back", |owner| owner == 3);
    cluster.machines.all[2].run(|| crate::ground::sh(&format!("ip link del {ADDRESSES}")));
    cluster.owner_when("the link is put back", |owner| owner == 3);
    // Another address, and none.
    cluster.service("Local", Ipv4Addr::new(192, 0, 2, 51));
    let started = Instant::now();
    while !cluster.owners().is_empty() {
        assert!(started.elapsed() < PATIENCE, "the address is given up");
    }
    cluster.view.services.objects().remove(&informer::Key::new("default", "web"));
    let started = Instant::now();
    while cluster.machines.all[2].run(|| !addresses().is_empty()) {
        assert!(started.elapsed() < PATIENCE, "the link is gone with the last address");
    }
    cluster.machines.all.iter_mut().for_each(Machine::stop_serving);
}
