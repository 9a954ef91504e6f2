//! Needs root: everything happens inside a network namespace the test makes for itself.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use futures::TryStreamExt;
use rtnetlink::packet_route::link::LinkAttribute;
use rtnetlink::{LinkBridge, LinkMessageBuilder, LinkUnspec, RouteMessageBuilder};

use cni::members::{self, MembersNetwork};
use cni::{BridgeConfig, attach, detach, prepare_node, remove_cluster};
use nix::sched::{CloneFlags, setns, unshare};

fn config(ipam_dir: PathBuf) -> BridgeConfig {
    BridgeConfig {
        bridge: "knarrtest".into(),
        subnet: "10.99.7.0/24".into(),
        cluster_cidr: "10.99.0.0/16".into(),
        ipam_dir,
        veth_prefix: "knt".into(),
        service_addresses: vec![Ipv4Addr::new(10, 98, 0, 1)],
        mtu: Some(1400),
        policy_socket: None,
    }
}

/// A namespace that lives as long as the handle; its path works in this process.
fn new_namespace() -> (File, PathBuf) {
    let file = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("needs root: a new network namespace");
        File::open("/proc/thread-self/ns/net").expect("the thread's namespace")
    })
    .join()
    .expect("the thread");
    let path = PathBuf::from(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file)));
    (file, path)
}

/// Runs `test` on a thread of a namespace of its own, which stands for the node.
fn on_a_node(test: impl AsyncFnOnce(&Path) + Send + 'static) {
    std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("needs root: a new network namespace");
        // Whatever the machine's setting is, with which a namespace begins.
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("a node forwards");
        let dir = tempfile::tempdir().expect("a temporary folder");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(test(dir.path()));
    })
    .join()
    .expect("the test");
}

fn inside<T: Send + 'static>(namespace: &File, work: impl FnOnce() -> T + Send + 'static) -> T {
    let namespace = namespace.try_clone().expect("a handle");
    std::thread::spawn(move || {
        setns(&namespace, CloneFlags::CLONE_NEWNET).expect("entering the namespace");
        work()
    })
    .join()
    .expect("the thread")
}

#[test]
fn an_interface_of_another_kind_is_not_taken_for_the_bridge() {
    on_a_node(async |dir| {
        let config = config(dir.join("ipam"));
        let (connection, handle, _) = rtnetlink::new_connection().expect("netlink");
        let mut netlink = tokio::task::JoinSet::new();
        netlink.spawn(connection);
        let veth = rtnetlink::LinkVeth::new(&config.bridge, "knarrpeer").build();
        handle.link().add(veth).execute().await.expect("a veth pair");
        let error = prepare_node(&config).await.expect_err("no bridge").to_string();
        assert_eq!(error, "interface knarrtest is there already and is no bridge");
    });
}

