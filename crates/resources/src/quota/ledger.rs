//! [`Ledger`]: what the objects of one resource in one namespace use, kept up to date object by object.

use std::collections::{HashMap, HashSet};

use api::{GroupResource, Object};
use jiff::Timestamp;

use super::{Amounts, Measure, Quota, add, subtract};

/// Sums by quota, updated as objects come, change and go. Nothing is counted twice: an object is known by its name.
pub struct Ledger {
    resource: GroupResource,
    objects: HashMap<String, Held>,
    names: HashMap<String, String>,
    /// Names of objects that use less once a time has come.
    leaving: HashSet<String>,
    /// What all objects use of each quota that was asked about.
    sums: Vec<(Quota, Amounts)>,
}

struct Held {
    uid: String,
    measure: Measure,
}

impl Ledger {
    /// An empty ledger for objects of the resource.
    pub fn new(resource: GroupResource) -> Self {
        Self {
            resource,
            objects: HashMap::new(),
            names: HashMap::new(),
            leaving: HashSet::new(),
            sums: Vec::new(),
        }
    }

    pub fn resource(&self) -> &GroupResource {
        &self.resource
    }

    /// Counts an object as it is now.
    pub fn put(&mut self, object: &Object) {
        let (name, uid) = (object.name().to_owned(), object.uid().to_owned());
        self.remove(&name);
        let measure = Measure::of(&self.resource, object);
        self.count(&measure, add);
        if measure.until.is_some() {
            self.leaving.insert(name.clone());
        }
        self.names.insert(uid.clone(), name.clone());
        self.objects.insert(name, Held { uid, measure });
    }

    /// Counts an object no more.
    pub fn remove(&mut self, name: &str) {
        let Some(held) = self.objects.remove(name) else { return };
        self.leaving.remove(name);
        self.names.remove(&held.uid);
        self.count(&held.measure, subtract);
    }

    /// Forgets all objects.
    pub fn clear(&mut self) {
        *self = Self::new(self.resource.clone());
    }

    /// Counts objects no more whose time has come.
    pub fn expire(&mut self, now: Timestamp) {
        let over = |held: &Held| held.measure.until.is_none_or(|until| until < now);
        let over: Vec<String> =
            self.leaving.iter().filter(|name| self.objects.get(*name).is_none_or(over)).cloned().collect();
        for name in over {
            self.leaving.remove(&name);
            if let Some(mut held) = self.objects.remove(&name) {
                self.count(&held.measure, subtract);
                (held.measure.active, held.measure.until) = (Amounts::new(), None);
                self.count(&held.measure, add);
                self.objects.insert(name, held);
            }
        }
    }

    /// When [`Ledger::expire`] next has something to do.
    pub fn next_expiry(&self) -> Option<Timestamp> {
        self.leaving.iter().filter_map(|name| self.objects.get(name)?.measure.until).min()
    }

    /// What the object of this uid uses.
    pub fn measure(&self, uid: &str) -> Option<&Measure> {
        self.objects.get(self.names.get(uid)?).map(|held| &held.measure)
    }

    /// What all objects use of a quota: every resource that it bounds and these objects use, also where that is none.
    pub fn used(&mut self, quota: &Quota) -> Amounts {
        let mut used = match self.sums.iter().find(|(known, _)| known == quota) {
            Some((_, sum)) => sum.clone(),
            None => self.sum(quota),
        };
        for name in quota.names_of(&self.resource) {
            used.entry(name.to_owned()).or_default();
        }
        used
    }

    fn sum(&mut self, quota: &Quota) -> Amounts {
        let mut sum = Amounts::new();
        for held in self.objects.values() {
            change(&mut sum, quota, &self.resource, &held.measure, add);
        }
        // A quota that has changed is another one.
        self.sums.retain(|(known, _)| known.uid != quota.uid);
        self.sums.push((quota.clone(), sum.clone()));
        sum
    }

    fn count(&mut self, measure: &Measure, how: fn(&mut Amounts, &Amounts)) {
        for (quota, sum) in &mut self.sums {
            change(sum, quota, &self.resource, measure, how);
        }
    }
}

fn change(
    sum: &mut Amounts,
    quota: &Quota,
    resource: &GroupResource,
    measure: &Measure,
    how: fn(&mut Amounts, &Amounts),
) {
    if quota.counts(resource, &measure.traits) {
        for used in [&measure.stored, &measure.active] {
            how(sum, &quota.mask(used));
        }
    }
}
