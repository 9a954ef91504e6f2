//! The figures as Markdown, and where they go.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;
use std::{fs, thread};

use anyhow::{Context, Result};

use crate::pods::{Pods, REPLICAS};
use crate::requests::Requests;
use crate::rest::Rest;
use crate::upstream;

/// What is between these lines of a document is replaced.
const BEGIN: &str = "<!-- figures -->\n";
const END: &str = "<!-- end of figures -->\n";

/// Tables, one after the other.
pub struct Report(String);

impl Report {
    /// Opens with what was measured on.
    pub fn new() -> Result<Self> {
        let kernel =
            fs::read_to_string("/proc/sys/kernel/osrelease").context("reading the kernel's release")?;
        let memory = fs::read_to_string("/proc/meminfo").context("reading /proc/meminfo")?;
        let memory = memory.lines().next().and_then(|line| line.split_whitespace().nth(1));
        let memory_gb = memory.and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0 / 1024.0;
        let cores = thread::available_parallelism().map_or(0, usize::from);
        let kernel = kernel.trim();
        let mut text = String::new();
        let _ = writeln!(text, "Measured on {cores} cores, {memory_gb:.0} GiB, Linux {kernel}.\n");
        Ok(Self(text))
    }

    pub fn rest(&mut self, rest: &Rest) {
        self.head("start and rest");
        self.line("`knarr up` to node Ready", seconds(rest.boot), format!("{} s", upstream::BOOT_S));
        self.line(
            "resident memory of the server at rest",
            format!("{:.0} MB", rest.resident_mb),
            format!("{} MB, seven processes", upstream::RESIDENT_MB),
        );
        self.line(
            "processor time at rest, of one core",
            format!("{:.2} %", rest.cpu_percent),
            format!("{} %", upstream::IDLE_CPU_PERCENT),
        );
        self.line(
            "size of the program",
            format!("{:.1} MB", rest.binary_mb),
            format!("{} MB, ten programs", upstream::BINARIES_MB),
        );
        self.0.push('\n');
    }

    pub fn pods(&mut self, pods: &Pods) {
        self.head("pods, the image present");
        self.line(
            "created → Running, Ready, with an address: p50, p99 of 20",
            format!("{}, {}", seconds(pods.running_p50), seconds(pods.running_p99)),
            format!("{:.2} s, {:.2} s", upstream::POD_RUNNING_P50_S, upstream::POD_RUNNING_P99_S),
        );
        self.line(
            "deleted → gone, grace period 1 s: p50",
            seconds(pods.gone_p50),
            format!("{} s", upstream::POD_GONE_P50_S),
        );
        self.line(
            &format!("Deployment of {REPLICAS} → all Ready"),
            seconds(pods.replicas_ready),
            format!(
                "{} s (the kubelet of 1.24 limits itself; a later one is faster)",
                upstream::REPLICAS_READY_S
            ),
        );
        self.line(
            "… processor time for it",
            format!("{:.1} s, the server alone", pods.replicas_cpu_s),
            format!("{} s", upstream::REPLICAS_CPU_S),
        );
        self.line(
            "deleted → all gone",
            seconds(pods.replicas_gone),
            format!("{} s", upstream::REPLICAS_GONE_S),
        );
        self.0.push('\n');
    }

    pub fn requests(&mut self, requests: &Requests) {
        self.0.push_str(
            "| requests (connections) | req/s | p50 ms | p99 ms | CPU s / 1000 | upstream: req/s | p50 | p99 | \
             CPU s / 1000, etcd included | upstream's CPU / knarr's |\n|---|---|---|---|---|---|---|---|---|---|\n",
        );
        for row in &requests.rows {
            let (ours, theirs) = (&row.knarr, &row.upstream);
            let _ = writeln!(
                self.0,
                "| {} | {:.0} | {:.2} | {:.2} | {:.3} | {} | {} | {} | {} | {:.1} |",
                row.what,
                ours.requests_per_s,
                ours.p50.as_secs_f64() * 1e3,
                ours.p99.as_secs_f64() * 1e3,
                ours.cpu_per_1000,
                theirs.requests_per_s,
                theirs.p50_ms,
                theirs.p99_ms,
                theirs.cpu_per_1000,
                theirs.cpu_per_1000 / ours.cpu_per_1000,
            );
        }
        self.0.push('\n');
        let watch = &requests.watch;
        self.head("100 watchers, 1,000 objects made by 16 connections");
        self.line(
            "events/s",
            format!("{:.0}", watch.events_per_s),
            format!("{:.0}", upstream::WATCH_EVENTS_PER_S),
        );
        self.line(
            "p99",
            format!("{:.0} ms", watch.p99.as_secs_f64() * 1e3),
            format!("{} ms", upstream::WATCH_P99_MS),
        );
        self.line(
            "processor time in all",
            format!("{:.2} s", watch.cpu_s),
            format!("{} s, without etcd", upstream::WATCH_CPU_S),
        );
        self.0.push('\n');
    }

    /// The whole text.
    pub fn finish(self) -> String {
        format!("{}\n", self.0.trim_end())
    }

    fn head(&mut self, what: &str) {
        let _ = writeln!(self.0, "| {what} | knarr | upstream |\n|---|---|---|");
    }

    fn line(&mut self, what: &str, knarr: String, upstream: String) {
        let _ = writeln!(self.0, "| {what} | {knarr} | {upstream} |");
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

/// Puts figures into a document, in place of those that are there.
///
/// # Errors
/// When the document has no place for them.
pub fn replace(document: &Path, figures: &str) -> Result<()> {
    let text = fs::read_to_string(document)?;
    fs::write(document, replaced(&text, figures).context("the lines that mark the place are missing")?)?;
    Ok(())
}

fn replaced(text: &str, figures: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{figures}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_what_is_between_the_marks() {
        let text = format!("a\n{BEGIN}old\n{END}b\n");
        assert_eq!(replaced(&text, "new\n").unwrap(), format!("a\n{BEGIN}new\n{END}b\n"));
        assert_eq!(replaced("a\n", "new\n"), None);
    }
}
