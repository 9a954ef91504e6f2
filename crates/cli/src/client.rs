//! Requests to the server, one at a time: a command waits for each answer.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{
    ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE, USER_AGENT,
};
use http::{HeaderMap, Method, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as Http;
use hyper_util::rt::{TokioExecutor, TokioIo};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio_tungstenite::{WebSocketStream, tungstenite};

use crate::credentials;
use crate::failure::{Failure, quoted};
use crate::kubeconfig::{Settings, os_words};
use crate::past;
use crate::transport::Connector;

/// Longest answer that is taken into memory, in bytes.
const LONGEST_BYTES: usize = 1 << 30;

/// One request. The path stands below the server's address and is escaped already.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: Method,
    pub path: String,
    pub query: Vec<(String, String)>,
    pub accept: &'static str,
    pub content_type: &'static str,
    pub body: Vec<u8>,
}

/// An open WebSocket.
pub type Socket = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

pub const JSON: &str = "application/json";

impl Request {
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        let (query, body) = (Vec::new(), Vec::new());
        Self { method, path: path.into(), query, accept: JSON, content_type: JSON, body }
    }

    pub fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    /// Adds a parameter, unless its value is empty.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Self {
        if !value.is_empty() {
            self.query.push((key.to_owned(), value.to_owned()));
        }
        self
    }

    #[must_use]
    pub fn json(mut self, body: &Value) -> Self {
        self.body = body.to_string().into_bytes();
        self
    }

    fn target(&self) -> String {
        let mut target = self.path.clone();
        let mut separator = if target.contains('?') { '&' } else { '?' };
        for (key, value) in &self.query {
            target.push(separator);
            target.push_str(&format!("{}={}", escaped(key), escaped(value)));
            separator = '&';
        }
        target
    }
}

/// A part of a URL's path or query.
pub fn escaped(text: &str) -> String {
    const KEPT: percent_encoding::AsciiSet =
        percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    percent_encoding::utf8_percent_encode(text, &KEPT).to_string()
}

/// An object's name as the last part of its path.
///
/// # Errors
/// When it would lead to another path than the object's: an empty one to all objects of the kind.
pub fn name_part(name: &str) -> Result<String, Failure> {
    if name.is_empty() {
        return Err(Failure::message("resource name may not be empty"));
    }
    part("resource name", name)
}

/// A namespace as a part of a path.
///
/// # Errors
/// When it would lead to another path.
pub fn namespace_part(namespace: &str) -> Result<String, Failure> {
    part("namespace", namespace)
}

fn part(what: &str, text: &str) -> Result<String, Failure> {
    let mut wrong = Vec::new();
    if matches!(text, "." | "..") {
        wrong.push(format!("may not be '{text}'"));
    } else {
        wrong.extend(
            ["/", "%"].iter().filter(|c| text.contains(**c)).map(|c| format!("may not contain '{c}'")),
        );
    }
    if wrong.is_empty() {
        return Ok(escaped(text));
    }
    Err(Failure::message(format!("invalid {what} {}: [{}]", quoted(text), wrong.join(" "))))
}

/// An answer that was read to its end.
pub struct Answer {
    pub headers: HeaderMap,
    pub body: Bytes,
    pub code: u16,
}

impl Answer {
    pub fn json(&self) -> Result<Value, Failure> {
        serde_json::from_slice(&self.body)
            .map_err(|e| Failure::message(format!("the server's answer cannot be read: {e}")))
    }
}

pub struct Client {
    runtime: tokio::runtime::Runtime,
    http: Http<Connector, Full<Bytes>>,
    base: String,
    headers: HeaderMap,
    timeout: Option<Duration>,
    warnings: Warnings,
    /// The time whose state of objects is read; `None` for the present.
    then: std::cell::Cell<Option<Timestamp>>,
}

/// How warnings of the server are told: once each.
#[derive(Default)]
struct Warnings {
    seen: std::cell::RefCell<Vec<String>>,
}

