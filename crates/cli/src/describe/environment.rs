//! The environment of a container, with the values of references that the pod itself answers.

use serde_json::Value;

use super::fields::Fields as _;
use super::text::{Text, put};
use crate::printing::go_text;

pub fn write(text: &mut Text, container: &Value, pod: Option<&Value>) {
    sources(text, container);
    let variables = container.items("env");
    let none = if variables.is_empty() { "\t<none>" } else { "" };
    put!(text, 2, "Environment:{none}");
    for variable in variables {
        let name = variable.text("name");
        let Some(from) = variable.at("valueFrom") else {
            for (index, part) in variable.text("value").split('\n').enumerate() {
                let title = if index == 0 { format!("{name}:") } else { String::new() };
                put!(text, 3, "{title}\t{part}");
            }
            continue;
        };
        if let Some(field) = from.at("fieldRef") {
            let path = field.text("fieldPath");
            let version = field.text("apiVersion");
            let value = pod.map(|pod| pod_field(pod, path)).unwrap_or_default();
            put!(text, 3, "{name}:\t{value} ({version}:{path})");
        } else if let Some(field) = from.at("resourceFieldRef") {
            let resource = field.text("resource");
            let mut value = resource_field(container, field).unwrap_or_default();
            if value == "0" && matches!(resource, "limits.cpu" | "limits.memory") {
                "node allocatable".clone_into(&mut value);
            }
            put!(text, 3, "{name}:\t{value} ({resource})");
        } else if let Some(key) = from.at("secretKeyRef") {
            let (entry, secret, optional) = (key.text("key"), key.text("name"), key.flag("optional"));
            put!(text, 3, "{name}:\t<set to the key '{entry}' in secret '{secret}'>\tOptional: {optional}");
        } else if let Some(key) = from.at("configMapKeyRef") {
            let (entry, map, optional) = (key.text("key"), key.text("name"), key.flag("optional"));
            put!(text, 3, "{name}:\t<set to the key '{entry}' of config map '{map}'>\tOptional: {optional}");
        }
    }
}

fn sources(text: &mut Text, container: &Value) {
    let sources = container.items("envFrom");
    if sources.is_empty() {
        return;
    }
    put!(text, 2, "Environment Variables from:");
    for source in sources {
        let known = [("ConfigMap", "configMapRef"), ("Secret", "secretRef")];
        let found = known.iter().find_map(|(kind, field)| source.at(field).map(|from| (*kind, from)));
        let (kind, name, optional) =
            found.map_or(("", "", false), |(kind, from)| (kind, from.text("name"), from.flag("optional")));
        match source.text("prefix") {
            "" => put!(text, 3, "{name}\t{kind}\tOptional: {optional}"),
            prefix => put!(text, 3, "{name}\t{kind} with prefix '{prefix}'\tOptional: {optional}"),
        }
    }
}

/// Fields of the metadata; kubectl leaves all others, and single labels, to the node.
fn pod_field(pod: &Value, path: &str) -> String {
    match path {
        "metadata.annotations" | "metadata.labels" => {
            let entry = |(key, value): (&str, &Value)| {
                format!("{key}={}", go_text::quote(value.as_str().unwrap_or_default()))
            };
            pod.entries(path).into_iter().map(entry).collect::<Vec<_>>().join("\n")
        }
        "metadata.name" | "metadata.namespace" | "metadata.uid" => pod.text(path).to_owned(),
        _ => String::new(),
    }
}

fn resource_field(container: &Value, field: &Value) -> Option<String> {
    let (list, name) = field.text("resource").split_once('.')?;
    let known = matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-");
    if !known || !matches!(list, "limits" | "requests") {
        return None;
    }
    let divisor = field.quantity("divisor");
    let amounts = container.at("resources").and_then(|resources| resources.at(list));
    let amount = super::fields::quantity(amounts.and_then(|amounts| amounts.get(name)));
    let (amount, divisor) = if name == "cpu" {
        (amount.milli_value(), if divisor.is_zero() { 1000 } else { divisor.milli_value() })
    } else {
        (amount.value(), if divisor.is_zero() { 1 } else { divisor.value() })
    };
    // Rounded up, as floating point numbers in upstream.
    let rounded = i128::from(amount).checked_div(i128::from(divisor))?
        + i128::from(i128::from(amount).checked_rem(i128::from(divisor))? > 0);
    Some(rounded.to_string())
}
