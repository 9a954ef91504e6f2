//! What the CNI plugin has made for pods comes back when somebody takes it away.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::time::Duration;

use base::{Shutdown, Supervisor, TaskKind};
use cni::PortMapping;
use cni::members::MembersNetwork;
use network::pod_tables;

use crate::ground::{
    BRIDGE, BridgeFilter, Ground, PATIENCE, Pod, ask_within, new_namespace, on_a_node, sh, until,
};

const NODE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// How long nobody answers who is not to answer.
const SILENCE: Duration = Duration::from_millis(300);

async fn pod_with_port(ground: &Ground, name: &str, host_port: u16) -> Pod {
    let namespace = new_namespace();
    let path = PathBuf::from(format!("/proc/self/fd/{}", namespace.as_raw_fd()));
    let port =
        PortMapping { host_port, container_port: 8080, protocol: "tcp".into(), host_ip: String::new() };
    let attached = cni::attach(&ground.config, name, &path, "eth0", &[port]).await.expect("attached");
    Pod { namespace, address: attached.address }
}

fn asks(pod: &Pod, to: (Ipv4Addr, u16)) -> Option<String> {
    pod.run(move || ask_within(SocketAddr::from(to), SILENCE).ok())
}

/// Whether the pod is answered under an address that is not its own.
fn can_pose(pod: &Pod, server: Ipv4Addr) -> bool {
    pod.run(move || {
        sh("ip address add 10.99.7.200/32 dev eth0; ip route replace default via 10.99.7.1 dev eth0 src 10.99.7.200");
        let answered = ask_within(SocketAddr::from((server, 9000)), SILENCE);
        sh("ip route replace default via 10.99.7.1 dev eth0; ip address del 10.99.7.200/32 dev eth0");
        answered.is_ok()
    })
}

#[test]
fn tables_that_somebody_takes_away_come_back() {
    on_a_node(BridgeFilter::Off, async |ground| {
        let pod = pod_with_port(&ground, "aaaaaaaa", 8888).await;
        let other = pod_with_port(&ground, "bbbbbbbb", 9999).await;
        pod.serve("web", 8080);
        ground.outside.serve("outside", 9000);
        let far = ground.outside.address;
        ground.outside.run(|| sh("ip route add 10.99.7.200/32 via 192.0.2.1"));
        let supervisor = Supervisor::new(Shutdown::new());
        let keep = network::pod_tables::keep(ground.config.clone(), supervisor.shutdown().clone());
        supervisor.spawn(TaskKind::Essential, "tables", keep);
        let is_whole = || {
            let opens = asks(&ground.outside, (NODE, 8888)).is_some_and(|said| said.starts_with("web"));
            let masquerades = asks(&pod, (far, 9000)) == Some(format!("outside {NODE}"));
            opens && masquerades && !can_pose(&pod, far)
        };
        until("all is there", is_whole).await;
        for damage in [
            "flush ruleset".to_owned(),
            format!("delete table ip {BRIDGE}"),
            format!("delete table ip {BRIDGE}-ports"),
            format!("delete table netdev {BRIDGE}"),
            format!("flush chain ip {BRIDGE} postrouting"),
            format!("flush map ip {BRIDGE}-ports ports"),
            format!("flush chain ip {BRIDGE}-ports prerouting"),
            format!("delete chain netdev {BRIDGE} kntaaaaaaaa"),
            format!("flush chain netdev {BRIDGE} kntaaaaaaaa-way"),
        ] {
            sh(&format!("nft '{damage}'"));
            until(&format!("all is there again after {damage}"), is_whole).await;
        }
        // What a pod takes with it stays away.
        cni::detach(&ground.config, "bbbbbbbb").await.expect("detached");
        drop(other);
        sh("nft flush ruleset");
        until("all is there again", is_whole).await;
        let shown =
            std::process::Command::new("nft").args(["list", "ruleset"]).output().expect("the program nft");
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        assert!(shown.contains("kntaaaaaaaa-way") && !shown.contains("kntbbbbbbbb"), "{shown}");
        assert!(shown.contains("8888") && !shown.contains("9999"), "{shown}");
        supervisor.shutdown().start();
        supervisor.drain(PATIENCE).await;
    });
}

#[test]
fn the_table_of_nodes_that_share_a_machine_comes_back() {
    on_a_node(BridgeFilter::Off, async |_| {
        let range = cni::config::Range::parse("198.51.100.0/24").expect("a range");
        let network = MembersNetwork { bridge: "knarrtestodes".into(), range, mtu: None };
        cni::members::prepare(&network).await.expect("bridge and table");
        let supervisor = Supervisor::new(Shutdown::new());
        let keep = pod_tables::keep_members(network, supervisor.shutdown().clone());
        supervisor.spawn(TaskKind::Background, "table", keep);
        let is_whole = || {
            let shown = std::process::Command::new("nft").args(["list", "ruleset"]).output();
            let shown = String::from_utf8_lossy(&shown.expect("the program nft").stdout).into_owned();
            shown.contains("table ip knarrtestodes") && shown.contains("ip saddr 198.51.100.0/24")
        };
        for damage in
            ["flush ruleset", "delete table ip knarrtestodes", "flush chain ip knarrtestodes postrouting"]
        {
            sh(&format!("nft '{damage}'"));
            until(&format!("all is there again after {damage}"), is_whole).await;
        }
        supervisor.shutdown().start();
        supervisor.drain(PATIENCE).await;
    });
}
