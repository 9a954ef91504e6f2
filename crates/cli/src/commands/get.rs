//! `get`: tables that the server makes, and objects in the form asked for.

mod sort;
mod watch;

use serde_json::{Value, json};

use super::Command;
use crate::builder::{self, FILES, Info, Target, Wanted};
use crate::client::{Request, escaped, name_part, namespace_part};
use crate::discovery::Resource;
use crate::failure::Failure;
use crate::format;
use crate::output::{bytes, err, out};
use crate::past;
use crate::session::Session;
use crate::table::{Options, Printer};

pub const COMMANDS: [Command; 1] = [Command {
    words: "get",
    flags: &[
        FILES,
        format::FLAGS,
        past::FLAG,
        "A all-namespaces bool=false, chunk-size int=500, field-selector text, ignore-not-found bool=false, \
         L label-columns list, no-headers bool=false, output-watch-events bool=false, raw text, l selector text, \
         server-print bool=true, show-kind bool=false, show-labels bool=false, sort-by text, subresource text, \
         w watch bool=false, watch-only bool=false",
    ],
    usage: "[(-o|--output=)FORMAT] (TYPE[.VERSION][.GROUP] [NAME | -l label] | TYPE[.VERSION][.GROUP]/NAME ...) [flags]",
    about: "Display one or many resources",
    run,
}];

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";

fn run(session: &Session) -> Result<(), Failure> {
    let flags = &session.flags;
    let raw = flags.text("raw");
    if !raw.is_empty() {
        return self::raw(session, raw);
    }
    let format = format::asked(flags, &["wide"])?;
    if format.is_some() && flags.bool("show-labels") && flags.text("output") != "wide" {
        return Err(Failure::message(
            "--show-labels option cannot be used with ".to_owned() + flags.text("output") + " printer",
        ));
    }
    if flags.bool("output-watch-events") && !flags.bool("watch") && !flags.bool("watch-only") {
        return Err(Failure::message(
            "--output-watch-events option can only be used with --watch or --watch-only",
        ));
    }
    let watches = flags.bool("watch") || flags.bool("watch-only");
    if watches && flags.changed("at") {
        return Err(Failure::message("--at cannot be used with --watch: the past does not change"));
    }
    session.look_at()?;
    let asked = asked(session)?;
    if watches {
        return watch::run(session, &asked, format.as_ref());
    }
    match format {
        Some(format) => objects(session, &asked, &format),
        None => tables(session, &asked),
    }
}

/// What was asked for: the objects' paths, by kind.
struct Asked {
    resource: Resource,
    namespace: Option<String>,
    /// `None` for all.
    name: Option<String>,
}

fn asked(session: &Session) -> Result<Vec<Asked>, Failure> {
    let flags = &session.flags;
    if !flags.list("filename").is_empty() || !flags.text("kustomize").is_empty() {
        if !session.arguments().is_empty() {
            return Err(Failure::message(
                "when paths, URLs, or stdin is provided as input, you may not specify resource arguments as well",
            ));
        }
        let infos = builder::manifests(session)?;
        let one = |info: Info| Asked {
            namespace: info.scope().map(str::to_owned),
            resource: info.resource,
            name: Some(info.name),
        };
        return Ok(infos.into_iter().map(one).collect());
    }
    if session.arguments().is_empty() {
        err(
            "You must specify the type of resource to get. Use \"kubectl api-resources\" for a complete list of supported resources.\n\n",
        );
        return Err(session.usage("Required resource not specified.\nUse \"kubectl explain <resource>\" for a detailed description of that resource (e.g. kubectl explain pods)."));
    }
    let wanted = wanted(session);
    let mut asked = Vec::new();
    for target in builder::targets(session, session.arguments())? {
        let (resource, name) = match target {
            Target::Kind(resource) => (resource, None),
            Target::Named(resource, name) => (resource, Some(name)),
        };
        if name.is_some() {
            builder::checked_name(&wanted)?;
        }
        let everywhere = wanted.all_namespaces || !resource.namespaced;
        let namespace = if everywhere { None } else { Some(session.namespace()?.to_owned()) };
        asked.push(Asked { resource, namespace, name });
    }
    if !flags.text("subresource").is_empty() && asked.iter().any(|one| one.name.is_none()) {
        return Err(Failure::message("subresource cannot be used when bulk resources are specified"));
    }
    Ok(asked)
}

