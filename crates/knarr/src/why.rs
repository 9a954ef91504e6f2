//! Why a pod is as it is, in sentences: from its object, its events and the scheduler's rules. Pure.

use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod};
use scheduler::why::{Explanation, Refusal};
use serde::Serialize;

/// The scheduler that knarr runs.
const OWN_SCHEDULER: &str = "default-scheduler";
/// How many warnings are shown: the newest.
const WARNINGS: usize = 3;

/// The answer to `knarr why`.
#[derive(Debug, Default, PartialEq, Serialize)]
pub struct Account {
    /// What it is about: `pod NAMESPACE/NAME`.
    pub about: String,
    /// How it is, in a sentence.
    pub summary: String,
    /// The causes, one sentence each.
    pub causes: Vec<String>,
    /// The smallest change that would help, where one is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

impl Account {
    /// The account for a terminal.
    pub fn text(&self) -> String {
        let mut text = format!("{} {}\n", self.about, self.summary);
        for cause in &self.causes {
            text.push_str(&format!("  {}\n", printable(cause)));
        }
        if let Some(help) = &self.help {
            text.push_str(&format!("What would help: {help}.\n"));
        }
        text
    }
}

/// What containers and others say, without what would move a terminal's cursor or begin a line.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() })
        .collect()
}

/// The account of a pod. `explain` says why it has no node, and is asked only of a pod that waits for one.
pub fn of_pod(pod: &Pod, events: &[Event], explain: impl FnOnce() -> Explanation) -> Account {
    let meta = &pod.metadata;
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let about = format!("pod {}/{}", text(&meta.namespace), text(&meta.name));
    let mut account = if meta.deletion_timestamp.is_some() {
        deleted(pod)
    } else if pods::is_terminal(pod) {
        ended(pod)
    } else if pods::node_name(pod).is_empty() {
        waiting(pod, explain)
    } else {
        placed(pod)
    };
    account.about = about;
    if !pods::is_ready(pod) && !pods::node_name(pod).is_empty() {
        account.causes.extend(warnings(events));
    }
    account
}

fn said(summary: String) -> Account {
    Account { summary, ..Account::default() }
}

fn deleted(pod: &Pod) -> Account {
    let since = pod.metadata.deletion_timestamp.as_ref().map(|time| time.0.to_string()).unwrap_or_default();
    let mut account = said(format!("is being deleted; its time to end is {since}"));
    let finalizers = pod.metadata.finalizers.iter().flatten();
    account.causes.extend(finalizers.map(|name| format!("the finalizer {name} is still there")));
    if let Some(first) = pod.metadata.finalizers.iter().flatten().next() {
        account.help = Some(format!("whoever set the finalizer {first} has to remove it"));
    }
    let running = statuses(pod).filter(|s| s.state.as_ref().is_some_and(|state| state.running.is_some()));
    account.causes.extend(running.map(|s| format!("container {} has not ended yet", s.name)));
    account
}

fn ended(pod: &Pod) -> Account {
    let status = pod.status.clone().unwrap_or_default();
    let why = [status.reason, status.message].into_iter().flatten().collect::<Vec<_>>().join(": ");
    let phase = pods::phase(pod);
    let mut account = said(match why.is_empty() {
        true => format!("has ended: {phase}"),
        false => format!("has ended: {phase}, {why}"),
    });
    account.causes.extend(statuses(pod).filter_map(|status| {
        let ended = status.state.as_ref()?.terminated.as_ref()?;
        Some(format!("container {} ended {}", status.name, exit(ended)))
    }));
    account
}

/// `with exit code 1 (Error): message`.
fn exit(ended: &k8s_openapi::api::core::v1::ContainerStateTerminated) -> String {
    let reason = ended.reason.as_deref().filter(|reason| !reason.is_empty());
    let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    let message = ended.message.as_deref().map(str::trim).filter(|message| !message.is_empty());
    let message = message.map(|message| format!(": {message}")).unwrap_or_default();
    format!("with exit code {}{reason}{message}", ended.exit_code)
}

