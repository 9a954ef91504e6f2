//! [`Recording`]: what is written about one request, an event a stage, in the form of upstream's `audit.k8s.io/v1` Event.

use std::collections::BTreeMap;
use std::net::IpAddr;

use api::layout::Laid;
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, Response};
use serde::Serialize;
use serde_json::{Value, json};

use super::policy::{Decision, Stage};
use super::{Audit, Level, Trail};
use crate::body::Body;
use crate::request::call::Peer;
use crate::request::notes::Received;
use crate::request::path::RequestInfo;
use crate::request::{Notes, User};

/// Where the request's `Audit-ID` is told, and the answer's.
pub(crate) const ID_HEADER: &str = "audit-id";
/// A longer one of a client's is not taken over.
const MAX_ID: usize = 256;
/// Upstream's (`apiserver/pkg/audit/request.go`).
const MAX_USER_AGENT: usize = 1024;

/// The id of a request: the client's own, or a new one.
pub(crate) fn id(headers: &HeaderMap) -> String {
    let given = headers.get(ID_HEADER).and_then(|value| value.to_str().ok());
    given.filter(|id| !id.is_empty() && id.len() <= MAX_ID).map_or_else(base::random::uuid, str::to_owned)
}

/// The head of a request as its events have it.
pub(crate) struct Head<'a> {
    pub id: &'a str,
    pub info: &'a RequestInfo,
    pub uri: &'a http::Uri,
    pub headers: &'a HeaderMap,
    pub peer: &'a Peer,
    /// When the request came.
    pub at: jiff::Timestamp,
}

/// A request that is written about. Made once its user is known, or is known to be nobody.
pub(crate) struct Recording {
    audit: Audit,
    decision: Decision,
    long_running: bool,
    at: jiff::Timestamp,
    fixed: Fixed,
    /// The tokens or certificates that were tried in vain; `None` once the user is known.
    attempted: Option<&'static str>,
    notes: Notes,
    /// Whether the last event is written, or somebody else will write it.
    ended: bool,
}

impl Drop for Recording {
    /// A request whose client is gone is not answered, and may have been carried out all the same.
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let told = Told {
            status: Some(
                json!({"metadata": {}, "status": "Success", "message": "Connection closed early", "code": 200}),
            ),
            received: self.notes.received_object(),
            annotations: self.notes.annotations(),
            ..Told::default()
        };
        self.write(Stage::ResponseComplete, self.audit.clock().now(), told);
    }
}

/// What all events of a request have.
struct Fixed {
    id: String,
    uri: String,
    verb: &'static str,
    user: Value,
    source: Vec<String>,
    user_agent: String,
    object: Option<ObjectRef>,
}

#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct ObjectRef {
    #[serde(skip_serializing_if = "String::is_empty")]
    resource: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    namespace: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    uid: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    api_group: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    api_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    resource_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    subresource: String,
}

/// The event in upstream's order of fields.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    kind: &'static str,
    api_version: &'static str,
    level: String,
    #[serde(rename = "auditID")]
    audit_id: &'a str,
    stage: String,
    #[serde(rename = "requestURI")]
    request_uri: &'a str,
    verb: &'a str,
    user: Members<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    impersonated_user: Option<Members<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authentication_metadata: Option<AuthenticationMetadata<'a>>,
    #[serde(rename = "sourceIPs", skip_serializing_if = "<[String]>::is_empty")]
    source_ips: &'a [String],
    #[serde(skip_serializing_if = "str::is_empty")]
    user_agent: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    object_ref: Option<ObjectRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_status: Option<Members<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_object: Option<Laid<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_object: Option<Laid<'a>>,
    request_received_timestamp: String,
    stage_timestamp: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AuthenticationMetadata<'a> {
    impersonation_constraint: &'a str,
}

const USER: &[&str] = &["username", "uid", "groups", "extra"];
const STATUS: &[&str] = &["metadata", "status", "message", "reason", "details", "code"];

/// The members of an object that are named, in this order.
struct Members<'a>(&'a Value, &'static [&'static str]);

impl Serialize for Members<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.1.iter().filter_map(|name| Some((name, self.0.get(name)?))))
    }
}

