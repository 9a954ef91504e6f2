//! Pods: how many containers are ready, and one word for what the pod is doing.

use api::Object;
use jiff::Timestamp;
use serde_json::Value;

use super::read::{age, condition_true, count, field, items, since, text, text_or};
use super::{AGE, Column, NAME, column, wide};

pub(crate) const COLUMNS: &[Column] = &[
    NAME,
    column("Ready", "string", "The aggregate readiness state of this pod for accepting traffic."),
    column("Status", "string", "The aggregate status of the containers in this pod."),
    column(
        "Restarts",
        "string",
        "The number of times the containers in this pod have been restarted and when the last container in this pod has restarted.",
    ),
    AGE,
    wide("IP", "string", "IP address allocated to the pod."),
    wide("Node", "string", "The node the pod is scheduled to."),
    wide(
        "Nominated Node",
        "string",
        "The node that is expected to run the pod once preempted pods have left it.",
    ),
    wide("Readiness Gates", "string", "How many of the pod's readiness gates are open."),
];

pub(crate) fn cells(pod: &Object, now: Timestamp) -> Vec<Value> {
    let summary = Summary::of(pod);
    let ip = items(pod, &["status", "podIPs"]).first().map_or("", |ip| field(ip, "ip"));
    vec![
        pod.name().into(),
        format!("{}/{}", summary.ready, summary.total).into(),
        summary.reason.into(),
        summary.restarts.text(now).into(),
        age(pod, now),
        if ip.is_empty() { "<none>".into() } else { ip.into() },
        text_or(pod, &["spec", "nodeName"], "<none>"),
        text_or(pod, &["status", "nominatedNodeName"], "<none>"),
        readiness_gates(pod).into(),
    ]
}

fn readiness_gates(pod: &Object) -> String {
    let gates = items(pod, &["spec", "readinessGates"]);
    if gates.is_empty() {
        return "<none>".into();
    }
    let open = gates.iter().filter(|g| condition_true(pod, field(g, "conditionType"))).count();
    format!("{open}/{}", gates.len())
}

/// Restarts and when the last of them was.
#[derive(Debug, Clone, Default)]
struct Restarts {
    count: i64,
    last: Option<Timestamp>,
}

impl Restarts {
    fn add(&mut self, status: &Value) {
        self.count += status.get("restartCount").and_then(Value::as_i64).unwrap_or(0);
        let finished = status.pointer("/lastState/terminated/finishedAt").and_then(Value::as_str);
        self.last = self.last.max(finished.and_then(|t| t.parse().ok()));
    }

    fn text(&self, now: Timestamp) -> String {
        match self.last {
            Some(last) if self.count != 0 => {
                format!("{} ({} ago)", self.count, since(&last.to_string(), now))
            }
            _ => self.count.to_string(),
        }
    }
}

/// The columns of a pod that summarize its containers.
struct Summary {
    reason: String,
    ready: usize,
    total: usize,
    restarts: Restarts,
}

impl Summary {
    fn of(pod: &Object) -> Self {
        let phase = text(pod, &["status", "phase"]);
        let own_reason = text(pod, &["status", "reason"]);
        let mut reason = if own_reason.is_empty() { phase } else { own_reason }.to_owned();
        let gated = |c: &Value| field(c, "type") == "PodScheduled" && field(c, "reason") == "SchedulingGated";
        if items(pod, &["status", "conditions"]).iter().any(gated) {
            reason = "SchedulingGated".into();
        }
        let sidecars = items(pod, &["spec", "initContainers"]).iter().filter(|c| is_sidecar(c)).count();
        let total = sidecars + items(pod, &["spec", "containers"]).len();
        let mut summary = Self { reason, ready: 0, total, restarts: Restarts::default() };
        let (initializing, sidecar_restarts) = summary.init_containers(pod);
        if !initializing || condition_true(pod, "Initialized") {
            summary.restarts = sidecar_restarts;
            summary.containers(pod);
        }
        if pod.deletion_timestamp().is_some() {
            if own_reason == "NodeLost" {
                summary.reason = "Unknown".into();
            } else if !matches!(phase, "Succeeded" | "Failed") {
                summary.reason = "Terminating".into();
            }
        }
        summary
    }

    /// Takes in the init containers up to the first that is not done. Gives whether there is one,
    /// and the restarts of sidecars alone.
    fn init_containers(&mut self, pod: &Object) -> (bool, Restarts) {
        let specs = items(pod, &["spec", "initContainers"]);
        let mut sidecar_restarts = Restarts::default();
        for (index, status) in items(pod, &["status", "initContainerStatuses"]).iter().enumerate() {
            self.restarts.add(status);
            let name = field(status, "name");
            let sidecar = specs.iter().any(|c| field(c, "name") == name && is_sidecar(c));
            if sidecar {
                sidecar_restarts.add(status);
            }
            let terminated = status.pointer("/state/terminated");
            let waiting = status.pointer("/state/waiting").map_or("", |w| field(w, "reason"));
            let flag = |key: &str| status.get(key).and_then(Value::as_bool).unwrap_or(false);
            if terminated.is_some_and(|t| exit_code(t) == 0) {
                continue;
            }
            if sidecar && flag("started") {
                self.ready += usize::from(flag("ready"));
                continue;
            }
            self.reason = if let Some(terminated) = terminated {
                format!("Init:{}", termination_reason(terminated))
            } else if !waiting.is_empty() && waiting != "PodInitializing" {
                format!("Init:{waiting}")
            } else {
                format!("Init:{index}/{}", count(pod, &["spec", "initContainers"]))
            };
            return (true, sidecar_restarts);
        }
        (false, sidecar_restarts)
    }

    fn containers(&mut self, pod: &Object) {
        let mut running = false;
        // From last to first: the first container's reason wins.
        for status in items(pod, &["status", "containerStatuses"]).iter().rev() {
            self.restarts.add(status);
            let waiting = status.pointer("/state/waiting").map_or("", |w| field(w, "reason"));
            if !waiting.is_empty() {
                self.reason = waiting.to_owned();
            } else if let Some(terminated) = status.pointer("/state/terminated") {
                self.reason = termination_reason(terminated);
            } else if status.get("ready") == Some(&Value::Bool(true))
                && status.pointer("/state/running").is_some()
            {
                running = true;
                self.ready += 1;
            }
        }
        if self.reason == "Completed" && running {
            self.reason = if condition_true(pod, "Ready") { "Running" } else { "NotReady" }.into();
        }
    }
}

fn is_sidecar(container: &Value) -> bool {
    field(container, "restartPolicy") == "Always"
}

fn exit_code(terminated: &Value) -> i64 {
    terminated.get("exitCode").and_then(Value::as_i64).unwrap_or(0)
}

fn termination_reason(terminated: &Value) -> String {
    let reason = field(terminated, "reason");
    match terminated.get("signal").and_then(Value::as_i64).unwrap_or(0) {
        _ if !reason.is_empty() => reason.to_owned(),
        0 => format!("ExitCode:{}", exit_code(terminated)),
        signal => format!("Signal:{signal}"),
    }
}

/// The conditions of a finished pod's row.
pub(crate) fn row_conditions(pod: &Object) -> Vec<Value> {
    let (reason, message) = match text(pod, &["status", "phase"]) {
        "Succeeded" => ("Succeeded", "The pod has completed successfully."),
        "Failed" => ("Failed", "The pod failed."),
        _ => return Vec::new(),
    };
    vec![serde_json::json!({"type": "Completed", "status": "True", "reason": reason, "message": message})]
}
