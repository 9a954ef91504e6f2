//! [`Policy`]: which requests are written down and how much of them (`audit.k8s.io/v1` Policy). The first rule that
//! matches a request decides; a request that no rule matches is not written down.

use std::fmt;

use serde::Deserialize;

use crate::request::User;
use crate::request::notes::Level;
use crate::request::path::RequestInfo;

/// When an event is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Stage {
    /// The user is known, nothing is done yet.
    RequestReceived,
    /// The head of an answer that goes on for long (a watch, a session) is sent.
    ResponseStarted,
    /// The answer is complete.
    ResponseComplete,
    /// A fault in the server ended the request.
    Panic,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What is to be written about a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Decision {
    pub level: Level,
    omitted: u8,
    pub omit_managed_fields: bool,
}

impl Decision {
    pub(crate) fn omits(&self, stage: Stage) -> bool {
        self.omitted & bit(stage) != 0
    }
}

const fn bit(stage: Stage) -> u8 {
    1 << stage as u8
}

/// A policy file, read and checked.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policy {
    api_version: String,
    kind: String,
    /// Taken and not used, as of any object.
    #[serde(default)]
    #[expect(dead_code, reason = "files may have it; it says nothing about the rules")]
    metadata: serde_json::Value,
    rules: Vec<Rule>,
    #[serde(default)]
    omit_stages: Vec<Stage>,
    #[serde(default)]
    omit_managed_fields: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rule {
    level: Option<Level>,
    #[serde(default)]
    users: Vec<String>,
    #[serde(default)]
    user_groups: Vec<String>,
    #[serde(default)]
    verbs: Vec<String>,
    #[serde(default)]
    resources: Vec<GroupResources>,
    #[serde(default)]
    namespaces: Vec<String>,
    #[serde(default, rename = "nonResourceURLs")]
    non_resource_urls: Vec<String>,
    #[serde(default)]
    omit_stages: Vec<Stage>,
    omit_managed_fields: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GroupResources {
    #[serde(default)]
    group: String,
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    resource_names: Vec<String>,
}

impl Policy {
    /// Everything at level `Metadata`, once the answer is there: what is written where no policy is given.
    pub(crate) fn metadata_of_everything() -> Self {
        Self {
            api_version: "audit.k8s.io/v1".to_owned(),
            kind: "Policy".to_owned(),
            metadata: serde_json::Value::Null,
            rules: vec![Rule { level: Some(Level::Metadata), ..Rule::default() }],
            omit_stages: vec![Stage::RequestReceived],
            omit_managed_fields: false,
        }
    }

    /// Reads a policy file.
    ///
    /// # Errors
    /// What is wrong with it: with line and column where it cannot be read, else with the field as upstream names it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let policy: Self = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        if (policy.api_version.as_str(), policy.kind.as_str()) != ("audit.k8s.io/v1", "Policy") {
            return Err(format!("it is {} {}, not audit.k8s.io/v1 Policy", policy.api_version, policy.kind));
        }
        if policy.rules.is_empty() {
            return Err("loaded illegal policy with 0 rules".to_owned());
        }
        let wrong: Vec<_> = policy
            .rules
            .iter()
            .enumerate()
            .flat_map(|(i, rule)| rule.check(&format!("rules[{i}]")))
            .collect();
        if wrong.is_empty() { Ok(policy) } else { Err(wrong.join("; ")) }
    }

    pub(crate) fn decide(&self, user: Option<&User>, info: &RequestInfo) -> Decision {
        let rule = self.rules.iter().find(|rule| rule.matches(user, info));
        let stages = self.omit_stages.iter().chain(rule.iter().flat_map(|rule| &rule.omit_stages));
        Decision {
            level: rule.and_then(|rule| rule.level).unwrap_or_default(),
            omitted: stages.fold(0, |all, stage| all | bit(*stage)),
            omit_managed_fields: rule
                .and_then(|rule| rule.omit_managed_fields)
                .unwrap_or(self.omit_managed_fields),
        }
    }
}

