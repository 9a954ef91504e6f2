//! What the kernel counts of pods and containers and no runtime reports: the further families of cAdvisor.
//!
//! Start with [`read`], which looks at cgroups and processes when it is asked, and [`families`].

use std::fs;
use std::path::Path;

use cgroup::{CgroupMounts, Device, Figures, Usage};

use super::{float, seconds};
use crate::metrics::sheet::{Labels, Sheet};

/// The processes of a container that are looked at one by one, at most.
const MOST_PROCESSES: usize = 1024;

/// One cgroup, of a pod or a container.
#[derive(Debug, Default)]
pub struct Seen {
    pub labels: Labels,
    usage: Usage,
    figures: Figures,
    oom_kills: u64,
    /// Of containers alone.
    processes: Option<Processes>,
    /// Of pods alone: those of the interface by which they are reached.
    packets: Option<(String, Packets)>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Processes {
    count: u64,
    descriptors: u64,
    sockets: u64,
    /// Of the first one: how many files it may open; `None` without a limit.
    most_files: Option<u64>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Packets {
    received: u64,
    receive_dropped: u64,
    sent: u64,
    send_dropped: u64,
}

/// A pod's cgroup with its labels, the interface by which the pod is reached, and the cgroups of its containers.
pub struct Wanted {
    pub pod: (String, Labels),
    pub interface: Option<String>,
    pub containers: Vec<(String, Labels)>,
}

/// Looks at a pod and its containers. Blocks.
pub fn read(cgroups: &CgroupMounts, wanted: Wanted) -> Vec<Seen> {
    let look = |cgroup: &str, labels: Labels| Seen {
        labels,
        usage: cgroups.usage(cgroup),
        figures: cgroups.figures(cgroup),
        oom_kills: cgroups.oom_kills(cgroup),
        ..Seen::default()
    };
    let mut pod = look(&wanted.pod.0, wanted.pod.1);
    let mut all = Vec::new();
    for (cgroup, labels) in wanted.containers {
        let pids = cgroups.processes(&cgroup);
        if let (None, Some(interface), Some(pid)) = (&pod.packets, &wanted.interface, pids.first()) {
            let text = fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default();
            pod.packets = packets(&text, interface).map(|packets| (interface.clone(), packets));
        }
        all.push(Seen { processes: Some(processes(&pids)), ..look(&cgroup, labels) });
    }
    all.insert(0, pod);
    all
}

fn processes(pids: &[i32]) -> Processes {
    let mut out = Processes { count: pids.len() as u64, ..Processes::default() };
    for pid in pids.iter().take(MOST_PROCESSES) {
        // A process that has just ended has none.
        for entry in fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
            out.descriptors += 1;
            let target = fs::read_link(entry.path()).unwrap_or_default();
            out.sockets += u64::from(target.to_string_lossy().starts_with("socket:"));
        }
    }
    let limits = pids.first().and_then(|pid| fs::read_to_string(format!("/proc/{pid}/limits")).ok());
    out.most_files = limits.and_then(|text| most_files(&text));
    out
}

fn most_files(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// What `/proc/PID/net/dev` says of one interface.
fn packets(text: &str, interface: &str) -> Option<Packets> {
    let named = |line: &str| {
        let (name, figures) = line.split_once(':')?;
        (name.trim() == interface).then(|| figures.to_owned())
    };
    let figures = text.lines().find_map(named)?;
    let figures: Vec<u64> = figures.split_whitespace().map_while(|word| word.parse().ok()).collect();
    let at = |i: usize| figures.get(i).copied();
    Some(Packets { received: at(1)?, receive_dropped: at(3)?, sent: at(9)?, send_dropped: at(11)? })
}

type Figure = fn(&Seen) -> Option<f64>;

/// Families whose figures only grow, without `_total`.
const COUNTERS: [(&str, &str, Figure); 6] = [
    ("container_cpu_user_seconds", "Cumulative user cpu time consumed in seconds", |s| {
        s.figures.cpu_user_ns.map(seconds)
    }),
    ("container_cpu_system_seconds", "Cumulative system cpu time consumed in seconds", |s| {
        s.figures.cpu_system_ns.map(seconds)
    }),
    ("container_cpu_cfs_periods", "Number of elapsed enforcement period intervals", |s| {
        s.figures.cpu_quota_us.and(s.figures.periods).map(float)
    }),
    ("container_cpu_cfs_throttled_periods", "Number of throttled period intervals", |s| {
        s.figures.cpu_quota_us.and(s.figures.throttled_periods).map(float)
    }),
    ("container_cpu_cfs_throttled_seconds", "Total time duration the container has been throttled", |s| {
        s.figures.cpu_quota_us.and(s.figures.throttled_ns).map(seconds)
    }),
    ("container_oom_events", "Count of out of memory events observed for the container", |s| {
        Some(float(s.oom_kills))
    }),
];

/// The others. A limit that is not set is 0, as cAdvisor has it.
const GAUGES: [(&str, &str, Figure); 16] = [
    ("container_memory_cache", "Number of bytes of page cache memory", |s| s.figures.cache_bytes.map(float)),
    ("container_memory_mapped_file", "Size of memory mapped files in bytes", |s| {
        s.figures.mapped_file_bytes.map(float)
    }),
    ("container_memory_swap", "Container swap usage in bytes", |s| s.usage.swap_bytes.map(float)),
    ("container_memory_failcnt", "Number of memory usage hits limits", |s| s.figures.failures.map(float)),
    ("container_memory_max_usage_bytes", "Maximum memory usage recorded in bytes", |s| {
        s.figures.max_usage_bytes.map(float)
    }),
    ("container_spec_cpu_period", "CPU period of the container", |s| s.figures.cpu_period_us.map(float)),
    ("container_spec_cpu_quota", "CPU quota of the container", |s| s.figures.cpu_quota_us.map(float)),
    ("container_spec_cpu_shares", "CPU share of the container", |s| s.figures.cpu_shares.map(float)),
    ("container_spec_memory_limit_bytes", "Memory limit for the container", |s| {
        limit(s, s.figures.memory_limit_bytes)
    }),
    ("container_spec_memory_reservation_limit_bytes", "Memory reservation limit for the container", |s| {
        limit(s, s.figures.memory_soft_limit_bytes)
    }),
    ("container_spec_memory_swap_limit_bytes", "Memory swap limit for the container", |s| {
        limit(s, s.figures.swap_limit_bytes)
    }),
    (
        "container_threads_max",
        "Maximum number of threads allowed inside the container, infinity if value is zero",
        |s| limit(s, s.figures.threads_max),
    ),
    ("container_threads", "Number of threads running inside the container", |s| {
        s.processes.as_ref().and(s.usage.processes).map(float)
    }),
    ("container_processes", "Number of processes running inside the container", |s| {
        s.processes.as_ref().map(|p| float(p.count))
    }),
    ("container_file_descriptors", "Number of open file descriptors for the container", |s| {
        s.processes.as_ref().map(|p| float(p.descriptors))
    }),
    ("container_sockets", "Number of open sockets for the container", |s| {
        s.processes.as_ref().map(|p| float(p.sockets))
    }),
];

/// Of a cgroup that is there.
fn limit(seen: &Seen, limit: Option<u64>) -> Option<f64> {
    seen.usage.memory_bytes.map(|_| limit.map_or(0.0, float))
}

/// Puts the families of all pods and containers on the sheet.
pub fn families(sheet: &Sheet, all: &[Seen]) {
    let rows = |figure: Figure| all.iter().filter_map(move |s| Some((s.labels.clone(), figure(s)?)));
    for (name, about, figure) in COUNTERS {
        sheet.counters(name, about, rows(figure));
    }
    for (name, about, figure) in GAUGES {
        sheet.gauges(name, about, rows(figure));
    }
    let most_files = all.iter().filter_map(|s| {
        let most = s.processes.as_ref()?.most_files.map_or(-1.0, float);
        Some((with(&s.labels, [("ulimit", "max_open_files".to_owned())]), most))
    });
    sheet.gauges(
        "container_ulimits_soft",
        "Soft ulimit values for the container root process. Unlimited if -1, except priority and nice",
        most_files,
    );
    faults(sheet, all);
    devices(sheet, all);
    network(sheet, all);
}

fn with<const N: usize>(labels: &Labels, more: [(&'static str, String); N]) -> Labels {
    labels.iter().cloned().chain(more).collect()
}

fn faults(sheet: &Sheet, all: &[Seen]) {
    let rows = all.iter().flat_map(|s| {
        let kinds = [("pgfault", s.usage.page_faults), ("pgmajfault", s.usage.major_page_faults)];
        // A container's cgroup has none inside: both scopes say the same.
        let scopes = if s.processes.is_some() { &["container", "hierarchy"][..] } else { &["hierarchy"] };
        kinds.into_iter().flat_map(move |(kind, count)| {
            scopes.iter().filter_map(move |scope| {
                let more = [("failure_type", kind.to_owned()), ("scope", (*scope).to_owned())];
                Some((with(&s.labels, more), float(count?)))
            })
        })
    });
    sheet.counters("container_memory_failures", "Cumulative count of memory allocation failures", rows);
}

/// The name of a device, empty where it has none.
fn name_of(device: &Device) -> String {
    let path = format!("/sys/dev/block/{}:{}/uevent", device.major, device.minor);
    let text = fs::read_to_string(Path::new(&path)).unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("DEVNAME="))
        .map_or_else(String::new, |n| format!("/dev/{n}"))
}

fn devices(sheet: &Sheet, all: &[Seen]) {
    let of: Vec<(&Seen, &Device, String)> =
        all.iter().flat_map(|s| s.figures.devices.iter().map(move |d| (s, d, name_of(d)))).collect();
    type Count = fn(&Device) -> u64;
    let figures: [(&str, &str, Count); 4] = [
        ("container_fs_reads", "Cumulative count of reads completed", |d| d.reads),
        ("container_fs_writes", "Cumulative count of writes completed", |d| d.writes),
        ("container_fs_reads_bytes", "Cumulative count of bytes read", |d| d.read_bytes),
        ("container_fs_writes_bytes", "Cumulative count of bytes written", |d| d.written_bytes),
    ];
    for (name, about, count) in figures {
        let rows = of
            .iter()
            .map(|(s, device, named)| (with(&s.labels, [("device", named.clone())]), float(count(device))));
        sheet.counters(name, about, rows);
    }
    let usage = of.iter().flat_map(|(s, device, named)| {
        [("Read", device.read_bytes), ("Write", device.written_bytes)].map(|(operation, bytes)| {
            let more = [
                ("device", named.clone()),
                ("major", device.major.to_string()),
                ("minor", device.minor.to_string()),
                ("operation", operation.to_owned()),
            ];
            (with(&s.labels, more), float(bytes))
        })
    });
    sheet.counters("container_blkio_device_usage", "Blkio Device bytes usage", usage);
}

fn network(sheet: &Sheet, all: &[Seen]) {
    type Count = fn(&Packets) -> u64;
    let figures: [(&str, &str, Count); 4] = [
        ("container_network_receive_packets", "Cumulative count of packets received", |p| p.received),
        (
            "container_network_receive_packets_dropped",
            "Cumulative count of packets dropped while receiving",
            |p| p.receive_dropped,
        ),
        ("container_network_transmit_packets", "Cumulative count of packets transmitted", |p| p.sent),
        (
            "container_network_transmit_packets_dropped",
            "Cumulative count of packets dropped while transmitting",
            |p| p.send_dropped,
        ),
    ];
    for (name, about, count) in figures {
        let rows = all.iter().filter_map(|s| {
            let (interface, packets) = s.packets.as_ref()?;
            Some((with(&s.labels, [("interface", interface.clone())]), float(count(packets))))
        });
        sheet.counters(name, about, rows);
    }
}

#[cfg(test)]
mod tests {
    use base::metrics::{Format, strict};

    use super::*;

    #[test]
    fn what_the_kernel_counts_is_shown_under_cadvisors_names() {
        let labels = |name: &str| vec![("container", name.to_owned())];
        let device = Device { major: 999, minor: 1, reads: 1, writes: 2, read_bytes: 3, written_bytes: 4 };
        let figures = Figures {
            cpu_user_ns: Some(1_500_000_000),
            cpu_quota_us: Some(50_000),
            throttled_ns: Some(2_000_000_000),
            devices: vec![device],
            ..Figures::default()
        };
        let usage =
            Usage { memory_bytes: Some(1), page_faults: Some(7), processes: Some(3), ..Usage::default() };
        let processes = Processes { count: 2, descriptors: 9, sockets: 1, most_files: None };
        let web =
            Seen { labels: labels("web"), usage, figures, processes: Some(processes), ..Seen::default() };
        let packets = Some(("eth0".to_owned(), Packets { received: 5, ..Packets::default() }));
        let pod = Seen { labels: labels(""), packets, ..Seen::default() };
        let sheet = Sheet::default();
        families(&sheet, &[pod, web]);
        let text = sheet.render(Format::Prometheus).expect("text");
        strict::read(&text, Format::Prometheus).unwrap_or_else(|why| panic!("{why}\n{text}"));
        for line in [
            "container_cpu_user_seconds_total{container=\"web\"} 1.5",
            "container_cpu_cfs_throttled_seconds_total{container=\"web\"} 2.0",
            "container_spec_memory_limit_bytes{container=\"web\"} 0.0",
            "container_threads{container=\"web\"} 3.0",
            "container_file_descriptors{container=\"web\"} 9.0",
            "container_ulimits_soft{container=\"web\",ulimit=\"max_open_files\"} -1.0",
            "container_memory_failures_total{container=\"web\",failure_type=\"pgfault\",scope=\"container\"} 7.0",
            "container_fs_writes_bytes_total{container=\"web\",device=\"\"} 4.0",
            "container_blkio_device_usage_total{container=\"web\",device=\"\",major=\"999\",minor=\"1\",operation=\"Read\"} 3.0",
            "container_network_receive_packets_total{container=\"\",interface=\"eth0\"} 5.0",
        ] {
            assert!(text.lines().any(|shown| shown == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("container_processes{container=\"\"}"), "pods have no processes of their own");
    }

    #[test]
    fn a_process_is_looked_at_as_the_kernel_shows_it() {
        let own = i32::try_from(std::process::id()).expect("a pid");
        let file = fs::File::open("/dev/null").expect("opened");
        let seen = processes(&[own]);
        drop(file);
        assert!(seen.count == 1 && seen.descriptors > 0);
        assert_eq!(
            most_files("Limit  Soft  Hard\nMax open files            1024   4096   files\n"),
            Some(1024)
        );
        assert_eq!(most_files("Max open files            unlimited   4096   files\n"), None);
        let text = "Inter-|\n face |\n  eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n";
        let wanted = Packets { received: 2, receive_dropped: 4, sent: 10, send_dropped: 12 };
        assert_eq!((packets(text, "eth0"), packets(text, "eth1")), (Some(wanted), None));
    }
}
