//! WATCH: a stream of events, each encoded once for all who watch whole objects.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use api::field::{FieldError, Path};
use api::{Error, Object};
use bytes::Bytes;
use futures::Stream;
use http::{Response, StatusCode};
use serde_json::{Value, json};
use store::Revision;
use tokio::time::{Instant, Sleep};

use super::list::{invalid_options, revision};
use super::select::Selection;
use super::storage::{Target, cache_error};
use super::table::{self, Form};
use crate::body::{Body, BoxError, next_frame};
use crate::cache::{CacheError, CacheWatch, Entry, EventKind, WatchScope};
use crate::negotiate::{Answer, Format, Shape};
use crate::pipeline::Call;
use crate::query::Query;
use crate::respond::{self, Outcome};

/// How often a quiet watch is told how far it has come.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);

/// Where a watch begins.
#[derive(Debug, PartialEq, Eq)]
enum Start {
    /// With everything that is there, then what follows; whether the end of the first is marked.
    Present { marked: bool },
    /// After this revision.
    After(Revision),
    /// With what follows.
    Now,
}

fn start(query: &Query) -> Result<Start, Error> {
    let revision = revision(query)?;
    let matching = query.non_empty("resourceVersionMatch");
    let Some(initial) = query.get("sendInitialEvents").map(|_| query.flag("sendInitialEvents")) else {
        if matching.is_some() {
            return Err(invalid_options(&[FieldError::forbidden(
                &Path::root("resourceVersionMatch"),
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            )]));
        }
        return Ok(match revision {
            None | Some(0) => Start::Present { marked: false },
            Some(after) => Start::After(after),
        });
    };
    if matching != Some("NotOlderThan") {
        return Err(invalid_options(&[FieldError::forbidden(
            &Path::root("resourceVersionMatch"),
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        )]));
    }
    Ok(match (initial, revision) {
        (true, _) => Start::Present { marked: query.flag("allowWatchBookmarks") },
        (false, None | Some(0)) => Start::Now,
        (false, Some(after)) => Start::After(after),
    })
}

/// Handles WATCH.
pub(crate) async fn watch(target: Target, call: &Call) -> Outcome {
    let answer = Answer::negotiate(&call.headers)?;
    if answer.format != Format::Json {
        return Err(Error::new(api::Reason::NotAcceptable, "watches are served as application/json only"));
    }
    let start = start(&call.query)?;
    let namespace = Some(call.info.namespace.clone()).filter(|n| !n.is_empty() && target.row.namespaced());
    let filter = Selection::parse(&target.row, call)?.filter();
    let scope = WatchScope { namespace, filter };
    let view = match answer.shape {
        Shape::Whole if target.row.convert.is_none() => View::Shared,
        Shape::Whole => View::Converted,
        Shape::Metadata => View::Metadata,
        Shape::Table(version) => {
            View::Table { form: Form::parse(version, &call.query)?, columns_shown: false }
        }
    };
    let mut first = VecDeque::new();
    let watching = match start {
        Start::After(revision) => target.cache.watch(revision, scope).await,
        Start::Now => Ok(target.cache.snapshot_and_watch(scope).1),
        Start::Present { marked } => {
            let (snapshot, watching) = target.cache.snapshot_and_watch(scope);
            first.extend(snapshot.entries.into_iter().map(First::Object));
            if marked {
                first.push_back(First::End(snapshot.revision));
            }
            Ok(watching)
        }
    };
    let watching = match watching {
        Ok(watching) => watching,
        // A watch that cannot begin says so in the stream, as upstream's does.
        Err(error) => return Ok(stream_response(Body::from(error_line(&error)))),
    };
    let limit = timeout(&target, &call.query)?;
    let watcher = Watcher {
        bookmarks: call
            .query
            .flag("allowWatchBookmarks")
            .then(|| Box::pin(tokio::time::sleep(BOOKMARK_INTERVAL))),
        deadline: Box::pin(tokio::time::sleep(limit)),
        shown: 0,
        lines: VecDeque::new(),
        target,
        watching,
        view,
        first,
        ended: false,
    };
    Ok(stream_response(Body::stream(watcher.into_stream())))
}

fn timeout(target: &Target, query: &Query) -> Result<Duration, Error> {
    if let Some(seconds) =
        query.integer("timeoutSeconds")?.and_then(|s| u64::try_from(s).ok()).filter(|s| *s > 0)
    {
        return Ok(Duration::from_secs(seconds));
    }
    let least = target.context.limits.watch_timeout;
    // Spread, so that watches made together do not end together.
    Ok(least + Duration::from_secs(base::random::below(least.as_secs().max(1))))
}

fn stream_response(body: Body) -> Response<Body> {
    respond::json_bytes(StatusCode::OK, body)
}

/// What is shown before the events.
enum First {
    Object(Arc<Entry>),
    /// The mark that ends the initial events.
    End(Revision),
}

/// What the events show.
enum View {
    /// Whole objects, in the bytes that all watchers share.
    Shared,
    /// Whole objects of another version than the stored one.
    Converted,
    Metadata,
    Table {
        form: Form,
        columns_shown: bool,
    },
}

struct Watcher {
    target: Target,
    watching: CacheWatch,
    view: View,
    first: VecDeque<First>,
    /// Encoded events that are not sent yet.
    lines: VecDeque<Bytes>,
    bookmarks: Option<std::pin::Pin<Box<Sleep>>>,
    deadline: std::pin::Pin<Box<Sleep>>,
    /// The revision of the last bookmark.
    shown: Revision,
    ended: bool,
}

