//! IngressClass.

use serde_json::Value;

use super::events;
use super::fields::Fields as _;
use super::metadata;
use super::related::DescribeError;
use super::text::{Text, put};
use super::view::View;

pub fn write(view: &View<'_>, text: &mut Text) -> Result<(), DescribeError> {
    let class = view.object;
    put!(text, 0, "Name:\t{}", view.name());
    metadata::labels_and_annotations(text, class);
    put!(text, 0, "Controller:\t{}", class.text("spec.controller"));
    if let Some(parameters) = class.at("spec.parameters") {
        put!(text, 0, "Parameters:");
        if let Some(group) = parameters.at("apiGroup").and_then(Value::as_str) {
            put!(text, 1, "APIGroup:\t{group}");
        }
        put!(text, 1, "Kind:\t{}", parameters.text("kind"));
        put!(text, 1, "Name:\t{}", parameters.text("name"));
    }
    events::write(view, text);
    Ok(())
}
