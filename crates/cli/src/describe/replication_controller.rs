//! ReplicationController.

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
    let controller = view.object;
    let selector = selectors::map(controller, "spec.selector");
    let labels = if selector == "<none>" { "" } else { &selector };
    let counts = pod_counts::shown(view, labels)?;
    metadata::names(text, controller);
    put!(text, 0, "Selector:\t{selector}");
    metadata::labels_and_annotations(text, controller);
    let (has, wants) = (controller.number("status.replicas"), controller.number("spec.replicas"));
    put!(text, 0, "Replicas:\t{has} current / {wants} desired");
    put!(text, 0, "Pods Status:\t{counts}");
    pod_template::write(text, view, controller.at("spec.template"));
    conditions::short(text, controller);
    events::write(view, text);
    Ok(())
}
