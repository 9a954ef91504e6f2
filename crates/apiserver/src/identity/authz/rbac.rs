//! Role-based access control: [`Rbac`] decides by roles and bindings in memory, indexed by subject.
//!
//! `rule` defines what a rule allows and covers, `policy` holds roles and bindings, `review` lists a user's rules.
//! No object is parsed for a request: a role is read once, when it changes.

mod policy;
mod review;
pub mod rule;

#[cfg(test)]
mod tests;

use std::sync::{Arc, PoisonError, RwLock};

use base::Supervisor;

pub use policy::RoleRef;
use policy::{Grant, Policy, Source};
pub use rule::Rule;

use super::authorizer::{Authorizer, Decision};
use crate::cache::follow::{Follower, Index, follow};
use crate::cache::lookup::Lookup;
use crate::cache::{CacheError, Entry, EventKind, WatchEvent};
use crate::eventual::Eventual;
use crate::request::{Attributes, User};

pub(crate) const GROUP: &str = "rbac.authorization.k8s.io";

/// The RBAC authorizer. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Rbac {
    policy: Arc<Shared>,
    follower: Follower,
}

#[derive(Default)]
struct Shared(RwLock<Policy>);

impl Rbac {
    /// Reads the roles and bindings there are and follows their changes.
    ///
    /// # Errors
    /// When the watch cache does not hold the resources of RBAC.
    pub fn start(lookup: &Lookup, supervisor: &Supervisor) -> Result<Self, CacheError> {
        let caches = Source::ALL
            .iter()
            .map(|source| lookup.resource(GROUP, source.plural()).ok_or(CacheError::Closed))
            .collect::<Result<Vec<_>, _>>()?;
        let policy = Arc::<Shared>::default();
        let follower = follow(policy.clone(), caches, supervisor, "rbac-index");
        Ok(Self { policy, follower })
    }

    /// Waits until every role and binding that the watch cache holds now counts.
    pub async fn settled(&self) {
        self.follower.settled().await;
    }

    /// The rules of a role a binding names; `None` when there is no such role. `namespace` is that of the
    /// binding.
    pub(crate) fn rules_of(&self, reference: &RoleRef, namespace: &str) -> Option<Arc<[Rule]>> {
        self.policy.read(|policy| policy.rules_of(reference, namespace).cloned())
    }

    /// All rules a user has in a namespace (empty: in the whole cluster), and what is wrong with the bindings.
    pub(crate) fn rules_for(&self, user: &User, namespace: &str) -> (Vec<Arc<[Rule]>>, Vec<String>) {
        self.policy.read(|policy| {
            let (mut found, mut problems) = (Vec::new(), Vec::new());
            policy.visit(user, namespace, |grant| {
                match grant {
                    Grant::Rules { rules, .. } => found.push(Arc::clone(rules)),
                    Grant::Missing(why) => problems.push(why),
                }
                false
            });
            (found, problems)
        })
    }

    /// Whether a role allows it.
    pub(crate) fn decide(&self, attributes: &Attributes) -> Decision {
        self.policy.read(|policy| {
            let (mut allowed, mut problems) = (false, Vec::new());
            policy.visit(&attributes.user, &attributes.namespace, |grant| {
                match grant {
                    Grant::Rules { rules, .. } => allowed = rules.iter().any(|rule| rule.allows(attributes)),
                    Grant::Missing(why) => problems.push(why),
                }
                allowed
            });
            match (allowed, problems.as_slice()) {
                (true, _) => Decision::Allow,
                (false, []) => Decision::NoOpinion(String::new()),
                (false, [only]) => Decision::NoOpinion(format!("RBAC: {only}")),
                (false, many) => Decision::NoOpinion(format!("RBAC: [{}]", many.join(", "))),
            }
        })
    }

    /// Which binding allows it; empty when none does.
    pub(crate) fn reason(&self, attributes: &Attributes) -> String {
        self.policy.read(|policy| {
            let mut reason = String::new();
            policy.visit(&attributes.user, &attributes.namespace, |grant| {
                let Grant::Rules { rules, binding, subject } = grant else { return false };
                let allowed = rules.iter().any(|rule| rule.allows(attributes));
                if allowed {
                    reason = binding.describe(subject);
                }
                allowed
            });
            reason
        })
    }
}

impl Authorizer for Rbac {
    fn authorize<'a>(&'a self, attributes: &'a Attributes) -> Eventual<'a, Decision> {
        self.decide(attributes).into()
    }

    fn explain<'a>(&'a self, attributes: &'a Attributes) -> Eventual<'a, String> {
        self.reason(attributes).into()
    }
}

impl Shared {
    fn read<T>(&self, work: impl FnOnce(&Policy) -> T) -> T {
        work(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Index for Shared {
    fn replace(&self, source: usize, entries: &[Arc<Entry>]) {
        let source = Source::ALL[source];
        let parsed: Vec<_> = entries.iter().map(|entry| (entry, source.read(entry))).collect();
        let mut policy = self.0.write().unwrap_or_else(PoisonError::into_inner);
        policy.clear(source);
        for (entry, item) in parsed {
            policy.put(source, entry.namespace(), entry.name(), item);
        }
    }

    fn apply(&self, source: usize, events: &[WatchEvent]) {
        let source = Source::ALL[source];
        // Reading the objects is done before the lock.
        let parsed: Vec<_> = events
            .iter()
            .map(|event| match event.kind {
                EventKind::Deleted => (event.object(), None),
                EventKind::Added | EventKind::Modified => (event.object(), source.read(event.object())),
            })
            .collect();
        let mut policy = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for (entry, item) in parsed {
            policy.put(source, entry.namespace(), entry.name(), item);
        }
    }
}
