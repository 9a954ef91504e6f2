//! The past: `at=TIME` shows what is read as it was then, `history=N` the last versions of one object. Both are
//! parameters of knarr's own; who may read an object may read its past.
//!
//! Answers to `at` carry the header `Knarr-At`, so that a client can tell a server that heeds the parameter from one that
//! passes over it.

use std::sync::Arc;

use api::{Error, Object};
use http::{HeaderValue, Response, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use store::{KeyValue, Moment, Revision, Version};

use super::storage::{Target, read_error};
use crate::body::Body;
use crate::cache::{CacheError, Entry};
use crate::request::query::Query;
use crate::respond::{self, Outcome};

const AT: &str = "at";
const HISTORY: &str = "history";
const HEADER: &str = "knarr-at";
/// Versions of one answer, and the bytes after which no more are added.
const MOST_VERSIONS: usize = 1000;
const MOST_BYTES: usize = 8 << 20;

/// A past state of everything.
pub(crate) struct Then {
    pub revision: Revision,
    pub time: Timestamp,
}

/// The state that the request asks for; `None` for the present.
///
/// # Errors
/// 400 for what is no time or lies ahead, also where the store keeps no times; 410 for a time that is forgotten.
pub(super) async fn asked(target: &Target, query: &Query) -> Result<Option<Then>, Error> {
    let Some(text) = query.non_empty(AT) else { return Ok(None) };
    if query.non_empty("resourceVersion").is_some_and(|version| version != "0") {
        return Err(Error::bad_request("at and resourceVersion cannot be given together"));
    }
    let now = target.context.deps.clock.now();
    let time = time(text, now)?;
    let time_ms = u64::try_from(time.as_millisecond()).map_err(|_| Error::bad_request("at: before 1970"))?;
    match target.context.deps.store.moment(time_ms).await {
        Ok(Moment { revision, .. }) => Ok(Some(Then { revision, time })),
        Err(store::Error::Compacted { .. }) => Err(forgotten(target, time).await),
        Err(error) => Err(failed(target, error)),
    }
}

/// `10m` for ten minutes ago, or a time in RFC 3339.
fn time(text: &str, now: Timestamp) -> Result<Timestamp, Error> {
    let time = match api::duration::parse(text) {
        Ok(nanoseconds) => now.checked_sub(SignedDuration::from_nanos(nanoseconds)).ok(),
        Err(_) => text.parse::<Timestamp>().ok(),
    };
    match time {
        Some(time) if time <= now => Ok(time),
        Some(_) => Err(Error::bad_request(format!("at: {text:?} lies ahead"))),
        None => Err(Error::bad_request(format!(
            "at: {text:?} is neither a duration (10m, 1h30m) nor a time (2006-01-02T15:04:05Z)"
        ))),
    }
}

async fn forgotten(target: &Target, time: Timestamp) -> Error {
    let kept = match target.context.deps.store.oldest().await {
        Ok(oldest) => i64::try_from(oldest.time_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()),
        Err(_) => None,
    };
    let kept = kept.map_or_else(String::new, |kept| format!("; the past is kept from {kept:.0} on"));
    Error::expired(format!("what was at {time:.0} is forgotten{kept}"))
}

fn failed(target: &Target, error: store::Error) -> Error {
    match error {
        store::Error::NoPast => Error::bad_request(
            "the past cannot be read: this cluster's store does not keep its changes by time",
        ),
        other => read_error(&CacheError::from(other), &target.group_resource(), "get"),
    }
}

/// The object as it was then.
pub(super) async fn entry(
    target: &Target,
    namespace: &str,
    name: &str,
    then: &Then,
) -> Result<Option<Arc<Entry>>, Error> {
    let entry = target.cache.get_at(namespace, name, then.revision).await;
    entry.map_err(|error| read_error(&error, &target.group_resource(), "get"))
}

/// Marks an answer as one about the past.
pub(super) fn told(mut response: Response<Body>, then: Option<&Then>) -> Response<Body> {
    if let Some(then) = then
        && let Ok(value) = HeaderValue::from_str(&format!("{:.3}", then.time))
    {
        response.headers_mut().insert(HEADER, value);
    }
    response
}

/// Refuses to watch or to change the past.
///
/// # Errors
/// 400, where a parameter of reads is given.
pub(crate) fn refuse(query: &Query) -> Result<(), Error> {
    match [AT, HISTORY].iter().find(|parameter| query.non_empty(parameter).is_some()) {
        Some(parameter) => {
            Err(Error::bad_request(format!("{parameter} can be asked for with get and list alone")))
        }
        None => Ok(()),
    }
}

/// How many versions are asked for; `None` where the object itself is.
pub(super) fn history_asked(query: &Query) -> Result<Option<usize>, Error> {
    let asked = query.integer(HISTORY)?;
    let limit =
        asked.map(|limit| usize::try_from(limit).ok().filter(|limit| (1..=MOST_VERSIONS).contains(limit)));
    match limit {
        Some(None) => Err(Error::bad_request(format!("history: must be between 1 and {MOST_VERSIONS}"))),
        Some(limit) => Ok(limit),
        None => Ok(None),
    }
}

/// The last versions of an object, be the object there or not, the newest first.
pub(super) async fn history(target: &Target, namespace: &str, name: &str, limit: usize) -> Outcome {
    let key = target.row.key(namespace, name);
    let past = target.context.deps.store.versions(&key, limit).await;
    let past = past.map_err(|error| failed(target, error))?;
    if past.versions.is_empty() {
        return Err(target.not_found(name));
    }
    let (mut versions, mut bytes, mut more) = (Vec::new(), 0, past.more);
    for version in past.versions {
        bytes += version.value.as_ref().map_or(0, bytes::Bytes::len);
        if bytes > MOST_BYTES && !versions.is_empty() {
            more = true;
            break;
        }
        versions.push(shown(target, &key, version).await?);
    }
    let answer = json!({
        "kind": "History", "apiVersion": "knarr.io/v1", "metadata": {}, "versions": versions, "more": more,
    });
    let text = serde_json::to_vec(&answer).map_err(Error::internal)?;
    Ok(respond::json_bytes(StatusCode::OK, Body::Full(text.into())))
}

async fn shown(target: &Target, key: &str, version: Version) -> Result<Value, Error> {
    let time = i64::try_from(version.time_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let time = time.map(|time| format!("{time:.3}"));
    let revision = version.revision;
    let Some(value) = version.value else {
        return Ok(json!({"resourceVersion": revision.to_string(), "time": time, "deleted": true}));
    };
    let item = KeyValue { key: key.into(), value, create_revision: revision, mod_revision: revision };
    let entry =
        target.cache.entry_of(item).ok_or_else(|| Error::internal("a stored version is no object"))?;
    let object: Object = serde_json::from_slice(&target.served(&entry).await?).map_err(Error::internal)?;
    Ok(json!({"resourceVersion": revision.to_string(), "time": time, "object": object.into_value()}))
}
