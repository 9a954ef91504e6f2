//! What a server says, and where: lines on standard error, or JSON when it runs in the background.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

/// The variable that picks what is logged (`info`, `debug`, `apiserver=trace,info`).
pub const FILTER: &str = "KNARR_LOG";

/// Starts logging. Called once a process.
pub fn start(background: bool) {
    let filter = EnvFilter::try_from_env(FILTER).unwrap_or_else(|_| EnvFilter::new("info"));
    // A log on a full disk must not end the server: by default a failed write is told on the same standard error,
    // with a macro that panics.
    let lines = fmt().with_env_filter(filter).with_writer(std::io::stderr).log_internal_errors(false);
    if background {
        lines.json().with_current_span(false).init();
    } else {
        lines.with_target(false).with_ansi(std::io::stderr().is_terminal()).init();
    }
}
