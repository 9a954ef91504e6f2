//! The guard and the proxy over real connections, with an API server that says what it was asked.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use base::{Shutdown, Supervisor};
use bytes::Bytes;
use client::kube;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::{Dashboard, DashboardDeps};

/// A dashboard, its address and the token of its link.
struct Site {
    address: SocketAddr,
    token: String,
    shutdown: Shutdown,
    served: JoinSet<()>,
}

/// What the API server of these tests answers: the request as it came, as if it were a page that sets a cookie.
async fn echo(request: Request<kube::client::Body>) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let (parts, body) = request.into_parts();
    let names = |headers: &HeaderMap| headers.keys().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let text = format!("{} {} [{}] {}", parts.method, parts.uri, names(&parts.headers), body.len());
    let response = Response::builder().header("content-type", "text/html").header("set-cookie", "a=b");
    response.header("location", "http://elsewhere/").body(text.into()).map_err(std::io::Error::other)
}

impl Site {
    async fn start() -> Self {
        let shutdown = Shutdown::new();
        let client = client::in_process(tower::service_fn(echo));
        let deps = DashboardDeps { client, supervisor: Supervisor::new(shutdown.clone()) };
        let dashboard = Dashboard::bind(0, deps).await.expect("a free port");
        let (base, token) = dashboard.link().split_once("/login?token=").expect("a link");
        let address = base.trim_start_matches("http://").parse().expect("an address");
        let token = token.to_owned();
        let mut served = JoinSet::new();
        served.spawn(dashboard.serve());
        Self { address, token, shutdown, served }
    }

    /// Sends a request as it is written, but for `HOST`, and returns the whole response.
    async fn say(&self, request: &str) -> String {
        let request = request.replace("HOST", &self.address.to_string());
        let mut socket = TcpStream::connect(self.address).await.expect("connected");
        socket.write_all(request.as_bytes()).await.expect("written");
        let mut response = Vec::new();
        socket.read_to_end(&mut response).await.expect("read");
        String::from_utf8_lossy(&response).into_owned()
    }

    /// A request with the lines of `headers` besides the host.
    async fn ask(&self, line: &str, headers: &[&str]) -> String {
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        self.say(&format!("{line} HTTP/1.1\r\nhost: HOST\r\nconnection: close\r\n{headers}\r\n")).await
    }

    /// The headers of the session: its cookie, and the page's key.
    async fn session(&self) -> (String, String) {
        let response = self.ask(&format!("GET /login?token={}", self.token), &[]).await;
        let header =
            |name: &str| response.lines().find_map(|line| line.strip_prefix(name)).expect("a header");
        let cookie = header("set-cookie: ");
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
        let key = header("refresh: 0; url=/#key=");
        assert!(!cookie.contains(key), "the cookie tells nothing of the key");
        (format!("cookie: {}", cookie.split(';').next().expect("a pair")), format!("x-knarr-key: {key}"))
    }

    /// All headers that the page of the session sends.
    async fn cookie(&self) -> String {
        let (cookie, key) = self.session().await;
        format!("{key}\r\n{cookie}")
    }

    async fn end(mut self) {
        self.shutdown.start();
        self.served.join_next().await.expect("one task").expect("no panic");
    }
}

fn status(response: &str) -> &str {
    response.split(' ').nth(1).unwrap_or_default()
}

#[tokio::test]
async fn a_link_is_good_once() {
    let site = Site::start().await;
    assert_eq!(status(&site.ask("GET /login?token=", &[]).await), "403");
    assert_eq!(status(&site.ask("GET /login", &[]).await), "403");
    assert_eq!(status(&site.ask(&format!("POST /login?token={}", site.token), &[]).await), "403");
    let cookie = site.cookie().await;
    let again = format!("GET /login?token={}", site.token);
    let response = site.ask(&again, &[]).await;
    assert_eq!(status(&response), "403", "{response}");
    assert!(response.contains("used already"));
    assert_eq!(status(&site.ask(&again, &[&cookie]).await), "200");
    assert_eq!(status(&site.ask("GET /", &[&cookie]).await), "200");
    site.end().await;
}

