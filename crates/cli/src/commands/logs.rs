//! `logs`.

use serde_json::Value;

use super::Command;
use crate::client::{Request, escaped, name_part};
use crate::failure::Failure;
use crate::output::{bytes, err, out};
use crate::remote::pods::{rank, selector};
use crate::session::Session;

pub const COMMANDS: [Command; 1] = [Command {
    words: "logs",
    flags: &[
        "all-containers bool=false, all-pods bool=false, c container text, f follow bool=false, ignore-errors bool=false, \
         insecure-skip-tls-verify-backend bool=false, limit-bytes int=0, max-log-requests int=5, \
         pod-running-timeout duration=20s, prefix bool=false, p previous bool=false, l selector text, \
         since duration=0s, since-time text, tail int=-1, timestamps bool=false",
    ],
    usage: "[-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]",
    about: "Print the logs for a container in a pod",
    run,
}];

/// The annotation that says which container is meant where none is named.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// With a selector, this many last lines of each container are printed unless more are asked for.
const SELECTED_LINES: i64 = 10;

fn run(session: &Session) -> Result<(), Failure> {
    let flags = &session.flags;
    checked(session)?;
    let pods = pods(session)?;
    let mut sources = Vec::new();
    for pod in &pods {
        for container in containers(session, pod)? {
            sources.push((pod, container));
        }
    }
    if flags.bool("follow") && sources.len() > 1 {
        let why = "knarr kubectl does not know \"--follow\" of several containers yet; use the stock kubectl";
        return Err(Failure::message(why));
    }
    if sources.is_empty() && !flags.text("selector").is_empty() {
        err(&format!("No resources found in {} namespace.\n", session.namespace()?));
    }
    for (pod, container) in sources {
        match print(session, pod, &container) {
            Err(failure) if flags.bool("ignore-errors") => err(&format!("error: {}\n", failure.plain())),
            other => other?,
        }
    }
    Ok(())
}

fn checked(session: &Session) -> Result<(), Failure> {
    let flags = &session.flags;
    let words = session.arguments();
    let usage = || {
        session.usage("expected 'logs [-f] [-p] (POD | TYPE/NAME) [-c CONTAINER]'.\nPOD or TYPE/NAME is a required argument for the logs command")
    };
    match words.len() {
        0 if flags.text("selector").is_empty() => return Err(usage()),
        0..=2 => {}
        _ => return Err(usage()),
    }
    if words.len() == 1 && !flags.text("selector").is_empty() {
        return Err(session.usage("only a selector (-l) or a POD name is allowed"));
    }
    if flags.bool("all-containers") && !flags.text("container").is_empty() {
        return Err(Failure::message(format!(
            "--all-containers=true should not be specified with container name {}",
            flags.text("container")
        )));
    }
    if words.len() == 2 && !flags.text("container").is_empty() {
        return Err(session.usage("only one of -c or an inline [CONTAINER] arg is allowed"));
    }
    if flags.changed("since") && flags.changed("since-time") {
        return Err(Failure::message("only one of --since or --since-time may be used"));
    }
    if flags.int("tail") < -1 {
        return Err(Failure::message("--tail must be greater than or equal to -1"));
    }
    if flags.changed("limit-bytes") && flags.int("limit-bytes") <= 0 {
        return Err(Failure::message("--limit-bytes must be greater than 0"));
    }
    Ok(())
}

/// The pods that are meant.
fn pods(session: &Session) -> Result<Vec<Value>, Failure> {
    let client = session.client()?;
    let missing = |failure: Failure| match session.namespace() {
        Ok(namespace) if failure.is_not_found() => {
            let what = failure.plain();
            Failure::message(format!("error from server (NotFound): {what} in namespace {namespace:?}"))
        }
        _ => failure,
    };
    let namespace = escaped(session.namespace()?);
    let all = format!("/api/v1/namespaces/{namespace}/pods");
    let of_selector = |selector: &str| -> Result<Vec<Value>, Failure> {
        let list = client.json(&Request::get(&all).with("labelSelector", selector))?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    };
    let Some(word) = session.arguments().first() else { return of_selector(session.flags.text("selector")) };
    let Some((kind, name)) = word.split_once('/') else {
        return Ok(vec![client.json(&Request::get(format!("{all}/{}", name_part(word)?))).map_err(missing)?]);
    };
    let resource = session.resource(kind)?;
    let object = client
        .json(&Request::get(resource.object_path(Some(session.namespace()?), name)?))
        .map_err(missing)?;
    if resource.kind == "Pod" {
        return Ok(vec![object]);
    }
    let Some(selector) = selector(&object) else {
        return Err(Failure::message(format!(
            "cannot get the logs from {}: selector for {} not implemented",
            resource.kind, resource.kind
        )));
    };
    let mut pods = of_selector(&selector)?;
    if pods.is_empty() {
        return Err(Failure::message("timed out waiting for the condition"));
    }
    if session.flags.bool("all-pods") {
        return Ok(pods);
    }
    pods.sort_by_key(rank);
    if pods.len() > 1 {
        let name = pods[0]["metadata"]["name"].as_str().unwrap_or_default();
        err(&format!("Found {} pods, using pod/{name}\n", pods.len()));
    }
    pods.truncate(1);
    Ok(pods)
}

