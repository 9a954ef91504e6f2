//! Bodies and plain answers.

use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};

use crate::seams::LookupError;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

pub fn body(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

pub fn with_type(status: StatusCode, content_type: &'static str, bytes: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(body(bytes));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    response
}

/// Plain text, as upstream's node API answers errors.
pub fn text(status: StatusCode, text: impl Into<String>) -> Response<Body> {
    with_type(status, "text/plain; charset=utf-8", text.into())
}

/// A pod or container that cannot be addressed. What is not there yet is the client's mistake.
pub fn lookup_failed(error: &LookupError) -> Response<Body> {
    let status = match error {
        LookupError::NoPod(_) | LookupError::NoContainer { .. } | LookupError::NoSandbox(_) => {
            StatusCode::NOT_FOUND
        }
        LookupError::Waiting { .. } | LookupError::NoPrevious { .. } | LookupError::InProcess { .. } => {
            StatusCode::BAD_REQUEST
        }
    };
    text(status, error.to_string())
}