impl Rule {
    /// What upstream's validation says about it (`apiserver/pkg/apis/audit/validation`).
    fn check(&self, at: &str) -> Vec<String> {
        let mut wrong = Vec::new();
        if self.level.is_none() {
            wrong.push(format!("{at}.level: Required value"));
        }
        let resources = !self.resources.is_empty() || !self.namespaces.is_empty();
        if resources && !self.non_resource_urls.is_empty() {
            wrong.push(format!(
                "{at}.nonResourceURLs: Invalid value: {}: rules cannot apply to both regular resources and non-resource URLs",
                go_list(&self.non_resource_urls)
            ));
        }
        for (i, url) in self.non_resource_urls.iter().enumerate().filter(|(_, url)| *url != "*") {
            let at = format!("{at}.nonResourceURLs[{i}]");
            if !url.starts_with('/') {
                wrong.push(format!(
                    "{at}: Invalid value: {url:?}: non-resource URL rules must begin with a '/' character"
                ));
            }
            if url.rfind('*').is_some_and(|star| star != url.len() - 1) || url.matches('*').count() > 1 {
                wrong.push(format!(
                    "{at}: Invalid value: {url:?}: non-resource URL wildcards '*' must be the final character of the rule"
                ));
            }
        }
        for (i, group) in self.resources.iter().enumerate() {
            group.check(&format!("{at}.resources[{i}]"), &mut wrong);
        }
        wrong
    }

    fn matches(&self, user: Option<&User>, info: &RequestInfo) -> bool {
        let is = |list: &[String], value: &str| list.iter().any(|one| one == value);
        if !self.users.is_empty() && !user.is_some_and(|user| is(&self.users, &user.name)) {
            return false;
        }
        let in_group = |user: &User| user.groups.iter().any(|group| is(&self.user_groups, group));
        if !self.user_groups.is_empty() && !user.is_some_and(in_group) {
            return false;
        }
        if !self.verbs.is_empty() && !is(&self.verbs, info.verb) {
            return false;
        }
        if !self.namespaces.is_empty() || !self.resources.is_empty() {
            return info.is_resource
                && (self.namespaces.is_empty() || is(&self.namespaces, &info.namespace))
                && (self.resources.is_empty() || self.resources.iter().any(|group| group.matches(info)));
        }
        if !self.non_resource_urls.is_empty() {
            return !info.is_resource && self.non_resource_urls.iter().any(|url| covers(url, &info.path));
        }
        true
    }
}

impl GroupResources {
    fn check(&self, at: &str, wrong: &mut Vec<String>) {
        if self.group.contains('/')
            || (!self.group.is_empty() && !api::names::is_dns1123_subdomain(&self.group))
        {
            wrong.push(format!(
                "{at}.group: Invalid value: {:?}: must be the name of an API group",
                self.group
            ));
        }
        if !self.resource_names.is_empty() && self.resources.is_empty() {
            wrong.push(format!(
                "{at}.resourceNames: Invalid value: {}: using resourceNames requires at least one resource",
                go_list(&self.resource_names)
            ));
        }
    }

    fn matches(&self, info: &RequestInfo) -> bool {
        if self.group != info.group {
            return false;
        }
        if self.resources.is_empty() {
            return true;
        }
        let named = self.resource_names.is_empty() || self.resource_names.contains(&info.name);
        named && self.resources.iter().any(|wanted| fits(wanted, &info.resource, &info.subresource))
    }
}

/// Whether `pods`, `pods/log`, `pods/*`, `*/scale` or `*` means a resource or subresource.
fn fits(wanted: &str, resource: &str, subresource: &str) -> bool {
    if wanted == "*" {
        return true;
    }
    match wanted.split_once('/') {
        None => subresource.is_empty() && wanted == resource,
        Some(("*", part)) => !subresource.is_empty() && part == subresource,
        Some((of, "*")) => of == resource,
        Some((of, part)) => of == resource && part == subresource,
    }
}

/// Whether `/healthz`, `/apis*` or `*` means a path.
fn covers(wanted: &str, path: &str) -> bool {
    wanted == path || wanted.strip_suffix('*').is_some_and(|start| path.starts_with(start))
}

