//! Tables of what rules allow, and a policy over a real cache.

use super::*;
use crate::testing::Fixture;
use rule::missing;
use serde_json::json;

fn rule(verbs: &[&str], groups: &[&str], resources: &[&str], names: &[&str]) -> Rule {
    let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
    Rule {
        verbs: list(verbs),
        api_groups: list(groups),
        resources: list(resources),
        resource_names: list(names),
        ..Rule::default()
    }
}

fn urls(verbs: &[&str], urls: &[&str]) -> Rule {
    let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
    Rule { verbs: list(verbs), non_resource_urls: list(urls), ..Rule::default() }
}

/// `VERB GROUP RESOURCE[/SUBRESOURCE] [NAME]`, or `VERB /PATH`.
fn ask(text: &str) -> Attributes {
    let words: Vec<_> = text.split(' ').collect();
    if words[1].starts_with('/') {
        return Attributes { verb: words[0].into(), path: words[1].into(), ..Attributes::default() };
    }
    let (resource, subresource) = words[2].split_once('/').unwrap_or((words[2], ""));
    Attributes {
        verb: words[0].into(),
        is_resource: true,
        group: words[1].replace("core", ""),
        resource: resource.into(),
        subresource: subresource.into(),
        name: words.get(3).copied().unwrap_or_default().into(),
        ..Attributes::default()
    }
}

#[test]
fn a_rule_allows_what_it_names_and_no_more() {
    let pods = rule(&["get", "list"], &[""], &["pods"], &[]);
    let log = rule(&["get"], &[""], &["pods/log"], &[]);
    let scale = rule(&["*"], &["*"], &["*/scale"], &[]);
    let named = rule(&["get"], &[""], &["secrets"], &["a", "b"]);
    let all = rule(&["*"], &["*"], &["*"], &[]);
    let paths = urls(&["get"], &["/healthz", "/api/*"]);
    for (rule, allowed, refused) in [
        (
            &pods,
            vec!["get core pods", "list core pods x"],
            vec!["watch core pods", "get core pods/log", "get apps pods", "get /pods"],
        ),
        (&log, vec!["get core pods/log x"], vec!["get core pods x", "get core pods/exec x"]),
        (
            &scale,
            vec!["update apps deployments/scale"],
            vec!["update apps deployments", "get apps deployments/status"],
        ),
        (&named, vec!["get core secrets a"], vec!["get core secrets c", "get core secrets"]),
        (&all, vec!["x y z", "create core pods/exec"], vec!["get /healthz"]),
        (
            &paths,
            vec!["get /healthz", "get /api/", "get /api/v1"],
            vec!["get /healthz/x", "get /api", "post /healthz", "get core pods"],
        ),
    ] {
        for text in allowed {
            assert!(rule.allows(&ask(text)), "{rule} {text}");
        }
        for text in refused {
            assert!(!rule.allows(&ask(text)), "{rule} {text}");
        }
    }
}

#[test]
fn what_is_missing_is_shown_as_upstream_shows_it() {
    let owned = [
        rule(&["get", "list"], &["", "apps"], &["pods", "*/scale"], &[]),
        rule(&["get"], &[""], &["secrets"], &["a"]),
        urls(&["get"], &["/api/*"]),
    ];
    let lacking = |wanted: Rule| -> Vec<String> {
        missing(owned.iter(), &[wanted]).iter().map(Rule::to_string).collect()
    };
    let none: Vec<String> = Vec::new();
    assert_eq!(lacking(rule(&["list"], &["apps"], &["pods"], &["x"])), none);
    assert_eq!(lacking(rule(&["get"], &["apps"], &["deployments/scale"], &[])), none);
    assert_eq!(lacking(urls(&["get"], &["/api/v1", "/api/v1/*"])), none);
    assert_eq!(
        lacking(rule(&["get", "watch", "create"], &[""], &["pods"], &[])),
        [r#"{APIGroups:[""], Resources:["pods"], Verbs:["watch" "create"]}"#]
    );
    assert_eq!(
        lacking(rule(&["get"], &[""], &["secrets"], &["a", "b"])),
        [r#"{APIGroups:[""], Resources:["secrets"], ResourceNames:["b"], Verbs:["get"]}"#]
    );
    assert_eq!(
        lacking(rule(&["*"], &["*"], &["*"], &[])),
        [r#"{APIGroups:["*"], Resources:["*"], Verbs:["*"]}"#]
    );
    assert_eq!(lacking(urls(&["get"], &["*"])), [r#"{NonResourceURLs:["*"], Verbs:["get"]}"#]);
}

fn role(kind: &str, namespace: &str, name: &str, resources: &[&str]) -> serde_json::Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": resources}],
    })
}

fn binding(
    kind: &str,
    namespace: &str,
    name: &str,
    role: (&str, &str),
    subject: serde_json::Value,
) -> serde_json::Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind,
        "metadata": {"name": name, "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role.0, "name": role.1},
        "subjects": [subject],
    })
}