fn wanted(session: &Session) -> Wanted<'_> {
    Wanted {
        words: session.arguments(),
        selector: session.flags.text("selector").to_owned(),
        field_selector: session.flags.text("field-selector").to_owned(),
        all_namespaces: session.flags.bool("all-namespaces"),
    }
}

impl Asked {
    fn request(&self, session: &Session) -> Result<Request, Failure> {
        let flags = &session.flags;
        self.namespace.as_deref().map(namespace_part).transpose()?;
        let path = self.resource.path(self.namespace.as_deref());
        Ok(match &self.name {
            Some(name) => {
                let part = flags.text("subresource");
                let part = if part.is_empty() { String::new() } else { format!("/{}", escaped(part)) };
                Request::get(format!("{path}/{}{part}", name_part(name)?))
            }
            None => Request::get(path)
                .with("labelSelector", flags.text("selector"))
                .with("fieldSelector", flags.text("field-selector")),
        })
    }

    /// The answer, page after page for a list.
    fn pages(
        &self,
        session: &Session,
        accept: &'static str,
        object: &str,
        mut each: impl FnMut(Value),
    ) -> Result<(), Failure> {
        let mut token = String::new();
        let chunk = session.flags.int("chunk-size").max(0);
        loop {
            let mut request = self.request(session)?.with("includeObject", object);
            request.accept = accept;
            if self.name.is_none() && chunk > 0 {
                request = request.with("limit", &chunk.to_string()).with("continue", &token);
            }
            let page = session.client()?.json(&request).map_err(|failure| match self.name {
                Some(_) => failure,
                None => {
                    let flags = &session.flags;
                    builder::unlisted(
                        failure,
                        &self.resource,
                        flags.text("selector"),
                        flags.text("field-selector"),
                    )
                }
            })?;
            page["metadata"]["continue"].as_str().unwrap_or_default().clone_into(&mut token);
            each(page);
            if token.is_empty() || self.name.is_some() {
                return Ok(());
            }
        }
    }
}

fn raw(session: &Session, path: &str) -> Result<(), Failure> {
    let flags = &session.flags;
    if !session.arguments().is_empty() {
        return Err(Failure::message("arguments may not be passed when --raw is specified"));
    }
    if !path.starts_with('/') {
        return Err(Failure::message(format!(
            "--raw must be a valid URL path: parse {}: invalid URI for request",
            crate::failure::quoted(path)
        )));
    }
    if flags.bool("watch") || flags.bool("watch-only") || !flags.text("selector").is_empty() {
        return Err(Failure::message("--raw may not be specified with --watch or --selector"));
    }
    if !flags.text("output").is_empty() {
        return Err(Failure::message("--raw and --output are mutually exclusive"));
    }
    let mut request = Request::get(path);
    request.accept = "*/*";
    let mut stream = session.client()?.stream(&request)?;
    while let Some(chunk) = stream.chunk()? {
        bytes(&chunk)?;
    }
    Ok(())
}

fn options(session: &Session, resource: &Resource, kinds: bool) -> Options {
    let flags = &session.flags;
    Options {
        wide: flags.text("output") == "wide",
        headers: !flags.bool("no-headers"),
        with_kind: flags.bool("show-kind") || kinds,
        with_namespace: flags.bool("all-namespaces") && resource.namespaced,
        label_columns: flags.list("label-columns").to_vec(),
        show_labels: flags.bool("show-labels"),
        with_events: flags.bool("output-watch-events"),
    }
}

fn several_kinds(session: &Session, asked: &[Asked]) -> bool {
    let first = asked.first().map(|one| &one.resource);
    asked.iter().any(|one| Some(&one.resource) != first)
        || session.arguments().first().is_some_and(|word| word.split(',').any(|kind| kind == "all"))
}

