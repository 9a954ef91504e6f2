//! [`Bed`]: the scheduler's state, the events that go into it, and the time that each takes.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::time::{ClockId, clock_gettime};
use scheduler::Metrics;
use scheduler::state::{Round, State};
use tokio::time::Instant;

use super::objects::{self, Template};
use super::{NODES, PLACED};
use crate::scale::node_name;

/// See the module's documentation.
pub(super) struct Bed {
    pub state: State,
    /// Ties end differently from round to round, and the same from run to run.
    tie: u64,
}

/// The processor time that `work` took on this thread, in microseconds.
pub(super) fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let now = || {
        let now = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or(0))
    };
    let before = now();
    let done = work();
    (now().saturating_sub(before).as_secs_f64() * 1e6, done)
}

/// Which sort of pod is placed under a number: one in ten has to be spread, one in ten kept apart.
fn sort(number: usize) -> Template {
    match number / 100 % 10 {
        0 => Template::Spread,
        1 => Template::Apart,
        _ => Template::Plain,
    }
}

/// Where it is placed: pods of one application are on different nodes.
fn place(number: usize) -> String {
    node_name(number % NODES)
}

impl Bed {
    /// Only the namespaces are there.
    pub fn new() -> Result<Self> {
        let mut state = State::new(&scheduler::Configuration::default(), &Metrics::default());
        for name in objects::namespaces() {
            let labels = [("kubernetes.io/metadata.name".to_owned(), name.clone())].into();
            state.namespace_changed(&name, Some(labels), Instant::now());
        }
        Ok(Self { state, tie: 0 })
    }

    fn node_event(&mut self, number: usize, change: impl Fn(&mut serde_json::Value)) -> Result<f64> {
        let node = objects::node(number, change)?;
        let (took, known) = timed(|| {
            let node = node.typed()?;
            self.state.node_changed(node, Instant::now());
            Some(())
        });
        known.context("a node cannot be read")?;
        Ok(took)
    }

    /// A node comes.
    pub fn node(&mut self, number: usize) -> Result<f64> {
        self.node_event(number, |_| {})
    }

    /// A kubelet writes its node's status, and nothing that matters has changed.
    pub fn heartbeat(&mut self, number: usize) -> Result<f64> {
        self.node_event(number, |node| {
            node["status"]["conditions"][3]["lastHeartbeatTime"] = "2026-01-01T00:05:00Z".into();
        })
    }

    /// A node has less CPU for pods than before.
    pub fn shrunk(&mut self, number: usize) -> Result<f64> {
        self.node_event(number, |node| node["status"]["allocatable"]["cpu"] = "31500m".into())
    }

    /// A pod comes that is on a node.
    pub fn placed(&mut self, number: usize) -> Result<f64> {
        let pod = objects::pod(sort(number), number, Some(&place(number)))?;
        Ok(timed(|| self.state.pod_changed(&pod, Instant::now())).0)
    }

    /// Its kubelet reports something of it.
    pub fn status(&mut self, number: usize) -> Result<f64> {
        self.placed(number)
    }

    /// It goes.
    pub fn gone(&mut self, number: usize) -> Result<f64> {
        let pod = objects::pod(sort(number), number, None)?;
        Ok(timed(|| self.state.pod_gone(&pod.uid, Instant::now())).0)
    }

    /// Pods are created, placed, and go again: the time of one from its creation until its node is known of.
    pub fn create(&mut self, template: Template, pods: usize) -> Result<f64> {
        let mut spent = 0.0;
        let range = PLACED..PLACED + pods;
        for number in range.clone() {
            let pod = objects::pod(template, number, None)?;
            spent += timed(|| self.state.pod_changed(&pod, Instant::now())).0;
        }
        loop {
            self.tie = self.tie.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let tie = self.tie >> 16;
            let (took, round) = timed(|| self.state.round(tie, Instant::now()));
            spent += took;
            let Some(round) = round else { break };
            let Round::Bind(attempt, node, _) = round else { bail!("a pod is not placed: {round:?}") };
            let number = attempt.pod.key.name.rsplit('-').next().and_then(|text| text.parse().ok());
            let bound = objects::pod(template, number.context("a name without a number")?, Some(&node))?;
            spent += timed(|| {
                self.state.bound(&attempt);
                self.state.pod_changed(&bound, Instant::now());
            })
            .0;
        }
        for number in range {
            let pod = objects::pod(template, number, None)?;
            self.state.pod_gone(&pod.uid, Instant::now());
        }
        Ok(spent / pods as f64)
    }

    /// Pods are created that fit nowhere: the time of one, its creation and its being tried.
    pub fn wait(&mut self, template: Template, pods: usize) -> Result<f64> {
        let mut spent = 0.0;
        for number in 0..pods {
            let pod = objects::pod(template, number, None)?;
            spent += timed(|| self.state.pod_changed(&pod, Instant::now())).0;
            let (took, round) = timed(|| self.state.round(0, Instant::now()));
            let Some(Round::Unschedulable(..)) = round else { bail!("a pod does not wait: {round:?}") };
            spent += took;
        }
        Ok(spent / pods as f64)
    }

    /// Whether all that wait go on doing so; then they go.
    pub fn go(&mut self, template: Template, pods: usize) -> Result<()> {
        if let Some(round) = self.state.round(0, Instant::now()) {
            bail!("a pod was woken for nothing: {round:?}");
        }
        for number in 0..pods {
            let pod = objects::pod(template, number, None)?;
            self.state.pod_gone(&pod.uid, Instant::now());
        }
        Ok(())
    }
}
