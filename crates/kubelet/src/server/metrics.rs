//! `/metrics` and `/metrics/probes`: the node's figures, in the format that the caller asks for.

use std::fmt;

use base::Metrics;
use base::metrics::Format;
use http::{HeaderMap, Response, StatusCode, header};

use super::answer::{self, Body};

/// What `metrics` shows now.
pub fn answer(metrics: &Metrics, headers: &HeaderMap) -> Response<Body> {
    accepted(headers, |format| metrics.render(format))
}

/// Figures in the format that the caller accepts.
pub fn accepted(
    headers: &HeaderMap,
    render: impl FnOnce(Format) -> Result<String, fmt::Error>,
) -> Response<Body> {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let format = Format::accepted(accept);
    match render(format) {
        Ok(text) => answer::with_type(StatusCode::OK, format.content_type(), text),
        Err(error) => {
            tracing::error!(%error, "a metric cannot be written as text");
            answer::text(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written")
        }
    }
}
