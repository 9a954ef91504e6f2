//! Feeds [`Objects`] from the API: one watch that begins with all present objects and continues with
//! the changes. The reflector starts over only when the history it needs is gone.
//!
//! Start with [`follow`]; [`events`] takes a watch's body apart. Of servers that do not begin a watch so, the present
//! objects are listed first ([`list`]).

mod events;
mod list;

use std::time::Duration;

use base::Shutdown;
use base::backoff::Policy;
use bytes::Bytes;
use client::managed_fields::UNWANTED;
use http_body_util::BodyExt;
use kube::Client;
use kube::api::WatchParams;
use kube::core::Request;
use serde::Deserialize;

use crate::cache::{Item, Objects};
use crate::scope::Scope;
use events::{Event, EventKind, Events};

/// How long one watch request lasts, in seconds; the next request continues where the last one ended.
const WATCH_TIMEOUT_S: u32 = 290;
const RETRY: Policy = Policy::new(Duration::from_millis(50), Duration::from_secs(30));
/// Failures in a row after which a watch is reported.
const LASTING: u32 = 8;
/// How many bytes of an error's body are read.
const ERROR_LIMIT: usize = 64 * 1024;

/// How the objects that are there come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beginning {
    /// At the beginning of the watch.
    Watched,
    /// By a list before the watch; of all objects, whatever the scope, and their metadata alone where the server can
    /// leave the rest out.
    Listed,
}

/// Follows the objects of a collection, by its URL path, until `shutdown`.
pub(crate) async fn follow(
    client: Client,
    (path, scope): (String, Scope),
    beginning: Beginning,
    objects: Objects,
    shutdown: Shutdown,
) {
    let mut reflector = Reflector { client, path, scope, beginning, objects, version: None, failures: 0 };
    tokio::select! {
        () = reflector.run() => {}
        () = shutdown.started() => {}
    }
}

struct Reflector {
    client: Client,
    path: String,
    scope: Scope,
    beginning: Beginning,
    objects: Objects,
    /// The resource version from which the watch continues; `None` when all objects are needed.
    version: Option<String>,
    failures: u32,
}

/// How a watch request ended.
enum End {
    /// By its timeout: the next request starts at once.
    Timeout,
    Expired,
    Failed(String),
}

