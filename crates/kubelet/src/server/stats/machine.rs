//! The node's own part of `/stats/summary`: the machine as a whole.
//!
//! Start with [`node`]. Upstream: `pkg/kubelet/server/stats/summary.go`, with the figures of cAdvisor's root cgroup.

use std::fs;

use cgroup::Usage;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::node::machine::Pressure;
use crate::server::ServerDeps;

/// The interface whose figures upstream takes for the machine's.
const DEFAULT_INTERFACE: &str = "eth0";

/// What is known of the machine at a time. What the kernel does not say is left out.
struct Seen {
    usage: Usage,
    nano_cores: Option<u64>,
    /// Of all pods together.
    pods: Usage,
    pods_nano_cores: Option<u64>,
    memory_bytes: u64,
    pressure: Option<Pressure>,
    interfaces: Vec<Interface>,
    started_at: Option<Timestamp>,
    now: Timestamp,
}

#[derive(Debug, PartialEq, Eq)]
struct Interface {
    name: String,
    rx_bytes: u64,
    rx_errors: u64,
    tx_bytes: u64,
    tx_errors: u64,
}

/// Looks at the file system of the node.
pub(super) async fn disk(deps: &ServerDeps) -> Option<Pressure> {
    let root = deps.root.clone();
    match tokio::task::spawn_blocking(move || Pressure::read(&root)).await {
        Ok(Ok(pressure)) => Some(pressure),
        Ok(Err(error)) => {
            tracing::debug!(%error, "the node's storage cannot be looked at");
            None
        }
        Err(error) => {
            tracing::error!(%error, "looking at the node's storage ended");
            None
        }
    }
}

/// Looks at the machine, whose file system was looked at.
pub(super) fn node(deps: &ServerDeps, pressure: Option<Pressure>) -> Value {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let (usage, now) = (deps.cgroups.node_usage(), deps.clock.now());
    let at_ns = i64::try_from(now.as_nanosecond()).unwrap_or_default();
    let seen = Seen {
        nano_cores: usage.cpu_ns.and_then(|used| deps.rates.of("node", at_ns, used)),
        pods: deps.cgroups.pods_usage(),
        pods_nano_cores: None,
        usage,
        memory_bytes: u64::try_from(deps.facts.memory_capacity_bytes()).unwrap_or_default(),
        pressure,
        interfaces: interfaces(&read("/proc/net/dev")),
        started_at: started_at(&read("/proc/stat")),
        now,
    };
    let used = seen.pods.cpu_ns;
    let seen = Seen { pods_nano_cores: used.and_then(|used| deps.rates.of("pods", at_ns, used)), ..seen };
    summary(&deps.node_name, &seen)
}

fn summary(name: &str, seen: &Seen) -> Value {
    let time = Value::String(seen.now.to_string());
    let usage = &seen.usage;
    let mut node = Map::from_iter([("nodeName".to_owned(), name.into())]);
    if let Some(started) = seen.started_at {
        node.insert("startTime".to_owned(), started.to_string().into());
    }
    let mut put = |key: &str, figures: Value| drop(node.insert(key.to_owned(), figures));
    if let Some(figures) = cpu(&time, usage, seen.nano_cores) {
        put("cpu", figures);
    }
    if let Some(figures) = memory(&time, usage, Some(seen.memory_bytes)) {
        put("memory", figures);
    }
    if let (Some(cpu), Some(memory)) = (
        cpu(&time, &seen.pods, seen.pods_nano_cores),
        memory(&time, &seen.pods, seen.pods.memory_limit_bytes),
    ) {
        put("systemContainers", json!([{"name": "pods", "cpu": cpu, "memory": memory}]));
    }
    if !seen.interfaces.is_empty() {
        put("network", network(&time, &seen.interfaces));
    }
    if let Some(pressure) = &seen.pressure {
        let figures = [
            ("availableBytes", Some(pressure.storage_available_bytes)),
            ("capacityBytes", Some(pressure.storage_bytes)),
            ("usedBytes", Some(pressure.storage_bytes.saturating_sub(pressure.storage_free_bytes))),
            ("inodesFree", Some(pressure.inodes_free)),
            ("inodes", Some(pressure.inodes)),
            ("inodesUsed", Some(pressure.inodes.saturating_sub(pressure.inodes_free))),
        ];
        put("fs", known(&time, &figures));
        put("rlimit", json!({"time": time, "maxpid": pressure.pids_max, "curproc": pressure.pids}));
    }
    if let Some(bytes) = usage.swap_bytes {
        put("swap", json!({"time": time, "swapUsageBytes": bytes}));
    }
    Value::Object(node)
}

fn cpu(time: &Value, usage: &Usage, nano_cores: Option<u64>) -> Option<Value> {
    let used = usage.cpu_ns?;
    Some(known(time, &[("usageNanoCores", nano_cores), ("usageCoreNanoSeconds", Some(used))]))
}

/// What is available of what there is, where that is known.
fn memory(time: &Value, usage: &Usage, there_bytes: Option<u64>) -> Option<Value> {
    let working_set = usage.working_set_bytes?;
    let figures = [
        ("availableBytes", there_bytes.map(|there| there.saturating_sub(working_set))),
        ("usageBytes", usage.memory_bytes),
        ("workingSetBytes", Some(working_set)),
        ("rssBytes", usage.rss_bytes),
        ("pageFaults", usage.page_faults),
        ("majorPageFaults", usage.major_page_faults),
    ];
    Some(known(time, &figures))
}

