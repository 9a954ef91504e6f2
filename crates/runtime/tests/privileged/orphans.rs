//! Shims that die, or do not answer, at the worst moment: nothing is left of what they made, and no start waits for them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use cgroup::CgroupMounts;
use cri::v1::*;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use shim::protocol::SOCKET_FILE;
use tokio::task::JoinSet;

use crate::faults::{shim_pid, wait_not_ready};
use crate::node::Node;

const ROUNDS: u32 = 200;
/// How much later in the making of a container each round kills.
const STEP: Duration = Duration::from_micros(150);
/// How long a start of the server may take.
const START_LIMIT: Duration = Duration::from_secs(2);
const ENDS_WITHIN: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };

fn members(node: &Node) -> BTreeSet<i32> {
    CgroupMounts::detect().expect("cgroups are mounted").members(&node.config().cgroup_parent)
}

/// The processes of the node that hold a shim's socket.
fn holders(node: &Node) -> Vec<i32> {
    let sockets = std::fs::read_to_string("/proc/net/unix").expect("sockets can be listed");
    let named = sockets.lines().filter(|line| line.ends_with(SOCKET_FILE));
    let inodes: Vec<&str> = named.filter_map(|line| line.split_whitespace().nth(6)).collect();
    let links: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let holds = |pid: &i32| {
        let open = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        open.filter_map(|entry| std::fs::read_link(entry.path()).ok())
            .any(|link| links.iter().any(|socket| link.as_os_str() == socket.as_str()))
    };
    members(node).into_iter().filter(holds).collect()
}

/// Whether the process ends by itself, as one does that sees its shim die.
fn ends(pid: i32) -> bool {
    let Some(pid) = Pid::from_raw(pid) else { return true };
    let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else { return true };
    let mut waiting = [PollFd::new(&handle, PollFlags::IN)];
    poll(&mut waiting, Some(&ENDS_WITHIN)).expect("polled") > 0
}

#[tokio::test]
async fn shims_killed_while_they_make_containers_leave_nothing() {
    let mut node = Node::start().await;
    for round in 0..ROUNDS {
        let pod = node.run_sandbox(&format!("r{round}"), |_| {}).await;
        let id = node.create(&pod, "c", "sleep 1000", |_| {}).await.expect("a container");
        let shim = shim_pid(&node, &pod);
        let mut client = node.runtime.clone();
        let mut starting = JoinSet::new();
        starting.spawn(async move {
            client.start_container(StartContainerRequest { container_id: id }).await.map(drop)
        });
        // From before the request arrives until after the program runs.
        tokio::time::sleep(STEP * round).await;
        let server_dies = round % 2 == 1;
        if server_dies {
            node.kill_server();
        }
        kill_process(shim, Signal::KILL).expect("it ran until now");
        if server_dies {
            assert!(ends(shim.as_raw_nonzero().get()));
            let held: Vec<i32> = holders(&node).into_iter().filter(|pid| !ends(*pid)).collect();
            assert!(held.is_empty(), "round {round}: {held:?} hold what was their shim's");
            let began = Instant::now();
            node.restart().await;
            node.runtime.version(VersionRequest::default()).await.expect("it serves");
            assert!(began.elapsed() <= START_LIMIT, "round {round}: {:?}", began.elapsed());
        }
        // Started or not: either may be.
        let _ = starting.join_next().await;
        wait_not_ready(&mut node, &pod).await;
        let request = RemovePodSandboxRequest { pod_sandbox_id: pod };
        node.runtime.remove_pod_sandbox(request).await.expect("it goes");
        let left = members(&node);
        assert!(left.is_empty(), "round {round}: {left:?} are left");
    }
    node.finish().await;
}

