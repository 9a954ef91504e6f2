//! What holds whatever happens to the agent, to the table and to pods.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::fence::{Fence, TABLE, reaches};
use crate::ground::{BridgeFilter, on_a_node, sh, until};

fn deny_all(fence: &Fence) {
    fence.policy("deny", json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}));
}

fn has(set: &str, address: Ipv4Addr) -> bool {
    nft::contains(TABLE, set, &address.octets()).expect("asked")
}

#[test]
fn a_pod_is_attached_once_its_rules_are_in_force() {
    on_a_node(BridgeFilter::Off, async |mut ground| {
        let mut fence = Fence::new(&mut ground);
        deny_all(&fence);
        fence.declare("here", "web", None);
        let web = fence.attach(&ground, "here", "web").await.expect("attached");
        assert!(has("ingress", web.address) && has("egress", web.address), "before anything else happens");

        // The watch shows the pod while the plugin waits.
        let (view, records) = (fence.view.clone(), ground.config.ipam_dir.clone());
        let addresses = move || std::fs::read_dir(&records).expect("the records of addresses").count();
        let before = addresses();
        let mut late = tokio::task::JoinSet::new();
        late.spawn(async move {
            // The pod has its address, with which the plugin goes to the agent.
            until("the plugin has begun", || addresses() > before).await;
            let metadata = json!({"name": "late", "namespace": "here", "uid": "uid-late"});
            let object = json!({"metadata": metadata, "spec": {"nodeName": "node"}});
            view.pods.apply(serde_json::from_value(object).expect("a pod"));
        });
        let pod = fence.attach(&ground, "here", "late").await.expect("attached");
        assert!(has("ingress", pod.address));
        late.join_all().await;

        // Detached, and its object is still there; then that is gone too.
        fence.detach(&ground, "late").await;
        assert!(has("ingress", pod.address));
        fence.delete_pod("here", "late");
        until("the elements are gone", || !has("ingress", pod.address) && !has("egress", pod.address)).await;
        // By force: its processes may go on for a while.
        fence.delete_pod("here", "web");
        until("it is closed", || nft_shows(&format!("{} : jump closed", web.address))).await;
        fence.detach(&ground, "web").await;
        assert!(!has("ingress", web.address));

        fence.stop().await;
        fence.declare("here", "web", None);
        let error =
            fence.attach(&ground, "here", "web").await.map(drop).expect_err("nobody answers").to_string();
        assert!(
            error.starts_with("the node's agent of network policies (")
                && error.ends_with("Connection refused (os error 111)"),
            "{error}"
        );
        fence.start();
        fence.attach(&ground, "here", "web").await.expect("attached");
    });
}

fn nft_shows(part: &str) -> bool {
    let shown = std::process::Command::new("nft").args(["list", "table", "ip", TABLE]).output();
    String::from_utf8_lossy(&shown.expect("the program nft").stdout).contains(part)
}

#[test]
fn a_table_that_somebody_deletes_or_changes_comes_back() {
    on_a_node(BridgeFilter::Off, async |mut ground| {
        let fence = Fence::new(&mut ground);
        let (web, db) = (fence.pod(&ground, "here", "web").await, fence.pod(&ground, "here", "db").await);
        deny_all(&fence);
        until("nothing passes", || !reaches(&web, db.address, 8080)).await;
        for damage in [
            format!("delete table ip {TABLE}"),
            format!("flush chain ip {TABLE} forward"),
            format!("flush map ip {TABLE} ingress; flush map ip {TABLE} egress"),
            format!(
                "delete table ip {TABLE}; add table ip {TABLE}; add set ip {TABLE} members {{ type ipv4_addr; }}"
            ),
        ] {
            sh(&format!("nft '{damage}'"));
            until(&format!("it comes back after {damage}"), || {
                has("ingress", db.address) && has("egress", db.address) && !reaches(&web, db.address, 8080)
            })
            .await;
        }
    });
}

