//! [`Derived`]: what is made of all objects of a resource, made anew when one of them has changed since it was last
//! needed. A request decides by what the watch cache holds when it comes, and pays one look at the cache.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use store::Revision;

use crate::cache::lookup::Lookup;
use crate::cache::{Entry, ResourceCache};

/// See the module's documentation.
pub(super) struct Derived<T> {
    lookup: Lookup,
    /// Where the objects are stored.
    prefix: String,
    make: fn(&[Arc<Entry>]) -> T,
    present: ArcSwapOption<Made<T>>,
}

struct Made<T> {
    of: Arc<ResourceCache>,
    upto: Revision,
    made: Arc<T>,
}

impl<T> Derived<T> {
    /// Of a built-in resource, by group and plural. The objects come in the order of their names.
    pub(super) fn new(lookup: &Lookup, group: &str, plural: &str, make: fn(&[Arc<Entry>]) -> T) -> Self {
        let prefix =
            lookup.resource(group, plural).map_or_else(String::new, |cache| cache.spec.prefix.clone());
        Self { lookup: lookup.clone(), prefix, make, present: ArcSwapOption::empty() }
    }

    /// What the objects amount to now; `None` when the resource is not loaded.
    pub(super) fn now(&self) -> Option<Arc<T>> {
        let cache = self.lookup.stored(&self.prefix)?;
        // Read before the objects: what is made is of them or of later ones.
        let upto = cache.changed();
        if let Some(present) = &*self.present.load()
            && present.upto == upto
            && Arc::ptr_eq(&present.of, &cache)
        {
            return Some(Arc::clone(&present.made));
        }
        let made = Arc::new((self.make)(&cache.snapshot(None).entries));
        let present = Made { of: cache, upto, made: Arc::clone(&made) };
        self.present.store(Some(Arc::new(present)));
        Some(made)
    }
}