fn waiting(pod: &Pod, explain: impl FnOnce() -> Explanation) -> Account {
    let spec = pod.spec.clone().unwrap_or_default();
    let gates = spec.scheduling_gates.unwrap_or_default();
    if let Some(first) = gates.first() {
        let mut account = said("waits: it is held back by scheduling gates".to_owned());
        account.causes = gates.iter().map(|gate| format!("gate {}", gate.name)).collect();
        account.help = Some(format!("whoever set the gate {} has to remove it", first.name));
        return account;
    }
    if let Some(other) = spec.scheduler_name.filter(|name| name != OWN_SCHEDULER) {
        let mut account = said(format!("waits for the scheduler {other:?}, which is not knarr's"));
        account.help = Some(format!("run a scheduler of that name, or set schedulerName to {OWN_SCHEDULER}"));
        return account;
    }
    let found = explain();
    if let Some(why) = found.nowhere {
        return Account { causes: vec![why], ..said("waits: no node is looked at".to_owned()) };
    }
    if !found.takers.is_empty() {
        let mut account =
            said("waits, and there is a node for it: it is bound as soon as it is its turn".to_owned());
        account.causes = found.takers.iter().map(|node| format!("node {node} takes it")).collect();
        return account;
    }
    let mut account = said(format!("waits: none of {} nodes takes it", found.refusals.len()));
    account.causes = found.refusals.iter().map(refusal).collect();
    account.help = match (found.best(), &found.size) {
        (Some(best), _) => Some(remedy(best)),
        (None, Some(size)) => Some(format!("a node with this much free: {size}")),
        (None, None) => None,
    };
    account
}

fn refusal(refusal: &Refusal) -> String {
    let detail = match refusal.detail.is_empty() {
        true => String::new(),
        false => format!(" ({})", refusal.detail),
    };
    format!("node {}: {}{detail}", refusal.node, refusal.reasons.join(", "))
}

fn remedy(best: &Refusal) -> String {
    let changes = best.remedy.iter().flatten().map(ToString::to_string);
    format!("{}; then node {} takes it", changes.collect::<Vec<_>>().join(", and "), best.node)
}

fn placed(pod: &Pod) -> Account {
    let (node, phase) = (pods::node_name(pod), pods::phase(pod));
    if pods::is_ready(pod) {
        return said(format!("runs on node {node} and is ready"));
    }
    let mut account = said(format!("is on node {node}, {phase} and not ready"));
    account.causes.extend(statuses(pod).flat_map(container));
    let conditions = pod.status.iter().flat_map(|s| s.conditions.iter().flatten());
    let gates = pod.spec.iter().flat_map(|spec| spec.readiness_gates.iter().flatten());
    for gate in gates {
        let holds = conditions.clone().any(|c| c.type_ == gate.condition_type && c.status == "True");
        if !holds {
            account.causes.push(format!("the readiness gate {} is not True", gate.condition_type));
        }
    }
    account
}

fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.iter();
    status.flat_map(|s| {
        let first = s.init_container_statuses.iter().flatten();
        first.chain(s.container_statuses.iter().flatten())
    })
}

/// What keeps a container from being ready.
fn container(status: &ContainerStatus) -> Vec<String> {
    let (name, state) = (&status.name, status.state.clone().unwrap_or_default());
    let mut causes = Vec::new();
    if let Some(waiting) = state.waiting {
        let (reason, message) = (waiting.reason.unwrap_or_default(), waiting.message.unwrap_or_default());
        causes.push(match message.is_empty() {
            true => format!("container {name} waits: {reason}"),
            false => format!("container {name} waits: {reason}: {message}"),
        });
    } else if state.running.is_some() && !status.ready {
        causes.push(match status.started {
            Some(true) => format!("container {name} runs, and its readiness probe has not succeeded"),
            _ => format!("container {name} runs and has not started up yet"),
        });
    } else if let Some(ended) = state.terminated.filter(|ended| ended.exit_code != 0) {
        causes.push(format!("container {name} ended {}", exit(&ended)));
    }
    let last = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    if let Some(last) = last.filter(|_| !causes.is_empty()) {
        let times = status.restart_count;
        causes
            .push(format!("container {name} was started again {times} times; it last ended {}", exit(last)));
    }
    causes
}

