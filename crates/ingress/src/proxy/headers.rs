//! The headers that change on the way. Pure.
//!
//! Those that concern one connection go (RFC 9110, section 7.6.1); those that say who asks are the proxy's own,
//! whatever the client has sent under their names.

use std::net::IpAddr;

use http::header::{
    CONNECTION, COOKIE, EXPECT, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::uri::Authority;
use http::{Request, Version};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");

/// Who asks, and where.
#[derive(Debug, Clone)]
pub(super) struct Client {
    /// The client's address.
    pub address: HeaderValue,
    /// The port that the client has connected to.
    pub port: HeaderValue,
    pub is_secure: bool,
}

impl Client {
    pub fn new(address: IpAddr, port: u16, is_secure: bool) -> Self {
        let address = address.to_canonical().to_string();
        let address = HeaderValue::try_from(address).expect("an address is of visible characters");
        Self { address, port: HeaderValue::from(port), is_secure }
    }
}

/// Why a request has no host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BadHost;

/// The host that a request is for: of its target, or else of its header. `None` where a client of HTTP/1.0 names none.
///
/// # Errors
/// When there is none, several, or one that is none.
pub(super) fn authority<B>(request: &Request<B>) -> Result<Option<Authority>, BadHost> {
    let mut named = request.headers().get_all(HOST).iter();
    let (first, second) = (named.next(), named.next());
    if second.is_some() {
        return Err(BadHost);
    }
    let named = request.uri().authority().cloned().map(Ok);
    let named = named.or_else(|| first.map(|host| Authority::try_from(host.as_bytes())));
    match named {
        // Of a user's name and password nothing is passed on.
        Some(Ok(authority)) if !authority.as_str().contains('@') => Ok(Some(authority)),
        Some(_) => Err(BadHost),
        None if request.version() == Version::HTTP_10 || request.version() == Version::HTTP_09 => Ok(None),
        None => Err(BadHost),
    }
}

/// The protocol that a client of HTTP/1.1 asks to go over to. HTTP/2 is none: it would let the client speak to the
/// endpoint behind the proxy's back.
pub(super) fn upgrade(version: Version, headers: &HeaderMap) -> Option<HeaderValue> {
    let is_asked = version == Version::HTTP_11
        && tokens(headers, &CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade"));
    let protocol = headers.get(UPGRADE).filter(|_| is_asked)?;
    let is_h2 = protocol.to_str().is_ok_and(|text| text.to_ascii_lowercase().contains("h2c"));
    (!is_h2).then(|| protocol.clone())
}

/// Makes the headers of a client's request those of the request to an endpoint, which is spoken to over HTTP/2 or not.
pub(super) fn of_request(headers: &mut HeaderMap, client: &Client, host: Option<&Authority>, to_h2: bool) {
    let takes_trailers = tokens(headers, &TE).any(|token| token.eq_ignore_ascii_case("trailers"));
    remove_hop_by_hop(headers);
    for name in [EXPECT, FORWARDED, PROXY_AUTHORIZATION] {
        headers.remove(name);
    }
    headers.insert(FORWARDED_FOR, client.address.clone());
    headers.insert(REAL_IP, client.address.clone());
    headers.insert(FORWARDED_PORT, client.port.clone());
    headers
        .insert(FORWARDED_PROTO, HeaderValue::from_static(if client.is_secure { "https" } else { "http" }));
    let host = host.and_then(|host| HeaderValue::from_str(host.as_str()).ok());
    match &host {
        Some(host) => drop(headers.insert(FORWARDED_HOST, host.clone())),
        None => drop(headers.remove(FORWARDED_HOST)),
    }
    if to_h2 {
        headers.remove(HOST);
        if takes_trailers {
            headers.insert(TE, TRAILERS);
        }
    } else {
        headers.insert(HOST, host.unwrap_or(HeaderValue::from_static("")));
        join_cookies(headers);
    }
}

/// Removes what concerns the connection to the endpoint alone.
pub(super) fn of_response(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
    headers.remove(PROXY_AUTHENTICATE);
}

/// Has both sides of a connection of HTTP/1.1 go over to a protocol.
pub(super) fn set_upgrade(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, protocol);
}

fn tokens<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|token| token.split(';').next().unwrap_or("").trim())
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> = tokens(headers, &CONNECTION)
            .filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok())
            // Whoever names these wants to take from the request what says where it goes and how long it is.
            .filter(|name| ![HOST, http::header::CONTENT_LENGTH].contains(name))
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    for name in [CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, TE, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
}

