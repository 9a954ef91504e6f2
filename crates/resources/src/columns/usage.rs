//! What nodes and pods use. Upstream: metrics-server's `pkg/api/table.go`.

use api::Object;
use api::quantity::Quantity;
use jiff::Timestamp;
use serde_json::Value;

use super::read::{items, text};
use super::{Column, NAME, column};

const RESOURCES: [&str; 2] = ["cpu", "memory"];

pub(crate) const COLUMNS: &[Column] = &[
    NAME,
    column("cpu", "string", "Cores in use, on average over the window.").with_format("quantity"),
    column("memory", "string", "The working set, in bytes.").with_format("quantity"),
    column("Window", "string", "Over how long the use of CPU was measured.").with_format("duration"),
];

pub(crate) fn node(o: &Object, _now: Timestamp) -> Vec<Value> {
    row(o, |resource| amount(o.at(&["usage", resource])))
}

/// All containers together.
pub(crate) fn pod(o: &Object, _now: Timestamp) -> Vec<Value> {
    let containers = items(o, &["containers"]);
    row(o, |resource| {
        let each = containers.iter().map(|container| amount(container["usage"].get(resource)));
        each.fold(Quantity::ZERO, |sum, one| sum.plus(&one))
    })
}

fn row(o: &Object, used: impl Fn(&str) -> Quantity) -> Vec<Value> {
    let figures = RESOURCES.map(|resource| used(resource).to_string().into());
    std::iter::once(o.name().into()).chain(figures).chain([text(o, &["window"]).into()]).collect()
}

fn amount(value: Option<&Value>) -> Quantity {
    value.and_then(Value::as_str).and_then(|text| text.parse().ok()).unwrap_or_default()
}
