//! Responses: those of the dashboard itself, and what holds for all.

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use serde_json::json;

/// Any error that ends a body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// The body of a response.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// The page's own files and connections, nothing written into the page, nothing from elsewhere, no frame around it.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; \
     connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'; trusted-types 'none'";

/// Content of the cluster is never a page: opened as one, it may do nothing.
const CONTENT_POLICY: &str = "default-src 'none'; frame-ancestors 'none'; sandbox";

pub fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A response of the dashboard itself.
pub fn page(status: StatusCode, content_type: &'static str, bytes: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(whole(bytes));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    secure(headers, PAGE_POLICY);
    response
}

/// An error in the form that the API's own have, so that the page shows it like those.
pub fn failure(status: StatusCode, reason: &str, message: &str) -> Response<Body> {
    let text = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": status.as_u16(),
    })
    .to_string();
    let mut response = page(status, "application/json", text);
    secure(response.headers_mut(), CONTENT_POLICY);
    response
}

/// What holds for content of the cluster.
pub fn secure_content(headers: &mut HeaderMap) {
    secure(headers, CONTENT_POLICY);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

fn secure(headers: &mut HeaderMap, policy: &'static str) {
    let same_origin = HeaderValue::from_static("same-origin");
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(HeaderName::from_static("cross-origin-opener-policy"), same_origin.clone());
    headers.insert(HeaderName::from_static("cross-origin-resource-policy"), same_origin);
    let none = HeaderValue::from_static("camera=(), microphone=(), geolocation=(), payment=(), usb=()");
    headers.insert(HeaderName::from_static("permissions-policy"), none);
}
