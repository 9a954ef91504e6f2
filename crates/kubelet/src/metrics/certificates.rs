//! [`Certificates`]: the figures of a node's certificates (upstream: `pkg/kubelet/certificate/kubelet.go`).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64};

use base::Clock;
use jiff::Timestamp;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

/// Upstream's buckets, up to four years.
const USED_BUCKETS_S: [f64; 10] = [
    60.0,
    3_600.0,
    14_400.0,
    86_400.0,
    604_800.0,
    2_592_000.0,
    7_776_000.0,
    15_552_000.0,
    31_104_000.0,
    124_416_000.0,
];

/// The figures of a node's two certificates. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Certificates {
    /// To call the API with.
    pub client: Figures,
    /// To be called by.
    pub server: Figures,
}

/// The figures of one certificate. Clones share them; those that are registered nowhere count all the same.
#[derive(Debug, Clone)]
pub struct Figures {
    /// A gauge, since upstream's name of the counter has no ending that says so.
    failed: Gauge<i64, AtomicI64>,
    ends_s: Gauge<i64, AtomicI64>,
    left_s: Gauge<f64, AtomicU64>,
    used_s: Histogram,
}

impl Default for Figures {
    fn default() -> Self {
        Self {
            failed: Gauge::default(),
            ends_s: Gauge::default(),
            left_s: Gauge::default(),
            used_s: Histogram::new(USED_BUCKETS_S),
        }
    }
}

impl Certificates {
    /// Figures that are shown with the node's.
    pub fn registered(node: &base::Metrics, clock: Arc<dyn Clock>) -> Self {
        let figures = Self::default();
        node.register(|registry| {
            registry.register(
                "kubelet_certificate_manager_client_expiration_renew_errors",
                "Counter of certificate renewal errors",
                figures.client.failed.clone(),
            );
            registry.register(
                "kubelet_certificate_manager_client_ttl_seconds",
                "Gauge of the TTL (time-to-live) of the Kubelet's client certificate. The value is in seconds until \
                 certificate expiry (negative if already expired). If client certificate is invalid or unused, the value \
                 will be +INF",
                figures.client.left_s.clone(),
            );
            registry.register(
                "kubelet_server_expiration_renew_errors",
                "Counter of certificate renewal errors",
                figures.server.failed.clone(),
            );
            registry.register(
                "kubelet_certificate_manager_server_ttl_seconds",
                "Gauge of the shortest TTL (time-to-live) of the Kubelet's serving certificate. The value is in seconds \
                 until certificate expiry (negative if already expired). If serving certificate is invalid or unused, the \
                 value will be +INF",
                figures.server.left_s.clone(),
            );
            registry.register(
                "kubelet_certificate_manager_server_rotation_seconds",
                "Histogram of the number of seconds the previous certificate lived before being rotated",
                figures.server.used_s.clone(),
            );
        });
        let shown = figures.clone();
        node.before_render(move || {
            let now = clock.now();
            shown.client.look(now);
            shown.server.look(now);
        });
        figures
    }
}

impl Figures {
    /// A certificate could not be renewed.
    pub fn failed(&self) {
        self.failed.inc();
    }

    /// A certificate that ends then is used from now on.
    pub fn uses(&self, ends: Timestamp) {
        self.ends_s.set(ends.as_second());
    }

    /// The certificate used so far was valid since then.
    pub fn used(&self, since: Timestamp, now: Timestamp) {
        self.used_s.observe(now.duration_since(since).as_secs_f64());
    }

    fn look(&self, now: Timestamp) {
        let left = match self.ends_s.get() {
            0 => f64::INFINITY,
            ends => Timestamp::from_second(ends)
                .map_or(f64::INFINITY, |ends| ends.duration_since(now).as_secs_f64().trunc()),
        };
        self.left_s.set(left);
    }
}

#[cfg(test)]
mod tests {
    use base::ManualClock;

    use super::*;

    #[test]
    fn what_is_left_is_counted_when_it_is_asked_for() {
        let now: Timestamp = "2026-06-01T12:00:00Z".parse().unwrap();
        let clock = ManualClock::new(now);
        let node = base::Metrics::default();
        let figures = Certificates::registered(&node, Arc::new(clock.clone()));
        let shown = || node.render(base::metrics::Format::Prometheus).unwrap();
        assert!(shown().contains("\nkubelet_certificate_manager_client_ttl_seconds +Inf\n"), "{}", shown());
        figures.client.uses(now + jiff::SignedDuration::from_secs(90));
        clock.advance(jiff::SignedDuration::from_secs(100));
        figures.client.failed();
        assert!(shown().contains("\nkubelet_certificate_manager_client_ttl_seconds -10.0\n"), "{}", shown());
        assert!(
            shown().contains("\nkubelet_certificate_manager_client_expiration_renew_errors 1\n"),
            "{}",
            shown()
        );
    }
}
