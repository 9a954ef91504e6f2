//! The audit log: the user, the request, the decision and the response; one JSON object a line, in the
//! form of upstream's `audit.k8s.io/v1` events of level `Metadata`.
//!
//! [`Log`] writes, [`Trail`] has the events of one request. Bodies are never logged: they contain secrets.
//! Requests of this process's own components are logged like any other.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use api::Error;
use base::{Shutdown, Supervisor, TaskKind};
use http::{HeaderMap, StatusCode, Uri};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

use crate::request::call::Peer;
use crate::request::path::RequestInfo;
use crate::request::{Notes, User};

/// Lines that may wait to be written; what comes beyond is lost, and that is said in the server's log.
const WAITING_LINES: usize = 16_384;
/// Lines written in one go.
const BATCH: usize = 512;
/// After the stop has begun, the log ends once nothing has come for so long.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Where audit events go. Clones write to the same file.
#[derive(Debug, Clone)]
pub struct Log {
    lines: mpsc::Sender<String>,
}

impl Log {
    /// Appends to a file, which is made readable by its owner alone; written by a task of the supervisor's.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub async fn open(path: &Path, supervisor: &Supervisor) -> std::io::Result<Self> {
        let mut options = tokio::fs::OpenOptions::new();
        let file = options.append(true).create(true).mode(0o600).open(path).await?;
        let (sender, lines) = mpsc::channel(WAITING_LINES);
        let shutdown = supervisor.shutdown().clone();
        supervisor.spawn(TaskKind::Background, "audit log", write(file, lines, shutdown));
        Ok(Self { lines: sender })
    }

    pub(crate) fn record(&self, event: &Value) {
        if self.lines.try_send(format!("{event}\n")).is_err() {
            tracing::warn!("an audit event is lost: the log's file takes no more");
        }
    }
}

/// Writes until the stop, and then what the last requests leave, which are answered for a while yet.
async fn write(mut file: tokio::fs::File, mut lines: mpsc::Receiver<String>, shutdown: Shutdown) {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        let count = tokio::select! {
            biased;
            count = lines.recv_many(&mut batch, BATCH) => count,
            () = last_words(&shutdown) => 0,
        };
        if count == 0 {
            return;
        }
        let text: String = batch.drain(..).collect();
        let written = match file.write_all(text.as_bytes()).await {
            Ok(()) => file.flush().await,
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            tracing::error!(%error, "the audit log cannot be written");
        }
    }
}

async fn last_words(shutdown: &Shutdown) {
    shutdown.started().await;
    tokio::time::sleep(LAST_WORDS).await;
}

/// What was found out about a request on its way.
#[derive(Debug, Default)]
pub(crate) struct Trail {
    pub user: Option<Arc<User>>,
    pub impersonated: Option<Arc<User>>,
    /// `None` when it did not come to authorization.
    pub allowed: Option<bool>,
    pub error: Option<Error>,
    /// The server ended the request to protect itself.
    pub in_self_defence: bool,
    /// What admission notes.
    pub notes: Notes,
}

/// What a request was, kept while it is answered.
pub(crate) struct Asked {
    info: RequestInfo,
    uri: Uri,
    user_agent: String,
    source: Option<std::net::IpAddr>,
    at: jiff::Timestamp,
}

impl Asked {
    pub(crate) fn new(
        info: &RequestInfo,
        uri: &Uri,
        headers: &HeaderMap,
        peer: &Peer,
        at: jiff::Timestamp,
    ) -> Self {
        let agent = headers.get(http::header::USER_AGENT).and_then(|value| value.to_str().ok());
        Self {
            info: info.clone(),
            uri: uri.clone(),
            user_agent: agent.unwrap_or_default().to_owned(),
            source: peer.address.map(|address| address.ip()),
            at,
        }
    }

