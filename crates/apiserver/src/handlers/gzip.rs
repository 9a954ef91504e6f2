//! Compresses the responses of large lists.

use std::collections::VecDeque;
use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, VARY};
use http::{HeaderMap, HeaderValue, Response};

use crate::body::{Body, BoxError, next_frame};

/// Bodies below this size are sent as they are, as upstream does.
const THRESHOLD_BYTES: usize = 128 * 1024;

/// Whether the client takes gzip.
fn accepts(headers: &HeaderMap) -> bool {
    headers
        .get(ACCEPT_ENCODING)
        .and_then(|v| v.to_str().ok())
        .is_some_and(|v| v.split(',').any(|e| e.split(';').next().unwrap_or("").trim() == "gzip"))
}

/// Compresses the response's pieces where that pays and the client takes it.
pub(super) fn maybe(headers: &HeaderMap, mut response: Response<Body>) -> Response<Body> {
    let large = match response.body() {
        Body::Full(bytes) => bytes.len() >= THRESHOLD_BYTES,
        Body::Pieces(pieces) => pieces.iter().map(Bytes::len).sum::<usize>() >= THRESHOLD_BYTES,
        Body::Empty | Body::Line(_) | Body::Events(_) | Body::Stream(_) => false,
    };
    if !large || !accepts(headers) {
        return response;
    }
    let pieces = match std::mem::take(response.body_mut()) {
        Body::Full(bytes) => VecDeque::from([bytes]),
        Body::Pieces(pieces) => pieces,
        Body::Empty | Body::Line(_) | Body::Events(_) | Body::Stream(_) => VecDeque::new(),
    };
    *response.body_mut() = compressed(pieces);
    response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    response
}

/// Compresses a frame at a time, when the connection asks for it.
fn compressed(pieces: VecDeque<Bytes>) -> Body {
    let encoder = GzEncoder::new(Vec::new(), Compression::fast());
    Body::stream(futures::stream::unfold(Some((pieces, encoder)), |state| async move {
        let (mut pieces, mut encoder) = state?;
        loop {
            let Some(frame) = next_frame(&mut pieces) else {
                let last = encoder.finish().map(Bytes::from).map_err(BoxError::from);
                return Some((last, None));
            };
            if let Err(error) = encoder.write_all(&frame) {
                return Some((Err(error.into()), None));
            }
            let out = std::mem::take(encoder.get_mut());
            if !out.is_empty() {
                return Some((Ok(out.into()), Some((pieces, encoder))));
            }
        }
    }))
}
