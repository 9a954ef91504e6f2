//! LIST: a page of a consistent state, made of the cache's bytes.

use std::collections::VecDeque;

use api::codec::protobuf::{END, field_head, prefixed};
use api::field::{FieldError, Path};
use api::layout::Laid;
use api::{Error, GroupKind, Object};
use bytes::Bytes;
use http::StatusCode;
use jiff::Timestamp;
use resources::protobuf::{LIST_ITEM, list_metadata};
use serde_json::{Value, json};
use store::Revision;

use super::gzip;
use super::past::{self, Then};
use super::select::{self, Selection, Served};
use super::storage::{Target, cache_error, read_error};
use super::table;
use crate::body::Body;
use crate::cache::{CacheError, Continue, Page, PageQuery};
use crate::request::call::Call;
use crate::request::query::Query;
use crate::respond::negotiate::{Answer, Format, Shape};
use crate::respond::{self, Outcome};

/// Handles LIST.
pub(crate) async fn list(target: Target, call: &Call) -> Outcome {
    let answer = Answer::negotiate(&call.headers, target.row.in_protobuf())?;
    let then = past::asked(&target, &call.query).await?;
    let listed = page_at(&target, call, then.as_ref()).await?;
    let now = then.as_ref().map_or_else(|| target.context.deps.clock.now(), |then| then.time);
    let response = respond(&target, call, answer, listed, now).await?;
    Ok(past::told(response, then.as_ref()))
}

/// `resourceVersion` as a number; 0 stands for any.
pub(crate) fn revision(query: &Query) -> Result<Option<Revision>, Error> {
    match query.non_empty("resourceVersion") {
        None => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| {
            Error::bad_request(format!(
                "Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
            ))
        }),
    }
}

pub(super) fn invalid_options(errors: &[FieldError]) -> Error {
    Error::invalid(&GroupKind::new("meta.k8s.io", "ListOptions"), "", &errors.to_vec())
}

/// How long pages of one state can be asked for, in seconds; from upstream's range, which forgets old states every 5
/// minutes and then all that are older than 5 minutes.
const TOKEN_LIFETIME_S: i64 = 480;

/// Which state the list shows: `at` for exactly that one, `not_older` to wait for.
struct State {
    at: Option<Revision>,
    not_older: Option<Revision>,
    after: String,
    left: Option<usize>,
    /// When the first page was asked for, in seconds since 1970.
    since_s: i64,
}

fn state(query: &Query, limit: usize, now_s: i64) -> Result<State, Error> {
    let revision = revision(query)?;
    let matching = query.non_empty("resourceVersionMatch");
    let path = Path::root("resourceVersionMatch");
    let token = query.non_empty("continue");
    let fault = match (matching, revision, token) {
        (Some(_), _, Some(_)) => {
            Some(FieldError::forbidden(&path, "resourceVersionMatch is forbidden when continue is provided"))
        }
        (Some(_), None, _) => Some(FieldError::forbidden(
            &path,
            "resourceVersionMatch is forbidden unless resourceVersion is provided",
        )),
        (Some("Exact"), Some(0), _) => Some(FieldError::forbidden(
            &path,
            "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
        )),
        (Some("Exact" | "NotOlderThan") | None, ..) => None,
        (Some(other), ..) => Some(FieldError::not_supported(&path, other, &["Exact", "NotOlderThan", ""])),
    };
    if let Some(fault) = fault {
        return Err(invalid_options(&[fault]));
    }
    if let Some(token) = token {
        if revision.is_some_and(|r| r != 0) {
            return Err(Error::bad_request("specifying resource version is not allowed when using continue"));
        }
        let token = Continue::decode(token).map_err(|e| cache_error(&e))?;
        let Continue { revision, after, left, since_s } = token;
        let since_s = since_s.unwrap_or(now_s);
        if revision.is_some() && now_s.saturating_sub(since_s) > TOKEN_LIFETIME_S {
            return Err(too_old(after));
        }
        // Who goes on with the present sees its pages as one state from here on.
        let since_s = if revision.is_some() { since_s } else { now_s };
        return Ok(State { at: revision, not_older: None, after, left, since_s });
    }
    let wanted = revision.filter(|r| *r > 0);
    let exact = matching == Some("Exact") || (matching.is_none() && limit > 0);
    Ok(State {
        at: wanted.filter(|_| exact),
        not_older: wanted.filter(|_| !exact),
        after: String::new(),
        left: None,
        since_s: now_s,
    })
}

