//! Scripts of pods' lives: events in, plans out, compared with golden transcripts.
//!
//! `UPDATE_GOLDEN=1 cargo test -p kubelet` writes the transcripts anew; read the difference before keeping it.

mod monotone;
mod simulation;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::json;

use simulation::Simulation;

#[test]
fn a_pod_comes_up_in_two_rounds_and_goes_away() {
    let mut sim = Simulation::new(json!({"containers": [{"name": "web", "image": "nginx:1"}]}));
    sim.settle("created");
    sim.delete(5);
    sim.settle("deleted with a grace of 5 s");
    sim.check("simple");
}

#[test]
fn init_containers_run_in_order_and_retry() {
    let mut sim = Simulation::new(json!({
        "restartPolicy": "Always",
        "initContainers": [
            {"name": "one", "image": "busybox:1"},
            {"name": "proxy", "image": "proxy:1", "restartPolicy": "Always"},
            {"name": "two", "image": "busybox:1"}
        ],
        "containers": [{"name": "web", "image": "nginx:1"}]
    }));
    sim.settle("created: only the first init container runs");
    sim.exit("one", 1);
    sim.settle("it fails: started again at once, for the first time");
    sim.exit("one", 1);
    sim.settle("it fails again");
    sim.advance(1);
    sim.settle("and backs off");
    sim.advance(9);
    sim.settle("10 s later");
    sim.exit("one", 0);
    sim.settle("it succeeds: the sidecar starts, and when it runs the next init container");
    sim.exit("two", 0);
    sim.settle("the app starts");
    sim.delete(30);
    sim.settle("deleted: the sidecar is stopped last");
    sim.check("init");
}

#[test]
fn an_init_container_that_fails_for_good_fails_the_pod() {
    let mut sim = Simulation::new(json!({
        "restartPolicy": "Never",
        "initContainers": [{"name": "one", "image": "busybox:1"}],
        "containers": [{"name": "web", "image": "nginx:1"}]
    }));
    sim.settle("created");
    sim.exit("one", 7);
    sim.settle("the init container fails");
    sim.check("init_failed");
}

#[test]
fn restarts_back_off_doubling_and_forget_after_ten_minutes() {
    let mut sim = Simulation::new(json!({"containers": [{"name": "c", "image": "a:1"}]}));
    sim.settle("created");
    for _ in 0..4 {
        sim.exit("c", 1);
        sim.settle("exits with 1");
        while sim.waits() {
            sim.run_to_wake();
            sim.settle("when the planner asked to look again");
        }
    }
    sim.advance(601);
    sim.exit("c", 1);
    sim.settle("exits after running for more than 10 minutes: restarted at once");
    sim.check("crash_backoff");
}

#[test]
fn jobs_end_by_their_policy() {
    let mut sim = Simulation::new(json!({
        "restartPolicy": "OnFailure",
        "containers": [{"name": "a", "image": "a:1"}, {"name": "b", "image": "a:1"}]
    }));
    sim.settle("created");
    sim.exit("a", 0);
    sim.settle("a succeeds and stays ended");
    sim.exit("b", 3);
    sim.settle("b fails and is restarted");
    sim.exit("b", 0);
    sim.settle("b succeeds: the pod is done, its sandbox and volumes go");
    sim.check("on_failure");
}

