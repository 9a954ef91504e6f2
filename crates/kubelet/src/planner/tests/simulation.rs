//! A pod and a runtime made of plain values, with a transcript of what the planner says.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodSpec, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use crate::allocation::{Allocation, PendingResize};
use crate::cri_view::{Exit, PodRuntime, Record, Run, Sandbox};
use crate::executor::Outcome;
use crate::planner::{
    Action, ActionKey, Desired, Failure, Observed, Plan, ProbeKind, Verdict, current_round, plan,
};
use crate::seams::ResolvedImage;
use crate::worker::memory;

pub struct Simulation {
    pod: Pod,
    pending_resize: Option<PendingResize>,
    seen: Observed,
    now: Timestamp,
    start: Timestamp,
    made: u32,
    fail: Option<(String, Failure)>,
    /// The container whose hook is under way, or will be once it runs.
    hook: Option<String>,
    /// What a container that is asked to end exits with.
    exits_with: i32,
    last: Plan,
    /// Actions that were begun and have not ended.
    pending: Vec<Action>,
    transcript: String,
}

impl Simulation {
    pub fn new(spec: Value) -> Self {
        let pod = json!({
            "metadata": {"name": "web", "namespace": "ns", "uid": "u1", "generation": 1},
            "spec": spec,
            "status": {"phase": "Pending"}
        });
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().expect("a time");
        Self {
            pod: serde_json::from_value(pod).expect("a pod"),
            pending_resize: None,
            seen: Observed { started_at: Some(start), ..Observed::default() },
            now: start,
            start,
            made: 0,
            fail: None,
            hook: None,
            exits_with: 137,
            last: Plan::default(),
            pending: Vec::new(),
            transcript: String::new(),
        }
    }

    fn want(&self) -> Desired {
        let want = Desired::new(Arc::new(self.pod.clone()), false, vec!["192.0.2.1".into()], "knarr".into());
        Desired { pending_resize: self.pending_resize.clone(), ..want }
    }

    /// What the node grants the containers from now on.
    pub fn grant(&mut self, change: impl FnOnce(&mut PodSpec)) {
        self.change(change);
        self.pending_resize = None;
        self.pod.metadata.generation = self.pod.metadata.generation.map(|generation| generation + 1);
    }

    /// The specification asks for something that the node does not grant.
    pub fn refuse(&mut self, message: &str, asked: impl FnOnce(&mut PodSpec)) {
        let mut pod = self.pod.clone();
        asked(pod.spec.as_mut().expect("the pod has a specification"));
        let asked = Allocation::asked(&pod);
        self.pending_resize = Some(PendingResize { infeasible: false, message: message.to_owned(), asked });
        self.pod.metadata.generation = self.pod.metadata.generation.map(|generation| generation + 1);
    }

    /// Plans and carries everything out, round by round, until nothing is left to do.
    pub fn settle(&mut self, what: &str) {
        self.headline(what);
        for _ in 0..20 {
            let plan = self.look();
            let done = plan.actions.is_empty();
            for action in plan.actions {
                self.carry_out(action);
            }
            if done {
                self.describe();
                return;
            }
        }
        panic!("the plan does not settle:\n{}", self.transcript);
    }

    /// Plans once, without carrying anything out.
    pub fn plan_only(&mut self, what: &str) {
        self.headline(what);
        self.look();
    }

    fn headline(&mut self, what: &str) {
        let at = self.now.duration_since(self.start).as_secs();
        writeln!(self.transcript, "== {at}s: {what}").expect("a string grows");
    }