#[tokio::test]
async fn bindings_grant_roles_to_users_groups_and_accounts_where_they_stand() {
    let f = Fixture::new().await;
    let rbac = Rbac::start(&f.lookup, &f.supervisor).unwrap();
    f.put("clusterroles/reader", &role("ClusterRole", "", "reader", &["pods"])).await;
    f.put("roles/a/local", &role("Role", "a", "local", &["secrets"])).await;
    let ann = json!({"kind": "User", "name": "ann"});
    f.put(
        "clusterrolebindings/everywhere",
        &binding(
            "ClusterRoleBinding",
            "",
            "everywhere",
            ("ClusterRole", "reader"),
            json!({"kind": "Group", "name": "staff"}),
        ),
    )
    .await;
    f.put("rolebindings/a/one", &binding("RoleBinding", "a", "one", ("Role", "local"), ann.clone())).await;
    f.put("rolebindings/a/two", &binding("RoleBinding", "a", "two", ("ClusterRole", "reader"), ann.clone()))
        .await;
    let account = json!({"kind": "ServiceAccount", "name": "bot", "namespace": "b"});
    f.put("rolebindings/a/bot", &binding("RoleBinding", "a", "bot", ("Role", "local"), account)).await;
    f.put("rolebindings/b/dangling", &binding("RoleBinding", "b", "dangling", ("Role", "none"), ann)).await;
    rbac.settled().await;

    let allowed = |user: &str, group: &str, namespace: &str, what: &str| {
        let user = User { name: user.into(), groups: vec![group.into()], ..User::default() };
        rbac.decide(&Attributes { user: user.into(), namespace: namespace.into(), ..ask(what) })
    };
    let no = |why: &str| Decision::NoOpinion(why.to_owned());
    assert_eq!(allowed("bob", "staff", "", "get core pods"), Decision::Allow);
    assert_eq!(allowed("bob", "staff", "x", "get core pods"), Decision::Allow);
    assert_eq!(allowed("bob", "staff", "a", "get core secrets"), no(""));
    assert_eq!(allowed("bob", "other", "x", "get core pods"), no(""));
    assert_eq!(allowed("ann", "", "a", "get core secrets"), Decision::Allow);
    assert_eq!(allowed("ann", "", "a", "get core pods"), Decision::Allow);
    assert_eq!(allowed("ann", "", "", "get core pods"), no(""));
    assert_eq!(
        allowed("ann", "", "b", "get core pods"),
        no(r#"RBAC: role.rbac.authorization.k8s.io "none" not found"#)
    );
    assert_eq!(allowed("system:serviceaccount:b:bot", "", "a", "get core secrets"), Decision::Allow);
    assert_eq!(allowed("system:serviceaccount:a:bot", "", "a", "get core secrets"), no(""));
    let user = Arc::new(User { name: "ann".into(), ..User::default() });
    let attributes = Attributes { user: user.clone(), namespace: "a".into(), ..ask("get core secrets") };
    assert_eq!(
        rbac.reason(&attributes),
        r#"RBAC: allowed by RoleBinding "one/a" of Role "local" to User "ann""#
    );
    let rules = crate::identity::RuleResolver::rules(&rbac, &user, "a");
    assert_eq!(rules.resource_rules.len(), 2);
    assert!(!rules.incomplete);

    // A role that changes or goes takes effect; so does a binding.
    f.put("roles/a/local", &role("Role", "a", "local", &["configmaps"])).await;
    f.delete("rolebindings/a/two").await;
    rbac.settled().await;
    assert_eq!(allowed("ann", "", "a", "get core secrets"), no(""));
    assert_eq!(allowed("ann", "", "a", "get core configmaps"), Decision::Allow);
    assert_eq!(allowed("ann", "", "a", "get core pods"), no(""));
    f.stop().await;
}