/// What a stage has to tell beside what the request was.
#[derive(Default)]
struct Told {
    impersonated: Option<Value>,
    constraint: Option<String>,
    status: Option<Value>,
    answer: Option<Value>,
    received: Received,
    annotations: BTreeMap<String, String>,
}

impl Recording {
    /// Decides what is written about a request, and writes that it has come.
    pub(super) fn begin(audit: &Audit, user: Option<&User>, head: &Head<'_>, notes: &Notes) -> Option<Self> {
        let decision = audit.policy().decide(user, head.info);
        audit.figures().level(decision.level);
        if decision.level == Level::None {
            return None;
        }
        notes.audit(decision.level);
        let agent = head.headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let recording = Self {
            audit: audit.clone(),
            decision,
            long_running: head.info.long_running(),
            at: head.at,
            fixed: Fixed {
                id: head.id.to_owned(),
                uri: head.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
                verb: head.info.verb,
                user: user.map_or_else(|| json!({}), User::info),
                source: sources(head.headers, head.peer),
                user_agent: shortened(agent),
                object: head.info.is_resource.then(|| ObjectRef::of(head.info)),
            },
            attempted: user.is_none().then(|| attempted(head)),
            notes: notes.clone(),
            ended: false,
        };
        if user.is_some() {
            recording.write(Stage::RequestReceived, head.at, Told::default());
        }
        Some(recording)
    }

    /// Whether the bodies of answers are written, too.
    pub(crate) fn wants_answer(&self) -> bool {
        self.decision.level >= Level::RequestResponse
    }

    /// Writes about the answer. What goes on for long is written about again when it ends.
    pub(crate) fn answered(mut self, trail: &Trail, response: &mut Response<Body>, now: jiff::Timestamp) {
        self.ended = true;
        let mut status = json!({"metadata": {}, "code": response.status().as_u16()});
        if let Some(error) = &trail.error {
            status = error.to_status();
        }
        let annotations = trail.annotations();
        let impersonated = trail.impersonated.as_deref().map(User::info);
        let told = |answer| Told {
            impersonated: impersonated.clone(),
            constraint: trail.constraint.clone(),
            status: Some(status.clone()),
            answer,
            received: trail.notes.received_object(),
            annotations: annotations.clone(),
        };
        if let Some(attempted) = self.attempted {
            let message = format!("Authentication failed, attempted: {attempted}");
            let mut told = told(None);
            told.status = Some(json!({"metadata": {}, "status": "Failure", "message": message,
                "code": response.status().as_u16()}));
            return self.write(Stage::ResponseStarted, now, told);
        }
        if trail.panicked {
            return self.write(Stage::Panic, now, told(None));
        }
        if !self.long_running {
            let answer = self.wants_answer().then(|| whole(response)).flatten();
            return self.write(Stage::ResponseComplete, now, told(self.cleaned(answer)));
        }
        self.write(Stage::ResponseStarted, now, told(None));
        let end = Ending { told: Some(told(None)), recording: self };
        response.body_mut().hold(end);
    }

    fn cleaned(&self, object: Option<Value>) -> Option<Value> {
        let mut object = object?;
        if self.decision.omit_managed_fields {
            without_managed_fields(&mut object);
        }
        Some(object)
    }

    fn write(&self, stage: Stage, now: jiff::Timestamp, told: Told) {
        if self.decision.omits(stage) {
            return;
        }
        let received = self.cleaned(told.received.object.clone());
        let Fixed { id, uri, verb, user, source, user_agent, object } = &self.fixed;
        let event = Event {
            kind: "Event",
            api_version: "audit.k8s.io/v1",
            level: self.decision.level.to_string(),
            audit_id: id,
            stage: stage.to_string(),
            request_uri: uri,
            verb,
            user: Members(user, USER),
            impersonated_user: told.impersonated.as_ref().map(|user| Members(user, USER)),
            authentication_metadata: told
                .constraint
                .as_deref()
                .map(|impersonation_constraint| AuthenticationMetadata { impersonation_constraint }),
            source_ips: source,
            user_agent,
            object_ref: object.clone().map(|object| object.completed(&told.received)),
            response_status: told.status.as_ref().map(|status| Members(status, STATUS)),
            request_object: received.as_ref().map(Laid),
            response_object: told.answer.as_ref().map(Laid),
            request_received_timestamp: format!("{:.6}", self.at),
            stage_timestamp: format!("{now:.6}"),
            annotations: told.annotations,
        };
        match serde_json::to_vec(&event) {
            Ok(line) => self.audit.record(Bytes::from(line)),
            Err(error) => tracing::error!(%error, "an audit event cannot be written down"),
        }
    }
}