    /// The event. Of a request whose answer goes on (a watch, a session) it tells the answer's start.
    pub(crate) fn event(&self, trail: &Trail, code: StatusCode, now: jiff::Timestamp) -> Value {
        let stage = if self.info.long_running() { "ResponseStarted" } else { "ResponseComplete" };
        let mut event = json!({
            "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata",
            "auditID": base::random::uuid(), "stage": stage,
            "requestURI": self.uri.to_string(), "verb": self.info.verb,
            "user": trail.user.as_deref().map(User::info),
            "sourceIPs": self.source.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "userAgent": self.user_agent,
            "responseStatus": {"metadata": {}, "code": code.as_u16()},
            "requestReceivedTimestamp": format!("{:.6}", self.at),
            "stageTimestamp": format!("{now:.6}"),
        });
        if let Some(impersonated) = trail.impersonated.as_deref() {
            event["impersonatedUser"] = impersonated.info();
        }
        if self.info.is_resource {
            event["objectRef"] = self.object();
        }
        if let Some(error) = &trail.error {
            event["responseStatus"] = error.to_status();
        }
        let mut annotations = trail.notes.annotations();
        if let Some(allowed) = trail.allowed {
            let decision = if allowed { "allow" } else { "forbid" };
            annotations.insert("authorization.k8s.io/decision".to_owned(), decision.to_owned());
        }
        if !annotations.is_empty() {
            event["annotations"] = json!(annotations);
        }
        event
    }

    fn object(&self) -> Value {
        let info = &self.info;
        let fields = [
            ("resource", &info.resource),
            ("namespace", &info.namespace),
            ("name", &info.name),
            ("apiGroup", &info.group),
            ("apiVersion", &info.version),
            ("subresource", &info.subresource),
        ];
        let given = fields.into_iter().filter(|(_, value)| !value.is_empty());
        given.map(|(field, value)| (field.to_owned(), Value::from(value.as_str()))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::query::Query;

    #[test]
    fn a_denied_request_says_who_and_what() {
        let uri: Uri = "/apis/apps/v1/namespaces/ns/deployments/web/scale?dryRun=All".parse().expect("a URI");
        let query = Query::parse(uri.query().unwrap_or(""));
        let info = RequestInfo::parse(&http::Method::PUT, uri.path(), &query).expect("a request");
        let peer = Peer::in_process(Arc::default());
        let asked = Asked::new(&info, &uri, &HeaderMap::new(), &peer, jiff::Timestamp::UNIX_EPOCH);
        let trail = Trail {
            user: Some(Arc::new(User { name: "jane".into(), groups: vec!["dev".into()], ..User::default() })),
            allowed: Some(false),
            error: Some(Error::new(api::Reason::Forbidden, "no")),
            ..Trail::default()
        };
        let event = asked.event(&trail, StatusCode::FORBIDDEN, jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(event["user"], json!({"username": "jane", "groups": ["dev"]}));
        assert_eq!(event["verb"], "update");
        assert_eq!(
            event["objectRef"],
            json!({"resource": "deployments", "namespace": "ns", "name": "web", "apiGroup": "apps",
                "apiVersion": "v1", "subresource": "scale"})
        );
        assert_eq!(
            (&event["responseStatus"]["code"], &event["responseStatus"]["reason"]),
            (&json!(403), &json!("Forbidden"))
        );
        assert_eq!(event["annotations"]["authorization.k8s.io/decision"], "forbid");
        assert_eq!(event["requestReceivedTimestamp"], "1970-01-01T00:00:00.000000Z");
    }

    #[tokio::test]
    async fn events_are_lines_of_a_private_file() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("audit.log");
        let supervisor = Supervisor::new(base::Shutdown::new());
        let log = Log::open(&path, &supervisor).await.expect("a file");
        log.record(&json!({"n": 1}));
        log.record(&json!({"n": 2}));
        let written = || std::fs::read_to_string(&path).unwrap_or_default();
        while written().lines().count() < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(written(), "{\"n\":1}\n{\"n\":2}\n");
        let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path).expect("a file"));
        assert_eq!(mode & 0o777, 0o600);
        // Requests are answered for a while after the stop has begun.
        supervisor.shutdown().start();
        log.record(&json!({"n": 3}));
        supervisor.drain(Duration::from_secs(5)).await;
        assert_eq!(written().lines().last(), Some("{\"n\":3}"));
    }
}
