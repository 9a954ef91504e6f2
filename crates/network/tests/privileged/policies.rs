//! What policies let pass, as pods, the node and others see it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};

use serde_json::{Value, json};

use crate::fence::{DNS, Fence, TABLE, reaches};
use crate::ground::{BRIDGE, BridgeFilter, Ground, Pod, ask, ask_udp, on_a_node, sh, until};

fn app(name: &str) -> Value {
    json!({"podSelector": {"matchLabels": {"app": name}}})
}

fn within(namespace: &str) -> Value {
    json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}})
}

/// Three pods of a namespace, and one of another.
async fn pods(ground: &Ground, fence: &Fence) -> [Pod; 4] {
    [
        fence.pod(ground, "here", "db").await,
        fence.pod(ground, "here", "web").await,
        fence.pod(ground, "here", "other").await,
        fence.pod(ground, "there", "far").await,
    ]
}

#[test]
fn ingress_is_let_in_by_pods_namespaces_addresses_and_ports() {
    on_a_node(BridgeFilter::Off, async |mut ground| {
        let fence = Fence::new(&mut ground);
        let [db, web, other, far] = pods(&ground, &fence).await;
        let to = db.address;
        let who = || {
            let pods = [&web, &other, &far, &ground.outside].map(|pod| reaches(pod, to, 8080));
            (pods, reaches(&web, to, 8081))
        };
        assert_eq!(who(), ([true; 4], true), "without policies everything passes");
        let ingress = |rules: Value| {
            let spec = json!({"podSelector": {"matchLabels": {"app": "db"}}, "ingress": rules});
            fence.policy("p", spec);
        };
        ingress(json!([]));
        until("nothing passes", || !reaches(&web, to, 8080)).await;
        assert_eq!(who(), ([false; 4], false));
        assert!(ask((to, 8080).into()).is_ok(), "the node itself is never kept out");
        assert!(reaches(&db, to, 8080), "nor the pod itself");
        assert!(reaches(&db, web.address, 8080), "and the pod speaks to others");

        ingress(json!([{"from": [app("web")]}]));
        until("one pod passes", || reaches(&web, to, 8080)).await;
        assert_eq!(who(), ([true, false, false, false], true));
        ingress(json!([{"from": [within("there")], "ports": [{"port": "web"}]}]));
        until("a namespace passes", || reaches(&far, to, 8080)).await;
        assert_eq!(who(), ([false, false, true, false], false));
        assert!(!reaches(&far, to, 8081), "the named port only");
        let block = json!({"ipBlock": {"cidr": "0.0.0.0/0", "except": ["192.0.2.0/24", "10.99.7.3/32"]}});
        ingress(json!([{"from": [block], "ports": [{"port": 8000, "endPort": 8080}]}]));
        until("addresses pass", || reaches(&other, to, 8080)).await;
        assert_eq!((web.address, who()), (Ipv4Addr::new(10, 99, 7, 3), ([false, true, true, false], false)));
        assert!(!reaches(&other, to, 8081), "beyond the range of ports");
        ingress(json!([{"ports": [{"protocol": "UDP"}]}]));
        until("datagrams pass", || web.run(move || ask_udp((to, 8080).into())).is_ok()).await;
        assert_eq!(who(), ([false; 4], false), "and nothing else");
        fence.delete_policy("p");
        until("everything passes", || reaches(&web, to, 8080)).await;
        assert_eq!(who(), ([true; 4], true));
        fence.namespace("there", json!({}));
    });
}

