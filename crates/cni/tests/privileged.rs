//! Needs root: everything happens inside a network namespace the test makes for itself.

use std::fs::File;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

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
        let a = attach(&config, "aaaaaaaa11", &first_path, "eth0").await.expect("attached");
        let b = attach(&config, "bbbbbbbb22", &second_path, "eth0").await.expect("attached");
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
        remove_cluster(&config.bridge, &config.veth_prefix).await.expect("removed");
        remove_cluster(&config.bridge, &config.veth_prefix).await.expect("again");
        let left = std::fs::read_to_string("/proc/thread-self/net/dev").expect("interfaces");
        assert!(!left.contains("kn"), "{left}");
        prepare_node(&config).await.expect("made again");
        remove_cluster("knarrte", "knt").await.expect("found by what its name begins with");
        let left = std::fs::read_to_string("/proc/thread-self/net/dev").expect("interfaces");
        assert!(!left.contains("kn"), "{left}");
    });
}

#[test]
fn a_failed_attachment_gives_its_address_back() {
    on_a_node(async |dir| {
        let config = config(dir.join("ipam"));
        prepare_node(&config).await.expect("the bridge and the table");
        assert!(attach(&config, "cccccccc33", Path::new("/nowhere"), "eth0").await.is_err());
        let records = std::fs::read_dir(&config.ipam_dir).expect("records").flatten();
        let held = records.filter(|e| e.file_name().to_string_lossy().starts_with("10.")).count();
        assert_eq!(held, 0);
    });
}