    fn look(&mut self) -> Plan {
        let earlier = self.seen.runtime.clone();
        self.seen.runtime.know_attempts(&earlier);
        let plan = plan(&self.want(), &self.seen, self.now);
        for notice in &plan.notices {
            if !self.last.notices.contains(notice) {
                let about = notice.container.as_deref().unwrap_or("pod");
                writeln!(self.transcript, "event {about}: {} {}", notice.reason, notice.message)
                    .expect("grows");
            }
        }
        if !plan.actions.is_empty() {
            let names: Vec<_> = plan.actions.iter().map(|a| format!("{a:?}")).collect();
            writeln!(self.transcript, "do    {}", names.join("\n      ")).expect("grows");
        }
        if plan.ending {
            self.seen.ending_since.get_or_insert(self.now);
        }
        self.pod.status = Some(plan.status.clone());
        self.last = plan.clone();
        plan
    }

    pub fn describe(&mut self) {
        let status = self.last.status.clone();
        let mut line = format!("phase {}", status.phase.as_deref().unwrap_or("-"));
        if let Some(reason) = &status.reason {
            write!(line, " ({reason})").expect("grows");
        }
        let holds = |c: &&k8s_openapi::api::core::v1::PodCondition| c.status == "True";
        let conditions = status.conditions.iter().flatten().filter(holds).map(|c| c.type_.as_str());
        writeln!(self.transcript, "{line}, true: {}", conditions.collect::<Vec<_>>().join(" "))
            .expect("grows");
        for container in containers(&status) {
            writeln!(self.transcript, "      {}", describe_container(container)).expect("grows");
        }
        if !self.last.probes.is_empty() {
            let probes: Vec<_> = self.last.probes.iter().map(|p| format!("{:?}", p.kind)).collect();
            writeln!(self.transcript, "probe {}", probes.join(" ")).expect("grows");
        }
        if let Some(wake) = self.last.wake {
            let wait = wake.duration_since(self.now).as_secs();
            writeln!(self.transcript, "wake  in {wait}s").expect("grows");
        }
        if self.last.done {
            writeln!(self.transcript, "done").expect("grows");
        }
    }

    fn carry_out(&mut self, action: Action) {
        if matches!(action, Action::StartContainer { .. }) {
            self.seen.begun_round = current_round(&self.want(), &self.seen);
        }
        self.seen.in_flight.insert(action.key());
        let outcome = match self.planned_failure(&action) {
            Some(failure) => Outcome::Failed(failure),
            None => self.succeed(&action),
        };
        if matches!(&action, Action::StartContainer { container, .. } if self.hook.as_ref() == Some(container))
        {
            return;
        }
        memory::remember(&mut self.seen, &action, outcome, self.now);
    }

    fn planned_failure(&mut self, action: &Action) -> Option<Failure> {
        let which = self.fail.as_ref()?.0.clone();
        match (action.key(), which.as_str()) {
            (ActionKey::Image(_), "image")
            | (ActionKey::Start(_), "start")
            | (ActionKey::Resize, "resize") => {}
            // The container is made and cannot run.
            (ActionKey::Start(name), "run") => {
                self.succeed(action);
                self.end(&self.id_of(&name), 128);
            }
            _ => return None,
        }
        self.fail.take().map(|(_, failure)| failure)
    }

    fn succeed(&mut self, action: &Action) -> Outcome {
        let runtime = &mut self.seen.runtime;
        match action {
            Action::CreateSandbox { attempt, replaces } => {
                runtime
                    .sandboxes
                    .iter_mut()
                    .filter(|s| replaces.contains(&s.id))
                    .for_each(|s| s.ready = false);
                self.made += 1;
                runtime.sandboxes.push(Sandbox {
                    id: format!("s{}", self.made),
                    attempt: *attempt,
                    created_at: self.now,
                    ready: true,
                    ips: vec![format!("10.0.0.{}", self.made)],
                    resources: crate::resources::whole_text(&self.pod),
                });
            }
            Action::StopSandbox { id } => {
                runtime.sandboxes.iter_mut().filter(|s| &s.id == id).for_each(|s| s.ready = false);
            }
            Action::RemoveSandbox { id } => runtime.sandboxes.retain(|s| &s.id != id),
            Action::RemoveContainer { id } => runtime.containers.retain(|c| &c.id != id),
            Action::EnsureImage { container, attempt } => {
                let image = ResolvedImage { image_ref: "sha256:1".into(), ..ResolvedImage::default() };
                return Outcome::Image { container: container.clone(), attempt: *attempt, image };
            }
            Action::StartContainer { container, sandbox_id, attempt, backoff } => {
                if let Some(backoff) = backoff {
                    self.seen.crashes.insert(container.clone(), *backoff);
                }
                self.made += 1;
                let record = self.record(container, sandbox_id, *attempt);
                self.seen.runtime.containers.push(record);
            }
            Action::StopContainer { id, .. } => self.end(&id.clone(), self.exits_with),
            Action::RestartContainer { id, .. } => {
                self.seen.to_restart.insert(id.clone());
                self.end(&id.clone(), self.exits_with);
            }
            Action::MountVolumes
            | Action::UnmountVolumes
            | Action::Resize { .. }
            | Action::Release { .. }
            | Action::DeleteObject => {}
        }
        self.seen.runtime.sort();
        Outcome::Done
    }

