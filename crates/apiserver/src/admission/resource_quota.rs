//! No namespace uses more than its quotas grant: what a write will use is charged before its commit, so that many
//! writers at once never overshoot.
//!
//! [`ResourceQuota`] finds the quotas that bind an object. What is used is counted in a [`Book`](book::Book) for each
//! namespace and resource, from the watch cache: a book takes in what has changed when somebody asks, and holds what
//! is charged until the cache shows the write or the write has failed. What a quota's status shows is the
//! controller's business. Upstream: `staging/src/k8s.io/apiserver/pkg/admission/plugin/resourcequota`.
//!
//! Of several servers on one store each sees the others' writes as its cache does: there the bound holds for what the
//! cache shows when a request begins.

mod book;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use api::{Error, GroupResource, Object};
use base::Clock;
use k8s_openapi::api::core::v1::Pod;
use resources::quota::{self, Amounts, Measure, Quota};

use super::plugin::{Operation, Review};
use super::reservation::{Attempt, Committed, Hold, Reservation, Reserver, Stage};
use crate::cache::lookup::{Lookup, decode};
use crate::eventual::Eventual;
use book::{Book, Charge, ChargeId};

/// A namespace and where a resource's objects are stored.
type Place = (String, String);

/// The plugin `ResourceQuota`.
pub struct ResourceQuota {
    lookup: Lookup,
    clock: Arc<dyn Clock>,
    /// The books of namespaces with quotas.
    books: Mutex<HashMap<Place, Arc<Mutex<Book>>>>,
}

impl ResourceQuota {
    pub fn new(lookup: Lookup, clock: Arc<dyn Clock>) -> Self {
        Self { lookup, clock, books: Mutex::default() }
    }

    /// The quotas of the namespace, in the order of their names.
    fn quotas(&self, namespace: &str) -> Vec<Quota> {
        let Some(cache) = self.lookup.resource("", "resourcequotas").filter(|cache| !cache.is_empty()) else {
            return Vec::new();
        };
        let entries = cache.snapshot(Some(namespace)).entries;
        entries.iter().filter_map(|entry| Some(Quota::of(&decode::<Object>(entry)?))).collect()
    }

    fn book(&self, review: &Review<'_>) -> Option<Arc<Mutex<Book>>> {
        let place = (review.attributes.namespace.clone(), review.resource.storage_prefix.to_string());
        let mut books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(book) = books.get(&place) {
            return Some(Arc::clone(book));
        }
        let book = Book::open(self.lookup.clone(), &place.0, &place.1, review.resource.group_resource())?;
        let book = Arc::new(Mutex::new(book));
        books.insert(place, Arc::clone(&book));
        Some(book)
    }

    /// Forgets what was counted in a namespace that has no quotas any more.
    fn close(&self, namespace: &str) {
        let mut books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        if !books.is_empty() {
            books.retain(|(of, _), book| {
                of != namespace || book.lock().unwrap_or_else(PoisonError::into_inner).is_in_use()
            });
        }
    }

    fn charge(
        &self,
        review: &Review<'_>,
        object: &Object,
        held: Option<Reservation>,
    ) -> Result<Option<Reservation>, Error> {
        let namespace = &review.attributes.namespace;
        let quotas = self.quotas(namespace);
        if quotas.is_empty() {
            self.close(namespace);
            return Ok(None);
        }
        let resource = review.resource.group_resource();
        let now = self.clock.now();
        let measure = Measure::of(&resource, object);
        let bound = binding(&quotas, &resource, &measure);
        if bound.is_empty() {
            return Ok(None);
        }
        check_named(review, object, &resource, &bound)?;
        let used = measure.at(now);
        let before = review.old.map(|old| Measure::of(&resource, old).at(now)).unwrap_or_default();
        let more = quota::increase(&used, &before);
        if bound.iter().all(|quota| quota.mask(&more).is_empty()) {
            return Ok(None);
        }
        let Some(book) = self.book(review) else { return Ok(None) };
        let charge = Charge {
            uid: object.uid().to_owned(),
            base: review.old.and_then(|old| old.resource_version().parse().ok()),
            measure,
        };
        // Decided with the book open; what is dropped is dropped after: it opens the book again.
        let known = held.as_ref().and_then(|held| held.hold::<Charged>()).map(|charged| charged.id);
        let entered = {
            let mut open = book.lock().unwrap_or_else(PoisonError::into_inner);
            open.catch_up(now);
            // What an earlier attempt of the same request holds must not count against it.
            if let Some(id) = known {
                open.withdraw(id);
            }
            let refusal =
                bound.iter().find_map(|quota| exceeded(quota, &quota.mask(&more), &open.used(quota, now)));
            match (refusal, known) {
                (Some(why), _) => Err(why),
                (None, Some(id)) => {
                    open.enter(id, charge);
                    Ok(id)
                }
                (None, None) => Ok(open.charge(charge)),
            }
        };
        match entered {
            Err(why) => Err(review.forbid(Some(object), why)),
            Ok(_) if known.is_some() => Ok(held),
            Ok(id) => Ok(Some(Reservation::new(Charged { book, id, clock: Arc::clone(&self.clock) }))),
        }
    }
}

