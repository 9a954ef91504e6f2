//! Following a container runtime that sends no events (containerd before 1.7).
//!
//! Owns computing which pods changed between two lists of the runtime's containers; `run` lists every
//! [`PERIOD`], as upstream's pod lifecycle event generator does. No other part of the agent polls by the
//! clock, and with a runtime that sends events no part does.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use cri::v1;

use crate::cri_view::LABEL_POD_UID;

/// How often such a runtime is listed (upstream `pkg/kubelet/kubelet.go`, `genericPlegRelistPeriod`).
pub const PERIOD: Duration = Duration::from_secs(1);

/// What the last list showed.
#[derive(Debug, Default)]
pub struct Seen {
    /// By id: the pod's uid and the state.
    entries: HashMap<String, (String, i32)>,
}

impl Seen {
    /// The uids of pods whose sandboxes or containers came, went or changed since the last call.
    pub fn changes(
        &mut self,
        sandboxes: &[v1::PodSandbox],
        containers: &[v1::Container],
    ) -> BTreeSet<String> {
        let sandboxes = sandboxes.iter().map(|s| (&s.id, &s.labels, s.state));
        let containers = containers.iter().map(|c| (&c.id, &c.labels, c.state));
        let now: HashMap<String, (String, i32)> = sandboxes
            .chain(containers)
            .filter_map(|(id, labels, state)| Some((id.clone(), (labels.get(LABEL_POD_UID)?.clone(), state))))
            .collect();
        let came_or_changed = now.iter().filter(|(id, entry)| self.entries.get(*id) != Some(entry));
        let went = self.entries.iter().filter(|(id, _)| !now.contains_key(*id));
        let changed = came_or_changed.chain(went).map(|(_, (uid, _))| uid.clone()).collect();
        self.entries = now;
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(id: &str, uid: &str, state: v1::ContainerState) -> v1::Container {
        let labels = HashMap::from([(LABEL_POD_UID.to_owned(), uid.to_owned())]);
        v1::Container { id: id.to_owned(), labels, state: state as i32, ..Default::default() }
    }

    #[test]
    fn only_pods_that_changed_are_told() {
        use v1::ContainerState::{ContainerExited, ContainerRunning};
        let sandbox = v1::PodSandbox {
            id: "s".to_owned(),
            labels: HashMap::from([(LABEL_POD_UID.to_owned(), "three".to_owned())]),
            ..Default::default()
        };
        let (a, b) = (container("a", "one", ContainerRunning), container("b", "two", ContainerRunning));
        let foreign = v1::Container { id: "x".to_owned(), ..Default::default() };
        let mut seen = Seen::default();
        let told = |changes: BTreeSet<String>| changes.into_iter().collect::<Vec<_>>().join(" ");
        let first = [a.clone(), b.clone(), foreign];
        assert_eq!(told(seen.changes(std::slice::from_ref(&sandbox), &first)), "one three two");
        assert_eq!(told(seen.changes(std::slice::from_ref(&sandbox), &[a.clone(), b])), "");
        let ended = container("b", "two", ContainerExited);
        assert_eq!(told(seen.changes(&[], &[a, ended])), "three two");
        assert_eq!(told(seen.changes(&[], &[])), "one two");
    }
}