/// Writes about the end of an answer that went on for long.
struct Ending {
    told: Option<Told>,
    recording: Recording,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let now = self.recording.audit.clock().now();
        self.recording.write(Stage::ResponseComplete, now, self.told.take().unwrap_or_default());
    }
}

impl ObjectRef {
    fn of(info: &RequestInfo) -> Self {
        Self {
            resource: info.resource.clone(),
            namespace: info.namespace.clone(),
            name: info.name.clone(),
            api_group: info.group.clone(),
            api_version: info.version.clone(),
            subresource: info.subresource.clone(),
            ..Self::default()
        }
    }

    /// With what the path did not say and the object does.
    fn completed(mut self, received: &Received) -> Self {
        let given = [
            (&mut self.namespace, &received.namespace),
            (&mut self.name, &received.name),
            (&mut self.uid, &received.uid),
            (&mut self.resource_version, &received.resource_version),
        ];
        for (own, objects) in given {
            if own.is_empty() {
                own.clone_from(objects);
            }
        }
        self
    }
}

/// The object that is answered, if the answer is there as a whole and is one.
fn whole(response: &Response<Body>) -> Option<Value> {
    if response.headers().contains_key(CONTENT_ENCODING) {
        return None;
    }
    let pieces;
    let bytes: &[u8] = match response.body() {
        Body::Full(bytes) | Body::Line(bytes) => bytes,
        Body::Pieces(parts) => {
            pieces = parts.iter().flatten().copied().collect::<Vec<u8>>();
            &pieces
        }
        Body::Empty | Body::Events(_) | Body::Stream(_) => return None,
    };
    let kind = response.headers().get(CONTENT_TYPE)?.to_str().ok()?;
    match kind.split(';').next()?.trim() {
        "application/json" => serde_json::from_slice(bytes).ok(),
        "application/yaml" => serde_saphyr::from_str(std::str::from_utf8(bytes).ok()?).ok(),
        "application/vnd.kubernetes.protobuf" => resources::protobuf::read(bytes).ok(),
        _ => None,
    }
}

/// An object's, those of a list's items and of a table's rows.
fn without_managed_fields(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    for item in object.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten() {
        without_managed_fields(item);
    }
    for row in object.get_mut("rows").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(object) = row.get_mut("object") {
            without_managed_fields(object);
        }
    }
}

/// Where a request came from: what proxies on its way tell, and who connected.
fn sources(headers: &HeaderMap, peer: &Peer) -> Vec<String> {
    let told = |name: &'static str| {
        let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).filter_map(|one| one.trim().parse::<IpAddr>().ok())
    };
    let mut known: Vec<IpAddr> = told("x-forwarded-for").collect();
    for address in told("x-real-ip").chain(peer.address.map(|address| address.ip())) {
        if !known.contains(&address) {
            known.push(address);
        }
    }
    known.iter().map(ToString::to_string).collect()
}

fn shortened(agent: &str) -> String {
    match agent.char_indices().nth(MAX_USER_AGENT) {
        Some((end, _)) => format!("{}...TRUNCATED", &agent[..end]),
        None => agent.to_owned(),
    }
}

/// By what a user could not be told, in upstream's words.
fn attempted(head: &Head<'_>) -> &'static str {
    let authorization = head.headers.get(http::header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let scheme = authorization.and_then(|value| value.split_once(' ')).map(|(scheme, _)| scheme);
    let by_certificate = !matches!(head.peer.certificate, crate::request::call::Certificate::Absent);
    match (scheme.map(str::to_ascii_lowercase).as_deref(), by_certificate) {
        (Some("bearer"), false) => "bearer",
        (Some("bearer"), true) => "bearer, x509",
        (Some("basic"), _) => "basic",
        (_, true) => "x509",
        (_, false) => "no authentication method found",
    }
}
