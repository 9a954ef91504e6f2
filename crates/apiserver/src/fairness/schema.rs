//! Which requests a flow schema matches, and what tells its flows apart. Pure.

use k8s_openapi::api::flowcontrol::v1::{
    FlowSchemaSpec, NonResourcePolicyRule, PolicyRulesWithSubjects, ResourcePolicyRule, Subject,
};

use crate::request::User;
use crate::request::path::RequestInfo;

const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

/// The rules of a schema.
#[derive(Debug)]
pub(super) struct Matcher {
    rules: Vec<PolicyRulesWithSubjects>,
    distinguisher: Distinguisher,
}

/// What the flows of a schema are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Distinguisher {
    One,
    User,
    Namespace,
}

impl Matcher {
    pub fn new(spec: FlowSchemaSpec) -> Self {
        let distinguisher = match spec.distinguisher_method.as_ref().map(|method| &*method.type_) {
            Some("ByUser") => Distinguisher::User,
            Some("ByNamespace") => Distinguisher::Namespace,
            _ => Distinguisher::One,
        };
        Self { rules: spec.rules.unwrap_or_default(), distinguisher }
    }

    /// Whether one of the rules is for the user and the request.
    pub fn matches(&self, user: &User, info: &RequestInfo) -> bool {
        self.rules.iter().any(|rule| {
            rule.subjects.iter().any(|subject| is_of(subject, user))
                && match info.is_resource {
                    true => rule.resource_rules.iter().flatten().any(|rule| covers(rule, info)),
                    false => rule.non_resource_rules.iter().flatten().any(|rule| covers_path(rule, info)),
                }
        })
    }

    /// What tells the request's flow apart from the schema's others.
    pub fn flow<'a>(&self, user: &'a User, info: &'a RequestInfo) -> &'a str {
        match self.distinguisher {
            Distinguisher::One => "",
            Distinguisher::User => &user.name,
            Distinguisher::Namespace => &info.namespace,
        }
    }
}

fn is_of(subject: &Subject, user: &User) -> bool {
    let group = |name: &str| name == "*" || user.groups.iter().any(|group| group == name);
    match &*subject.kind {
        "User" => subject.user.as_ref().is_some_and(|who| who.name == "*" || who.name == user.name),
        "Group" => subject.group.as_ref().is_some_and(|of| !user.groups.is_empty() && group(&of.name)),
        "ServiceAccount" => subject.service_account.as_ref().is_some_and(|account| {
            let named = user.name.strip_prefix(SERVICE_ACCOUNT).and_then(|rest| rest.split_once(':'));
            named.is_some_and(|(namespace, name)| {
                account.namespace == namespace && (account.name == "*" || account.name == name)
            })
        }),
        _ => false,
    }
}

fn has(list: &[String], value: &str) -> bool {
    list.iter().any(|item| item == "*" || item == value)
}

fn covers(rule: &ResourcePolicyRule, info: &RequestInfo) -> bool {
    let resource = |listed: &String| {
        let (plural, part) = listed.split_once('/').unwrap_or((listed, ""));
        listed == "*" || (plural == info.resource && part == info.subresource)
    };
    let place = match info.namespace.is_empty() {
        true => rule.cluster_scope == Some(true),
        false => has(rule.namespaces.as_deref().unwrap_or_default(), &info.namespace),
    };
    place
        && has(&rule.verbs, info.verb)
        && has(&rule.api_groups, &info.group)
        && rule.resources.iter().any(resource)
}

