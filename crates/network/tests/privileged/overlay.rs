//! Pods reach pods of other machines.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, UdpSocket};
use std::process::Command;
use std::time::Instant;

use network::overlay::{PORT, Routing};

use crate::ground::{PATIENCE, Pod, ask_within, sh};
use crate::machines::{Machine, Machines, TUNNEL};

/// Asks until there is an answer: what leads to the pod is made beside the test.
fn answer(asked: impl Fn() -> Result<String, ErrorKind>) -> String {
    let begun = Instant::now();
    loop {
        match asked() {
            Ok(said) => return said,
            Err(error) if begun.elapsed() > PATIENCE => panic!("no answer in time: {error:?}"),
            Err(_) => {}
        }
    }
}

fn output(machine: &Machine, command: &'static str) -> String {
    machine.run(move || {
        let done = Command::new("sh").args(["-c", command]).output().expect("a shell");
        String::from_utf8_lossy(&done.stdout).into_owned()
    })
}

/// Asks until the machine's shell prints something of this kind.
fn shown(machine: &Machine, command: &'static str, is_right: impl Fn(&str) -> bool) {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if is_right(&output(machine, command)) {
            return;
        }
    }
    panic!("{command}: {}", output(machine, command));
}

#[test]
fn pods_reach_pods_of_other_machines_by_their_own_addresses() {
    let mut machines = Machines::new(3);
    let pods: Vec<Pod> = machines.all.iter().map(|machine| machine.pod("00000001")).collect();
    pods.iter().for_each(|pod| pod.serve("pod", 80));
    machines.start(Routing::Tunnel);
    for from in &pods {
        for to in &pods {
            assert_eq!(answer(|| from.ask((to.address, 80))), format!("pod {}", from.address));
        }
    }
    // A machine itself is known by the first address of its part.
    let to = pods[1].address;
    let said = machines.all[0].run(move || ask_within((to, 80).into(), PATIENCE));
    assert_eq!(said.as_deref(), Ok("pod 10.99.1.0"));
    // Packets that fill the pods' links arrive whole.
    let link = pods[0].run(|| {
        let done = Command::new("ip").args(["-o", "link", "show", "eth0"]).output().expect("ip");
        String::from_utf8_lossy(&done.stdout).into_owned()
    });
    assert!(link.contains("mtu 1450"), "{link}");
    let receiver = pods[1].run(move || UdpSocket::bind((to, 9000)).expect("the pod listens"));
    receiver.set_read_timeout(Some(PATIENCE)).expect("set");
    pods[0].run(move || {
        let sender = UdpSocket::bind("0.0.0.0:0").expect("a socket");
        sender.send_to(&[7; 1422], (to, 9000)).expect("fits into 1450 bytes");
        let error = sender.send_to(&[7; 1423], (to, 9000)).map(drop);
        // Larger ones are split, as on any link.
        assert!(error.is_ok(), "{error:?}");
    });
    for length in [1422, 1423] {
        assert_eq!(receiver.recv(&mut [0; 2000]).ok(), Some(length));
    }
}

#[test]
fn a_machine_that_moves_or_goes_is_followed() {
    let mut machines = Machines::new(2);
    let pods: Vec<Pod> = machines.all.iter().map(|machine| machine.pod("00000001")).collect();
    pods.iter().for_each(|pod| pod.serve("pod", 80));
    machines.start(Routing::Tunnel);
    let asked = || pods[0].ask((pods[1].address, 80));
    answer(asked);
    let moved = Ipv4Addr::new(192, 0, 2, 77);
    machines.all[1].move_to(moved);
    machines.node(2, moved);
    shown(&machines.all[0], "ip route show 10.99.2.0/24", |route| route.contains("via 192.0.2.77"));
    shown(&machines.all[1], "ip -o link show knarrtestvx", |link| link.contains("0a:58:c0:00:02:4d"));
    answer(asked);
    machines.remove_node(2);
    shown(&machines.all[0], "ip route show 10.99.2.0/24", str::is_empty);
    shown(&machines.all[0], "bridge fdb show dev knarrtestvx; ip neigh show dev knarrtestvx", str::is_empty);
    asked().expect_err("nothing leads there");
    machines.node(2, moved);
    answer(asked);
}

#[test]
fn what_somebody_takes_away_is_made_again() {
    let mut machines = Machines::new(2);
    let pods: Vec<Pod> = machines.all.iter().map(|machine| machine.pod("00000001")).collect();
    pods.iter().for_each(|pod| pod.serve("pod", 80));
    machines.start(Routing::Tunnel);
    let asked = || pods[0].ask((pods[1].address, 80));
    answer(asked);
    for command in [
        "ip link del knarrtestvx",
        "ip link set knarrtestvx down",
        "ip route del 10.99.2.0/24",
        "nft flush ruleset",
    ] {
        machines.all[0].run(move || sh(command));
        shown(&machines.all[0], "ip route show 10.99.2.0/24", |route| route.contains("via 192.0.2.2"));
        shown(&machines.all[0], "nft list tables", |tables| tables.contains(TUNNEL));
        answer(asked);
    }
    // What changes while nobody looks is corrected at the start.
    machines.all[0].stop();
    machines.all[0].run(|| {
        sh("ip route add 10.99.9.0/24 via 192.0.2.9 dev knarrtestvx onlink proto 107");
        sh("bridge fdb add 0a:58:c0:00:02:09 dev knarrtestvx dst 192.0.2.9");
        sh("bridge fdb del 0a:58:c0:00:02:02 dev knarrtestvx");
    });
    machines.start(Routing::Tunnel);
    shown(&machines.all[0], "ip route show 10.99.9.0/24", str::is_empty);
    shown(&machines.all[0], "bridge fdb show dev knarrtestvx", |fdb| !fdb.contains("192.0.2.9"));
    answer(asked);
}