/// The newest warnings.
fn warnings(events: &[Event]) -> Vec<String> {
    let mut found: Vec<&Event> =
        events.iter().filter(|event| event.type_.as_deref() == Some("Warning")).collect();
    found.sort_by_key(|event| {
        let time = event.last_timestamp.as_ref().map(|time| time.0);
        std::cmp::Reverse(time.or(event.event_time.as_ref().map(|time| time.0)))
    });
    let told = |event: &Event| {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        format!("warning {}: {}", text(&event.reason), text(&event.message))
    };
    let mut lines: Vec<String> = Vec::new();
    for line in found.into_iter().map(told) {
        if !lines.contains(&line) && lines.len() < WARNINGS {
            lines.push(line);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(spec: Value, status: Value) -> Pod {
        let pod = json!({"metadata": {"name": "web", "namespace": "ns"}, "spec": spec, "status": status});
        serde_json::from_value(pod).expect("a pod")
    }

    fn text(pod: &Pod, found: Explanation) -> String {
        of_pod(pod, &[], || found).text()
    }

    #[test]
    fn a_pod_without_a_node_names_what_each_says_and_what_would_help() {
        let says = |node: &str, remedy| Refusal {
            node: node.to_owned(),
            reasons: vec!["Insufficient cpu".to_owned()],
            detail: "3 of cpu asked for, 1 of 2 free".to_owned(),
            remedy,
        };
        let lower = scheduler::why::Change::Lower { resource: "cpu".to_owned(), from: 3000, to: 1000 };
        let found = Explanation {
            refusals: vec![says("a", None), says("b", Some(vec![lower]))],
            size: Some("3 cpu".to_owned()),
            ..Explanation::default()
        };
        let waits = pod(json!({"containers": []}), json!({"phase": "Pending"}));
        assert_eq!(
            text(&waits, found),
            "pod ns/web waits: none of 2 nodes takes it\n  \
             node a: Insufficient cpu (3 of cpu asked for, 1 of 2 free)\n  \
             node b: Insufficient cpu (3 of cpu asked for, 1 of 2 free)\n\
             What would help: lower the request for cpu from 3 to 1; then node b takes it.\n"
        );
        let found = Explanation {
            refusals: vec![says("a", None)],
            size: Some("3 cpu".to_owned()),
            ..Explanation::default()
        };
        assert!(text(&waits, found).ends_with("What would help: a node with this much free: 3 cpu.\n"));
    }

    #[test]
    fn whoever_holds_a_pod_back_is_named() {
        let gated = pod(json!({"containers": [], "schedulingGates": [{"name": "x.io/g"}]}), json!({}));
        assert!(text(&gated, Explanation::default()).contains("gate x.io/g"));
        let theirs = pod(json!({"containers": [], "schedulerName": "mine"}), json!({}));
        assert!(text(&theirs, Explanation::default()).contains("the scheduler \"mine\""));
        let mut going = pod(json!({"containers": [], "nodeName": "n"}), json!({}));
        going.metadata.finalizers = Some(vec!["x.io/f".to_owned()]);
        going.metadata.deletion_timestamp =
            serde_json::from_value(json!("2026-01-01T00:00:00Z")).expect("a time");
        assert!(text(&going, Explanation::default()).contains("the finalizer x.io/f has to remove it"));
    }

    #[test]
    fn a_container_that_keeps_ending_says_how() {
        let status = json!({"phase": "Running", "containerStatuses": [{
            "name": "c", "ready": false, "restartCount": 4, "image": "", "imageID": "",
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 1m20s"}},
            "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
        }]});
        let event = |reason: &str, at: &str| -> Event {
            let event = json!({"metadata": {}, "involvedObject": {}, "type": "Warning", "reason": reason,
                "message": "m", "lastTimestamp": at});
            serde_json::from_value(event).expect("an event")
        };
        let events = [event("Old", "2026-01-01T00:00:00Z"), event("New", "2026-01-02T00:00:00Z")];
        let account =
            of_pod(&pod(json!({"containers": [], "nodeName": "n"}), status), &events, Explanation::default);
        assert_eq!(account.summary, "is on node n, Running and not ready");
        assert_eq!(
            account.causes,
            [
                "container c waits: CrashLoopBackOff: back-off 1m20s",
                "container c was started again 4 times; it last ended with exit code 137 (OOMKilled)",
                "warning New: m",
                "warning Old: m",
            ]
        );
    }
}
