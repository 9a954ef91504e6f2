//! The life of pods: sandbox, containers, logs, exec, stop, removal.

use cri::v1::*;
use streaming::{Stdio, TerminalSize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::node::{Node, labels};

#[tokio::test]
async fn a_container_runs_logs_and_ends() {
    let mut node = Node::start().await;
    let pod = node.run_sandbox("pod", |_| {}).await;
    let (status, info) = node.sandbox_info(&pod).await;
    assert_eq!(status.state, PodSandboxState::SandboxReady as i32);
    assert_eq!(status.network.expect("a network").ip, "10.88.0.5");
    assert!(info["pid"].as_i64().is_some_and(|p| p > 1));
    let id = node.run(&pod, "c", "echo out; echo err >&2; hostname; exit 3").await;
    let status = node.wait_exit(&id).await;
    assert_eq!((status.exit_code, status.reason.as_str()), (3, "Error"));
    assert!(status.started_at > 0 && status.finished_at >= status.started_at);
    let log = node.log("c.log");
    let lines: Vec<&str> = log.lines().map(|l| l.split_once(' ').map_or("", |(_, rest)| rest)).collect();
    assert!(lines.contains(&"stdout F out") && lines.contains(&"stderr F err"), "{log}");
    assert!(lines.contains(&"stdout F pod"), "{log}");
    node.runtime
        .stop_pod_sandbox(StopPodSandboxRequest { pod_sandbox_id: pod.clone() })
        .await
        .expect("it stops");
    node.runtime
        .stop_pod_sandbox(StopPodSandboxRequest { pod_sandbox_id: pod.clone() })
        .await
        .expect("again");
    assert_eq!(node.sandbox_info(&pod).await.0.state, PodSandboxState::SandboxNotready as i32);
    node.runtime.remove_pod_sandbox(RemovePodSandboxRequest { pod_sandbox_id: pod }).await.expect("it goes");
    assert_eq!(node.cni_calls(), "ADD\nDEL\n");
    node.finish().await;
}

#[tokio::test]
async fn containers_share_what_a_pod_shares() {
    let mut node = Node::start().await;
    let pod = node.run_sandbox("shared", |_| {}).await;
    let a = node.run(&pod, "a", "sleep 1000").await;
    let b = node.run(&pod, "b", "sleep 1000").await;
    for kind in ["net", "ipc", "uts"] {
        let script = format!("ls -l /proc/self/ns/{kind}");
        let link = |text: String| text.rsplit(' ').next().unwrap_or_default().to_owned();
        let (in_a, in_b) = (link(node.exec_text(&a, &script).await), link(node.exec_text(&b, &script).await));
        assert_eq!(in_a, in_b, "{kind}");
        let ours = std::fs::read_link(format!("/proc/self/ns/{kind}")).expect("a namespace");
        assert_ne!(in_a, ours.to_string_lossy(), "{kind}");
    }
    assert_eq!(node.exec_text(&a, "echo shared > /dev/shm/f").await, "");
    assert_eq!(node.exec_text(&b, "cat /dev/shm/f").await, "shared");
    let processes = node.exec_text(&a, "ps").await;
    assert!(processes.contains("sleep 1000") && processes.lines().count() <= 4, "{processes}");
    assert_eq!(node.exec_text(&a, "cat /etc/resolv.conf").await, "nameserver 10.96.0.10");
    assert_eq!(node.exec_text(&a, "hostname").await, "shared");
    node.finish().await;
}

#[tokio::test]
async fn a_shared_pid_namespace_is_held_by_pause() {
    let mut node = Node::start().await;
    let pod = node
        .run_sandbox("pids", |config| {
            let options = NamespaceOption { pid: NamespaceMode::Pod as i32, ..NamespaceOption::default() };
            config.linux = Some(LinuxPodSandboxConfig {
                security_context: Some(LinuxSandboxSecurityContext {
                    namespace_options: Some(options),
                    ..LinuxSandboxSecurityContext::default()
                }),
                ..LinuxPodSandboxConfig::default()
            });
        })
        .await;
    let shared = |config: &mut ContainerConfig| {
        let options = NamespaceOption { pid: NamespaceMode::Pod as i32, ..NamespaceOption::default() };
        config.linux = Some(LinuxContainerConfig {
            resources: None,
            security_context: Some(LinuxContainerSecurityContext {
                namespace_options: Some(options),
                ..LinuxContainerSecurityContext::default()
            }),
        });
    };
    let a = node.create(&pod, "a", "sleep 1111 & sleep 1000", shared).await.expect("a container");
    node.start_container(&a).await.expect("it starts");
    let b = node.create(&pod, "b", "sleep 2000", shared).await.expect("a container");
    node.start_container(&b).await.expect("it starts");
    let processes = node.exec_text(&b, "ps").await;
    for expected in ["sleep 1000", "sleep 1111", "sleep 2000"] {
        assert!(processes.contains(expected), "{processes}");
    }
    let stop = StopContainerRequest { container_id: a.clone(), timeout: 0 };
    node.runtime.stop_container(stop).await.expect("it stops");
    let processes = node.exec_text(&b, "ps").await;
    assert!(!processes.contains("sleep 1111") && processes.contains("sleep 2000"), "{processes}");
    node.finish().await;
}

#[tokio::test]
async fn stopping_asks_first_and_kills_later() {
    let mut node = Node::start().await;
    let pod = node.run_sandbox("stop", |_| {}).await;
    let polite =
        node.run(&pod, "polite", "trap 'exit 7' TERM; echo ready; while :; do sleep 0.05; done").await;
    let stubborn = node.run(&pod, "stubborn", "trap '' TERM; while :; do sleep 0.05; done").await;
    // The trap is set once the exec below sees the process loop.
    node.exec(&polite, "while [ ! -e /proc/1/task ]; do :; done; sleep 0.3").await;
    let stop = |id: &str, timeout| StopContainerRequest { container_id: id.to_owned(), timeout };
    node.runtime.stop_container(stop(&polite, 10)).await.expect("it stops");
    assert_eq!(node.status(&polite).await.exit_code, 7);
    node.runtime.stop_container(stop(&stubborn, 1)).await.expect("it is killed");
    assert_eq!(node.status(&stubborn).await.exit_code, 137);
    node.runtime.stop_container(stop(&stubborn, 1)).await.expect("stopping again is fine");
    node.finish().await;
}

#[tokio::test]
async fn what_cannot_run_says_why() {
    let mut node = Node::start().await;
    let pod = node.run_sandbox("bad", |_| {}).await;
    for (name, command, expected) in [
        ("a", "no-such", "exec: \"no-such\": executable file not found in $PATH"),
        ("b", "/etc/passwd", "exec: \"/etc/passwd\": permission denied"),
    ] {
        let id =
            node.create(&pod, name, "", |c| c.command = vec![command.to_owned()]).await.expect("a container");
        let error = node.start_container(&id).await.expect_err("it can't run");
        assert!(error.message().contains(expected), "{error}");
        let status = node.status(&id).await;
        assert_eq!(
            (status.state, status.reason.as_str()),
            (ContainerState::ContainerExited as i32, "StartError")
        );
        assert!(status.message.contains(expected));
    }
    let user = |c: &mut ContainerConfig| {
        c.linux = Some(LinuxContainerConfig {
            resources: None,
            security_context: Some(LinuxContainerSecurityContext {
                run_as_username: "nobody".to_owned(),
                ..LinuxContainerSecurityContext::default()
            }),
        });
    };
    let error = node.create(&pod, "c", "true", user).await.expect_err("no such user");
    assert!(error.message().contains("unable to find user nobody"), "{error}");
    let error = node.create(&pod, "d", "true", |c| c.image = None).await.expect_err("no image");
    assert_eq!(error.code(), tonic::Code::NotFound);
    // A process that could be forked but not run leaves the others unharmed.
    let id = node.run(&pod, "e", "sleep 1000").await;
    let request = ExecSyncRequest { container_id: id.clone(), cmd: vec!["/no/such".to_owned()], timeout: 5 };
    let error = node.runtime.exec_sync(request).await.expect_err("it can't run");
    assert!(error.message().contains("stat /no/such: no such file or directory"), "{error}");
    assert_eq!(node.exec(&id, "exit 9").await.exit_code, 9);
    node.finish().await;
}

#[tokio::test]
async fn a_command_that_takes_too_long_is_killed() {
    let mut node = Node::start().await;
    let pod = node.run_sandbox("slow", |_| {}).await;
    let id = node.run(&pod, "c", "sleep 1000").await;
    let cmd = vec!["/bin/sleep".to_owned(), "777".to_owned()];
    let request = ExecSyncRequest { container_id: id.clone(), cmd, timeout: 1 };
    let error = node.runtime.exec_sync(request).await.expect_err("it times out");
    assert_eq!(error.code(), tonic::Code::DeadlineExceeded);
    node.exec(&id, "while ps | grep -v grep | grep -q 'sleep 777'; do sleep 0.02; done").await;
    node.finish().await;
}

#[tokio::test]
async fn logs_rotate() {
    let mut node = Node::start().await;
    let pod = node.run_sandbox("logs", |_| {}).await;
    let id = node.run(&pod, "c", "echo one; while [ ! -e /go ]; do sleep 0.02; done; echo two").await;
    node.exec(&id, "true").await;
    let path = node.logs().join("c.log");
    std::fs::rename(&path, node.logs().join("c.log.1")).expect("it is renamed");
    node.runtime
        .reopen_container_log(ReopenContainerLogRequest { container_id: id.clone() })
        .await
        .expect("reopened");
    node.exec(&id, "echo > /go").await;
    node.wait_exit(&id).await;
    assert!(node.log("c.log.1").contains("one") && !node.log("c.log.1").contains("two"));
    assert!(node.log("c.log").contains("two"));
    node.finish().await;
}

#[tokio::test]
async fn lists_filter() {
    let mut node = Node::start().await;
    let one = node.run_sandbox("one", |c| c.labels = labels(&[("app", "a")])).await;
    let two = node.run_sandbox("two", |c| c.labels = labels(&[("app", "b")])).await;
    let id = node.run(&two, "c", "sleep 1000").await;
    let filter = PodSandboxFilter { label_selector: labels(&[("app", "a")]), ..PodSandboxFilter::default() };
    let list =
        node.runtime.list_pod_sandbox(ListPodSandboxRequest { filter: Some(filter) }).await.expect("a list");
    assert_eq!(list.into_inner().items.iter().map(|s| s.id.clone()).collect::<Vec<_>>(), [one]);
    let filter = ContainerFilter { pod_sandbox_id: two[..12].to_owned(), ..ContainerFilter::default() };
    let list =
        node.runtime.list_containers(ListContainersRequest { filter: Some(filter) }).await.expect("a list");
    assert_eq!(list.into_inner().containers.iter().map(|c| c.id.clone()).collect::<Vec<_>>(), [id]);
    let again = node.sandbox_config("two", |_| {});
    let request = RunPodSandboxRequest { config: Some(again), runtime_handler: String::new() };
    let error = node.runtime.run_pod_sandbox(request).await.expect_err("the name is taken");
    assert_eq!(error.code(), tonic::Code::AlreadyExists);
    node.finish().await;
}

#[tokio::test]
async fn streams_reach_processes() {
    let mut node = Node::start().await;
    let pod = node.run_sandbox("streams", |_| {}).await;
    let id =
        node.create(&pod, "c", "cat", |c| (c.stdin, c.stdin_once) = (true, true)).await.expect("a container");
    node.start_container(&id).await.expect("it starts");
    let all = Stdio { stdin: true, stdout: true, stderr: true, tty: false };
    // Exec with standard input, much larger than a pipe holds.
    let command = ["/bin/cat".to_owned()];
    let mut process = node.backend().exec(&id, &command, all).await.expect("it runs");
    let (mut stdin, mut stdout) =
        (process.stdin.take().expect("stdin"), process.stdout.take().expect("stdout"));
    let sent = vec![b'x'; 3 << 20];
    let mut received = Vec::new();
    let (write, read) = tokio::join!(
        async {
            stdin.write_all(&sent).await?;
            stdin.shutdown().await?;
            drop(stdin);
            Ok::<_, std::io::Error>(())
        },
        stdout.read_to_end(&mut received)
    );
    write.expect("it is written");
    read.expect("it is read");
    assert_eq!(received.len(), sent.len());
    assert_eq!(process.exit.await.expect("an end").code, 0);
    // Attach: what goes in comes out, and its end ends the container.
    let mut attached = node.backend().attach(&id, all).await.expect("attached");
    let (mut stdin, mut stdout) =
        (attached.stdin.take().expect("stdin"), attached.stdout.take().expect("stdout"));
    stdin.write_all(b"hello\n").await.expect("it is written");
    let mut line = [0u8; 6];
    stdout.read_exact(&mut line).await.expect("it comes out");
    assert_eq!(&line, b"hello\n");
    drop(stdin);
    assert_eq!(attached.exit.await.expect("an end").code, 0);
    assert!(node.log("c.log").contains("stdout F hello"));
    node.finish().await;
}

#[tokio::test]
async fn terminals_have_a_size() {
    let mut node = Node::start().await;
    let pod = node.run_sandbox("tty", |_| {}).await;
    let id = node.create(&pod, "c", "sleep 1000", |c| c.tty = true).await.expect("a container");
    node.start_container(&id).await.expect("it starts");
    let stdio = Stdio { stdin: true, stdout: true, stderr: false, tty: true };
    let script = "read line; stty size; exit 4".to_owned();
    let command = ["/bin/sh".to_owned(), "-c".to_owned(), script];
    let mut process = node.backend().exec(&id, &command, stdio).await.expect("it runs");
    let resize = process.resize.take().expect("a terminal");
    resize.send(Some(TerminalSize { width: 90, height: 33 })).expect("somebody resizes");
    // Resizing happens in its own time; the answer shows once it has.
    let (mut stdin, mut stdout) =
        (process.stdin.take().expect("stdin"), process.stdout.take().expect("stdout"));
    tokio::task::yield_now().await;
    stdin.write_all(b"go\n").await.expect("it is written");
    let mut text = String::new();
    stdout.read_to_string(&mut text).await.expect("output");
    assert!(text.contains("33 90"), "{text:?}");
    assert_eq!(process.exit.await.expect("an end").code, 4);
    node.finish().await;
}

#[tokio::test]
async fn ports_are_reached_inside_the_pod() {
    let mut node = Node::start().await;
    let pod = node.run_sandbox("port", |_| {}).await;
    let id = node.run(&pod, "c", "echo served | nc -l -p 8080; sleep 1000").await;
    node.exec(&id, "while ! grep -q :1F90 /proc/net/tcp /proc/net/tcp6; do sleep 0.02; done").await;
    let mut connection = node.backend().dial(&pod, 8080).await.expect("a connection");
    let mut text = String::new();
    connection.read_to_string(&mut text).await.expect("an answer");
    assert_eq!(text, "served\n");
    let error = node.backend().dial(&pod, 8081).await.err().expect("nobody listens");
    assert!(error.to_string().contains("connection refused"), "{error}");
    node.finish().await;
}

#[tokio::test]
async fn a_pod_can_live_on_the_hosts_network() {
    let mut node = Node::start().await;
    let pod = node
        .run_sandbox("host", |config| {
            let security = config.linux.get_or_insert_default().security_context.get_or_insert_default();
            security.namespace_options.get_or_insert_default().network = NamespaceMode::Node as i32;
        })
        .await;
    let id = node.run(&pod, "c", "sleep 1000").await;
    for kind in ["net", "uts"] {
        let ours = std::fs::read_link(format!("/proc/self/ns/{kind}")).expect("a namespace");
        let theirs = node.exec_text(&id, &format!("ls -l /proc/self/ns/{kind}")).await;
        assert!(theirs.ends_with(&*ours.to_string_lossy()), "{kind}: {theirs}");
    }
    assert_eq!(node.sandbox_info(&pod).await.0.network.expect("a network").ip, "");
    assert_eq!(node.cni_calls(), "");
    node.finish().await;
}

#[tokio::test]
async fn sysctls_are_the_pods_own() {
    let mut node = Node::start().await;
    let set = |config: &mut PodSandboxConfig| {
        let sysctls = &mut config.linux.get_or_insert_default().sysctls;
        sysctls.insert("kernel.shm_rmid_forced".to_owned(), "1".to_owned());
        sysctls.insert("net.ipv4.ip_unprivileged_port_start".to_owned(), "81".to_owned());
    };
    let pod = node.run_sandbox("sysctl", set).await;
    let id = node.run(&pod, "c", "sleep 1000").await;
    let script = "cat /proc/sys/kernel/shm_rmid_forced /proc/sys/net/ipv4/ip_unprivileged_port_start";
    assert_eq!(node.exec_text(&id, script).await, "1\n81");
    let config = node.sandbox_config("bad", |config| {
        let sysctls = &mut config.linux.get_or_insert_default().sysctls;
        sysctls.insert("kernel.core_pattern".to_owned(), "|/bad".to_owned());
    });
    let request = RunPodSandboxRequest { config: Some(config), runtime_handler: String::new() };
    assert!(node.runtime.run_pod_sandbox(request).await.is_err());
    node.finish().await;
}

#[tokio::test]
async fn many_pods_at_once_come_and_go() {
    let node = Node::start().await;
    let mut all = tokio::task::JoinSet::new();
    for number in 0..8 {
        let mut runtime = node.runtime.clone();
        let config = node.sandbox_config(&format!("many-{number}"), |_| {});
        all.spawn(async move {
            let request = RunPodSandboxRequest { config: Some(config), runtime_handler: String::new() };
            let pod = runtime.run_pod_sandbox(request).await.expect("a sandbox").into_inner().pod_sandbox_id;
            for name in ["a", "b"] {
                let config = ContainerConfig {
                    metadata: Some(ContainerMetadata { name: name.to_owned(), attempt: 0 }),
                    image: Some(ImageSpec { image: "test".to_owned(), ..ImageSpec::default() }),
                    command: vec!["sleep".to_owned(), "1000".to_owned()],
                    ..ContainerConfig::default()
                };
                let request = CreateContainerRequest {
                    pod_sandbox_id: pod.clone(),
                    config: Some(config),
                    sandbox_config: None,
                };
                let container_id =
                    runtime.create_container(request).await.expect("a container").into_inner().container_id;
                runtime.start_container(StartContainerRequest { container_id }).await.expect("it starts");
            }
            runtime
                .remove_pod_sandbox(RemovePodSandboxRequest { pod_sandbox_id: pod })
                .await
                .expect("it goes");
        });
    }
    while let Some(ended) = all.join_next().await {
        ended.expect("it worked");
    }
    node.finish().await;
}
