//! Cron jobs.

use api::Object;
use api::field::ErrorList;
use serde_json::json;

use crate::columns::workload;
use crate::defaults;
use crate::kinds::builder::Kind;
use crate::logic::{Changes, Logic};
use crate::status;
use crate::validation::batch;
use crate::validation::{pod, warnings};

pub(in crate::kinds) fn kind() -> Kind {
    Kind::new("batch/v1", "cronjobs", CronJob)
        .short("cj")
        .category("all")
        .counts_changes()
        .printed(workload::CRON_JOB, workload::cron_job)
}

struct CronJob;

impl Logic for CronJob {
    fn default(&self, object: &mut Object) {
        defaults::cron_job(object);
    }

    fn prepare_create(&self, object: &mut Object) {
        status::start(object, json!({}));
    }

    fn validate(&self, object: &Object) -> ErrorList {
        batch::cron_job(object)
    }

    fn changes(&self) -> Changes<'_> {
        Changes::Judged(&batch::cron_job_update)
    }

    fn warnings(&self, object: &Object) -> Vec<String> {
        pod::template_warnings_at(object, &["spec", "jobTemplate", "spec", "template"])
    }

    fn warnings_on_create(&self, object: &Object) -> Vec<String> {
        let mut warnings: Vec<String> = warnings::of_pods_name(object).into_iter().collect();
        warnings.extend(self.warnings(object));
        warnings
    }
}
