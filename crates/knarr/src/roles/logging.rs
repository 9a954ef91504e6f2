//! A server's log: lines on standard error, or JSON when the server runs in the background.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt;

/// The variable that picks what is logged (`info`, `debug`, `apiserver=trace,info`).
pub const FILTER: &str = "KNARR_LOG";

/// The DNS library writes a line at INFO for each question, which belongs to debugging.
const TALKATIVE: &str = "hickory_server";

/// Starts logging. Called once a process.
pub fn start(background: bool) {
    let filter = filter(std::env::var(FILTER).ok().as_deref());
    // A log on a full disk must not end the server: by default a failed write is told on the same standard error,
    // with a macro that panics.
    let lines = fmt().with_env_filter(filter).with_writer(std::io::stderr).log_internal_errors(false);
    if background {
        lines.json().with_current_span(false).init();
    } else {
        lines.with_target(false).with_ansi(std::io::stderr().is_terminal()).init();
    }
}

/// What is logged: what the variable says, else everything from INFO on. A library's lines that say something about
/// each single request need a filter that names the library, or one that asks for debugging.
fn filter(told: Option<&str>) -> EnvFilter {
    let told = told.unwrap_or_default();
    let filter = EnvFilter::try_new(if told.is_empty() { "info" } else { told });
    let filter = filter.unwrap_or_else(|_| EnvFilter::new("info"));
    let quiet = filter.max_level_hint().is_some_and(|level| level <= LevelFilter::INFO);
    if quiet && !told.contains(TALKATIVE) {
        let directive = format!("{TALKATIVE}=warn").parse().expect("this is a directive");
        return filter.add_directive(directive);
    }
    filter
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_each_dns_question_are_for_debugging() {
        let text = |told| filter(told).to_string();
        for quiet in [None, Some(""), Some("info"), Some("what?=is=this")] {
            assert_eq!(text(quiet), "hickory_server=warn,info", "{quiet:?}");
        }
        assert_eq!(text(Some("debug")), "debug");
        assert_eq!(text(Some("hickory_server=info,warn")), "hickory_server=info,warn");
    }
}
