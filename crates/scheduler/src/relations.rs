//! A pod's affinity and spread terms about other pods ([`Wishes`]), and the properties by which other pods' terms
//! select it ([`Identity`]).

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use api::selector::{LabelSelector, Operator, Requirement};
use informer::Meta;
use k8s_openapi::api::core::v1::{Pod, PodAffinityTerm, PodSpec, Toleration, TopologySpreadConstraint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector as SelectorObject;
use pods::NodeRequirements;

use crate::pool::Pool;
use crate::profile::{DefaultConstraint, DefaultSpread};

pub type Labels = BTreeMap<String, String>;

/// The labels of namespaces, by their names: terms may select by them.
pub type Namespaces = HashMap<Arc<str>, Labels>;

/// The properties by which other pods can select a pod.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    pub namespace: Arc<str>,
    /// Sorted by key.
    labels: Box<[(Arc<str>, Arc<str>)]>,
    /// The pod is being deleted.
    pub leaving: bool,
}

impl Identity {
    pub fn of(pod: &Pod, texts: &mut Pool<str>) -> Self {
        let labels = pod.metadata.labels.iter().flatten();
        Self {
            namespace: texts.text(pod.metadata.namespace.as_deref().unwrap_or("")),
            labels: labels.map(|(key, value)| (texts.text(key), texts.text(value))).collect(),
            leaving: pod.metadata.deletion_timestamp.is_some(),
        }
    }

    /// Whether this is still the identity of `pod`, whose namespace is unchanged.
    pub fn is_of(&self, pod: &Meta) -> bool {
        self.leaving == pod.is_being_deleted()
            && self.labels.iter().map(|(key, value)| (&**key, &**value)).eq(pod.labels.iter())
    }

    pub fn label(&self, key: &str) -> Option<&str> {
        let at = self.labels.binary_search_by(|(held, _)| (**held).cmp(key)).ok()?;
        Some(&self.labels[at].1)
    }

    /// What [`Audience::label_keys`] gives for audiences that ask for one of these labels.
    pub fn label_keys(&self) -> impl Iterator<Item = u64> {
        self.labels.iter().map(|(key, value)| label_key(&self.namespace, key, value))
    }
}

/// Pods, by their labels and namespaces.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Audience {
    pods: LabelSelector,
    pub namespaces: Vec<Arc<str>>,
    /// Namespaces by their labels, beside those named.
    namespace_selector: LabelSelector,
    /// Pods that are being deleted are not selected.
    staying: bool,
}

impl Audience {
    /// Whether the audience selects a pod.
    pub fn means(&self, other: &Identity, namespaces: &Namespaces) -> bool {
        let in_namespace = || {
            let labels = namespaces.get(&other.namespace);
            self.namespaces.contains(&other.namespace)
                || self.namespace_selector.matches(|key| labels?.get(key).map(String::as_str))
        };
        !(self.staying && other.leaving) && self.pods.matches(|key| other.label(key)) && in_namespace()
    }

    /// The same for a pod that may be just about to be deleted.
    pub fn means_also_leaving(&self, other: &Identity, namespaces: &Namespaces) -> bool {
        Self { staying: false, ..self.clone() }.means(other, namespaces)
    }

    /// Whether labels of namespaces decide.
    pub fn selects_namespaces(&self) -> bool {
        !self.namespace_selector.is_nothing()
    }

    /// One of these is among the [`Identity::label_keys`] of every pod meant; `None` where its pods need have no label
    /// in common.
    pub fn label_keys(&self) -> Option<Vec<u64>> {
        let (key, value) = self.common_label().filter(|_| !self.selects_namespaces())?;
        Some(self.namespaces.iter().map(|namespace| label_key(namespace, key, value)).collect())
    }

    /// A label that every selected pod has, if the selector requires one by its value.
    fn common_label(&self) -> Option<(&str, &str)> {
        self.pods.requirements().iter().find_map(|requirement| {
            let by_value =
                matches!(requirement.operator(), Operator::In | Operator::Equals | Operator::DoubleEquals);
            match requirement.values() {
                [value] if by_value => Some((requirement.key(), value.as_str())),
                _ => None,
            }
        })
    }
}

fn label_key(namespace: &str, key: &str, value: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (namespace, key, value).hash(&mut hasher);
    hasher.finish()
}

/// A term about other pods that are at the same place by a label of nodes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Term {
    /// Nodes with equal values of this label are one place.
    pub topology_key: Arc<str>,
    pub audience: Audience,
}

