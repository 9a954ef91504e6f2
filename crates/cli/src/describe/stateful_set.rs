//! StatefulSet.

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
use super::volumes;

pub fn write(view: &View<'_>, text: &mut Text) -> Result<(), DescribeError> {
    let set = view.object;
    let selector = selectors::strict(set, "spec.selector")?.to_string();
    let counts = pod_counts::shown(view, &selector)?;
    metadata::names(text, set);
    put!(text, 0, "CreationTimestamp:\t{}", view.time(set.at("metadata.creationTimestamp")));
    put!(text, 0, "Selector:\t{selector}");
    metadata::labels_and_annotations(text, set);
    let (wants, has) = (set.number("spec.replicas"), set.number("status.replicas"));
    put!(text, 0, "Replicas:\t{wants} desired | {has} total");
    put!(text, 0, "Update Strategy:\t{}", set.text("spec.updateStrategy.type"));
    if set.has("spec.updateStrategy.rollingUpdate.partition") {
        put!(text, 1, "Partition:\t{}", set.number("spec.updateStrategy.rollingUpdate.partition"));
        let unavailable = "spec.updateStrategy.rollingUpdate.maxUnavailable";
        if set.has(unavailable) {
            put!(text, 1, "MaxUnavailable:\t{}", set.number_or_text(unavailable));
        }
    }
    put!(text, 0, "Pods Status:\t{counts}");
    pod_template::write(text, view, Some(set.at("spec.template").unwrap_or(&Value::Null)));
    claims(text, set);
    events::write(view, text);
    Ok(())
}

fn claims(text: &mut Text, set: &Value) {
    let claims = set.items("spec.volumeClaimTemplates");
    if claims.is_empty() {
        put!(text, 0, "Volume Claims:\t<none>");
        return;
    }
    put!(text, 0, "Volume Claims:");
    for claim in claims {
        put!(text, 1, "Name:\t{}", claim.text("metadata.name"));
        put!(text, 1, "StorageClass:\t{}", volumes::class_of(claim));
        metadata::labels_indented(text, "  ", "Labels", claim, "metadata.labels");
        metadata::labels_indented(text, "  ", "Annotations", claim, "metadata.annotations");
        let capacity = claim.at("spec.resources.requests.storage");
        let capacity =
            capacity.map_or_else(|| "<default>".to_owned(), |c| super::fields::quantity(Some(c)).to_string());
        put!(text, 1, "Capacity:\t{capacity}");
        put!(text, 1, "Access Modes:\t{}", claim.bracketed("spec.accessModes"));
    }
}
