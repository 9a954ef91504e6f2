//! The figures as Markdown, and where they go.

use std::path::Path;
use std::time::Duration;
use std::{fmt, fs, thread};

use anyhow::{Context, Result};

use crate::burst::{self, Burst, Size};
use crate::dns::{self, Dns};
use crate::ingress::{self, Ingress};
use crate::pods::{Pods, REPLICAS};
use crate::requests::Requests;
use crate::rest::Rest;
use crate::scale::{self, Scale};
use crate::scheduler::{self, Scheduler};
use crate::services::{ENDPOINTS, Services};
use crate::upstream;
use crate::workloads::{self, Workloads};

/// A part of the figures that can be measured alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Section {
    Rest,
    Pods,
    Burst,
    Requests,
    Scale,
    Scheduler,
    Workloads,
    Services,
    Ingress,
    Dns,
}

impl Section {
    /// What is between these lines of a document is replaced.
    fn marks(self) -> (String, String) {
        let name = match self {
            Self::Rest => "rest",
            Self::Pods => "pods",
            Self::Burst => "burst",
            Self::Requests => "requests",
            Self::Scale => "scale",
            Self::Scheduler => "scheduler",
            Self::Workloads => "workloads",
            Self::Services => "services",
            Self::Ingress => "ingress",
            Self::Dns => "dns",
        };
        (format!("<!-- figures: {name} -->\n"), format!("<!-- end of figures: {name} -->\n"))
    }
}

/// Tables, section by section.
pub struct Report {
    /// What was measured on.
    machine: String,
    sections: Vec<(Section, String)>,
}

impl Report {
    /// Finds out what is measured on.
    pub fn new() -> Result<Self> {
        let kernel =
            fs::read_to_string("/proc/sys/kernel/osrelease").context("reading the kernel's release")?;
        let memory = fs::read_to_string("/proc/meminfo").context("reading /proc/meminfo")?;
        let memory = memory.lines().next().and_then(|line| line.split_whitespace().nth(1));
        let memory_gb = memory.and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0 / 1024.0;
        let cores = thread::available_parallelism().map_or(0, usize::from);
        let kernel = kernel.trim();
        let machine = format!("Measured on {cores} cores, {memory_gb:.0} GiB, Linux {kernel}.");
        Ok(Self { machine, sections: Vec::new() })
    }

    pub fn rest(&mut self, rest: &Rest) {
        let mut table = Tables::of(&["start and rest", "knarr", "upstream"]);
        table.line("`knarr up` to node Ready", seconds(rest.boot), format!("{} s", upstream::BOOT_S));
        table.line(
            "resident memory of the server at rest",
            format!("{:.0} MB", rest.resident_mb),
            format!("{} MB, seven processes", upstream::RESIDENT_MB),
        );
        table.line(
            "processor time at rest, of one core",
            format!("{:.2} %", rest.cpu_percent),
            format!("{} %", upstream::IDLE_CPU_PERCENT),
        );
        table.line(
            "size of the program",
            format!("{:.1} MB", rest.binary_mb),
            format!("{} MB, ten programs", upstream::BINARIES_MB),
        );
        self.add(Section::Rest, table);
    }

    pub fn pods(&mut self, pods: &Pods) {
        let mut table = Tables::of(&["pods, the image present", "knarr", "upstream"]);
        table.line(
            "created → Running, Ready, with an address: p50, p99 of 20",
            format!("{}, {}", seconds(pods.running_p50), seconds(pods.running_p99)),
            format!("{:.2} s, {:.2} s", upstream::POD_RUNNING_P50_S, upstream::POD_RUNNING_P99_S),
        );
        table.line(
            "deleted → gone, grace period 1 s: p50",
            seconds(pods.gone_p50),
            format!("{} s", upstream::POD_GONE_P50_S),
        );
        table.line(
            &format!("Deployment of {REPLICAS} → all Ready"),
            seconds(pods.replicas_ready),
            format!(
                "{} s (the kubelet of 1.24 limits itself; a later one is faster)",
                upstream::REPLICAS_READY_S
            ),
        );
        table.line(
            "… processor time for it",
            format!("{:.1} s, the server alone", pods.replicas_cpu_s),
            format!("{} s", upstream::REPLICAS_CPU_S),
        );
        table.line(
            "deleted → all gone",
            seconds(pods.replicas_gone),
            format!("{} s", upstream::REPLICAS_GONE_S),
        );
        self.add(Section::Pods, table);
    }

