//! Roles and bindings.

use serde_json::{Value, json};

use super::{name, named, required};
use crate::failure::Failure;
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
            let resource = session.resource(word)?;
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
    if !names.is_empty() && groups.iter().map(|(_, plurals)| plurals.len()).sum::<usize>() > 1 {
        return Err(Failure::message("resource name(s) can not be applied to multiple resources"));
    }
    let rule = |(group, plurals): (String, Vec<String>)| {
        let mut rule = json!({"apiGroups": [group], "resources": plurals, "verbs": verbs});
        if !names.is_empty() {
            rule["resourceNames"] = json!(names);
        }
        rule
    };
    Ok(groups.into_iter().map(rule).collect())
}

pub fn role(session: &Session) -> Result<Value, Failure> {
    let mut object = named(RBAC, "Role", name(session)?);
    if session.flags.list("verb").is_empty() {
        return Err(Failure::message("at least one verb must be specified"));
    }
    if session.flags.list("resource").is_empty() {
        return Err(Failure::message("at least one resource must be specified"));
    }
    object["rules"] = rules(session)?.into();
    Ok(object)
}

pub fn cluster_role(session: &Session) -> Result<Value, Failure> {
    let flags = &session.flags;
    for flag in ["aggregation-rule", "non-resource-url"] {
        if flags.changed(flag) {
            let why = format!("knarr kubectl does not know \"--{flag}\" yet; use the stock kubectl");
            return Err(Failure::message(why));
        }
    }
    let mut object = role(session)?;
    object["kind"] = "ClusterRole".into();
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