impl Client {
    /// Prepares requests; connects to nobody yet.
    ///
    /// # Errors
    /// When the settings cannot be used.
    pub fn new(settings: &Settings, timeout: Option<Duration>) -> Result<Self, Failure> {
        let base = if settings.server.contains("://") {
            settings.server.clone()
        } else {
            // As upstream: where anything speaks of TLS, a server without a scheme has it.
            let has = |values: &Value, keys: &[&str]| {
                keys.iter().any(|key| values[*key].as_str().is_some_and(|text| !text.is_empty()))
            };
            let tls = has(&settings.cluster, &["certificate-authority", "certificate-authority-data"])
                || has(&settings.user, &["client-certificate", "client-certificate-data"])
                || settings.cluster["insecure-skip-tls-verify"] == true;
            format!("{}://{}", if tls { "https" } else { "http" }, settings.server)
        };
        let uri: Uri = base.trim_end_matches('/').parse().map_err(|e| {
            Failure::message(format!("the server address {} is no URL: {e}", quoted(&settings.server)))
        })?;
        // Whoever listens on the way reads what is sent without TLS: no credentials go there, as upstream has it.
        let is_secret = uri.scheme_str() == Some("https");
        let mut user = if is_secret { settings.user.clone() } else { Value::Null };
        credentials::from_plugin(&mut user, &settings.cluster, &settings.server)?;
        let connector = Connector::new(&uri, &settings.cluster, &user)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| Failure::message(e.to_string()))?;
        let http = Http::builder(TokioExecutor::new()).build(connector);
        let headers = headers(&user, &settings.impersonate)?;
        let base = base.trim_end_matches('/').to_owned();
        Ok(Self {
            runtime,
            http,
            base,
            headers,
            timeout,
            warnings: Warnings::default(),
            then: Default::default(),
        })
    }

    pub fn address(&self) -> &str {
        &self.base
    }

    /// From now on objects are read as they were at this time; `None` for the present.
    pub fn look_at(&self, then: Option<Timestamp>) {
        self.then.set(then);
    }

    /// Waits for `work`.
    pub fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Sends and reads the answer to its end.
    ///
    /// # Errors
    /// When the server says no, or does not answer.
    pub fn send(&self, request: &Request) -> Result<Answer, Failure> {
        let work = self.exchange(request, HeaderMap::new());
        let answer = self.limited(work)?;
        if answer.code >= 400 {
            return Err(refusal(&answer));
        }
        Ok(answer)
    }

    /// As [`Client::send`], with headers of its own, and whatever the server's answer is.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn send_with(&self, request: &Request, headers: HeaderMap) -> Result<Answer, Failure> {
        self.limited(self.exchange(request, headers))
    }

    /// Sends and reads the answer as JSON.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub fn json(&self, request: &Request) -> Result<Value, Failure> {
        self.send(request)?.json()
    }

    /// Sends, and hands out the answer's body as it comes.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub fn stream(&self, request: &Request) -> Result<Stream<'_>, Failure> {
        let body = self.limited(self.open(request))?;
        Ok(Stream { client: self, body, rest: BytesMut::new(), ended: false })
    }

    /// Sends, and returns the answer's body, to be read with [`next`] within [`Client::wait`].
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn open(&self, request: &Request) -> Result<Incoming, Failure> {
        let response = self.respond(request, HeaderMap::new()).await?;
        if response.status().as_u16() >= 400 {
            return Err(refusal(&collect(response).await?));
        }
        Ok(response.into_body())
    }

    /// Waits for the first event of a watch, no longer than `left`. A watch that the server ends at once counts as one
    /// after a pause, so that who asks again does not ask without end.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub fn changed(&self, watch: &Request, left: Duration) -> Result<(), Failure> {
        if matches!(self.stream(watch)?.line(Some(left))?, Line::End) {
            self.wait(tokio::time::sleep(ENDED_WATCH_PAUSE.min(left)));
        }
        Ok(())
    }

    /// Opens a WebSocket with one of `protocols`, for [`Client::wait`]; the one that the server chose comes along.
    ///
    /// # Errors
    /// When the server says no, or does not answer as WebSocket servers do.
    pub fn upgrade(
        &self,
        request: &Request,
        protocols: &'static [&'static str],
    ) -> Result<(Socket, String), Failure> {
        let key = tungstenite::handshake::client::generate_key();
        let mut headers = HeaderMap::new();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        headers.insert(SEC_WEBSOCKET_KEY, key.parse().map_err(|_| Failure::message("a key is no header"))?);
        for protocol in protocols {
            headers.append(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
        }
        self.limited(async {
            let response = self.respond(request, headers).await?;
            if response.status() != http::StatusCode::SWITCHING_PROTOCOLS {
                return Err(refusal(&collect(response).await?));
            }
            let header = |name: HeaderName| {
                response
                    .headers()
                    .get(name)
                    .and_then(|value| value.to_str().ok())
                    .unwrap_or_default()
                    .to_owned()
            };
            let protocol = header(SEC_WEBSOCKET_PROTOCOL);
            let accepted = tungstenite::handshake::derive_accept_key(key.as_bytes());
            if header(SEC_WEBSOCKET_ACCEPT) != accepted || !protocols.contains(&protocol.as_str()) {
                return Err(Failure::message("websocket: bad handshake"));
            }
            let upgraded = hyper::upgrade::on(response).await;
            let upgraded =
                upgraded.map_err(|e| Failure::message(format!("websocket: bad handshake: {e}")))?;
            let role = tungstenite::protocol::Role::Client;
            let config = streaming::channels::socket_config();
            Ok((WebSocketStream::from_raw_socket(TokioIo::new(upgraded), role, Some(config)).await, protocol))
        })
    }

    fn limited<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        self.runtime.block_on(async {
            match self.timeout {
                None => work.await,
                Some(limit) => tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
                    let why = "net/http: request canceled (Client.Timeout exceeded while awaiting headers)";
                    Err(Failure::Unreachable(format!("Unable to connect to the server: {why}")))
                }),
            }
        })
    }

    async fn exchange(&self, request: &Request, headers: HeaderMap) -> Result<Answer, Failure> {
        collect(self.respond(request, headers).await?).await
    }

    async fn respond(&self, request: &Request, more: HeaderMap) -> Result<Response<Incoming>, Failure> {
        let mut headers = self.headers.clone();
        headers.insert(ACCEPT, HeaderValue::from_static(request.accept));
        if !request.body.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(request.content_type));
        }
        headers.extend(more);
        let then =
            self.then.get().filter(|_| request.method == Method::GET && past::is_of_objects(&request.path));
        let asked = match then {
            Some(then) => request.clone().with("at", &then.to_string()).target(),
            None => request.target(),
        };
        let target = format!("{}{asked}", self.base);
        let mut built = http::Request::new(Full::new(Bytes::from(request.body.clone())));
        *built.method_mut() = request.method.clone();
        *built.uri_mut() =
            target.parse().map_err(|e| Failure::message(format!("no address: {}: {e}", quoted(&target))))?;
        *built.headers_mut() = headers;
        let response = self.http.request(built).await.map_err(|e| self.unreachable(&e))?;
        self.warnings.tell(response.headers());
        if then.is_some() && response.status().is_success() && !response.headers().contains_key(past::HEADER)
        {
            return Err(Failure::message(
                "the server shows the present whatever time is asked for: it does not keep the past",
            ));
        }
        Ok(response)
    }

    fn unreachable(&self, error: &hyper_util::client::legacy::Error) -> Failure {
        let mut cause: Option<&dyn std::error::Error> = Some(error);
        let mut deepest = error.to_string();
        let authority =
            self.base.split("://").nth(1).unwrap_or_default().split('/').next().unwrap_or_default();
        while let Some(one) = cause {
            if let Some(io) = one.downcast_ref::<std::io::Error>() {
                if io.kind() == std::io::ErrorKind::ConnectionRefused {
                    return Failure::Unreachable(format!(
                        "The connection to the server {authority} was refused - did you specify the right host or port?"
                    ));
                }
                deepest = os_words(io);
            }
            if let Some(tls) = one.downcast_ref::<rustls::Error>() {
                deepest = format!("tls: {tls}");
            }
            cause = one.source();
        }
        Failure::Unreachable(format!("Unable to connect to the server: {deepest}"))
    }

    /// How many warnings the server had.
    pub fn warnings(&self) -> usize {
        self.warnings.seen.borrow().len()
    }
}

