//! The table that followed events decides as one that was just made, and its figures are what counting gives.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::Node;
use proptest::prelude::*;

use super::*;
use crate::relations::{Constraint, Term};
use crate::samples::{self, node};
use crate::verdict::Rule;

/// What the table was told, in the order of its positions.
#[derive(Default)]
struct Told {
    nodes: Vec<(Node, bool)>,
    placed: HashMap<String, (PodInfo, usize)>,
}

fn pod(name: &str, sort: u8, leaving: bool) -> PodInfo {
    PodInfo::new(&samples::pod(name, sort, leaving))
}

impl Told {
    /// A table that hears everything at once, in an order of its own.
    fn table(&self) -> Nodes {
        let mut table = Nodes::default();
        for (node, _) in &self.nodes {
            table.set_node(node);
        }
        for (node, _) in self.nodes.iter().filter(|(_, present)| !present) {
            table.remove_node(node.metadata.name.as_deref().expect("a name"));
        }
        let mut names: Vec<_> = self.placed.keys().collect();
        names.sort_unstable();
        for name in names {
            let (pod, node) = &self.placed[name];
            table.place(pod, &format!("n{node}"));
        }
        table
    }

    fn label<'n>(&'n self, at: usize, key: &str) -> Option<&'n str> {
        let (node, present) = &self.nodes[at];
        node.metadata.labels.as_ref()?.get(key).filter(|_| *present).map(String::as_str)
    }

    /// How many placed pods that `means` holds for are where node `at` is, by the label.
    fn count(&self, at: usize, key: &str, means: impl Fn(&PodInfo, usize) -> bool) -> Option<i64> {
        let place = self.label(at, key)?;
        let there = self.placed.values().filter(|(_, on)| self.label(*on, key) == Some(place));
        i64::try_from(there.filter(|(pod, on)| means(pod, *on)).count()).ok()
    }

    fn social(&self, pod: &PodInfo, at: usize) -> Verdict {
        let none = HashMap::new();
        let means = |term: &Term, other: &PodInfo| term.audience.means(&other.shape.identity, &none);
        let wishes = pod.shape.wishes.as_deref().cloned().unwrap_or_default();
        let counts = |c: &Constraint, on: usize| {
            let keys = wishes.even.iter().all(|c| self.label(on, &c.scope.key).is_some());
            let tainted = self.nodes[on].0.spec.as_ref().and_then(|s| s.taints.as_ref()).is_some();
            keys && c.scope.nodes.matches("", |key| self.label(on, key))
                && !(c.scope.tolerations.is_some() && tainted)
        };
        for c in &wishes.even {
            let key = &c.scope.key;
            let there = |at: usize| {
                let meant = |other: &PodInfo, on: usize| {
                    counts(c, on) && c.audience.means(&other.shape.identity, &none)
                };
                self.count(at, key, meant)
            };
            let Some(here) = there(at) else { return Verdict::no(Rule::NoPlace) };
            let emptiest =
                (0..self.nodes.len()).filter(|on| counts(c, *on)).filter_map(there).min().unwrap_or(0);
            let itself = i64::from(c.audience.means(&pod.shape.identity, &none));
            if here + itself - emptiest > c.max_skew {
                return Verdict::no(Rule::Spread);
            }
        }
        let has = |term: &Term, by: &dyn Fn(&PodInfo) -> bool| {
            self.count(at, &term.topology_key, |other, _| by(other))
        };
        for term in &wishes.near {
            let anywhere = (0..self.nodes.len())
                .filter_map(|on| self.count(on, &term.topology_key, |other, _| means(term, other)));
            let first = anywhere.sum::<i64>() == 0 && means(term, pod);
            if !has(term, &|other| means(term, other)).is_some_and(|there| first || there > 0) {
                return Verdict::no(Rule::Near);
            }
        }
        if wishes
            .apart
            .iter()
            .any(|term| has(term, &|other| means(term, other)).is_some_and(|there| there > 0))
        {
            return Verdict::no(Rule::Apart);
        }
        let repels = |(other, on): &(PodInfo, usize)| {
            let apart = other.shape.wishes.as_ref().map(|wishes| wishes.apart.clone()).unwrap_or_default();
            let near =
                |key: &str| self.label(at, key).is_some() && self.label(at, key) == self.label(*on, key);
            apart.iter().any(|term| means(term, pod) && near(&term.topology_key))
        };
        if self.placed.values().any(repels) { Verdict::no(Rule::Repelled) } else { Verdict::FITS }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn following_events_is_as_good_as_counting(
        events in proptest::collection::vec((0u8..8, any::<u8>(), any::<u8>(), any::<u8>()), 1..60),
    ) {
        let (mut told, mut table, mut start) = (Told::default(), Nodes::default(), 0);
        for number in 0..5 {
            let node = node(number, u8::try_from(number % 3).expect("small"));
            table.set_node(&node);
            told.nodes.push((node, true));
        }
        for (i, (what, a, b, c)) in events.into_iter().enumerate() {
            let at = usize::from(a) % told.nodes.len();
            let known = format!("p{}", usize::from(b) % (i + 1));
            match what {
                0 => {
                    told.nodes[at] = (node(at, b % 4), true);
                    table.set_node(&told.nodes[at].0);
                }
                1 if told.nodes.iter().filter(|(_, present)| *present).count() > 2 => {
                    // A position that holds nothing may be given away, which would move nodes about.
                    if told.placed.values().any(|(_, on)| *on == at) {
                        told.nodes[at].1 = false;
                        table.remove_node(&format!("n{at}"));
                    }
                }
                2 => {
                    told.placed.remove(&known);
                    table.remove_pod(&known);
                }
                3 if told.placed.contains_key(&known) => {
                    let (on, changed) = (told.placed[&known].1, pod(&known, b, c.is_multiple_of(2)));
                    table.place(&changed, &format!("n{on}"));
                    told.placed.insert(known, (changed, on));
                }
                _ => {
                    let pod = pod(&format!("p{i}"), b, false);
                    let chance = Chance { start, tie: u64::from(c) };
                    let (decision, next) = decide(&pod, &mut table, chance);
                    let mut fresh = told.table();
                    prop_assert_eq!(&(decision.clone(), next), &decide(&pod, &mut fresh, chance));
                    prop_assert_eq!(&(decision.clone(), next), &decide(&pod, &mut table, chance), "asked again");
                    let neighbours = Neighbours::of(&pod.shape, &table);
                    for on in (0..told.nodes.len()).filter(|on| told.nodes[*on].1) {
                        prop_assert_eq!(neighbours.check(on), told.social(&pod, on), "node {}", on);
                    }
                    start = next;
                    if let Decision::Bind(name) = decision {
                        table.place(&pod, &name);
                        let on = name[1..].parse().expect("a number");
                        told.placed.insert(format!("p{i}"), (pod, on));
                    }
                }
            }
        }
    }
}
