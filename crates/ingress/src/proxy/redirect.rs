//! Sends clients from HTTP to HTTPS. Pure.

use http::header::LOCATION;
use http::uri::Authority;
use http::{HeaderValue, Response, StatusCode, Uri};

use super::answer::Refusal;
use super::response::ResponseBody;

/// Requests below this path are never sent elsewhere: who issues certificates looks there by HTTP (RFC 8555, section 8.3).
const CHALLENGES: &str = "/.well-known/acme-challenge/";

/// Whether a request is one that can be sent elsewhere.
pub(super) fn is_for(path: &str) -> bool {
    !path.starts_with(CHALLENGES)
}

/// The answer: the same target over TLS, with the same method (308, as ingress-nginx answers).
///
/// # Errors
/// When the client has named no host.
pub(super) fn to_https(
    asked: &Uri,
    host: Option<&Authority>,
    port: u16,
) -> Result<Response<ResponseBody>, Refusal> {
    let host = host.ok_or(Refusal::Host)?.host();
    let path = asked.path_and_query().map_or("/", |path| path.as_str());
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    let location = HeaderValue::try_from(format!("https://{host}{port}{path}")).map_err(|_| Refusal::Host)?;
    let mut response = Response::new(ResponseBody::own(""));
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_target_stays_the_same_but_for_scheme_and_port() {
        let location = |uri: &'static str, host: &'static str, port| {
            let response = to_https(&Uri::from_static(uri), Some(&Authority::from_static(host)), port);
            let response = response.expect("an answer");
            assert_eq!(response.status(), 308);
            response.headers()[LOCATION].to_str().expect("visible").to_owned()
        };
        assert_eq!(location("/a/b?c=%20", "a.x:8080", 443), "https://a.x/a/b?c=%20");
        assert_eq!(location("http://a.x/", "a.x", 8443), "https://a.x:8443/");
        assert_eq!(location("/x", "[fd00::1]:80", 443), "https://[fd00::1]/x");
        assert!(to_https(&Uri::from_static("/"), None, 443).is_err());
        assert!(is_for("/") && is_for("/.well-known/x") && !is_for("/.well-known/acme-challenge/token"));
    }
}
