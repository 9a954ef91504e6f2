//! Metrics as text: Prometheus' format 0.0.4, which is what upstream serves, and OpenMetrics 1.0.0 for who asks for it.
//!
//! The registry writes OpenMetrics; the other is made from that. They differ in what a counter's family is called,
//! in two types, and in what stands at the end.

use std::borrow::Cow;
use std::fmt::{self, Write};

use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

/// How metrics are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Prometheus,
    OpenMetrics,
}

impl Format {
    /// What an `Accept` header asks for: OpenMetrics only where it is named, and not liked less than plain text.
    pub fn accepted(accept: &str) -> Self {
        let (mut open, mut plain) = (0.0, 0.0);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default();
            let mut quality: f32 = 1.0;
            let mut served = true;
            for parameter in parts {
                match parameter.split_once('=').map(|(name, value)| (name.trim(), value.trim_matches('"'))) {
                    Some(("q", value)) => quality = value.parse().unwrap_or(0.0),
                    Some(("version", value)) if kind == "application/openmetrics-text" => {
                        served = value == "1.0.0";
                    }
                    _ => {}
                }
            }
            match kind {
                "application/openmetrics-text" if served => open = quality.max(open),
                "text/plain" => plain = quality.max(plain),
                _ => {}
            }
        }
        if open > 0.0 && open >= plain { Self::OpenMetrics } else { Self::Prometheus }
    }

    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// Adds the metrics of a registry, without what ends the text.
pub(super) fn encode(open: &mut String, registry: &Registry) -> Result<(), fmt::Error> {
    text::encode_registry(open, registry)
}

/// The text of registries that were encoded one after the other.
pub(super) fn render(mut open: String, format: Format) -> Result<String, fmt::Error> {
    text::encode_eof(&mut open)?;
    // The encoder writes infinite values as Rust does.
    if open.contains("inf\n") {
        open = open.lines().map(|line| format!("{}\n", with_infinity(line))).collect();
    }
    match format {
        Format::OpenMetrics => Ok(open),
        Format::Prometheus => to_prometheus(&open),
    }
}

/// A line whose value, if it is infinite, is written as scrapers read it.
fn with_infinity(line: &str) -> Cow<'_, str> {
    match line.rsplit_once(' ') {
        Some((start, "inf")) if !line.starts_with('#') => format!("{start} +Inf").into(),
        Some((start, "-inf")) if !line.starts_with('#') => format!("{start} -Inf").into(),
        _ => line.into(),
    }
}

fn to_prometheus(open: &str) -> Result<String, fmt::Error> {
    let mut out = String::with_capacity(open.len());
    // A family's help comes before its type, which says what the family is called.
    let mut help = None;
    for line in open.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ').map(|(_, words)| words);
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                other => ("", other),
            };
            if let Some(words) = help.take() {
                writeln!(out, "# HELP {name}{suffix} {words}")?;
            }
            writeln!(out, "# TYPE {name}{suffix} {kind}")?;
        } else if !line.starts_with('#') {
            writeln!(out, "{line}")?;
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::family::Family;
    use prometheus_client::metrics::gauge::Gauge;
    use prometheus_client::metrics::histogram::Histogram;

    use super::super::{Escaped, Metrics, strict};
    use super::*;

    fn metrics() -> Metrics {
        let metrics = Metrics::default();
        let requests = Family::<Vec<(&str, Escaped)>, Counter>::default();
        let labels =
            |path: &str, code: &str| vec![("path", Escaped(path.into())), ("code", Escaped(code.into()))];
        requests.get_or_create(&labels("a\"b\\c\nd", "200")).inc();
        requests.get_or_create(&labels("/", "404")).inc_by(3);
        let took = Histogram::new([0.1, 1.0]);
        for seconds in [0.05, 0.5, 5.0] {
            took.observe(seconds);
        }
        metrics.register(|registry| {
            registry.register("requests", "Requests by path", requests);
            registry.register("took_seconds", "How long they took", took);
            registry.register("now", "How many there are", Gauge::<i64>::default());
        });
        metrics.register_process();
        metrics
    }

    #[test]
    fn infinite_values_are_written_as_scrapers_read_them() {
        let metrics = Metrics::default();
        let left = Gauge::<f64, AtomicU64>::default();
        left.set(f64::INFINITY);
        let lost = Gauge::<f64, AtomicU64>::default();
        lost.set(f64::NEG_INFINITY);
        metrics.register(|registry| {
            registry.register("left_seconds", "How long it is inf", left);
            registry.register("lost_seconds", "How long it was", lost);
        });
        for format in [Format::Prometheus, Format::OpenMetrics] {
            let text = metrics.render(format).expect("text");
            assert!(
                text.contains("\nleft_seconds +Inf\n") && text.contains("\nlost_seconds -Inf\n"),
                "{text}"
            );
            strict::read(&text, format).unwrap_or_else(|why| panic!("{why}\n{text}"));
        }
    }

    #[test]
    fn both_formats_pass_a_strict_reader() {
        let metrics = metrics();
        let plain = metrics.render(Format::Prometheus).expect("text");
        let families =
            strict::read(&plain, Format::Prometheus).unwrap_or_else(|why| panic!("{why}\n{plain}"));
        for (name, kind) in [
            ("requests_total", "counter"),
            ("took_seconds", "histogram"),
            ("now", "gauge"),
            ("process_cpu_seconds_total", "counter"),
            ("process_resident_memory_bytes", "gauge"),
            ("process_virtual_memory_bytes", "gauge"),
            ("process_start_time_seconds", "gauge"),
            ("process_open_fds", "gauge"),
            ("process_max_fds", "gauge"),
        ] {
            assert_eq!(families.get(name).map(String::as_str), Some(kind), "{name}");
        }
        assert!(plain.contains("requests_total{path=\"a\\\"b\\\\c\\nd\",code=\"200\"} 1\n"), "{plain}");
        let open = metrics.render(Format::OpenMetrics).expect("text");
        let families = strict::read(&open, Format::OpenMetrics).unwrap_or_else(|why| panic!("{why}\n{open}"));
        assert_eq!(families.get("requests").map(String::as_str), Some("counter"));
        assert!(strict::read(&open, Format::Prometheus).is_err());
        assert!(strict::read(&plain, Format::OpenMetrics).is_err());
    }

    #[test]
    fn openmetrics_is_for_who_asks_for_it() {
        let prometheus =
            "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(Format::accepted(prometheus), Format::OpenMetrics);
        assert_eq!(Format::accepted("application/openmetrics-text"), Format::OpenMetrics);
        for other in [
            "",
            "*/*",
            "text/plain",
            "application/json",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;version=2.0.0",
            "text/plain, application/openmetrics-text;q=0.5",
        ] {
            assert_eq!(Format::accepted(other), Format::Prometheus, "{other}");
        }
    }
}
