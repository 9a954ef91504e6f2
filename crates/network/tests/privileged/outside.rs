//! Services as clients outside the cluster reach them, and whom they are sent to.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

use crate::ground::{
    BridgeFilter, Ground, PATIENCE, Pod, ask, ask_udp, ask_within, names, on_a_node, seen, until,
};

const CLUSTER_IP: Ipv4Addr = Ipv4Addr::new(10, 98, 0, 7);
const NODE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The node, as its pods see it.
const GATEWAY: &str = "10.99.7.1";
/// A node elsewhere: the machine outside, which has a server of its own there.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);

fn at(address: impl Into<Ipv4Addr>, port: u16) -> SocketAddr {
    SocketAddr::from((address.into(), port))
}

/// Endpoints of TCP: here by default, on another node where the address is the outside's.
fn endpoints(ground: &Ground, addresses: &[Ipv4Addr]) {
    let one = |address: &Ipv4Addr| {
        let node = if *address == ELSEWHERE { "there" } else { "here" };
        json!({"addresses": [address.to_string()], "nodeName": node})
    };
    let endpoints: Vec<Value> = addresses.iter().map(one).collect();
    ground.slice("web", json!([{"port": 8080}]), &Value::from(endpoints));
}

async fn server(ground: &Ground) -> Pod {
    let pod = ground.pod("aaaaaaaa").await;
    pod.serve("here", 8080);
    ground.outside.serve("there", 8080);
    pod
}

#[test]
fn node_ports_answer_on_every_address_of_the_node() {
    for filter in [BridgeFilter::On, BridgeFilter::Off] {
        on_a_node(filter, async |mut ground| {
            let pod = server(&ground).await;
            let client = ground.pod("cccccccc").await;
            let ports = json!([{"port": 80, "nodePort": 30080}]);
            ground.service("web", json!({"clusterIP": CLUSTER_IP, "type": "NodePort", "ports": ports}));
            ground.start().await;
            let loopback = at([127, 0, 0, 1], 30080);
            until("it is refused", || ask(at(NODE, 30080)) == Err(io::ErrorKind::ConnectionRefused)).await;
            assert_eq!(ground.outside.ask(at(NODE, 30080)), Err(io::ErrorKind::ConnectionRefused));
            endpoints(&ground, &[pod.address]);
            until("it answers", || ask(loopback).is_ok()).await;
            let masqueraded = Ok(format!("here {GATEWAY}"));
            assert_eq!(ask(loopback), masqueraded, "on the loopback");
            assert_eq!(ask(at([127, 9, 9, 9], 30080)), masqueraded, "on all of the loopback");
            assert_eq!(ask(at(NODE, 30080)), masqueraded);
            assert_eq!(ask(at([10, 99, 7, 1], 30080)), masqueraded);
            assert_eq!(ground.outside.ask(at(NODE, 30080)), masqueraded, "from outside");
            assert_eq!(client.ask(at(NODE, 30080)), masqueraded, "from a pod");
            assert_eq!(pod.ask(at(NODE, 30080)), masqueraded, "from the pod itself");
            assert!(ask(at(NODE, 30081)).is_err(), "no other port");
            endpoints(&ground, &[ELSEWHERE]);
            until("another node answers", || ask(at(NODE, 30080)) == Ok(format!("there {NODE}"))).await;
            ground.stop().await;
        });
    }
}

#[test]
fn nothing_from_a_wire_reaches_the_loopback() {
    on_a_node(BridgeFilter::Off, async |mut ground| {
        let pod = server(&ground).await;
        ground.service("web", json!({"clusterIP": CLUSTER_IP, "ports": [{"port": 80}]}));
        endpoints(&ground, &[pod.address]);
        ground.start().await;
        until("the proxy works", || ask(at(CLUSTER_IP, 80)).is_ok()).await;
        let inner = TcpListener::bind("127.0.0.1:7000").expect("a server for the node alone");
        // A pod that may set routes sends to the loopback by the node.
        pod.run(|| crate::ground::sh("ip link set lo down; ip route add 127.0.0.0/8 via 10.99.7.1 dev eth0"));
        pod.run(|| std::fs::write("/proc/sys/net/ipv4/conf/eth0/route_localnet", "1").expect("set"));
        assert_eq!(pod.ask(at([127, 0, 0, 1], 7000)), Err(io::ErrorKind::TimedOut));
        drop(inner);
        ground.stop().await;
    });
}

