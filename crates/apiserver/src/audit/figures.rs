//! [`Figures`]: what is written down and what is lost, under upstream's names.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::Level;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AtLevel {
    level: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct To {
    plugin: &'static str,
}

/// Clones count together.
#[derive(Debug, Clone, Default)]
pub(super) struct Figures {
    events: Counter,
    levels: Family<AtLevel, Counter>,
    lost: Family<To, Counter>,
}

impl Figures {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "apiserver_audit_event",
            "Counter of audit events generated and sent to the audit backend",
            self.events.clone(),
        );
        registry.register(
            "apiserver_audit_level",
            "Counter of policy levels for audit events (1 per request)",
            self.levels.clone(),
        );
        registry.register(
            "apiserver_audit_error",
            "Counter of audit events that failed to be audited properly. Plugin identifies the plugin affected by the error",
            self.lost.clone(),
        );
    }

    pub(super) fn event(&self) {
        self.events.inc();
    }

    pub(super) fn level(&self, level: Level) {
        let level = match level {
            Level::None => "None",
            Level::Metadata => "Metadata",
            Level::Request => "Request",
            Level::RequestResponse => "RequestResponse",
        };
        self.levels.get_or_create(&AtLevel { level }).inc();
    }

    /// Counts what is lost, and returns how much that is by now.
    pub(super) fn lost(&self, plugin: &'static str, events: u64) -> u64 {
        self.lost.get_or_create(&To { plugin }).inc_by(events) + events
    }
}