/// Which nodes' values of a label are places.
#[derive(Debug, Clone, PartialEq)]
pub struct Scope {
    pub key: Arc<str>,
    /// Other labels that a node must have.
    pub beside: Vec<Arc<str>>,
    pub nodes: NodeRequirements,
    /// Whose taints must be tolerated, where they count.
    pub tolerations: Option<Vec<Toleration>>,
}

impl Scope {
    /// All nodes that have the label.
    pub fn everywhere(key: &Arc<str>) -> Self {
        let key = Arc::clone(key);
        Self { key, beside: Vec::new(), nodes: NodeRequirements::default(), tolerations: None }
    }
}

// A toleration has no hash of its own; equality is by all fields.
impl Eq for Scope {}

impl Hash for Scope {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.key, &self.beside, &self.nodes).hash(state);
        self.tolerations.as_ref().map(Vec::len).hash(state);
    }
}

/// How evenly pods are to lie over places.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Constraint {
    /// How many pods more than the emptiest place a place may have.
    pub max_skew: i64,
    /// With fewer places than these, the emptiest counts as empty.
    pub min_places: usize,
    pub audience: Audience,
    pub scope: Scope,
    /// Whether nodes that lack the label count by the other constraints; else they come last.
    pub tolerates_missing: bool,
}

/// A pod's affinity and spread terms about other pods; most pods have none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Wishes {
    /// Required affinity.
    pub near: Vec<Term>,
    /// Required anti-affinity.
    pub apart: Vec<Term>,
    /// Preferred affinity, by weight; a negative weight is preferred anti-affinity.
    pub preferred: Vec<(i64, Term)>,
    /// Hard spread constraints.
    pub even: Vec<Constraint>,
    /// Soft spread constraints.
    pub rather_even: Vec<Constraint>,
    /// The constraints are the profile's, for want of own ones.
    by_default: bool,
}

impl Wishes {
    /// `None` for a pod without such terms. `siblings`: those among whom a pod without spread constraints is spread.
    pub fn of(
        spec: &PodSpec,
        own: &Identity,
        default: &DefaultSpread,
        siblings: Option<LabelSelector>,
        texts: &mut Pool<str>,
    ) -> Option<Self> {
        let mut wishes = Self::default();
        if let Some(wanted) = spec.affinity.as_ref().and_then(|affinity| affinity.pod_affinity.as_ref()) {
            let hard = wanted.required_during_scheduling_ignored_during_execution.iter().flatten();
            wishes.near.extend(hard.map(|t| Term::new(t, own, texts)));
            let soft = wanted.preferred_during_scheduling_ignored_during_execution.iter().flatten();
            let soft = soft.map(|t| (i64::from(t.weight), Term::new(&t.pod_affinity_term, own, texts)));
            wishes.preferred.extend(soft);
        }
        if let Some(unwanted) = spec.affinity.as_ref().and_then(|a| a.pod_anti_affinity.as_ref()) {
            let hard = unwanted.required_during_scheduling_ignored_during_execution.iter().flatten();
            wishes.apart.extend(hard.map(|t| Term::new(t, own, texts)));
            let soft = unwanted.preferred_during_scheduling_ignored_during_execution.iter().flatten();
            let soft = soft.map(|t| (-i64::from(t.weight), Term::new(&t.pod_affinity_term, own, texts)));
            wishes.preferred.extend(soft);
        }
        let constraints = || spec.topology_spread_constraints.iter().flatten();
        let of = |hard: bool, texts: &mut Pool<str>| -> Vec<Constraint> {
            let kept = constraints().filter(|c| (c.when_unsatisfiable != "ScheduleAnyway") == hard);
            let kept: Vec<_> = kept.collect();
            // Nodes that lack a label which any of these constraints goes by are no places.
            let mut keys: Vec<_> = kept.iter().map(|c| texts.text(&c.topology_key)).collect();
            keys.sort();
            keys.dedup();
            kept.into_iter().map(|c| Constraint::new(c, spec, own, &keys)).collect()
        };
        (wishes.even, wishes.rather_even) = (of(true, texts), of(false, texts));
        if let Some(siblings) = siblings.filter(|_| constraints().next().is_none()) {
            let of = |hard| Constraint::defaults(default, hard, &siblings, spec, own);
            (wishes.even, wishes.rather_even) = (of(true), of(false));
            wishes.by_default = !(wishes.even.is_empty() && wishes.rather_even.is_empty());
        }
        (wishes != Self::default()).then_some(wishes)
    }

    /// Whether it says nothing but the profile's spread constraints.
    pub fn is_default_alone(&self) -> bool {
        self.by_default && !self.has_terms()
    }

    /// Whether it says anything that counts for other pods too.
    pub fn has_terms(&self) -> bool {
        !(self.near.is_empty() && self.apart.is_empty() && self.preferred.is_empty())
    }
}