#[test]
fn policies_hold_while_the_agent_is_gone_and_while_it_comes_back() {
    on_a_node(BridgeFilter::Off, async |mut ground| {
        let mut fence = Fence::new(&mut ground);
        let (web, db) = (fence.pod(&ground, "here", "web").await, fence.pod(&ground, "here", "db").await);
        deny_all(&fence);
        // That nothing passes once does not say why. What passes before the rules are there goes on passing.
        until("the rules are there", || {
            has("egress", web.address) && has("ingress", db.address) && !reaches(&web, db.address, 8080)
        })
        .await;
        let to = db.address;
        let leak = std::thread::spawn({
            let namespace = web.namespace.try_clone().expect("a handle");
            move || {
                crate::ground::inside(&namespace, move || {
                    let socket = std::net::UdpSocket::bind("0.0.0.0:0").expect("a socket");
                    socket.connect((to, 8080)).expect("a route");
                    socket.set_nonblocking(true).expect("set");
                    let until = Instant::now() + Duration::from_secs(3);
                    // Whatever passes is answered.
                    let mut answered = 0;
                    while Instant::now() < until {
                        // A full queue is as good as a packet that was sent.
                        let _ = socket.send(b"?");
                        answered += usize::from(socket.recv(&mut [0; 16]).is_ok());
                    }
                    answered
                })
            }
        });
        let mut starts = 0;
        while !leak.is_finished() {
            fence.stop().await;
            // Of one pod the status says the address, of the other nobody knows it yet.
            fence.declare("here", "web", (starts % 2 == 0).then_some(web.address));
            fence.start();
            // Another set of rules each time, beside those that are in force.
            fence.policy("other", json!({"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": format!("198.51.100.{starts}/32")}}]}]}));
            tokio::time::sleep(Duration::from_millis(30)).await;
            starts = (starts + 1) % 250;
        }
        assert_eq!(leak.join().expect("the sender"), 0, "no packet passed");
        assert!(starts > 20, "{starts}");
        for pod in [("web", web.address), ("db", db.address)] {
            fence.declare("here", pod.0, Some(pod.1));
        }
        fence.delete_policy("deny");
        fence.delete_policy("other");
        until("everything passes again", || reaches(&web, db.address, 8080)).await;
    });
}

#[test]
fn a_pod_that_comes_to_a_thousand_under_a_hundred_policies_costs_little() {
    on_a_node(BridgeFilter::Off, async |mut ground| {
        let fence = Fence::new(&mut ground);
        let time = async |what: &str| {
            let mut times = Vec::new();
            for _ in 0..40 {
                fence.declare("here", "web", None);
                let socket = ground.config.policy_socket.clone().expect("there is one");
                let begun = Instant::now();
                let said = tokio::task::spawn_blocking(move || {
                    announce(&socket, "web", Ipv4Addr::new(10, 99, 7, 200))
                });
                said.await.expect("the caller");
                times.push(begun.elapsed());
                fence.delete_pod("here", "web");
            }
            times.sort_unstable();
            println!("{what}: median {:?}, slowest {:?}", times[20], times[39]);
            times[20]
        };
        let without = time("no policies").await;
        assert!(without < Duration::from_millis(20), "{without:?}");
        for number in 0..1000u32 {
            let address = Ipv4Addr::from_bits(Ipv4Addr::new(10, 99, 8, 0).to_bits() + number);
            let metadata = json!({"name": format!("pod-{number}"), "namespace": "here", "uid": "u",
                "labels": {"app": "web", "number": (number % 100).to_string()}});
            let node = if number < 100 { "node" } else { "far" };
            let object = json!({"metadata": metadata, "spec": {"nodeName": node}, "status": {"podIP": address.to_string()}});
            fence.view.pods.apply(serde_json::from_value(object).expect("a pod"));
        }
        for number in 0..100 {
            let numbered = json!({"podSelector": {"matchLabels": {"number": number.to_string()}}});
            let spec = json!({"podSelector": {"matchLabels": {"app": "web"}}, "ingress": [{"from": [numbered], "ports": [{"port": 80 + number}]}]});
            fence.policy(&format!("policy-{number}"), spec);
        }
        let with = time("100 policies, 1,000 pods").await;
        assert!(with < Duration::from_millis(200), "{with:?}");
    });
}

fn announce(socket: &std::path::Path, name: &str, address: Ipv4Addr) {
    use std::io::{BufRead, Write};
    let mut stream = std::os::unix::net::UnixStream::connect(socket).expect("the agent");
    let said = cni::announce::Announcement::Attached {
        namespace: "here".into(),
        name: name.into(),
        uid: format!("uid-{name}"),
        address,
    };
    writeln!(stream, "{}", serde_json::to_string(&said).expect("JSON")).expect("said");
    let mut line = String::new();
    std::io::BufReader::new(stream).read_line(&mut line).expect("answered");
    assert_eq!(line, "{\"error\":null}\n");
}
