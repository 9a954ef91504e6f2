//! `api-resources` and `api-versions`.

use std::cmp::Ordering;

use super::Command;
use crate::discovery::{Catalogue, Resource};
use crate::failure::Failure;
use crate::output::out;
use crate::session::Session;
use crate::table::Aligned;

pub const COMMANDS: [Command; 2] = [
    Command {
        words: "api-resources",
        flags: &[
            "api-group text, cached bool=false, categories list, namespaced bool=true, no-headers bool=false, \
             o output text, sort-by text, verbs list, show-managed-fields bool=false, template text, \
             allow-missing-template-keys bool=true",
        ],
        usage: "",
        about: "Print the supported API resources on the server",
        run: resources,
    },
    Command {
        words: "api-versions",
        flags: &[],
        usage: "",
        about: "Print the supported API versions on the server",
        run: versions,
    },
];

fn versions(session: &Session) -> Result<(), Failure> {
    if !session.arguments().is_empty() {
        return Err(session.usage(&format!("unexpected arguments: [{}]", session.arguments().join(" "))));
    }
    let mut versions: Vec<String> = session
        .fresh_catalogue()?
        .versions
        .iter()
        .map(|(group, version)| api_version(group, version))
        .collect();
    versions.sort();
    out(&versions.iter().map(|version| format!("{version}\n")).collect::<String>())
}

fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

fn resources(session: &Session) -> Result<(), Failure> {
    let flags = &session.flags;
    if !session.arguments().is_empty() {
        return Err(session.usage(&format!("unexpected arguments: [{}]", session.arguments().join(" "))));
    }
    let output = flags.text("output");
    if !["", "wide", "name"].contains(&output) {
        return Err(Failure::message(format!(
            "knarr kubectl does not know the output format {output:?} of api-resources yet; use the stock kubectl"
        )));
    }
    if !["", "name", "kind"].contains(&flags.text("sort-by")) {
        return Err(Failure::message("--sort-by accepts only name or kind"));
    }
    let catalogue = if flags.bool("cached") { session.catalogue()? } else { session.fresh_catalogue()? };
    let mut shown = preferred(catalogue);
    shown.retain(|resource| matches(session, resource));
    match flags.text("sort-by") {
        "kind" => shown.sort_by(|a, b| a.kind.cmp(&b.kind)),
        "name" => shown.sort_by(|a, b| a.plural.cmp(&b.plural)),
        _ => {}
    }
    if output == "name" {
        return out(&shown
            .iter()
            .map(|resource| format!("{}\n", resource.group_resource()))
            .collect::<String>());
    }
    let wide = output == "wide";
    let mut lines = Vec::new();
    if !flags.bool("no-headers") {
        let mut header = vec!["NAME", "SHORTNAMES", "APIVERSION", "NAMESPACED", "KIND"];
        header.extend(wide.then_some(["VERBS", "CATEGORIES"]).into_iter().flatten());
        lines.push(header.into_iter().map(str::to_owned).collect());
    }
    lines.extend(shown.iter().map(|resource| line(resource, wide)));
    out(&Aligned::default().text(&lines))?;
    match catalogue.stale.as_slice() {
        [] => Ok(()),
        stale => Err(Failure::message(format!(
            "unable to retrieve the complete list of server APIs: {}",
            stale
                .iter()
                .map(|name| format!("{name}: stale GroupVersion discovery: {name}"))
                .collect::<Vec<_>>()
                .join(", ")
        ))),
    }
}

/// Each kind in the version that its group prefers, by group and name.
pub fn preferred(catalogue: &Catalogue) -> Vec<&Resource> {
    let mut shown: Vec<&Resource> = Vec::new();
    for resource in &catalogue.resources {
        let known = shown.iter().any(|r| r.group == resource.group && r.plural == resource.plural);
        if !known && !resource.verbs.is_empty() {
            shown.push(resource);
        }
    }
    shown.sort_by(by_group);
    shown
}

fn matches(session: &Session, resource: &Resource) -> bool {
    let flags = &session.flags;
    (!flags.changed("api-group") || flags.text("api-group") == resource.group)
        && (!flags.changed("namespaced") || flags.bool("namespaced") == resource.namespaced)
        && flags.list("verbs").iter().all(|verb| resource.has_verb(verb))
        && flags.list("categories").iter().all(|category| resource.categories.contains(category))
}

fn by_group(a: &&Resource, b: &&Resource) -> Ordering {
    a.group.cmp(&b.group).then_with(|| a.plural.cmp(&b.plural))
}

fn line(resource: &Resource, wide: bool) -> Vec<String> {
    let mut cells = vec![
        resource.plural.clone(),
        resource.short_names.join(","),
        resource.api_version(),
        resource.namespaced.to_string(),
        resource.kind.clone(),
    ];
    if wide {
        cells.push(resource.verbs.join(","));
        cells.push(resource.categories.join(","));
    }
    cells
}
