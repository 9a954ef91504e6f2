//! CronJob.

use serde_json::Value;

use super::events;
use super::fields::Fields as _;
use super::job;
use super::metadata;
use super::pod_template;
use super::related::DescribeError;
use super::selectors;
use super::text::{Text, put};
use super::view::View;

pub fn write(view: &View<'_>, text: &mut Text) -> Result<(), DescribeError> {
    let cron = view.object;
    metadata::head(text, cron);
    put!(text, 0, "Schedule:\t{}", cron.text("spec.schedule"));
    put!(text, 0, "Concurrency Policy:\t{}", cron.text("spec.concurrencyPolicy"));
    put!(text, 0, "Suspend:\t{}", truth(cron, "spec.suspend"));
    job::number_or_unset(text, "Successful Job History Limit", cron, "spec.successfulJobsHistoryLimit");
    job::number_or_unset(text, "Failed Job History Limit", cron, "spec.failedJobsHistoryLimit");
    if cron.has("spec.startingDeadlineSeconds") {
        put!(text, 0, "Starting Deadline Seconds:\t{}s", cron.number("spec.startingDeadlineSeconds"));
    } else {
        put!(text, 0, "Starting Deadline Seconds:\t<unset>");
    }
    template(view, text, cron.at("spec.jobTemplate.spec").unwrap_or(&Value::Null));
    match cron.at("status.lastScheduleTime") {
        Some(time) => put!(text, 0, "Last Schedule Time:\t{}", view.time(Some(time))),
        None => put!(text, 0, "Last Schedule Time:\t<unset>"),
    }
    let active: Vec<&str> = cron.items("status.active").iter().map(|job| job.text("name")).collect();
    let active = if active.is_empty() { "<none>".to_owned() } else { active.join(", ") };
    put!(text, 0, "Active Jobs:\t{active}");
    events::write(view, text);
    Ok(())
}

fn template(view: &View<'_>, text: &mut Text, spec: &Value) {
    if spec.has("selector") {
        match selectors::strict(spec, "selector") {
            Ok(selector) => put!(text, 0, "Selector:\t{selector}"),
            Err(error) => put!(text, 0, "Selector:\tFailed to get selector: {error}"),
        }
    } else {
        put!(text, 0, "Selector:\t<unset>");
    }
    job::number_or_unset(text, "Parallelism", spec, "parallelism");
    job::number_or_unset(text, "Completions", spec, "completions");
    if spec.has("activeDeadlineSeconds") {
        put!(text, 0, "Active Deadline Seconds:\t{}s", spec.number("activeDeadlineSeconds"));
    }
    pod_template::write(text, view, Some(spec.at("template").unwrap_or(&Value::Null)));
}

/// `True`, `False` or that it is not set.
pub fn truth(object: &Value, path: &str) -> &'static str {
    match object.at(path).and_then(Value::as_bool) {
        Some(true) => "True",
        Some(false) => "False",
        None => "<unset>",
    }
}