#[test]
fn external_addresses_answer_and_let_in_whom_they_are_to() {
    on_a_node(BridgeFilter::Off, async |mut ground| {
        let pod = server(&ground).await;
        let spec = |ranges: Value| {
            json!({"clusterIP": CLUSTER_IP, "type": "LoadBalancer", "ports": [{"port": 80}],
                "externalIPs": ["203.0.113.5"], "loadBalancerSourceRanges": ranges})
        };
        let status = json!({"loadBalancer": {"ingress": [{"ip": "198.51.100.1"}]}});
        ground.service_with_status("web", spec(json!(["192.0.2.8/29"])), status.clone());
        endpoints(&ground, &[pod.address]);
        ground.start().await;
        let (external, balanced) = (at([203, 0, 113, 5], 80), at([198, 51, 100, 1], 80));
        until("it answers", || ask(external).is_ok()).await;
        assert_eq!(ground.outside.ask(external), Ok(format!("here {GATEWAY}")));
        assert_eq!(ground.outside.ask(balanced), Ok(format!("here {GATEWAY}")), "192.0.2.9 is let in");
        assert_eq!(ask(balanced), Err(io::ErrorKind::TimedOut), "192.0.2.1 is not");
        ground.service_with_status("web", spec(json!(["192.0.2.1/32", "10.99.0.0/16"])), status);
        until("the node is let in", || ask(balanced).is_ok()).await;
        assert_eq!(pod.ask(balanced), Ok(format!("here {GATEWAY}")));
        assert_eq!(ground.outside.ask(balanced), Err(io::ErrorKind::TimedOut));
        assert!(ground.outside.ask(external).is_ok(), "the ranges are for the load balancer alone");
        ground.stop().await;
    });
}

#[test]
fn local_policies_keep_clients_on_the_node_and_their_addresses() {
    on_a_node(BridgeFilter::Off, async |mut ground| {
        let pod = server(&ground).await;
        let client = ground.pod("cccccccc").await;
        let spec = |internal: &str| {
            json!({"clusterIP": CLUSTER_IP, "type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}],
                "externalTrafficPolicy": "Local", "internalTrafficPolicy": internal})
        };
        ground.service("web", spec("Cluster"));
        endpoints(&ground, &[pod.address, ELSEWHERE]);
        ground.start().await;
        until("it answers", || ask(at(CLUSTER_IP, 80)).is_ok()).await;
        let (who, clients) = seen(|| ground.outside.ask(at(NODE, 30080)));
        assert_eq!((who, clients), (names(&["here"]), names(&["192.0.2.9"])), "outside sees the node's own");
        assert_eq!(seen(|| client.ask(at(NODE, 30080))).0, names(&["here", "there"]), "a pod sees all");
        assert_eq!(seen(|| ask(at(NODE, 30080))).0, names(&["here", "there"]), "the node sees all");

        endpoints(&ground, &[ELSEWHERE]);
        until("the other answers", || seen(|| ask(at(NODE, 30080))).0 == names(&["there"])).await;
        assert_eq!(ground.outside.ask(at(NODE, 30080)), Err(io::ErrorKind::TimedOut), "dropped, not refused");
        ground.service("web", spec("Local"));
        until("nobody here", || ask(at(CLUSTER_IP, 80)) == Err(io::ErrorKind::TimedOut)).await;
        endpoints(&ground, &[pod.address, ELSEWHERE]);
        until("the node's own answers", || ask(at(CLUSTER_IP, 80)).is_ok()).await;
        assert_eq!(seen(|| client.ask(at(CLUSTER_IP, 80))).0, names(&["here"]));
        ground.stop().await;
    });
}

