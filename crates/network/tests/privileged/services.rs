//! Services as pods and the node reach them.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use serde_json::json;

use crate::ground::{
    BridgeFilter, Ground, Pod, TABLE, ask, ask_udp, exchange, names, on_a_node, seen, sh, until,
};

const CLUSTER_IP: Ipv4Addr = Ipv4Addr::new(10, 98, 0, 7);

fn web(ground: &Ground) {
    ground.service("web", json!({"clusterIP": CLUSTER_IP, "ports": [{"port": 80}]}));
}

async fn two_servers(ground: &Ground) -> [Pod; 2] {
    let pods = [ground.pod("aaaaaaaa").await, ground.pod("bbbbbbbb").await];
    pods[0].serve("first", 8080);
    pods[1].serve("second", 8080);
    pods
}

fn a_service_is_reached(filter: BridgeFilter) {
    on_a_node(filter, async |mut ground| {
        let front = SocketAddr::from((CLUSTER_IP, 80));
        let servers = two_servers(&ground).await;
        let client = ground.pod("cccccccc").await;
        web(&ground);
        ground.start().await;
        until("the Service is refused", || ask(front) == Err(io::ErrorKind::ConnectionRefused)).await;
        assert_eq!(client.ask(front), Err(io::ErrorKind::ConnectionRefused), "at once, not by a time-out");

        let addresses = servers.each_ref().map(|pod| pod.address);
        ground.endpoints("web", "TCP", 8080, &addresses);
        until("the Service answers", || ask(front).is_ok()).await;
        let (who, clients) = seen(|| client.ask(front));
        assert_eq!(who, names(&["first", "second"]), "both endpoints are used");
        assert_eq!(clients, names(&[&client.address.to_string()]), "without masquerading");
        let (who, _) = seen(|| ask(front));
        assert_eq!(who, names(&["first", "second"]), "from the node too");
        let (who, clients) = seen(|| ground.outside.ask(front));
        assert_eq!(who, names(&["first", "second"]), "from outside too");
        assert_eq!(
            clients,
            names(&["10.99.7.1"]),
            "masqueraded: another node could not lead the answers back"
        );
        let (who, clients) = seen(|| servers[0].ask(front));
        assert_eq!(who, names(&["first", "second"]), "an endpoint reaches its own Service, itself included");
        assert_eq!(clients, names(&[&addresses[0].to_string(), "10.99.7.1"]), "itself by way of the node");

        ground.endpoints("web", "TCP", 8080, &addresses[1..]);
        until("one endpoint is left", || seen(|| ask(front)).0 == names(&["second"])).await;
        ground.endpoints("web", "TCP", 8080, &[]);
        until("the Service is refused", || ask(front) == Err(io::ErrorKind::ConnectionRefused)).await;
        ground.endpoints("web", "TCP", 8080, &addresses);
        until("the Service answers", || client.ask(front).is_ok()).await;
        ground.delete_service("web");
        until(
            "the Service is gone",
            || matches!(ask(front), Err(kind) if kind != io::ErrorKind::ConnectionRefused),
        )
        .await;
        ground.stop().await;
    });
}

#[test]
fn a_service_is_reached_where_bridges_pass_packets_to_rules() {
    a_service_is_reached(BridgeFilter::On);
}

#[test]
fn a_service_is_reached_where_bridges_do_not() {
    a_service_is_reached(BridgeFilter::Off);
}

#[test]
fn udp_is_refused_without_endpoints_and_answered_with_one() {
    on_a_node(BridgeFilter::Off, async |mut ground| {
        let front = SocketAddr::from((CLUSTER_IP, 53));
        let server = ground.pod("aaaaaaaa").await;
        server.serve_udp("server", 5353);
        let client = ground.pod("cccccccc").await;
        ground.service("names", json!({"clusterIP": CLUSTER_IP, "ports": [{"port": 53, "protocol": "UDP"}]}));
        ground.start().await;
        // The node's own datagram is refused before it leaves.
        until("the Service is refused", || ask_udp(front) == Err(io::ErrorKind::PermissionDenied)).await;
        assert_eq!(client.run(move || ask_udp(front)), Err(io::ErrorKind::ConnectionRefused));
        ground.endpoints("names", "UDP", 5353, &[server.address]);
        until("the Service answers", || ask_udp(front).is_ok()).await;
        let said = client.run(move || ask_udp(front));
        assert_eq!(said, Ok(format!("server {}", client.address)));
        ground.stop().await;
    });
}

