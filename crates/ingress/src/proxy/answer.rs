//! The proxy's own answers: plain text that says what is wrong, and nothing of what the client has sent.

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{Response, StatusCode};

use super::response::ResponseBody;
use crate::translate::endpoints::Lack;

/// Why a request is answered by the proxy itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the request names no host, or several")]
    Host,
    #[error("this proxy opens no tunnels: the method CONNECT is not served")]
    Connect,
    #[error("no Ingress has a rule for this host and path")]
    NoRule,
    #[error("{0}")]
    Lack(Lack),
    #[error("the proxy has too many connections to endpoints")]
    Full,
    #[error("no endpoint of the Service could be reached")]
    Unreachable,
    #[error("the endpoint has closed the connection before it answered")]
    Broken,
    #[error("the endpoint's answer is not HTTP that can be passed on")]
    Odd,
    #[error("the endpoint has not answered in time")]
    Slow,
    #[error("the client has stopped sending the request")]
    Stalled,
    #[error("the backend is spoken to over HTTP/2, and is not asked for WebSocket")]
    NoWebSocket,
}

impl Refusal {
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Host => StatusCode::BAD_REQUEST,
            Self::Connect => StatusCode::METHOD_NOT_ALLOWED,
            Self::NoRule => StatusCode::NOT_FOUND,
            Self::Lack(_) | Self::Full => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unreachable | Self::Broken | Self::Odd => StatusCode::BAD_GATEWAY,
            Self::Slow => StatusCode::GATEWAY_TIMEOUT,
            Self::Stalled => StatusCode::REQUEST_TIMEOUT,
            Self::NoWebSocket => StatusCode::NOT_IMPLEMENTED,
        }
    }

    pub fn response(&self) -> Response<ResponseBody> {
        let status = self.status();
        let text = format!("{} {}: {self}\n", status.as_u16(), status.canonical_reason().unwrap_or(""));
        let mut response = Response::new(ResponseBody::own(text));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if *self == Self::Connect {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
        }
        response
    }
}
