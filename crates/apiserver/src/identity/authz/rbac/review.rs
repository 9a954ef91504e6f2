//! A user's rules as `SelfSubjectRulesReview` lists them.

use std::sync::Arc;

use super::{Rbac, Rule};
use crate::identity::{RuleResolver, Rules};
use crate::request::User;

impl RuleResolver for Rbac {
    fn rules(&self, user: &Arc<User>, namespace: &str) -> Rules {
        let (found, problems) = self.rules_for(user, namespace);
        let mut out = Rules {
            incomplete: !problems.is_empty(),
            evaluation_error: problems.join(", "),
            ..Rules::default()
        };
        for rule in found.iter().flat_map(|rules| rules.iter()) {
            if !rule.resources.is_empty() {
                let alone = Rule { non_resource_urls: Vec::new(), ..rule.clone() };
                out.resource_rules.push(alone.to_json());
            }
            // Paths are granted by cluster roles alone; a namespace's rules about them mean nothing.
            if !rule.non_resource_urls.is_empty() {
                let alone = Rule {
                    verbs: rule.verbs.clone(),
                    non_resource_urls: rule.non_resource_urls.clone(),
                    ..Rule::default()
                };
                out.non_resource_rules.push(alone.to_json());
            }
        }
        if crate::identity::authz::node_user::is_node(user) {
            out.incomplete = true;
            out.evaluation_error = "node authorizer does not support user rule resolution".to_owned();
        }
        out
    }
}
