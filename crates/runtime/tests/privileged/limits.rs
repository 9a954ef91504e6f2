//! What containers may and may not do.

use cri::v1::*;

use crate::node::Node;

fn with(
    resources: Option<LinuxContainerResources>,
    security_context: Option<LinuxContainerSecurityContext>,
) -> impl FnOnce(&mut ContainerConfig) {
    move |config| config.linux = Some(LinuxContainerConfig { resources, security_context })
}

#[tokio::test]
async fn limits_are_the_kernels() {
    let mut node = Node::start().await;
    let pod = node.run_sandbox("limits", |_| {}).await;
    let resources = LinuxContainerResources {
        cpu_period: 100_000,
        cpu_quota: 50_000,
        cpu_shares: 512,
        memory_limit_in_bytes: 64 << 20,
        ..LinuxContainerResources::default()
    };
    let id = node.create(&pod, "c", "sleep 1000", with(Some(resources), None)).await.expect("a container");
    node.start_container(&id).await.expect("it starts");
    let cgroup = format!("{}/{id}", node.config().cgroup_parent);
    let memory = ("memory", "memory.limit_in_bytes");
    assert_eq!(node.cgroup_file(memory, "memory.max", &cgroup), (64 << 20).to_string());
    let update =
        LinuxContainerResources { memory_limit_in_bytes: 96 << 20, ..LinuxContainerResources::default() };
    let request = UpdateContainerResourcesRequest {
        container_id: id.clone(),
        linux: Some(update),
        ..Default::default()
    };
    node.runtime.update_container_resources(request).await.expect("it is updated");
    assert_eq!(node.cgroup_file(memory, "memory.max", &cgroup), (96 << 20).to_string());
    let stats = node.runtime.container_stats(ContainerStatsRequest { container_id: id.clone() }).await;
    let stats = stats.expect("stats").into_inner().stats.expect("stats");
    assert!(stats.memory.and_then(|m| m.usage_bytes).is_some_and(|b| b.value > 0));
    assert!(stats.cpu.and_then(|c| c.usage_core_nano_seconds).is_some_and(|n| n.value > 0));
    node.exec(
        &id,
        "echo 1 > /sys/fs/cgroup/memory/memory.limit_in_bytes; echo 1 > /sys/fs/cgroup/memory.max",
    )
    .await;
    assert_eq!(
        node.cgroup_file(memory, "memory.max", &cgroup),
        (96 << 20).to_string(),
        "its own limits are not its to change"
    );
    node.finish().await;
}

#[tokio::test]
async fn too_much_memory_is_oom_killed() {
    let mut node = Node::start().await;
    let pod = node.run_sandbox("oom", |_| {}).await;
    let resources =
        LinuxContainerResources { memory_limit_in_bytes: 16 << 20, ..LinuxContainerResources::default() };
    let script = "exec dd if=/dev/zero of=/dev/null bs=64M";
    let id = node.create(&pod, "c", script, with(Some(resources), None)).await.expect("a container");
    node.start_container(&id).await.expect("it starts");
    let status = node.wait_exit(&id).await;
    assert_eq!((status.exit_code, status.reason.as_str()), (137, "OOMKilled"));
    node.finish().await;
}

