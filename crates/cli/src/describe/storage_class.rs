//! StorageClass and VolumeAttributesClass.

use serde_json::Value;

use super::cron_job::truth;
use super::events;
use super::fields::Fields as _;
use super::metadata;
use super::related::DescribeError;
use super::selectors;
use super::text::{Text, put};
use super::view::View;

const DEFAULT: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];

pub fn write(view: &View<'_>, text: &mut Text) -> Result<(), DescribeError> {
    let class = view.object;
    put!(text, 0, "Name:\t{}", view.name());
    let annotations = class.at("metadata.annotations");
    let is_default =
        annotations.is_some_and(|annotations| DEFAULT.iter().any(|key| annotations[*key] == "true"));
    put!(text, 0, "IsDefaultClass:\t{}", if is_default { "Yes" } else { "No" });
    put!(text, 0, "Annotations:\t{}", selectors::map(class, "metadata.annotations"));
    put!(text, 0, "Provisioner:\t{}", class.text("provisioner"));
    put!(text, 0, "Parameters:\t{}", selectors::map(class, "parameters"));
    put!(text, 0, "AllowVolumeExpansion:\t{}", truth(class, "allowVolumeExpansion"));
    let options = class.texts("mountOptions");
    put!(text, 0, "MountOptions:{}", if options.is_empty() { "\t<none>" } else { "" });
    for option in options {
        put!(text, 1, "{option}");
    }
    for (title, field) in [("ReclaimPolicy", "reclaimPolicy"), ("VolumeBindingMode", "volumeBindingMode")] {
        if class.has(field) {
            put!(text, 0, "{title}:\t{}", class.text(field));
        }
    }
    if class.has("allowedTopologies") {
        topologies(text, class.items("allowedTopologies"));
    }
    events::write(view, text);
    Ok(())
}

fn topologies(text: &mut Text, terms: &[Value]) {
    put!(text, 0, "AllowedTopologies:\t{}", if terms.is_empty() { "<none>" } else { "" });
    for (index, term) in terms.iter().enumerate() {
        let expression = |expression: &Value| match expression.texts("values") {
            values if values.is_empty() => format!("{} in", expression.text("key")),
            values => format!("{} in [{}]", expression.text("key"), values.join(", ")),
        };
        let lines: Vec<String> = term.items("matchLabelExpressions").iter().map(expression).collect();
        metadata::listed(text, 1, "", &format!("Term {index}"), &lines);
    }
}

pub fn write_attributes(view: &View<'_>, text: &mut Text) -> Result<(), DescribeError> {
    let class = view.object;
    put!(text, 0, "Name:\t{}", view.name());
    put!(text, 0, "Annotations:\t{}", selectors::map(class, "metadata.annotations"));
    put!(text, 0, "DriverName:\t{}", class.text("driverName"));
    put!(text, 0, "Parameters:\t{}", selectors::map(class, "parameters"));
    events::write(view, text);
    Ok(())
}