/// The fields of a bookmark or an error that are read.
#[derive(Deserialize)]
struct Bookmark {
    metadata: BookmarkMeta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BookmarkMeta {
    resource_version: String,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Status {
    message: String,
    code: u16,
}

/// The annotation of the bookmark after which everything that was there has been sent.
const INITIAL_END: &str = "k8s.io/initial-events-end";

impl Reflector {
    async fn run(&mut self) {
        loop {
            let why = match self.watch().await {
                End::Timeout => continue,
                End::Expired => {
                    self.version = None;
                    // Without history left at all, at most as often as after failures.
                    "the history is gone".to_owned()
                }
                End::Failed(why) => why,
            };
            self.failures += 1;
            match self.failures {
                // A server that restarts, or a role that is not there yet, is no news.
                failures if failures >= LASTING && failures.is_power_of_two() => {
                    tracing::warn!(path = self.path, %why, failures, "a watch does not come about");
                }
                failures => tracing::debug!(path = self.path, %why, failures, "watch interrupted"),
            }
            tokio::time::sleep(RETRY.delay(self.failures)).await;
        }
    }

    fn request(&self) -> Result<http::Request<Vec<u8>>, String> {
        let params = WatchParams {
            label_selector: self.scope.label_selector.clone(),
            field_selector: self.scope.field_selector.clone(),
            timeout: Some(WATCH_TIMEOUT_S),
            bookmarks: true,
            send_initial_events: self.version.is_none(),
        };
        let version = self.version.as_deref().unwrap_or("");
        let request = Request::new(self.path.clone()).watch(&params, version);
        let mut request = request.map_err(|error| error.to_string())?;
        let (name, value) = UNWANTED;
        request.headers_mut().insert(name, value);
        if self.beginning == Beginning::Listed {
            let metadata = http::HeaderValue::from_static(list::METADATA_EVENTS);
            request.headers_mut().insert(http::header::ACCEPT, metadata);
        }
        Ok(request)
    }

    async fn watch(&mut self) -> End {
        if self.beginning == Beginning::Listed && self.version.is_none() {
            match list::objects(&self.client, &self.path).await {
                Ok((items, version)) => {
                    self.objects.replace(items);
                    self.version = Some(version);
                }
                Err(why) => return End::Failed(why),
            }
        }
        let request = match self.request() {
            Ok(request) => request.map(kube::client::Body::from),
            Err(why) => return End::Failed(why),
        };
        let response = match self.client.send(request).await {
            Ok(response) => response,
            Err(error) => return End::Failed(error.to_string()),
        };
        let status = response.status();
        let mut body = response.into_body();
        if !status.is_success() {
            return refused(status.as_u16(), body).await;
        }
        // Until the mark that ends them, the objects that were there when the watch began.
        let mut initial = self.version.is_none().then(Vec::new);
        let mut events = Events::default();
        while let Some(frame) = body.frame().await {
            let frame = match frame {
                Ok(frame) => frame,
                Err(error) => return End::Failed(error.to_string()),
            };
            let Ok(bytes) = frame.into_data() else { continue };
            let taken = match events.take(bytes) {
                Ok(taken) => taken,
                Err(why) => return End::Failed(why),
            };
            for event in taken {
                if let Some(end) = self.learn(event, &mut initial) {
                    return end;
                }
            }
        }
        if initial.is_some() {
            End::Failed("the watch ended before the first objects were complete".into())
        } else {
            End::Timeout
        }
    }

    fn learn(&mut self, event: Event, initial: &mut Option<Vec<Item>>) -> Option<End> {
        match event.kind {
            EventKind::Bookmark => return self.bookmark(&event.object, initial),
            EventKind::Error => return Some(error(&event.object)),
            EventKind::Added | EventKind::Modified | EventKind::Deleted => {}
        }
        let item = match Item::read(event.object) {
            Ok(item) => item,
            Err(error) => {
                tracing::error!(path = self.path, %error, "an object is odd and is left out");
                return None;
            }
        };
        match (initial, event.kind) {
            (Some(initial), _) => initial.push(item),
            (None, kind) => {
                self.failures = 0;
                self.version = Some(item.meta().version.to_string());
                if kind == EventKind::Deleted {
                    self.objects.deleted(&item);
                } else {
                    self.objects.apply(item);
                }
            }
        }
        None
    }

    fn bookmark(&mut self, object: &[u8], initial: &mut Option<Vec<Item>>) -> Option<End> {
        let mark: Bookmark = match serde_json::from_slice(object) {
            Ok(mark) => mark,
            Err(error) => return Some(End::Failed(format!("a bookmark cannot be read: {error}"))),
        };
        if initial.is_some() {
            if mark.metadata.annotations.get(INITIAL_END).is_none_or(|value| value != "true") {
                return None;
            }
            // Only now: what failed half-way is begun anew, not gone on from.
            self.objects.replace(initial.take().unwrap_or_default());
        }
        self.failures = 0;
        self.version = Some(mark.metadata.resource_version);
        None
    }
}

async fn refused(status: u16, body: kube::client::Body) -> End {
    let text = match http_body_util::Limited::new(body, ERROR_LIMIT).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return End::Failed(format!("status {status}: {error}")),
    };
    let mut told: Status = serde_json::from_slice(&text).unwrap_or_default();
    told.code = status;
    ended(told)
}

fn error(object: &Bytes) -> End {
    ended(serde_json::from_slice(object).unwrap_or_default())
}

fn ended(status: Status) -> End {
    if status.code == 410 {
        End::Expired
    } else {
        End::Failed(format!("{} ({})", status.message, status.code))
    }
}

#[cfg(test)]
mod tests;