/// The figures that are known, and when.
fn known(time: &Value, figures: &[(&str, Option<u64>)]) -> Value {
    let mut out = Map::from_iter([("time".to_owned(), time.clone())]);
    out.extend(figures.iter().filter_map(|(name, value)| Some(((*name).to_owned(), (*value)?.into()))));
    Value::Object(out)
}

fn network(time: &Value, interfaces: &[Interface]) -> Value {
    let one = |i: &Interface| {
        json!({"name": i.name, "rxBytes": i.rx_bytes, "rxErrors": i.rx_errors,
            "txBytes": i.tx_bytes, "txErrors": i.tx_errors})
    };
    // Without one of that name upstream has an empty name and no figures of the machine as a whole.
    let default = interfaces.iter().find(|i| i.name == DEFAULT_INTERFACE).map(one);
    let mut out = default.unwrap_or_else(|| json!({"name": ""}));
    out["time"] = time.clone();
    out["interfaces"] = interfaces.iter().map(one).collect();
    out
}

/// The interfaces in `/proc/net/dev` but the loopback and the machine's ends of pods' links, as cAdvisor.
fn interfaces(text: &str) -> Vec<Interface> {
    let one = |line: &str| {
        let (name, figures) = line.split_once(':')?;
        let name = name.trim();
        let figures: Vec<u64> = figures.split_whitespace().map_while(|word| word.parse().ok()).collect();
        let figure = |i: usize| figures.get(i).copied();
        (name != "lo" && !name.starts_with("veth")).then_some(())?;
        Some(Interface {
            name: name.to_owned(),
            rx_bytes: figure(0)?,
            rx_errors: figure(2)?,
            tx_bytes: figure(8)?,
            tx_errors: figure(10)?,
        })
    };
    text.lines().filter_map(one).collect()
}

/// When the machine started, by `/proc/stat`.
fn started_at(text: &str) -> Option<Timestamp> {
    let seconds = text.lines().find_map(|line| line.strip_prefix("btime "))?;
    Timestamp::from_second(seconds.trim().parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NET_DEV: &str = "Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0
  eth0:    1000      10    2    0    0     0          0         0     2000      20    3    0    0     0       0          0
 vethx:       9       9    9    0    0     0          0         0        9       9    9    0    0     0       0          0
   br0:       5       1    0    0    0     0          0         0        6       1    0    0    0     0       0          0
";

    fn seen() -> Seen {
        let usage = Usage {
            cpu_ns: Some(7),
            memory_bytes: Some(600),
            working_set_bytes: Some(400),
            rss_bytes: Some(300),
            ..Usage::default()
        };
        let pressure = Pressure {
            storage_bytes: 1000,
            storage_free_bytes: 400,
            storage_available_bytes: 350,
            inodes: 50,
            inodes_free: 20,
            pids_max: 99,
            pids: 12,
            ..Pressure::default()
        };
        let pods = Usage { cpu_ns: Some(5), working_set_bytes: Some(90), ..Usage::default() };
        Seen {
            usage,
            nano_cores: Some(3),
            pods,
            pods_nano_cores: None,
            memory_bytes: 1000,
            pressure: Some(pressure),
            interfaces: interfaces(NET_DEV),
            started_at: started_at("cpu 1 2\nbtime 60\nprocesses 5\n"),
            now: Timestamp::from_second(120).expect("in range"),
        }
    }

    #[test]
    fn the_machine_is_shown_as_upstream_shows_it() {
        let time = "1970-01-01T00:02:00Z";
        assert_eq!(
            summary("n1", &seen()),
            json!({
                "nodeName": "n1",
                "startTime": "1970-01-01T00:01:00Z",
                "cpu": {"time": time, "usageNanoCores": 3, "usageCoreNanoSeconds": 7},
                "systemContainers": [{"name": "pods", "cpu": {"time": time, "usageCoreNanoSeconds": 5},
                    "memory": {"time": time, "workingSetBytes": 90}}],
                "memory": {"time": time, "availableBytes": 600, "usageBytes": 600, "workingSetBytes": 400,
                    "rssBytes": 300},
                "network": {"time": time, "name": "eth0", "rxBytes": 1000, "rxErrors": 2, "txBytes": 2000,
                    "txErrors": 3, "interfaces": [
                        {"name": "eth0", "rxBytes": 1000, "rxErrors": 2, "txBytes": 2000, "txErrors": 3},
                        {"name": "br0", "rxBytes": 5, "rxErrors": 0, "txBytes": 6, "txErrors": 0}]},
                "fs": {"time": time, "availableBytes": 350, "capacityBytes": 1000, "usedBytes": 600,
                    "inodesFree": 20, "inodes": 50, "inodesUsed": 30},
                "rlimit": {"time": time, "maxpid": 99, "curproc": 12},
            })
        );
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let nothing = Seen {
            usage: Usage::default(),
            pods: Usage::default(),
            pressure: None,
            interfaces: interfaces("nonsense\n eth0: 1 2\n"),
            started_at: started_at("btime soon"),
            ..seen()
        };
        assert_eq!(summary("n1", &nothing), json!({"nodeName": "n1"}));
        let elsewhere = Seen { interfaces: interfaces(&NET_DEV.replace("eth0", "ens1")), ..seen() };
        assert_eq!(summary("n1", &elsewhere)["network"]["name"], "");
    }
}
