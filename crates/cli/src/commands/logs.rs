//! `logs`.

use bytes::BytesMut;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use serde_json::Value;

use super::Command;
use crate::client::{self, Client, Request, escaped, name_part};
use crate::failure::Failure;
use crate::output::{bytes, err, out};
use crate::remote::pods::{self, selector};
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

/// A line that is longer is written in pieces.
const LONGEST_LINE_BYTES: usize = 1 << 20;

/// With a selector, this many last lines of each container are printed unless more are asked for.
const SELECTED_LINES: i64 = 10;

/// A container's log, and what is written before each of its lines.
struct Source {
    request: Request,
    prefix: String,
}

fn run(session: &Session) -> Result<(), Failure> {
    let flags = &session.flags;
    checked(session)?;
    let pods = pods(session)?;
    let mut sources = Vec::new();
    for pod in &pods {
        for container in containers(session, pod)? {
            sources.push(source(session, pod, &container)?);
        }
    }
    if sources.is_empty() && !flags.text("selector").is_empty() {
        err(&format!("No resources found in {} namespace.\n", session.namespace()?));
    }
    let most = usize::try_from(flags.int("max-log-requests")).unwrap_or(0);
    let is_together = flags.bool("follow") && sources.len() > 1;
    if is_together && sources.len() > most {
        return Err(Failure::message(format!(
            "you are attempting to follow {} log streams, but maximum allowed concurrency is {}, use --max-log-requests to increase the limit",
            sources.len(),
            flags.int("max-log-requests")
        )));
    }
    let client = session.client()?;
    let tolerant = flags.bool("ignore-errors");
    let mut all: FuturesUnordered<_> = FuturesUnordered::new();
    for source in &sources {
        let copied = copied(client, source, tolerant);
        if is_together {
            all.push(copied);
        } else {
            client.wait(copied)?;
        }
    }
    client.wait(async {
        while let Some(ended) = all.next().await {
            ended?;
        }
        Ok(())
    })
}

/// Writes a log to its end, line by line.
async fn copied(client: &Client, source: &Source, tolerant: bool) -> Result<(), Failure> {
    match lines(client, source).await {
        Err(failure @ Failure::Exit(_)) => Err(failure),
        Err(failure) if tolerant => out(&format!("error: {}\n", failure.plain())),
        other => other,
    }
}

async fn lines(client: &Client, source: &Source) -> Result<(), Failure> {
    let mut body = client.open(&source.request).await?;
    let mut rest = BytesMut::new();
    let write = |line: &[u8]| bytes(&[source.prefix.as_bytes(), line].concat());
    while let Some(chunk) = client::next(&mut body).await? {
        rest.extend_from_slice(&chunk);
        // Whole lines in one piece where nothing stands before them.
        let end = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let whole = rest.split_to(end);
        if source.prefix.is_empty() {
            bytes(&whole)?;
        } else {
            whole.split_inclusive(|byte| *byte == b'\n').try_for_each(write)?;
        }
        if rest.len() > LONGEST_LINE_BYTES {
            write(&rest.split())?;
        }
    }
    if rest.is_empty() { Ok(()) } else { write(&rest) }
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
    if pods::patience(session).is_err() {
        return Err(Failure::message("--pod-running-timeout must be higher than zero"));
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
        let kind = pods::go_type(&object);
        return Err(Failure::message(format!(
            "cannot get the logs from {kind}: selector for {kind} not implemented"
        )));
    };
    let mut pods = pods::awaited(session, session.namespace()?, &selector, pods::patience(session)?)?;
    if session.flags.bool("all-pods") {
        return Ok(pods);
    }
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
    let chosen = pods::container_or_default(pod, asked, false).map_err(|failure| {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        if asked.is_empty() {
            failure
        } else {
            Failure::message(format!("container {asked} is not valid for pod {name}"))
        }
    })?;
    Ok(chosen["name"].as_str().map(str::to_owned).into_iter().collect())
}

fn source(session: &Session, pod: &Value, container: &str) -> Result<Source, Failure> {
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
    // Of all pods, each line says whose it is.
    let is_said = flags.bool("prefix") || flags.bool("all-pods");
    let prefix = if is_said { format!("[pod/{}/{container}] ", text("name")) } else { String::new() };
    Ok(Source { request, prefix })
}
