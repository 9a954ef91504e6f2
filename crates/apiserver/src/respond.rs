//! Turns results into HTTP responses. Errors become `Status` objects only here.

pub(crate) mod negotiate;
pub(crate) mod pretty;

use std::collections::HashSet;

use api::Error;
use api::layout::Laid;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, LOCATION, RETRY_AFTER, WARNING};
use http::{HeaderValue, Response, StatusCode};
use serde_json::Value;

use crate::body::Body;
use negotiate::{Answer, Format};

/// What handlers produce.
pub(crate) type Outcome = Result<Response<Body>, Error>;

/// A response with a body of the given type. `content_type` must be a valid header value.
pub(crate) fn with_type(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Body>,
) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// Ready-made JSON bytes.
pub(crate) fn json_bytes(status: StatusCode, body: impl Into<Body>) -> Response<Body> {
    with_type(status, "application/json", body)
}

/// Lays out a JSON answer for people, if it is at hand as a whole. Streams and encoded answers stay.
pub(crate) fn prettify(response: Response<Body>) -> Response<Body> {
    let json = response.headers().get(CONTENT_TYPE).is_some_and(|v| v == "application/json");
    if !json || response.headers().contains_key(CONTENT_ENCODING) {
        return response;
    }
    response.map(|body| match body {
        Body::Full(bytes) => Body::Full(pretty::indent(&bytes).into()),
        Body::Line(bytes) => Body::Full(pretty::indent(&bytes).into()),
        Body::Pieces(pieces) => {
            let whole: Vec<u8> = pieces.into_iter().flatten().collect();
            Body::Full(pretty::indent(&whole).into())
        }
        other => other,
    })
}

/// Plain text.
pub(crate) fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = with_type(status, "text/plain; charset=utf-8", Body::Full(body.into()));
    response.headers_mut().insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}

/// Where what was asked for is now.
pub(crate) fn moved(location: &str) -> Outcome {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    response.headers_mut().insert(LOCATION, HeaderValue::from_str(location).map_err(Error::internal)?);
    Ok(response)
}

/// A JSON value in the negotiated format.
pub(crate) fn value(status: StatusCode, answer: Answer, value: &Value) -> Outcome {
    let bytes = match answer.format {
        Format::Json => line(value).map_err(Error::internal)?,
        Format::Yaml => to_yaml(value)?,
        Format::Protobuf => protobuf(value)?,
    };
    Ok(with_type(status, answer.content_type(), bytes))
}

/// JSON bytes in the negotiated format: as they are, or read and written as YAML or protobuf.
pub(crate) fn object(status: StatusCode, answer: Answer, json: Bytes) -> Outcome {
    match answer.format {
        Format::Json => Ok(json_bytes(status, Body::Line(json))),
        Format::Yaml | Format::Protobuf => {
            let parsed: Value = serde_json::from_slice(&json).map_err(Error::internal)?;
            value(status, answer, &parsed)
        }
    }
}

/// A JSON value as upstream's encoder writes it: its members in order, and a newline.
fn line(value: &Value) -> Result<Vec<u8>, serde_json::Error> {
    let mut bytes = serde_json::to_vec(&Laid(value))?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn to_yaml(value: &Value) -> Result<Vec<u8>, Error> {
    serde_saphyr::to_string(value).map(String::into_bytes).map_err(Error::internal)
}

/// An object in its envelope.
pub(crate) fn protobuf(value: &Value) -> Result<Vec<u8>, Error> {
    resources::protobuf::object(value)
        .map_err(|why| Error::internal(format!("the answer cannot be written in protobuf: {why}")))
}

/// The `Status` of a failure, in the form that the client wants.
pub(crate) fn error(error: &Error, answer: Answer) -> Response<Body> {
    let status = StatusCode::from_u16(error.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let told = error.to_status();
    let mut response = value(status, answer, &told)
        .unwrap_or_else(|_| json_bytes(status, line(&told).expect("a Status is JSON")));
    let retry = error.details.as_ref().and_then(|d| d.get("retryAfterSeconds")).and_then(Value::as_u64);
    if let Some(seconds) = retry {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// How long all warnings of an answer may be together, in characters, and each once they would be longer.
/// Upstream's (`apiserver/pkg/endpoints/filters/warning.go`).
const WARNINGS: usize = 4096;
const WARNING_AMONG_MANY: usize = 256;

/// Adds `Warning` headers (RFC 7234 §5.5), as kubectl prints them: each text once. Texts that cannot stand
/// in a header lose the offending characters; of too many the last are not sent.
pub(crate) fn add_warnings(response: &mut Response<Body>, warnings: &[String]) {
    let total: usize = warnings.iter().map(String::len).sum();
    let each = if total > WARNINGS { WARNING_AMONG_MANY } else { WARNINGS };
    let mut left = WARNINGS;
    let mut sent = HashSet::new();
    for warning in warnings {
        if !sent.insert(warning) {
            continue;
        }
        left = match left.checked_sub(warning.chars().take(each).count()) {
            Some(left) => left,
            None => return,
        };
        let mut line = String::with_capacity(warning.len().min(each) + 10);
        line.push_str("299 - \"");
        for c in warning.chars().filter(|c| !c.is_control()).take(each) {
            if matches!(c, '"' | '\\') {
                line.push('\\');
            }
            line.push(c);
        }
        line.push('"');
        if let Ok(header) = HeaderValue::from_bytes(line.as_bytes()) {
            response.headers_mut().append(WARNING, header);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_quoted_and_kept_on_one_line() {
        let mut response = text(StatusCode::OK, "");
        add_warnings(&mut response, &["unknown field \"spec.x\"\n".to_owned()]);
        assert_eq!(response.headers()[WARNING], "299 - \"unknown field \\\"spec.x\\\"\"");
    }

    #[test]
    fn warnings_are_sent_once_and_no_more_than_a_client_can_take() {
        let mut response = text(StatusCode::OK, "");
        let mut many: Vec<String> = (0..100_000).map(|i| format!("{i}{}", "x".repeat(500))).collect();
        many.insert(0, many[0].clone());
        add_warnings(&mut response, &many);
        let sent: Vec<_> = response.headers().get_all(WARNING).iter().collect();
        assert_eq!(sent.len(), WARNINGS / WARNING_AMONG_MANY);
        assert_eq!(sent[0].len(), WARNING_AMONG_MANY + "299 - \"\"".len());
        assert_ne!(sent[0], sent[1]);
    }

    #[test]
    fn busy_answers_say_when_to_come_back() {
        let response = error(&Error::too_many_requests("later", 3), Answer::default());
        assert_eq!(
            (response.status().as_u16(), &response.headers()[RETRY_AFTER]),
            (429, &HeaderValue::from(3))
        );
    }
}