#[test]
fn a_client_stays_with_its_endpoint_until_that_is_gone_or_the_time_is_over() {
    on_a_node(BridgeFilter::Off, async |mut ground| {
        let pods = [ground.pod("aaaaaaaa").await, ground.pod("bbbbbbbb").await, ground.pod("cccccccc").await];
        pods[0].serve("first", 8080);
        pods[1].serve("second", 8080);
        pods[2].serve("third", 8080);
        let spec = |seconds: u32| {
            json!({"clusterIP": CLUSTER_IP, "type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}],
                "sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": seconds}}})
        };
        ground.service("web", spec(600));
        let addresses = pods.each_ref().map(|pod| pod.address);
        endpoints(&ground, &addresses);
        ground.start().await;
        until("it answers", || ask(at(CLUSTER_IP, 80)).is_ok()).await;
        for front in [at(CLUSTER_IP, 80), at(NODE, 30080)] {
            let clients: [&dyn Fn() -> Result<String, io::ErrorKind>; 3] =
                [&|| ask(front), &|| ground.outside.ask(front), &|| pods[2].ask(front)];
            for client in clients {
                assert_eq!(seen(client).0.len(), 1, "one endpoint for {front}");
            }
        }
        let (stays, _) = seen(|| ask(at(CLUSTER_IP, 80)));
        // Restarted, with another endpoint gone, the client's is the same.
        ground.stop().await;
        let place =
            |name: &str| ["first", "second", "third"].iter().position(|one| *one == name).unwrap_or(0);
        let own = place(stays.first().expect("one"));
        let other = addresses[(own + 1) % 3];
        let marked = at([10, 98, 0, 9], 80);
        ground.service("mark", json!({"clusterIP": marked.ip().to_string(), "ports": [{"port": 80}]}));
        endpoints(&ground, &[other, addresses[own]]);
        ground.start().await;
        until("it works again", || ask(marked) == Err(io::ErrorKind::ConnectionRefused)).await;
        // While endpoints change, a first packet may be dropped; who sent it sends it again.
        let patient = || ask_within(at(CLUSTER_IP, 80), PATIENCE);
        assert_eq!(seen(patient).0, stays);
        endpoints(&ground, &[other]);
        until("the other takes over", || seen(patient).0 != stays).await;
        endpoints(&ground, &addresses);
        let (taken, _) = seen(patient);
        assert_eq!(taken.len(), 1, "and stays");

        // A time of one second is over between these.
        ground.service("web", spec(1));
        let mut all = BTreeSet::new();
        while all.len() < 2 {
            tokio::time::sleep(Duration::from_millis(1200)).await;
            let said = ask(at(CLUSTER_IP, 80)).expect("an answer");
            all.insert(said.split(' ').next().map(str::to_owned));
        }
        ground.stop().await;
    });
}

#[test]
fn leaving_endpoints_are_used_when_no_others_are_left() {
    on_a_node(BridgeFilter::Off, async |mut ground| {
        let pods = [ground.pod("aaaaaaaa").await, ground.pod("bbbbbbbb").await];
        pods[0].serve("leaving", 8080);
        pods[1].serve("ready", 8080);
        let leaving = json!({"addresses": [pods[0].address.to_string()],
            "conditions": {"ready": false, "serving": true, "terminating": true}});
        let ready = json!({"addresses": [pods[1].address.to_string()], "conditions": {"ready": true}});
        ground.service("web", json!({"clusterIP": CLUSTER_IP, "ports": [{"port": 80}]}));
        ground.slice("web", json!([{"port": 8080}]), &json!([leaving, ready]));
        ground.start().await;
        until("it answers", || ask(at(CLUSTER_IP, 80)).is_ok()).await;
        assert_eq!(seen(|| ask(at(CLUSTER_IP, 80))).0, names(&["ready"]));
        ground.slice("web", json!([{"port": 8080}]), &json!([leaving]));
        until("the other answers", || seen(|| ask(at(CLUSTER_IP, 80))).0 == names(&["leaving"])).await;
        ground.stop().await;
    });
}