impl Warnings {
    fn tell(&self, headers: &HeaderMap) {
        for value in headers.get_all(http::header::WARNING) {
            let Some(text) = value.to_str().ok().and_then(warning) else { continue };
            let mut seen = self.seen.borrow_mut();
            if !seen.contains(&text) {
                crate::output::err(&format!("Warning: {text}\n"));
                seen.push(text);
            }
        }
    }
}

/// The text of `299 - "…"`.
fn warning(header: &str) -> Option<String> {
    let quoted = header.strip_prefix("299 ")?.split_once(' ')?.1.trim().strip_prefix('"')?;
    let mut text = String::new();
    let mut characters = quoted.chars();
    while let Some(c) = characters.next() {
        match c {
            '"' => return Some(text),
            '\\' => text.extend(characters.next()),
            c => text.push(c),
        }
    }
    None
}

fn headers(user: &Value, impersonate: &[(String, String)]) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    headers
        .insert(USER_AGENT, HeaderValue::from_static(concat!("kubectl/knarr-", env!("CARGO_PKG_VERSION"))));
    if let Some(value) = credentials::authorization(user)? {
        headers.insert(AUTHORIZATION, value);
    }
    for (name, value) in impersonate {
        let wrong = |e: String| Failure::message(format!("{name}: {e}"));
        let key: HeaderName =
            name.parse().map_err(|e: http::header::InvalidHeaderName| wrong(e.to_string()))?;
        headers
            .append(key, value.parse().map_err(|e: http::header::InvalidHeaderValue| wrong(e.to_string()))?);
    }
    Ok(headers)
}

