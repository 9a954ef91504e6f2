//! Flow schemas and priority levels (`pkg/apis/flowcontrol/validation`).

use std::collections::HashSet;

use api::Object;
use api::field::{ErrorList, FieldError, Path};
use api::names;
use serde_json::Value;

use super::{check, read};
use crate::flowcontrol::{EXEMPT, mandatory_object};

const METHODS: [&str; 2] = ["ByNamespace", "ByUser"];
const VERBS: [&str; 9] =
    ["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];
const MAX_PRECEDENCE: i64 = 10_000;
const MAX_QUEUES: i64 = 10_000_000;
/// How many bits of a flow's hash shuffle sharding may use up.
const MAX_HASH_BITS: f64 = 60.0;

pub(crate) fn flow_schema(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let (path, spec) = (Path::root("spec"), read::top(object, "spec"));
    let precedence = read::int(spec, "matchingPrecedence").unwrap_or(0);
    let at = path.child("matchingPrecedence");
    let mut refuse = |detail: String| errors.push(FieldError::invalid(&at, precedence, detail));
    if precedence <= 0 {
        refuse("must be a positive value".to_owned());
    }
    if precedence > MAX_PRECEDENCE {
        refuse(format!("must not be greater than {MAX_PRECEDENCE}"));
    }
    if precedence == 1 && object.name() != EXEMPT {
        refuse("only the schema named 'exempt' may have matchingPrecedence 1".to_owned());
    }
    if let Some(method) = read::get(spec, "distinguisherMethod") {
        let name = read::text(method, "type");
        if !METHODS.contains(&name) {
            let method_path = path.child("distinguisherMethod");
            errors.push(FieldError::not_supported(&method_path.child("type"), method.clone(), &METHODS));
        }
    }
    let reference = path.child("priorityLevelConfiguration");
    let level = read::text(read::raw(spec, "priorityLevelConfiguration").unwrap_or(&Value::Null), "name");
    match level.is_empty() {
        true => {
            errors.push(FieldError::required(&reference.child("name"), "must reference a priority level"));
        }
        false => {
            check::faults(&mut errors, &reference.child("name"), level, names::dns1123_subdomain(level));
        }
    }
    let rules = path.child("rules");
    for (i, rule) in read::list(spec, "rules").iter().enumerate() {
        with_subjects(&mut errors, &rules.index(i), rule);
    }
    if let Some(fixed) = mandatory_object("FlowSchema", object.name())
        && spec != read::top(fixed, "spec")
    {
        errors.push(must_be_fixed(object.name(), spec, ""));
    }
    conditions(&mut errors, object);
    errors
}

fn must_be_fixed(name: &str, spec: &Value, but: &str) -> FieldError {
    let detail = format!("spec of '{name}'{but} must equal the fixed value");
    FieldError::invalid(&Path::root("spec"), spec.clone(), detail)
}

fn with_subjects(errors: &mut ErrorList, path: &Path<'_>, rule: &Value) {
    let subjects = path.child("subjects");
    if read::list(rule, "subjects").is_empty() {
        errors.push(FieldError::required(&subjects, "subjects must contain at least one value"));
    }
    for (i, found) in read::list(rule, "subjects").iter().enumerate() {
        subject(errors, &subjects.index(i), found);
    }
    let (of_resources, of_paths) = (read::list(rule, "resourceRules"), read::list(rule, "nonResourceRules"));
    if of_resources.is_empty() && of_paths.is_empty() {
        let detail = "at least one of resourceRules and nonResourceRules has to be non-empty";
        errors.push(FieldError::required(path, detail));
    }
    let at = path.child("resourceRules");
    for (i, rule) in of_resources.iter().enumerate() {
        resource_rule(errors, &at.index(i), rule);
    }
    let at = path.child("nonResourceRules");
    for (i, rule) in of_paths.iter().enumerate() {
        path_rule(errors, &at.index(i), rule);
    }
}

fn subject(errors: &mut ErrorList, path: &Path<'_>, subject: &Value) {
    const KINDS: [(&str, &str); 3] =
        [("Group", "group"), ("ServiceAccount", "serviceAccount"), ("User", "user")];
    let kind = read::text(subject, "kind");
    if !KINDS.iter().any(|(named, _)| *named == kind) {
        errors.push(FieldError::not_supported(&path.child("kind"), kind, &KINDS.map(|(named, _)| named)));
        return;
    }
    for (named, key) in KINDS {
        let at = path.child(key);
        match (read::get(subject, key), named == kind) {
            (None, true) => {
                let detail = format!("{key} is required when subject kind is '{named}'");
                errors.push(FieldError::required(&at, detail));
            }
            (Some(_), false) => {
                let detail = format!("{key} is forbidden when subject kind is not '{named}'");
                errors.push(FieldError::forbidden(&at, detail));
            }
            (Some(who), true) => named_subject(errors, &at, who, named == "ServiceAccount"),
            (None, false) => {}
        }
    }
}

fn named_subject(errors: &mut ErrorList, path: &Path<'_>, who: &Value, account: bool) {
    let name = read::text(who, "name");
    let given = check::required(errors, &path.child("name"), name);
    if !account {
        return;
    }
    if given && name != "*" {
        check::faults(errors, &path.child("name"), name, names::dns1123_subdomain(name));
    }
    let namespace = read::text(who, "namespace");
    let at = path.child("namespace");
    match namespace.is_empty() {
        true => errors.push(FieldError::required(&at, "must specify namespace for service account")),
        false => check::faults(errors, &at, namespace, names::dns1123_label(namespace)),
    }
}

/// A list in which `*` stands for everything and then stands alone. Returns whether names are in it.
fn all_or_some(errors: &mut ErrorList, path: &Path<'_>, list: &[Value], empty: &str, others: &str) -> bool {
    if list.is_empty() {
        errors.push(FieldError::required(path, empty));
        return false;
    }
    let all = list.iter().any(|value| value == "*");
    if all && list.len() > 1 {
        let detail = format!("if '*' is present, must not specify other {others}");
        errors.push(FieldError::invalid(path, list.to_vec(), detail));
    }
    !all
}

fn verbs(errors: &mut ErrorList, path: &Path<'_>, rule: &Value) {
    let (at, list) = (path.child("verbs"), read::list(rule, "verbs"));
    let some = all_or_some(errors, &at, list, "verbs must contain at least one value", "verbs");
    if some && !list.iter().all(|verb| verb.as_str().is_some_and(|verb| VERBS.contains(&verb))) {
        errors.push(FieldError::not_supported(&at, list.to_vec(), &VERBS));
    }
}

fn resource_rule(errors: &mut ErrorList, path: &Path<'_>, rule: &Value) {
    verbs(errors, path, rule);
    let empty = "resource rules must supply at least one api group";
    all_or_some(errors, &path.child("apiGroups"), read::list(rule, "apiGroups"), empty, "api groups");
    let empty = "resource rules must supply at least one resource";
    all_or_some(errors, &path.child("resources"), read::list(rule, "resources"), empty, "resources");
    let (at, list) = (path.child("namespaces"), read::list(rule, "namespaces"));
    if list.is_empty() && read::flag(rule, "clusterScope") {
        return;
    }
    let empty = "resource rules that are not cluster scoped must supply at least one namespace";
    if all_or_some(errors, &at, list, empty, "namespaces") {
        for (i, namespace) in read::texts(rule, "namespaces").enumerate() {
            for fault in names::dns1123_label(namespace) {
                let detail = format!("each member of this list must be '*' or a DNS-1123 label; {fault}");
                errors.push(FieldError::invalid(&at.index(i), namespace, detail));
            }
        }
    }
}

fn path_rule(errors: &mut ErrorList, path: &Path<'_>, rule: &Value) {
    verbs(errors, path, rule);
    let (at, list) = (path.child("nonResourceURLs"), read::list(rule, "nonResourceURLs"));
    let empty = "nonResourceURLs must contain at least one value";
    if all_or_some(errors, &at, list, empty, "non-resource URLs") {
        for (i, url) in read::texts(rule, "nonResourceURLs").enumerate() {
            if let Some(detail) = url_fault(url) {
                errors.push(FieldError::invalid(&at.index(i), url, detail));
            }
        }
    }
}

fn url_fault(url: &str) -> Option<&'static str> {
    let stars = url.matches('*').count();
    match url {
        "" => Some("must not be empty"),
        "/" => None,
        _ if !url.starts_with('/') => Some("must start with slash"),
        _ if url.contains(' ') => Some("must not contain white-space"),
        _ if url.contains("//") => Some("must not contain double slash"),
        _ if stars > 1 || (stars == 1 && !url.ends_with("/*")) => {
            Some("wildcard can only do suffix matching")
        }
        _ => None,
    }
}

