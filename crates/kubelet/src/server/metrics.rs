//! `/metrics`: the node's figures, in the format that the caller asks for.

use base::metrics::Format;
use http::{HeaderMap, Response, StatusCode, header};

use super::ServerDeps;
use super::answer::{self, Body};

pub fn answer(deps: &ServerDeps, headers: &HeaderMap) -> Response<Body> {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let format = Format::accepted(accept);
    match deps.metrics.render(format) {
        Ok(text) => answer::with_type(StatusCode::OK, format.content_type(), text),
        Err(error) => {
            tracing::error!(%error, "a metric cannot be written as text");
            answer::text(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written")
        }
    }
}