    pub fn burst(&mut self, burst: &Burst) {
        let (rest, old) = (burst::MEMORY_REST.as_secs(), (burst::MEMORY_REST + burst::FILE_REST).as_secs());
        let mut table = Tables::of(&[
            "what stays of a burst".to_owned(),
            "before".to_owned(),
            "at its end".to_owned(),
            format!("{rest} s later"),
            format!("{old} s later"),
            format!("{rest} s later, against before"),
        ]);
        let sizes = [&burst.before, &burst.at_end, &burst.rested, &burst.forgotten];
        let mut line = |what: &str, figure: fn(&Size) -> f64| {
            let mut row = vec![what.to_owned()];
            row.extend(sizes.iter().map(|size| format!("{:.0} MB", figure(size))));
            row.push(format!("{:.2} ×", figure(&burst.rested) / figure(&burst.before)));
            table.row(&row);
        };
        line("resident memory of the server", |size| size.resident_mb);
        line("the store's file", |size| size.store_mb);
        self.add(Section::Burst, table);
    }

    pub fn requests(&mut self, requests: &Requests) {
        let mut table = Tables::of(&[
            "requests (connections)",
            "req/s",
            "p50 ms",
            "p99 ms",
            "CPU s / 1000",
            "upstream: req/s",
            "p50",
            "p99",
            "CPU s / 1000, etcd included",
            "upstream's CPU / knarr's",
        ]);
        for row in &requests.rows {
            let (ours, theirs) = (&row.knarr, &row.upstream);
            table.row(&[
                row.what.to_owned(),
                format!("{:.0}", ours.requests_per_s),
                format!("{:.2}", ours.p50.as_secs_f64() * 1e3),
                format!("{:.2}", ours.p99.as_secs_f64() * 1e3),
                format!("{:.3}", ours.cpu_per_1000),
                theirs.requests_per_s.to_string(),
                theirs.p50_ms.to_string(),
                theirs.p99_ms.to_string(),
                theirs.cpu_per_1000.to_string(),
                format!("{:.1}", theirs.cpu_per_1000 / ours.cpu_per_1000),
            ]);
        }
        let watch = &requests.watch;
        table.next(&["100 watchers, 1,000 objects made by 16 connections", "knarr", "upstream"]);
        table.line(
            "events/s",
            format!("{:.0}", watch.events_per_s),
            format!("{:.0}", upstream::WATCH_EVENTS_PER_S),
        );
        table.line(
            "p99",
            format!("{:.0} ms", watch.p99.as_secs_f64() * 1e3),
            format!("{} ms", upstream::WATCH_P99_MS),
        );
        table.line(
            "processor time in all",
            format!("{:.2} s", watch.cpu_s),
            format!("{} s, without etcd", upstream::WATCH_CPU_S),
        );
        self.add(Section::Requests, table);
    }

    pub fn scale(&mut self, sizes: &[Scale]) {
        let mut head = vec!["scale, every controller and the scheduler running".to_owned()];
        head.extend(
            sizes.iter().map(|scale| format!("{} nodes, {} pods", scale.size.nodes, scale.size.pods)),
        );
        head.push("goal".to_owned());
        let mut table = Tables::of(&head);
        for (what, figure, goal) in scale::ROWS {
            let mut row = vec![(*what).to_owned()];
            row.extend(sizes.iter().map(figure));
            row.push((*goal).to_owned());
            table.row(&row);
        }
        self.add(Section::Scale, table);
    }

    pub fn scheduler(&mut self, found: &Scheduler) {
        let nodes = scheduler::NODES;
        let head = format!("the scheduler alone, {nodes} nodes, {} placed pods", scheduler::PLACED);
        let mut table = Tables::of(&[head.as_str(), "processor time"]);
        for (what, figure) in found.rows() {
            table.row(&[what, figure]);
        }
        self.add(Section::Scheduler, table);
    }

    pub fn workloads(&mut self, found: &Workloads) {
        let head = format!("workloads on {} nodes whose kubelets are played", workloads::NODES);
        let mut table = Tables::of(&[&head, "time", "processor time; for 1,000 pods", "goal"]);
        for (what, took, cpu, goal) in found.rows() {
            table.row(&[what.as_str(), &took, &cpu, goal]);
        }
        table.next(&[
            "what others notice while it is scaled up: 99 of 100 within",
            "time",
            "upstream's objective",
        ]);
        let ms = |time: Duration| format!("{:.1} ms", time.as_secs_f64() * 1e3);
        for (verb, time) in &found.latencies.requests {
            table.row(&[*verb, ms(*time).as_str(), workloads::objective(verb)]);
        }
        table.row(&["a pod, created → Ready", ms(found.latencies.pods).as_str(), "5 s"]);
        self.add(Section::Workloads, table);
    }

