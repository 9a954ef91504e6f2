//! Figures that are made when they are asked for: of pods and containers, which come and go.

use std::fmt;
use std::sync::atomic::AtomicU64;

use base::metrics::Format;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

/// Names and values, in the order in which they are shown.
pub type Labels = Vec<(&'static str, String)>;

/// Families with their figures at one moment.
#[derive(Debug, Default)]
pub struct Sheet {
    metrics: base::Metrics,
}

impl Sheet {
    /// A family of figures that go up and down; none where there are no rows. The help text has no full stop: one is
    /// added where it is shown.
    pub fn gauges(&self, name: &str, about: &str, rows: impl IntoIterator<Item = (Labels, f64)>) {
        let rows: Vec<_> = rows.into_iter().collect();
        let family = Family::<Labels, Gauge<f64, AtomicU64>>::default();
        for (labels, value) in &rows {
            family.get_or_create(labels).set(*value);
        }
        self.metrics.register(|registry| match rows.as_slice() {
            [] => {}
            [(labels, _)] if labels.is_empty() => {
                registry.register(name, about, family.get_or_create_owned(labels));
            }
            _ => registry.register(name, about, family),
        });
    }

    /// A family of figures that only go up; `name` is without `_total`.
    pub fn counters(&self, name: &str, about: &str, rows: impl IntoIterator<Item = (Labels, f64)>) {
        let rows: Vec<_> = rows.into_iter().collect();
        let family = Family::<Labels, Counter<f64, AtomicU64>>::default();
        for (labels, value) in &rows {
            family.get_or_create(labels).inc_by(*value);
        }
        self.metrics.register(|registry| match rows.as_slice() {
            [] => {}
            [(labels, _)] if labels.is_empty() => {
                registry.register(name, about, family.get_or_create_owned(labels));
            }
            _ => registry.register(name, about, family),
        });
    }

    /// The text of all families.
    ///
    /// # Errors
    /// When a figure cannot be written as text.
    pub fn render(&self, format: Format) -> Result<String, fmt::Error> {
        self.metrics.render(format)
    }
}
