//! Jobs: a new one selects its own pods by its uid, which goes into their labels.

use api::Object;
use api::field::ErrorList;
use serde_json::{Value, json};

use crate::columns::workload;
use crate::defaults;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, Logic};
use crate::status;
use crate::validation::warnings;
use crate::validation::{batch, pod};

pub(in crate::kinds) fn kind() -> Kind {
    Kind::new("batch/v1", "jobs", Job)
        .category("all")
        .counts_changes()
        .orphans_by_default()
        .selectable_as("status.successful", "status.succeeded")
        .printed(workload::JOB, workload::job)
}

struct Job;

impl Logic for Job {
    fn default(&self, object: &mut Object) {
        defaults::job(object);
    }

    fn prepare_create(&self, object: &mut Object) {
        prepare_new(object);
    }

    fn validate(&self, object: &Object) -> ErrorList {
        batch::job(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Judged(&batch::job_update)
    }

    fn validate_status_update(&self, new: &Object, old: &Object) -> ErrorList {
        batch::job_status(new, old)
    }

    fn warnings(&self, object: &Object) -> Vec<String> {
        pod::template_warnings(object)
    }

    fn warnings_on_create(&self, object: &Object) -> Vec<String> {
        let mut warnings: Vec<String> = warnings::of_pods_name(object).into_iter().collect();
        warnings.extend(self.warnings(object));
        warnings
    }
}

/// Names of the labels: with the prefix, and as they were before it.
const UID_LABELS: [&str; 2] = ["batch.kubernetes.io/controller-uid", "controller-uid"];
const NAME_LABELS: [&str; 2] = ["batch.kubernetes.io/job-name", "job-name"];

fn prepare_new(job: &mut Object) {
    status::start(job, json!({}));
    let manual = job.at(&["spec", "manualSelector"]).and_then(Value::as_bool) == Some(true);
    if manual || job.at(&["spec", "template"]).is_none() {
        return;
    }
    let (uid, name) = (job.uid().to_owned(), job.name().to_owned());
    for (labels, value) in [(UID_LABELS, &uid), (NAME_LABELS, &name)] {
        for label in labels {
            job.set_at(&["spec", "template", "metadata", "labels", label], value.as_str().into());
        }
    }
    // A job without labels bears its template's, which defaulting could not know yet.
    let own = job.at(&["metadata", "labels"]).and_then(Value::as_object);
    if own.is_none_or(serde_json::Map::is_empty)
        && let Some(labels) = job.at(&["spec", "template", "metadata", "labels"]).cloned()
    {
        job.set_at(&["metadata", "labels"], labels);
    }
    // A selector of the author's own stays, for validation to refuse.
    let selector = job.at(&["spec", "selector"]);
    if selector.is_none_or(|s| s.is_null() || s.get("matchLabels").is_none_or(Value::is_null)) {
        job.set_at(&["spec", "selector", "matchLabels"], json!({}));
    }
    job.set_at(&["spec", "selector", "matchLabels", UID_LABELS[0]], uid.into());
}