#[tokio::test]
async fn without_the_session_there_is_nothing() {
    let site = Site::start().await;
    let port = site.address.port();
    for path in ["/", "/assets/app.js", "/api/v1/pods", "/version", "/table/api/v1/pods"] {
        assert_eq!(status(&site.ask(&format!("GET {path}"), &[]).await), "401", "{path}");
        let wrong = format!("cookie: knarr-dashboard-{port}={}", "0".repeat(64));
        assert_eq!(status(&site.ask(&format!("GET {path}"), &[&wrong]).await), "401", "{path}");
    }
    // Two of the name: one may be another port's or site's doing.
    let cookie = site.cookie().await;
    let two = format!("{cookie}; knarr-dashboard-{port}=x");
    assert_eq!(status(&site.ask("GET /version", &[&two]).await), "401");
    assert_eq!(status(&site.ask("GET /version", &[&cookie]).await), "200");
    site.end().await;
}

#[tokio::test]
async fn the_cookie_alone_reads_nothing_of_the_cluster() {
    let site = Site::start().await;
    let (cookie, key) = site.session().await;
    let own = format!("origin: http://{}", site.address);
    assert_eq!(status(&site.ask("GET /assets/app.js", &[&cookie]).await), "200");
    let again = site.ask(&format!("GET /login?token={}", site.token), &[&cookie]).await;
    assert!(status(&again) == "200" && !again.contains("key="), "{again}");
    for wrong in ["x-a: b", "x-knarr-key:", "x-knarr-key: 0", &format!("{key}\r\n{key}")] {
        assert_eq!(status(&site.ask("GET /version", &[&cookie, wrong]).await), "401", "{wrong}");
    }
    assert_eq!(status(&site.ask("GET /version", &[&key]).await), "401", "the key alone");
    let socket = ["upgrade: websocket", "connection: upgrade", &cookie, &own];
    let protocol = "sec-websocket-protocol: key.knarr.0, v5.channel.k8s.io";
    let watch = "GET /api/v1/pods?watch=1";
    assert_eq!(status(&site.ask(watch, &[&socket[..], &[protocol]].concat()).await), "401");
    let protocol = format!("sec-websocket-protocol: a, key.knarr.{}", key.split(": ").nth(1).expect("a key"));
    let passed = site.ask(watch, &[&socket[..], &[&protocol]].concat()).await;
    assert!(status(&passed) == "200" && !passed.contains("key.knarr"), "{passed}");
    site.end().await;
}

#[tokio::test]
async fn another_name_for_the_address_is_refused() {
    let site = Site::start().await;
    let (cookie, port) = (site.cookie().await, site.address.port());
    for host in ["evil.example", "127.0.0.1", "evil.example:80", "127.0.0.1.evil.example", "localhost:1"] {
        let asked = format!("GET /version HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{cookie}\r\n\r\n");
        assert_eq!(status(&site.say(&asked).await), "421", "{host}");
    }
    let none = format!("GET /version HTTP/1.0\r\n{cookie}\r\n\r\n");
    assert_eq!(status(&site.say(&none).await), "421");
    let twice = site.ask("GET /version", &["host: evil.example", &cookie]).await;
    assert!(matches!(status(&twice), "421" | "400"), "{twice}");
    let absolute = site.ask("GET http://evil.example/version", &[&cookie]).await;
    assert_eq!(status(&absolute), "421");
    let local =
        format!("GET /version HTTP/1.1\r\nhost: localhost:{port}\r\nconnection: close\r\n{cookie}\r\n\r\n");
    assert_eq!(status(&site.say(&local).await), "200");
    site.end().await;
}

#[tokio::test]
async fn pages_of_other_sites_are_refused() {
    let site = Site::start().await;
    let cookie = site.cookie().await;
    let own = format!("origin: http://{}", site.address);
    let post = "POST /api/v1/namespaces/a/pods";
    for origin in
        ["http://evil.example", "null", "https://HOST", "http://HOST.evil.example", "http://localhost:1"]
    {
        let origin = format!("origin: {origin}");
        assert_eq!(status(&site.ask(post, &[&origin, &cookie]).await), "403", "{origin}");
        assert_eq!(status(&site.ask("GET /version", &[&origin, &cookie]).await), "403", "{origin}");
    }
    assert_eq!(status(&site.ask(post, &[&cookie]).await), "403", "no origin");
    assert_eq!(status(&site.ask(post, &[&own, &own, &cookie]).await), "403", "two origins");
    assert_eq!(status(&site.ask(post, &[&own, &cookie]).await), "200");
    // A WebSocket of another site carries the cookie wherever SameSite is not known.
    let socket = ["upgrade: websocket", "connection: upgrade"];
    let watch = "GET /api/v1/pods?watch=1";
    let evil = "origin: http://evil.example";
    assert_eq!(status(&site.ask(watch, &[socket[0], socket[1], &cookie, evil]).await), "403");
    assert_eq!(status(&site.ask(watch, &[socket[0], socket[1], &cookie]).await), "403");
    let led = "sec-fetch-site: cross-site";
    assert_eq!(status(&site.ask("GET /version", &[led, &cookie]).await), "403");
    assert_eq!(status(&site.ask("GET /", &[led, &cookie]).await), "200");
    for method in ["OPTIONS", "TRACE", "CONNECT"] {
        assert_ne!(status(&site.ask(&format!("{method} /version"), &[&own, &cookie]).await), "200");
    }
    site.end().await;
}