#[test]
fn machines_on_one_link_need_no_tunnel_where_the_settings_say_so() {
    let mut machines = Machines::new(2);
    let pods: Vec<Pod> = machines.all.iter().map(|machine| machine.pod("00000001")).collect();
    pods.iter().for_each(|pod| pod.serve("pod", 80));
    machines.start(Routing::Direct);
    assert_eq!(answer(|| pods[0].ask((pods[1].address, 80))), format!("pod {}", pods[0].address));
    let route = output(&machines.all[0], "ip route show 10.99.2.0/24");
    assert!(route.contains("via 192.0.2.2 dev eth0"), "{route}");
    assert_eq!(output(&machines.all[0], "ip -o link show type vxlan"), "");
    // And the other way round.
    machines.all[0].stop();
    machines.all[1].stop();
    machines.start(Routing::Tunnel);
    shown(&machines.all[0], "ip route show 10.99.2.0/24", |route| route.contains(TUNNEL));
    answer(|| pods[0].ask((pods[1].address, 80)));
}

#[test]
fn a_machine_that_is_known_by_a_router_alone_is_reached_through_the_tunnel() {
    let mut machines = Machines::new(2);
    let pods: Vec<Pod> = machines.all.iter().map(|machine| machine.pod("00000001")).collect();
    pods.iter().for_each(|pod| pod.serve("pod", 80));
    // The first machine's own address is on another of its links: the second has the former for its gateway, as a
    // member of a machine has.
    let own = Ipv4Addr::new(203, 0, 113, 1);
    output(
        &machines.all[0],
        "ip link add elsewhere type bridge; ip address add 203.0.113.1/24 dev elsewhere; ip link set elsewhere up",
    );
    output(&machines.all[1], "ip route add 203.0.113.0/24 via 192.0.2.1");
    machines.all[0].addresses.send_replace(vec![own.into()]);
    machines.node(1, own);
    machines.start(Routing::Direct);
    assert_eq!(answer(|| pods[0].ask((pods[1].address, 80))), format!("pod {}", pods[0].address));
    assert_eq!(answer(|| pods[1].ask((pods[0].address, 80))), format!("pod {}", pods[1].address));
    for (machine, route) in
        machines.all.iter().zip(["ip route show 10.99.2.0/24", "ip route show 10.99.1.0/24"])
    {
        shown(machine, route, |route| route.contains(TUNNEL));
    }
}

/// A datagram as the tunnel carries it: to the pod's port 9000, from an address of the sender's choice.
fn tunnelled(machine: Ipv4Addr, from: Ipv4Addr, to: Ipv4Addr, text: &[u8]) -> Vec<u8> {
    let [a, b, c, d] = machine.octets();
    let length = |more: usize| u16::try_from(more + text.len()).expect("short").to_be_bytes();
    // VXLAN with the cluster's number, then Ethernet.
    let mut packet = vec![8, 0, 0, 0, 0x0a, 0x63, 0x00, 0];
    packet.extend([0x0a, 0x58, a, b, c, d, 2, 0, 0, 0, 0, 1, 8, 0]);
    let mut header = vec![0x45, 0];
    header.extend(length(28));
    header.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    header.extend(from.octets());
    header.extend(to.octets());
    let sum: u32 = header.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    let folded = !((sum & 0xffff) + (sum >> 16));
    header[10..12].copy_from_slice(&folded.to_be_bytes()[2..]);
    packet.extend(header);
    packet.extend([0x23, 0x29, 0x23, 0x28]);
    packet.extend(length(8));
    packet.extend([0, 0]);
    packet.extend(text);
    packet
}

#[test]
fn only_nodes_send_into_the_tunnel() {
    let mut machines = Machines::new(3);
    let pods: Vec<Pod> = machines.all.iter().map(|machine| machine.pod("00000001")).collect();
    pods.iter().for_each(|pod| pod.serve("pod", 80));
    machines.remove_node(3);
    machines.start(Routing::Tunnel);
    answer(|| pods[0].ask((pods[1].address, 80)));
    let (machine, to) = (machines.all[1].address(), pods[1].address);
    let receiver = pods[1].run(move || UdpSocket::bind((to, 9000)).expect("the pod listens"));
    receiver.set_read_timeout(Some(PATIENCE)).expect("set");
    let send = move |from: Ipv4Addr, text: &'static str| {
        let packet = tunnelled(machine, Ipv4Addr::new(10, 99, 1, 200), to, text.as_bytes());
        move || {
            let socket = UdpSocket::bind((from, 0)).expect("a socket");
            socket.send_to(&packet, (machine, PORT)).expect("sent");
        }
    };
    pods[0].run(send(pods[0].address, "a pod of a node"));
    pods[1].run(send(to, "a pod of the same node"));
    machines.all[2].run(send(machines.all[2].address(), "a machine that is no node"));
    machines.all[0].run(send(machines.all[0].address(), "a node"));
    let mut said = [0; 100];
    let (length, from) = receiver.recv_from(&mut said).expect("a datagram");
    assert_eq!(String::from_utf8_lossy(&said[..length]), "a node");
    assert_eq!(from.ip(), Ipv4Addr::new(10, 99, 1, 200));
}
