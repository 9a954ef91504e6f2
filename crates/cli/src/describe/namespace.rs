//! Namespace, with its quotas and limits.

use serde_json::Value;

use super::conditions;
use super::fields::Fields as _;
use super::limit_range;
use super::metadata;
use super::related::{DescribeError, RelatedError, Selection};
use super::resource_quota;
use super::text::{Text, put};
use super::view::{View, core};

pub fn write(view: &View<'_>, text: &mut Text) -> Result<(), DescribeError> {
    let namespace = view.object;
    let quotas = inside(view, "resourcequotas")?;
    let ranges = inside(view, "limitranges")?;
    put!(text, 0, "Name:\t{}", view.name());
    metadata::labels_and_annotations(text, namespace);
    put!(text, 0, "Status:\t{}", namespace.text("status.phase"));
    if !namespace.items("status.conditions").is_empty() {
        put!(text, 0, "Conditions:");
        conditions::with_times(view, text);
    }
    if let Some(quotas) = quotas {
        put!(text, 0, "");
        resource_quota::of_namespace(text, quotas);
    }
    if let Some(ranges) = ranges {
        put!(text, 0, "");
        limit_range::of_namespace(text, &ranges);
    }
    Ok(())
}

/// Nothing where the server has no such resource.
fn inside(view: &View<'_>, resource: &str) -> Result<Option<Vec<Value>>, RelatedError> {
    let selection = Selection { namespace: Some(view.name()), label_selector: "", field_selector: "" };
    match view.related.list(core(resource), selection) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.reason == "NotFound" => Ok(None),
        Err(error) => Err(error),
    }
}