/// The quotas that bound something which the object uses, and count objects like it.
fn binding<'q>(quotas: &'q [Quota], resource: &GroupResource, measure: &Measure) -> Vec<&'q Quota> {
    let binds =
        |quota: &&Quota| !quota.names_of(resource).is_empty() && quota.counts(resource, &measure.traits);
    quotas.iter().filter(binds).collect()
}

/// Refuses a pod that does not say how much it needs of what is bounded.
fn check_named(
    review: &Review<'_>,
    object: &Object,
    resource: &GroupResource,
    bound: &[&Quota],
) -> Result<(), Error> {
    if !review.is_about("", "pods") {
        return Ok(());
    }
    let pod: Pod =
        object.typed().map_err(|error| Error::bad_request(format!("the pod cannot be read: {error}")))?;
    for quota in bound {
        if let Some(missing) = quota::missing_in_pod(&pod, &quota.names_of(resource)) {
            let why = format!("failed quota: {}: {missing}", quota.name);
            return Err(review.forbid(Some(object), why));
        }
    }
    Ok(())
}

/// Why the quota does not grant what is asked for, in upstream's words.
fn exceeded(quota: &Quota, asked: &Amounts, used: &Amounts) -> Option<String> {
    let mut sum = quota::only(used, |name| asked.contains_key(name));
    quota::add(&mut sum, asked);
    let over = |name: &str| sum.get(name).zip(quota.hard.get(name)).is_some_and(|(sum, hard)| sum > hard);
    if !asked.keys().any(|name| over(name)) {
        return None;
    }
    let told = |amounts: &Amounts| {
        quota::words(&quota::only(amounts, |name| asked.contains_key(name) && over(name)))
    };
    Some(format!(
        "exceeded quota: {}, requested: {}, used: {}, limited: {}",
        quota.name,
        told(asked),
        told(used),
        told(&quota.hard)
    ))
}

/// Whether the write can use more than before. Pods change what they use only by `resize`; other objects of which
/// only the number counts do not change it at all.
fn concerns(review: &Review<'_>) -> bool {
    if !review.resource.namespaced()
        || review.attributes.namespace.is_empty()
        || review.resource.question.is_some()
    {
        return false;
    }
    let subresource = review.attributes.subresource.as_str();
    match review.operation {
        Operation::Create => subresource.is_empty(),
        Operation::Update if review.is_about("", "pods") => subresource == "resize",
        Operation::Update => {
            subresource.is_empty()
                && (review.is_about("", "services") || review.is_about("", "persistentvolumeclaims"))
        }
        Operation::Delete | Operation::Connect => false,
    }
}

impl Reserver for ResourceQuota {
    fn stage(&self) -> Stage {
        Stage::Final
    }

    /// Answers at once, except where the cache may lag behind other servers.
    fn reserve<'a>(
        &'a self,
        review: &'a Review<'_>,
        object: Option<&'a mut Object>,
        held: Option<Reservation>,
    ) -> Eventual<'a, Result<Option<Reservation>, Error>> {
        let Some(object) = object.filter(|_| concerns(review)) else { return Ok(None).into() };
        if !self.lookup.may_lag() {
            return self.charge(review, object, held).into();
        }
        Eventual::later(async move {
            self.lookup.freshen().await;
            self.charge(review, object, held)
        })
    }
}

/// What one write has been charged.
struct Charged {
    book: Arc<Mutex<Book>>,
    id: ChargeId,
    clock: Arc<dyn Clock>,
}

impl Charged {
    fn with_book(&self, act: impl FnOnce(&mut Book)) {
        act(&mut self.book.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Hold for Charged {
    /// The charge stays until the cache shows the object.
    fn confirm(self: Box<Self>, _committed: Committed) {}

    fn release(self: Box<Self>) {
        self.with_book(|book| book.withdraw(self.id));
    }

    fn leave_open(self: Box<Self>, _attempt: &Attempt) {
        let now = self.clock.now();
        self.with_book(|book| book.doubt(self.id, now));
    }
}

#[cfg(test)]
mod tests;
