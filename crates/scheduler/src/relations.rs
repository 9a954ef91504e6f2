//! [`Relations`]: what a pod wants of the pods around it, and what they can want of it.

use std::collections::{BTreeMap, HashMap};

use api::selector::{LabelSelector, Operator, Requirement};
use k8s_openapi::api::core::v1::{Pod, PodAffinityTerm};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as SelectorObject;

use crate::spread::Constraint;

pub type Labels = BTreeMap<String, String>;

/// The labels of namespaces, by their names: terms may select by them.
pub type Namespaces = HashMap<String, Labels>;

/// Other pods, near by in the sense of a label of nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// Nodes with equal values of this label are one place.
    pub topology_key: String,
    pods: LabelSelector,
    namespaces: Vec<String>,
    /// Namespaces by their labels, beside those named.
    namespace_selector: LabelSelector,
}

/// A pod's place among the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Relations {
    pub namespace: String,
    pub labels: Labels,
    /// The pod is being deleted.
    pub leaving: bool,
    /// Pods it must be near to.
    pub near: Vec<Term>,
    /// Pods it must not be near to.
    pub apart: Vec<Term>,
    /// Pods it would like to be near to, by weight; a negative weight keeps away.
    pub preferred: Vec<(i64, Term)>,
    pub spread: Vec<Constraint>,
}

impl Relations {
    pub fn of(pod: &Pod) -> Self {
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        let labels = pod.metadata.labels.clone().unwrap_or_default();
        let mut relations =
            Self { namespace, labels, leaving: pod.metadata.deletion_timestamp.is_some(), ..Self::default() };
        let Some(spec) = &pod.spec else { return relations };
        let constraints = spec.topology_spread_constraints.iter().flatten();
        relations.spread = constraints.map(|c| Constraint::new(c, &relations.labels)).collect();
        let Some(affinity) = &spec.affinity else { return relations };
        let (mut near, mut apart, mut preferred) = (Vec::new(), Vec::new(), Vec::new());
        let term = |term: &PodAffinityTerm| Term::new(term, &relations);
        if let Some(wanted) = &affinity.pod_affinity {
            near.extend(
                wanted.required_during_scheduling_ignored_during_execution.iter().flatten().map(term),
            );
            let soft = wanted.preferred_during_scheduling_ignored_during_execution.iter().flatten();
            preferred.extend(soft.map(|t| (i64::from(t.weight), term(&t.pod_affinity_term))));
        }
        if let Some(unwanted) = &affinity.pod_anti_affinity {
            apart.extend(
                unwanted.required_during_scheduling_ignored_during_execution.iter().flatten().map(term),
            );
            let soft = unwanted.preferred_during_scheduling_ignored_during_execution.iter().flatten();
            preferred.extend(soft.map(|t| (-i64::from(t.weight), term(&t.pod_affinity_term))));
        }
        Self { near, apart, preferred, ..relations }
    }

    /// Whether the pod says anything about the pods around it.
    pub fn has_terms(&self) -> bool {
        !(self.near.is_empty() && self.apart.is_empty() && self.preferred.is_empty())
    }

    /// Whether a pod that comes can make a difference for the better to where this one may go.
    pub fn welcomes(&self, other: &Self, namespaces: &Namespaces) -> bool {
        self.near.iter().any(|term| term.means(other, namespaces)) || self.spreads_with(other)
    }

    /// The same for a pod that goes.
    pub fn gains_by_loss_of(&self, other: &Self, namespaces: &Namespaces) -> bool {
        let means = |term: &Term| term.means(other, namespaces);
        // With the last one gone, a pod that is of the sort it must be near to is the first.
        self.apart.iter().any(means) || self.near.iter().any(means) || self.spreads_with(other)
    }

    fn spreads_with(&self, other: &Self) -> bool {
        self.namespace == other.namespace && self.spread.iter().any(|c| c.means(&other.labels))
    }

    /// Whether other pods decide where this one may go.
    pub fn depends_on_others(&self) -> bool {
        self.has_terms() || !self.spread.is_empty()
    }
}

impl Term {
    fn new(term: &PodAffinityTerm, owner: &Relations) -> Self {
        let mut pods = selector(term.label_selector.as_ref());
        pods = with_keys(pods, term.match_label_keys.as_deref(), Operator::In, &owner.labels);
        pods = with_keys(pods, term.mismatch_label_keys.as_deref(), Operator::NotIn, &owner.labels);
        let mut namespaces = term.namespaces.clone().unwrap_or_default();
        if namespaces.is_empty() && term.namespace_selector.is_none() {
            namespaces.push(owner.namespace.clone());
        }
        let namespace_selector = selector(term.namespace_selector.as_ref());
        Self { topology_key: term.topology_key.clone(), pods, namespaces, namespace_selector }
    }

    /// Whether the term means a pod.
    pub fn means(&self, other: &Relations, namespaces: &Namespaces) -> bool {
        let in_namespace = || {
            let labels = namespaces.get(&other.namespace);
            self.namespaces.contains(&other.namespace)
                || self.namespace_selector.matches(|key| labels?.get(key).map(String::as_str))
        };
        selects(&self.pods, &other.labels) && in_namespace()
    }
}

/// Whether labels are selected.
pub fn selects(selector: &LabelSelector, labels: &Labels) -> bool {
    selector.matches(|key| labels.get(key).map(String::as_str))
}

/// The selector of an API object; one that is absent, or unreadable (which the API lets nobody write), selects
/// nothing.
pub fn selector(object: Option<&SelectorObject>) -> LabelSelector {
    object
        .and_then(|object| serde_json::to_value(object).ok())
        .and_then(|value| LabelSelector::from_object(&value).ok())
        .unwrap_or_else(LabelSelector::nothing)
}

/// The selector, narrowed to pods whose values of `keys` are (or are not) the owner's own. Keys the owner does not
/// have say nothing.
pub fn with_keys(
    selector: LabelSelector,
    keys: Option<&[String]>,
    operator: Operator,
    own: &Labels,
) -> LabelSelector {
    let keys = keys.unwrap_or_default();
    if keys.is_empty() || selector.is_nothing() {
        return selector;
    }
    let narrowing = keys.iter().filter_map(|key| {
        let value = own.get(key)?;
        Requirement::new(key, operator, vec![value.clone()]).ok()
    });
    LabelSelector::of(selector.requirements().iter().cloned().chain(narrowing).collect())
}
