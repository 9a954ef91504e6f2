//! [`Constraint`]: how evenly pods are to lie over places, and how many lie where.

use std::collections::HashMap;

use api::selector::{LabelSelector, Operator};
use k8s_openapi::api::core::v1::TopologySpreadConstraint;

use crate::filters::{fits_affinity, fits_taints};
use crate::nodes::{NodeInfo, Nodes};
use crate::pod::PodInfo;
use crate::relations::{Labels, selector, selects, with_keys};

/// A topology spread constraint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constraint {
    /// How many pods more than the emptiest place a place may have.
    pub max_skew: i64,
    /// Nodes with equal values of this label are one place.
    pub topology_key: String,
    /// It must be kept (`DoNotSchedule`); else it only leads the choice.
    pub hard: bool,
    pods: LabelSelector,
    min_domains: usize,
    /// Nodes that the pod's node affinity refuses are no places.
    honors_affinity: bool,
    /// Nodes whose taints the pod does not tolerate are no places.
    honors_taints: bool,
}

impl Constraint {
    /// `own`: the labels of the pod that has the constraint.
    pub fn new(constraint: &TopologySpreadConstraint, own: &Labels) -> Self {
        let pods = selector(constraint.label_selector.as_ref());
        Self {
            max_skew: i64::from(constraint.max_skew),
            topology_key: constraint.topology_key.clone(),
            hard: constraint.when_unsatisfiable != "ScheduleAnyway",
            pods: with_keys(pods, constraint.match_label_keys.as_deref(), Operator::In, own),
            min_domains: usize::try_from(constraint.min_domains.unwrap_or(1)).unwrap_or(1),
            honors_affinity: constraint.node_affinity_policy.as_deref() != Some("Ignore"),
            honors_taints: constraint.node_taints_policy.as_deref() == Some("Honor"),
        }
    }

    /// Whether it means pods with these labels, in the namespace of the pod that has it.
    pub fn means(&self, labels: &Labels) -> bool {
        selects(&self.pods, labels)
    }

    fn counts_on(&self, pod: &PodInfo, node: &NodeInfo) -> bool {
        (!self.honors_affinity || fits_affinity(pod, node)) && (!self.honors_taints || fits_taints(pod, node))
    }
}

/// The pods a constraint means, by place.
#[derive(Debug)]
pub struct Places<'n> {
    pub constraint: &'n Constraint,
    /// By the value of the topology label; places without such pods are there with 0.
    pods: HashMap<&'n str, i64>,
    /// The pod itself will count, once it is there.
    itself: i64,
}

impl<'n> Places<'n> {
    /// Counts for each constraint of `pod` that is as hard as asked for. Nodes that lack a label which any of
    /// these constraints goes by are no places.
    pub fn of(pod: &'n PodInfo, nodes: &'n Nodes, hard: bool) -> Vec<Self> {
        let relations = &pod.relations;
        let wanted: Vec<&Constraint> = relations.spread.iter().filter(|c| c.hard == hard).collect();
        if wanted.is_empty() {
            return Vec::new();
        }
        let is_place = |node: &NodeInfo| wanted.iter().all(|c| node.labels.contains_key(&c.topology_key));
        let mut places: Vec<Self> = wanted
            .iter()
            .map(|constraint| Self {
                constraint,
                pods: nodes
                    .iter()
                    .filter(|node| is_place(node) && constraint.counts_on(pod, node))
                    .map(|node| (node.labels[&constraint.topology_key].as_str(), 0))
                    .collect(),
                itself: i64::from(constraint.means(&relations.labels)),
            })
            .collect();
        for (other, node) in nodes.placed() {
            if other.leaving || other.namespace != relations.namespace || !is_place(node) {
                continue;
            }
            for place in &mut places {
                let constraint = place.constraint;
                if constraint.means(&other.labels)
                    && constraint.counts_on(pod, node)
                    && let Some(count) = place.pods.get_mut(node.labels[&constraint.topology_key].as_str())
                {
                    *count += 1;
                }
            }
        }
        places
    }

    /// How many such pods lie at a node's place; `None` where the node lacks the label.
    pub fn at(&self, node: &NodeInfo) -> Option<i64> {
        let place = node.labels.get(&self.constraint.topology_key)?;
        Some(self.pods.get(place.as_str()).copied().unwrap_or(0))
    }

    /// Whether the pod may go to a place that has `there` of them already.
    pub fn allows(&self, there: i64) -> bool {
        let few_places = self.pods.len() < self.constraint.min_domains;
        let emptiest = if few_places { 0 } else { self.pods.values().copied().min().unwrap_or(0) };
        there + self.itself - emptiest <= self.constraint.max_skew
    }
}
