//! Who makes an admission policy or binding may read its parameters: else the policy could be made to tell what they
//! say. Upstream: `pkg/registry/admissionregistration/*/authz.go`.

use std::sync::Arc;

use api::field::{FieldError, Path};
use api::{Error, GroupVersion, Object};
use resources::ResourceSource;
use serde_json::Value;

use super::plugin::{Admission, Operation, Review};
use crate::cache::lookup::Lookup;
use crate::eventual::Eventual;
use crate::identity::authz::{Authorizer, Decision, is_privileged};
use crate::request::{Attributes, User};

const GROUP: &str = "admissionregistration.k8s.io";

/// Checks writes of policies and bindings.
pub struct ParameterRights {
    lookup: Lookup,
    kinds: Arc<dyn ResourceSource>,
    authorizer: Arc<dyn Authorizer>,
}

/// What is to be read: group, version and resource, any where they are not known.
struct Wanted {
    group: String,
    version: String,
    resource: String,
}

impl ParameterRights {
    pub fn new(lookup: Lookup, kinds: Arc<dyn ResourceSource>, authorizer: Arc<dyn Authorizer>) -> Self {
        Self { lookup, kinds, authorizer }
    }

    /// The resource of a policy's parameters.
    fn wanted(&self, kind: Option<&Value>) -> Wanted {
        let any = || "*".to_owned();
        let unknown = Wanted { group: any(), version: any(), resource: any() };
        let Some(kind) = kind else { return unknown };
        let Some(of) = GroupVersion::parse(text(kind, "apiVersion")) else { return unknown };
        let table = self.kinds.table();
        let row = table.by_kind(&of.group, &of.version, text(kind, "kind"));
        let resource = row.map_or_else(any, |row| row.plural.to_string());
        Wanted { group: of.group, version: of.version, resource }
    }

    async fn may(&self, user: &Arc<User>, verb: &str, wanted: Wanted, namespace: &str, name: &str) -> bool {
        let Wanted { group, version, resource } = wanted;
        let attributes = Attributes {
            user: Arc::clone(user),
            verb: verb.to_owned(),
            is_resource: true,
            group,
            version,
            resource,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            ..Attributes::default()
        };
        self.authorizer.authorize(&attributes).await == Decision::Allow
    }

    async fn policy(&self, review: &Review<'_>, policy: &Object) -> Result<(), Error> {
        let path = ["spec", "paramKind"];
        let Some(kind) = present(policy, &path) else { return Ok(()) };
        if review.old.is_some_and(|old| present(old, &path) == Some(kind)) {
            return Ok(());
        }
        let user = &review.attributes.user;
        if self.may(user, "get", self.wanted(Some(kind)), "*", "*").await {
            return Ok(());
        }
        let why = format!(
            "user {} must have \"get\" permission on all objects of the referenced paramKind (kind={}, apiVersion={})",
            shown(user),
            text(kind, "kind"),
            text(kind, "apiVersion")
        );
        Err(refusal(review, policy, "paramKind", why))
    }

    async fn binding(&self, review: &Review<'_>, policies: &str, binding: &Object) -> Result<(), Error> {
        let (reference_at, policy_at) = (["spec", "paramRef"], ["spec", "policyName"]);
        let Some(reference) = present(binding, &reference_at) else { return Ok(()) };
        let unchanged = |old: &Object| {
            present(old, &reference_at) == Some(reference) && old.at(&policy_at) == binding.at(&policy_at)
        };
        if review.old.is_some_and(unchanged) {
            return Ok(());
        }
        let name = binding.str_at(&policy_at).unwrap_or_default();
        let policy = self.lookup.object(GROUP, policies, "", name);
        let wanted = self.wanted(policy.as_ref().and_then(|policy| present(policy, &["spec", "paramKind"])));
        let (user, name) = (&review.attributes.user, text(reference, "name"));
        let verb = if name.is_empty() { "list" } else { "get" };
        if self.may(user, verb, wanted, text(reference, "namespace"), name).await {
            return Ok(());
        }
        let user = shown(user);
        let why =
            format!("user {user} does not have \"{verb}\" permission on the object referenced by paramRef");
        Err(refusal(review, binding, "paramRef", why))
    }
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn present<'o>(object: &'o Object, path: &[&str]) -> Option<&'o Value> {
    object.at(path).filter(|value| !value.is_null())
}

/// A user as upstream prints one.
fn shown(user: &User) -> String {
    let extra: Vec<String> =
        user.extra.iter().map(|(key, values)| format!("{key}:[{}]", values.join(" "))).collect();
    format!("&{{{} {} [{}] map[{}]}}", user.name, user.uid, user.groups.join(" "), extra.join(" "))
}

