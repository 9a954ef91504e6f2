//! Role and ClusterRole, RoleBinding and ClusterRoleBinding.

use serde_json::Value;

use super::fields::Fields as _;
use super::metadata;
use super::related::DescribeError;
use super::text::{Text, put};
use super::view::View;

/// A rule about one resource (or one name of one), or one verb of one URL.
#[derive(Debug, Default, PartialEq, Eq)]
struct Rule {
    verbs: Vec<String>,
    groups: Vec<String>,
    resources: Vec<String>,
    names: Vec<String>,
    urls: Vec<String>,
}

pub fn write(view: &View<'_>, text: &mut Text) -> Result<(), DescribeError> {
    put!(text, 0, "Name:\t{}", view.name());
    metadata::labels_and_annotations(text, view.object);
    put!(text, 0, "PolicyRule:");
    put!(text, 1, "Resources\tNon-Resource URLs\tResource Names\tVerbs");
    put!(text, 1, "---------\t-----------------\t--------------\t-----");
    for [resources, urls, names, verbs] in table(view.object.items("rules")) {
        put!(text, 1, "{resources}\t{urls}\t{names}\t{verbs}");
    }
    Ok(())
}

/// Rules as rows: what they are about (resources, URLs, names) and the verbs, each resource once.
pub fn table(rules: &[Value]) -> Vec<[String; 4]> {
    let mut parts = Vec::new();
    for rule in rules {
        split(rule, &mut parts);
    }
    let mut rules = merged(parts);
    rules.sort_by_cached_key(order);
    let list = |items: &[String]| format!("[{}]", items.join(" "));
    let row = |rule: &Rule| [title(rule), list(&rule.urls), list(&rule.names), list(&rule.verbs)];
    rules.iter().map(row).collect()
}

/// A rule for each group, resource, name and verb.
fn split(rule: &Value, rules: &mut Vec<Rule>) {
    let one = |text: &str| vec![text.to_owned()];
    let verbs = rule.texts("verbs");
    let names: Vec<Vec<String>> = match rule.texts("resourceNames") {
        names if names.is_empty() => vec![Vec::new()],
        names => names.into_iter().map(one).collect(),
    };
    for group in rule.texts("apiGroups") {
        for resource in rule.texts("resources") {
            for verb in &verbs {
                for name in &names {
                    rules.push(Rule {
                        verbs: one(verb),
                        groups: one(group),
                        resources: one(resource),
                        names: name.clone(),
                        urls: Vec::new(),
                    });
                }
            }
        }
    }
    for url in rule.texts("nonResourceURLs") {
        rules.extend(verbs.iter().map(|verb| Rule { verbs: one(verb), urls: one(url), ..Rule::default() }));
    }
}

/// One rule for all verbs of the same resource.
fn merged(rules: Vec<Rule>) -> Vec<Rule> {
    let mut places = std::collections::HashMap::new();
    let mut merged: Vec<Rule> = Vec::new();
    for rule in rules {
        if !rule.urls.is_empty() {
            merged.push(rule);
            continue;
        }
        let key = (rule.groups.clone(), rule.resources.clone(), rule.names.clone());
        match places.get(&key) {
            None => {
                places.insert(key, merged.len());
                merged.push(rule);
            }
            Some(place) => {
                let known: &mut Rule = &mut merged[*place];
                for verb in rule.verbs {
                    if !known.verbs.contains(&verb) {
                        known.verbs.push(verb);
                    }
                }
            }
        }
    }
    merged
}

/// The text that upstream sorts by.
fn order(rule: &Rule) -> String {
    let list = |items: &[String]| format!("[{}]", items.join(" "));
    format!(
        "&PolicyRule{{Verbs:{},APIGroups:{},Resources:{},ResourceNames:{},NonResourceURLs:{},}}",
        list(&rule.verbs),
        list(&rule.groups),
        list(&rule.resources),
        list(&rule.names),
        list(&rule.urls)
    )
}

/// `RESOURCE.GROUP/SUBRESOURCE`
fn title(rule: &Rule) -> String {
    let Some(resource) = rule.resources.first() else { return String::new() };
    let (name, part) =
        resource.split_once('/').map_or((resource.as_str(), None), |(name, part)| (name, Some(part)));
    let mut title = name.to_owned();
    if let Some(group) = rule.groups.first().filter(|group| !group.is_empty()) {
        title.push_str(&format!(".{group}"));
    }
    if let Some(part) = part {
        title.push_str(&format!("/{part}"));
    }
    title
}

pub fn write_binding(view: &View<'_>, text: &mut Text) -> Result<(), DescribeError> {
    let binding = view.object;
    put!(text, 0, "Name:\t{}", view.name());
    metadata::labels_and_annotations(text, binding);
    put!(text, 0, "Role:");
    put!(text, 1, "Kind:\t{}", binding.text("roleRef.kind"));
    put!(text, 1, "Name:\t{}", binding.text("roleRef.name"));
    put!(text, 0, "Subjects:");
    put!(text, 1, "Kind\tName\tNamespace");
    put!(text, 1, "----\t----\t---------");
    for subject in binding.items("subjects") {
        let (kind, name) = (subject.text("kind"), subject.text("name"));
        put!(text, 1, "{kind}\t{name}\t{}", subject.text("namespace"));
    }
    Ok(())
}
