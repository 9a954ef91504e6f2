//! DaemonSet.

use serde_json::Value;

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
    let counts = pod_counts::shown(view, &selector)?;
    metadata::names(text, set);
    put!(text, 0, "Selector:\t{selector}");
    put!(text, 0, "Node-Selector:\t{}", selectors::map(set, "spec.template.spec.nodeSelector"));
    metadata::labels_and_annotations(text, set);
    for (title, path) in [
        ("Desired Number of Nodes Scheduled", "status.desiredNumberScheduled"),
        ("Current Number of Nodes Scheduled", "status.currentNumberScheduled"),
        ("Number of Nodes Scheduled with Up-to-date Pods", "status.updatedNumberScheduled"),
        ("Number of Nodes Scheduled with Available Pods", "status.numberAvailable"),
        ("Number of Nodes Misscheduled", "status.numberMisscheduled"),
    ] {
        put!(text, 0, "{title}: {}", set.number(path));
    }
    put!(text, 0, "Pods Status:\t{counts}");
    pod_template::write(text, view, Some(set.at("spec.template").unwrap_or(&Value::Null)));
    events::write(view, text);
    Ok(())
}
