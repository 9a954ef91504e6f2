use super::*;
use crate::eventual::Eventual;

/// Allows what is listed as `VERB GROUP/RESOURCE[/SUBRESOURCE] NAME`; `*` at the end stands for any name.
struct Allowing(&'static [&'static str]);

impl Authorizer for Allowing {
    fn authorize<'a>(&'a self, asked: &'a Attributes) -> Eventual<'a, Decision> {
        let part =
            if asked.subresource.is_empty() { String::new() } else { format!("/{}", asked.subresource) };
        let what = format!("{} {}/{}{part}", asked.verb, asked.group, asked.resource);
        let allows =
            |line: &&str| *line == format!("{what} {}", asked.name) || *line == format!("{what} any");
        if self.0.iter().any(allows) { Decision::Allow } else { Decision::NoOpinion(String::new()) }.into()
    }
}

fn user(name: &str, groups: &[&str]) -> User {
    User { name: name.into(), groups: groups.iter().map(|g| (*g).to_owned()).collect(), ..User::default() }
}

/// Groups and constraint of who becomes the user for listing pods of a namespace, or the refusal.
async fn becoming(allowed: &'static [&'static str], caller: User, wanted: &User) -> String {
    let request = Attributes {
        user: Arc::new(caller),
        verb: "list".into(),
        is_resource: true,
        version: "v1".into(),
        resource: "pods".into(),
        namespace: "ns".into(),
        ..Attributes::default()
    };
    match become_user(&Allowing(allowed), &request, wanted).await {
        Ok(done) => format!("{} by {}", done.user.groups.join(","), done.constraint.unwrap_or_default()),
        Err(error) => error.message,
    }
}

fn on_node(name: &str) -> User {
    let extra = [(NODE_NAME.to_owned(), vec![name.to_owned()])].into();
    User { extra, ..user("system:serviceaccount:ns:agent", &[]) }
}

#[tokio::test]
async fn a_constrained_right_covers_what_it_names_alone() {
    const JANE: &[&str] = &[
        "impersonate:user-info authentication.k8s.io/users jane",
        "impersonate-on:user-info:list /pods any",
    ];
    assert_eq!(
        becoming(JANE, user("me", &[]), &user("jane", &[])).await,
        "system:authenticated by impersonate:user-info"
    );
    assert_eq!(
        becoming(JANE, user("me", &[]), &user("joe", &[])).await,
        r#"users.authentication.k8s.io "joe" is forbidden: User "me" cannot impersonate:user-info resource "users" in API group "authentication.k8s.io" at the cluster scope"#
    );
    assert_eq!(
        becoming(&JANE[..1], user("me", &[]), &user("jane", &[])).await,
        r#"pods is forbidden: User "me" cannot impersonate-on:user-info:list resource "pods" in API group "" in the namespace "ns""#
    );
    let masters = user("jane", &["system:masters"]);
    assert!(
        becoming(JANE, user("me", &[]), &masters)
            .await
            .ends_with("impersonating the system:masters group is not allowed")
    );
    const OLD: &[&str] = &["impersonate /users jane", "impersonate /groups system:masters"];
    assert_eq!(becoming(OLD, user("me", &[]), &masters).await, "system:masters,system:authenticated by ");
}

#[tokio::test]
async fn an_account_may_act_as_the_node_of_its_pod() {
    const OWN: &[&str] = &[
        "impersonate:associated-node authentication.k8s.io/nodes *",
        "impersonate-on:associated-node:list /pods any",
    ];
    let n1 = user("system:node:n1", &[]);
    assert_eq!(
        becoming(OWN, on_node("n1"), &n1).await,
        "system:nodes,system:authenticated by impersonate:associated-node"
    );
    assert!(becoming(OWN, on_node("n2"), &n1).await.contains("cannot impersonate-on:arbitrary-node:list"));
    assert!(becoming(OWN, user("me", &[]), &n1).await.contains("cannot impersonate-on:arbitrary-node:list"));
    const ANY: &[&str] = &[
        "impersonate:arbitrary-node authentication.k8s.io/nodes n1",
        "impersonate-on:arbitrary-node:list /pods any",
    ];
    assert_eq!(
        becoming(ANY, user("me", &[]), &n1).await,
        "system:nodes,system:authenticated by impersonate:arbitrary-node"
    );
}

#[tokio::test]
async fn accounts_get_their_groups_and_extra_values_are_asked_for() {
    let account = user("system:serviceaccount:ns:a", &[]);
    const ACCOUNT: &[&str] = &[
        "impersonate:serviceaccount authentication.k8s.io/serviceaccounts a",
        "impersonate-on:serviceaccount:list /pods any",
    ];
    let groups = "system:serviceaccounts,system:serviceaccounts:ns,system:authenticated";
    assert_eq!(
        becoming(ACCOUNT, user("me", &[]), &account).await,
        format!("{groups} by impersonate:serviceaccount")
    );
    assert_eq!(
        becoming(&["impersonate /serviceaccounts a"], user("me", &[]), &account).await,
        format!("{groups} by ")
    );
    const EXTRA: &[&str] = &[
        "impersonate:user-info authentication.k8s.io/users jane",
        "impersonate:user-info authentication.k8s.io/userextras/acme.com/x 1",
        "impersonate-on:user-info:list /pods any",
    ];
    let with = |key: &str, value: &str| User {
        extra: [(key.to_owned(), vec![value.to_owned()])].into(),
        ..user("jane", &[])
    };
    assert!(
        becoming(EXTRA, user("me", &[]), &with("acme.com/x", "1"))
            .await
            .ends_with("by impersonate:user-info")
    );
    assert!(
        becoming(EXTRA, user("me", &[]), &with("acme.com/x", "2")).await.contains("userextras/acme.com/x")
    );
    assert!(becoming(EXTRA, user("me", &[]), &with("x", "1")).await.contains("an invalid key in extra"));
    assert!(
        becoming(EXTRA, user("me", &[]), &with("acme.com/x", "")).await.contains("the empty string value")
    );
}
