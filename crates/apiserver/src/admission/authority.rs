//! The variable `authorizer` of expressions: asks the authorizer whether somebody may do something. Upstream:
//! `k8s.io/apiserver/pkg/cel/library/authz.go`.

use std::sync::Arc;

use api::selector::{FieldSelector, LabelSelector, Operator};
use expressions::{Foreign, Given};

use crate::identity::authz::{Authorizer, Decision};
use crate::request::{Attributes, User};

/// The authorizer on behalf of a user.
#[derive(Clone)]
pub(super) struct Authority {
    authorizer: Arc<dyn Authorizer>,
    user: Arc<User>,
    /// What the request is about.
    asked: Arc<Attributes>,
}

impl Authority {
    pub(super) fn new(authorizer: &Arc<dyn Authorizer>, asked: &Attributes) -> Self {
        let (user, asked) = (Arc::clone(&asked.user), Arc::new(asked.clone()));
        Self { authorizer: Arc::clone(authorizer), user, asked }
    }

    fn check(&self, attributes: Attributes) -> Check {
        Check { authority: self.clone(), attributes, wrong: String::new() }
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority")
    }
}

fn given(of: impl Foreign + 'static) -> Option<Given> {
    Some(Given::Foreign(Arc::new(of)))
}

impl Foreign for Authority {
    fn type_name(&self) -> &'static str {
        "kubernetes.authorization.Authorizer"
    }

    fn call(&self, name: &str, arguments: &[&str]) -> Option<Given> {
        let base = || Attributes { user: Arc::clone(&self.user), ..Attributes::default() };
        match (name, arguments) {
            ("path", [path]) => given(self.check(Attributes { path: (*path).to_owned(), ..base() })),
            ("group", [group]) => given(Group { authority: self.clone(), group: (*group).to_owned() }),
            ("serviceAccount", [namespace, account]) => {
                let groups = ["system:serviceaccounts", "system:authenticated"].map(str::to_owned);
                let mut groups = groups.to_vec();
                groups.push(format!("system:serviceaccounts:{namespace}"));
                let name = format!("system:serviceaccount:{namespace}:{account}");
                let user = Arc::new(User { name, groups, ..User::default() });
                given(Self { user, ..self.clone() })
            }
            ("requestResource", []) => {
                let asked = Attributes { user: Arc::clone(&self.user), ..(*self.asked).clone() };
                given(self.check(asked))
            }
            _ => None,
        }
    }
}

/// `authorizer.group(…)`
#[derive(Debug)]
struct Group {
    authority: Authority,
    group: String,
}

impl Foreign for Group {
    fn type_name(&self) -> &'static str {
        "kubernetes.authorization.GroupCheck"
    }

    fn call(&self, name: &str, arguments: &[&str]) -> Option<Given> {
        let ("resource", [resource]) = (name, arguments) else { return None };
        given(self.authority.check(Attributes {
            user: Arc::clone(&self.authority.user),
            is_resource: true,
            group: self.group.clone(),
            version: "*".to_owned(),
            resource: (*resource).to_owned(),
            ..Attributes::default()
        }))
    }
}

/// A path or resource, up to the verb.
#[derive(Debug, Clone)]
struct Check {
    authority: Authority,
    attributes: Attributes,
    /// What is wrong with what was said of it.
    wrong: String,
}

impl Check {
    fn with(&self, change: impl FnOnce(&mut Attributes)) -> Option<Given> {
        let mut next = self.clone();
        change(&mut next.attributes);
        given(next)
    }

    fn decide(&self, verb: &str) -> Answer {
        if !self.wrong.is_empty() {
            return Answer { allowed: false, reason: String::new(), error: self.wrong.clone() };
        }
        let attributes = Attributes { verb: verb.to_owned(), ..self.attributes.clone() };
        // Expressions do not wait. The authorizers of the house do not either.
        let (allowed, reason, error) = match self.authority.authorizer.authorize(&attributes).now() {
            Some(Decision::Allow) => {
                let why = self.authority.authorizer.explain(&attributes).now();
                (true, why.unwrap_or_default(), "")
            }
            Some(Decision::Deny(reason) | Decision::NoOpinion(reason)) => (false, reason, ""),
            None => (false, String::new(), "the authorizer does not answer at once"),
        };
        Answer { allowed, reason, error: error.to_owned() }
    }
}

impl Foreign for Check {
    fn type_name(&self) -> &'static str {
        if self.attributes.is_resource {
            "kubernetes.authorization.ResourceCheck"
        } else {
            "kubernetes.authorization.PathCheck"
        }
    }

    fn call(&self, name: &str, arguments: &[&str]) -> Option<Given> {
        let [text] = arguments else { return None };
        let set = |field: fn(&mut Attributes) -> &mut String| {
            self.with(|attributes| (*text).clone_into(field(attributes)))
        };
        match name {
            "check" => given(self.decide(text)),
            "subresource" => set(|attributes| &mut attributes.subresource),
            "namespace" => set(|attributes| &mut attributes.namespace),
            "name" => set(|attributes| &mut attributes.name),
            "fieldSelector" => match FieldSelector::parse(text) {
                Ok(selector) => self.with(|attributes| {
                    let equal = selector.requirements().iter().filter(|r| !r.negated);
                    attributes.field_selector = equal.map(|r| (r.field.clone(), r.value.clone())).collect();
                }),
                Err(error) => given(Self { wrong: error.message, ..self.clone() }),
            },
            "labelSelector" => match LabelSelector::parse(text) {
                Ok(selector) => self.with(|attributes| {
                    let equal =
                        selector.requirements().iter().filter_map(|r| match (r.operator(), r.values()) {
                            (Operator::Equals | Operator::In, [only]) => {
                                Some((r.key().to_owned(), only.clone()))
                            }
                            _ => None,
                        });
                    attributes.label_selector = equal.collect();
                }),
                Err(error) => given(Self { wrong: error.message, ..self.clone() }),
            },
            _ => None,
        }
    }
}

/// A decision.
#[derive(Debug)]
struct Answer {
    allowed: bool,
    reason: String,
    error: String,
}

impl Foreign for Answer {
    fn type_name(&self) -> &'static str {
        "kubernetes.authorization.Decision"
    }

    fn call(&self, name: &str, _: &[&str]) -> Option<Given> {
        Some(match name {
            "allowed" => Given::Bool(self.allowed),
            "reason" => Given::Text(self.reason.clone()),
            "errored" => Given::Bool(!self.error.is_empty()),
            "error" => Given::Text(self.error.clone()),
            _ => return None,
        })
    }
}