/// The conditions of a status: each of a type, and each type once.
fn conditions(errors: &mut ErrorList, object: &Object) {
    let status = Path::root("status");
    let path = status.child("conditions");
    let mut seen = HashSet::new();
    for (i, condition) in read::list(read::top(object, "status"), "conditions").iter().enumerate() {
        let (at, kind) = (path.index(i), read::text(condition, "type"));
        if !seen.insert(kind) {
            errors.push(FieldError::duplicate(&at.child("type"), kind));
        }
        if kind.is_empty() {
            errors.push(FieldError::required(&at.child("type"), "must not be empty"));
        }
    }
}

/// A change of a status, of either kind.
pub(crate) fn status_update(new: &Object, _old: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    conditions(&mut errors, new);
    errors
}

pub(crate) fn priority_level(object: &Object) -> ErrorList {
    let mut errors = ErrorList::new();
    let (path, spec) = (Path::root("spec"), read::top(object, "spec"));
    let kind = read::text(spec, "type");
    if (object.name() == EXEMPT) != (kind == "Exempt") {
        let detail = "type must be 'Exempt' if and only if name is 'exempt'";
        errors.push(FieldError::invalid(&path.child("type"), kind, detail));
    }
    let (exempt, limited) = (read::get(spec, "exempt"), read::get(spec, "limited"));
    match kind {
        "Exempt" => {
            if limited.is_some() {
                let detail = "must be nil if the type is not Limited";
                errors.push(FieldError::forbidden(&path.child("limited"), detail));
            }
            if let Some(exempt) = exempt {
                shares(&mut errors, &path.child("exempt"), exempt);
            }
        }
        "Limited" => {
            if exempt.is_some() {
                let detail = "must be nil if the type is Limited";
                errors.push(FieldError::forbidden(&path.child("exempt"), detail));
            }
            let at = path.child("limited");
            match limited {
                None => errors.push(FieldError::required(&at, "must not be empty when type is Limited")),
                Some(limited) => self::limited(&mut errors, &at, limited),
            }
        }
        _ => errors.push(FieldError::not_supported(&path.child("type"), kind, &["Exempt", "Limited"])),
    }
    fixed_level(&mut errors, object, spec);
    conditions(&mut errors, object);
    errors
}

