//! Probes and hooks that make an HTTP request, the way upstream's prober makes it.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, HOST, LOCATION, USER_AGENT};
use http::{HeaderName, HeaderValue, Request, Uri};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Container, HTTPGetAction};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};

use super::tcp;

/// How much of an answer is read, in bytes.
const BODY_LIMIT_BYTES: usize = 10 << 10;
/// How many redirects are followed on the same host.
const REDIRECT_LIMIT: usize = 10;

/// The target and content of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpTarget {
    pub https: bool,
    pub host: String,
    pub port: u16,
    /// Path and query, beginning with `/`.
    pub path: String,
    pub headers: Vec<(String, String)>,
}

/// The response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpAnswer {
    pub status: u16,
    /// The first bytes of the body, as text.
    pub body: String,
    location: Option<String>,
}

#[cfg(test)]
impl HttpAnswer {
    pub fn new(status: u16, body: &str) -> Self {
        Self { status, body: body.to_owned(), location: None }
    }
}

/// A port by number or by the name a container gives it.
///
/// # Errors
/// When the container has no port of that name, or the number is none.
pub fn resolve_port(port: &IntOrString, container: &Container) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let ports = container.ports.iter().flatten();
            let named = ports.into_iter().find(|p| p.name.as_deref() == Some(name)).map(|p| p.container_port);
            match named.or_else(|| name.parse().ok()) {
                Some(number) => number,
                None => return Err(format!("couldn't find port: {name}")),
            }
        }
    };
    u16::try_from(number).ok().filter(|n| *n > 0).ok_or_else(|| format!("invalid port number: {number}"))
}

impl HttpTarget {
    /// # Errors
    /// When the action names no usable port, or neither it nor the pod has a host.
    pub fn new(get: &HTTPGetAction, container: &Container, pod_ip: Option<&str>) -> Result<Self, String> {
        let host = get.host.as_deref().filter(|h| !h.is_empty()).or(pod_ip);
        let path = get.path.as_deref().unwrap_or("/");
        let headers = get.http_headers.iter().flatten().map(|h| (h.name.clone(), h.value.clone()));
        Ok(Self {
            https: get.scheme.as_deref().is_some_and(|s| s.eq_ignore_ascii_case("https")),
            host: host.ok_or("the pod has no address")?.to_owned(),
            port: resolve_port(&get.port, container)?,
            path: if path.starts_with('/') { path.to_owned() } else { format!("/{path}") },
            headers: headers.collect(),
        })
    }

    fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    fn url(&self) -> String {
        let scheme = if self.https { "https" } else { "http" };
        format!("{scheme}://{}{}", self.authority(), self.path)
    }

    /// Where a redirect leads, if it stays on this host.
    fn follow(&self, location: &str) -> Option<Self> {
        if location.starts_with('/') && !location.starts_with("//") {
            return Some(Self { path: location.to_owned(), ..self.clone() });
        }
        let uri: Uri = location.parse().ok()?;
        if uri.host()?.trim_matches(['[', ']']) != self.host {
            return None;
        }
        let https = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
        let path = uri.path_and_query().map_or("/", |p| p.as_str()).to_owned();
        Some(Self { https, port, path, ..self.clone() })
    }
}

/// Makes a GET request. Certificates are not checked, as upstream's prober does not; redirects are
/// followed on the same host, and count as success elsewhere.
///
/// # Errors
/// In Go's words, with the address.
pub async fn http_get(target: &HttpTarget, timeout: Duration) -> Result<HttpAnswer, String> {
    let url = target.url();
    let all = async {
        let mut target = target.clone();
        for _ in 0..REDIRECT_LIMIT {
            let answer = once(&target, timeout).await?;
            let next = answer.location.as_deref().filter(|_| (300..400).contains(&answer.status));
            match next.and_then(|location| target.follow(location)) {
                Some(next) => target = next,
                None => return Ok(answer),
            }
        }
        Err("stopped after 10 redirects".to_owned())
    };
    match tokio::time::timeout(timeout, all).await {
        Ok(result) => result.map_err(|why| format!("Get {url:?}: {why}")),
        Err(_) => Err(format!(
            "Get {url:?}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        )),
    }
}

async fn once(target: &HttpTarget, timeout: Duration) -> Result<HttpAnswer, String> {
    let stream = tcp::connect(&target.host, target.port, timeout).await?;
    if !target.https {
        return exchange(stream, target).await;
    }
    let name = ServerName::try_from(target.host.clone()).map_err(|e| e.to_string())?;
    let connector =
        tokio_rustls::TlsConnector::from(serving::unverified_client().map_err(|e| e.to_string())?);
    let stream = connector.connect(name, stream).await.map_err(|e| format!("tls: {e}"))?;
    exchange(stream, target).await
}

async fn exchange<S>(stream: S, target: &HttpTarget) -> Result<HttpAnswer, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.map_err(|e| e.to_string())?;
    let request = request(target)?;
    let asking = async move {
        let answer = sender.send_request(request).await.map_err(|e| e.to_string())?;
        let status = answer.status().as_u16();
        let location = answer.headers().get(LOCATION).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let body = beginning(answer.into_body()).await;
        Ok(HttpAnswer { status, body, location })
    };
    tokio::pin!(asking);
    tokio::pin!(connection);
    tokio::select! {
        result = &mut asking => result,
        ended = &mut connection => match ended {
            Ok(()) => asking.await,
            Err(error) => Err(error.to_string()),
        },
    }
}

/// The first bytes of a body. An answer that is longer than what is kept, or ends early, is no failure of the container.
async fn beginning(mut body: hyper::body::Incoming) -> String {
    let mut kept = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        let Some(data) = frame.data_ref() else { continue };
        let room = BODY_LIMIT_BYTES - kept.len();
        kept.extend_from_slice(&data[..data.len().min(room)]);
        if kept.len() == BODY_LIMIT_BYTES {
            break;
        }
    }
    String::from_utf8_lossy(&kept).into_owned()
}