#[tokio::test]
async fn the_api_server_sees_what_the_page_may_say_and_no_more() {
    let site = Site::start().await;
    let (cookie, own) = (site.cookie().await, format!("origin: http://{}", site.address));
    let more = [
        &cookie,
        &own,
        "authorization: Bearer stolen",
        "impersonate-user: root",
        "x-remote-user: root",
        "x-forwarded-for: 1.2.3.4",
        "content-type: application/json",
        "accept: application/yaml",
        "content-length: 2\r\n\r\n{}",
    ];
    let response = site.ask("POST /table/api/v1/namespaces/a/pods?dryRun=All", &more).await;
    assert!(
        response.contains("POST /api/v1/namespaces/a/pods?dryRun=All [accept,content-type] 2"),
        "{response}"
    );
    let lower = response.to_ascii_lowercase();
    assert!(!lower.contains("set-cookie") && !lower.contains("location:"), "{response}");
    assert!(lower.contains("content-type: text/plain"), "{response}");
    assert!(lower.contains("sandbox") && lower.contains("x-content-type-options: nosniff"), "{response}");
    for path in ["/api/v1/namespaces/a/pods/b/proxy/", "/api/../metrics", "/metrics", "/assets/../Cargo.toml"]
    {
        assert_eq!(status(&site.ask(&format!("GET {path}"), &[&cookie]).await), "404", "{path}");
    }
    let large = format!("content-length: {}", 4 << 20);
    let head = format!(
        "POST /apis HTTP/1.1\r\nhost: HOST\r\nconnection: close\r\n{cookie}\r\n{own}\r\n{large}\r\n\r\n"
    );
    assert_eq!(status(&site.say(&head).await), "413");
    site.end().await;
}

#[tokio::test]
async fn the_page_may_hold_nothing_from_elsewhere() {
    let site = Site::start().await;
    let cookie = site.cookie().await;
    let page = site.ask("GET /", &[&cookie]).await;
    for expected in [
        "default-src 'none'",
        "script-src 'self';",
        "style-src 'self';",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "x-frame-options: DENY",
        "referrer-policy: no-referrer",
    ] {
        assert!(page.contains(expected), "{expected} in {page}");
    }
    assert!(!page.contains("unsafe-"), "{page}");
    let body = page.split("\r\n\r\n").nth(1).expect("a body");
    assert!(!body.contains("<style") && !body.contains(" style=") && !body.contains(" on"), "{body}");
    let compressed = site.ask("GET /assets/app.js", &[&cookie, "accept-encoding: br, gzip"]).await;
    assert!(compressed.contains("content-encoding: gzip"));
    let tag = compressed.lines().find_map(|line| line.strip_prefix("etag: ")).expect("a tag").trim();
    let known = site.ask("GET /assets/app.js", &[&cookie, &format!("if-none-match: {tag}")]).await;
    assert_eq!(status(&known), "304");
    site.end().await;
}

/// What the files in `web/dist` say they were built from is what lies in `web`.
#[test]
fn the_page_is_built_from_its_sources() {
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("web");
    let mut files: Vec<PathBuf> =
        ["build.mjs", "package.json", "package-lock.json", "tsconfig.json"].map(|f| web.join(f)).into();
    let sources = std::fs::read_dir(web.join("src")).expect("the sources");
    files.extend(sources.map(|entry| entry.expect("an entry").path()));
    let mut lines: Vec<String> = files
        .iter()
        .map(|file| {
            let digest = Sha256::digest(std::fs::read(file).expect("read"));
            let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            let name = file.strip_prefix(&web).expect("within").to_str().expect("a name");
            format!("{name} {digest}\n")
        })
        .collect();
    lines.sort();
    let digest: String = Sha256::digest(lines.concat()).iter().map(|byte| format!("{byte:02x}")).collect();
    let built = crate::assets::SOURCES_DIGEST.trim();
    assert_eq!(
        built, digest,
        "the sources have changed: run `npm ci && npm run build` in crates/dashboard/web"
    );
}
