//! WATCH: a stream of events. An event of a whole object is the cache's own bytes between a head and a tail.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use api::codec::protobuf::framed;
use api::field::{FieldError, Path};
use api::layout::Laid;
use api::{Error, Object};
use bytes::Bytes;
use client::managed_fields;
use futures::Stream;
use http::{Response, StatusCode};
use serde_json::{Value, json};
use store::Revision;
use tokio::time::{Instant, Sleep};

use super::list::{invalid_options, revision};
use super::select::{self, Selection, Served};
use super::storage::{Target, cache_error};
use super::table::{self, Form};
use crate::body::{Body, BoxError};
use crate::cache::{CacheError, CacheWatch, Entry, EventKind, WatchEvent};
use crate::request::call::Call;
use crate::request::query::Query;
use crate::respond::negotiate::{Answer, Format, Shape};
use crate::respond::{self, Outcome};

/// How often a quiet watch is told how far it has come.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);

/// Where a watch begins.
#[derive(Debug, PartialEq, Eq)]
enum Start {
    /// With everything that is there, then what follows. `marked`: the end of the first is marked. `not_older`: the
    /// oldest revision that the first may be of.
    Present { marked: bool, not_older: Revision },
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
            None | Some(0) => Start::Present { marked: false, not_older: 0 },
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
        (true, revision) => Start::Present {
            marked: query.flag("allowWatchBookmarks"),
            not_older: revision.unwrap_or_default(),
        },
        (false, None | Some(0)) => Start::Now,
        (false, Some(after)) => Start::After(after),
    })
}