impl Term {
    fn new(term: &PodAffinityTerm, own: &Identity, texts: &mut Pool<str>) -> Self {
        let mut pods = selector(term.label_selector.as_ref());
        pods = with_keys(pods, term.match_label_keys.as_deref(), Operator::In, own);
        pods = with_keys(pods, term.mismatch_label_keys.as_deref(), Operator::NotIn, own);
        let mut namespaces: Vec<_> = term.namespaces.iter().flatten().map(|name| texts.text(name)).collect();
        if namespaces.is_empty() && term.namespace_selector.is_none() {
            namespaces.push(Arc::clone(&own.namespace));
        }
        let namespace_selector = selector(term.namespace_selector.as_ref());
        let audience = Audience { pods, namespaces, namespace_selector, staying: false };
        Self { topology_key: texts.text(&term.topology_key), audience }
    }
}

impl Constraint {
    /// `keys`: the labels that all constraints of this hardness go by, sorted.
    fn new(constraint: &TopologySpreadConstraint, spec: &PodSpec, own: &Identity, keys: &[Arc<str>]) -> Self {
        let pods = selector(constraint.label_selector.as_ref());
        let pods = with_keys(pods, constraint.match_label_keys.as_deref(), Operator::In, own);
        let honors_affinity = constraint.node_affinity_policy.as_deref() != Some("Ignore");
        let honors_taints = constraint.node_taints_policy.as_deref() == Some("Honor");
        let (own_key, beside): (Vec<_>, Vec<_>) =
            keys.iter().cloned().partition(|key| **key == *constraint.topology_key);
        Self {
            max_skew: i64::from(constraint.max_skew),
            min_places: usize::try_from(constraint.min_domains.unwrap_or(1)).unwrap_or(1),
            audience: Audience {
                pods,
                namespaces: vec![Arc::clone(&own.namespace)],
                namespace_selector: LabelSelector::nothing(),
                staying: true,
            },
            scope: Scope {
                key: own_key.into_iter().next().unwrap_or_else(|| Arc::from(&*constraint.topology_key)),
                beside,
                nodes: if honors_affinity { NodeRequirements::of(spec) } else { NodeRequirements::default() },
                tolerations: honors_taints.then(|| spec.tolerations.clone().unwrap_or_default()),
            },
            tolerates_missing: false,
        }
    }

    /// The profile's constraints of a hardness for a pod that is spread among its siblings.
    fn defaults(
        spread: &DefaultSpread,
        hard: bool,
        siblings: &LabelSelector,
        spec: &PodSpec,
        own: &Identity,
    ) -> Vec<Self> {
        let kept = || spread.constraints.iter().filter(|constraint| constraint.is_hard == hard);
        let of = |constraint: &DefaultConstraint| {
            let others =
                kept().filter(|_| !spread.tolerates_missing).map(|other| Arc::clone(&other.topology_key));
            let mut beside: Vec<Arc<str>> = others.filter(|key| *key != constraint.topology_key).collect();
            beside.sort();
            Self {
                max_skew: constraint.max_skew,
                min_places: 1,
                audience: Audience {
                    pods: siblings.clone(),
                    namespaces: vec![Arc::clone(&own.namespace)],
                    namespace_selector: LabelSelector::nothing(),
                    staying: true,
                },
                scope: Scope {
                    key: Arc::clone(&constraint.topology_key),
                    beside,
                    nodes: NodeRequirements::of(spec),
                    tolerations: None,
                },
                tolerates_missing: spread.tolerates_missing,
            }
        };
        kept().map(of).collect()
    }
}

/// The selector of an API object; one that is absent, or unreadable (which the API lets nobody write), selects
/// nothing.
fn selector(object: Option<&SelectorObject>) -> LabelSelector {
    object
        .and_then(|object| serde_json::to_value(object).ok())
        .and_then(|value| LabelSelector::from_object(&value).ok())
        .unwrap_or_else(LabelSelector::nothing)
}

/// The selector, narrowed to pods whose values of `keys` are (or are not) the owner's own. Keys the owner does not
/// have say nothing.
fn with_keys(
    selector: LabelSelector,
    keys: Option<&[String]>,
    operator: Operator,
    own: &Identity,
) -> LabelSelector {
    let keys = keys.unwrap_or_default();
    if keys.is_empty() || selector.is_nothing() {
        return selector;
    }
    let narrowing = keys.iter().filter_map(|key| {
        let value = own.label(key)?;
        Requirement::new(key, operator, vec![value.to_owned()]).ok()
    });
    LabelSelector::of(selector.requirements().iter().cloned().chain(narrowing).collect())
}