/// What may not be changed of mandatory levels.
fn fixed_level(errors: &mut ErrorList, object: &Object, spec: &Value) {
    let Some(fixed) = mandatory_object("PriorityLevelConfiguration", object.name()) else { return };
    let fixed = read::top(fixed, "spec");
    if object.name() != EXEMPT {
        if spec != fixed {
            errors.push(must_be_fixed(object.name(), spec, ""));
        }
        return;
    }
    let mut but_exempt = spec.clone();
    if let Some(fields) = but_exempt.as_object_mut() {
        fields.extend(read::raw(fixed, "exempt").map(|exempt| ("exempt".to_owned(), exempt.clone())));
    }
    if but_exempt != *fixed {
        errors.push(must_be_fixed(object.name(), spec, " except the 'spec.exempt' field"));
    }
}

fn shares(errors: &mut ErrorList, path: &Path<'_>, level: &Value) {
    if let Some(shares) = read::int(level, "nominalConcurrencyShares").filter(|shares| *shares < 0) {
        let at = path.child("nominalConcurrencyShares");
        errors.push(FieldError::invalid(&at, shares, "must be a non-negative integer"));
    }
    lendable(errors, path, level);
}

fn lendable(errors: &mut ErrorList, path: &Path<'_>, level: &Value) {
    if let Some(percent) = read::int(level, "lendablePercent").filter(|percent| !(0..=100).contains(percent))
    {
        let at = path.child("lendablePercent");
        errors.push(FieldError::invalid(&at, percent, "must be between 0 and 100, inclusive"));
    }
}

