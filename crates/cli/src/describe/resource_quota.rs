//! ResourceQuota, and the quotas of a namespace.

use api::quantity::Quantity;
use serde_json::Value;

use super::fields::{self, Fields as _};
use super::metadata;
use super::related::DescribeError;
use super::text::{Text, put};
use super::view::View;

const SCOPES: [(&str, &str); 4] = [
    (
        "Terminating",
        "Matches all pods that have an active deadline. These pods have a limited lifespan on a node before being \
         actively terminated by the system.",
    ),
    (
        "NotTerminating",
        "Matches all pods that do not have an active deadline. These pods usually include long running pods whose \
         container command is not expected to terminate.",
    ),
    (
        "BestEffort",
        "Matches all pods that do not have resource requirements set. These pods have a best effort quality of \
         service.",
    ),
    (
        "NotBestEffort",
        "Matches all pods that have at least one resource requirement set. These pods have a burstable or guaranteed \
         quality of service.",
    ),
];

pub fn write(view: &View<'_>, text: &mut Text) -> Result<(), DescribeError> {
    let quota = view.object;
    metadata::names(text, quota);
    scopes(text, quota, 0, " * ");
    put!(text, 0, "Resource\tUsed\tHard");
    put!(text, 0, "--------\t----\t----");
    for (name, hard) in quota.entries("status.hard") {
        let hard = fields::quantity(Some(hard));
        let mut used = used(quota, name);
        if hard.format() != used.format() {
            used = Quantity::from_units(used.value(), hard.format());
        }
        put!(text, 0, "{name}\t{used}\t{hard}");
    }
    Ok(())
}

fn used(quota: &Value, name: &str) -> Quantity {
    fields::quantity(quota.at("status.used").and_then(|used| used.get(name)))
}

fn scopes(text: &mut Text, quota: &Value, level: usize, bullet: &str) {
    let mut scopes = quota.texts("spec.scopes");
    if scopes.is_empty() {
        return;
    }
    scopes.sort_unstable();
    put!(text, level, "Scopes:\t{}", scopes.join(", "));
    for scope in scopes {
        if let Some((_, help)) = SCOPES.iter().find(|(name, _)| *name == scope) {
            put!(text, level, "{bullet}{help}");
        }
    }
}

/// The quotas of a namespace as one table.
pub fn of_namespace(text: &mut Text, mut quotas: Vec<Value>) {
    if quotas.is_empty() {
        put!(text, 0, "No resource quota.");
        return;
    }
    quotas.sort_by(|a, b| a.text("metadata.name").cmp(b.text("metadata.name")));
    put!(text, 0, "Resource Quotas");
    for quota in &quotas {
        put!(text, 1, "Name:\t{}", quota.text("metadata.name"));
        scopes(text, quota, 1, "* ");
        put!(text, 1, "Resource\tUsed\tHard");
        put!(text, 1, "--------\t---\t---");
        for (name, hard) in quota.entries("status.hard") {
            put!(text, 1, "{name}\t{}\t{}", used(quota, name), fields::quantity(Some(hard)));
        }
    }
}
