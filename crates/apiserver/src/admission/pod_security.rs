//! The Pod Security Standards: what the labels of a namespace demand of its pods.
//!
//! [`PodSecurity`] finds the policy and the pod; `policy` reads labels, `checks` judges a pod, `existing` judges the
//! pods of a namespace whose labels change. These are pure. `standards` is what holds without labels, and who is exempt:
//! by default everything is allowed, and nobody is. Upstream: `staging/src/k8s.io/pod-security-admission`.

mod checks;
mod existing;
mod policy;
mod standards;
mod subject;

use std::sync::Arc;

use api::{Error, GroupKind, Object};
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

use super::plugin::{Immediate, Operation, Review};
use crate::cache::lookup::{Lookup, decode};
use checks::Findings;
use policy::{LevelVersion, Policy};
pub use standards::Standards;
pub(super) use standards::Written;
use subject::Subject;

/// What the annotations of audit events begin with.
const AUDIT: &str = "pod-security.kubernetes.io";
/// Subresources of pods that do not change what runs in them.
const IGNORED: [&str; 8] = ["exec", "attach", "binding", "eviction", "log", "portforward", "proxy", "status"];

/// The plugin `PodSecurity`.
pub struct PodSecurity {
    lookup: Lookup,
    standards: Arc<Standards>,
}

impl PodSecurity {
    pub fn new(lookup: Lookup, standards: Arc<Standards>) -> Self {
        Self { lookup, standards }
    }