#[tokio::test]
async fn identity_and_capabilities_are_as_asked() {
    let mut node = Node::start().await;
    let pod = node.run_sandbox("identity", |_| {}).await;
    let context = LinuxContainerSecurityContext {
        run_as_username: "web".to_owned(),
        supplemental_groups: vec![77],
        readonly_rootfs: true,
        no_new_privs: true,
        seccomp: Some(SecurityProfile::default()),
        ..LinuxContainerSecurityContext::default()
    };
    let adapt = |config: &mut ContainerConfig| {
        config.command = vec!["sleep".to_owned(), "1000".to_owned()];
        with(None, Some(context))(config);
    };
    let id = node.create(&pod, "c", "", adapt).await.expect("a container");
    node.start_container(&id).await.expect("it starts");
    assert_eq!(node.exec_text(&id, "id").await, "uid=33(web) gid=34(www) groups=34(www),50(extra),77");
    assert_eq!(node.exec_text(&id, "echo $HOME").await, "/srv");
    assert_ne!(node.exec(&id, "echo > /file").await.exit_code, 0, "the root is read-only");
    let status = node.exec_text(&id, "cat /proc/1/status").await;
    let line = |name: &str| {
        let found = status.lines().find_map(|l| l.strip_prefix(name)).unwrap_or_default();
        found.trim().to_owned()
    };
    assert_eq!(line("NoNewPrivs:"), "1");
    assert_eq!(line("Seccomp:"), "2");
    assert_eq!(line("CapBnd:"), "00000000a80425fb");
    assert_eq!(line("SigIgn:"), "0000000000000000");
    assert_eq!(line("SigBlk:"), "0000000000000000");
    node.finish().await;
}

#[tokio::test]
async fn the_default_profile_holds_for_execs_too() {
    let mut node = Node::start().await;
    let pod = node.run_sandbox("seccomp", |_| {}).await;
    let context = LinuxContainerSecurityContext {
        seccomp: Some(SecurityProfile::default()),
        ..LinuxContainerSecurityContext::default()
    };
    let id = node.create(&pod, "c", "sleep 1000", with(None, Some(context))).await.expect("a container");
    node.start_container(&id).await.expect("it starts");
    assert!(node.exec_text(&id, "grep Seccomp: /proc/1/status").await.ends_with('2'));
    assert!(node.exec_text(&id, "grep Seccomp: /proc/self/status").await.ends_with('2'));
    assert!(node.exec_text(&id, "grep CapEff: /proc/self/status").await.ends_with("00000000a80425fb"));
    assert!(node.exec_text(&id, "grep CapBnd: /proc/self/status").await.ends_with("00000000a80425fb"));
    assert_ne!(node.exec(&id, "unshare -U true").await.exit_code, 0, "new namespaces are refused");
    assert_eq!(node.exec_text(&id, "cat /proc/kcore | head -c 1").await, "", "it is masked");
    assert_ne!(node.exec(&id, "echo 1 > /proc/sys/kernel/domainname").await.exit_code, 0);
    node.finish().await;
}

#[tokio::test]
async fn volumes_devices_and_working_directory() {
    let mut node = Node::start().await;
    let host = tempfile::tempdir().expect("a folder");
    std::fs::write(host.path().join("f"), "from host").expect("a file");
    let pod = node.run_sandbox("mounts", |_| {}).await;
    let mount = |path: &str, readonly| Mount {
        container_path: path.to_owned(),
        host_path: host.path().to_string_lossy().into_owned(),
        readonly,
        ..Mount::default()
    };
    let (rw, ro) = (mount("/data/rw", false), mount("/data/ro", true));
    let adapt = |c: &mut ContainerConfig| {
        c.mounts = vec![rw, ro];
        c.working_dir = "/made/for/it".to_owned();
        c.devices = vec![Device {
            container_path: "/dev/mine".to_owned(),
            host_path: "/dev/zero".to_owned(),
            permissions: "r".to_owned(),
        }];
    };
    let id = node.create(&pod, "c", "sleep 1000", adapt).await.expect("a container");
    node.start_container(&id).await.expect("it starts");
    assert_eq!(node.exec_text(&id, "cat /data/ro/f; pwd").await, "from host/made/for/it");
    assert_ne!(node.exec(&id, "echo > /data/ro/g").await.exit_code, 0);
    assert_eq!(node.exec(&id, "echo -n new > /data/rw/g").await.exit_code, 0);
    assert_eq!(std::fs::read_to_string(host.path().join("g")).expect("it was written"), "new");
    assert_eq!(node.exec_text(&id, "head -c 4 /dev/mine | wc -c").await, "4");
    node.finish().await;
}