async fn collect(response: Response<Incoming>) -> Result<Answer, Failure> {
    let (parts, body) = response.into_parts();
    let body = http_body_util::Limited::new(body, LONGEST_BYTES).collect().await;
    let body =
        body.map_err(|e| Failure::message(format!("error reading the server's answer: {e}")))?.to_bytes();
    Ok(Answer { headers: parts.headers, body, code: parts.status.as_u16() })
}

/// A refusal as a `Status`, also where the server sent something else.
pub fn refusal(answer: &Answer) -> Failure {
    if let Ok(status @ Value::Object(_)) = answer.json()
        && status["kind"] == "Status"
    {
        return Failure::Status(Box::new(status));
    }
    let body = String::from_utf8_lossy(&answer.body);
    let (reason, message) = match answer.code {
        404 => ("NotFound", "the server could not find the requested resource".to_owned()),
        401 => ("Unauthorized", "the server has asked for the client to provide credentials".to_owned()),
        403 => ("Forbidden", body.trim().to_owned()),
        405 => {
            ("MethodNotAllowed", "the server does not allow this method on the requested resource".to_owned())
        }
        500.. => (
            "InternalError",
            format!(
                "an error on the server ({}) has prevented the request from succeeding",
                quoted(body.trim())
            ),
        ),
        _ => ("", body.trim().to_owned()),
    };
    Failure::Status(Box::new(json!({"code": answer.code, "reason": reason, "message": message})))
}

/// An answer's body as it comes.
pub struct Stream<'a> {
    client: &'a Client,
    body: Incoming,
    rest: BytesMut,
    ended: bool,
}