/// The state that the pages are of is gone; the rest can be had as it is now.
fn too_old(after: String) -> Error {
    let next = Continue { revision: None, after, left: None, since_s: None };
    let error = Error::expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.",
    );
    Error { next: Some(next.encode().into()), ..error }
}

/// A page, and how its objects are shown where that is not as they are stored.
pub(crate) struct Listed {
    pub page: Page,
    converted: Option<Vec<Bytes>>,
}

impl Listed {
    /// Of the page, what is selected by the form in which it is shown.
    async fn select(target: &Target, mut page: Page, served: Option<&Served>) -> Result<Self, Error> {
        let converted = target.converted(&page.entries).await?;
        let (Some(served), Some(shown)) = (served, &converted) else { return Ok(Self { page, converted }) };
        let pairs = page.entries.into_iter().zip(shown.iter().cloned());
        let (entries, shown) = pairs.filter(|(_, json)| served.matches(json)).unzip();
        page.entries = entries;
        Ok(Self { page, converted: Some(shown) })
    }

    fn extend(&mut self, more: Self) {
        let Page { revision, entries, next, remaining } = more.page;
        self.page.entries.extend(entries);
        (self.page.revision, self.page.next, self.page.remaining) = (revision, next, remaining);
        if let (Some(all), Some(more)) = (&mut self.converted, more.converted) {
            all.extend(more);
        }
    }

    /// Leaves what is over a limit to the next page.
    fn truncate(&mut self, limit: usize) {
        if self.page.entries.len() <= limit {
            return;
        }
        self.page.entries.truncate(limit);
        if let Some(all) = &mut self.converted {
            all.truncate(limit);
        }
        let after = self.page.entries.last().map(|entry| entry.key.to_string()).unwrap_or_default();
        let revision = Some(self.page.revision);
        self.page.next = Some(Continue { revision, after, left: None, since_s: None });
    }
}

/// How many objects are converted at least where some of them are sought by what is shown.
const SOUGHT_AT_ONCE: usize = 500;

/// The page of a query, gathered in steps where the cache cannot select.
async fn gather(target: &Target, mut query: PageQuery, served: Option<&Served>) -> Result<Listed, Error> {
    let (limit, after) = (query.limit, query.after.clone());
    if served.is_some() && limit > 0 {
        query.limit = limit.max(SOUGHT_AT_ONCE);
    }
    let mut listed: Option<Listed> = None;
    loop {
        let page = target.cache.page(query.clone()).await.map_err(|error| match error {
            CacheError::Expired { .. } if !after.is_empty() => too_old(after.clone()),
            other => read_error(&other, &target.group_resource(), "list"),
        })?;
        let step = Listed::select(target, page, served).await?;
        let all = match &mut listed {
            None => listed.insert(step),
            Some(all) => {
                all.extend(step);
                all
            }
        };
        match &all.page.next {
            Some(next) if served.is_some() && all.page.entries.len() < limit => {
                (query.at, query.after, query.left) = (next.revision, next.after.clone(), next.left);
            }
            _ => break,
        }
    }
    let mut listed = listed.ok_or_else(|| Error::internal("a list has no page"))?;
    if served.is_some() {
        listed.page.remaining = None;
        if limit > 0 {
            listed.truncate(limit);
        }
    }
    Ok(listed)
}

/// The page that the request's parameters ask for, of the present.
pub(crate) async fn page(target: &Target, call: &Call) -> Result<Listed, Error> {
    page_at(target, call, None).await
}