#[test]
fn pods_reach_each_other_and_the_node_and_leave_nothing() {
    on_a_node(async |dir| {
        let config = config(dir.join("ipam"));
        prepare_node(&config).await.expect("the bridge and the table");
        prepare_node(&config).await.expect("again");
        let (first, first_path) = new_namespace();
        let (second, second_path) = new_namespace();
        let a = attach(&config, "aaaaaaaa11", &first_path, "eth0", &[]).await.expect("attached");
        let b = attach(&config, "bbbbbbbb22", &second_path, "eth0", &[]).await.expect("attached");
        assert_ne!(a.address, b.address);
        let listener =
            inside(&second, move || std::net::TcpListener::bind((b.address, 7000)).expect("listening"));
        let from = inside(&first, move || {
            std::net::TcpStream::connect((b.address, 7000))
                .expect("pod to pod")
                .local_addr()
                .expect("own address")
        });
        let (_, seen) = listener.accept().expect("accepted");
        assert_eq!((from.ip(), seen.ip()), (a.address.into(), a.address.into()), "no address translation");
        std::net::TcpStream::connect((b.address, 7000)).expect("node to pod");
        let node =
            std::net::TcpListener::bind(("10.98.0.1", 7001)).expect("the service address is the node's");
        inside(&first, || {
            std::net::TcpStream::connect(("10.98.0.1", 7001)).expect("pod to the node's service")
        });
        drop(node);
        detach(&config, "aaaaaaaa11").await.expect("detached");
        detach(&config, "aaaaaaaa11").await.expect("again");
        route([198, 51, 100, 0], 107).await;
        route([203, 0, 113, 0], 108).await;
        remove_cluster(&config.bridge, &config.veth_prefix, 107).await.expect("removed");
        remove_cluster(&config.bridge, &config.veth_prefix, 107).await.expect("again");
        let routes = std::fs::read_to_string("/proc/thread-self/net/route").expect("routes");
        assert!(!routes.contains("006433C6") && routes.contains("007100CB"), "{routes}");
        let left = std::fs::read_to_string("/proc/thread-self/net/dev").expect("interfaces");
        assert!(!left.contains("kn"), "{left}");
        prepare_node(&config).await.expect("made again");
        remove_cluster("knarrte", "knt", 107).await.expect("found by what its name begins with");
        let left = std::fs::read_to_string("/proc/thread-self/net/dev").expect("interfaces");
        assert!(!left.contains("kn"), "{left}");
    });
}

/// Leads to a range by the loopback interface, known by the protocol number.
async fn route(network: [u8; 4], protocol: u8) {
    let (connection, handle, _) = rtnetlink::new_connection().expect("netlink");
    let mut netlink = tokio::task::JoinSet::new();
    netlink.spawn(connection);
    let up = LinkMessageBuilder::<LinkUnspec>::new().index(1).up().build();
    handle.link().set(up).execute().await.expect("up");
    let route = RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(network.into(), 24)
        .output_interface(1)
        .protocol(protocol.into());
    handle.route().add(route.build()).execute().await.expect("a route");
}

/// The MAC address of the interface of this name on this thread's node.
async fn mac(interface: &str) -> Vec<u8> {
    let (connection, handle, _) = rtnetlink::new_connection().expect("netlink");
    let mut netlink = tokio::task::JoinSet::new();
    netlink.spawn(connection);
    let link = handle.link().get().match_name(interface.to_owned()).execute().try_next().await;
    let link = link.expect("an answer").expect("an interface");
    let address = link.attributes.into_iter().find_map(|attribute| match attribute {
        LinkAttribute::Address(address) => Some(address),
        _ => None,
    });
    address.expect("a MAC address")
}

#[test]
fn the_gateway_keeps_its_address_while_pods_come_and_go() {
    on_a_node(async |dir| {
        let config = config(dir.join("ipam"));
        // A bridge that had no address of its own.
        let (connection, handle, _) = rtnetlink::new_connection().expect("netlink");
        let mut netlink = tokio::task::JoinSet::new();
        netlink.spawn(connection);
        handle.link().add(LinkBridge::new(&config.bridge).build()).execute().await.expect("a bridge");
        prepare_node(&config).await.expect("the bridge and the table");
        let gateway = mac(&config.bridge).await;
        let pods: Vec<(File, PathBuf)> = (0..4).map(|_| new_namespace()).collect();
        for (number, (_, path)) in pods.iter().enumerate() {
            let pod =
                attach(&config, &format!("{number}0000000"), path, "eth0", &[]).await.expect("attached");
            let [a, b, c, d] = pod.address.octets();
            // So that nobody knows a former pod's when its address is given again.
            assert_eq!(pod.mac, format!("0a:58:{a:02x}:{b:02x}:{c:02x}:{d:02x}"));
            assert_eq!(mac(&config.bridge).await, gateway, "with pod {number}");
        }
        for number in 0..pods.len() {
            detach(&config, &format!("{number}0000000")).await.expect("detached");
            assert_eq!(mac(&config.bridge).await, gateway, "without pod {number}");
        }
        remove_cluster("knarrtest", "knt", 107).await.expect("removed");
        prepare_node(&config).await.expect("a new bridge");
        assert_eq!(mac(&config.bridge).await, gateway);
    });
}

