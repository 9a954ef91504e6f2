//! Configurations of admission webhooks. Source: upstream's `pkg/apis/admissionregistration/validation/validation.go`
//! and `k8s.io/apiserver/pkg/util/webhook/validation.go`.
//!
//! `rules` judges what a webhook is asked about, `client` where it is.

pub(super) mod client;
pub(super) mod rules;

use std::collections::BTreeSet;

use api::Object;
use api::field::{ErrorList, FieldError, Path};
use api::names;
use expressions::Type;
use serde_json::Value;

use super::{check, read, selector};
use crate::conditions::Scope;

pub(super) const POLICIES: [&str; 2] = ["Fail", "Ignore"];
pub(super) const MATCH_POLICIES: [&str; 2] = ["Equivalent", "Exact"];
const REVIEWS: [&str; 2] = ["v1", "v1beta1"];
const NO_SIDE_EFFECTS: [&str; 2] = ["None", "NoneOnDryRun"];
const SIDE_EFFECTS: [&str; 4] = ["None", "NoneOnDryRun", "Some", "Unknown"];
const MAX_CONDITIONS: usize = 64;

/// What a stored configuration already gets away with, and so its update too.
#[derive(Debug, Clone, Copy, Default)]
struct Leave {
    side_effects: bool,
    unknown_reviews: bool,
    double_names: bool,
    selectors: bool,
    conditions: bool,
}

/// Everything wrong with a configuration.
pub(crate) fn configuration(object: &Object) -> ErrorList {
    judge(object, Leave::default())
}

/// Everything wrong with a change of a configuration: what was wrong before may stay.
pub(crate) fn update(new: &Object, old: &Object) -> ErrorList {
    let before = webhooks(old);
    let any = |judge: &dyn Fn(&Value) -> bool| before.iter().any(judge);
    let conditions = |object: &Object| {
        webhooks(object).iter().map(|hook| read::get(hook, "matchConditions").cloned()).collect::<Vec<_>>()
    };
    let leave = Leave {
        side_effects: any(&|hook| !NO_SIDE_EFFECTS.contains(&read::text(hook, "sideEffects"))),
        unknown_reviews: any(&|hook| {
            let mut versions = read::texts(hook, "admissionReviewVersions").peekable();
            versions.peek().is_some() && !versions.any(|version| REVIEWS.contains(&version))
        }),
        double_names: before.iter().map(|hook| read::text(hook, "name")).collect::<BTreeSet<_>>().len()
            < before.len(),
        selectors: any(&|hook| {
            let mut errors = ErrorList::new();
            selectors(&mut errors, &Path::root("webhooks"), hook);
            !errors.is_empty()
        }),
        conditions: conditions(new) == conditions(old),
    };
    judge(new, leave)
}

fn webhooks(object: &Object) -> &[Value] {
    read::top(object, "webhooks").as_array().map_or(&[], Vec::as_slice)
}

fn judge(object: &Object, leave: Leave) -> ErrorList {
    let mut errors = ErrorList::new();
    let root = Path::root("webhooks");
    let mut names = BTreeSet::new();
    let mutating = object.kind() == "MutatingWebhookConfiguration";
    for (i, hook) in webhooks(object).iter().enumerate() {
        let path = root.index(i);
        webhook(&mut errors, &path, hook, mutating, leave);
        reviews(&mut errors, &path.child("admissionReviewVersions"), hook, leave);
        let name = read::text(hook, "name");
        if !leave.double_names && !name.is_empty() && !names.insert(name) {
            errors.push(FieldError::duplicate(&path.child("name"), name));
        }
    }
    errors
}

