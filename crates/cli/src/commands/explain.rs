//! `explain`: what the fields of a kind mean, out of the server's OpenAPI documents.

mod schema;
mod wrap;

use serde_json::Value;

use super::Command;
use crate::client::Request;
use crate::discovery::Resource;
use crate::failure::Failure;
use crate::output::out;
use crate::session::Session;

pub const COMMANDS: [Command; 1] = [Command {
    words: "explain",
    flags: &["api-version text, o output text=plaintext, recursive bool=false"],
    usage: "TYPE [--recursive=FALSE|TRUE] [--api-version=api-version-group] [-o|--output=plaintext|plaintext-openapiv2]",
    about: "Get documentation for a resource",
    run,
}];

fn run(session: &Session) -> Result<(), Failure> {
    let flags = &session.flags;
    let word = match session.arguments() {
        [] => {
            return Err(Failure::message(
                "You must specify the type of resource to explain. Use \"kubectl api-resources\" for a complete list of supported resources.\n",
            ));
        }
        [word] => word,
        _ => return Err(Failure::message("We accept only this format: explain RESOURCE\n")),
    };
    let (resource, fields) = meant(session, word)?;
    match flags.text("output") {
        "plaintext" | "" => {}
        "plaintext-openapiv2" => {
            let why = "knarr kubectl does not know \"--output=plaintext-openapiv2\" of explain yet; use the stock kubectl";
            return Err(Failure::message(why));
        }
        other => return Err(Failure::message(format!("unrecognized format: {other}"))),
    }
    let root = if resource.group.is_empty() { "api" } else { "apis" };
    let path = format!("/openapi/v3/{root}/{}", resource.api_version());
    let document = session.client()?.json(&Request::get(path))?;
    let mut head = String::new();
    if !resource.group.is_empty() {
        head.push_str(&format!("GROUP:      {}\n", resource.group));
    }
    head.push_str(&format!("KIND:       {}\nVERSION:    {}\n\n", resource.kind, resource.version));
    let Some(schema) = of_kind(&document, &resource) else {
        return Err(Failure::message(format!(
            "GVR ({}/{}, Resource={}) not found in OpenAPI schema",
            resource.group, resource.version, resource.plural
        )));
    };
    out(&head)?;
    let text = schema::Explainer::new(&document, flags.bool("recursive")).text(schema, &fields);
    match (text, fields.last()) {
        (Some(text), _) => out(&(text + "\n")),
        (None, field) => {
            let field = field.map_or("", String::as_str);
            Err(Failure::message(format!("field {field:?} does not exist")))
        }
    }
}

/// The kind and the fields that a word such as `deployments.apps.spec.replicas` means.
fn meant(session: &Session, word: &str) -> Result<(Resource, Vec<String>), Failure> {
    let mut parts = word.trim_end_matches('.').split('.');
    let kind = parts.next().unwrap_or_default();
    let resource = session.resource(kind).map_err(|failure| Failure::Verbatim(failure.plain()))?;
    let version = session.flags.text("api-version");
    if !version.is_empty() {
        let Some(resource) = session.of_kind(version, &resource.kind)? else {
            return Err(Failure::message(format!(
                "couldn't find resource for \"{}, Resource={}\"",
                if version.contains('/') { version.to_owned() } else { format!("/{version}") },
                resource.plural
            )));
        };
        return Ok((resource, parts.map(str::to_owned).collect()));
    }
    let same = session
        .catalogue()?
        .resources
        .iter()
        .filter(|other| other.plural == resource.plural && !other.group.is_empty());
    for other in same {
        let whole = format!("{kind}.{}", other.group);
        let rest = word.strip_prefix(&whole).filter(|rest| rest.is_empty() || rest.starts_with('.'));
        if let Some(rest) = rest {
            let fields = rest.split('.').filter(|field| !field.is_empty()).map(str::to_owned);
            return Ok((other.clone(), fields.collect()));
        }
    }
    Ok((resource, parts.map(str::to_owned).collect()))
}

/// The schema of a kind.
fn of_kind<'a>(document: &'a Value, resource: &Resource) -> Option<&'a Value> {
    let schemas = document["components"]["schemas"].as_object()?;
    let mut names: Vec<&String> = schemas.keys().collect();
    names.sort();
    let is = |kind: &Value| {
        kind["group"].as_str().unwrap_or_default() == resource.group
            && kind["version"] == *resource.version
            && kind["kind"] == *resource.kind
    };
    names
        .into_iter()
        .map(|name| &schemas[name])
        .find(|schema| schema["x-kubernetes-group-version-kind"].as_array().into_iter().flatten().any(is))
}
