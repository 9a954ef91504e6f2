//! Where a request goes, by its host, path, method and headers. Pure; knows neither Ingress nor Kubernetes.
//!
//! Start with [`Router`], which finds the destination of a request while hosts are replaced one by one. [`Site`] holds
//! the rules of one host, [`names`](Names) finds a host among many, and `shards` is what both are kept in. The
//! destination is the caller's type: Ingress makes rules with a path and one destination; methods, headers and
//! weights are there for HTTPRoute of the Gateway API, which is to become a second source of rules.
//!
//! Which rule wins: one of the exact host before one of the wildcard before one for all hosts; an exact path before a
//! prefix; the longer prefix; more conditions; the rule that was added first. Who finds no rule gets the default of
//! the host, then of all hosts.
//!
//! The cost of a request does not grow with the number of hosts or rules, only with the length of its path.

mod names;
mod shards;
mod site;
mod split;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use http::{HeaderMap, Method};

pub use names::{Names, Pattern, host_of};
pub use site::{Conditions, PathMatch, Rule, Site};
pub use split::Split;

/// What a rule looks at of a request.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'r> {
    /// As [`host_of`] returns it.
    pub host: &'r str,
    /// The path as sent, without the query.
    pub path: &'r str,
    pub method: &'r Method,
    pub headers: &'r HeaderMap,
    /// A number by chance, by which one of several weighted destinations is picked.
    pub roll: u32,
}

/// The rules of all hosts. Readers never wait; hosts are replaced one at a time.
#[derive(Debug)]
pub struct Router<T> {
    sites: Names<Arc<Site<T>>>,
    /// The rules for all hosts.
    any: ArcSwapOption<Site<T>>,
    /// The destination of requests that no rule takes.
    default: ArcSwapOption<Split<T>>,
}

impl<T> Default for Router<T> {
    fn default() -> Self {
        Self { sites: Names::default(), any: ArcSwapOption::empty(), default: ArcSwapOption::empty() }
    }
}

impl<T: Clone> Router<T> {
    /// The destination of a request.
    pub fn find(&self, asked: &Asked<'_>) -> Option<T> {
        let [exact, wildcard] = self.sites.find(asked.host);
        let any = self.any.load();
        let sites = [exact.as_deref(), wildcard.as_deref(), any.as_deref()];
        let by_rule = sites.iter().flatten().find_map(|site| site.find(asked));
        let by_default = || sites.iter().flatten().find_map(|site| site.fallback());
        if let Some(found) = by_rule.or_else(by_default) {
            return found.pick(asked.roll).cloned();
        }
        self.default.load().as_ref().and_then(|split| split.pick(asked.roll).cloned())
    }

    /// Has a host have these rules from now on, or none.
    pub fn replace(&self, host: &Pattern, site: Option<Site<T>>) {
        let site = site.map(Arc::new);
        match host {
            Pattern::Any => self.any.store(site),
            Pattern::Exact(_) | Pattern::Wildcard(_) => self.sites.replace(host, site),
        }
    }

    /// Sends requests that no rule takes here from now on.
    pub fn replace_default(&self, default: Option<Split<T>>) {
        self.default.store(default.map(Arc::new));
    }
}
