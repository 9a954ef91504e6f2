//! Job.

use resources::columns::duration;
use serde_json::Value;

use super::events;
use super::fields::Fields as _;
use super::metadata;
use super::pod_template;
use super::related::DescribeError;
use super::selectors;
use super::text::{Text, put};
use super::view::{View, parsed};

pub fn write(view: &View<'_>, text: &mut Text) -> Result<(), DescribeError> {
    let job = view.object;
    metadata::names(text, job);
    match selectors::strict(job, "spec.selector") {
        Ok(selector) => put!(text, 0, "Selector:\t{selector}"),
        Err(error) => put!(text, 0, "Selector:\tFailed to get selector: {error}"),
    }
    metadata::labels_and_annotations(text, job);
    metadata::controlled_by(text, job);
    if job.has("spec.parallelism") {
        put!(text, 0, "Parallelism:\t{}", job.number("spec.parallelism"));
    }
    number_or_unset(text, "Completions", job, "spec.completions");
    if job.has("spec.completionMode") {
        put!(text, 0, "Completion Mode:\t{}", job.text("spec.completionMode"));
    }
    if job.has("spec.suspend") {
        put!(text, 0, "Suspend:\t{}", job.flag("spec.suspend"));
    }
    for (title, path) in [
        ("Backoff Limit", "spec.backoffLimit"),
        ("TTL Seconds After Finished", "spec.ttlSecondsAfterFinished"),
    ] {
        if job.has(path) {
            put!(text, 0, "{title}:\t{}", job.number(path));
        }
    }
    times(view, text);
    if job.has("spec.activeDeadlineSeconds") {
        put!(text, 0, "Active Deadline Seconds:\t{}s", job.number("spec.activeDeadlineSeconds"));
    }
    let ready = job
        .at("status.ready")
        .map_or_else(String::new, |ready| format!(" ({} Ready)", ready.as_i64().unwrap_or_default()));
    let (active, succeeded, failed) =
        (job.number("status.active"), job.number("status.succeeded"), job.number("status.failed"));
    put!(text, 0, "Pods Statuses:\t{active} Active{ready} / {succeeded} Succeeded / {failed} Failed");
    if job.text("spec.completionMode") == "Indexed" {
        put!(text, 0, "Completed Indexes:\t{}", indexes(job.text("status.completedIndexes")));
    }
    pod_template::write(text, view, Some(job.at("spec.template").unwrap_or(&Value::Null)));
    events::write(view, text);
    Ok(())
}

pub fn number_or_unset(text: &mut Text, title: &str, object: &Value, path: &str) {
    if object.has(path) {
        put!(text, 0, "{title}:\t{}", object.number(path));
    } else {
        put!(text, 0, "{title}:\t<unset>");
    }
}

fn times(view: &View<'_>, text: &mut Text) {
    let job = view.object;
    let (start, end) = (job.at("status.startTime"), job.at("status.completionTime"));
    if start.is_some() {
        put!(text, 0, "Start Time:\t{}", view.time(start));
    }
    if end.is_some() {
        put!(text, 0, "Completed At:\t{}", view.time(end));
    }
    if let (Some(start), Some(end)) = (parsed(start), parsed(end)) {
        put!(text, 0, "Duration:\t{}", duration::human(end.duration_since(start)));
    }
}

/// Cut behind the first comma after fifty bytes.
fn indexes(list: &str) -> String {
    if list.is_empty() {
        return "<none>".to_owned();
    }
    match list.bytes().enumerate().skip(50).find(|(_, byte)| *byte == b',') {
        Some((at, _)) => format!("{}...", &list[..=at]),
        None => list.to_owned(),
    }
}
