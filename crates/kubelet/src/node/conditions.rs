//! The node's four conditions, in upstream's words. Pure.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::NodeCondition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::pressure::Condition;

/// The facts from which the conditions are computed.
#[derive(Debug, Clone, Default)]
pub struct Signals {
    /// What the node is short of.
    pub pressure: BTreeSet<Condition>,
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
    let is_short = |of: Condition| signals.pressure.contains(&of);
    let (memory, disk, pids) =
        (is_short(Condition::Memory), is_short(Condition::Disk), is_short(Condition::Pid));
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

    fn line(conditions: &[NodeCondition]) -> String {
        let one =
            |c: &NodeCondition| format!("{}={}({})", c.type_, c.status, c.reason.as_deref().unwrap_or(""));
        conditions.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn values_follow_the_signals_and_transitions_are_kept() {
        let start = Timestamp::UNIX_EPOCH;
        let first = conditions(&[], &Signals::default(), start);
        assert_eq!(
            line(&first),
            "MemoryPressure=False(KubeletHasSufficientMemory) DiskPressure=False(KubeletHasNoDiskPressure) \
             PIDPressure=False(KubeletHasSufficientPID) Ready=True(KubeletReady)"
        );
        assert_eq!(
            events(&[], &first),
            ["NodeHasSufficientMemory", "NodeHasNoDiskPressure", "NodeHasSufficientPID", "NodeReady"]
        );
        let mut signals = Signals { pressure: [Condition::Disk].into(), ..Signals::default() };
        signals.not_ready = vec!["a".into(), "b".into()];
        let later = start + SignedDuration::from_secs(60);
        let second = conditions(&first, &signals, later);
        assert_eq!(events(&first, &second), ["NodeHasDiskPressure", "NodeNotReady"]);
        assert_eq!(second[3].message.as_deref(), Some("[a, b]"));
        assert_eq!(second[0].last_transition_time, Some(Time(start)));
        assert_eq!(second[1].last_transition_time, Some(Time(later)));
    }
}
