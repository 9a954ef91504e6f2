//! `set subject`: who has a role.

use serde_json::{Value, json};

use super::{Work, checked, chosen, each};
use crate::failure::Failure;
use crate::session::Session;
use crate::write::Telling;

const GROUP: &str = "rbac.authorization.k8s.io";

pub fn run(session: &Session) -> Result<(), Failure> {
    let flags = &session.flags;
    let telling = Telling::of(session)?;
    checked(session, &telling)?;
    let infos = chosen(session, session.arguments())?;
    if ["user", "group", "serviceaccount"].iter().all(|flag| flags.list(flag).is_empty()) {
        return Err(Failure::message("you must specify at least one value of user, group or serviceaccount"));
    }
    let own =
        if flags.bool("local") { session.namespace().unwrap_or("default") } else { session.namespace()? };
    let cluster_wide = infos.iter().any(|info| info.resource.kind == "ClusterRoleBinding");
    let subjects = subjects(session, own, cluster_wide)?;
    let mut change = |object: &mut Value| {
        if !["RoleBinding", "ClusterRoleBinding"].contains(&object["kind"].as_str().unwrap_or_default()) {
            return Err("setting subjects is only supported for RoleBinding/ClusterRoleBinding".to_owned());
        }
        let mut present = object["subjects"].as_array().cloned().unwrap_or_default();
        let fresh: Vec<Value> =
            subjects.iter().filter(|subject| !present.contains(subject)).cloned().collect();
        present.extend(fresh);
        object["subjects"] = present.into();
        Ok(())
    };
    let work = Work {
        telling: &telling,
        done: "subjects updated",
        failed: "failed to patch subjects to rolebinding:",
        always: false,
    };
    Failure::all(each(session, &work, infos, &mut change)?)
}

/// What the flags say, each once, in order.
fn subjects(session: &Session, own: &str, cluster_wide: bool) -> Result<Vec<Value>, Failure> {
    let sorted = |flag: &str| {
        let mut names = session.flags.list(flag).to_vec();
        names.sort();
        names.dedup();
        names
    };
    let mut subjects = Vec::new();
    for (kind, flag) in [("User", "user"), ("Group", "group")] {
        subjects.extend(
            sorted(flag).into_iter().map(|name| json!({"apiGroup": GROUP, "kind": kind, "name": name})),
        );
    }
    for account in sorted("serviceaccount") {
        let Some((namespace, name)) =
            account.split_once(':').filter(|(_, name)| !name.is_empty() && !name.contains(':'))
        else {
            return Err(Failure::message("serviceaccount must be <namespace>:<name>"));
        };
        if namespace.is_empty() && cluster_wide {
            return Err(Failure::message(
                "serviceaccount must be <namespace>:<name>, namespace must be specified",
            ));
        }
        let namespace = if namespace.is_empty() { own } else { namespace };
        subjects.push(json!({"kind": "ServiceAccount", "name": name, "namespace": namespace}));
    }
    Ok(subjects)
}