#[test]
fn egress_is_let_out_to_pods_ports_and_dns() {
    on_a_node(BridgeFilter::Off, async |mut ground| {
        sh(&format!("ip address add {DNS}/32 dev {BRIDGE}"));
        let fence = Fence::new(&mut ground);
        let [db, web, other, far] = pods(&ground, &fence).await;
        ground.outside.serve("outside", 8080);
        let socket = UdpSocket::bind((DNS, 53)).expect("the node listens");
        std::thread::spawn(move || {
            loop {
                let (_, client) = socket.recv_from(&mut [0; 16]).expect("a datagram");
                socket.send_to(b"dns", client).expect("sent");
            }
        });
        let node = TcpListener::bind((ground.gateway(), 7000)).expect("the node listens");
        let dns = || web.run(|| ask_udp((DNS, 53).into())).is_ok();
        let outside = ground.outside.address;
        let who = || {
            let pods = [db.address, other.address, far.address, outside].map(|to| reaches(&web, to, 8080));
            (pods, dns())
        };
        assert_eq!(who(), ([true; 4], true));
        let egress = |rules: Value| {
            let selector = json!({"matchLabels": {"app": "web"}});
            fence.policy("p", json!({"podSelector": selector, "policyTypes": ["Egress"], "egress": rules}));
        };
        egress(json!([]));
        until("nothing passes", || !reaches(&web, db.address, 8080)).await;
        assert_eq!(who(), ([false; 4], false), "not even DNS");
        let gateway = ground.gateway();
        web.run(move || TcpStream::connect((gateway, 7000))).expect("its node is never kept from a pod");
        drop(node);
        assert!(reaches(&db, web.address, 8080), "and others speak to it");
        let kube_dns =
            json!({"namespaceSelector": {}, "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}}});
        egress(json!([{"to": [kube_dns], "ports": [{"port": 53, "protocol": "UDP"}]}]));
        until("DNS passes", dns).await;
        assert_eq!(who(), ([false; 4], true));
        egress(json!([{"to": [kube_dns], "ports": [{"port": 53, "protocol": "TCP"}]}, {"to": [app("db")]}]));
        until("a pod passes", || reaches(&web, db.address, 8080)).await;
        assert_eq!(who(), ([true, false, false, false], false));
        egress(
            json!([{"to": [{"ipBlock": {"cidr": "10.98.0.0/16"}}]}, {"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]}]),
        );
        until("outside passes", || reaches(&web, outside, 8080)).await;
        assert_eq!(who(), ([false, false, false, true], true), "an address of DNS is an address");
        egress(json!([{"to": [{"podSelector": {}}, within("there")], "ports": [{"port": "web"}]}]));
        until("pods pass", || reaches(&web, far.address, 8080)).await;
        assert_eq!(who(), ([true, true, true, false], false));
        assert!(!reaches(&web, far.address, 8081), "a name is the peer's port");
    });
}

/// Through a Service a packet is looked at with the address of the endpoint, wherever the node translates it.
fn services_are_no_way_around(filter: BridgeFilter) {
    on_a_node(filter, async |mut ground| {
        let fence = Fence::new(&mut ground);
        let front = Ipv4Addr::new(10, 98, 0, 7);
        let [db, web, other, _] = pods(&ground, &fence).await;
        ground.service(
            "db",
            json!({"clusterIP": front, "type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]}),
        );
        ground.endpoints("db", "TCP", 8080, &[db.address]);
        ground.start().await;
        until("the Service answers", || ask((front, 80).into()).is_ok()).await;
        let who = |address: Ipv4Addr, port| [&web, &other, &db].map(|pod| reaches(pod, address, port));
        assert_eq!(who(front, 80), [true; 3]);
        fence.policy(
            "p",
            json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": [app("web")]}], "egress": [{"to": [app("db")]}]}),
        );
        until("another pod is kept out", || !reaches(&other, front, 80)).await;
        assert_eq!(who(front, 80), [true, false, true], "who reaches itself may");
        assert_eq!(who(Ipv4Addr::new(192, 0, 2, 1), 30080), [true, false, true]);
        assert!(!reaches(&ground.outside, Ipv4Addr::new(192, 0, 2, 1), 30080));
        assert!(ask((front, 80).into()).is_ok(), "the node is not");
        fence.policy(
            "p",
            json!({"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "192.0.2.9/32"}}]}]}),
        );
        until("a client outside is let in", || reaches(&ground.outside, Ipv4Addr::new(192, 0, 2, 1), 30080))
            .await;
        assert_eq!(who(front, 80), [false, false, true]);
        ground.stop().await;
    });
}

#[test]
fn services_are_no_way_around_where_bridges_do_not_pass_packets_to_rules() {
    services_are_no_way_around(BridgeFilter::Off);
}

#[test]
fn services_are_no_way_around_where_bridges_pass_packets_to_rules() {
    services_are_no_way_around(BridgeFilter::On);
}

#[test]
fn what_both_sides_have_spoken_on_goes_on() {
    on_a_node(BridgeFilter::Off, async |mut ground| {
        let fence = Fence::new(&mut ground);
        let [db, web, ..] = pods(&ground, &fence).await;
        let to = SocketAddr::from((db.address, 7100));
        let listener = db.run(move || TcpListener::bind(to).expect("the pod listens"));
        let mut client = web.run(move || TcpStream::connect(to).expect("connected"));
        let (mut server, _) = listener.accept().expect("accepted");
        for side in [&client, &server] {
            side.set_read_timeout(Some(crate::ground::PATIENCE)).expect("set");
        }
        let mut exchange = |text: &[u8; 4]| {
            let mut heard = [0; 4];
            client.write_all(text).expect("sent");
            server.read_exact(&mut heard).expect("it passes");
            assert_eq!(&heard, text);
            server.write_all(text).expect("answered");
            client.read_exact(&mut heard).expect("it passes");
            assert_eq!(&heard, text);
        };
        exchange(b"once");
        fence.policy("p", json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}));
        until("new connections do not pass", || !reaches(&web, db.address, 8080)).await;
        exchange(b"more");
    });
}

#[test]
fn the_program_nft_shows_the_table() {
    on_a_node(BridgeFilter::Off, async |mut ground| {
        let fence = Fence::new(&mut ground);
        fence.pod(&ground, "here", "web").await;
        let block = json!({"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}});
        let ports = json!([{"port": 80, "endPort": 90}, {"port": "web"}]);
        fence.policy(
            "p",
            json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": [app("web"), block], "ports": ports}],
            "egress": [{"to": [app("web")], "ports": ports}, {}, {"ports": [{"port": 1}]}]}),
        );
        fence.policy("q", json!({"podSelector": {}, "policyTypes": ["Egress"], "egress": [{"to": [app("web")], "ports": ports}]}));
        fence.policy(
            "p",
            json!({"podSelector": {}, "ingress": [{"from": [app("web"), block], "ports": ports}]}),
        );
        let list = || {
            let shown = std::process::Command::new("nft")
                .args(["list", "ruleset"])
                .output()
                .expect("the program nft");
            let (text, errors) =
                (String::from_utf8_lossy(&shown.stdout), String::from_utf8_lossy(&shown.stderr));
            assert!(shown.status.success() && errors.is_empty(), "{} {errors}\n{text}", shown.status);
            text.into_owned()
        };
        until("the table is there", || list().contains(TABLE) && list().contains("jump ingress-")).await;
        let text = list();
        for part in [
            "ct state established,related accept",
            "10.99.7.2 : jump egress-",
            "10.99.7.2 . tcp . 8080",
            "0.0.0.0-9.255.255.255",
            "11.0.0.0-255.255.255.255",
            ". tcp . 80-90",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        assert!(!text.contains("jump closed"), "{text}");
    });
}
