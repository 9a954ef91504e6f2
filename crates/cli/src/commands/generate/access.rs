//! Roles and bindings.

use serde_json::{Value, json};

use super::{name, named, required};
use crate::failure::Failure;
use crate::output::err;
use crate::session::Session;

const RBAC: &str = "rbac.authorization.k8s.io/v1";
const GROUP: &str = "rbac.authorization.k8s.io";

/// One rule a group, in the order of the flags.
fn rules(session: &Session) -> Result<Vec<Value>, Failure> {
    let flags = &session.flags;
    let mut verbs: Vec<&String> = Vec::new();
    for verb in flags.list("verb") {
        if !verbs.contains(&verb) {
            verbs.push(verb);
        }
    }
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for word in flags.list("resource") {
        let (word, part) = word.split_once('/').unwrap_or((word, ""));
        let (group, mut plural) = if word == "*" {
            (String::new(), "*".to_owned())
        } else {
            // Among several failures, as upstream has them, nothing stands before what is said.
            let resource = session.resource(word).map_err(|failure| Failure::Many(vec![failure]))?;
            (resource.group, resource.plural)
        };
        if !part.is_empty() {
            plural = format!("{plural}/{part}");
        }
        match groups.iter_mut().find(|(known, _)| *known == group) {
            Some((_, plurals)) => plurals.push(plural),
            None => groups.push((group, vec![plural])),
        }
    }
    let names = flags.list("resource-name");
    let rule = |(group, plurals): (String, Vec<String>)| {
        let mut rule = json!({"apiGroups": [group], "resources": plurals, "verbs": verbs});
        if !names.is_empty() {
            rule["resourceNames"] = json!(names);
        }
        rule
    };
    Ok(groups.into_iter().map(rule).collect())
}

/// The verbs that mean something; others are let through with a warning.
const VERBS: [&str; 14] = [
    "*",
    "bind",
    "create",
    "delete",
    "deletecollection",
    "escalate",
    "get",
    "impersonate",
    "list",
    "patch",
    "proxy",
    "update",
    "use",
    "watch",
];

/// Verbs of paths that are no objects.
const PATH_VERBS: [&str; 8] = ["*", "delete", "get", "head", "options", "patch", "post", "put"];

fn checked_verbs(session: &Session) {
    for verb in session.flags.list("verb") {
        if !VERBS.contains(&verb.as_str()) {
            err(&format!("Warning: '{verb}' is not a standard resource verb\n"));
        }
    }
}

pub fn role(session: &Session) -> Result<Value, Failure> {
    let mut object = named(RBAC, "Role", name(session)?);
    if session.flags.list("verb").is_empty() {
        return Err(Failure::message("at least one verb must be specified"));
    }
    if session.flags.list("resource").is_empty() {
        return Err(Failure::message("at least one resource must be specified"));
    }
    checked_verbs(session);
    object["rules"] = rules(session)?.into();
    Ok(object)
}

pub fn cluster_role(session: &Session) -> Result<Value, Failure> {
    let flags = &session.flags;
    let mut object = named(RBAC, "ClusterRole", name(session)?);
    let (verbs, paths) = (flags.list("verb"), flags.list("non-resource-url"));
    if !flags.text("aggregation-rule").is_empty() {
        let others = ["non-resource-url", "verb", "resource", "resource-name"];
        if others.iter().any(|flag| !flags.list(flag).is_empty()) {
            return Err(Failure::message(
                "aggregation rule must be specified without nonResourceURLs, verbs, resources or resourceNames",
            ));
        }
        let labels = super::pairs(flags.text("aggregation-rule"))?;
        object["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": labels}]});
        object["rules"] = Value::Null;
        return Ok(object);
    }
    if verbs.is_empty() {
        return Err(Failure::message("at least one verb must be specified"));
    }
    let resources = flags.list("resource");
    if resources.is_empty() && paths.is_empty() {
        return Err(Failure::message("one of resource or nonResourceURL must be specified"));
    }
    if !resources.is_empty() {
        checked_verbs(session);
    }
    for path in paths {
        if path == "*" {
            continue;
        }
        if path.is_empty() || !path.starts_with('/') {
            return Err(Failure::message("nonResourceURL should start with /"));
        }
        if path.trim_end_matches('*').contains('*') || path.ends_with("**") {
            return Err(Failure::message(
                "nonResourceURL only supports wildcard matches when '*' is at the end",
            ));
        }
    }
    if let Some(verb) = verbs.iter().find(|verb| !paths.is_empty() && !PATH_VERBS.contains(&verb.as_str())) {
        return Err(Failure::message(format!("invalid verb: '{verb}' for nonResourceURL")));
    }
    let mut all = rules(session)?;
    if !paths.is_empty() {
        all.push(json!({"nonResourceURLs": paths, "verbs": verbs}));
    }
    object["rules"] = all.into();
    Ok(object)
}

fn subjects(session: &Session) -> Result<Vec<Value>, Failure> {
    let flags = &session.flags;
    let of = |kind: &str, flag: &str| {
        let names = flags.list(flag).iter();
        names.map(|name| json!({"apiGroup": GROUP, "kind": kind, "name": name})).collect::<Vec<_>>()
    };
    let mut subjects = of("User", "user");
    subjects.extend(of("Group", "group"));
    for account in flags.list("serviceaccount") {
        let Some((namespace, name)) = account.split_once(':').filter(|(a, b)| !a.is_empty() && !b.is_empty())
        else {
            return Err(Failure::message("serviceaccount must be <namespace>:<name>"));
        };
        subjects.push(json!({"kind": "ServiceAccount", "name": name, "namespace": namespace}));
    }
    Ok(subjects)
}

fn bound(session: &Session, kind: &str, role: (&str, &str)) -> Result<Value, Failure> {
    let mut object = named(RBAC, kind, name(session)?);
    object["roleRef"] = json!({"apiGroup": GROUP, "kind": role.0, "name": role.1});
    let subjects = subjects(session)?;
    if !subjects.is_empty() {
        object["subjects"] = subjects.into();
    }
    Ok(object)
}

pub fn role_binding(session: &Session) -> Result<Value, Failure> {
    let flags = &session.flags;
    match (flags.text("role"), flags.text("clusterrole")) {
        ("", "") => Err(Failure::message("exactly one of clusterrole or role must be specified")),
        (role, "") => bound(session, "RoleBinding", ("Role", role)),
        ("", role) => bound(session, "RoleBinding", ("ClusterRole", role)),
        _ => Err(Failure::message("exactly one of clusterrole or role must be specified")),
    }
}

pub fn cluster_role_binding(session: &Session) -> Result<Value, Failure> {
    required(session, &["clusterrole"])?;
    bound(session, "ClusterRoleBinding", ("ClusterRole", session.flags.text("clusterrole")))
}