#[test]
fn a_connection_lasts_while_the_proxy_is_gone_and_comes_back() {
    on_a_node(BridgeFilter::On, async |mut ground| {
        let pod = ground.pod("aaaaaaaa").await;
        let address = pod.address;
        let listener = pod.run(move || TcpListener::bind((address, 8080)).expect("the pod listens"));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                std::thread::spawn(move || {
                    let mut byte = [0];
                    while stream.read_exact(&mut byte).is_ok() && stream.write_all(&byte).is_ok() {}
                });
            }
        });
        ground.service("web", json!({"clusterIP": CLUSTER_IP, "ports": [{"port": 80}]}));
        endpoints(&ground, &[pod.address]);
        ground.start().await;
        let front = at(CLUSTER_IP, 80);
        let connect = || TcpStream::connect_timeout(&front, Duration::from_millis(900));
        until("it answers", || connect().is_ok()).await;
        let mut held = connect().expect("a connection");
        let mut echo = |byte: u8| {
            held.write_all(&[byte]).expect("sent");
            let mut back = [0];
            held.read_exact(&mut back).expect("echoed");
            assert_eq!(back, [byte]);
        };
        echo(1);
        ground.stop().await;
        echo(2);
        assert!(connect().is_ok(), "new connections too are made without the proxy");
        // What changes meanwhile is told when it is back, and what does not change stays: asked all along.
        ground.delete_service("old");
        ground.service("new", json!({"clusterIP": "10.98.0.9", "ports": [{"port": 80}]}));
        ground.start().await;
        until("the new one is refused, and the other answers all the time", || {
            echo(3);
            assert!(connect().is_ok(), "no gap");
            ask(at([10, 98, 0, 9], 80)) == Err(io::ErrorKind::ConnectionRefused)
        })
        .await;
        echo(4);
        ground.stop().await;
    });
}

#[test]
fn udp_and_node_ports_of_udp_from_outside() {
    on_a_node(BridgeFilter::Off, async |mut ground| {
        let pod = ground.pod("aaaaaaaa").await;
        pod.serve_udp("server", 5353);
        let ports = json!([{"port": 53, "protocol": "UDP", "nodePort": 30053}]);
        ground.service("names", json!({"clusterIP": CLUSTER_IP, "type": "NodePort", "ports": ports}));
        ground.endpoints("names", "UDP", 5353, &[pod.address]);
        ground.start().await;
        until("it answers", || ask_udp(at([127, 0, 0, 1], 30053)).is_ok()).await;
        let masqueraded = Ok(format!("server {GATEWAY}"));
        assert_eq!(ask_udp(at([127, 0, 0, 1], 30053)), masqueraded);
        assert_eq!(ground.outside.run(move || ask_udp(at(NODE, 30053))), masqueraded);
        ground.stop().await;
    });
}

/// What a health check port says: the status, a header, the body.
fn health(client: &Pod, port: u16) -> Result<(String, String, String), io::ErrorKind> {
    let said = client.run(move || {
        let mut stream = TcpStream::connect_timeout(&at(NODE, port), Duration::from_millis(900))?;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n")?;
        let mut said = String::new();
        stream.read_to_string(&mut said).map(|_| said)
    });
    let said = said.map_err(|error| error.kind())?;
    // A port that closes takes connections along that have not been answered.
    let (head, body) = said.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    let weight = head.lines().find_map(|line| line.strip_prefix("x-load-balancing-endpoint-weight: "));
    let status = head.lines().next().unwrap_or_default().to_owned();
    assert!(
        head.contains("content-type: application/json") && head.contains("x-content-type-options: nosniff")
    );
    Ok((status, weight.unwrap_or_default().to_owned(), body.to_owned()))
}