/// HTTP/2 may carry a cookie in pieces, which HTTP/1.1 may not (RFC 9113, section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let pieces: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if pieces.len() > 1
        && let Ok(whole) = HeaderValue::from_bytes(&pieces.join(&b"; "[..]))
    {
        headers.insert(COOKIE, whole);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            (name.parse::<HeaderName>().expect("a name"), value.parse::<HeaderValue>().expect("a value"))
        };
        let mut headers = HeaderMap::new();
        for (name, value) in pairs.iter().map(pair) {
            headers.append(name, value);
        }
        headers
    }

    fn shown(headers: &HeaderMap) -> Vec<String> {
        let mut lines: Vec<_> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().expect("visible")))
            .collect();
        lines.sort();
        lines
    }

    fn client() -> Client {
        Client::new("::ffff:192.0.2.1".parse().expect("an address"), 443, true)
    }

    const OWN: [&str; 5] = [
        "x-forwarded-for: 192.0.2.1",
        "x-forwarded-host: a.example:8443",
        "x-forwarded-port: 443",
        "x-forwarded-proto: https",
        "x-real-ip: 192.0.2.1",
    ];

    #[test]
    fn what_a_client_says_of_itself_is_replaced_and_hop_by_hop_headers_go() {
        let mut sent = headers(&[
            ("host", "other"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-for", "10.0.0.2"),
            ("x-forwarded-proto", "ftp"),
            ("x-real-ip", "10.0.0.1"),
            ("forwarded", "for=10.0.0.1"),
            ("connection", "close, X-Secret, content-length, host"),
            ("connection", "keep-alive"),
            ("keep-alive", "timeout=5"),
            ("x-secret", "1"),
            ("te", "trailers, deflate"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("proxy-authorization", "Basic eA=="),
            ("expect", "100-continue"),
            ("content-length", "3"),
            ("accept", "*/*"),
        ]);
        let host = Authority::from_static("a.example:8443");
        let mut to_h2 = sent.clone();
        of_request(&mut sent, &client(), Some(&host), false);
        let own = OWN.map(str::to_owned);
        assert_eq!(shown(&sent)[..3], ["accept: */*", "content-length: 3", "host: a.example:8443"]);
        assert_eq!(shown(&sent)[3..], own);
        of_request(&mut to_h2, &client(), Some(&host), true);
        assert_eq!(shown(&to_h2)[..3], ["accept: */*", "content-length: 3", "te: trailers"]);
        assert_eq!(shown(&to_h2)[3..], own);
    }

    #[test]
    fn pieces_of_a_cookie_become_one() {
        let mut sent = headers(&[("cookie", "a=1"), ("cookie", "b=2; c=3")]);
        of_request(&mut sent, &client(), None, false);
        assert_eq!(sent.get_all(COOKIE).iter().collect::<Vec<_>>(), ["a=1; b=2; c=3"]);
    }

    #[test]
    fn the_host_is_taken_from_the_target_before_the_header() {
        let named = |uri: &str, version, hosts: &[&str]| {
            let mut request = Request::builder().uri(uri).version(version);
            for host in hosts {
                request = request.header(HOST, *host);
            }
            let request = request.body(()).expect("a request");
            authority(&request).map(|found| found.map(|found| found.to_string()))
        };
        let some = |text: &str| Ok(Some(text.to_owned()));
        assert_eq!(named("/x", Version::HTTP_11, &["a:80"]), some("a:80"));
        assert_eq!(named("http://b/x", Version::HTTP_11, &["a"]), some("b"));
        assert_eq!(named("https://b/x", Version::HTTP_2, &[]), some("b"));
        assert_eq!(named("https://me@b/x", Version::HTTP_2, &[]), Err(BadHost));
        assert_eq!(named("/x", Version::HTTP_10, &[]), Ok(None));
        assert_eq!(named("/x", Version::HTTP_11, &[]), Err(BadHost));
        assert_eq!(named("/x", Version::HTTP_11, &["a", "b"]), Err(BadHost));
        assert_eq!(named("/x", Version::HTTP_11, &["a b"]), Err(BadHost));
        assert_eq!(named("/x", Version::HTTP_11, &["me@a"]), Err(BadHost));
        assert_eq!(named("/x", Version::HTTP_11, &[""]), Err(BadHost));
    }

    #[test]
    fn upgrades_are_of_http_1_1_and_never_to_http_2() {
        let asked = |version, connection, protocol| {
            upgrade(version, &headers(&[("connection", connection), ("upgrade", protocol)]))
                .map(|found| found.to_str().expect("visible").to_owned())
        };
        assert_eq!(asked(Version::HTTP_11, "keep-alive, Upgrade", "websocket").as_deref(), Some("websocket"));
        assert_eq!(asked(Version::HTTP_11, "keep-alive", "websocket"), None);
        assert_eq!(asked(Version::HTTP_10, "upgrade", "websocket"), None);
        assert_eq!(asked(Version::HTTP_11, "upgrade, HTTP2-Settings", "h2c"), None);
        assert_eq!(asked(Version::HTTP_11, "upgrade", "websocket, H2C"), None);
    }
}
