//! The node's four conditions, in upstream's words. Pure.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::NodeCondition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::machine::Pressure;

/// Upstream's hard eviction thresholds.
const MEMORY_LEFT_BYTES: u64 = 100 << 20;
const STORAGE_LEFT_PERCENT: u64 = 10;
/// Ten in a hundred of a large disk is more than a node needs: with this much left, none is under pressure.
/// (Upstream has no such limit; tools that run nodes on a developer's machine switch the threshold off.)
const STORAGE_ENOUGH_BYTES: u64 = 1 << 30;
const INODES_LEFT_PERCENT: u64 = 5;
/// Of the process ids: upstream has no default threshold; a node with none left cannot run anything.
const PIDS_LEFT_PERCENT: u64 = 2;

/// The facts from which the conditions are computed.
#[derive(Debug, Clone, Default)]
pub struct Signals {
    pub pressure: Pressure,
    /// Why the node is not ready; empty when it is.
    pub not_ready: Vec<String>,
}

/// A condition's type, value and texts.
type Verdict = (&'static str, bool, &'static str, String);

/// The conditions now. The time of transition is kept from `before` where the value is the same.
pub fn conditions(before: &[NodeCondition], signals: &Signals, now: Timestamp) -> Vec<NodeCondition> {
    verdicts(signals).into_iter().map(|verdict| condition(before, verdict, now)).collect()
}

fn verdicts(signals: &Signals) -> [Verdict; 4] {
    let p = &signals.pressure;
    let below = |left: u64, all: u64, percent: u64| all > 0 && left < all / 100 * percent;
    let memory = p.memory_available_bytes < MEMORY_LEFT_BYTES;
    let disk = (p.storage_available_bytes < STORAGE_ENOUGH_BYTES
        && below(p.storage_available_bytes, p.storage_bytes, STORAGE_LEFT_PERCENT))
        || below(p.inodes_free, p.inodes, INODES_LEFT_PERCENT);
    let pids = below(p.pids_max.saturating_sub(p.pids), p.pids_max, PIDS_LEFT_PERCENT);
    let pick = |set: bool, yes: (&'static str, &str), no: (&'static str, &str)| {
        let (reason, message) = if set { yes } else { no };
        (reason, message.to_owned())
    };
    let (memory_reason, memory_message) = pick(
        memory,
        ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
        ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    );
    let (disk_reason, disk_message) = pick(
        disk,
        ("KubeletHasDiskPressure", "kubelet has disk pressure"),
        ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    );
    let (pid_reason, pid_message) = pick(
        pids,
        ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
        ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    );
    let ready = match signals.not_ready.as_slice() {
        [] => ("Ready", true, "KubeletReady", "kubelet is posting ready status".to_owned()),
        [one] => ("Ready", false, "KubeletNotReady", one.clone()),
        many => ("Ready", false, "KubeletNotReady", format!("[{}]", many.join(", "))),
    };
    [
        ("MemoryPressure", memory, memory_reason, memory_message),
        ("DiskPressure", disk, disk_reason, disk_message),
        ("PIDPressure", pids, pid_reason, pid_message),
        ready,
    ]
}

fn condition(before: &[NodeCondition], verdict: Verdict, now: Timestamp) -> NodeCondition {
    let (kind, value, reason, message) = verdict;
    let status = if value { "True" } else { "False" };
    let same = before.iter().find(|c| c.type_ == kind && c.status == status);
    let since = same.and_then(|c| c.last_transition_time.clone());
    NodeCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_heartbeat_time: Some(Time(now)),
        last_transition_time: since.or(Some(Time(now))),
    }
}

/// The events for conditions that changed: `NodeReady`, `NodeHasSufficientMemory`, …
pub fn events(before: &[NodeCondition], after: &[NodeCondition]) -> Vec<&'static str> {
    let changed = |c: &&NodeCondition| !before.iter().any(|b| b.type_ == c.type_ && b.status == c.status);
    let name = |c: &NodeCondition| match (c.type_.as_str(), c.status.as_str()) {
        ("MemoryPressure", "True") => Some("NodeHasInsufficientMemory"),
        ("MemoryPressure", _) => Some("NodeHasSufficientMemory"),
        ("DiskPressure", "True") => Some("NodeHasDiskPressure"),
        ("DiskPressure", _) => Some("NodeHasNoDiskPressure"),
        ("PIDPressure", "True") => Some("NodeHasInsufficientPID"),
        ("PIDPressure", _) => Some("NodeHasSufficientPID"),
        ("Ready", "True") => Some("NodeReady"),
        // A node that was never ready has not stopped being so.
        ("Ready", _) if before.iter().any(|b| b.type_ == "Ready") => Some("NodeNotReady"),
        _ => None,
    };
    after.iter().filter(changed).filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::SignedDuration;

    fn healthy() -> Signals {
        let pressure = Pressure {
            memory_available_bytes: 1 << 30,
            storage_bytes: 1000,
            storage_available_bytes: 500,
            storage_free_bytes: 550,
            inodes: 1000,
            inodes_free: 500,
            pids_max: 32_768,
            pids: 100,
        };
        Signals { pressure, not_ready: Vec::new() }
    }

    /// A terabyte with this much left.
    fn large_disk(available_bytes: u64) -> Pressure {
        let healthy = healthy().pressure;
        Pressure { storage_bytes: 1 << 40, storage_available_bytes: available_bytes, ..healthy }
    }

    fn line(conditions: &[NodeCondition]) -> String {
        let one =
            |c: &NodeCondition| format!("{}={}({})", c.type_, c.status, c.reason.as_deref().unwrap_or(""));
        conditions.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn values_follow_the_signals_and_transitions_are_kept() {
        let start = Timestamp::UNIX_EPOCH;
        let first = conditions(&[], &healthy(), start);
        assert_eq!(
            line(&first),
            "MemoryPressure=False(KubeletHasSufficientMemory) DiskPressure=False(KubeletHasNoDiskPressure) \
             PIDPressure=False(KubeletHasSufficientPID) Ready=True(KubeletReady)"
        );
        assert_eq!(
            events(&[], &first),
            ["NodeHasSufficientMemory", "NodeHasNoDiskPressure", "NodeHasSufficientPID", "NodeReady"]
        );
        let mut signals = healthy();
        signals.pressure.storage_available_bytes = 50;
        assert!(
            !conditions(&[], &Signals { pressure: large_disk(2 << 30), ..healthy() }, start)[1]
                .status
                .eq("True")
        );
        assert!(
            conditions(&[], &Signals { pressure: large_disk(1 << 29), ..healthy() }, start)[1]
                .status
                .eq("True")
        );
        signals.not_ready = vec!["a".into(), "b".into()];
        let later = start + SignedDuration::from_secs(60);
        let second = conditions(&first, &signals, later);
        assert_eq!(events(&first, &second), ["NodeHasDiskPressure", "NodeNotReady"]);
        assert_eq!(second[3].message.as_deref(), Some("[a, b]"));
        assert_eq!(second[0].last_transition_time, Some(Time(start)));
        assert_eq!(second[1].last_transition_time, Some(Time(later)));
    }
}