enum Step {
    Events(Result<Vec<crate::cache::WatchEvent>, CacheError>),
    Bookmark,
    Deadline,
}

impl Watcher {
    fn into_stream(self) -> impl Stream<Item = Result<Bytes, BoxError>> + Send + 'static {
        futures::stream::unfold(self, |mut watcher| async move {
            loop {
                if let Some(frame) = next_frame(&mut watcher.lines) {
                    return Some((Ok(frame), watcher));
                }
                if watcher.ended {
                    return None;
                }
                if let Err(error) = watcher.fill().await {
                    return Some((Err(error.to_string().into()), watcher));
                }
            }
        })
    }

    /// Waits for something to send, or the end.
    async fn fill(&mut self) -> Result<(), Error> {
        // A few at a time: the lines of a large collection are never all in memory.
        for _ in 0..64 {
            match self.first.pop_front() {
                Some(First::Object(entry)) => {
                    let line = self.encode(EventKind::Added, &entry)?;
                    self.lines.push_back(line);
                }
                Some(First::End(revision)) => {
                    let line = self.bookmark(revision, true);
                    self.lines.push_back(line);
                }
                None => break,
            }
        }
        if !self.lines.is_empty() {
            return Ok(());
        }
        let shutdown = self.target.context.deps.supervisor.shutdown();
        let bookmark = async {
            match &mut self.bookmarks {
                Some(timer) => timer.await,
                None => std::future::pending().await,
            }
        };
        let step = tokio::select! {
            biased;
            () = &mut self.deadline => Step::Deadline,
            () = shutdown.started() => Step::Deadline,
            events = self.watching.next() => Step::Events(events),
            () = bookmark => Step::Bookmark,
        };
        match step {
            Step::Deadline | Step::Events(Err(CacheError::Closed)) => self.ended = true,
            Step::Events(Ok(events)) => {
                for event in events {
                    let line = match self.view {
                        View::Shared => event.json_line(),
                        _ => self.encode(event.kind, event.object())?,
                    };
                    self.lines.push_back(line);
                }
            }
            Step::Events(Err(error)) => {
                self.lines.push_back(error_line(&error));
                self.ended = true;
            }
            Step::Bookmark => {
                if let Some(timer) = &mut self.bookmarks {
                    timer.as_mut().reset(Instant::now() + BOOKMARK_INTERVAL);
                }
                if let Some(revision) = self.watching.progress().filter(|r| *r > self.shown) {
                    self.shown = revision;
                    let line = self.bookmark(revision, false);
                    self.lines.push_back(line);
                }
            }
        }
        Ok(())
    }

    fn encode(&mut self, kind: EventKind, entry: &Entry) -> Result<Bytes, Error> {
        let json = self.target.served(entry)?;
        let object: Value = match &mut self.view {
            View::Shared | View::Converted => {
                let mut line = Vec::with_capacity(json.len() + 40);
                line.extend_from_slice(b"{\"type\":\"");
                line.extend_from_slice(kind.as_str().as_bytes());
                line.extend_from_slice(b"\",\"object\":");
                line.extend_from_slice(&json);
                line.extend_from_slice(b"}\n");
                return Ok(line.into());
            }
            View::Metadata => table::metadata_only(&table::parse(&json)?),
            View::Table { form, columns_shown } => {
                let object = table::parse(&json)?;
                let columns = !std::mem::replace(columns_shown, true);
                form.table(&self.target, std::slice::from_ref(&object), object.resource_version(), columns)
            }
        };
        Ok(line(kind.as_str(), &object))
    }

    fn bookmark(&mut self, revision: Revision, ends_initial: bool) -> Bytes {
        let row = &self.target.row;
        let mut metadata = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
        if ends_initial {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let mut object = Object::default();
        object.set_type(&row.gvk());
        object.0.insert("metadata".into(), metadata);
        let shown = match &mut self.view {
            View::Shared | View::Converted => object.into_value(),
            View::Metadata => table::metadata_only(&object),
            View::Table { form, columns_shown } => {
                let columns = !std::mem::replace(columns_shown, true);
                let mut table = form.table(&self.target, &[], &revision.to_string(), columns);
                if ends_initial {
                    table["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
                }
                table
            }
        };
        line("BOOKMARK", &shown)
    }
}

fn error_line(error: &CacheError) -> Bytes {
    line("ERROR", &cache_error(error).to_status())
}

fn line(kind: &str, object: &Value) -> Bytes {
    let mut line = json!({"type": kind, "object": object}).to_string();
    line.push('\n');
    line.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_follows_from_the_parameters() {
        let at = |query: &str| start(&Query::parse(query));
        assert_eq!(at("").unwrap(), Start::Present { marked: false });
        assert_eq!(at("resourceVersion=0").unwrap(), Start::Present { marked: false });
        assert_eq!(at("resourceVersion=7").unwrap(), Start::After(7));
        assert_eq!(
            at("sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true").unwrap(),
            Start::Present { marked: true }
        );
        assert_eq!(at("sendInitialEvents=false&resourceVersionMatch=NotOlderThan").unwrap(), Start::Now);
        assert_eq!(at("sendInitialEvents=true").unwrap_err().code(), 422);
        assert_eq!(at("resourceVersionMatch=NotOlderThan").unwrap_err().code(), 422);
        assert_eq!(at("resourceVersion=x").unwrap_err().code(), 400);
    }
}