    fn record(&self, name: &str, sandbox_id: &str, attempt: u32) -> Record {
        Record {
            id: format!("c{}", self.made),
            sandbox_id: sandbox_id.to_owned(),
            name: name.to_owned(),
            attempt,
            created_at: self.now,
            started_at: Some(self.now),
            run: Run::Running,
            image: "image:1".into(),
            image_id: "sha256:1".into(),
            hash: String::new(),
            resources: self.want().member(name).map(|m| m.resources.clone()).unwrap_or_default(),
            round: current_round(&self.want(), &self.seen),
            log_path: String::new(),
            user: None,
        }
    }

    fn end(&mut self, id: &str, code: i32) {
        let now = self.now;
        let reason = if code == 0 { "Completed" } else { "Error" };
        let exit = Exit { code, reason: reason.into(), message: String::new(), finished_at: now };
        let running = self.seen.runtime.containers.iter_mut().find(|c| c.id == id && c.is_running());
        if let Some(record) = running {
            record.run = Run::Exited(exit);
        }
    }

    fn id_of(&self, name: &str) -> String {
        self.seen.runtime.latest(name).expect("the container ran").id.clone()
    }

    pub fn exit(&mut self, name: &str, code: i32) {
        self.end(&self.id_of(name), code);
    }

    pub fn kill_sandbox(&mut self) {
        let ids: Vec<_> = self.seen.runtime.containers.iter().map(|c| c.id.clone()).collect();
        ids.iter().for_each(|id| self.end(id, 137));
        self.seen.runtime.sandboxes.iter_mut().for_each(|s| s.ready = false);
    }

    pub fn advance(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
    }

    pub fn waits(&self) -> bool {
        self.last.wake.is_some()
    }

    pub fn run_to_wake(&mut self) {
        self.now = self.last.wake.expect("the planner wants to look again");
    }

    pub fn delete(&mut self, grace_s: i64) {
        self.pod.metadata.deletion_timestamp = Some(Time(self.now));
        self.pod.metadata.deletion_grace_period_seconds = Some(grace_s);
    }

    pub fn hold_stop(&mut self, name: &str, grace_s: i64) {
        let id = self.id_of(name);
        self.seen.in_flight.insert(ActionKey::Stop(id.clone()));
        self.seen.stopping.insert(id, grace_s);
    }

    pub fn change(&mut self, change: impl FnOnce(&mut PodSpec)) {
        change(self.pod.spec.as_mut().expect("the pod has a specification"));
    }

    pub fn exits_when_asked(&mut self, code: i32) {
        self.exits_with = code;
    }

    /// The image of the container is being pulled, and goes on being so.
    pub fn hold_image(&mut self, name: &str) {
        self.seen.in_flight.insert(ActionKey::Image(name.to_owned()));
    }

    /// The container's start is under way: it runs, and nobody has been told yet.
    pub fn hold_start(&mut self, name: &str) {
        self.seen.in_flight.insert(ActionKey::Start(name.to_owned()));
    }