/// How long is paused after a watch that the server ended without an event.
const ENDED_WATCH_PAUSE: Duration = Duration::from_secs(1);

/// Longest line of a watch, in bytes.
const LONGEST_LINE: usize = 256 << 20;

impl Stream<'_> {
    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// When the connection breaks.
    pub fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        self.client.wait(next(&mut self.body))
    }

    /// The next line, waiting no longer than `limit`.
    ///
    /// # Errors
    /// When the connection breaks or a line is too long.
    pub fn line(&mut self, limit: Option<Duration>) -> Result<Line, Failure> {
        let work = async {
            loop {
                if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                    return Ok(Line::Text(self.rest.split_to(end + 1).freeze()));
                }
                if self.ended || self.rest.len() > LONGEST_LINE {
                    return Ok(Line::End);
                }
                match next(&mut self.body).await? {
                    Some(bytes) => self.rest.extend_from_slice(&bytes),
                    None => self.ended = true,
                }
            }
        };
        self.client.wait(async {
            match limit {
                None => work.await,
                Some(limit) => tokio::time::timeout(limit, work).await.unwrap_or(Ok(Line::TimedOut)),
            }
        })
    }
}

/// What [`Stream::line`] found.
pub enum Line {
    Text(Bytes),
    End,
    TimedOut,
}

/// The next piece of a body; `None` at the end.
///
/// # Errors
/// When the connection breaks.
pub async fn next(body: &mut Incoming) -> Result<Option<Bytes>, Failure> {
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Err(error)) => return Err(Failure::message(format!("the connection broke: {error}"))),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_unquoted() {
        assert_eq!(warning(r#"299 - "a \"b\" c" "date""#).as_deref(), Some("a \"b\" c"));
        assert_eq!(warning("199 - \"a\""), None);
        assert_eq!(warning("299 - \"a"), None);
    }

    #[test]
    fn credentials_go_out_over_tls_alone() {
        let user =
            serde_json::json!({"token": "secret", "exec": {"command": "/nonexistent", "apiVersion": "v1"}});
        let sent = |server: &str| {
            let settings = Settings { server: server.to_owned(), user: user.clone(), ..Settings::default() };
            let client =
                Client::new(&settings, None).map_err(|failure| failure.text()).expect("settings of use");
            (client.base.clone(), client.headers.contains_key(http::header::AUTHORIZATION))
        };
        assert_eq!(sent("http://127.0.0.1:1"), ("http://127.0.0.1:1".to_owned(), false));
        assert_eq!(sent("https://127.0.0.1:1"), ("https://127.0.0.1:1".to_owned(), true));
        assert_eq!(sent("127.0.0.1:1"), ("http://127.0.0.1:1".to_owned(), false));
    }

    #[test]
    fn names_lead_to_no_other_path() {
        let refused = |name: &str| name_part(name).expect_err(name).text();
        assert_eq!(refused(""), "error: resource name may not be empty");
        assert_eq!(refused("."), "error: invalid resource name \".\": [may not be '.']");
        assert_eq!(refused(".."), "error: invalid resource name \"..\": [may not be '..']");
        assert_eq!(refused("a/b"), "error: invalid resource name \"a/b\": [may not contain '/']");
        assert_eq!(
            refused("%2f/"),
            "error: invalid resource name \"%2f/\": [may not contain '/' may not contain '%']"
        );
        assert_eq!(name_part("system:a b").expect("a name"), "system%3Aa%20b");
        let namespace = namespace_part("..").expect_err("another path").text();
        assert_eq!(namespace, "error: invalid namespace \"..\": [may not be '..']");
    }

    #[test]
    fn parameters_are_escaped() {
        let request = Request::get("/api").with("labelSelector", "a=b,c in (d)").with("empty", "");
        assert_eq!(request.target(), "/api?labelSelector=a%3Db%2Cc%20in%20%28d%29");
    }
}
