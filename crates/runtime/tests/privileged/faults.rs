//! Whatever may be killed is killed; nothing is lost or left.

use std::time::Duration;

use cri::v1::*;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use crate::node::Node;

pub fn shim_pid(node: &Node, pod: &str) -> Pid {
    let file = node.config().state_dir.join("sandboxes").join(pod).join("shim.pid");
    let text = std::fs::read_to_string(file).expect("the shim has written its pid");
    Pid::from_raw(text.trim().parse().expect("a number")).expect("a pid")
}

/// Waits until the sandbox isn't ready any more, by events.
pub async fn wait_not_ready(node: &mut Node, pod: &str) {
    let mut events =
        node.runtime.get_container_events(GetEventsRequest {}).await.expect("events").into_inner();
    while node.sandbox_info(pod).await.0.state == PodSandboxState::SandboxReady as i32 {
        let next = tokio::time::timeout(Duration::from_secs(20), events.message()).await;
        next.expect("an event in time").expect("an event").expect("more events");
    }
}

#[tokio::test]
async fn a_restarted_server_adopts_what_runs() {
    let mut node = Node::start().await;
    let pod = node.run_sandbox("adopt", |_| {}).await;
    let stays = node.run(&pod, "stays", "sleep 1000").await;
    let ends = node.run(&pod, "ends", "while [ ! -e /go ]; do sleep 0.02; done; echo bye; exit 5").await;
    let created = node.create(&pod, "created", "exit 6", |_| {}).await.expect("a container");
    let before = node.status(&stays).await;
    node.exec(&ends, "echo > /go").await;
    // It ends while nobody serves.
    let pid = node.status(&ends).await;
    assert!(pid.state == ContainerState::ContainerRunning as i32 || pid.exit_code == 5);
    node.restart().await;
    assert_eq!(node.wait_exit(&ends).await.exit_code, 5);
    assert!(node.log("ends.log").contains("bye"));
    assert_eq!(node.status(&stays).await, before);
    assert_eq!(node.exec_text(&stays, "echo adopted").await, "adopted");
    assert_eq!(node.sandbox_info(&pod).await.0.network.expect("a network").ip, "10.88.0.5");
    node.start_container(&created).await.expect("it starts");
    assert_eq!(node.wait_exit(&created).await.exit_code, 6);
    node.finish().await;
}

#[tokio::test]
async fn a_killed_init_is_an_exit() {
    let mut node = Node::start().await;
    let pod = node.run_sandbox("init", |_| {}).await;
    let id = node.run(&pod, "c", "sleep 1111 & sleep 1000").await;
    let request = ContainerStatusRequest { container_id: id.clone(), verbose: true };
    let info = node.runtime.container_status(request).await.expect("a status").into_inner().info;
    let info: serde_json::Value = serde_json::from_str(&info["info"]).expect("JSON");
    let pid =
        info["pid"].as_i64().and_then(|p| i32::try_from(p).ok()).and_then(Pid::from_raw).expect("a pid");
    kill_process(pid, Signal::KILL).expect("it is killed");
    let status = node.wait_exit(&id).await;
    assert_eq!((status.exit_code, status.reason.as_str()), (137, "Error"));
    assert_eq!(node.sandbox_info(&pod).await.0.state, PodSandboxState::SandboxReady as i32);
    node.finish().await;
}

#[tokio::test]
async fn a_killed_pause_ends_the_sandbox_but_not_its_address() {
    let mut node = Node::start().await;
    let pod = node.run_sandbox("pause", |_| {}).await;
    let id = node.run(&pod, "c", "sleep 1000").await;
    let (_, info) = node.sandbox_info(&pod).await;
    let pid =
        info["pid"].as_i64().and_then(|p| i32::try_from(p).ok()).and_then(Pid::from_raw).expect("a pid");
    kill_process(pid, Signal::KILL).expect("it is killed");
    wait_not_ready(&mut node, &pod).await;
    assert_eq!(node.status(&id).await.state, ContainerState::ContainerRunning as i32);
    assert_eq!(node.sandbox_info(&pod).await.0.network.expect("a network").ip, "10.88.0.5");
    let error = node.create(&pod, "d", "true", |_| {}).await.expect_err("the sandbox is over");
    assert!(error.message().contains("is not running"), "{error}");
    node.runtime
        .stop_pod_sandbox(StopPodSandboxRequest { pod_sandbox_id: pod.clone() })
        .await
        .expect("it stops");
    assert_eq!(node.status(&id).await.exit_code, 137);
    node.finish().await;
}

#[tokio::test]
async fn a_killed_shim_takes_its_containers_along() {
    let mut node = Node::start().await;
    let pod = node.run_sandbox("shim", |_| {}).await;
    let id = node.run(&pod, "c", "sleep 1000").await;
    let other = node.run_sandbox("other", |_| {}).await;
    let unharmed = node.run(&other, "c2", "sleep 1000").await;
    kill_process(shim_pid(&node, &pod), Signal::KILL).expect("it is killed");
    let status = node.wait_exit(&id).await;
    assert_eq!(status.exit_code, 137);
    wait_not_ready(&mut node, &pod).await;
    assert_eq!(node.exec_text(&unharmed, "echo fine").await, "fine");
    node.runtime.remove_pod_sandbox(RemovePodSandboxRequest { pod_sandbox_id: pod }).await.expect("it goes");
    node.finish().await;
}

#[tokio::test]
async fn everything_killed_at_once_is_cleaned_up() {
    let mut node = Node::start().await;
    let pod = node.run_sandbox("all", |_| {}).await;
    let id = node.run(&pod, "c", "sleep 1000").await;
    node.kill_server();
    let shim = shim_pid(&node, &pod);
    let handle = pidfd_open(shim, PidfdFlags::empty()).expect("it runs");
    kill_process(shim, Signal::KILL).expect("it is killed");
    let mut ended = [rustix::event::PollFd::new(&handle, rustix::event::PollFlags::IN)];
    rustix::event::poll(&mut ended, None).expect("it has ended");
    node.restart().await;
    let status = node.wait_exit(&id).await;
    assert_eq!(status.exit_code, 137);
    assert_eq!(node.sandbox_info(&pod).await.0.state, PodSandboxState::SandboxNotready as i32);
    node.finish().await;
}

#[tokio::test]
async fn a_failing_network_leaves_nothing() {
    let mut node = Node::start().await;
    let plugin = node.config().network.bin_dirs[0].join("fake");
    std::fs::write(
        &plugin,
        "#!/bin/sh\n[ \"$CNI_COMMAND\" = ADD ] && { echo '{\"msg\":\"no address\"}'; exit 1; }\nexit 0\n",
    )
    .expect("a plugin");
    let config = node.sandbox_config("net", |_| {});
    let request = RunPodSandboxRequest { config: Some(config), runtime_handler: String::new() };
    let error = node.runtime.run_pod_sandbox(request).await.expect_err("no network");
    assert!(
        error.message().contains("failed to setup network for sandbox")
            && error.message().contains("no address")
    );
    let left = std::fs::read_dir(node.config().state_dir.join("sandboxes")).expect("a folder").count();
    assert_eq!(left, 0);
    node.finish().await;
}
