//! [`Budgets`]: the PodDisruptionBudgets, as far as evictions for more important pods look at them. They are kept to
//! where that is possible, and no further, as upstream.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use api::selector::LabelSelector;
use informer::Key;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;

use crate::relations::Identity;

#[derive(Debug)]
struct Budget {
    selector: LabelSelector,
    allowed: i32,
    /// Pods whose eviction is counted already.
    going: BTreeSet<String>,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Budgets(HashMap<Arc<str>, BTreeMap<Arc<str>, Budget>>);

impl Budgets {
    /// A budget as it is now; `None` for one that is gone.
    pub fn changed(&mut self, key: &Key, budget: Option<&PodDisruptionBudget>) {
        let held = self.0.entry(Arc::clone(&key.namespace)).or_default();
        match budget.and_then(Budget::of) {
            Some(budget) => drop(held.insert(Arc::clone(&key.name), budget)),
            None => drop(held.remove(&key.name)),
        }
        if held.is_empty() {
            self.0.remove(&key.namespace);
        }
    }

    /// Which of the pods exceed what a budget allows, if all of them go. Each with its name, in the order in which they
    /// are counted.
    pub(crate) fn exceeded<'p>(&self, pods: impl Iterator<Item = (&'p str, &'p Identity)>) -> Vec<bool> {
        let mut left: HashMap<(&str, &str), i32> = HashMap::new();
        let mut exceeds = |(name, identity): (&str, &Identity)| {
            let mut is_exceeded = false;
            let Some((namespace, budgets)) = self.0.get_key_value(&identity.namespace) else { return false };
            for (named, budget) in budgets {
                if !budget.selector.matches(|key| identity.label(key)) || budget.going.contains(name) {
                    continue;
                }
                let left = left.entry((namespace, named)).or_insert(budget.allowed);
                *left -= 1;
                is_exceeded |= *left < 0;
            }
            is_exceeded
        };
        pods.map(&mut exceeds).collect()
    }
}

impl Budget {
    /// `None` for one that covers no pod here: without a selector, or with an empty one, as upstream's scheduler.
    fn of(budget: &PodDisruptionBudget) -> Option<Self> {
        let selector = serde_json::to_value(budget.spec.as_ref()?.selector.as_ref()?).ok()?;
        let selector =
            LabelSelector::from_object(&selector).ok().filter(|selector| !selector.is_everything())?;
        let status = budget.status.as_ref();
        let going = status.and_then(|status| status.disrupted_pods.as_ref());
        Some(Self {
            selector,
            allowed: status.and_then(|status| status.disruptions_allowed).unwrap_or(0),
            going: going.into_iter().flatten().map(|(name, _)| name.clone()).collect(),
        })
    }
}
