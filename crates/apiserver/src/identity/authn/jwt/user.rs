//! From the claims of a token to the user that it stands for, and the rules about both.

use std::collections::BTreeMap;

use expressions::{Budget, Value as Cel};
use resources::conditions::MATCH_BUDGET;
use serde_json::{Map, Value, json};

use super::configuration::JwtSettings;
use super::mapping::{Check, Source, run};
use crate::identity::authn::AUTHENTICATED_GROUP;
use crate::request::User;

impl JwtSettings {
    /// The user of claims whose token is proven.
    ///
    /// # Errors
    /// Which claim is missing or which rule does not hold.
    pub(super) fn user(&self, claims: &Map<String, Value>) -> Result<User, String> {
        let mut budget = Budget::steps(MATCH_BUDGET);
        let name = self.name(claims, &mut budget)?;
        let mut groups = match &self.groups {
            Some(mapping) => mapping.texts(claims, &mut budget).map_err(|why| format!("groups: {why}"))?,
            None => Vec::new(),
        };
        let uid = match &self.uid {
            Some(mapping) => mapping.text(claims, &mut budget).map_err(|why| format!("uid: {why}"))?,
            None => String::new(),
        };
        let mut extra = BTreeMap::new();
        for (key, mapping) in &self.extra {
            let values = mapping.texts(claims, &mut budget).map_err(|why| format!("extra {key}: {why}"))?;
            if !values.is_empty() {
                extra.insert(key.clone(), values);
            }
        }
        for (claim, required) in &self.required {
            let told = claims.get(claim).and_then(Value::as_str);
            if told != Some(required) {
                return Err(format!(
                    "required claim {claim} value does not match. Got = {told:?}, want = {required}"
                ));
            }
        }
        hold(&self.claim_checks, claims, &mut budget)?;
        let info = json!({"username": name, "uid": uid, "groups": groups, "extra": extra});
        if let Value::Object(info) = &info {
            hold(&self.user_checks, info, &mut budget)?;
        }
        if !groups.iter().any(|group| group == AUTHENTICATED_GROUP) {
            groups.push(AUTHENTICATED_GROUP.to_owned());
        }
        Ok(User { name, uid, groups, extra })
    }

    fn name(&self, claims: &Map<String, Value>, budget: &mut Budget) -> Result<String, String> {
        let name = self.username.text(claims, budget).map_err(|why| format!("username: {why}"))?;
        let by_email = matches!(&self.username.source, Source::Claim(claim) if claim == "email");
        if by_email && claims.get("email_verified").is_some_and(|verified| *verified != Value::Bool(true)) {
            return Err("email not verified".to_owned());
        }
        if name.is_empty() { Err("username: it is empty".to_owned()) } else { Ok(name) }
    }
}

/// Whether all rules hold.
fn hold(checks: &[Check], of: &Map<String, Value>, budget: &mut Budget) -> Result<(), String> {
    for check in checks {
        match run(&check.program, of, budget)? {
            Cel::Bool(true) => {}
            Cel::Bool(false) if check.message.is_empty() => {
                return Err("validation expression failed".to_owned());
            }
            Cel::Bool(false) => return Err(format!("validation expression failed: {}", check.message)),
            _ => return Err("validation expression must return a boolean".to_owned()),
        }
    }
    Ok(())
}
