//! What resource quotas count, and by which of them an object is bound. Pure: admission, which refuses, and the
//! controller, which shows what is used, decide by these functions.
//!
//! Start with [`Quota`] (what a quota bounds), [`Measure`] (what an object uses) and [`Ledger`] (what all of them do). Upstream:
//! `pkg/quota/v1/evaluator/core` and `staging/src/k8s.io/apiserver/pkg/quota/v1`.

mod ledger;
mod names;
mod pod;
mod scope;
mod usage;

use std::collections::BTreeMap;

use api::quantity::Quantity;
use api::{GroupResource, Object};
use serde_json::Value;

pub use ledger::Ledger;
pub use names::{concerns, object_count, resource_of};
pub use pod::missing as missing_in_pod;
pub use scope::{Requirement, Traits};
pub use usage::Measure;

/// Amounts by the names that quotas use.
pub type Amounts = BTreeMap<String, Quantity>;

/// What one quota bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    pub name: String,
    pub uid: String,
    /// The most there may be, by resource.
    pub hard: Amounts,
    /// What an object must be like to count; all of them.
    pub scopes: Vec<Requirement>,
}

impl Quota {
    /// The quota of a `ResourceQuota` object.
    pub fn of(object: &Object) -> Self {
        Self {
            name: object.name().to_owned(),
            uid: object.uid().to_owned(),
            hard: amounts(object.at(&["spec", "hard"])),
            scopes: scope::requirements(object),
        }
    }

    /// The bounded resources that objects of this resource use.
    pub fn names_of<'q>(&'q self, resource: &GroupResource) -> Vec<&'q str> {
        self.hard.keys().map(String::as_str).filter(|name| concerns(name, resource)).collect()
    }

    /// Whether an object counts, by what it is like.
    pub fn counts(&self, resource: &GroupResource, traits: &Traits) -> bool {
        self.scopes.iter().all(|requirement| requirement.is_met(resource, traits))
    }

    /// Of the amounts, those that are bounded.
    pub fn mask(&self, amounts: &Amounts) -> Amounts {
        only(amounts, |name| self.hard.contains_key(name))
    }
}

/// The amounts of a resource list; what is no quantity is left out.
pub fn amounts(list: Option<&Value>) -> Amounts {
    let entries = list.and_then(Value::as_object).into_iter().flatten();
    entries.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.parse().ok()?))).collect()
}

/// Those amounts whose names are wanted.
pub fn only(amounts: &Amounts, wanted: impl Fn(&str) -> bool) -> Amounts {
    amounts.iter().filter(|(name, _)| wanted(name)).map(|(name, amount)| (name.clone(), *amount)).collect()
}

/// Adds all amounts.
pub fn add(sum: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let total = sum.get(name).map_or(*amount, |total| total.plus(amount));
        sum.insert(name.clone(), total);
    }
}

/// Takes all amounts away.
pub fn subtract(sum: &mut Amounts, less: &Amounts) {
    for (name, amount) in less {
        let total = sum.get(name).copied().unwrap_or(Quantity::ZERO).minus(amount);
        sum.insert(name.clone(), total);
    }
}

/// By how much `new` is more than `old`; what is not more is left out.
pub fn increase(new: &Amounts, old: &Amounts) -> Amounts {
    let more = new.iter().map(|(name, amount)| {
        let before = old.get(name).copied().unwrap_or(Quantity::ZERO);
        (name.clone(), amount.minus(&before))
    });
    more.filter(|(_, amount)| amount.signum() > 0).collect()
}

/// As messages have amounts: `cpu=1,memory=1Gi`.
pub fn words(amounts: &Amounts) -> String {
    amounts.iter().map(|(name, amount)| format!("{name}={amount}")).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests;
