//! Roles and bindings.

use super::*;

#[test]
fn rules() {
    let role = |rule: Value| json!({"metadata": {"name": "r"}, "rules": [rule]});
    let pods = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]});
    let urls = json!({"verbs": ["get"], "nonResourceURLs": ["/healthz"]});
    for kind in ["roles", "clusterroles"] {
        assert_eq!(created(kind, &role(pods.clone())), [""; 0], "{kind}");
        assert_eq!(
            created(kind, &role(json!({}))),
            [
                "rules[0].verbs: Required value: verbs must contain at least one value",
                "rules[0].apiGroups: Required value: resource rules must supply at least one api group",
                "rules[0].resources: Required value: resource rules must supply at least one resource",
            ],
            "{kind}"
        );
    }
    assert_eq!(created("clusterroles", &role(urls.clone())), [""; 0]);
    assert_eq!(
        created("roles", &role(urls)),
        [
            "rules[0].nonResourceURLs: Invalid value: [\"/healthz\"]: namespaced rules cannot apply to non-resource URLs"
        ]
    );
}

#[test]
fn bindings() {
    let binding =
        |kind: &str, subject: Value| json!({"roleRef": {"kind": kind, "name": "r"}, "subjects": [subject]});
    let account = json!({"kind": "ServiceAccount", "name": "a", "namespace": "ns"});
    assert_eq!(created("rolebindings", &binding("Role", account.clone())), [""; 0]);
    assert_eq!(
        created("clusterrolebindings", &binding("Role", account.clone())),
        ["roleRef.kind: Unsupported value: \"Role\": supported values: \"ClusterRole\""]
    );
    assert_eq!(
        created(
            "clusterrolebindings",
            &binding("ClusterRole", json!({"kind": "ServiceAccount", "name": "a"}))
        ),
        ["subjects[0].namespace: Required value"]
    );
    assert_eq!(
        created("rolebindings", &binding("Role", json!({"kind": "Robot", "name": "a"}))),
        [
            "subjects[0].kind: Unsupported value: \"Robot\": supported values: \"ServiceAccount\", \"User\", \"Group\""
        ]
    );
    assert_eq!(
        created("rolebindings", &binding("Role", json!({"kind": "User", "name": ""}))),
        [
            "subjects[0].name: Required value",
            "subjects[0].name: Invalid value: \"\": user name cannot be empty",
        ]
    );
    let said = updated("rolebindings", &binding("ClusterRole", account.clone()), &binding("Role", account));
    assert_eq!(
        said,
        [
            "roleRef: Invalid value: {\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"ClusterRole\",\"name\":\"r\"}: cannot change roleRef"
        ]
    );
}