#[tokio::test]
async fn what_no_file_tells_of_is_ended_too() {
    let mut node = Node::start().await;
    let pod = node.run_sandbox("lost", |_| {}).await;
    node.run(&pod, "c", "sleep 1000").await;
    let shim = shim_pid(&node, &pod);
    node.kill_server();
    std::fs::remove_dir_all(node.config().state_dir.join("sandboxes").join(&pod).join("c")).expect("lost");
    std::fs::remove_file(node.config().state_dir.join("sandboxes").join(&pod).join("record.json"))
        .expect("lost");
    let others = members(&node);
    assert!(others.len() >= 3, "shim, pause and container: {others:?}");
    node.restart().await;
    node.runtime.version(VersionRequest::default()).await.expect("it serves");
    // On a thread of its own: the server that ends them works on this one.
    let doomed = others.into_iter().chain([shim.as_raw_nonzero().get()]);
    let ended = tokio::task::spawn_blocking(move || doomed.into_iter().all(ends));
    assert!(ended.await.expect("no panic"), "all of the pod ends");
    node.finish().await;
}

#[tokio::test]
async fn a_shim_that_does_not_answer_delays_nobody() {
    let mut node = Node::start().await;
    let stopped = node.run_sandbox("stopped", |_| {}).await;
    let in_stopped = node.run(&stopped, "c", "sleep 1000").await;
    let other = node.run_sandbox("other", |_| {}).await;
    let in_other = node.run(&other, "c", "sleep 1000").await;
    let shim = shim_pid(&node, &stopped);
    kill_process(shim, Signal::STOP).expect("it is stopped");
    let began = Instant::now();
    node.restart().await;
    assert_eq!(node.exec_text(&in_other, "echo fine").await, "fine");
    assert!(began.elapsed() <= START_LIMIT, "{:?}", began.elapsed());
    let known = node.status(&in_stopped).await;
    assert_eq!(known.state, ContainerState::ContainerRunning as i32, "what ran is taken to run");
    assert_eq!(node.sandbox_info(&stopped).await.0.state, PodSandboxState::SandboxReady as i32);
    kill_process(shim, Signal::CONT).expect("it goes on");
    assert_eq!(node.exec_text(&in_stopped, "echo on").await, "on");
    assert_eq!(
        node.exec_text(&in_stopped, "ls /proc/self/fd | wc -w").await,
        "4",
        "stdio, and the folder itself"
    );
    node.finish().await;
}

/// A container's grace, and for how long a shim that ought to end it may be silent.
const GRACE_S: i64 = 1;
const STUCK_SHIM_LIMIT: Duration = Duration::from_secs(8);

#[tokio::test]
async fn a_stuck_shim_is_ended_with_its_pod_soon_after_the_grace_of_a_container() {
    let mut node = Node::start().await;
    let pod = node.run_sandbox("stuck", |_| {}).await;
    let id = node.run(&pod, "c", "sleep 1000").await;
    kill_process(shim_pid(&node, &pod), Signal::STOP).expect("it is stopped");
    let began = Instant::now();
    let request = StopContainerRequest { container_id: id.clone(), timeout: GRACE_S };
    node.runtime.stop_container(request).await.expect("it stops");
    let grace = Duration::from_secs(GRACE_S.unsigned_abs());
    let took = began.elapsed();
    assert!(took >= grace && took <= grace + STUCK_SHIM_LIMIT, "{took:?}");
    assert_eq!(node.status(&id).await.exit_code, 137);
    wait_not_ready(&mut node, &pod).await;
    let left = members(&node);
    assert!(left.is_empty(), "{left:?} are left");
    node.finish().await;
}

#[tokio::test]
async fn a_sandbox_with_a_stuck_shim_stops() {
    let mut node = Node::start().await;
    let pod = node.run_sandbox("stuck", |_| {}).await;
    let id = node.run(&pod, "c", "sleep 1000").await;
    kill_process(shim_pid(&node, &pod), Signal::STOP).expect("it is stopped");
    let began = Instant::now();
    let request = StopPodSandboxRequest { pod_sandbox_id: pod.clone() };
    node.runtime.stop_pod_sandbox(request).await.expect("it stops");
    assert!(began.elapsed() <= STUCK_SHIM_LIMIT, "{:?}", began.elapsed());
    assert_eq!(node.status(&id).await.exit_code, 137);
    let left = members(&node);
    assert!(left.is_empty(), "{left:?} are left");
    node.finish().await;
}
