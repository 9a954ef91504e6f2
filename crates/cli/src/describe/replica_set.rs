//! ReplicaSet.

use serde_json::Value;

use super::conditions;
use super::events;
use super::fields::Fields as _;
use super::metadata;
use super::pod_counts;
use super::pod_template;
use super::related::DescribeError;
use super::selectors;
use super::text::{Text, put};
use super::view::View;

pub fn write(view: &View<'_>, text: &mut Text) -> Result<(), DescribeError> {
    let set = view.object;
    let selector = selectors::strict(set, "spec.selector")?.to_string();
    metadata::names(text, set);
    put!(text, 0, "Selector:\t{}", selectors::shown(set, "spec.selector"));
    metadata::labels_and_annotations(text, set);
    metadata::controlled_by(text, set);
    let (has, wants) = (set.number("status.replicas"), set.number("spec.replicas"));
    put!(text, 0, "Replicas:\t{has} current / {wants} desired");
    match pod_counts::shown(view, &selector) {
        Ok(counts) => put!(text, 0, "Pods Status:\t{counts}"),
        Err(error) => put!(text, 0, "Pods Status:\terror in fetching pods: {error}"),
    }
    pod_template::write(text, view, Some(set.at("spec.template").unwrap_or(&Value::Null)));
    conditions::short(text, set);
    events::write(view, text);
    Ok(())
}