fn names(pod: &Value, list: &str) -> Vec<String> {
    let containers = pod["spec"][list].as_array().into_iter().flatten();
    containers.filter_map(|container| container["name"].as_str().map(str::to_owned)).collect()
}

fn containers(session: &Session, pod: &Value) -> Result<Vec<String>, Failure> {
    let flags = &session.flags;
    let lists = ["initContainers", "containers", "ephemeralContainers"];
    let every = || lists.iter().flat_map(|list| names(pod, list)).collect::<Vec<_>>();
    if flags.bool("all-containers") || flags.bool("all-pods") {
        return Ok(every());
    }
    let inline = session.arguments().get(1).map(String::as_str).unwrap_or_default();
    let asked = if inline.is_empty() { flags.text("container") } else { inline };
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    if !asked.is_empty() {
        if every().iter().any(|known| known == asked) {
            return Ok(vec![asked.to_owned()]);
        }
        return Err(Failure::message(format!("container {asked} is not valid for pod {name}")));
    }
    let annotated = pod["metadata"]["annotations"][DEFAULT_CONTAINER]
        .as_str()
        .filter(|name| every().iter().any(|n| n == name));
    if let Some(annotated) = annotated {
        return Ok(vec![annotated.to_owned()]);
    }
    let own = names(pod, "containers");
    let Some(first) = own.first() else { return Ok(Vec::new()) };
    if every().len() > 1 {
        let shown = lists.iter().rev().filter(|list| **list != "ephemeralContainers").flat_map(|list| {
            let note = if *list == "initContainers" { " (init)" } else { "" };
            names(pod, list).into_iter().map(move |name| format!("{name}{note}"))
        });
        let shown: Vec<String> = shown
            .chain(names(pod, "ephemeralContainers").into_iter().map(|n| format!("{n} (ephem)")))
            .collect();
        err(&format!("Defaulted container \"{first}\" out of: {}\n", shown.join(", ")));
    }
    Ok(vec![first.clone()])
}

fn print(session: &Session, pod: &Value, container: &str) -> Result<(), Failure> {
    let flags = &session.flags;
    let text = |key: &str| pod["metadata"][key].as_str().unwrap_or_default();
    let path =
        format!("/api/v1/namespaces/{}/pods/{}/log", escaped(text("namespace")), name_part(text("name"))?);
    let switch = |name: &str| if flags.bool(name) { "true" } else { "" };
    let mut request = Request::get(path)
        .with("container", container)
        .with("follow", switch("follow"))
        .with("previous", switch("previous"))
        .with("timestamps", switch("timestamps"))
        .with("insecureSkipTLSVerifyBackend", switch("insecure-skip-tls-verify-backend"))
        .with("sinceTime", flags.text("since-time"));
    let since = flags.duration_ns("since");
    if since > 0 {
        // Whole seconds, rounded up, as the API has it.
        request = request.with("sinceSeconds", &((since + 999_999_999) / 1_000_000_000).to_string());
    }
    let selected = !flags.text("selector").is_empty() && !flags.changed("tail");
    let tail = if selected { SELECTED_LINES } else { flags.int("tail") };
    if tail >= 0 {
        request = request.with("tailLines", &tail.to_string());
    }
    if flags.changed("limit-bytes") {
        request = request.with("limitBytes", &flags.int("limit-bytes").to_string());
    }
    request.accept = "*/*";
    let prefix = flags.bool("prefix").then(|| format!("[pod/{}/{container}] ", text("name")));
    let mut stream = session.client()?.stream(&request)?;
    match prefix {
        None => {
            while let Some(chunk) = stream.chunk()? {
                bytes(&chunk)?;
            }
        }
        Some(prefix) => {
            while let crate::client::Line::Text(line) = stream.line(None)? {
                out(&prefix)?;
                bytes(&line)?;
            }
        }
    }
    Ok(())
}