fn limited(errors: &mut ErrorList, path: &Path<'_>, level: &Value) {
    if let Some(shares) = read::int(level, "nominalConcurrencyShares").filter(|shares| *shares < 0) {
        let at = path.child("nominalConcurrencyShares");
        errors.push(FieldError::invalid(&at, shares, "must be a non-negative integer"));
    }
    let response = read::raw(level, "limitResponse").unwrap_or(&Value::Null);
    let at = path.child("limitResponse");
    let queuing = read::get(response, "queuing");
    let queuing_path = at.child("queuing");
    match (read::text(response, "type"), queuing) {
        ("Reject", Some(_)) => errors.push(FieldError::forbidden(
            &queuing_path,
            "must be nil if limited.limitResponse.type is not Limited",
        )),
        ("Queue", None) => errors.push(FieldError::required(
            &queuing_path,
            "must not be empty if limited.limitResponse.type is Limited",
        )),
        ("Queue", Some(queuing)) => queues(errors, &queuing_path, queuing),
        ("Reject", None) => {}
        (other, _) => {
            errors.push(FieldError::not_supported(&at.child("type"), other, &["Queue", "Reject"]));
        }
    }
    lendable(errors, path, level);
    if let Some(percent) = read::int(level, "borrowingLimitPercent").filter(|percent| *percent < 0) {
        let at = path.child("borrowingLimitPercent");
        errors.push(FieldError::invalid(&at, percent, "if specified, must be a non-negative integer"));
    }
}

fn queues(errors: &mut ErrorList, path: &Path<'_>, queuing: &Value) {
    let number = |key: &str| read::int(queuing, key).unwrap_or(0);
    let (queues, hand, length) = (number("queues"), number("handSize"), number("queueLengthLimit"));
    let mut refuse = |key: &str, value: i64, detail: String| {
        errors.push(FieldError::invalid(&path.child(key), value, detail))
    };
    let positive = || "must be positive".to_owned();
    if length <= 0 {
        refuse("queueLengthLimit", length, positive());
    }
    if queues <= 0 {
        refuse("queues", queues, positive());
    } else if queues > MAX_QUEUES {
        refuse("queues", queues, format!("must not be greater than {MAX_QUEUES}"));
    }
    if hand <= 0 {
        refuse("handSize", hand, positive());
    } else if hand > queues {
        refuse("handSize", hand, format!("should not be greater than queues ({queues})"));
    } else if hash_bits(queues, hand) > MAX_HASH_BITS {
        let detail = format!(
            "required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {MAX_HASH_BITS}"
        );
        refuse("handSize", hand, detail);
    }
}

/// How many bits of a hash it takes to deal a hand.
#[expect(clippy::cast_precision_loss, reason = "queues and hands are 32-bit numbers")]
fn hash_bits(queues: i64, hand: i64) -> f64 {
    ((queues as f64).log2() * hand as f64).ceil()
}
