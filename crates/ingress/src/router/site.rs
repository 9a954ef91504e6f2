//! [`Site`]: the rules of one host.
//!
//! Prefixes lie in a tree by path element, so that a request's path is read once, however many rules there are.

use std::collections::HashMap;

use http::{HeaderName, HeaderValue, Method};

use super::{Asked, Split};

/// The paths of a rule. A query is never looked at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathMatch {
    /// This path alone.
    Exact(Box<str>),
    /// The path and all below it, by whole elements: `/a` has `/a`, `/a/` and `/a/b`, and not `/ab`. A slash at the
    /// end of the rule's path means nothing.
    Prefix(Box<str>),
}

/// What a rule asks of a request beside its path; by default nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conditions {
    pub method: Option<Method>,
    /// All of these are to be there.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl Conditions {
    fn hold(&self, asked: &Asked<'_>) -> bool {
        self.method.as_ref().is_none_or(|method| method == asked.method)
            && self.headers.iter().all(|(name, value)| asked.headers.get_all(name).iter().any(|v| v == value))
    }

    /// Rules with a higher rank are asked first.
    fn rank(&self) -> (bool, usize) {
        (self.method.is_some(), self.headers.len())
    }
}

/// A rule of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule<T> {
    pub path: PathMatch,
    pub conditions: Conditions,
    pub to: Split<T>,
}

/// The rules of one path, in the order in which they are asked.
#[derive(Debug)]
struct Rules<T>(Vec<(Conditions, Split<T>)>);

impl<T> Rules<T> {
    const fn none() -> Self {
        Self(Vec::new())
    }

    /// Returns whether the rule is new.
    fn add(&mut self, conditions: Conditions, to: Split<T>) -> bool {
        if self.0.iter().any(|(known, _)| *known == conditions) {
            return false;
        }
        let at = self.0.partition_point(|(known, _)| known.rank() >= conditions.rank());
        self.0.insert(at, (conditions, to));
        true
    }

    fn find(&self, asked: &Asked<'_>) -> Option<&Split<T>> {
        self.0.iter().find(|(conditions, _)| conditions.hold(asked)).map(|(_, to)| to)
    }
}

/// A path element's place in the tree.
#[derive(Debug)]
struct Node<T> {
    /// The elements below, by their places in [`Site::prefixes`]. The tree is a list: one as deep as a path is long
    /// could not be dropped otherwise.
    below: HashMap<Box<str>, usize>,
    rules: Rules<T>,
}

impl<T> Node<T> {
    fn new() -> Self {
        Self { below: HashMap::new(), rules: Rules::none() }
    }
}

/// The rules of one host.
#[derive(Debug)]
pub struct Site<T> {
    exact: HashMap<Box<str>, Rules<T>>,
    /// The first is the root.
    prefixes: Vec<Node<T>>,
    default: Option<Split<T>>,
}

impl<T> Default for Site<T> {
    fn default() -> Self {
        Self { exact: HashMap::new(), prefixes: vec![Node::new()], default: None }
    }
}

impl<T> Site<T> {
    /// Adds a rule; of two for the same requests the first stays. Returns whether the rule was added.
    pub fn add(&mut self, rule: Rule<T>) -> bool {
        match rule.path {
            PathMatch::Exact(path) => {
                self.exact.entry(path).or_insert_with(Rules::none).add(rule.conditions, rule.to)
            }
            PathMatch::Prefix(path) => {
                let mut at = 0;
                for element in elements(path.trim_end_matches('/')) {
                    let next = self.prefixes.len();
                    at = *self.prefixes[at].below.entry(element.into()).or_insert(next);
                    if at == next {
                        self.prefixes.push(Node::new());
                    }
                }
                self.prefixes[at].rules.add(rule.conditions, rule.to)
            }
        }
    }

    /// Sets the destination of requests that no rule takes; of two the first stays.
    pub fn add_default(&mut self, to: Split<T>) {
        self.default.get_or_insert(to);
    }

    /// The same rules with other destinations.
    pub fn map<U>(self, mut other: impl FnMut(T) -> U) -> Site<U> {
        let Self { exact, prefixes, default } = self;
        let mut map = |rules: Rules<T>| {
            let rules = rules.0.into_iter();
            Rules(rules.map(|(conditions, to)| (conditions, to.map(&mut other))).collect())
        };
        let exact = exact.into_iter().map(|(path, rules)| (path, map(rules))).collect();
        let prefixes =
            prefixes.into_iter().map(|node| Node { below: node.below, rules: map(node.rules) }).collect();
        Site { exact, prefixes, default: default.map(|to| to.map(other)) }
    }

    pub(super) fn fallback(&self) -> Option<&Split<T>> {
        self.default.as_ref()
    }

    pub(super) fn find(&self, asked: &Asked<'_>) -> Option<&Split<T>> {
        if let Some(found) = self.exact.get(asked.path).and_then(|rules| rules.find(asked)) {
            return Some(found);
        }
        let mut node = self.prefixes.first()?;
        let mut found = node.rules.find(asked);
        for element in elements(asked.path) {
            let Some(below) = node.below.get(element).and_then(|at| self.prefixes.get(*at)) else { break };
            node = below;
            found = node.rules.find(asked).or(found);
        }
        found
    }
}

/// The elements of a path: `a`, `b` of `/a/b`, none of an empty one.
fn elements(path: &str) -> impl Iterator<Item = &str> {
    path.strip_prefix('/').into_iter().flat_map(|path| path.split('/'))
}