#[test]
fn a_containers_own_rules_come_before_the_pods_policy() {
    let rule = json!({"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}});
    let mut sim = Simulation::new(json!({
        "restartPolicy": "Never",
        "containers": [{"name": "c", "image": "a:1", "restartPolicy": "Never", "restartPolicyRules": [rule]}]
    }));
    sim.settle("created");
    sim.exit("c", 42);
    sim.plan_only("it ends as the rule has it, and goes on");
    sim.settle("restarted");
    sim.exit("c", 1);
    sim.settle("it ends otherwise: the pod has failed");
    sim.check("own_rules");
}

#[test]
fn one_container_has_all_of_its_pod_restart() {
    let rule = json!({"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [42]}});
    let hook = json!({"preStop": {"exec": {"command": ["x"]}}});
    let mut sim = Simulation::new(json!({
        "restartPolicy": "Never",
        "initContainers": [
            {"name": "init", "image": "a:1"},
            {"name": "side", "image": "a:1", "restartPolicy": "Always", "restartPolicyRules": [rule]}
        ],
        "containers": [
            {"name": "source", "image": "a:1", "restartPolicy": "Never", "restartPolicyRules": [rule]},
            {"name": "other", "image": "a:1", "lifecycle": hook},
            {"name": "done", "image": "a:1"}
        ]
    }));
    sim.settle("created");
    sim.exit("init", 0);
    sim.settle("initialized");
    sim.exit("done", 0);
    sim.settle("one has done its work");
    sim.exit("source", 42);
    sim.plan_only("it ends as the rule has it: what runs is ended at once");
    sim.describe();
    sim.settle("the pod begins anew");
    sim.restart_agent();
    sim.settle("the agent finds it so");
    sim.exit("init", 0);
    sim.settle("all have restarted, also the one that was done");
    sim.exit("side", 42);
    sim.settle("a sidecar has the same effect, and not too soon after its own start");
    sim.run_to_wake();
    sim.settle("the pod begins anew again");
    sim.exit("init", 1);
    sim.settle("without such an end the policy counts: the pod has failed");
    sim.check("restart_all");
}

#[test]
fn a_pod_that_is_back_goes_on_counting() {
    let mut sim = Simulation::new(json!({"containers": [{"name": "c", "image": "a:1"}]}));
    sim.was_here("c", 2);
    sim.settle("created anew");
    let restarts = sim.status().container_statuses.map(|all| all[0].restart_count);
    assert_eq!(restarts, Some(3));
}

#[test]
fn a_sidecar_that_ends_with_its_pod_restarts_nothing() {
    let rule = json!({"action": "RestartAllContainers", "exitCodes": {"operator": "NotIn", "values": [0]}});
    let mut sim = Simulation::new(json!({
        "restartPolicy": "Never",
        "initContainers": [
            {"name": "side", "image": "a:1", "restartPolicy": "Always", "restartPolicyRules": [rule]}
        ],
        "containers": [{"name": "job", "image": "a:1"}]
    }));
    sim.settle("created");
    sim.exit("job", 0);
    sim.plan_only("the work is done, and the sidecar is asked to end");
    sim.advance(1);
    sim.settle("the sidecar ends by a signal, which its rule names, and the pod has succeeded");
    sim.restart_agent();
    sim.settle("the agent finds it so");
    sim.check("restart_all_done");
}

#[test]
fn a_container_whose_start_was_under_way_restarts_with_the_others() {
    let rule = json!({"action": "RestartAllContainers", "exitCodes": {"operator": "NotIn", "values": [0]}});
    let mut sim = Simulation::new(json!({
        "containers": [
            {"name": "source", "image": "a:1", "restartPolicy": "Never", "restartPolicyRules": [rule]},
            {"name": "slow", "image": "a:1"}
        ]
    }));
    sim.settle("created");
    sim.hold_start("slow");
    sim.exit("source", 1);
    sim.settle("what starts is ended, and nothing else begins meanwhile");
    sim.end_start("slow");
    sim.settle("both have restarted once, and the other's end by a signal restarts nothing");
    sim.check("restart_all_starting");
}

/// Gives a container a request and a limit of processor time (thousandths) and memory (bytes).
fn give(container: &mut Container, cpu_milli: u32, memory_bytes: u32) {
    let amounts = [("cpu", format!("{cpu_milli}m")), ("memory", memory_bytes.to_string())];
    let list = amounts.into_iter().map(|(name, amount)| (name.to_owned(), Quantity(amount)));
    let list: BTreeMap<_, _> = list.collect();
    container.resources = Some(ResourceRequirements {
        requests: Some(list.clone()),
        limits: Some(list),
        ..ResourceRequirements::default()
    });
}

#[test]
fn resources_change_while_containers_run() {
    let mut sim = Simulation::new(json!({"containers": [
        {"name": "a", "image": "a:1"}, {"name": "b", "image": "a:1"}
    ]}));
    sim.change(|spec| spec.containers.iter_mut().for_each(|c| give(c, 100, 1000)));
    sim.settle("created");
    sim.grant(|spec| {
        give(&mut spec.containers[0], 200, 1000);
        give(&mut spec.containers[1], 100, 500);
    });
    sim.settle("one gets more processor time, one less memory");
    sim.fail_next(
        "resize",
        "",
        "attempting to set container \"b\" memory limit (400) below current usage (450)",
    );
    sim.grant(|spec| give(&mut spec.containers[1], 100, 400));
    sim.settle("memory in use cannot be taken");
    sim.run_to_wake();
    sim.settle("tried again");
    sim.refuse("Node didn't have enough resource: cpu", |spec| give(&mut spec.containers[0], 900, 1000));
    sim.settle("there is no room for more");
    sim.check("resize");
}

#[test]
fn what_a_pod_has_as_a_whole_changes_while_it_runs() {
    let mut sim = Simulation::new(json!({"containers": [
        {"name": "own", "image": "a:1"},
        {"name": "free", "image": "a:1"},
        {"name": "anew", "image": "a:1", "resizePolicy": [{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]},
    ]}));
    let whole = |cpu: &str, memory: &str| {
        let amounts = json!({"cpu": cpu, "memory": memory});
        let whole = json!({"requests": amounts, "limits": amounts});
        Some(serde_json::from_value(whole).expect("resources"))
    };
    sim.change(|spec| {
        give(&mut spec.containers[0], 100, 1000);
        spec.resources = whole("500m", "4k");
    });
    sim.settle("created");
    sim.grant(|spec| spec.resources = whole("500m", "5k"));
    sim.settle("those without a limit of their own have the pod's");
    sim.grant(|spec| spec.resources = whole("300m", "5k"));
    sim.settle("where its policy says so, a container is made anew for the pod's sake");
    sim.fail_next("resize", "", "attempting to set pod memory limit (10) below current usage (450)");
    sim.grant(|spec| spec.resources = whole("300m", "10"));
    sim.settle("memory in use cannot be taken");
    sim.check("resize_whole");
}

#[test]
fn a_container_is_made_anew_where_its_policy_says_so() {
    let mut sim = Simulation::new(json!({"restartPolicy": "OnFailure", "containers": [{
        "name": "c", "image": "a:1",
        "resizePolicy": [{"resourceName": "memory", "restartPolicy": "RestartContainer"}],
    }]}));
    sim.change(|spec| give(&mut spec.containers[0], 100, 1000));
    sim.settle("created");
    sim.grant(|spec| give(&mut spec.containers[0], 200, 1000));
    sim.settle("processor time can be given while it runs");
    sim.exits_when_asked(0);
    sim.grant(|spec| give(&mut spec.containers[0], 200, 2000));
    sim.settle("memory cannot, and that it ends well does not end the pod");
    sim.grant(|spec| give(&mut spec.containers[0], 200, 500));
    sim.settle("the pod's room shrinks when the container has ended");
    sim.grant(|spec| give(&mut spec.containers[0], 200, 300));
    sim.hold_stop("c", 30);
    sim.plan_only("and not while the container is being stopped");
    sim.check("resize_restart");
}

#[test]
fn a_sidecar_ends_with_the_job() {
    let mut sim = Simulation::new(json!({
        "restartPolicy": "Never",
        "initContainers": [{"name": "proxy", "image": "p:1", "restartPolicy": "Always"}],
        "containers": [{"name": "job", "image": "a:1"}]
    }));
    sim.settle("created");
    sim.exit("job", 0);
    sim.settle("the job ends");
    sim.check("sidecar_job");
}

#[test]
fn a_dead_sandbox_is_replaced_and_init_runs_again() {
    let mut sim = Simulation::new(json!({
        "initContainers": [{"name": "one", "image": "busybox:1"}],
        "containers": [{"name": "web", "image": "nginx:1"}]
    }));
    sim.settle("created");
    sim.exit("one", 0);
    sim.settle("running");
    sim.kill_sandbox();
    sim.settle("the pause process dies, and all with it");
    sim.exit("one", 0);
    sim.settle("initialized again");
    sim.check("sandbox_changed");
}

#[test]
fn failed_pulls_and_starts_wait() {
    let mut sim = Simulation::new(json!({"containers": [{"name": "c", "image": "nosuch:1"}]}));
    sim.fail_next("image", "ErrImagePull", "rpc error: code = NotFound desc = no such image");
    sim.settle("the pull fails");
    sim.advance(4);
    sim.settle("the error turns into a back-off");
    sim.fail_next("start", "CreateContainerConfigError", "configmap \"x\" not found");
    sim.run_to_wake();
    sim.settle("the image comes, the configuration is missing");
    sim.run_to_wake();
    sim.settle("the configuration is there");
    sim.check("setbacks");
}

#[test]
fn a_start_that_fails_shows_as_an_error_and_then_backs_off() {
    let mut sim = Simulation::new(json!({"containers": [{"name": "c", "image": "a:1"}]}));
    for round in ["the first start fails", "so does the restart"] {
        sim.fail_next("run", "RunContainerError", "exec: not found");
        sim.settle(round);
        sim.run_to_wake();
    }
    sim.settle("the error turns into a back-off");
    sim.run_to_wake();
    sim.settle("which ends after 10 s");
    sim.check("start_failed");
}

#[test]
fn a_post_start_hook_holds_the_next_containers_back() {
    let hook = json!({"postStart": {"exec": {"command": ["wait"]}}});
    let mut sim = Simulation::new(json!({"containers": [
        {"name": "proxy", "image": "a:1", "lifecycle": hook}, {"name": "app", "image": "a:1"}
    ]}));
    sim.hold_hook("proxy");
    sim.settle("the proxy runs, its hook does not end");
    sim.end_hook("proxy");
    sim.settle("the hook is done");
    sim.check("post_start");
}

#[test]
fn probes_decide_started_ready_and_restarts() {
    let probe = json!({"tcpSocket": {"port": 80}});
    let mut sim = Simulation::new(json!({"containers": [{
        "name": "c", "image": "a:1",
        "startupProbe": probe, "livenessProbe": probe, "readinessProbe": probe
    }]}));
    sim.settle("only the startup probe runs");
    sim.verdict("c", super::ProbeKind::Startup, super::Verdict::Success);
    sim.settle("started");
    sim.verdict("c", super::ProbeKind::Readiness, super::Verdict::Success);
    sim.settle("ready");
    sim.verdict("c", super::ProbeKind::Liveness, super::Verdict::Failure);
    sim.plan_only("liveness failed: it is not probed while it is stopped");
    sim.settle("dead");
    sim.check("probes");
}

#[test]
fn a_deadline_fails_the_pod() {
    let mut sim = Simulation::new(json!({
        "activeDeadlineSeconds": 60,
        "containers": [{"name": "c", "image": "a:1"}]
    }));
    sim.settle("created");
    sim.run_to_wake();
    sim.settle("the deadline passes");
    sim.check("deadline");
}

#[test]
fn a_deadline_stays_the_reason_whatever_the_containers_make_of_it() {
    let mut sim = Simulation::new(json!({
        "activeDeadlineSeconds": 2,
        "restartPolicy": "Never",
        "containers": [{"name": "c", "image": "a:1"}]
    }));
    sim.exits_when_asked(0);
    sim.settle("created");
    sim.run_to_wake();
    sim.settle("the deadline passes, and the process ends well");
    sim.check("deadline_exit_0");

    let mut sim = Simulation::new(json!({
        "activeDeadlineSeconds": 2,
        "restartPolicy": "Never",
        "containers": [{"name": "c", "image": "a:1"}]
    }));
    sim.settle("created");
    sim.advance(1);
    sim.exit("c", 0);
    sim.settle("it ends by itself");
    sim.advance(2);
    sim.settle("the deadline passes afterwards");
    sim.check("deadline_in_time");

    let mut sim = Simulation::new(json!({
        "activeDeadlineSeconds": 2,
        "restartPolicy": "Never",
        "containers": [{"name": "c", "image": "a:1"}]
    }));
    sim.settle("created");
    sim.run_to_wake();
    sim.plan_only("the deadline passes");
    sim.advance(1);
    sim.exit("c", 0);
    sim.restart_agent();
    sim.settle("the agent restarts while the process ends");
    sim.check("deadline_restart");

    let mut sim = Simulation::new(json!({
        "activeDeadlineSeconds": 2,
        "containers": [{"name": "c", "image": "a:1"}]
    }));
    sim.exits_when_asked(0);
    sim.settle("created");
    sim.run_to_wake();
    sim.plan_only("the deadline passes");
    sim.delete(30);
    sim.settle("deleted while it ends");
    sim.check("deadline_deleted");
}

#[test]
fn a_deadline_before_the_image_came_lists_every_container() {
    let mut sim = Simulation::new(json!({
        "activeDeadlineSeconds": 2,
        "initContainers": [{"name": "i", "image": "a:1"}, {"name": "j", "image": "a:1"}],
        "containers": [{"name": "c", "image": "a:1"}]
    }));
    sim.hold_image("i");
    sim.settle("created, the image does not come");
    sim.run_to_wake();
    sim.settle("the deadline passes");
    sim.check("deadline_before_image");

    let mut sim = Simulation::new(json!({
        "activeDeadlineSeconds": 2,
        "containers": [{"name": "c", "image": "a:1"}]
    }));
    sim.hold_image("c");
    sim.settle("created, the image does not come");
    sim.run_to_wake();
    sim.settle("the deadline passes");
    sim.check("deadline_before_only_image");
}

#[test]
fn a_pod_deleted_while_it_starts_has_no_final_phase_before_its_end() {
    let mut sim = Simulation::new(json!({"containers": [{"name": "c", "image": "a:1"}]}));
    sim.hold_start("c");
    sim.settle("created, the start is under way");
    sim.delete(30);
    sim.look_at_status("deleted: nothing runs yet, as far as can be seen");
    sim.end_start("c");
    sim.look_at_status("the start is done: it is stopped");
    sim.settle("it has ended");
    sim.check("deleted_while_starting");
}

#[test]
fn a_record_that_is_gone_does_not_bring_an_older_one_back() {
    let mut sim = Simulation::new(json!({"containers": [{"name": "c", "image": "a:1"}]}));
    sim.settle("created");
    sim.exit("c", 1);
    sim.settle("restarted");
    sim.delete(30);
    sim.look_at_status("deleted");
    sim.exit("c", 0);
    sim.lose_record("c");
    sim.look_at_status("of its two attempts the newer one is removed first");
    sim.check("newest_record_gone");
}

#[test]
fn a_sidecar_that_still_runs_keeps_a_failed_pod_from_its_final_phase() {
    let mut sim = Simulation::new(json!({
        "restartPolicy": "Never",
        "initContainers": [
            {"name": "proxy", "image": "p:1", "restartPolicy": "Always"},
            {"name": "i", "image": "a:1"}
        ],
        "containers": [{"name": "c", "image": "a:1"}]
    }));
    sim.settle("created");
    sim.exit("i", 1);
    sim.look_at_status("the init container fails for good: the sidecar still runs");
    sim.settle("it is stopped");
    sim.check("failed_init_sidecar");
}

#[test]
fn a_shorter_grace_overtakes_a_stop_under_way() {
    let mut sim = Simulation::new(json!({"containers": [{"name": "c", "image": "a:1"}]}));
    sim.settle("created");
    sim.delete(30);
    sim.plan_only("deleted with 30 s");
    sim.hold_stop("c", 30);
    sim.plan_only("the stop is under way");
    sim.delete(0);
    sim.plan_only("deleted again by force");
    sim.check("shorter_grace");
}

#[test]
fn an_adopted_pod_is_left_alone() {
    let mut sim = Simulation::new(json!({"containers": [{"name": "c", "image": "a:1"}]}));
    sim.settle("created");
    sim.restart_agent();
    sim.settle("the agent restarts: volumes are looked at, nothing else happens");
    sim.check("adopted");
}

#[test]
fn a_reboot_counts_as_a_restart() {
    let mut sim = Simulation::new(json!({
        "initContainers": [{"name": "i", "image": "a:1"}],
        "containers": [{"name": "c", "image": "a:1"}]
    }));
    sim.settle("created");
    sim.exit("i", 0);
    sim.settle("initialized");
    sim.reboot();
    sim.plan_only("the machine starts anew");
    sim.settle("init containers run again");
    sim.exit("i", 0);
    sim.settle("initialized again");
    sim.check("reboot");
}

#[test]
fn nothing_starts_in_a_sandbox_that_is_still_being_made() {
    let mut sim = Simulation::new(json!({"containers": [{"name": "c", "image": "a:1"}]}));
    sim.sandbox_seen_early();
    sim.settle("the runtime shows the sandbox before its making has ended");
    sim.check("sandbox_early");
}