fn covers_path(rule: &NonResourcePolicyRule, info: &RequestInfo) -> bool {
    let path = |url: &String| match url.strip_suffix('*') {
        Some(prefix) => info.path.starts_with(prefix),
        None => *url == info.path,
    };
    has(&rule.verbs, info.verb) && rule.non_resource_urls.iter().any(path)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::request::query::Query;

    fn matcher(rule: &Value) -> Matcher {
        let spec = json!({"priorityLevelConfiguration": {"name": "l"}, "rules": [rule]});
        Matcher::new(serde_json::from_value(spec).unwrap())
    }

    fn asked(method: &http::Method, path: &str) -> RequestInfo {
        RequestInfo::parse(method, path, &Query::parse("")).unwrap()
    }

    fn user(name: &str, groups: &[&str]) -> User {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        User { name: name.to_owned(), groups, ..User::default() }
    }

    #[test]
    fn subjects_are_users_groups_and_accounts() {
        let everywhere = json!([{"verbs": ["*"], "nonResourceURLs": ["*"]}]);
        let of = |subject: Value| matcher(&json!({"subjects": [subject], "nonResourceRules": everywhere}));
        let get = asked(&http::Method::GET, "/version");
        let hit = |subject: Value, user: &User| of(subject).matches(user, &get);
        let alice = user("alice", &["a"]);
        assert!(hit(json!({"kind": "User", "user": {"name": "alice"}}), &alice));
        assert!(hit(json!({"kind": "User", "user": {"name": "*"}}), &alice));
        assert!(!hit(json!({"kind": "User", "user": {"name": "bob"}}), &alice));
        assert!(hit(json!({"kind": "Group", "group": {"name": "a"}}), &alice));
        assert!(!hit(json!({"kind": "Group", "group": {"name": "b"}}), &alice));
        let account = |name: &str| json!({"kind": "ServiceAccount", "serviceAccount": {"name": name, "namespace": "n"}});
        assert!(hit(account("*"), &user("system:serviceaccount:n:x", &[])));
        assert!(hit(account("x"), &user("system:serviceaccount:n:x", &[])));
        assert!(!hit(account("y"), &user("system:serviceaccount:n:x", &[])));
        assert!(!hit(account("*"), &user("system:serviceaccount:m:x", &[])));
    }

    #[test]
    fn rules_are_of_resources_in_namespaces_or_of_paths() {
        let anybody = json!([{"kind": "User", "user": {"name": "*"}}]);
        let rule = |more: Value| {
            let mut rule = json!({"subjects": anybody});
            rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            matcher(&rule)
        };
        let resources = rule(json!({"resourceRules": [{"verbs": ["get", "create"], "apiGroups": [""],
            "resources": ["pods", "pods/status"], "namespaces": ["a"]}]}));
        let hit = |matcher: &Matcher, method: &http::Method, path: &str| {
            matcher.matches(&user("u", &[]), &asked(method, path))
        };
        let (get, post) = (http::Method::GET, http::Method::POST);
        assert!(hit(&resources, &get, "/api/v1/namespaces/a/pods/p"));
        assert!(hit(&resources, &get, "/api/v1/namespaces/a/pods/p/status"));
        assert!(hit(&resources, &post, "/api/v1/namespaces/a/pods"));
        assert!(!hit(&resources, &get, "/api/v1/namespaces/a/pods/p/log"));
        assert!(!hit(&resources, &get, "/api/v1/namespaces/b/pods/p"));
        assert!(!hit(&resources, &get, "/api/v1/namespaces/a/pods"), "a list is no get");
        assert!(!hit(&resources, &get, "/apis/apps/v1/namespaces/a/pods/p"));
        assert!(!hit(&resources, &get, "/api/v1/pods"), "no rule for all namespaces");
        let all = rule(json!({"resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"],
            "clusterScope": true}]}));
        assert!(hit(&all, &get, "/api/v1/nodes/n") && !hit(&all, &get, "/api/v1/namespaces/a/pods/p"));
        let paths =
            rule(json!({"nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/x/*"]}]}));
        assert!(
            hit(&paths, &get, "/healthz") && hit(&paths, &get, "/x/y") && !hit(&paths, &get, "/healthz/z")
        );
        assert!(!hit(&paths, &get, "/api/v1/nodes/n"));
    }

    #[test]
    fn flows_are_told_apart_by_user_or_namespace() {
        let (alice, info) = (user("alice", &[]), asked(&http::Method::GET, "/api/v1/namespaces/a/pods/p"));
        let by = |method: Value| {
            let spec = json!({"priorityLevelConfiguration": {"name": "l"}, "distinguisherMethod": method});
            Matcher::new(serde_json::from_value(spec).unwrap()).flow(&alice, &info).to_owned()
        };
        assert_eq!(by(json!({"type": "ByUser"})), "alice");
        assert_eq!(by(json!({"type": "ByNamespace"})), "a");
        assert_eq!(by(Value::Null), "");
    }
}
