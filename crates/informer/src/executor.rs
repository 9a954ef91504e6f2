//! Carries out [`Plan`]s: the one place where controllers write to the API.

use api::Object;
use client::{EventType, Recorder};
use futures::stream::{FuturesUnordered, StreamExt};
use http::{Method, Request};
use kube::Client;
use serde_json::{Value, json};

use crate::metrics::Metrics;
use crate::plan::{Action, DeletePolicy, EventWords, Plan, Target, Words};

/// How many writes of one batch may be under way at once.
const BATCH_LIMIT: usize = 32;

/// What became of a plan.
#[derive(Debug)]
pub enum Outcome {
    /// Everything was done.
    Done,
    /// An object changed meanwhile: observe and plan again, soon.
    Conflict,
    /// Something failed: try again after a back-off.
    Failed(Failure),
}

/// Which kind of write failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailedWrite {
    Create,
    Delete,
    Other,
}

/// What went wrong with a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub write: FailedWrite,
    /// The name of the object that was to be written; empty for one that was to be made.
    pub target: String,
    /// The API's words, or the transport's.
    pub message: String,
    /// The object that was to be changed, or its namespace, is gone: the next observation shows it.
    pub gone: bool,
}

/// A write that failed.
struct Refused {
    write: FailedWrite,
    target: String,
    gone: bool,
    error: kube::Error,
}

/// What a write led to, so that the loop can wait until its cache has seen it.
#[derive(Debug, Clone)]
pub enum Effect {
    Wrote { target: Target, object: Object },
    Deleted { target: Target, uid: Option<String> },
}

/// Writes on behalf of one controller.
#[derive(Clone)]
pub struct Executor {
    client: Client,
    recorder: Recorder,
    field_manager: &'static str,
    /// Where writes are counted, and as whose.
    counted: Option<(Metrics, &'static str)>,
}

impl Executor {
    pub fn new(client: Client, recorder: Recorder, field_manager: &'static str) -> Self {
        Self { client, recorder, field_manager, counted: None }
    }

    /// Counts writes as the controller's.
    pub fn counted(self, metrics: &Metrics, controller: &'static str) -> Self {
        Self { counted: Some((metrics.clone(), controller)), ..self }
    }

    /// Carries out a plan's actions in order. The effects of what succeeded are pushed to `effects`
    /// also when a later action fails.
    pub async fn run(&self, plan: &Plan, effects: &mut Vec<Effect>) -> Outcome {
        for action in &plan.actions {
            let result = match action {
                Action::Batch(batch) => self.batch(batch, plan, effects).await,
                other => self.series_of(other, plan, effects).await,
            };
            if let Err(Refused { write, target, gone, error }) = result {
                if client::is_conflict(&error) || client::is_already_exists(&error) {
                    return Outcome::Conflict;
                }
                if client::is_forbidden_by_terminating_namespace(&error) {
                    // The namespace takes with it whatever the plan was for.
                    return Outcome::Done;
                }
                let message = client::message(&error);
                return Outcome::Failed(Failure { write, target, message, gone });
            }
        }
        Outcome::Done
    }

    /// Slow start: 1 action, then 2, 4, … at once, stopping after the first round with a failure.
    async fn batch(&self, actions: &[Action], plan: &Plan, effects: &mut Vec<Effect>) -> Result<(), Refused> {
        let mut rest = actions;
        let mut round = 1;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(round.min(rest.len()));
            let carried_out = |action| async move {
                let mut own = Vec::new();
                let result = self.series_of(action, plan, &mut own).await;
                (own, result)
            };
            let mut running: FuturesUnordered<_> = now.iter().map(carried_out).collect();
            let mut failure = None;
            while let Some((own, result)) = running.next().await {
                effects.extend(own);
                failure = result.err().or(failure);
            }
            if let Some(error) = failure {
                return Err(error);
            }
            rest = later;
            round = (round * 2).min(BATCH_LIMIT);
        }
        Ok(())
    }

