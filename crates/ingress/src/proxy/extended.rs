//! WebSocket over HTTP/2 (RFC 8441): a stream of a client's connection becomes an upgraded connection of HTTP/1.1 to the
//! endpoint. Pure.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{HeaderName, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION};
use http::{HeaderMap, HeaderValue, Method, Request};
use hyper::ext::Protocol;

const WEBSOCKET: &str = "websocket";

/// Whether a request asks for a stream that carries WebSocket.
pub(super) fn is_asked<B>(request: &Request<B>) -> bool {
    let protocol = request.extensions().get::<Protocol>();
    request.method() == Method::CONNECT && protocol.is_some_and(|protocol| protocol.as_str() == WEBSOCKET)
}

/// Makes the request one of HTTP/1.1 for an upgrade, and returns the protocol. The key, which a client of HTTP/2 does not
/// send, is the proxy's.
pub(super) fn to_upgrade<B>(request: &mut Request<B>, key: [u8; 16]) -> HeaderValue {
    *request.method_mut() = Method::GET;
    let headers = request.headers_mut();
    let key = HeaderValue::from_str(&STANDARD.encode(key)).expect("base64 is of visible characters");
    headers.insert(SEC_WEBSOCKET_KEY, key);
    headers.entry(SEC_WEBSOCKET_VERSION).or_insert(HeaderValue::from_static("13"));
    HeaderValue::from_static(WEBSOCKET)
}

/// Makes the headers of an endpoint's consent those of a stream's.
pub(super) fn of_consent(headers: &mut HeaderMap) {
    let answers_the_key: HeaderName = SEC_WEBSOCKET_ACCEPT;
    headers.remove(answers_the_key);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_for_websocket_becomes_an_upgrade() {
        let asked = |method: &str, protocol: Option<&'static str>| {
            let mut request =
                Request::builder().method(method).uri("https://a/chat").body(()).expect("a request");
            request.extensions_mut().extend(protocol.map(Protocol::from_static).into_iter().fold(
                http::Extensions::new(),
                |mut all, protocol| {
                    all.insert(protocol);
                    all
                },
            ));
            request
        };
        assert!(is_asked(&asked("CONNECT", Some("websocket"))));
        assert!(!is_asked(&asked("CONNECT", None)) && !is_asked(&asked("CONNECT", Some("connect-udp"))));
        assert!(!is_asked(&asked("GET", Some("websocket"))));
        let mut request = asked("CONNECT", Some("websocket"));
        request.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("8"));
        assert_eq!(to_upgrade(&mut request, [0; 16]), "websocket");
        assert_eq!(request.method(), Method::GET);
        assert_eq!(request.headers()[SEC_WEBSOCKET_KEY], "AAAAAAAAAAAAAAAAAAAAAA==");
        assert_eq!(request.headers()[SEC_WEBSOCKET_VERSION], "8");
    }
}