fn go_list(items: &[String]) -> String {
    format!("[{}]", items.iter().map(|item| format!("{item:?}")).collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::request::query::Query;

    const POLICY: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  users: ["system:kube-proxy"]
  verbs: [watch]
  resources: [{group: "", resources: [endpoints, services]}]
- level: None
  userGroups: ["system:authenticated"]
  nonResourceURLs: ["/api*", "/version"]
- level: Request
  resources: [{group: "", resources: [configmaps], resourceNames: [controller-leader]}]
  namespaces: [kube-system]
- level: Metadata
  resources: [{group: "", resources: [secrets, "pods/log", "*/status"]}]
  omitManagedFields: true
- level: RequestResponse
  resources: [{group: ""}, {group: apps, resources: ["deployments/*"]}]
  omitStages: [ResponseStarted]
"#;

    fn decided(user: &str, method: &Method, path: &str) -> Decision {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let info = RequestInfo::parse(method, path, &Query::parse(query)).expect("a request");
        let user = User {
            name: user.to_owned(),
            groups: vec!["system:authenticated".to_owned()],
            ..User::default()
        };
        Policy::parse(POLICY).expect("a policy").decide(Some(&user), &info)
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let level = |user: &str, path: &str| decided(user, &Method::GET, path).level;
        assert_eq!(level("system:kube-proxy", "/api/v1/services?watch=true"), Level::None);
        assert_eq!(level("jane", "/api/v1/services?watch=true"), Level::RequestResponse);
        assert_eq!(level("jane", "/apis"), Level::None);
        assert_eq!(level("jane", "/healthz"), Level::None, "no rule matches");
        let map = |namespace: &str, name: &str| format!("/api/v1/namespaces/{namespace}/configmaps/{name}");
        assert_eq!(level("jane", &map("kube-system", "controller-leader")), Level::Request);
        assert_eq!(level("jane", &map("kube-system", "other")), Level::RequestResponse);
        assert_eq!(level("jane", "/api/v1/namespaces/a/pods/p/log"), Level::Metadata);
        assert_eq!(level("jane", "/api/v1/namespaces/a/pods/p/status"), Level::Metadata);
        assert_eq!(level("jane", "/api/v1/namespaces/a/pods/p"), Level::RequestResponse);
        assert_eq!(level("jane", "/apis/apps/v1/namespaces/a/deployments/d/scale"), Level::RequestResponse);
        assert_eq!(level("jane", "/apis/apps/v1/namespaces/a/replicasets/d"), Level::None);
    }

    #[test]
    fn stages_of_policy_and_rule_are_left_out_together() {
        let decision = decided("jane", &Method::GET, "/api/v1/namespaces/a/pods/p");
        assert!(decision.omits(Stage::RequestReceived) && decision.omits(Stage::ResponseStarted));
        assert!(!decision.omits(Stage::ResponseComplete) && !decision.omits(Stage::Panic));
        assert!(!decision.omit_managed_fields);
        assert!(decided("jane", &Method::GET, "/api/v1/secrets").omit_managed_fields);
    }

    #[test]
    fn faults_are_named() {
        let wrong = |rules: &str| {
            Policy::parse(&format!("apiVersion: audit.k8s.io/v1\nkind: Policy\n{rules}")).expect_err("faults")
        };
        assert_eq!(wrong("rules: []"), "loaded illegal policy with 0 rules");
        assert_eq!(wrong("rules: [{users: [a]}]"), "rules[0].level: Required value");
        let both = wrong("rules: [{level: None, namespaces: [a], nonResourceURLs: [/a]}]");
        assert!(
            both.contains("rules cannot apply to both regular resources and non-resource URLs"),
            "{both}"
        );
        let url = wrong("rules: [{level: None, nonResourceURLs: [a, '/*/b']}]");
        assert!(url.contains("must begin with a '/'") && url.contains("nonResourceURLs[1]"), "{url}");
        let names = wrong("rules: [{level: None, resources: [{group: '', resourceNames: [a]}]}]");
        assert!(names.contains("using resourceNames requires at least one resource"), "{names}");
        assert!(wrong("rules: [{level: Everything}]").contains("Everything"));
        assert!(wrong("rules: [{level: None, user: [a]}]").contains("user"));
        let kind = Policy::parse("{apiVersion: audit.k8s.io/v1beta1, kind: Policy, rules: [{level: None}]}");
        assert!(kind.expect_err("another version").contains("v1beta1"));
    }
}