#[test]
fn a_health_check_port_says_whether_the_node_has_endpoints() {
    on_a_node(BridgeFilter::Off, async |mut ground| {
        let spec = |port: u16| {
            json!({"clusterIP": CLUSTER_IP, "type": "LoadBalancer", "ports": [{"port": 80}, {"port": 81}],
                "externalTrafficPolicy": "Local", "healthCheckNodePort": port})
        };
        ground.service("web", spec(32000));
        let local = Ipv4Addr::new(10, 99, 7, 50);
        endpoints(&ground, &[local, Ipv4Addr::new(10, 99, 7, 51), ELSEWHERE]);
        ground.start().await;
        until("the port answers", || health(&ground.outside, 32000).is_ok()).await;
        let body = |count: usize| {
            format!(
                "{{\n\t\"service\": {{\n\t\t\"namespace\": \"default\",\n\t\t\"name\": \"web\"\n\t}},\n\
                 \t\"localEndpoints\": {count},\n\t\"serviceProxyHealthy\": true\n}}"
            )
        };
        let (status, weight, said) = health(&ground.outside, 32000).expect("an answer");
        assert_eq!((status.as_str(), weight.as_str(), said), ("HTTP/1.1 200 OK", "2", body(2)));
        endpoints(&ground, &[ELSEWHERE]);
        let none = |ground: &Ground| health(&ground.outside, 32000).expect("an answer").2 == body(0);
        until("none is here", || none(&ground)).await;
        let (status, weight, _) = health(&ground.outside, 32000).expect("an answer");
        assert_eq!((status.as_str(), weight.as_str()), ("HTTP/1.1 503 Service Unavailable", "0"));
        // The port moves, to another Service too, and ends.
        ground.service("web", spec(32001));
        until("it has moved", || health(&ground.outside, 32001).is_ok()).await;
        assert_eq!(health(&ground.outside, 32000), Err(io::ErrorKind::ConnectionRefused));
        ground.delete_service("web");
        let refused = Err(io::ErrorKind::ConnectionRefused);
        until("it is closed", || health(&ground.outside, 32001) == refused).await;
        ground.stop().await;
    });
}

#[test]
fn a_health_check_port_that_is_taken_is_told_and_tried_again() {
    on_a_node(BridgeFilter::Off, async |mut ground| {
        let taken = TcpListener::bind(at(NODE, 32000)).expect("a server of somebody else's");
        let spec = json!({"clusterIP": CLUSTER_IP, "type": "LoadBalancer", "ports": [{"port": 80}],
            "externalTrafficPolicy": "Local", "healthCheckNodePort": 32000});
        ground.service("web", spec);
        endpoints(&ground, &[Ipv4Addr::new(10, 99, 7, 50)]);
        ground.start().await;
        let mut told = Vec::new();
        until("the Service is told", || {
            told.extend(ground.notices.take("web"));
            !told.is_empty()
        })
        .await;
        let message = "node here failed to start healthcheck \"default/web\" on port 32000: Address already in use (os error 98)";
        assert_eq!(told, [("FailedToStartServiceHealthcheck".to_owned(), message.to_owned())]);
        drop(taken);
        until("the port answers once it is free", || health(&ground.outside, 32000).is_ok()).await;
        assert_eq!(ground.notices.take("web"), [], "told once");
        ground.stop().await;
    });
}