fn mapping(host_port: u16, host_ip: &str) -> cni::PortMapping {
    cni::PortMapping { host_port, container_port: 7000, protocol: "tcp".into(), host_ip: host_ip.into() }
}

#[test]
fn ports_of_the_node_lead_to_a_pod_as_long_as_there_is_one() {
    on_a_node(async |dir| {
        let config = config(dir.join("ipam"));
        prepare_node(&config).await.expect("the bridge and the table");
        let (connection, handle, _) = rtnetlink::new_connection().expect("netlink");
        let mut netlink = tokio::task::JoinSet::new();
        netlink.spawn(connection);
        let loopback_up = rtnetlink::LinkUnspec::new_with_index(1).up().build();
        handle.link().set(loopback_up).execute().await.expect("the loopback is up");
        let ((pod, pod_path), (other, other_path)) = (new_namespace(), new_namespace());
        let ports = [mapping(8080, ""), mapping(8081, "127.0.0.2")];
        let a = attach(&config, "aaaaaaaa11", &pod_path, "eth0", &ports).await.expect("attached");
        let taken = attach(&config, "bbbbbbbb22", &other_path, "eth0", &[mapping(8080, "")]).await;
        let taken = taken.expect_err("another pod has the port").to_string();
        assert!(taken.starts_with("host port 8080/tcp: "), "{taken}");
        attach(&config, "bbbbbbbb22", &other_path, "eth0", &[]).await.expect("attached");
        let listener =
            inside(&pod, move || std::net::TcpListener::bind((a.address, 7000)).expect("listening"));
        let gateway = a.range.gateway();
        let reach = |address: std::net::Ipv4Addr, port: u16| {
            let patience = std::time::Duration::from_secs(2);
            std::net::TcpStream::connect_timeout(&(address, port).into(), patience).map(drop)
        };
        let loopback = |last| std::net::Ipv4Addr::new(127, 0, 0, last);
        let check = |is_open: bool| {
            for (address, port) in [(loopback(1), 8080), (gateway, 8080), (loopback(2), 8081)] {
                let reached = reach(address, port);
                assert_eq!(reached.is_ok(), is_open, "{address}:{port}: {reached:?}");
            }
        };
        check(true);
        reach(loopback(1), 8081).expect_err("of another address only");
        inside(&other, move || reach(gateway, 8080)).expect("from a pod");
        inside(&pod, move || reach(gateway, 8080)).expect("from the pod itself");
        // The node starts again: what leads to pods stays.
        prepare_node(&config).await.expect("again");
        check(true);
        detach(&config, "aaaaaaaa11").await.expect("detached");
        drop(listener);
        check(false);
        detach(&config, "aaaaaaaa11").await.expect("again");
        remove_cluster(&config.bridge, &config.veth_prefix, 107).await.expect("removed");
        assert_eq!(nft::tables(nft::Family::Ipv4, &config.bridge).expect("asked"), Vec::<String>::new());
    });
}

/// Changes interfaces inside a pod, as a process with the default capabilities and CAP_NET_ADMIN may.
fn tamper(namespace: &File, change: impl AsyncFnOnce(rtnetlink::Handle, u32) + Send + 'static) {
    inside(namespace, move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async move {
            let (connection, handle, _) = rtnetlink::new_connection().expect("netlink");
            let mut netlink = tokio::task::JoinSet::new();
            netlink.spawn(connection);
            let mut links = handle.link().get().match_name("eth0".to_owned()).execute();
            let link = links.try_next().await.expect("answered").expect("the pod's interface");
            change(handle, link.header.index).await;
        });
    });
}