    /// The newest record of a container is removed.
    pub fn lose_record(&mut self, name: &str) {
        let id = self.id_of(name);
        self.seen.runtime.containers.retain(|record| record.id != id);
    }

    /// The start that was under way is done.
    pub fn end_start(&mut self, name: &str) {
        let sandbox_id = self.seen.runtime.sandboxes[0].id.clone();
        let container = name.to_owned();
        let start = Action::StartContainer { container, sandbox_id, attempt: 0, backoff: None };
        let outcome = self.succeed(&start);
        memory::remember(&mut self.seen, &start, outcome, self.now);
    }

    /// Plans, says what the status is, and carries nothing out.
    pub fn look_at_status(&mut self, what: &str) {
        self.headline(what);
        self.look();
        self.describe();
    }

    pub fn hold_hook(&mut self, name: &str) {
        self.hook = Some(name.to_owned());
    }

    pub fn end_hook(&mut self, name: &str) {
        self.hook = None;
        self.seen.in_flight.remove(&ActionKey::Start(name.to_owned()));
    }

    pub fn sandbox_seen_early(&mut self) {
        self.succeed(&Action::CreateSandbox { attempt: 0, replaces: Vec::new() });
        self.seen.in_flight.insert(ActionKey::NewSandbox);
    }

    pub fn fail_next(&mut self, kind: &str, reason: &str, message: &str) {
        let failure = Failure { reason: reason.to_owned(), message: message.to_owned() };
        self.fail = Some((kind.to_owned(), failure));
    }

    pub fn verdict(&mut self, name: &str, kind: ProbeKind, verdict: Verdict) {
        let id = self.id_of(name);
        self.seen.probes.insert((id, kind), verdict);
    }

    pub fn restart_agent(&mut self) {
        let runtime = std::mem::take(&mut self.seen.runtime);
        self.seen = Observed { runtime, started_at: self.seen.started_at, ..Observed::default() };
        let want = self.want();
        memory::adopt(&mut self.seen, &want);
    }

    /// The pod was here a moment ago.
    pub fn was_here(&mut self, name: &str, attempt: u32) {
        self.seen.former.insert(name.to_owned(), attempt);
    }

    /// The machine starts anew: nothing the runtime knew is left.
    pub fn reboot(&mut self) {
        self.seen.runtime = PodRuntime::default();
        self.restart_agent();
    }

    pub fn status(&self) -> PodStatus {
        self.pod.status.clone().unwrap_or_default()
    }

    pub fn transcript(&self) -> &str {
        &self.transcript
    }

    pub fn anything_runs(&self) -> bool {
        self.seen.runtime.containers.iter().any(Record::is_running)
    }

    /// Begins one of the actions of the last plan; a container to be started is made by that, and does not run.
    pub fn begin(&mut self, n: usize) {
        let actions = std::mem::take(&mut self.last.actions);
        let open: Vec<Action> =
            actions.into_iter().filter(|a| !self.seen.in_flight.contains(&a.key())).collect();
        if open.is_empty() {
            return;
        }
        let action = open[n % open.len()].clone();
        self.seen.in_flight.insert(action.key());
        match &action {
            Action::StartContainer { container, sandbox_id, attempt, backoff } => {
                if let Some(backoff) = backoff {
                    self.seen.crashes.insert(container.clone(), *backoff);
                }
                self.made += 1;
                self.seen.begun_round = current_round(&self.want(), &self.seen);
                let record = self.record(container, sandbox_id, *attempt);
                self.seen.runtime.containers.push(Record { run: Run::Created, started_at: None, ..record });
                self.seen.runtime.sort();
            }
            Action::StopContainer { id, grace_s, .. } => {
                self.seen.stopping.insert(id.clone(), *grace_s);
            }
            Action::RestartContainer { id, grace_s, .. } => {
                self.seen.stopping.insert(id.clone(), *grace_s);
                self.seen.to_restart.insert(id.clone());
            }
            _ => {}
        }
        self.pending.push(action);
    }

