//! `describe`: the objects, and by [`Related`] whatever their descriptions ask for.

use serde_json::Value;

use super::Command;
use crate::builder::{self, FILES, Info, Target, Wanted};
use crate::client::{Client, Request, escaped, name_part};
use crate::describe::{Related, RelatedError, ResourceName, Selection, describe};
use crate::failure::Failure;
use crate::output::{err, out};
use crate::past;
use crate::session::Session;

pub const COMMANDS: [Command; 1] = [Command {
    words: "describe",
    flags: &[
        FILES,
        past::FLAG,
        "A all-namespaces bool=false, chunk-size int=500, l selector text, show-events bool=true",
    ],
    usage: "(-f FILENAME | TYPE [NAME_PREFIX | -l label] | TYPE/NAME)",
    about: "Show details of a specific resource or group of resources",
    run,
}];

fn run(session: &Session) -> Result<(), Failure> {
    let flags = &session.flags;
    if session.arguments().is_empty()
        && flags.list("filename").is_empty()
        && flags.text("kustomize").is_empty()
    {
        return Err(Failure::message(
            "You must specify the type of resource to describe. Use \"kubectl api-resources\" for a complete list of supported resources.",
        ));
    }
    let wanted = Wanted {
        words: session.arguments(),
        selector: flags.text("selector").to_owned(),
        field_selector: String::new(),
        all_namespaces: flags.bool("all-namespaces"),
    };
    let now = session.look_at()?;
    let (mut infos, mut failures) = if session.arguments().is_empty() {
        (builder::present(session)?, Vec::new())
    } else {
        builder::fetch(session, &wanted)?
    };
    if infos.is_empty() && failures.len() == 1 && failures[0].is_not_found() {
        infos = beginning_with(session, &wanted)?;
        if !infos.is_empty() {
            failures.clear();
        }
    }
    let related = Server(session.client()?);
    for (index, info) in infos.iter().enumerate() {
        match describe(&related, &info.object, now, flags.bool("show-events")) {
            Ok(text) if index == 0 => out(&text)?,
            Ok(text) => out(&format!("\n\n{text}"))?,
            Err(error) => failures.push(Failure::message(error.to_string())),
        }
    }
    if infos.is_empty() && failures.is_empty() {
        nothing_found(session, &wanted)?;
    }
    Failure::all(failures)
}

fn nothing_found(session: &Session, wanted: &Wanted<'_>) -> Result<(), Failure> {
    let targets = builder::targets(session, wanted.words)?;
    let namespaced = targets.iter().all(|target| match target {
        Target::Kind(resource) | Target::Named(resource, _) => resource.namespaced,
    });
    if namespaced && !wanted.all_namespaces {
        err(&format!("No resources found in {} namespace.\n", session.namespace()?));
    } else {
        err("No resources found\n");
    }
    Ok(())
}

/// A name that no object has may be how names begin.
fn beginning_with(session: &Session, wanted: &Wanted<'_>) -> Result<Vec<Info>, Failure> {
    let [kind, prefix] = wanted.words else { return Ok(Vec::new()) };
    if kind.contains(['/', ',']) {
        return Ok(Vec::new());
    }
    let all = builder::list(session, &session.resource(kind)?, wanted)?;
    Ok(all.into_iter().filter(|info| info.name.starts_with(prefix.as_str())).collect())
}

/// The server as descriptions see it.
struct Server<'a>(&'a Client);

impl Server<'_> {
    fn path(resource: ResourceName<'_>, namespace: Option<&str>) -> String {
        let base = match resource.group {
            "" => format!("/api/{}", resource.version),
            group => format!("/apis/{group}/{}", resource.version),
        };
        match namespace {
            Some(namespace) if !namespace.is_empty() => {
                format!("{base}/namespaces/{}/{}", escaped(namespace), resource.resource)
            }
            _ => format!("{base}/{}", resource.resource),
        }
    }

    fn ask(&self, request: &Request) -> Result<Value, RelatedError> {
        self.0
            .json(request)
            .map_err(|failure| RelatedError { reason: failure.reason().to_owned(), message: failure.plain() })
    }
}

impl Related for Server<'_> {
    fn get(
        &self,
        resource: ResourceName<'_>,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Value, RelatedError> {
        let name = name_part(name)
            .map_err(|failure| RelatedError { reason: String::new(), message: failure.plain() })?;
        self.ask(&Request::get(format!("{}/{name}", Self::path(resource, namespace))))
    }

    fn list(&self, resource: ResourceName<'_>, selection: Selection<'_>) -> Result<Vec<Value>, RelatedError> {
        let mut found = Vec::new();
        let mut token = String::new();
        loop {
            let request = Request::get(Self::path(resource, selection.namespace))
                .with("labelSelector", selection.label_selector)
                .with("fieldSelector", selection.field_selector)
                .with("limit", "500")
                .with("continue", &token);
            let mut page = self.ask(&request)?;
            let kind = page["kind"].as_str().unwrap_or_default().trim_end_matches("List").to_owned();
            let api_version = page["apiVersion"].clone();
            let items = page["items"].take();
            for mut item in items.as_array().cloned().unwrap_or_default() {
                item["apiVersion"] = api_version.clone();
                item["kind"] = kind.as_str().into();
                found.push(item);
            }
            page["metadata"]["continue"].as_str().unwrap_or_default().clone_into(&mut token);
            if token.is_empty() {
                return Ok(found);
            }
        }
    }
}
