//! What a server says, and where: lines on standard error, or JSON when it runs in the background.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

/// The variable that picks what is logged (`info`, `debug`, `apiserver=trace,info`).
pub const FILTER: &str = "KNARR_LOG";

/// Starts logging. Called once a process.
pub fn start(background: bool) {
    let filter = EnvFilter::try_from_env(FILTER).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if background {
        lines.json().with_current_span(false).init();
    } else {
        lines.with_target(false).init();
    }
}