fn webhook(errors: &mut ErrorList, path: &Path<'_>, hook: &Value, mutating: bool, leave: Leave) {
    full_name(errors, &path.child("name"), read::text(hook, "name"));
    let rules = path.child("rules");
    for (i, rule) in read::list(hook, "rules").iter().enumerate() {
        rules::with_operations(errors, &rules.index(i), rule);
    }
    for (key, supported) in [("failurePolicy", &POLICIES), ("matchPolicy", &MATCH_POLICIES)] {
        check::if_given_one_of(errors, &path.child(key), read::text(hook, key), supported);
    }
    let allowed: &[&str] = if leave.side_effects { &SIDE_EFFECTS } else { &NO_SIDE_EFFECTS };
    let (effects, at) = (read::text(hook, "sideEffects"), path.child("sideEffects"));
    if effects.is_empty() {
        errors.push(FieldError::required(&at, format!("must specify one of {}", allowed.join(", "))));
    }
    check::if_given_one_of(errors, &at, effects, allowed);
    if let Some(timeout) = read::int(hook, "timeoutSeconds").filter(|s| !(1..=30).contains(s)) {
        let detail = "the timeout value must be between 1 and 30 seconds";
        errors.push(FieldError::invalid(&path.child("timeoutSeconds"), timeout, detail));
    }
    if !leave.selectors {
        selectors(errors, path, hook);
    }
    if mutating {
        let (key, policies) = ("reinvocationPolicy", ["IfNeeded", "Never"]);
        check::if_given_one_of(errors, &path.child(key), read::text(hook, key), &policies);
    }
    client::client(errors, &path.child("clientConfig"), read::of(hook, "clientConfig"));
    if !leave.conditions {
        conditions(
            errors,
            &path.child("matchConditions"),
            read::list(hook, "matchConditions"),
            &Scope::of_webhook(),
        );
    }
}

/// A name of at least three labels.
fn full_name(errors: &mut ErrorList, path: &Path<'_>, name: &str) {
    if !check::required(errors, path, name) {
        return;
    }
    let faults = names::dns1123_subdomain(name);
    if !faults.is_empty() {
        errors.push(FieldError::invalid(path, name, faults.join(",")));
    } else if name.split('.').count() < 3 {
        let detail = "should be a domain with at least three segments separated by dots";
        errors.push(FieldError::invalid(path, name, detail));
    }
}

pub(super) fn selectors(errors: &mut ErrorList, path: &Path<'_>, hook: &Value) {
    for key in ["namespaceSelector", "objectSelector"] {
        selector::label_selector(errors, &path.child(key), read::get(hook, key));
    }
}

fn reviews(errors: &mut ErrorList, path: &Path<'_>, hook: &Value, leave: Leave) {
    let versions: Vec<&str> = read::texts(hook, "admissionReviewVersions").collect();
    if versions.is_empty() {
        errors.push(FieldError::required(path, format!("must specify one of {}", REVIEWS.join(", "))));
        return;
    }
    for (i, version) in versions.iter().enumerate() {
        if versions[..i].contains(version) {
            errors.push(FieldError::invalid(&path.index(i), *version, "duplicate version"));
        } else {
            check::faults(errors, &path.index(i), version, names::dns1035_label(version));
        }
    }
    if !leave.unknown_reviews && !versions.iter().any(|version| REVIEWS.contains(version)) {
        let detail = format!("must include at least one of {}", REVIEWS.join(", "));
        errors.push(FieldError::invalid(path, versions, detail));
    }
}

/// The conditions under which a webhook or policy is asked at all.
pub(super) fn conditions(errors: &mut ErrorList, path: &Path<'_>, all: &[Value], scope: &Scope) {
    if all.len() > MAX_CONDITIONS {
        errors.push(FieldError::too_many(path, all.len(), MAX_CONDITIONS));
    }
    let mut names = BTreeSet::new();
    for (i, condition) in all.iter().enumerate() {
        let path = path.index(i);
        let (text, at) = (read::text(condition, "expression").trim(), path.child("expression"));
        if check::required(errors, &at, text)
            && let Err(detail) = scope.compile(text, &[Type::Bool])
        {
            errors.push(FieldError::invalid(&at, text, detail));
        }
        let (name, at) = (read::text(condition, "name"), path.child("name"));
        if check::required(errors, &at, name) {
            check::faults(errors, &at, name, names::qualified_name(name));
            if !names.insert(name) {
                errors.push(FieldError::duplicate(&at, name));
            }
        }
    }
}
