//! Probes: commands, requests and connections that tell whether a container is started, alive, ready.
//!
//! Start at [`run`], one task per probe and container. The planner decides the effect of a verdict.

mod grpc;
mod http;
mod tcp;
mod threshold;

use std::sync::Arc;
use std::time::Duration;

use base::Clock;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ObjectReference, Probe};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use crate::cri_calls::Cri;
use crate::events::{Events, Severity};
use crate::metrics::probes::{ProbeResult, Probes};
use crate::planner::{ProbeKind, ProbeTarget, Verdict};

pub use http::{HttpAnswer, HttpTarget, http_get};
use threshold::Threshold;

/// How much of a probe's output is kept, in bytes.
const OUTPUT_LIMIT_BYTES: usize = 10 << 10;

/// One probe of one running container.
#[derive(Clone)]
pub struct Probing {
    pub target: ProbeTarget,
    pub probe: Probe,
    pub container: Container,
    pub pod_ip: Option<String>,
    pub container_started_at: Timestamp,
    pub regarding: ObjectReference,
}

/// What a probe found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub container_id: String,
    pub kind: ProbeKind,
    pub verdict: Verdict,
}

/// The dependencies of probes.
#[derive(Clone)]
pub struct Prober {
    pub cri: Arc<dyn Cri>,
    pub events: Events,
    pub clock: Arc<dyn Clock>,
    pub metrics: Probes,
}

/// The outcome of one try.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Attempt {
    Success,
    /// A success that is worth an event.
    Warning(String),
    Failure(String),
    /// The probe could not be carried out; it counts neither way.
    Error(String),
}

impl Attempt {
    fn result(&self) -> ProbeResult {
        match self {
            Self::Success | Self::Warning(_) => ProbeResult::Successful,
            Self::Failure(_) => ProbeResult::Failed,
            Self::Error(_) => ProbeResult::Unknown,
        }
    }
}

fn seconds(given: Option<i32>, default: u64) -> Duration {
    let given = given.and_then(|s| u64::try_from(s).ok()).filter(|s| *s > 0);
    Duration::from_secs(given.unwrap_or(default))
}

/// Probes until dropped; reports every verdict that differs from the one before.
pub async fn run(prober: Prober, probing: Probing, reports: mpsc::Sender<Report>) {
    let initial = seconds(probing.probe.initial_delay_seconds, 0);
    let age = prober.clock.now().duration_since(probing.container_started_at);
    let age = Duration::try_from(age).unwrap_or_default();
    tokio::time::sleep(initial.saturating_sub(age)).await;
    let mut ticks = tokio::time::interval(seconds(probing.probe.period_seconds, 10));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut threshold = Threshold::new(probing.probe.success_threshold, probing.probe.failure_threshold);
    let mut last = None;
    let figures = prober.metrics.of(&probing.regarding, &probing.container.name, probing.target.kind);
    loop {
        let began = ticks.tick().await;
        let attempt = try_once(&prober, &probing).await;
        figures.tried(attempt.result(), began.elapsed());
        let success = match attempt {
            Attempt::Success => true,
            Attempt::Warning(output) => {
                let text = format!("{} probe warning: {output}", probing.target.kind.title());
                prober.events.record(probing.regarding.clone(), Severity::Warning, "ProbeWarning", text);
                true
            }
            Attempt::Failure(output) => {
                let text = format!("{} probe failed: {output}", probing.target.kind.title());
                prober.events.record(probing.regarding.clone(), Severity::Warning, "Unhealthy", text);
                false
            }
            Attempt::Error(why) => {
                let kind = probing.target.kind.title();
                let text = format!("{kind} probe errored and resulted in unknown state: {why}");
                prober.events.record(probing.regarding.clone(), Severity::Warning, "Unhealthy", text);
                continue;
            }
        };
        let Some(verdict) = threshold.count(success) else { continue };
        if last == Some(verdict) {
            continue;
        }
        last = Some(verdict);
        let (container_id, kind) = (probing.target.container_id.clone(), probing.target.kind);
        if reports.send(Report { container_id, kind, verdict }).await.is_err() {
            return;
        }
    }
}

async fn try_once(prober: &Prober, probing: &Probing) -> Attempt {
    let probe = &probing.probe;
    let timeout = seconds(probe.timeout_seconds, 1);
    if let Some(exec) = &probe.exec {
        return exec_probe(prober, probing, exec.command.clone().unwrap_or_default(), timeout).await;
    }
    let pod_ip = probing.pod_ip.as_deref();
    if let Some(get) = &probe.http_get {
        let target = match HttpTarget::new(get, &probing.container, pod_ip) {
            Ok(target) => target,
            Err(why) => return Attempt::Error(why),
        };
        return match http_get(&target, timeout).await {
            Ok(answer) => judged(&answer),
            Err(why) => Attempt::Failure(why),
        };
    }
    if let Some(socket) = &probe.tcp_socket {
        let host = socket.host.as_deref().filter(|h| !h.is_empty()).or(pod_ip);
        return match (host, http::resolve_port(&socket.port, &probing.container)) {
            (Some(host), Ok(port)) => tcp::probe(host, port, timeout).await,
            (None, _) => Attempt::Error("the pod has no address".to_owned()),
            (_, Err(why)) => Attempt::Error(why),
        };
    }
    if let Some(check) = &probe.grpc {
        let Some(host) = pod_ip else { return Attempt::Error("the pod has no address".to_owned()) };
        let port = u16::try_from(check.port).unwrap_or(0);
        return grpc::probe(host, port, check.service.as_deref().unwrap_or_default(), timeout).await;
    }
    Attempt::Error("missing probe handler".to_owned())
}

/// What an HTTP answer says of the container. One that leads to another host was not followed: it is a success with
/// a warning (upstream `pkg/probe/http/http.go`).
fn judged(answer: &HttpAnswer) -> Attempt {
    match answer.status {
        200..300 => Attempt::Success,
        300..400 => Attempt::Warning(format!("Probe terminated redirects, Response body: {}", answer.body)),
        other => Attempt::Failure(format!("HTTP probe failed with statuscode: {other}")),
    }
}

async fn exec_probe(prober: &Prober, probing: &Probing, command: Vec<String>, timeout: Duration) -> Attempt {
    let timeout_s = i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX);
    let shown = command.join(" ");
    match prober.cri.exec(&probing.target.container_id, command, timeout_s).await {
        Ok(output) if output.exit_code == 0 => Attempt::Success,
        Ok(output) => {
            let kept = &output.output[..output.output.len().min(OUTPUT_LIMIT_BYTES)];
            Attempt::Failure(String::from_utf8_lossy(kept).into_owned())
        }
        Err(error) if error.is_timeout() => {
            Attempt::Failure(format!("command timed out: {shown:?} timed out after {timeout_s}s"))
        }
        Err(error) => Attempt::Error(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_leads_elsewhere_is_a_success_with_a_warning() {
        let of = |status| judged(&HttpAnswer::new(status, "see there"));
        assert_eq!(of(204), Attempt::Success);
        let warning = Attempt::Warning("Probe terminated redirects, Response body: see there".to_owned());
        assert_eq!(of(302), warning);
        assert!(matches!(warning.result(), ProbeResult::Successful));
        assert_eq!(of(404), Attempt::Failure("HTTP probe failed with statuscode: 404".to_owned()));
    }
}
