//! The pods that a namespace has already when its labels begin to demand more: whoever changes the labels is warned.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::Pod;

use super::checks;
use super::policy::LevelVersion;
use super::subject::Subject;

/// How many pods are looked at.
const MOST: usize = 3000;

/// The texts, in upstream's order and words.
pub(super) fn warnings(namespace: &str, enforce: &LevelVersion, pods: Vec<Pod>) -> Vec<String> {
    let total = pods.len();
    // By reason: the first pod and how many there are.
    let mut found: Vec<(String, String, usize)> = Vec::new();
    for pod in by_priority(pods).into_iter().take(MOST) {
        let name = pod.metadata.name.clone().unwrap_or_default();
        let findings = checks::evaluate(enforce, &Subject::from(pod));
        if findings.is_empty() {
            continue;
        }
        let reasons = findings.reasons();
        match found.iter_mut().find(|(known, ..)| *known == reasons) {
            Some((_, _, count)) => *count += 1,
            None => found.push((reasons, name, 1)),
        }
    }
    let mut warnings = Vec::new();
    if total > MOST {
        warnings.push(format!(
            "new PodSecurity enforce level only checked against the first {MOST} of {total} existing pods"
        ));
    }
    if !found.is_empty() {
        warnings.push(format!(
            "existing pods in namespace {namespace:?} violate the new PodSecurity enforce level \"{enforce}\""
        ));
    }
    let mut each: Vec<String> = found
        .into_iter()
        .map(|(reasons, name, count)| match count - 1 {
            0 => format!("{name}: {reasons}"),
            1 => format!("{name} (and 1 other pod): {reasons}"),
            others => format!("{name} (and {others} other pods): {reasons}"),
        })
        .collect();
    each.sort();
    warnings.extend(each);
    warnings
}

/// Pods of controllers that another pod stands for come last.
fn by_priority(pods: Vec<Pod>) -> Vec<Pod> {
    let mut seen = HashSet::new();
    let (mut first, mut rest) = (Vec::new(), Vec::new());
    for pod in pods {
        let owners = pod.metadata.owner_references.iter().flatten();
        let controller = owners.filter(|owner| owner.controller == Some(true)).map(|owner| &owner.uid).next();
        if controller.is_none_or(|uid| seen.insert(uid.clone())) { first.push(pod) } else { rest.push(pod) }
    }
    first.append(&mut rest);
    first
}