fn send(namespace: &File, from: Ipv4Addr, to: Ipv4Addr, text: &'static str) {
    inside(namespace, move || {
        let socket =
            std::net::UdpSocket::bind((from, 0)).expect("the address is the pod's, as far as it knows");
        socket.send_to(text.as_bytes(), (to, 7002)).expect("sent");
    });
}

fn receive(socket: &std::net::UdpSocket) -> (String, IpAddr) {
    let mut text = [0; 16];
    let (length, from) = socket.recv_from(&mut text).expect("a packet in time");
    (String::from_utf8_lossy(&text[..length]).into_owned(), from.ip())
}

/// The MAC address by which the node knows `address`.
fn known_as(address: Ipv4Addr) -> String {
    let table = std::fs::read_to_string("/proc/thread-self/net/arp").expect("neighbours");
    let line = table.lines().find(|line| line.split_whitespace().next() == Some(&address.to_string()));
    line.and_then(|line| line.split_whitespace().nth(3)).unwrap_or_default().to_owned()
}

#[test]
fn a_pod_cannot_take_anothers_address() {
    on_a_node(async |dir| {
        let config = config(dir.join("ipam"));
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("a node forwards");
        prepare_node(&config).await.expect("the bridge and the tables");
        let (first, first_path) = new_namespace();
        let (second, second_path) = new_namespace();
        let thief = attach(&config, "aaaaaaaa11", &first_path, "eth0", &[]).await.expect("attached");
        let victim = attach(&config, "bbbbbbbb22", &second_path, "eth0", &[]).await.expect("attached");
        let forwards = inside(&first, || std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward"));
        assert_eq!(forwards.expect("readable").trim(), "0", "a pod is no router");
        let gateway = Ipv4Addr::new(10, 99, 7, 1);
        let node = std::net::UdpSocket::bind((gateway, 7002)).expect("the node listens");
        node.set_read_timeout(Some(std::time::Duration::from_secs(5))).expect("set");
        let heard = || receive(&node);
        send(&second, victim.address, gateway, "victim");
        assert_eq!(heard(), ("victim".to_owned(), victim.address.into()));
        assert_eq!(known_as(victim.address), victim.mac);

        // The victim's IPv4 address, and ARP requests that tell everybody so.
        tamper(&first, async move |handle, eth0| {
            handle.address().add(eth0, victim.address.into(), 32).execute().await.expect("a pod may");
        });
        send(&first, victim.address, gateway, "stolen");
        send(&first, victim.address, Ipv4Addr::new(10, 99, 7, 77), "who-has");
        send(&first, thief.address, gateway, "honest");
        assert_eq!(heard(), ("honest".to_owned(), thief.address.into()), "what was stolen did not come");
        assert_eq!(known_as(victim.address), victim.mac);

        // The victim's MAC address, by which the bridge would send it the victim's packets.
        let mac: Vec<u8> =
            victim.mac.split(':').map(|byte| u8::from_str_radix(byte, 16).expect("a byte")).collect();
        tamper(&first, async move |handle, eth0| {
            let message = LinkMessageBuilder::<LinkUnspec>::new().index(eth0).address(mac).build();
            handle.link().set(message).execute().await.expect("a pod may");
        });
        send(&first, thief.address, gateway, "masked");
        let listener =
            inside(&second, move || std::net::TcpListener::bind((victim.address, 7003)).expect("listening"));
        std::net::TcpStream::connect_timeout(
            &(victim.address, 7003).into(),
            std::time::Duration::from_millis(900),
        )
        .expect("the victim's packets reach the victim at once");
        drop(listener);
        send(&second, victim.address, gateway, "victim");
        assert_eq!(heard(), ("victim".to_owned(), victim.address.into()));

        // Without the table it works: the test would tell.
        let mut batch = nft::Batch::of(nft::Family::Device);
        batch.delete_table(&config.bridge);
        batch.send().expect("the table is there");
        send(&first, victim.address, gateway, "taken");
        // The packets from before wait in the pod for the gateway's MAC address and may come first now.
        let mut packets = std::iter::repeat_with(heard);
        let taken = packets.find(|(text, _)| text == "taken").expect("packets without end");
        assert_eq!(taken.1, victim.address);
        prepare_node(&config).await.expect("made again");

        detach(&config, "aaaaaaaa11").await.expect("detached");
        detach(&config, "bbbbbbbb22").await.expect("detached");
        assert_eq!(nft::tables(nft::Family::Device, "knarrtest").expect("listed"), ["knarrtest"]);
        remove_cluster(&config.bridge, &config.veth_prefix, 107).await.expect("removed");
        assert_eq!(nft::tables(nft::Family::Device, "knarrtest").expect("listed"), [""; 0]);
    });
}

/// How many frames have come in by the pod's interface.
fn frames(namespace: &File) -> u64 {
    inside(namespace, || {
        let devices = std::fs::read_to_string("/proc/thread-self/net/dev").expect("interfaces");
        let line = devices.lines().find(|line| line.trim_start().starts_with("eth0:")).expect("the pod's");
        line.split_whitespace().nth(2).and_then(|frames| frames.parse().ok()).expect("a number")
    })
}

#[test]
fn a_pod_sends_to_nobody_but_the_gateway() {
    on_a_node(async |dir| {
        let config = config(dir.join("ipam"));
        // By IPv6 the node would speak to everybody meanwhile.
        for of in ["all", "default"] {
            std::fs::write(format!("/proc/sys/net/ipv6/conf/{of}/disable_ipv6"), "1").expect("set");
        }
        prepare_node(&config).await.expect("the bridge and the tables");
        let (first, first_path) = new_namespace();
        let (second, second_path) = new_namespace();
        let sender = attach(&config, "aaaaaaaa11", &first_path, "eth0", &[]).await.expect("attached");
        let other = attach(&config, "bbbbbbbb22", &second_path, "eth0", &[]).await.expect("attached");
        let mac: Vec<u8> =
            other.mac.split(':').map(|byte| u8::from_str_radix(byte, 16).expect("a byte")).collect();
        // Past the node: straight to the other pod's Ethernet address.
        tamper(&first, async move |handle, eth0| {
            let route = rtnetlink::RouteMessageBuilder::<Ipv4Addr>::new()
                .destination_prefix(Ipv4Addr::new(10, 99, 7, 0), 24)
                .output_interface(eth0)
                .scope(rtnetlink::packet_route::route::RouteScope::Link);
            handle.route().add(route.build()).execute().await.expect("a pod may");
            let neighbour = handle.neighbours().add(eth0, other.address.into());
            neighbour.link_layer_address(&mac).execute().await.expect("a pod may");
        });
        let socket =
            inside(&second, move || std::net::UdpSocket::bind((other.address, 7002)).expect("listening"));
        socket.set_read_timeout(Some(std::time::Duration::from_secs(5))).expect("set");
        let before = frames(&second);
        send(&first, sender.address, other.address, "past");
        // To everybody of the bridge, by an ARP request and by IPv4.
        send(&first, sender.address, Ipv4Addr::new(10, 99, 7, 77), "who-has");
        assert_eq!(frames(&second), before, "no frame of another pod comes");

        // Ports of an earlier version, whose chain was another and whose pods have some other Ethernet address.
        let open = |port: &str| {
            let mut batch = nft::Batch::of(nft::Family::Device);
            batch.delete_rules("knarrtest", &format!("{port}-way"));
            batch.delete_chain("knarrtest", &format!("{port}-way"));
            batch.send().expect("the chain is there");
        };
        open(&sender.host_interface);
        send(&first, sender.address, other.address, "past");
        assert_eq!(receive(&socket), ("past".to_owned(), sender.address.into()), "the test would tell");
        prepare_node(&config).await.expect("the node starts again");
        let before = frames(&second);
        send(&first, sender.address, other.address, "past");
        assert_eq!(frames(&second), before, "now too");
        detach(&config, "aaaaaaaa11").await.expect("detached");
        detach(&config, "bbbbbbbb22").await.expect("detached");
        let again = attach(&config, "aaaaaaaa11", &first_path, "eth0", &[]).await;
        again.expect("the chains of the port of the same name are gone");
    });
}

#[test]
fn a_failed_attachment_gives_its_address_back() {
    on_a_node(async |dir| {
        let config = config(dir.join("ipam"));
        prepare_node(&config).await.expect("the bridge and the table");
        assert!(attach(&config, "cccccccc33", Path::new("/nowhere"), "eth0", &[]).await.is_err());
        let records = std::fs::read_dir(&config.ipam_dir).expect("records").flatten();
        let held = records.filter(|e| e.file_name().to_string_lossy().starts_with("10.")).count();
        assert_eq!(held, 0);
    });
}

#[test]
fn members_reach_one_another_the_machine_and_what_is_beyond() {
    on_a_node(async |dir| {
        let range = cni::config::Range::parse("192.0.2.0/24").expect("a range");
        let network = MembersNetwork { bridge: "knarrtestodes".into(), range, mtu: Some(1400) };
        let names = [dir.join("one"), dir.join("two")];
        // Again beside members that are there, as a server does that starts again.
        for _ in 0..2 {
            members::prepare(&network).await.expect("bridge and table");
            for (number, name) in (1..).zip(&names) {
                members::admit(&network, number, name).await.expect("connected");
            }
        }
        let [one, two] = names.clone().map(|name| File::open(name).expect("a namespace"));
        let second = network.address(2);
        let listener = inside(&two, move || std::net::TcpListener::bind((second, 7000)).expect("listening"));
        for (from, expected) in [(Some(&one), network.address(1)), (None, range.gateway())] {
            let connect = move || std::net::TcpStream::connect((second, 7000)).expect("a way");
            let _stream = from.map_or_else(connect, |from| inside(from, connect));
            let (_, seen) = listener.accept().expect("accepted");
            assert_eq!(seen.ip(), IpAddr::V4(expected));
        }
        // Beyond is a namespace that knows of the machine alone.
        let (beyond, beyond_path) = new_namespace();
        let config = BridgeConfig { cluster_cidr: "10.99.7.0/24".into(), ..config(dir.join("ipam")) };
        prepare_node(&config).await.expect("another bridge");
        let there = attach(&config, "aaaaaaaa11", &beyond_path, "eth0", &[]).await.expect("attached");
        let listener =
            inside(&beyond, move || std::net::TcpListener::bind((there.address, 7000)).expect("listening"));
        let _stream =
            inside(&one, move || std::net::TcpStream::connect((there.address, 7000)).expect("a way"));
        let (_, seen) = listener.accept().expect("accepted");
        assert_eq!(seen.ip(), IpAddr::V4(Ipv4Addr::new(10, 99, 7, 1)), "the machine speaks for its members");
        let forwards =
            inside(&one, || std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").expect("set"));
        assert_eq!(forwards.trim(), "1", "a member is the router of its pods");

        let taken = MembersNetwork { bridge: "knarrothers".into(), ..network.clone() };
        let why = members::prepare(&taken).await.expect_err("the addresses are taken").to_string();
        assert!(
            why.starts_with("the addresses 192.0.2.0/24 are in use on this machine: the route to 192.0.2."),
            "{why}"
        );
        assert!(why.ends_with(" by knarrtestodes"), "{why}");
        for name in &names {
            nix::mount::umount2(name, nix::mount::MntFlags::MNT_DETACH).expect("it is a mount");
        }
        remove_cluster("knarrtest", "knt", 107).await.expect("removed");
        let left = std::fs::read_to_string("/proc/thread-self/net/dev").expect("interfaces");
        assert!(!left.contains("kn"), "{left}");
        assert_eq!(nft::tables(nft::Family::Ipv4, "knarrtest").expect("listed"), [""; 0]);
    });
}
