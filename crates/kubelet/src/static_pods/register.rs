//! Which static pods run, which end, and which wait until another of their name has ended. Pure.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;

/// Namespace and name.
pub type Key = (String, String);

/// What a pod is called.
pub fn key(pod: &Pod) -> Key {
    (pod.metadata.namespace.clone().unwrap_or_default(), pod.metadata.name.clone().unwrap_or_default())
}

fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

/// What is to be done.
#[derive(Debug, Clone)]
pub enum Step {
    Start(Arc<Pod>),
    End(Arc<Pod>),
    /// Another one asks for the same name, and was there first.
    Waits(Arc<Pod>),
}

/// A static pod that has a worker.
#[derive(Debug, Clone)]
pub struct Running {
    pub pod: Arc<Pod>,
    pub ending: bool,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Register {
    running: BTreeMap<Key, Running>,
    forgotten: bool,
}

impl Register {
    /// What follows from what the sources ask for now, the one that counts more first. `alive` tells whether something is
    /// left of a pod.
    pub fn settle(&mut self, offered: &[Arc<Pod>], alive: impl Fn(&str) -> bool) -> Vec<Step> {
        let before = self.running.len();
        self.running.retain(|_, running| !running.ending || alive(uid(&running.pod)));
        self.forgotten |= self.running.len() < before;
        let mut steps = Vec::new();
        let mut wanted: BTreeMap<Key, &Arc<Pod>> = BTreeMap::new();
        for pod in offered {
            let is_here = |running: &Running| !running.ending && uid(&running.pod) == uid(pod);
            match wanted.entry(key(pod)) {
                Entry::Vacant(place) => drop(place.insert(pod)),
                Entry::Occupied(mut place) if self.running.get(place.key()).is_some_and(is_here) => {
                    steps.push(Step::Waits(place.insert(pod).clone()));
                }
                Entry::Occupied(_) => steps.push(Step::Waits(pod.clone())),
            }
        }
        for (key, running) in &mut self.running {
            let stays = wanted.get(key).is_some_and(|pod| uid(pod) == uid(&running.pod));
            if !stays && !running.ending {
                running.ending = true;
                steps.push(Step::End(running.pod.clone()));
            }
        }
        for (key, pod) in wanted {
            if let Entry::Vacant(place) = self.running.entry(key) {
                place.insert(Running { pod: pod.clone(), ending: false });
                steps.push(Step::Start(pod.clone()));
            }
        }
        steps
    }

    /// The pod as its worker has it.
    pub fn has_started(&mut self, pod: Arc<Pod>) {
        if let Some(running) = self.running.get_mut(&key(&pod)) {
            running.pod = pod;
        }
    }

    /// A pod of an earlier agent that is being ended: who has its name waits.
    pub fn is_ending(&mut self, pod: Arc<Pod>) {
        self.running.insert(key(&pod), Running { pod, ending: true });
    }

    /// Whether pods have come to their end since this was asked last.
    pub fn has_forgotten(&mut self) -> bool {
        std::mem::take(&mut self.forgotten)
    }

    /// Those that have a worker.
    pub fn running(&self) -> Vec<Running> {
        self.running.values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, uid: &str) -> Arc<Pod> {
        let pod = json!({"metadata": {"name": name, "namespace": "ns", "uid": uid}});
        Arc::new(serde_json::from_value(pod).expect("a pod"))
    }

    fn settle(register: &mut Register, offered: &[Arc<Pod>], alive: &[&str]) -> Vec<String> {
        let steps = register.settle(offered, |uid| alive.contains(&uid));
        let word = |step| match step {
            Step::Start(pod) => format!("start {}", uid(&pod)),
            Step::End(pod) => format!("end {}", uid(&pod)),
            Step::Waits(pod) => format!("waits {}", uid(&pod)),
        };
        steps.into_iter().map(word).collect()
    }

    #[test]
    fn an_edit_ends_the_former_pod_before_the_new_one_starts() {
        let mut register = Register::default();
        assert_eq!(settle(&mut register, &[pod("web", "1"), pod("db", "9")], &[]), ["start 9", "start 1"]);
        assert!(settle(&mut register, &[pod("web", "1"), pod("db", "9")], &["1", "9"]).is_empty());
        let edited = [pod("web", "2"), pod("db", "9")];
        assert_eq!(settle(&mut register, &edited, &["1", "9"]), ["end 1"]);
        assert!(settle(&mut register, &edited, &["1", "9"]).is_empty(), "it is asked once");
        assert_eq!(settle(&mut register, &edited, &["9"]), ["start 2"]);
        assert!(register.has_forgotten() && !register.has_forgotten());
        assert_eq!(settle(&mut register, &[], &["2", "9"]), ["end 9", "end 2"]);
        assert!(settle(&mut register, &[], &[]).is_empty());
        assert!(register.running().is_empty());
    }

    #[test]
    fn what_comes_back_while_it_ends_starts_anew() {
        let mut register = Register::default();
        settle(&mut register, &[pod("web", "1")], &[]);
        settle(&mut register, &[], &["1"]);
        assert!(settle(&mut register, &[pod("web", "1")], &["1"]).is_empty());
        assert_eq!(settle(&mut register, &[pod("web", "1")], &[]), ["start 1"]);
    }

    #[test]
    fn of_two_with_one_name_the_first_runs_until_it_is_gone() {
        let mut register = Register::default();
        assert_eq!(settle(&mut register, &[pod("web", "1"), pod("web", "2")], &[]), ["waits 2", "start 1"]);
        assert_eq!(settle(&mut register, &[pod("web", "3"), pod("web", "1")], &["1"]), ["waits 3"]);
        assert_eq!(settle(&mut register, &[pod("web", "3")], &["1"]), ["end 1"]);
        assert_eq!(settle(&mut register, &[pod("web", "3")], &[]), ["start 3"]);
    }

    #[test]
    fn what_an_earlier_agent_ran_ends_first() {
        let mut register = Register::default();
        register.is_ending(pod("web", "old"));
        assert!(settle(&mut register, &[pod("web", "new")], &["old"]).is_empty());
        assert_eq!(settle(&mut register, &[pod("web", "new")], &[]), ["start new"]);
    }
}
