//! Kinds that are only a question: access reviews, token reviews, "who am I". Such an object is created,
//! returned with the answer in its `status`, and never stored.

mod access;
mod rules;
mod token;

use std::sync::Arc;

use api::{Error, Object};
use http::StatusCode;
use resources::{Question, Resource};
use serde_json::{Value, json};

use crate::body;
use crate::context::Context;
use crate::handlers::decode;
use crate::handlers::exchange::companion;
use crate::handlers::metadata::seconds;
use crate::handlers::options::WriteOptions;
use crate::request::call::Call;
use crate::respond::negotiate::Answer;
use crate::respond::{self, Outcome};

/// Answers the creation of a review.
pub(super) async fn answer(
    context: Arc<Context>,
    row: Arc<Resource>,
    question: Question,
    mut call: Call,
) -> Outcome {
    let negotiated = Answer::without_table(&call.headers)?;
    let options = WriteOptions::parse("CreateOptions", &call.query, &call.headers, false)?;
    let bytes = body::read(call.take_body(), context.limits.body_bytes).await?;
    let mut warnings = Vec::new();
    let mut object = decode::object(&row, &call, &bytes, &options, &mut warnings)?;
    let status = status(&context, question, &call, &object).await?;
    object.0.insert("status".into(), status);
    if object.metadata().is_none() {
        object.0.insert("metadata".into(), json!({}));
    }
    if question == Question::SelfSubject {
        // As upstream, which answers with a new object in the place of the one sent.
        let now = seconds(context.deps.clock.now());
        object.0.insert("metadata".into(), json!({"creationTimestamp": now}));
    }
    let mut response = companion(StatusCode::CREATED, negotiated, object)?;
    respond::add_warnings(&mut response, &warnings);
    Ok(response)
}

async fn status(context: &Context, question: Question, call: &Call, object: &Object) -> Result<Value, Error> {
    match question {
        Question::SelfSubjectAccess => access::review(context, object, Arc::clone(&call.user)).await,
        Question::SubjectAccess => access::review(context, object, access::subject(object)?).await,
        Question::LocalSubjectAccess => {
            let asked = object.str_at(&["spec", "resourceAttributes", "namespace"]).unwrap_or("");
            if asked != call.info.namespace {
                return Err(Error::bad_request(format!(
                    "spec.resourceAttributes.namespace must match namespace: {}",
                    call.info.namespace
                )));
            }
            access::review(context, object, access::subject(object)?).await
        }
        Question::SelfSubjectRules => rules::review(context, object, &call.user),
        Question::Token => token::review(context, object).await,
        Question::SelfSubject => Ok(json!({"userInfo": call.user.info()})),
        Question::Binding => Err(Error::not_implemented("Binding")),
    }
}
