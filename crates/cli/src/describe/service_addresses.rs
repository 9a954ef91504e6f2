//! ServiceCIDR and IPAddress.

use super::conditions;
use super::events;
use super::fields::Fields as _;
use super::metadata;
use super::related::DescribeError;
use super::text::{Text, put};
use super::view::View;

pub fn write_range(view: &View<'_>, text: &mut Text) -> Result<(), DescribeError> {
    let range = view.object;
    put!(text, 0, "Name:\t{}", view.name());
    metadata::labels_and_annotations(text, range);
    put!(text, 0, "CIDRs:\t{}", range.texts("spec.cidrs").join(", "));
    if !range.items("status.conditions").is_empty() {
        put!(text, 0, "Status:");
        put!(text, 0, "Conditions:");
        conditions::with_times(view, text);
    }
    events::write(view, text);
    Ok(())
}

pub fn write_address(view: &View<'_>, text: &mut Text) -> Result<(), DescribeError> {
    let address = view.object;
    put!(text, 0, "Name:\t{}", view.name());
    metadata::labels_and_annotations(text, address);
    if let Some(parent) = address.at("spec.parentRef") {
        put!(text, 0, "Parent Reference:");
        for (title, field) in
            [("Group", "group"), ("Resource", "resource"), ("Namespace", "namespace"), ("Name", "name")]
        {
            put!(text, 1, "{title}:\t{}", parent.text(field));
        }
    }
    events::write(view, text);
    Ok(())
}
