//! Nobody grants rights they do not have, unless they may `escalate` roles or `bind` them.

use std::sync::Arc;

use api::{Error, GroupResource, Object};
use serde_json::Value;

use super::plugin::{Admission, Operation, Review};
use crate::eventual::Eventual;
use crate::identity::authz::rbac::rule::{missing, quoted};
use crate::identity::authz::rbac::{GROUP, Rbac, RoleRef, Rule};
use crate::identity::authz::{Authorizer, Decision, is_privileged};
use crate::request::Attributes;

/// Checks writes of roles and bindings.
pub struct Escalation {
    rbac: Rbac,
    authorizer: Arc<dyn Authorizer>,
}

impl Escalation {
    pub fn new(rbac: Rbac, authorizer: Arc<dyn Authorizer>) -> Self {
        Self { rbac, authorizer }
    }

    /// Whether the user may use `verb` on a role.
    async fn may(&self, review: &Review<'_>, verb: &str, resource: &str, name: &str) -> bool {
        let attributes = Attributes {
            user: Arc::clone(&review.attributes.user),
            verb: verb.to_owned(),
            is_resource: true,
            group: GROUP.to_owned(),
            version: review.attributes.version.clone(),
            resource: resource.to_owned(),
            namespace: review.attributes.namespace.clone(),
            name: name.to_owned(),
            ..Attributes::default()
        };
        self.authorizer.authorize(&attributes).await == Decision::Allow
    }

    async fn role(&self, review: &Review<'_>, role: &Object) -> Result<(), Error> {
        let parts = ["rules", "aggregationRule"];
        let unchanged = |old: &Object| parts.iter().all(|part| old.0.get(*part) == role.0.get(*part));
        // Metadata grants nothing; those who could not grant the rules may still label the role.
        if review.old.is_some_and(unchanged)
            || self.may(review, "escalate", &review.resource.plural, role.name()).await
        {
            return Ok(());
        }
        self.confirm(review, role, &rules(role)?)?;
        // Who may say which roles are put together may grant anything.
        if role.0.get("aggregationRule").is_some_and(|rule| !rule.is_null()) {
            self.confirm(review, role, &everything()).map_err(|_| {
                review.forbid(Some(role), "must have cluster-admin privileges to use the aggregationRule")
            })?;
        }
        Ok(())
    }

    async fn binding(&self, review: &Review<'_>, binding: &Object) -> Result<(), Error> {
        let parts = ["roleRef", "subjects"];
        let unchanged = |old: &Object| parts.iter().all(|part| old.0.get(*part) == binding.0.get(*part));
        if review.old.is_some_and(unchanged) {
            return Ok(());
        }
        let text = |field: &str| binding.str_at(&["roleRef", field]).unwrap_or_default().to_owned();
        let role = RoleRef { kind: text("kind"), name: text("name") };
        let plural = if role.kind == "ClusterRole" { "clusterroles" } else { "roles" };
        if self.may(review, "bind", plural, &role.name).await {
            return Ok(());
        }
        let found = self.rbac.rules_of(&role, &review.attributes.namespace);
        let rules = found.ok_or_else(|| Error::not_found(&GroupResource::new(GROUP, plural), &role.name))?;
        self.confirm(review, binding, &rules)
    }

    /// Whether the user has all of these rules.
    fn confirm(&self, review: &Review<'_>, object: &Object, wanted: &[Rule]) -> Result<(), Error> {
        let user = &review.attributes.user;
        let (owned, problems) = self.rbac.rules_for(user, &review.attributes.namespace);
        let lacking = missing(owned.iter().flat_map(|rules| rules.iter()), wanted);
        if lacking.is_empty() {
            return Ok(());
        }
        let mut lines: Vec<_> = lacking.iter().map(Rule::to_string).collect();
        lines.sort();
        let mut why = format!(
            "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
            user.name,
            quoted(&user.groups),
            lines.join("\n")
        );
        if !problems.is_empty() {
            why.push_str(&format!("; resolution errors: [{}]", problems.join(", ")));
        }
        Err(review.forbid(Some(object), why))
    }
}

impl Admission for Escalation {
    fn name(&self) -> &'static str {
        "RBACEscalation"
    }

    /// A write of a role or binding asks the authorizer, which may wait. All others are answered at once.
    fn validate<'a>(
        &'a self,
        review: &'a Review<'_>,
        object: Option<&'a Object>,
    ) -> Eventual<'a, Result<(), Error>> {
        let concerned = review.resource.group == GROUP
            && matches!(review.operation, Operation::Create | Operation::Update)
            && !is_privileged(&review.attributes.user);
        let Some(object) = object.filter(|_| concerned) else { return Ok(()).into() };
        match &*review.resource.plural {
            "roles" | "clusterroles" => Eventual::later(self.role(review, object)),
            "rolebindings" | "clusterrolebindings" => Eventual::later(self.binding(review, object)),
            _ => Ok(()).into(),
        }
    }
}

fn rules(role: &Object) -> Result<Vec<Rule>, Error> {
    match role.0.get("rules") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(rules) => serde_json::from_value(rules.clone())
            .map_err(|error| Error::bad_request(format!("the rules cannot be read: {error}"))),
    }
}

/// What an administrator of the cluster has.
fn everything() -> [Rule; 2] {
    let all = || vec!["*".to_owned()];
    [
        Rule { verbs: all(), api_groups: all(), resources: all(), ..Rule::default() },
        Rule { verbs: all(), non_resource_urls: all(), ..Rule::default() },
    ]
}
