//! DELETE of one object and of a collection.

use std::sync::Arc;

use api::{Error, Object};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use http::StatusCode;
use serde_json::json;
use store::Expect;

use super::decode;
use super::deletion::{self, Deletion};
use super::list;
use super::options::DeleteOptions;
use super::storage::{CommitError, Stored, Target, to_json};
use crate::admission::{self, Operation, Reservations, Review, Rounds, Stage};
use crate::body;
use crate::context::Context;
use crate::request::Attributes;
use crate::request::call::Call;
use crate::respond::negotiate::Answer;
use crate::respond::{self, Outcome};

const ATTEMPTS: usize = 10;
/// How many objects of a collection are deleted at once, so that they share the store's commits.
const AT_ONCE: usize = 32;

/// What became of the object.
pub(crate) enum Deleted {
    /// It is gone; its last state.
    Gone(Object),
    /// It is marked; its JSON now.
    Marked(Bytes),
}

async fn options(context: &Context, call: &mut Call) -> Result<DeleteOptions, Error> {
    let body = call.take_body();
    let bytes = body::read(body, context.limits.body_bytes).await?;
    let body = decode::delete_options(call, &bytes)?;
    DeleteOptions::parse(&call.query, body.as_ref())
}

/// Handles DELETE of an object.
pub(crate) async fn one(target: Target, mut call: Call) -> Outcome {
    let answer = Answer::negotiate(&call.headers, target.row.in_protobuf())?;
    let options = options(&target.context, &mut call).await?;
    let attributes = call.attributes();
    let current = target.read_existing(&namespace_of(&target, &call), &call.info.name).await?;
    match delete(&target, &attributes, Asked::NotYet, &options, current).await? {
        Deleted::Marked(json) => {
            let status = if options.cascade_asked { StatusCode::ACCEPTED } else { StatusCode::OK };
            respond::object(status, answer, json)
        }
        Deleted::Gone(object) if target.row.rules.returns_deleted => {
            respond::object(StatusCode::OK, answer, to_json(&target.row.schema, &object)?)
        }
        Deleted::Gone(object) => respond::value(StatusCode::OK, answer, &success(&target, &object)),
    }
}

/// The namespace objects of this request are stored under.
pub(crate) fn namespace_of(target: &Target, call: &Call) -> String {
    if target.row.namespaced() { call.info.namespace.clone() } else { String::new() }
}

/// The `Status` of a deletion that is done.
fn success(target: &Target, object: &Object) -> serde_json::Value {
    let mut details = json!({"name": object.name(), "kind": target.row.plural, "uid": object.uid()});
    if !target.row.group.is_empty() {
        details["group"] = target.row.group.as_ref().into();
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}

/// Whether admission has been asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    NotYet,
    /// About another operation, which ends in this deletion (an eviction).
    Already,
}

/// Deletes or marks an object, as often as others are faster.
pub(crate) async fn delete(
    target: &Target,
    attributes: &Attributes,
    asked: Asked,
    options: &DeleteOptions,
    mut current: Stored,
) -> Result<Deleted, Error> {
    let deps = &target.context.deps;
    let mut held = Reservations::default();
    for _ in 0..ATTEMPTS {
        let object = &current.object;
        if let Some(why) = target.row.logic.undeletable(object) {
            return Err(Error::forbidden(&target.group_resource(), object.name(), why));
        }
        deletion::check_preconditions(&target.row, object, options)?;
        let review = Review {
            attributes,
            resource: &target.row,
            operation: Operation::Delete,
            old: Some(object),
            dry_run: options.dry_run,
            options: Some(options),
            rounds: Rounds::default(),
        };
        if asked == Asked::NotYet {
            let panel = target.context.panel();
            admission::admit(&panel, &review, None).await?;
            admission::validate(&panel, &review, None).await?;
        }
        let deletion = deletion::plan(&target.row, object, options, deps.clock.now());
        if deletion != Deletion::Pending {
            held.reserve(&deps.reservers, Stage::Allocation, &review, None).await?;
        }
        let committed = match deletion {
            Deletion::Pending => return to_json(&target.row.schema, object).map(Deleted::Marked),
            Deletion::Mark(next) if options.dry_run => {
                return to_json(&target.row.schema, &next).map(Deleted::Marked);
            }
            Deletion::Mark(mut next) => {
                let committed = target.commit(&mut next, Expect::Revision(current.revision), &mut held).await;
                committed.map(Deleted::Marked)
            }
            Deletion::Remove if options.dry_run => return Ok(Deleted::Gone(current.object)),
            Deletion::Remove => {
                let removed = target.remove(&current, &mut held).await;
                removed.map(|revision| {
                    let mut gone = object.clone();
                    gone.set_meta_str("resourceVersion", revision.to_string());
                    Deleted::Gone(gone)
                })
            }
        };
        match committed {
            Ok(deleted) => return Ok(deleted),
            Err(CommitError::Failed(error)) => return Err(error),
            Err(CommitError::Conflict(None)) => return Err(target.not_found(object.name())),
            Err(CommitError::Conflict(Some(value))) => current = target.read_value(value).await?,
        }
    }
    Err(Error::modified(&target.group_resource(), current.object.name()))
}

/// Handles DELETE of a collection: all objects that a list with the same parameters shows.
pub(crate) async fn collection(target: Target, mut call: Call) -> Outcome {
    let answer = Answer {
        shape: crate::respond::negotiate::Shape::Whole,
        ..Answer::negotiate(&call.headers, target.row.in_protobuf())?
    };
    let options = options(&target.context, &mut call).await?;
    let attributes = call.attributes();
    let target = Arc::new(target);
    let listed = list::page(&target, &call).await?;
    let deletions =
        futures::stream::iter(&listed.page.entries).map(Ok).try_for_each_concurrent(AT_ONCE, |entry| {
            let (target, attributes, options) = (&target, &attributes, &options);
            async move {
                let Some(current) = target.read(entry.namespace(), entry.name()).await? else {
                    return Ok(());
                };
                match delete(target, attributes, Asked::NotYet, options, current).await {
                    // Somebody else has deleted it: that is what was wanted.
                    Err(error) if !error.is(api::Reason::NotFound) => Err(error),
                    _ => Ok(()),
                }
            }
        });
    deletions.await?;
    let now = target.context.deps.clock.now();
    list::respond(&target, &call, answer, listed, now).await
}
