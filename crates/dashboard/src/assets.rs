//! The page's files, built by `web/build.mjs` and kept compressed.

use std::io::Read;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, ETAG, IF_NONE_MATCH, VARY};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use crate::respond::{Body, failure, page, whole};

/// What the files were built from: the digest of all sources.
pub const SOURCES_DIGEST: &str = include_str!("../web/dist/sources.sha256");

struct Asset {
    path: &'static str,
    content_type: &'static str,
    /// Compressed with gzip.
    bytes: &'static [u8],
}

macro_rules! asset {
    ($path:literal, $file:literal, $content_type:literal) => {
        Asset {
            path: $path,
            content_type: $content_type,
            bytes: include_bytes!(concat!("../web/dist/", $file, ".gz")),
        }
    };
}

static ASSETS: &[Asset] = &[
    asset!("/", "index.html", "text/html; charset=utf-8"),
    asset!("/assets/app.js", "app.js", "text/javascript; charset=utf-8"),
    asset!("/assets/app.css", "app.css", "text/css; charset=utf-8"),
    asset!("/assets/editor.js", "editor.js", "text/javascript; charset=utf-8"),
    asset!("/assets/terminal.js", "terminal.js", "text/javascript; charset=utf-8"),
    asset!("/assets/terminal.css", "terminal.css", "text/css; charset=utf-8"),
    asset!("/assets/icon.svg", "icon.svg", "image/svg+xml"),
    asset!("/assets/licences.txt", "licences.txt", "text/plain; charset=utf-8"),
];

/// The file at `path`, if there is one.
pub fn answer(path: &str, headers: &HeaderMap) -> Option<Response<Body>> {
    let asset = ASSETS.iter().find(|asset| asset.path == path)?;
    let tag = HeaderValue::from_str(&format!("\"{}\"", SOURCES_DIGEST.trim())).ok()?;
    let is_known = headers.get(IF_NONE_MATCH).is_some_and(|known| *known == tag);
    let (bytes, encoding) = match (is_known, takes_gzip(headers)) {
        (true, _) => (Bytes::new(), None),
        (false, true) => (Bytes::from_static(asset.bytes), Some(HeaderValue::from_static("gzip"))),
        (false, false) => match inflated(asset.bytes) {
            Ok(bytes) => (bytes, None),
            Err(error) => {
                return Some(failure(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", &error.to_string()));
            }
        },
    };
    let status = if is_known { StatusCode::NOT_MODIFIED } else { StatusCode::OK };
    let mut response = page(status, asset.content_type, Bytes::new());
    *response.body_mut() = whole(bytes);
    let headers = response.headers_mut();
    headers.insert(ETAG, tag);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    if let Some(encoding) = encoding {
        headers.insert(CONTENT_ENCODING, encoding);
    }
    Some(response)
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        name.trim().eq_ignore_ascii_case("gzip") && weight.trim() != "q=0"
    })
}

fn inflated(bytes: &[u8]) -> std::io::Result<Bytes> {
    let mut out = Vec::new();
    flate2::read::GzDecoder::new(bytes).read_to_end(&mut out)?;
    Ok(out.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_can_be_read_without_compression() {
        for asset in ASSETS {
            let bytes = inflated(asset.bytes).expect("sound");
            assert!(!bytes.is_empty(), "{}", asset.path);
        }
    }

    #[test]
    fn what_a_browser_loads_first_stays_small() {
        let first = ["/", "/assets/app.js", "/assets/app.css", "/assets/icon.svg"];
        let sum: usize = ASSETS.iter().filter(|a| first.contains(&a.path)).map(|a| a.bytes.len()).sum();
        assert!(sum <= 100 << 10, "{sum} bytes");
        assert!(ASSETS.iter().map(|a| a.bytes.len()).sum::<usize>() <= 400 << 10);
    }
}