/// Every kind of way, and what the program says of them: 1.0.6 aborts where it does not understand a rule.
#[test]
fn the_program_nft_shows_the_table() {
    on_a_node(BridgeFilter::Off, async |mut ground| {
        let ports = json!([{"port": 80, "nodePort": 30080}]);
        let status = json!({"loadBalancer": {"ingress": [{"ip": "198.51.100.1"}]}});
        ground.service_with_status(
            "web",
            json!({"clusterIP": CLUSTER_IP, "type": "LoadBalancer", "ports": ports, "sessionAffinity": "ClientIP",
                "externalTrafficPolicy": "Local", "loadBalancerSourceRanges": ["192.0.2.0/28", "203.0.113.0/24"]}),
            status,
        );
        ground.service("none", json!({"clusterIP": "10.98.0.8", "ports": [{"port": 80}]}));
        ground.endpoints("web", "TCP", 8080, &[Ipv4Addr::new(10, 99, 7, 50), Ipv4Addr::new(10, 99, 7, 51)]);
        ground.start().await;
        until("the table is there", || nft::tables(nft::Family::Ipv4, TABLE).expect("asked") == [TABLE])
            .await;
        let shown =
            std::process::Command::new("nft").args(["list", "ruleset"]).output().expect("the program nft");
        let (text, errors) = (String::from_utf8_lossy(&shown.stdout), String::from_utf8_lossy(&shown.stderr));
        assert!(shown.status.success() && errors.is_empty(), "{} {errors}\n{text}", shown.status);
        for part in [
            "10.98.0.7 . tcp . 80",
            "goto internal-2-sticky-10800",
            "external-local-2-of-2-sticky-10800-guarded",
            "198.51.100.1 . tcp . 80 . 192.0.2.0/28",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        ground.stop().await;
    });
}

#[test]
fn an_address_that_the_node_gets_counts_as_its_own() {
    on_a_node(BridgeFilter::Off, async |mut ground| {
        let spec = json!({"clusterIP": CLUSTER_IP, "type": "LoadBalancer", "ports": [{"port": 80}],
            "loadBalancerSourceRanges": ["203.0.113.0/24"]});
        let status = json!({"loadBalancer": {"ingress": [{"ip": "198.51.100.1"}]}});
        ground.service_with_status("web", spec, status);
        ground.endpoints("web", "TCP", 8080, &[Ipv4Addr::new(10, 99, 7, 50)]);
        ground.start().await;
        let lists = |source: &str| {
            let shown = std::process::Command::new("nft").args(["list", "ruleset"]).output().expect("nft");
            String::from_utf8_lossy(&shown.stdout).contains(&format!("198.51.100.1 . tcp . 80 . {source}"))
        };
        until("the range is let in", || lists("203.0.113.0/24")).await;
        assert!(!lists("198.51.100.1"), "none of the node's addresses is let in");
        ground.addresses.send_replace(vec![[192, 0, 2, 1].into(), [203, 0, 113, 7].into()]);
        until("the node is let in", || lists("198.51.100.1")).await;
        ground.addresses.send_replace(vec![[192, 0, 2, 1].into()]);
        until("the node is out again", || !lists("198.51.100.1")).await;
        ground.stop().await;
    });
}

#[test]
fn a_table_that_somebody_deletes_or_changes_comes_back() {
    on_a_node(BridgeFilter::Off, async |mut ground| {
        let front = SocketAddr::from((CLUSTER_IP, 80));
        let servers = two_servers(&ground).await;
        web(&ground);
        ground.endpoints("web", "TCP", 8080, &servers.each_ref().map(|pod| pod.address));
        ground.start().await;
        until("the Service answers", || ask(front).is_ok()).await;
        for damage in [
            format!("nft delete table ip {TABLE}"),
            "nft flush ruleset".to_owned(),
            format!("nft flush chain ip {TABLE} output"),
            format!("nft flush map ip {TABLE} endpoints"),
        ] {
            assert!(ask(front).is_ok(), "before: {damage}");
            sh(&damage);
            until("the Service answers again", || ask(front).is_ok()).await;
        }
        ground.stop().await;
    });
}

#[test]
fn a_flow_of_udp_leaves_an_endpoint_that_is_gone() {
    on_a_node(BridgeFilter::Off, async |mut ground| {
        let servers = [ground.pod("aaaaaaaa").await, ground.pod("bbbbbbbb").await];
        servers[0].serve_udp("first", 5353);
        servers[1].serve_udp("second", 5353);
        let client = ground.pod("cccccccc").await;
        let front = SocketAddr::from((CLUSTER_IP, 53));
        let ports = json!([{"port": 53, "protocol": "UDP", "nodePort": 30053}]);
        ground.service("names", json!({"clusterIP": CLUSTER_IP, "type": "NodePort", "ports": ports}));
        ground.endpoints("names", "UDP", 5353, &[servers[0].address]);
        ground.start().await;
        until("the Service answers", || ask_udp(front).is_ok()).await;
        let connected = |to: SocketAddr| {
            client.run(move || {
                let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
                socket.connect(to).expect("a route");
                socket
            })
        };
        let sockets = [connected(front), connected(SocketAddr::from(([192, 0, 2, 1], 30053)))];
        for socket in &sockets {
            assert!(exchange(socket).expect("an answer").starts_with("first"));
        }
        ground.endpoints("names", "UDP", 5353, &[servers[1].address]);
        for socket in &sockets {
            until("the other answers", || exchange(socket).is_ok_and(|said| said.starts_with("second")))
                .await;
        }
        ground.delete_service("names");
        until("nobody answers", || exchange(&sockets[0]).is_err()).await;
        ground.stop().await;
    });
}

/// A packet may see one map before a transaction and the next after it. Dropped, it is sent again; passed on as it came,
/// it would keep its connection from ever being translated.
#[test]
fn no_connection_is_lost_while_endpoints_come_and_go() {
    on_a_node(BridgeFilter::Off, async |mut ground| {
        let front = SocketAddr::from((CLUSTER_IP, 80));
        let servers = two_servers(&ground).await;
        for affinity in ["None", "ClientIP"] {
            let spec = json!({"clusterIP": CLUSTER_IP, "ports": [{"port": 80}], "sessionAffinity": affinity});
            ground.service("web", spec);
            // The last of many is a place that goes often.
            let (few, many) = ([servers[0].address; 1], [servers[0].address, servers[1].address]);
            ground.endpoints("web", "TCP", 8080, &many);
            ground.start().await;
            until("the Service answers", || ask(front).is_ok()).await;
            let clients: Vec<_> = (0..2)
                .map(|_| {
                    let namespace = servers[1].run(crate::ground::own_namespace);
                    let ask = move || {
                        let asked = move |_| crate::ground::ask_within(front, crate::ground::PATIENCE);
                        crate::ground::inside(&namespace, move || (0..400).map(asked).find_map(Result::err))
                    };
                    std::thread::spawn(ask)
                })
                .collect();
            while !clients.iter().all(std::thread::JoinHandle::is_finished) {
                for addresses in [&few[..], &many[..]] {
                    ground.endpoints("web", "TCP", 8080, addresses);
                    tokio::task::yield_now().await;
                }
            }
            for client in clients {
                let lost = client.join().expect("the client");
                assert_eq!(lost, None, "every connection is answered, with affinity {affinity}");
            }
            ground.stop().await;
        }
    });
}