#[test]
fn node_ports_are_on_the_addresses_that_they_are_to_be_on() {
    on_a_node(BridgeFilter::Off, async |mut ground| {
        let pod = server(&ground).await;
        let client = ground.pod("cccccccc").await;
        ground.service(
            "web",
            json!({"clusterIP": CLUSTER_IP, "type": "LoadBalancer", "externalTrafficPolicy": "Local",
                "healthCheckNodePort": 32000, "ports": [{"port": 80, "nodePort": 30080}]}),
        );
        endpoints(&ground, &[pod.address]);
        let places = [[127, 0, 0, 1], [10, 99, 7, 1], NODE.octets()].map(|address| at(address, 30080));
        let refused = || Err(io::ErrorKind::ConnectionRefused);
        for (setting, answers) in [
            (vec!["primary"], [false, false, true]),
            (vec!["127.0.0.0/8", "10.99.7.0/24"], [true, true, false]),
            (vec!["198.51.100.0/24"], [false, false, false]),
            (vec![], [true, true, true]),
        ] {
            ground.node_ports = network::services::NodePorts::parse(&setting).expect("a setting");
            ground.start().await;
            until("each is as it is to be", || {
                places.iter().zip(answers).all(|(place, is_on)| match ask(*place) {
                    Ok(_) => is_on,
                    other => !is_on && other == refused(),
                })
            })
            .await;
            assert_eq!(ground.outside.ask(places[2]).is_ok(), answers[2], "{setting:?}");
            assert_eq!(client.ask(places[1]).is_ok(), answers[1], "{setting:?}");
            // The port is opened once the kernel has the Service.
            let is_right = || health(&ground.outside, 32000).is_ok() == answers[2];
            until("the health check is where node ports are", is_right).await;
            assert!(ask(at(CLUSTER_IP, 80)).is_ok(), "the cluster's address is none of these");
            ground.stop().await;
        }
    });
}

#[test]
fn an_address_that_another_cluster_of_the_machine_has_is_told() {
    on_a_node(BridgeFilter::Off, async |mut ground| {
        let pod = server(&ground).await;
        // Another cluster, of which only the table is seen.
        let front = [192, 0, 2, 1, 6, 0, 0, 0, 0, 80, 0, 0];
        let other = "knarrtest2-services";
        let mut batch = nft::Batch::new();
        batch.new_table(other);
        let key = [nft::Field::Address, nft::Field::Protocol, nft::Field::Port];
        let holds = nft::Holds::Values(&[nft::Field::Class]);
        batch.new_set(nft::Set { table: other, name: "services", key: &key, holds }, 1);
        let data = Some(nft::Data::Value(&[1, 0, 0, 0]));
        batch.add_elements(other, "services", [nft::Element { key: &front, data }]);
        batch.send().expect("sent");
        let balancer = |ip: &str| {
            (
                json!({"clusterIP": CLUSTER_IP, "type": "LoadBalancer", "ports": [{"port": 80}]}),
                json!({"loadBalancer": {"ingress": [{"ip": ip}]}}),
            )
        };
        let (spec, status) = balancer("198.51.100.1");
        ground.service_with_status("web", spec, status);
        endpoints(&ground, &[pod.address]);
        ground.start().await;
        until("it answers", || ask(at([198, 51, 100, 1], 80)).is_ok()).await;
        assert_eq!(ground.notices.take("web"), []);
        let (spec, status) = balancer("192.0.2.1");
        ground.service_with_status("web", spec, status);
        let mut told = Vec::new();
        until("the Service is told", || {
            told.extend(ground.notices.take("web"));
            !told.is_empty()
        })
        .await;
        let message = "the address 192.0.2.1:80/TCP is also a Service's of another cluster of this machine (nftables \
                       table knarrtest2-services): one of the two is not reached";
        assert_eq!(told, [("AddressConflict".to_owned(), message.to_owned())]);
        // And of the same cluster.
        ground.service(
            "second",
            json!({"clusterIP": "10.98.0.8", "ports": [{"port": 80}], "externalIPs": ["192.0.2.1"]}),
        );
        until("the second is told", || {
            let told = ground.notices.take("second");
            told.iter().any(|(_, message)| {
                message == "the address 192.0.2.1:80/TCP is Service default/web's, which keeps it"
            })
        })
        .await;
        ground.stop().await;
    });
}