fn tables(session: &Session, asked: &[Asked]) -> Result<(), Failure> {
    let kinds = several_kinds(session, asked);
    let (mut failures, mut written) = (Vec::new(), false);
    let sort_by = session.flags.text("sort-by");
    let object = if sort_by.is_empty() { "" } else { "Object" };
    // What is asked of one kind in a row is one table.
    for group in asked.chunk_by(|a, b| a.resource == b.resource) {
        let mut pages = Vec::new();
        for one in group {
            let collected = one.pages(session, TABLE, object, |page| pages.push(page));
            failures.extend(collected.err());
        }
        for page in &mut pages {
            if page["kind"] != "Table" {
                *page = bare(page);
            }
        }
        let mut table = sort::joined(pages);
        if !sort_by.is_empty() {
            sort::rows(&mut table, sort_by)?;
        }
        let resource = &group[0].resource;
        let text = Printer::default().lines(&table, resource, &options(session, resource, kinds), None);
        if text.is_empty() {
            continue;
        }
        if written && !session.flags.bool("no-headers") {
            out("\n")?;
        }
        out(&text)?;
        written = true;
    }
    if session.flags.bool("ignore-not-found") {
        failures.retain(|failure| !failure.is_not_found());
    } else if !written && failures.is_empty() {
        nothing_found(session, asked)?;
    }
    Failure::all(failures)
}

fn nothing_found(session: &Session, asked: &[Asked]) -> Result<(), Failure> {
    if !session.flags.bool("all-namespaces") && asked.iter().all(|one| one.resource.namespaced) {
        err(&format!("No resources found in {} namespace.\n", session.namespace()?));
    } else {
        err("No resources found\n");
    }
    Ok(())
}

/// A table of an object or list that the server made no table of.
fn bare(page: &Value) -> Value {
    let single = [page.clone()];
    let items = page["items"].as_array().map_or(&single[..], Vec::as_slice);
    let row = |item: &Value| {
        json!({"cells": [item["metadata"]["name"], item["metadata"]["creationTimestamp"]],
            "object": {"metadata": item["metadata"]}})
    };
    json!({"kind": "Table", "columnDefinitions": [
        {"name": "Name", "type": "string", "format": "name", "priority": 0},
        {"name": "Created At", "type": "date", "priority": 0}],
        "rows": items.iter().map(row).collect::<Vec<_>>()})
}

/// An answer's objects, each with its version and kind.
fn items(one: &Asked, mut page: Value) -> Vec<Value> {
    if one.name.is_some() {
        return vec![page];
    }
    let items = page.get_mut("items").map(Value::take).unwrap_or_default();
    let Value::Array(mut items) = items else { return Vec::new() };
    for item in &mut items {
        item["apiVersion"] = one.resource.api_version().into();
        item["kind"] = one.resource.kind.as_str().into();
    }
    items
}

fn objects(
    session: &Session,
    asked: &[Asked],
    format: &crate::printing::OutputFormat,
) -> Result<(), Failure> {
    let flags = &session.flags;
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for one in asked {
        let collected = one.pages(session, crate::client::JSON, "", |page| found.extend(items(one, page)));
        failures.extend(collected.err());
    }
    if flags.bool("ignore-not-found") {
        failures.retain(|failure| !failure.is_not_found());
        if found.is_empty() {
            return Failure::all(failures);
        }
    }
    let single = asked.len() == 1 && asked[0].name.is_some();
    if single && found.is_empty() {
        return Failure::all(failures);
    }
    if !flags.text("sort-by").is_empty() {
        sort::objects(&mut found, flags.text("sort-by"))?;
    }
    let object = match found.len() {
        1 if single => found.remove(0),
        _ => json!({"apiVersion": "v1", "items": found, "kind": "List", "metadata": {"resourceVersion": ""}}),
    };
    format::print(format, object, flags)?;
    Failure::all(failures)
}