    /// Why nothing holds for a request.
    fn exemption(&self, review: &Review<'_>) -> Option<&'static str> {
        let exempt = &self.standards.exempt;
        let is_in = |names: &[String], name: &str| names.iter().any(|known| known == name);
        if is_in(&exempt.namespaces, &review.attributes.namespace) {
            return Some("namespace");
        }
        is_in(&exempt.usernames, &review.attributes.user.name).then_some("user")
    }

    /// Whether nothing holds for pods of a runtime class.
    fn exempts_class(&self, spec: Option<&Value>) -> bool {
        let class = spec.and_then(|spec| spec.get("runtimeClassName")).and_then(Value::as_str);
        class.is_some_and(|class| self.standards.exempt.runtime_classes.iter().any(|known| known == class))
    }

    fn namespace(&self, review: &Review<'_>, object: &Object) -> Result<(), Error> {
        if !review.attributes.subresource.is_empty() {
            return Ok(());
        }
        let (next, faults) = Policy::of(object.labels(), &self.standards.defaults);
        let invalid = || Error::invalid(&GroupKind::new("", "Namespace"), object.name(), &faults);
        let Some(old) = review.old else {
            return if faults.is_empty() { Ok(()) } else { Err(invalid()) };
        };
        let (before, known_faults) = Policy::of(old.labels(), &self.standards.defaults);
        if !faults.is_empty() && faults != known_faults {
            return Err(invalid());
        }
        let exempt = self.standards.exempt.namespaces.iter().any(|known| known == object.name());
        if exempt || !next.enforce.tightens(&before.enforce) {
            return Ok(());
        }
        let Some(pods) = self.lookup.resource("", "pods") else { return Ok(()) };
        let pods = pods.snapshot(Some(object.name())).entries;
        let subjects = pods.iter().filter_map(|entry| decode::<Pod>(entry));
        for warning in existing::warnings(object.name(), &next.enforce, subjects.collect()) {
            review.attributes.notes.warn(warning);
        }
        Ok(())
    }

    /// The policy of the request's namespace; `None` where it demands nothing that concerns the request.
    fn policy(
        &self,
        review: &Review<'_>,
        enforce: bool,
        spec: Option<&Value>,
    ) -> Result<Option<Policy>, Error> {
        let exemption = self.exemption(review).or_else(|| self.exempts_class(spec).then_some("runtimeClass"));
        if let Some(why) = exemption {
            review.attributes.notes.annotate(&format!("{AUDIT}/exempt"), why.to_owned());
            return Ok(None);
        }
        let namespace = &review.attributes.namespace;
        let Some(entry) = self.lookup.entry("", "namespaces", "", namespace) else {
            return Err(Error::internal(format!("failed to lookup namespace {namespace}")));
        };
        let labels = entry.labels().filter(|(label, _)| label.starts_with(policy::PREFIX));
        let (policy, faults) = Policy::of(labels, &self.standards.defaults);
        if !faults.is_empty() {
            let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
            let text = format!("Failed to parse policy: {}", faults.join(", "));
            review.attributes.notes.annotate(&format!("{AUDIT}/error"), text);
        }
        Ok(policy.demands_anything(enforce).then_some(policy))
    }

    fn pod(&self, review: &Review<'_>, object: &Object) -> Result<(), Error> {
        if IGNORED.contains(&review.attributes.subresource.as_str()) {
            return Ok(());
        }
        let Some(policy) = self.policy(review, true, object.0.get("spec"))? else { return Ok(()) };
        if review.old.is_some_and(|old| !subject::changes_matter(object, old)) {
            return Ok(());
        }
        let subject = Subject::of_pod(object).map_err(unreadable)?;
        let notes = &review.attributes.notes;
        notes.annotate(&format!("{AUDIT}/enforce-policy"), policy.enforce.to_string());
        let findings = checks::evaluate(&policy.enforce, &subject);
        audit(review, &policy.audit, &subject);
        if findings.is_empty() {
            warn(review, &policy.warn, &subject);
            return Ok(());
        }
        let why = format!("violates PodSecurity \"{}\": {}", policy.enforce, findings.details());
        Err(review.forbid(Some(object), why))
    }

    /// What makes pods is never refused: its pods are.
    fn workload(&self, review: &Review<'_>, object: &Object, template: &[&str]) -> Result<(), Error> {
        let Some(policy) = self.policy(review, false, object.at(template).and_then(|pod| pod.get("spec")))?
        else {
            return Ok(());
        };
        let Some(subject) = Subject::of_template(object, template).map_err(unreadable)? else {
            return Ok(());
        };
        audit(review, &policy.audit, &subject);
        warn(review, &policy.warn, &subject);
        Ok(())
    }
}

fn unreadable(error: serde_json::Error) -> Error {
    Error::bad_request(format!("the pod cannot be read: {error}"))
}

fn violation(asked: &LevelVersion, findings: &Findings) -> String {
    format!("would violate PodSecurity \"{asked}\": {}", findings.details())
}

fn audit(review: &Review<'_>, asked: &LevelVersion, subject: &Subject) {
    let findings = checks::evaluate(asked, subject);
    if !findings.is_empty() {
        let notes = &review.attributes.notes;
        notes.annotate(&format!("{AUDIT}/audit-violations"), violation(asked, &findings));
    }
}

fn warn(review: &Review<'_>, asked: &LevelVersion, subject: &Subject) {
    let findings = checks::evaluate(asked, subject);
    if !findings.is_empty() {
        review.attributes.notes.warn(violation(asked, &findings));
    }
}

impl Immediate for PodSecurity {
    fn name(&self) -> &'static str {
        "PodSecurity"
    }

    fn check(&self, review: &Review<'_>, object: Option<&Object>) -> Result<(), Error> {
        let written = matches!(review.operation, Operation::Create | Operation::Update);
        let Some(object) = object.filter(|_| written) else { return Ok(()) };
        match (&*review.resource.group, &*review.resource.plural) {
            ("", "namespaces") => self.namespace(review, object),
            ("", "pods") => self.pod(review, object),
            (group, plural) => match subject::template_of(group, plural) {
                Some(template) if review.attributes.subresource.is_empty() => {
                    self.workload(review, object, template)
                }
                _ => Ok(()),
            },
        }
    }
}

#[cfg(test)]
mod tests;