    /// Carries out the writes of a series, or a single write.
    async fn series_of(
        &self,
        action: &Action,
        plan: &Plan,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refused> {
        let one = std::slice::from_ref(action);
        for action in if let Action::Series(actions) = action { actions } else { one } {
            effects.extend(self.one(action, plan).await?);
        }
        Ok(())
    }

    async fn one(&self, action: &Action, plan: &Plan) -> Result<Option<Effect>, Refused> {
        let (action, words) = match action {
            Action::Told { action, words } => (&**action, Some(&**words)),
            plain => (plain, None),
        };
        let result = self.write(action).await;
        if let Some(words) = words {
            self.tell_in(words, &result);
        }
        if let Some((metrics, controller)) = &self.counted {
            metrics.wrote(controller, action, &result);
        }
        match &result {
            Ok(Some(Effect::Wrote { object, .. })) => {
                self.tell(plan.on_success.as_ref(), EventType::Normal, action, object.name());
            }
            Ok(Some(Effect::Deleted { target, .. })) => {
                self.tell(plan.on_success.as_ref(), EventType::Normal, action, &target.name);
            }
            Ok(None) => {}
            Err(error) => {
                if !client::is_forbidden_by_terminating_namespace(error) && !client::is_conflict(error) {
                    self.tell(plan.on_failure.as_ref(), EventType::Warning, action, &client::message(error));
                }
            }
        }
        result.map_err(|error| {
            let write = match action {
                Action::Create { .. } => FailedWrite::Create,
                Action::Delete { .. } => FailedWrite::Delete,
                _ => FailedWrite::Other,
            };
            let target = target_of(action).map(|target| target.name.clone()).unwrap_or_default();
            Refused { write, target, gone: is_gone(action, &error), error }
        })
    }

    /// Records what `words` says of a write's result.
    fn tell_in(&self, words: &Words, result: &Result<Option<Effect>, kube::Error>) {
        match result {
            // What was to be deleted was gone already.
            Ok(None) => {}
            Ok(Some(_)) => {
                let (reason, message) = &words.done;
                self.recorder.event(&words.about, EventType::Normal, reason, message.clone());
            }
            Err(error)
                if client::is_forbidden_by_terminating_namespace(error)
                    || client::is_conflict(error)
                    || client::is_already_exists(error) => {}
            Err(error) => {
                let error = client::message(error);
                for (reason, prefix) in &words.failed {
                    let message = format!("{prefix}{error}");
                    self.recorder.event(&words.about, EventType::Warning, reason, message);
                }
            }
        }
    }

    /// Records the event that `words` has for an action, if any.
    fn tell(&self, words: Option<&EventWords>, event_type: EventType, action: &Action, what: &str) {
        let Some(words) = words else { return };
        let (reason, prefix) = match action {
            Action::Create { .. } => words.create,
            Action::Delete { .. } => words.delete,
            _ => return,
        };
        self.recorder.event(&words.about, event_type, reason, format!("{prefix}{what}"));
    }

    async fn write(&self, action: &Action) -> Result<Option<Effect>, kube::Error> {
        match action {
            Action::Create { target, object } => {
                self.send(Method::POST, target, "application/json", object).await.map(|o| wrote(target, o))
            }
            Action::Update { target, object } => {
                self.send(Method::PUT, target, "application/json", object).await.map(|o| wrote(target, o))
            }
            Action::MergePatch { target, patch } => {
                self.patch(target, "application/merge-patch+json", patch).await
            }
            Action::StrategicPatch { target, patch } => {
                self.patch(target, "application/strategic-merge-patch+json", patch).await
            }
            Action::JsonPatch { target, patch } => {
                self.patch(target, "application/json-patch+json", patch).await
            }
            Action::Delete { target, policy } => match self.delete(target, policy).await {
                Err(error) if client::is_not_found(&error) => Ok(None),
                Err(error) => Err(error),
                Ok(()) => Ok(Some(Effect::Deleted { target: target.clone(), uid: policy.uid.clone() })),
            },
            Action::DeleteCollection { target, propagation } => {
                let options =
                    json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation});
                let request = request(Method::DELETE, target.path(), "application/json", &options)?;
                self.client.request::<Value>(request).await.map(|_| None)
            }
            Action::Event { about, event_type, reason, message } => {
                self.recorder.event(about, *event_type, reason, message.clone());
                Ok(None)
            }
            Action::Batch(_) | Action::Series(_) | Action::Told { .. } => Err(kube::Error::Service(
                "only a single write can stand inside a series or be told of".into(),
            )),
        }
    }

    async fn patch(
        &self,
        target: &Target,
        content_type: &str,
        patch: &Value,
    ) -> Result<Option<Effect>, kube::Error> {
        self.send(Method::PATCH, target, content_type, patch).await.map(|o| wrote(target, o))
    }

    async fn delete(&self, target: &Target, policy: &DeletePolicy) -> Result<(), kube::Error> {
        let mut options = json!({"kind": "DeleteOptions", "apiVersion": "v1"});
        if policy.uid.is_some() || policy.resource_version.is_some() {
            let mut preconditions = json!({});
            if let Some(uid) = &policy.uid {
                preconditions["uid"] = uid.as_str().into();
            }
            if let Some(version) = &policy.resource_version {
                preconditions["resourceVersion"] = version.as_str().into();
            }
            options["preconditions"] = preconditions;
        }
        if let Some(grace) = policy.grace_period_s {
            options["gracePeriodSeconds"] = grace.into();
        }
        if let Some(propagation) = policy.propagation {
            options["propagationPolicy"] = propagation.into();
        }
        let request = request(Method::DELETE, target.path(), "application/json", &options)?;
        self.client.request::<Value>(request).await.map(|_| ())
    }

    async fn send(
        &self,
        method: Method,
        target: &Target,
        content_type: &str,
        body: &impl serde::Serialize,
    ) -> Result<Object, kube::Error> {
        let path = format!("{}?fieldManager={}", target.path(), self.field_manager);
        self.client.request::<Object>(request(method, path, content_type, body)?).await
    }
}

/// Whether a write failed because the object it was to change, or its namespace, is gone.
fn is_gone(action: &Action, error: &kube::Error) -> bool {
    let Some(target) = target_of(action) else { return false };
    client::is_not_found_of(error, &target.resource.group, &target.resource.resource, &target.name)
        || client::is_without_namespace(error)
}

/// The object that an action writes.
fn target_of(action: &Action) -> Option<&Target> {
    match action {
        Action::Create { target, .. }
        | Action::Update { target, .. }
        | Action::MergePatch { target, .. }
        | Action::StrategicPatch { target, .. }
        | Action::JsonPatch { target, .. }
        | Action::Delete { target, .. }
        | Action::DeleteCollection { target, .. } => Some(target),
        Action::Event { .. } | Action::Batch(_) | Action::Series(_) | Action::Told { .. } => None,
    }
}

fn wrote(target: &Target, object: Object) -> Option<Effect> {
    Some(Effect::Wrote { target: target.clone(), object })
}

fn request(
    method: Method,
    path: String,
    content_type: &str,
    body: &impl serde::Serialize,
) -> Result<Request<Vec<u8>>, kube::Error> {
    let bytes = serde_json::to_vec(body).map_err(kube::Error::SerdeError)?;
    Request::builder()
        .method(method)
        .uri(path)
        .header(http::header::CONTENT_TYPE, content_type)
        .body(bytes)
        .map_err(kube::Error::HttpError)
}
