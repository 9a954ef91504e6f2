//! LimitRange, and the limits of a namespace.

use std::collections::BTreeSet;

use serde_json::Value;

use super::fields::{self, Fields as _};
use super::metadata;
use super::related::DescribeError;
use super::text::{Text, put};
use super::view::View;

const TITLES: &str = "Type\tResource\tMin\tMax\tDefault Request\tDefault Limit\tMax Limit/Request Ratio";
const UNDERLINES: &str = "----\t--------\t---\t---\t---------------\t-------------\t-----------------------";

pub fn write(view: &View<'_>, text: &mut Text) -> Result<(), DescribeError> {
    metadata::names(text, view.object);
    put!(text, 0, "{TITLES}");
    put!(text, 0, "{UNDERLINES}");
    rows(text, view.object, "");
    Ok(())
}

fn rows(text: &mut Text, range: &Value, prefix: &str) {
    const COLUMNS: [&str; 5] = ["min", "max", "defaultRequest", "default", "maxLimitRequestRatio"];
    for item in range.items("spec.limits") {
        let names: BTreeSet<&str> =
            COLUMNS.iter().flat_map(|column| item.entries(column)).map(|(name, _)| name).collect();
        for name in names {
            let value = |column: &str| match item.at(column).and_then(|amounts| amounts.get(name)) {
                Some(amount) => fields::quantity(Some(amount)).to_string(),
                None => "-".to_owned(),
            };
            let values = COLUMNS.map(value).join("\t");
            put!(text, 0, "{prefix}{}\t{name}\t{values}", item.text("type"));
        }
    }
}

/// The ranges of a namespace as one table.
pub fn of_namespace(text: &mut Text, ranges: &[Value]) {
    if ranges.is_empty() {
        put!(text, 0, "No LimitRange resource.");
        return;
    }
    put!(text, 0, "Resource Limits\n {TITLES}");
    put!(text, 0, " {UNDERLINES}");
    for range in ranges {
        rows(text, range, " ");
    }
}