    pub fn services(&mut self, found: &Services) {
        let mut head = vec![format!("Services of {ENDPOINTS} endpoints each, the proxy alone")];
        head.extend(found.sizes.iter().map(|size| format!("{} Services", size.services)));
        let mut table = Tables::of(&head);
        let mut rows: Vec<Vec<String>> = Vec::new();
        for size in &found.sizes {
            for (index, (what, figure)) in size.rows().into_iter().enumerate() {
                match rows.get_mut(index) {
                    Some(row) => row.push(figure),
                    None => rows.push(vec![what.to_owned(), figure]),
                }
            }
        }
        rows.iter().for_each(|row| table.row(row));
        table.next(&["with the last of these loaded", "the server's address", "its Service's address"]);
        for (what, direct, service) in found.traffic.rows() {
            table.row(&[what.to_owned(), direct, service]);
        }
        self.add(Section::Services, table);
    }

    pub fn ingress(&mut self, found: &Ingress) {
        let mut table = Tables::of(&[
            "requests through a proxy (connections)",
            "knarr: a second; p50, p99",
            "… for a second of its processor time",
            "nginx: a second; p50, p99",
            "… for a second of its processor time",
        ]);
        for row in &found.rows {
            let of = |figures: Option<ingress::Figures>| {
                let Some(found) = figures else { return ["–".to_owned(), "–".to_owned()] };
                let ms = |time: Duration| time.as_secs_f64() * 1e3;
                let speed =
                    format!("{:.0}; {:.2} ms, {:.2} ms", found.requests_per_s, ms(found.p50), ms(found.p99));
                [speed, format!("{:.0}", found.requests_per_cpu_s)]
            };
            let cells = [row.what.clone()].into_iter().chain(of(Some(row.knarr))).chain(of(row.nginx));
            table.row(&cells.collect::<Vec<_>>());
        }
        self.add(Section::Ingress, table);
    }

    pub fn dns(&mut self, found: &Dns) {
        let mut table = Tables::of(&[
            "questions of the cluster's DNS by UDP (at once)",
            "knarr: a second; p50, p99",
            "… for a second of its processor time",
            "unbound: a second; p50, p99",
            "… for a second of its processor time",
        ]);
        for row in &found.rows {
            let of = |figures: Option<dns::Figures>| {
                let Some(found) = figures else { return ["–".to_owned(), "–".to_owned()] };
                let ms = |time: Duration| time.as_secs_f64() * 1e3;
                let speed =
                    format!("{:.0}; {:.2} ms, {:.2} ms", found.answers_per_s, ms(found.p50), ms(found.p99));
                [speed, format!("{:.0}", found.answers_per_cpu_s)]
            };
            let cells = [row.what.clone()].into_iter().chain(of(Some(row.knarr))).chain(of(row.unbound));
            table.row(&cells.collect::<Vec<_>>());
        }
        self.add(Section::Dns, table);
    }

    fn add(&mut self, section: Section, tables: Tables) {
        self.sections.push((section, format!("{}\n\n{}", self.machine, tables.0)));
    }

    /// Puts the figures into a document, each section in place of its last figures.
    ///
    /// # Errors
    /// When the document has no place for one, or cannot be read or written.
    pub fn replace(&self, document: &Path) -> Result<()> {
        let mut text = fs::read_to_string(document)?;
        for (section, figures) in &self.sections {
            text = replaced(&text, *section, figures)
                .with_context(|| format!("the lines that mark the place of {section:?} are missing"))?;
        }
        Ok(fs::write(document, text)?)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.sections.iter().try_for_each(|(_, text)| writeln!(f, "{text}"))
    }
}

/// Tables in Markdown, one after the other.
struct Tables(String);

impl Tables {
    fn of(head: &[impl AsRef<str>]) -> Self {
        let mut tables = Self(String::new());
        tables.head(head);
        tables
    }

    /// Begins one more table.
    fn next(&mut self, head: &[impl AsRef<str>]) {
        self.0.push('\n');
        self.head(head);
    }

    fn head(&mut self, head: &[impl AsRef<str>]) {
        self.row(head);
        self.0.push_str(&"|---".repeat(head.len()));
        self.0.push_str("|\n");
    }

    fn row(&mut self, cells: &[impl AsRef<str>]) {
        for cell in cells {
            self.0.push_str("| ");
            self.0.push_str(cell.as_ref());
            self.0.push(' ');
        }
        self.0.push_str("|\n");
    }

    fn line(&mut self, what: &str, knarr: String, upstream: String) {
        self.row(&[what.to_owned(), knarr, upstream]);
    }
}

fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

fn replaced(text: &str, section: Section, figures: &str) -> Option<String> {
    let (begin, end) = section.marks();
    let (before, rest) = text.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}{figures}{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_what_is_between_the_marks() {
        let (begin, end) = Section::Pods.marks();
        let text = format!("a\n{begin}old\n{end}b\n");
        assert_eq!(replaced(&text, Section::Pods, "new\n").unwrap(), format!("a\n{begin}new\n{end}b\n"));
        assert_eq!(replaced("a\n", Section::Pods, "new\n"), None);
        assert_eq!(replaced(&text, Section::Rest, "new\n"), None);
    }
}