async fn page_at(target: &Target, call: &Call, then: Option<&Then>) -> Result<Listed, Error> {
    let query = &call.query;
    query.integer("timeoutSeconds")?;
    let limit = query.integer("limit")?.and_then(|l| usize::try_from(l).ok()).unwrap_or(0);
    let mut state = state(query, limit, target.context.deps.clock.now().as_second())?;
    if let Some(then) = then
        && query.non_empty("continue").is_none()
    {
        state.at = Some(then.revision);
    }
    let Selection { scope, served } = select::selection(target, call)?;
    if let Some(wanted) = state.not_older {
        target.context.deps.cache.not_older(wanted).await.map_err(|error| cache_error(&error))?;
    } else if state.at.is_none() && query.non_empty("resourceVersion").is_none() {
        match target.context.deps.cache.fresh().await {
            // The cache lags: the store itself is asked, as upstream does.
            Err(CacheError::Future { asked, .. }) => state.at = Some(asked),
            other => other.map_err(|error| read_error(&error, &target.group_resource(), "list"))?,
        }
    }
    // One named object is looked up, not searched for.
    if state.at.is_none()
        && state.after.is_empty()
        && let Some(name) = scope.exact("metadata.name")
        && (scope.namespace.is_some() || !target.row.namespaced())
    {
        let revision = target.cache.applied();
        let found = target.cache.get(scope.namespace.as_deref().unwrap_or_default(), name);
        let entries = found.into_iter().filter(|entry| scope.selects(entry)).collect();
        let page = Page { revision, entries, next: None, remaining: None };
        return Listed::select(target, page, served.as_ref()).await;
    }
    let query = PageQuery { scope, limit, at: state.at, after: state.after, left: state.left };
    let mut listed = gather(target, query, served.as_ref()).await?;
    if let Some(next) = &mut listed.page.next {
        next.since_s = Some(state.since_s);
    }
    Ok(listed)
}

/// Writes a page in the negotiated form; ages are counted to `now`.
pub(crate) async fn respond(
    target: &Target,
    call: &Call,
    answer: Answer,
    listed: Listed,
    now: Timestamp,
) -> Outcome {
    let page = &listed.page;
    let mut metadata = json!({"resourceVersion": page.revision.to_string()});
    if let Some(next) = &page.next {
        metadata["continue"] = next.encode().into();
        if let Some(remaining) = page.remaining {
            metadata["remainingItemCount"] = remaining.into();
        }
    }
    let response = match (answer.shape, answer.format) {
        (Shape::Whole, Format::Json) => {
            respond::json_bytes(StatusCode::OK, Body::Pieces(pieces(target, &metadata, &listed)?))
        }
        (Shape::Whole, Format::Protobuf) => {
            let pieces = messages(target, &metadata, &listed).await?;
            respond::with_type(StatusCode::OK, answer.content_type(), Body::Pieces(pieces))
        }
        (Shape::Table(version), _) => {
            let form = table::Form::parse(version, &call.query)?;
            let (printer, revision) = (&*target.row.printer, page.revision.to_string());
            let mut table = form.table_of(printer, &objects(&listed)?, now, &revision, true);
            table["metadata"] = metadata;
            respond::value(StatusCode::OK, answer, &table)?
        }
        (Shape::Metadata(partial), _) => {
            table::check_list(&target.row, partial)?;
            let objects = objects(&listed)?;
            let items: Vec<Value> =
                objects.iter().map(|object| table::metadata_only(object, partial.version)).collect();
            let version = format!("meta.k8s.io/{}", partial.version);
            let kind = "PartialObjectMetadataList";
            let list = json!({"kind": kind, "apiVersion": version, "metadata": metadata, "items": items});
            respond::value(StatusCode::OK, answer, &list)?
        }
        (Shape::Whole, _) => {
            let objects = objects(&listed)?;
            let items: Vec<Value> = objects.into_iter().map(|object| item(target, object)).collect();
            let (kind, version) = (&target.row.list_kind, target.row.group_version().to_string());
            let list = json!({"kind": kind, "apiVersion": version, "metadata": metadata, "items": items});
            respond::value(StatusCode::OK, answer, &list)?
        }
    };
    Ok(gzip::maybe(&call.headers, response))
}

