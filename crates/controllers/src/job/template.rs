//! The pods that a Job makes.

use informer::Action;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource, ObjectFieldSelector, Pod};

use super::failure_policy::Verdict;
use super::pod::JobPod;
use super::settings::Settings;
use crate::replicas::pod::attempt::{INDEX, INDEX_FAILURES, INDEX_IGNORED_FAILURES, TRACKING_FINALIZER};
use crate::target::{controller_reference, dynamic, target};

const INDEX_VARIABLE: &str = "JOB_COMPLETION_INDEX";
/// How long the beginning of a generated name may be: a name of 63 bytes less the five that are added.
const LONGEST_PREFIX: usize = 58;

/// Makes a pod, of an index where the Job has indexes. `replaced` is the index's last pod, whose failures it inherits.
pub(super) fn pod(
    job: &Job,
    settings: &Settings<'_>,
    index: Option<u32>,
    replaced: Option<&JobPod<'_>>,
) -> Action {
    let name = job.metadata.name.as_deref().unwrap_or("");
    let namespace = job.metadata.namespace.as_deref().unwrap_or("");
    let template = job.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
    let mut made = crate::template::pod(&template, namespace, &controller_reference(job));
    let finalizers = made.metadata.finalizers.get_or_insert_default();
    if !finalizers.iter().any(|finalizer| finalizer == TRACKING_FINALIZER) {
        finalizers.push(TRACKING_FINALIZER.to_owned());
    }
    if let Some(index) = index {
        give_index(&mut made, name, index);
        if settings.per_index.is_some() {
            let (failures, ignored) = inherited(settings, replaced);
            let annotations = made.metadata.annotations.get_or_insert_default();
            annotations.insert(INDEX_FAILURES.to_owned(), failures.to_string());
            if ignored > 0 {
                annotations.insert(INDEX_IGNORED_FAILURES.to_owned(), ignored.to_string());
            }
        }
    }
    Action::Create { target: target::<Pod>(namespace, ""), object: dynamic(&made) }
}

/// Tells a pod of a Job its index: by its name, its host's name, a label, an annotation and a variable.
fn give_index(made: &mut Pod, job: &str, index: u32) {
    let meta = &mut made.metadata;
    meta.generate_name = Some(indexed_prefix(job, index));
    meta.annotations.get_or_insert_default().insert(INDEX.to_owned(), index.to_string());
    meta.labels.get_or_insert_default().insert(INDEX.to_owned(), index.to_string());
    let spec = made.spec.get_or_insert_default();
    spec.hostname = Some(format!("{job}-{index}"));
    let containers = spec.init_containers.iter_mut().flatten().chain(&mut spec.containers);
    containers.for_each(add_variable);
}

/// The failures of an index, counted and ignored, with the pod that is replaced.
fn inherited(settings: &Settings<'_>, replaced: Option<&JobPod<'_>>) -> (i32, i32) {
    let Some(pod) = replaced else { return (0, 0) };
    let attempt = pod.attempt();
    match pod.verdict(settings) {
        Verdict::Ignore => (attempt.index_failures, attempt.index_ignored_failures.saturating_add(1)),
        _ => (attempt.index_failures.saturating_add(1), attempt.index_ignored_failures),
    }
}

fn indexed_prefix(name: &str, index: u32) -> String {
    let end = format!("-{index}-");
    let room = LONGEST_PREFIX.saturating_sub(end.len()).min(name.len());
    format!("{}{end}", name.get(..room).unwrap_or(name))
}

/// The index, as the downward API reads it from the pod's label; a variable of the user's own stays.
fn add_variable(container: &mut Container) {
    let variables = container.env.get_or_insert_default();
    if variables.iter().any(|variable| variable.name == INDEX_VARIABLE) {
        return;
    }
    let field_ref =
        ObjectFieldSelector { field_path: format!("metadata.labels['{INDEX}']"), api_version: None };
    variables.push(EnvVar {
        name: INDEX_VARIABLE.to_owned(),
        value: None,
        value_from: Some(EnvVarSource { field_ref: Some(field_ref), ..EnvVarSource::default() }),
    });
}

#[cfg(test)]
mod tests {
    use super::indexed_prefix;

    #[test]
    fn a_long_name_makes_room_for_the_index() {
        assert_eq!(indexed_prefix("j", 7), "j-7-");
        let prefix = indexed_prefix(&"a".repeat(60), 1234);
        assert_eq!((prefix.len(), prefix.ends_with("a-1234-")), (58, true));
    }
}