fn refusal(review: &Review<'_>, object: &Object, field: &str, why: String) -> Error {
    let path = Path::root("spec");
    let error = FieldError::forbidden(&path.child(field), why);
    Error::invalid(&review.resource.group_kind(), object.name(), &vec![error])
}

impl Admission for ParameterRights {
    fn name(&self) -> &'static str {
        "PolicyParameterRights"
    }

    /// A write of a policy or binding asks the authorizer, which may wait. All others are answered at once.
    fn validate<'a>(
        &'a self,
        review: &'a Review<'_>,
        object: Option<&'a Object>,
    ) -> Eventual<'a, Result<(), Error>> {
        let concerned = review.resource.group == GROUP
            && review.attributes.subresource.is_empty()
            && matches!(review.operation, Operation::Create | Operation::Update)
            && !is_privileged(&review.attributes.user);
        let Some(object) = object.filter(|_| concerned) else { return Ok(()).into() };
        match &*review.resource.plural {
            "validatingadmissionpolicies" | "mutatingadmissionpolicies" => {
                Eventual::later(self.policy(review, object))
            }
            "validatingadmissionpolicybindings" => {
                Eventual::later(self.binding(review, "validatingadmissionpolicies", object))
            }
            "mutatingadmissionpolicybindings" => {
                Eventual::later(self.binding(review, "mutatingadmissionpolicies", object))
            }
            _ => Ok(()).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use resources::Builtin;
    use serde_json::json;

    use super::*;
    use crate::admission::tests::{Ask, CREATE_POD, admit};
    use crate::identity::authz::rbac::Rbac;
    use crate::testing::Fixture;

    #[tokio::test]
    async fn parameters_are_read_by_who_names_them() {
        let f = Fixture::new().await;
        let group = "rbac.authorization.k8s.io";
        let role = json!({"metadata": {"name": "reader"}, "rules": [
            {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]},
            {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["one"], "verbs": ["get"]}]});
        f.put("clusterroles/reader", &role).await;
        let bound = json!({"metadata": {"name": "ann"}, "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "reader"},
            "subjects": [{"kind": "User", "name": "ann"}]});
        f.put("clusterrolebindings/ann", &bound).await;
        let rbac = Rbac::start(&f.lookup, &f.supervisor).unwrap();
        let plugin = ParameterRights::new(f.lookup.clone(), Arc::new(Builtin), Arc::new(rbac));
        let policy = |version: &str, kind: &str| json!({"metadata": {"name": "p"}, "spec": {"paramKind": {"apiVersion": version, "kind": kind}}});
        for plural in ["mutatingadmissionpolicies", "validatingadmissionpolicies"] {
            let ask = Ask { group: GROUP, resource: plural, place: "/", ..CREATE_POD };
            let refused = |object: Value| admit(&plugin, &ask, Some(object)).err();
            assert_eq!(refused(policy("v1", "ConfigMap")), None);
            assert_eq!(refused(json!({"metadata": {"name": "p"}, "spec": {}})), None);
            let (code, message) = refused(policy("v1", "Secret")).unwrap();
            let words = "\"p\" is invalid: spec.paramKind: Forbidden: user &{ann  [g] map[]} must have \"get\" permission \
                on all objects of the referenced paramKind (kind=Secret, apiVersion=v1)";
            assert!(code == 422 && message.ends_with(words), "{message}");
            assert!(refused(policy("a.b/v1", "Nothing")).is_some());
            // Who could not name the kind may still change the rest.
            let update =
                Ask { operation: Operation::Update, place: "/p", old: Some(policy("v1", "Secret")), ..ask };
            assert!(admit(&plugin, &update, Some(policy("v1", "Secret"))).is_ok());
        }
        f.put("mutatingadmissionpolicies/p", &policy("v1", "Secret")).await;
        let ask = Ask { group: GROUP, resource: "mutatingadmissionpolicybindings", place: "/", ..CREATE_POD };
        let refused = |policy: &str, reference: Value| {
            let binding =
                json!({"metadata": {"name": "b"}, "spec": {"policyName": policy, "paramRef": reference}});
            admit(&plugin, &ask, Some(binding)).err().map(|(_, message)| message)
        };
        assert_eq!(refused("p", Value::Null), None);
        assert_eq!(refused("p", json!({"name": "one"})), None);
        let message = refused("p", json!({"name": "two"})).unwrap();
        assert!(message.ends_with("spec.paramRef: Forbidden: user &{ann  [g] map[]} does not have \"get\" permission on the object referenced by paramRef"), "{message}");
        assert!(refused("p", json!({"selector": {}})).unwrap().contains("\"list\""));
        assert!(refused("none", json!({"name": "one"})).is_some());
        f.stop().await;
    }
}
