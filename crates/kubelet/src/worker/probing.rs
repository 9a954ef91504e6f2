//! Keeps the probes that should run running, and no others.

use super::Worker;
use crate::executor::regarding;
use crate::planner::{ProbeKind, ProbeTarget};
use crate::probes::{self, Prober, Probing};

impl Worker {
    /// Starts the probes that are missing and ends those that should not run any more.
    pub(super) fn align_probes(&mut self, targets: Vec<ProbeTarget>) {
        while self.probe_tasks.try_join_next().is_some() {}
        self.probes.retain(|target, task| {
            let wanted = targets.contains(target);
            if !wanted {
                task.abort();
            }
            wanted
        });
        for target in targets {
            if !self.probes.contains_key(&target)
                && let Some(probing) = self.probing(&target)
            {
                let executor = &self.tools.executor;
                let prober = Prober {
                    cri: executor.cri.clone(),
                    events: executor.events.clone(),
                    clock: executor.clock.clone(),
                    metrics: self.tools.metrics.probes.clone(),
                };
                let task = self.probe_tasks.spawn(probes::run(prober, probing, self.reports.0.clone()));
                self.probes.insert(target, task);
            }
        }
    }

    fn probing(&self, target: &ProbeTarget) -> Option<Probing> {
        let member = self.want.member(&target.container)?;
        let record = self.seen.runtime.containers.iter().find(|c| c.id == target.container_id)?;
        let probe = match target.kind {
            ProbeKind::Startup => member.spec.startup_probe.clone(),
            ProbeKind::Liveness => member.spec.liveness_probe.clone(),
            ProbeKind::Readiness => member.spec.readiness_probe.clone(),
        }?;
        let pod_ip = if self.want.host_network {
            self.want.host_ips.first().cloned()
        } else {
            self.seen.runtime.sandboxes.first().and_then(|s| s.ips.first().cloned())
        };
        Some(Probing {
            target: target.clone(),
            probe,
            container: member.spec.clone(),
            pod_ip,
            container_started_at: record.started_at.unwrap_or(record.created_at),
            regarding: regarding(&self.want, member),
        })
    }
}
