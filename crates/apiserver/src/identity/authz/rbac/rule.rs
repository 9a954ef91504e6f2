//! [`Rule`]: what one rule of a role allows, and whether rules cover other rules. Pure.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::request::Attributes;

const ALL: &str = "*";

/// A rule of a role (`PolicyRule`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rule {
    #[serde(deserialize_with = "list")]
    pub verbs: Vec<String>,
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub api_groups: Vec<String>,
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
    #[serde(rename = "nonResourceURLs", deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub non_resource_urls: Vec<String>,
}

/// A list that may also be `null`.
pub(super) fn list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Rule {
    /// The rule as objects have it.
    pub(crate) fn to_json(&self) -> Value {
        serde_json::to_value(self).expect("lists of strings are always JSON")
    }

    /// Whether the rule alone allows the request.
    pub fn allows(&self, attributes: &Attributes) -> bool {
        if !has(&self.verbs, &attributes.verb) {
            return false;
        }
        if !attributes.is_resource {
            return self.non_resource_urls.iter().any(|pattern| url_matches(pattern, &attributes.path));
        }
        has(&self.api_groups, &attributes.group)
            && self
                .resources
                .iter()
                .any(|r| resource_matches(r, &attributes.resource, &attributes.subresource))
            && (self.resource_names.is_empty() || self.resource_names.contains(&attributes.name))
    }

    /// Whether the rule allows all that the simple rule `other` does (see [`Rule::simple`]).
    fn covers(&self, other: &Rule) -> bool {
        let each = |ours: &[String], theirs: &[String]| theirs.iter().all(|item| has(ours, item));
        let resources = other.resources.iter().all(|wanted| {
            let (resource, subresource) = wanted.split_once('/').unwrap_or((wanted, ""));
            self.resources.iter().any(|ours| {
                ours == ALL
                    || ours == wanted
                    || (!subresource.is_empty() && resource_matches(ours, resource, subresource))
            })
        });
        let names = if other.resource_names.is_empty() {
            self.resource_names.is_empty()
        } else {
            self.resource_names.is_empty()
                || other.resource_names.iter().all(|n| self.resource_names.contains(n))
        };
        let urls = other.non_resource_urls.iter().all(|wanted| {
            self.non_resource_urls.iter().any(|ours| ours == wanted || url_covers(ours, wanted))
        });
        each(&self.verbs, &other.verbs)
            && each(&self.api_groups, &other.api_groups)
            && resources
            && names
            && urls
    }

    /// The rule as rules with one verb and one resource (and name) or path each.
    fn simple(&self) -> Vec<Rule> {
        let mut out = Vec::new();
        for verb in &self.verbs {
            let base = Rule { verbs: vec![verb.clone()], ..Rule::default() };
            for group in &self.api_groups {
                for resource in &self.resources {
                    let one = Rule {
                        api_groups: vec![group.clone()],
                        resources: vec![resource.clone()],
                        ..base.clone()
                    };
                    if self.resource_names.is_empty() {
                        out.push(one);
                    } else {
                        out.extend(
                            self.resource_names
                                .iter()
                                .map(|name| Rule { resource_names: vec![name.clone()], ..one.clone() }),
                        );
                    }
                }
            }
            out.extend(
                self.non_resource_urls
                    .iter()
                    .map(|url| Rule { non_resource_urls: vec![url.clone()], ..base.clone() }),
            );
        }
        out
    }
}

/// What `wanted` allows and `owned` do not, compacted: rules that differ in the verb alone become one.
pub fn missing<'r>(owned: impl Iterator<Item = &'r Rule> + Clone, wanted: &[Rule]) -> Vec<Rule> {
    let mut lacking: Vec<Rule> = Vec::new();
    for simple in wanted.iter().flat_map(Rule::simple) {
        if owned.clone().any(|rule| rule.covers(&simple)) {
            continue;
        }
        let same = |known: &&mut Rule| {
            known.api_groups == simple.api_groups
                && known.resources == simple.resources
                && known.resource_names == simple.resource_names
                && known.non_resource_urls == simple.non_resource_urls
        };
        match lacking.iter_mut().find(same) {
            Some(known) if known.verbs.contains(&simple.verbs[0]) => {}
            Some(known) => known.verbs.extend(simple.verbs),
            None => lacking.push(simple),
        }
    }
    lacking
}

fn has(list: &[String], item: &str) -> bool {
    list.iter().any(|entry| entry == ALL || entry == item)
}

fn resource_matches(pattern: &str, resource: &str, subresource: &str) -> bool {
    if pattern == ALL {
        return true;
    }
    match (pattern.split_once('/'), subresource) {
        (None, "") => pattern == resource,
        (Some((first, second)), wanted) if !wanted.is_empty() => {
            second == wanted && (first == ALL || first == resource)
        }
        _ => false,
    }
}

fn url_matches(pattern: &str, path: &str) -> bool {
    pattern == ALL
        || pattern == path
        || pattern.strip_suffix(ALL).is_some_and(|start| path.starts_with(start))
}

/// Whether one pattern of paths takes in all of another.
fn url_covers(pattern: &str, other: &str) -> bool {
    let Some(start) = pattern.strip_suffix(ALL) else { return false };
    other.strip_suffix(ALL).unwrap_or(other).starts_with(start)
}

/// As refusals show a rule: `{APIGroups:[""], Resources:["pods"], Verbs:["get"]}`.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = [
            ("APIGroups", &self.api_groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.non_resource_urls),
            ("ResourceNames", &self.resource_names),
            ("Verbs", &self.verbs),
        ];
        let shown: Vec<_> = fields
            .iter()
            .filter(|(_, list)| !list.is_empty())
            .map(|(name, list)| format!("{name}:{}", quoted(list)))
            .collect();
        write!(f, "{{{}}}", shown.join(", "))
    }
}

/// A list as upstream's messages show it: `["a" "b"]`.
pub(crate) fn quoted(list: &[String]) -> String {
    let items: Vec<_> = list.iter().map(|item| format!("{item:?}")).collect();
    format!("[{}]", items.join(" "))
}