/// An object as an item of its kind's list, see [`typed_head`].
fn item(target: &Target, object: Object) -> Value {
    let mut value = object.into_value();
    if target.row.schema.custom().is_none()
        && let Some(fields) = value.as_object_mut()
    {
        fields.remove("kind");
        fields.remove("apiVersion");
    }
    value
}

/// How objects of a built-in kind begin. The items of their lists have neither kind nor version, as upstream's; those
/// of custom kinds have both.
fn typed_head(target: &Target) -> Result<Option<Vec<u8>>, Error> {
    if target.row.schema.custom().is_some() {
        return Ok(None);
    }
    let text = |value: &str| serde_json::to_string(value).map_err(Error::internal);
    let (kind, version) = (text(&target.row.kind)?, text(&target.row.group_version().to_string())?);
    Ok(Some(format!("{{\"kind\":{kind},\"apiVersion\":{version},").into_bytes()))
}

/// The list's JSON as pieces: head, the entries' own bytes, each in one or more pieces, with commas between, tail.
fn pieces(target: &Target, metadata: &Value, listed: &Listed) -> Result<VecDeque<Bytes>, Error> {
    let Listed { page, converted } = listed;
    let (kind, version) = (&target.row.list_kind, target.row.group_version());
    let start = json!({"kind": kind, "apiVersion": version.to_string(), "metadata": metadata});
    let mut head = serde_json::to_string(&Laid(&start)).map_err(Error::internal)?;
    head.truncate(head.len() - 1);
    head.push_str(",\"items\":[");
    let typed = typed_head(target)?;
    let mut pieces = VecDeque::with_capacity(page.entries.len() * 3 + 2);
    pieces.push_back(Bytes::from(head));
    for (i, entry) in page.entries.iter().enumerate() {
        if i > 0 {
            pieces.push_back(Bytes::from_static(b","));
        }
        let first = pieces.len();
        match converted {
            Some(all) => pieces.push_back(all[i].clone()),
            None => entry.json.pieces(&mut pieces),
        }
        if let Some(typed) = &typed
            && let Some(piece) = pieces.get_mut(first)
            && piece.starts_with(typed)
        {
            // What follows the head is the object's next field.
            *piece = piece.slice(typed.len()..);
            pieces.insert(first, Bytes::from_static(b"{"));
        }
    }
    pieces.push_back(Bytes::from_static(b"]}\n"));
    Ok(pieces)
}

/// How many objects are written before others get their turn.
const AT_A_TIME: usize = 64;

/// The list in protobuf as pieces: head, each entry's message with its own head, tail. The messages are made for this
/// answer: the cache holds JSON.
async fn messages(target: &Target, metadata: &Value, listed: &Listed) -> Result<VecDeque<Bytes>, Error> {
    let Listed { page, converted } = listed;
    let failed = |why: String| Error::internal(format!("the list cannot be written in protobuf: {why}"));
    let start = list_metadata(Some(metadata)).map_err(failed)?;
    let (mut length, mut pieces) = (start.len(), VecDeque::with_capacity(page.entries.len() * 2 + 3));
    for (i, entry) in page.entries.iter().enumerate() {
        if i % AT_A_TIME == AT_A_TIME - 1 {
            tokio::task::yield_now().await;
        }
        let object = match converted {
            Some(all) => table::parse(&all[i])?,
            None => table::parse(&entry.json.whole())?,
        };
        let message = target.row.schema.message(&object.0).map_err(failed)?;
        let head = field_head(LIST_ITEM, message.len());
        length += head.len() + message.len();
        pieces.push_back(head.into());
        pieces.push_back(message.into());
    }
    let mut head = prefixed(&target.row.group_version().to_string(), &target.row.list_kind, length);
    head.extend_from_slice(&start);
    pieces.push_front(head.into());
    pieces.push_back(Bytes::from_static(END));
    Ok(pieces)
}

fn objects(listed: &Listed) -> Result<Vec<Object>, Error> {
    match &listed.converted {
        Some(converted) => converted.iter().map(|json| table::parse(json)).collect(),
        None => listed.page.entries.iter().map(|entry| table::parse(&entry.json.whole())).collect(),
    }
}