    /// A container whose start is under way runs.
    pub fn half(&mut self, n: usize) {
        let now = self.now;
        let created = self.seen.runtime.containers.iter_mut().filter(|c| c.run == Run::Created);
        if let Some(record) = created.collect::<Vec<_>>().into_iter().nth(n) {
            (record.run, record.started_at) = (Run::Running, Some(now));
        }
    }

    /// One of the actions that were begun ends.
    pub fn finish(&mut self, n: usize, well: bool) {
        if self.pending.is_empty() {
            return;
        }
        let action = self.pending.remove(n % self.pending.len());
        let now = self.now;
        let outcome = match &action {
            Action::StartContainer { container, attempt, .. } => {
                let containers = &mut self.seen.runtime.containers;
                let made = containers.iter_mut().find(|c| c.name == *container && c.attempt == *attempt);
                if let Some(record) = made.filter(|record| record.run == Run::Created) {
                    record.run = if well {
                        record.started_at = Some(now);
                        Run::Running
                    } else {
                        Run::Exited(Exit {
                            code: 128,
                            reason: "StartError".into(),
                            message: String::new(),
                            finished_at: now,
                        })
                    };
                }
                Outcome::Done
            }
            _ if well => self.succeed(&action),
            _ => Outcome::Done,
        };
        let failure = Failure { reason: "Error".into(), message: "it failed".into() };
        let outcome = if well { outcome } else { Outcome::Failed(failure) };
        memory::remember(&mut self.seen, &action, outcome, now);
    }

    pub fn exit_if_running(&mut self, name: &str, code: i32) {
        if let Some(id) = self.seen.runtime.latest(name).map(|record| record.id.clone()) {
            self.end(&id, code);
        }
    }

    pub fn verdict_if_running(&mut self, name: &str, kind: ProbeKind, verdict: Verdict) {
        let running = self.seen.runtime.latest(name).filter(|record| record.is_running());
        if let Some(id) = running.map(|record| record.id.clone()) {
            self.seen.probes.insert((id, kind), verdict);
        }
    }

    /// The agent restarts at a moment when nothing is under way.
    pub fn restart_idle_agent(&mut self) {
        if self.pending.is_empty() {
            self.restart_agent();
        }
    }

    /// Compares the transcript with the golden one.
    pub fn check(&self, name: &str) {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("src/planner/tests/golden")
            .join(format!("{name}.txt"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, &self.transcript).expect("the golden file can be written");
            return;
        }
        let golden = std::fs::read_to_string(&path).expect("the golden file exists");
        assert!(
            golden == self.transcript,
            "{name} differs from its golden file; it is now:\n{}",
            self.transcript
        );
    }
}

fn containers(status: &PodStatus) -> impl Iterator<Item = &ContainerStatus> {
    status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten())
}

fn describe_container(status: &ContainerStatus) -> String {
    let state = status.state.clone().unwrap_or_default();
    let mut line = status.name.clone();
    if let Some(waiting) = state.waiting {
        let reason = waiting.reason.unwrap_or_default();
        let message = waiting.message.map(|m| format!(": {m}")).unwrap_or_default();
        write!(line, " waiting ({reason}{message})").expect("grows");
    }
    if state.running.is_some() {
        line.push_str(" running");
    }
    if let Some(ended) = state.terminated {
        write!(line, " ended {}", ended.exit_code).expect("grows");
    }
    if let Some(last) = status.last_state.as_ref().and_then(|s| s.terminated.as_ref()) {
        write!(line, ", before ended {}", last.exit_code).expect("grows");
    }
    let flag = |on: bool, name: &str| if on { format!(" {name}") } else { String::new() };
    line + &flag(status.started == Some(true), "started")
        + &flag(status.ready, "ready")
        + &format!(" restarts={}", status.restart_count)
}