/// Handles WATCH.
pub(crate) async fn watch(target: Target, call: &Call) -> Outcome {
    let start = start(&call.query)?;
    let answer = match start {
        Start::Present { marked: true, .. } => {
            Answer::of_list_in_events(&call.headers, target.row.in_protobuf())?
        }
        _ => Answer::of_events(&call.headers, target.row.in_protobuf())?,
    };
    let format = answer.format;
    let Selection { scope, served } = select::selection(&target, call)?;
    let view = match answer.shape {
        Shape::Whole if managed_fields::are_unwanted(&call.headers) => View::Lean,
        Shape::Whole => View::Whole,
        Shape::Metadata(partial) => View::Metadata(partial.version),
        Shape::Table(version) => {
            View::Table { form: Form::parse(version, &call.query)?, columns_shown: false }
        }
    };
    let mut first = VecDeque::new();
    let watching = match start {
        Start::After(revision) => target.cache.watch(revision, scope).await,
        Start::Now => Ok(target.cache.snapshot_and_watch(scope).1),
        Start::Present { marked, not_older } => {
            let waited = target.context.deps.cache.not_older(not_older).await;
            waited.map(|()| {
                let (snapshot, watching) = target.cache.snapshot_and_watch(scope);
                first.extend(snapshot.entries.into_iter().map(First::Object));
                if marked {
                    first.push_back(First::End(snapshot.revision));
                }
                watching
            })
        }
    };
    let watching = match watching {
        Ok(watching) => watching,
        // A watch that cannot begin says so in the stream, as upstream's does.
        Err(error) => {
            let mut pieces = VecDeque::new();
            add_value(&mut pieces, format, &ERROR, &cache_error(&error).to_status())?;
            return Ok(stream_response(format, Body::Pieces(pieces)));
        }
    };
    let limit = timeout(&target, &call.query)?;
    let watcher = Watcher {
        bookmarks: call
            .query
            .flag("allowWatchBookmarks")
            .then(|| Box::pin(tokio::time::sleep(BOOKMARK_INTERVAL))),
        deadline: Box::pin(tokio::time::sleep(limit)),
        shown: 0,
        pieces: VecDeque::new(),
        target,
        watching,
        served,
        view,
        format,
        first,
        ended: false,
    };
    Ok(stream_response(format, Body::events(watcher.into_stream())))
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

fn stream_response(format: Format, body: Body) -> Response<Body> {
    match format {
        Format::Protobuf => {
            respond::with_type(StatusCode::OK, "application/vnd.kubernetes.protobuf;stream=watch", body)
        }
        Format::Json | Format::Yaml => respond::json_bytes(StatusCode::OK, body),
    }
}

/// What is shown before the events.
enum First {
    Object(Arc<Entry>),
    /// The mark that ends the initial events.
    End(Revision),
}

/// What the events show.
enum View {
    /// Whole objects.
    Whole,
    /// Objects without managed fields: in the bytes that all watchers share, where their version is the stored one.
    Lean,
    /// Metadata alone, as this version of its form.
    Metadata(&'static str),
    Table {
        form: Form,
        columns_shown: bool,
    },
}

struct Watcher {
    target: Target,
    watching: CacheWatch,
    /// What is selected by the form in which objects are shown.
    served: Option<Served>,
    view: View,
    format: Format,
    first: VecDeque<First>,
    /// Events that are not sent yet, each as head, object and tail, or in protobuf as one piece.
    pieces: VecDeque<Bytes>,
    bookmarks: Option<std::pin::Pin<Box<Sleep>>>,
    deadline: std::pin::Pin<Box<Sleep>>,
    /// The revision of the last bookmark.
    shown: Revision,
    ended: bool,
}

enum Step {
    Events(Result<Vec<WatchEvent>, CacheError>),
    Bookmark,
    Deadline,
}

impl Watcher {
    fn into_stream(self) -> impl Stream<Item = Result<Bytes, BoxError>> + Send + 'static {
        // In a box, as it is moved for each piece.
        futures::stream::unfold(Box::new(self), |mut watcher| async move {
            loop {
                if let Some(piece) = watcher.pieces.pop_front() {
                    return Some((Ok(piece), watcher));
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
        // A few at a time: the events of a large collection are never all in memory.
        for _ in 0..64 {
            match self.first.pop_front() {
                Some(First::Object(entry)) => self.add_first(entry).await?,
                Some(First::End(revision)) => self.add_bookmark(revision, true)?,
                None => break,
            }
        }
        if !self.pieces.is_empty() {
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
                    self.add_event(&event).await?;
                }
            }
            Step::Events(Err(error)) => {
                self.add_value(&ERROR, &cache_error(&error).to_status())?;
                self.ended = true;
            }
            Step::Bookmark => {
                if let Some(timer) = &mut self.bookmarks {
                    timer.as_mut().reset(Instant::now() + BOOKMARK_INTERVAL);
                }
                if let Some(revision) = self.watching.progress().filter(|r| *r > self.shown) {
                    self.shown = revision;
                    self.add_bookmark(revision, false)?;
                }
            }
        }
        Ok(())
    }

    async fn add_first(&mut self, entry: Arc<Entry>) -> Result<(), Error> {
        let Some(served) = &self.served else { return self.add(EventKind::Added, &entry).await };
        if let [true] = served.select(&self.target, std::slice::from_ref(&entry)).await?[..] {
            self.add(EventKind::Added, &entry).await?;
        }
        Ok(())
    }

    /// Adds an event as it looks to who selects by what is shown: an object that begins to be selected is added.
    async fn add_event(&mut self, seen: &WatchEvent) -> Result<(), Error> {
        let Some(served) = &self.served else { return self.add(seen.kind, seen.object()).await };
        let (before, now) = match (seen.kind, &seen.event.previous) {
            (EventKind::Modified, Some(previous)) => {
                let both = [Arc::clone(previous), Arc::clone(&seen.event.entry)];
                let selected = served.select(&self.target, &both).await?;
                (selected[0], selected[1])
            }
            (kind, _) => {
                let one = std::slice::from_ref(seen.object());
                let selected = served.select(&self.target, one).await? == [true];
                (selected && kind == EventKind::Deleted, selected && kind != EventKind::Deleted)
            }
        };
        let kind = match (before, now) {
            (false, false) => return Ok(()),
            (false, true) => EventKind::Added,
            (true, true) => EventKind::Modified,
            (true, false) => EventKind::Deleted,
        };
        self.add(kind, seen.event.object(kind)).await
    }

    async fn add(&mut self, kind: EventKind, entry: &Entry) -> Result<(), Error> {
        let json = match self.view {
            View::Lean => self.target.served_lean(entry).await?,
            _ => self.target.served(entry).await?,
        };
        let event = event_type(kind);
        let shown = match &mut self.view {
            View::Whole | View::Lean if self.format != Format::Protobuf => {
                add_event(&mut self.pieces, event, json);
                return Ok(());
            }
            View::Whole | View::Lean => serde_json::from_slice(&json).map_err(Error::internal)?,
            View::Metadata(version) => table::metadata_only(&table::parse(&json)?, version),
            View::Table { form, columns_shown } => {
                let object = table::parse(&json)?;
                let columns = !std::mem::replace(columns_shown, true);
                let rows = std::slice::from_ref(&object);
                form.table(&self.target, rows, object.resource_version(), columns)
            }
        };
        self.add_value(event, &shown)
    }

    fn add_value(&mut self, event: &EventType, object: &Value) -> Result<(), Error> {
        add_value(&mut self.pieces, self.format, event, object)
    }

    fn add_bookmark(&mut self, revision: Revision, ends_initial: bool) -> Result<(), Error> {
        let row = &self.target.row;
        let mut metadata = json!({"resourceVersion": revision.to_string()});
        if ends_initial {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let mut object = Object::default();
        object.set_type(&row.gvk());
        object.0.insert("metadata".into(), metadata);
        let shown = match &mut self.view {
            View::Whole | View::Lean => object.into_value(),
            View::Metadata(version) => table::metadata_only(&object, version),
            View::Table { form, columns_shown } => {
                let columns = !std::mem::replace(columns_shown, true);
                let mut table = form.table(&self.target, &[], &revision.to_string(), columns);
                if ends_initial {
                    table["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
                }
                table
            }
        };
        self.add_value(&BOOKMARK, &shown)
    }
}

/// The type of an event, and the line of JSON that begins one.
struct EventType {
    name: &'static str,
    head: &'static str,
}

const ADDED: EventType = EventType { name: "ADDED", head: r#"{"type":"ADDED","object":"# };
const MODIFIED: EventType = EventType { name: "MODIFIED", head: r#"{"type":"MODIFIED","object":"# };
const DELETED: EventType = EventType { name: "DELETED", head: r#"{"type":"DELETED","object":"# };
const BOOKMARK: EventType = EventType { name: "BOOKMARK", head: r#"{"type":"BOOKMARK","object":"# };
const ERROR: EventType = EventType { name: "ERROR", head: r#"{"type":"ERROR","object":"# };
const TAIL: &str = "}\n";

const fn event_type(kind: EventKind) -> &'static EventType {
    match kind {
        EventKind::Added => &ADDED,
        EventKind::Modified => &MODIFIED,
        EventKind::Deleted => &DELETED,
    }
}

/// Adds a line of the stream in the pieces that [`Body`] promises.
fn add_event(pieces: &mut VecDeque<Bytes>, event: &EventType, object: Bytes) {
    pieces.push_back(Bytes::from_static(event.head.as_bytes()));
    pieces.push_back(object);
    pieces.push_back(Bytes::from_static(TAIL.as_bytes()));
}

/// Adds an event in the format of the stream.
fn add_value(
    pieces: &mut VecDeque<Bytes>,
    format: Format,
    event: &EventType,
    object: &Value,
) -> Result<(), Error> {
    if format == Format::Protobuf {
        pieces.push_back(framed(event.name, &respond::protobuf(object)?).into());
    } else {
        add_event(pieces, event, encode(object)?);
    }
    Ok(())
}

fn encode(object: &Value) -> Result<Bytes, Error> {
    serde_json::to_vec(&Laid(object)).map(Into::into).map_err(Error::internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_follows_from_the_parameters() {
        let at = |query: &str| start(&Query::parse(query));
        let present = |marked, not_older| Start::Present { marked, not_older };
        assert_eq!(at("").unwrap(), present(false, 0));
        assert_eq!(at("resourceVersion=0").unwrap(), present(false, 0));
        assert_eq!(at("resourceVersion=7").unwrap(), Start::After(7));
        assert_eq!(
            at("sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true").unwrap(),
            present(true, 0)
        );
        let listed = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan";
        assert_eq!(at(&format!("{listed}&resourceVersion=7")).unwrap(), present(false, 7));
        assert_eq!(at("sendInitialEvents=false&resourceVersionMatch=NotOlderThan").unwrap(), Start::Now);
        assert_eq!(at("sendInitialEvents=true").unwrap_err().code(), 422);
        assert_eq!(at("resourceVersionMatch=NotOlderThan").unwrap_err().code(), 422);
        assert_eq!(at("resourceVersion=x").unwrap_err().code(), 400);
    }
}