fn request(target: &HttpTarget) -> Result<Request<Empty<Bytes>>, String> {
    let mut request =
        Request::get(&target.path).body(Empty::new()).map_err(|e| format!("invalid request: {e}"))?;
    let headers = request.headers_mut();
    let host = HeaderValue::from_str(&target.authority()).map_err(|e| e.to_string())?;
    headers.insert(HOST, host);
    headers.insert(USER_AGENT, HeaderValue::from_static("kube-probe/1.36"));
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    headers.insert(http::header::CONNECTION, HeaderValue::from_static("close"));
    let mut seen = std::collections::HashSet::new();
    for (name, value) in &target.headers {
        let name: HeaderName = name.parse().map_err(|_| format!("invalid header name {name:?}"))?;
        let value = HeaderValue::from_str(value).map_err(|_| format!("invalid value of header {name}"))?;
        // A header given twice is sent twice; one given once replaces the default.
        if seen.insert(name.clone()) {
            headers.insert(name, value);
        } else {
            headers.append(name, value);
        }
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    fn target(port: u16, path: &str) -> HttpTarget {
        HttpTarget { https: false, host: "127.0.0.1".into(), port, path: path.into(), headers: Vec::new() }
    }

    async fn serve(listener: &TcpListener, answer: &str) -> String {
        let (mut stream, _) = listener.accept().await.expect("a connection comes");
        let mut request = vec![0; 4096];
        let length = stream.read(&mut request).await.expect("a request comes");
        stream.write_all(answer.as_bytes()).await.expect("the prober reads");
        String::from_utf8_lossy(&request[..length]).into_owned()
    }

    #[tokio::test]
    async fn a_redirect_on_the_same_host_is_followed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let server = async {
            let first =
                serve(&listener, "HTTP/1.1 302 Found\r\nlocation: /b\r\ncontent-length: 0\r\n\r\n").await;
            let second = serve(&listener, "HTTP/1.1 503 Bad\r\ncontent-length: 2\r\n\r\nno").await;
            (first, second)
        };
        let at = target(port, "/a");
        let (answer, (first, second)) = tokio::join!(http_get(&at, Duration::from_secs(5)), server);
        assert_eq!(answer.expect("an answer").status, 503);
        assert!(first.starts_with("GET /a HTTP/1.1\r\n") && first.contains("user-agent: kube-probe/"));
        assert!(second.starts_with("GET /b HTTP/1.1\r\n"));
    }

    #[tokio::test]
    async fn an_answer_that_leads_to_another_host_ends_there_with_its_body_cut() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let long = "x".repeat(BODY_LIMIT_BYTES + 1);
        let length = long.len();
        let head =
            format!("HTTP/1.1 302 Found\r\nlocation: http://0.0.0.0/\r\ncontent-length: {length}\r\n\r\n");
        let at = target(port, "/");
        let text = format!("{head}{long}");
        let (answer, _) = tokio::join!(http_get(&at, Duration::from_secs(5)), serve(&listener, &text));
        let answer = answer.expect("an answer");
        assert_eq!((answer.status, answer.body.len()), (302, BODY_LIMIT_BYTES));
    }

    #[tokio::test]
    async fn a_refused_connection_reads_as_in_go() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        drop(listener);
        let error = http_get(&target(port, "/x"), Duration::from_secs(5)).await.expect_err("nobody listens");
        let at = format!("127.0.0.1:{port}");
        assert_eq!(error, format!("Get \"http://{at}/x\": dial tcp {at}: connect: connection refused"));
    }
}
