//! [`Dashboard`]: the listening port, its connections and what a request is answered with.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base::Supervisor;
use client::kube;
use http::header::{REFRESH, SET_COOKIE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serving::{Excess, Limits, accept};
use tokio::net::{TcpListener, TcpStream};

use crate::assets;
use crate::guard::{Admission, Guard, LOGIN_PATH, Refusal, Secrets};
use crate::proxy::Proxy;
use crate::respond::{Body, failure, page};

/// More than the browsers of one person open.
const CONNECTIONS: usize = 256;
/// The longest head of a request.
const HEAD_LIMIT_BYTES: usize = 64 << 10;
/// How long a client may take to send the head of a request.
const HEAD_PATIENCE: Duration = Duration::from_secs(60);

/// What a dashboard is built from.
pub struct DashboardDeps {
    /// The API server, under the identity that the dashboard acts with.
    pub client: kube::Client,
    /// Runs the streams.
    pub supervisor: Supervisor,
}

/// A dashboard that listens on the loopback.
pub struct Dashboard {
    listener: TcpListener,
    shared: Arc<Shared>,
    link: String,
}

struct Shared {
    guard: Guard,
    proxy: Proxy,
}

impl Dashboard {
    /// Listens on `port` of 127.0.0.1; 0 for any that is free.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub async fn bind(port: u16, deps: DashboardDeps) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        let token = secret();
        let link = format!("http://{address}{LOGIN_PATH}?token={token}");
        let guard = Guard::new(address, Secrets { token, session: secret(), key: secret() });
        let proxy = Proxy { client: deps.client, supervisor: deps.supervisor };
        Ok(Self { listener, shared: Arc::new(Shared { guard, proxy }), link })
    }

    /// Where a browser is let in, once.
    pub fn link(&self) -> &str {
        &self.link
    }

    /// Serves until the supervisor's shutdown starts; open connections end then.
    pub async fn serve(self) {
        let shutdown = self.shared.proxy.supervisor.shutdown().clone();
        let limits = Limits { server: "dashboard", connections: CONNECTIONS, excess: Excess::Closed };
        let shared = self.shared;
        let open = accept(self.listener, limits, &shutdown, |socket, peer| {
            converse(Arc::clone(&shared), socket, peer)
        });
        drop(open.await);
    }
}

/// 256 random bits, in hexadecimal digits.
fn secret() -> String {
    base::random::bytes::<32>().iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn converse(shared: Arc<Shared>, socket: TcpStream, peer: SocketAddr) {
    let service = service_fn(|request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(shared.answer(request).await) }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_PATIENCE).max_buf_size(HEAD_LIMIT_BYTES);
    let connection = http.serve_connection(TokioIo::new(socket), service).with_upgrades();
    if let Err(error) = connection.await {
        tracing::debug!(%error, ?peer, "a connection to the dashboard ended");
    }
}

impl Shared {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        if let Err(refusal) = self.guard.check_source(&parts) {
            return refused(refusal);
        }
        let has_session = self.guard.check_session(&parts.headers);
        let path = parts.uri.path();
        if path == LOGIN_PATH {
            return match (&parts.method, has_session) {
                // Who is in already is not asked for a link that is used up.
                (&Method::GET, Ok(())) => let_in(None),
                (&Method::GET, Err(_)) => match self.guard.login(parts.uri.query()) {
                    Ok(admission) => let_in(Some(admission)),
                    Err(refusal) => explained(refusal),
                },
                _ => refused(Refusal::Method),
            };
        }
        if let Err(refusal) = has_session {
            return if path == "/" { explained(refusal) } else { refused(refusal) };
        }
        if parts.method == Method::GET
            && let Some(asset) = assets::answer(path, &parts.headers)
        {
            return asset;
        }
        if let Err(refusal) = self.guard.check_key(&parts.headers) {
            return refused(refusal);
        }
        self.proxy.forward(Request::from_parts(parts, body)).await
    }
}

fn refused(refusal: Refusal) -> Response<Body> {
    tracing::debug!(?refusal, "a request to the dashboard was refused");
    let reason = if refusal == Refusal::NoSession { "Unauthorized" } else { "Forbidden" };
    failure(refusal.status(), reason, refusal.message())
}

/// The same for a person.
fn explained(refusal: Refusal) -> Response<Body> {
    let text = format!("knarr dashboard: {}\n", refusal.message());
    page(refusal.status(), "text/plain; charset=utf-8", text)
}

/// A page that leads on to the dashboard. Not a redirection: a browser that came from elsewhere (a file, a terminal in
/// another page) would keep the cookie to itself on the way. The key goes along where no server sees it.
fn let_in(admission: Option<Admission<'_>>) -> Response<Body> {
    let target = admission.as_ref().map_or("/".to_owned(), |admission| format!("/#key={}", admission.key));
    let text = format!(
        "<!doctype html><html lang=\"en\"><title>knarr</title><p><a href=\"{target}\">Dashboard</a></p></html>"
    );
    let mut response = page(StatusCode::OK, "text/html; charset=utf-8", text);
    let headers = response.headers_mut();
    if let Ok(refresh) = HeaderValue::from_str(&format!("0; url={target}")) {
        headers.insert(REFRESH, refresh);
    }
    if let Some(admission) = admission {
        headers.insert(SET_COOKIE, admission.cookie);
    }
    response
}
