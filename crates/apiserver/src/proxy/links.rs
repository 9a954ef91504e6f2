//! Links of a proxied page: what the page believes to be at the root of its own server is under the proxy's path for
//! the client.
//!
//! Start with [`Links::rewrite`]. Rewritten are the header `Location` and the attributes of HTML that hold a URL, as
//! upstream does; URLs in scripts and style sheets are the page's own matter.

use std::io::{self, Read, Write};

use bytes::{Bytes, BytesMut};
use flate2::Compression;
use html5gum::emitters::callback::{CallbackEmitter, CallbackEvent};
use html5gum::{Span, Tokenizer};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, LOCATION};
use http::{HeaderValue, Response};
use http_body_util::BodyExt;

use crate::body::Body;

/// A page beyond this size is handed on as it is, in bytes; also what a compressed page may unfold to.
const MAX_PAGE_BYTES: usize = 4 << 20;

/// Attributes that hold one URL, by the element's name
/// (<https://html.spec.whatwg.org/multipage/indices.html#attributes-3>, and those of HTML 4).
const ATTRIBUTES: [(&str, &[&str]); 25] = [
    ("a", &["href"]),
    ("applet", &["codebase"]),
    ("area", &["href"]),
    ("audio", &["src"]),
    ("base", &["href"]),
    ("blockquote", &["cite"]),
    ("body", &["background"]),
    ("button", &["formaction"]),
    ("command", &["icon"]),
    ("del", &["cite"]),
    ("embed", &["src"]),
    ("form", &["action"]),
    ("frame", &["longdesc", "src"]),
    ("head", &["profile"]),
    ("html", &["manifest"]),
    ("iframe", &["longdesc", "src"]),
    ("img", &["longdesc", "src", "usemap"]),
    ("input", &["src", "usemap", "formaction"]),
    ("ins", &["cite"]),
    ("link", &["href"]),
    ("object", &["classid", "codebase", "data", "usemap"]),
    ("q", &["cite"]),
    ("script", &["src"]),
    ("source", &["src"]),
    ("video", &["poster", "src"]),
];

/// Where a page is for the client, and by which names the page knows its own server.
pub(crate) struct Links {
    /// The path of the proxy, without a slash at its end.
    prefix: String,
    /// The backend's authority, and the one that the client used.
    own: [String; 2],
}

impl Links {
    pub(crate) fn new(prefix: String, backend: String, asked: String) -> Self {
        Self { prefix, own: [backend, asked] }
    }

    /// Rewrites what links the answer has.
    pub(crate) async fn rewrite(&self, response: Response<Body>) -> Response<Body> {
        let (mut parts, body) = response.into_parts();
        if let Some(location) = parts.headers.get(LOCATION) {
            let through = location.to_str().ok().and_then(|url| self.through(url));
            if let Some(value) = through.and_then(|url| HeaderValue::from_str(&url).ok()) {
                parts.headers.insert(LOCATION, value);
            }
            return Response::from_parts(parts, body);
        }
        let Some(encoding) = Encoding::of(&parts.headers).filter(|_| is_html(&parts.headers)) else {
            return Response::from_parts(parts, body);
        };
        let page = match whole(body).await {
            Ok(page) => page,
            Err(body) => return Response::from_parts(parts, body),
        };
        match encoding.decode(&page).map(|html| self.page(&html)) {
            Ok(Some(html)) => {
                // A chunked answer stays one without a length.
                parts.headers.remove(CONTENT_LENGTH);
                match encoding.encode(html) {
                    Ok(page) => Response::from_parts(parts, page.into()),
                    Err(error) => Response::from_parts(parts, failing(error)),
                }
            }
            Ok(None) => Response::from_parts(parts, page.into()),
            Err(error) => {
                tracing::debug!(%error, "the links of a proxied page stay as they are");
                Response::from_parts(parts, page.into())
            }
        }
    }

    /// The page with other links; `None` for one that has none to change.
    fn page(&self, html: &[u8]) -> Option<Vec<u8>> {
        let mut changes: Vec<(Span<usize>, String)> = Vec::new();
        let mut attributes: &[&str] = &[];
        let mut is_link = false;
        let mut emitter = CallbackEmitter::new(|event: CallbackEvent<'_>, span: Span<usize>| {
            match event {
                CallbackEvent::OpenStartTag { name } => {
                    attributes = attributes_of(name);
                    is_link = false;
                }
                CallbackEvent::AttributeName { name } => {
                    is_link = attributes.iter().any(|known| known.as_bytes() == name);
                }
                CallbackEvent::AttributeValue { value } if is_link => {
                    is_link = false;
                    let url = std::str::from_utf8(value).ok().and_then(|url| self.through(url));
                    changes.extend(url.map(|url| (span, escaped(&url))));
                }
                CallbackEvent::CloseStartTag { .. } | CallbackEvent::EndTag { .. } => attributes = &[],
                _ => {}
            }
            None::<std::convert::Infallible>
        });
        // Without it, scripts would be taken for markup.
        emitter.naively_switch_states(true);
        let Ok(()) = Tokenizer::new_with_emitter(html, emitter).finish();
        if changes.is_empty() {
            return None;
        }
        let mut out = Vec::with_capacity(html.len() + changes.len() * self.prefix.len());
        let mut copied = 0;
        for (span, url) in changes {
            out.extend_from_slice(html.get(copied..span.start)?);
            out.extend_from_slice(url.as_bytes());
            copied = span.end;
        }
        out.extend_from_slice(html.get(copied..)?);
        Some(out)
    }

    /// The URL by which a client reaches, through the proxy, what the page means by `url`; `None` where that is `url`
    /// itself: it is relative, another server's, or has the proxy's path already.
    fn through(&self, url: &str) -> Option<String> {
        let path = match url.split_once("://") {
            Some((scheme, rest))
                if scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b)) =>
            {
                self.path_at_own(rest)?
            }
            _ => match url.strip_prefix("//") {
                Some(rest) => self.path_at_own(rest)?,
                None => url,
            },
        };
        if !path.starts_with('/') {
            return None;
        }
        let is_under =
            path.strip_prefix(&self.prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        match is_under {
            true if path.len() == url.len() => None,
            true => Some(path.to_owned()),
            false => Some(format!("{}{path}", self.prefix)),
        }
    }

    /// What follows the authority, where the authority is this page's server.
    fn path_at_own<'a>(&self, rest: &'a str) -> Option<&'a str> {
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        self.own.iter().any(|own| own == authority).then_some(path)
    }
}

fn attributes_of(element: &[u8]) -> &'static [&'static str] {
    let found = ATTRIBUTES.iter().find(|(name, _)| name.as_bytes() == element);
    found.map_or(&[], |(_, attributes)| attributes)
}

/// As the value of an attribute, in quotes of either kind or in none.
fn escaped(url: &str) -> String {
    let mut out = String::with_capacity(url.len());
    for c in url.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            c if c.is_ascii_whitespace() || c == '`' => {
                out.push_str(&format!("&#{};", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out
}

fn is_html(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("text/html")
}

/// The body if it is small enough, else the same body again.
async fn whole(mut body: Body) -> Result<Bytes, Body> {
    let mut read = BytesMut::new();
    loop {
        let error = match body.frame().await {
            None => return Ok(read.freeze()),
            Some(Ok(frame)) => {
                read.extend_from_slice(&frame.into_data().unwrap_or_default());
                if read.len() <= MAX_PAGE_BYTES {
                    continue;
                }
                None
            }
            Some(Err(error)) => Some(error),
        };
        let before = futures::stream::iter([Some(Ok(read.freeze())), error.map(Err)].into_iter().flatten());
        let rest = futures::stream::unfold(body, |mut body| async move {
            let frame = body.frame().await?.map(|frame| frame.into_data().unwrap_or_default());
            Some((frame, body))
        });
        return Err(Body::stream(futures::StreamExt::chain(before, rest)));
    }
}

fn failing(error: io::Error) -> Body {
    Body::stream(futures::stream::iter([Err(error.into())]))
}

/// How a page is packed.
#[derive(Clone, Copy)]
enum Encoding {
    Plain,
    Gzip,
    Deflate,
}

impl Encoding {
    /// `None` for a packing that is not known: such a page is handed on as it is.
    fn of(headers: &HeaderMap) -> Option<Self> {
        match headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes) {
            None | Some(b"" | b"identity") => Some(Self::Plain),
            Some(b"gzip") => Some(Self::Gzip),
            Some(b"deflate") => Some(Self::Deflate),
            Some(_) => None,
        }
    }

    fn decode(self, page: &[u8]) -> io::Result<Vec<u8>> {
        let limit = MAX_PAGE_BYTES as u64 + 1;
        let mut html = Vec::new();
        match self {
            Self::Plain => page.take(limit).read_to_end(&mut html)?,
            Self::Gzip => flate2::read::MultiGzDecoder::new(page).take(limit).read_to_end(&mut html)?,
            Self::Deflate => flate2::read::DeflateDecoder::new(page).take(limit).read_to_end(&mut html)?,
        };
        if html.len() > MAX_PAGE_BYTES {
            return Err(io::Error::other("the page is too large"));
        }
        Ok(html)
    }

    fn encode(self, html: Vec<u8>) -> io::Result<Vec<u8>> {
        match self {
            Self::Plain => Ok(html),
            Self::Gzip => {
                let mut packed = flate2::write::GzEncoder::new(Vec::new(), Compression::fast());
                packed.write_all(&html)?;
                packed.finish()
            }
            Self::Deflate => {
                let mut packed = flate2::write::DeflateEncoder::new(Vec::new(), Compression::fast());
                packed.write_all(&html)?;
                packed.finish()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFIX: &str = "/api/v1/namespaces/n/services/http:s:80/proxy";

    fn links() -> Links {
        Links::new(PREFIX.into(), "10.0.0.7:8080".into(), "localhost:8001".into())
    }

    #[test]
    fn what_is_at_the_pages_own_root_is_under_the_proxy() {
        for (url, through) in [
            ("/", "/"),
            ("/a?b=/c#d", "/a?b=/c#d"),
            ("http://10.0.0.7:8080/a", "/a"),
            ("//localhost:8001/a/", "/a/"),
        ] {
            assert_eq!(links().through(url), Some(format!("{PREFIX}{through}")), "{url}");
        }
        let already = format!("http://localhost:8001{PREFIX}/a");
        assert_eq!(links().through(&already), Some(format!("{PREFIX}/a")));
        let under = format!("{PREFIX}/a");
        for url in [
            "",
            "a",
            "../a",
            "#a",
            "?a",
            "mailto:a@b",
            "https://example.com/a",
            "//example.com/a",
            "a:b",
            under.as_str(),
        ] {
            assert_eq!(links().through(url), None, "{url}");
        }
    }

    fn page(html: &str) -> String {
        links()
            .page(html.as_bytes())
            .map_or_else(|| "as it was".into(), |out| String::from_utf8(out).expect("text"))
    }

    #[test]
    fn a_pages_links_are_rewritten_and_nothing_else() {
        assert_eq!(
            page(r#"<a href="/rewriteme">test</a>"#),
            format!(r#"<a href="{PREFIX}/rewriteme">test</a>"#)
        );
        assert_eq!(
            page("<!doctype html><IMG alt='/x' SRC=/a?b&amp;c><p>/d</p>"),
            format!("<!doctype html><IMG alt='/x' SRC={PREFIX}/a?b&amp;c><p>/d</p>")
        );
        assert_eq!(
            page(r#"<script src='/s.js'>"<a href='/x'>"</script><a href='/y'>"#),
            format!(r#"<script src='{PREFIX}/s.js'>"<a href='/x'>"</script><a href='{PREFIX}/y'>"#)
        );
        for same in
            ["foo", "<a href=b>", "<p href='/a'>", "<!-- <a href='/a'> -->", "<a href='/a", "<a href>"]
        {
            assert_eq!(page(same), "as it was", "{same}");
        }
        assert_eq!(links().page(b"\xff<a href='/\xff'>"), None);
        let mixed = links().page(b"\xff\xfe<a href='/a'>\xff").expect("a link");
        assert_eq!(mixed, [b"\xff\xfe<a href='", PREFIX.as_bytes(), b"/a'>\xff"].concat());
    }

    async fn answer(encoding: Option<&'static str>, body: Body) -> Vec<u8> {
        let mut response = Response::new(body);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        if let Some(encoding) = encoding {
            response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        let (_, body) = links().rewrite(response).await.into_parts();
        body.collect().await.expect("a body").to_bytes().to_vec()
    }

    #[tokio::test]
    async fn packed_pages_are_unpacked_and_packed_again() {
        let html = b"<a href='/a'>";
        let rewritten = format!("<a href='{PREFIX}/a'>");
        for (name, encoding) in
            [(None, Encoding::Plain), (Some("gzip"), Encoding::Gzip), (Some("deflate"), Encoding::Deflate)]
        {
            let packed = encoding.encode(html.to_vec()).expect("packed");
            let got = answer(name, packed.into()).await;
            assert_eq!(encoding.decode(&got).expect("unpacked"), rewritten.as_bytes(), "{name:?}");
        }
        for other in ["br", "gzip"] {
            assert_eq!(answer(Some(other), html.to_vec().into()).await, html, "not what it says: {other}");
        }
    }

    #[tokio::test]
    async fn a_page_beyond_the_limit_passes_as_it_is() {
        let piece = Bytes::from("<a href='/a'>".repeat(100_000));
        let pieces = std::iter::repeat_n(piece.clone(), 8).map(Ok);
        let got = answer(None, Body::stream(futures::stream::iter(pieces))).await;
        assert_eq!(got, piece.repeat(8));
        let unfolds = Encoding::Gzip.encode(vec![b' '; 2 * MAX_PAGE_BYTES]).expect("packed");
        assert_eq!(answer(Some("gzip"), unfolds.clone().into()).await, unfolds);
    }

    #[tokio::test]
    async fn a_redirect_leads_through_the_proxy() {
        let mut response = Response::new(Body::Empty);
        response
            .headers_mut()
            .insert(LOCATION, HeaderValue::from_static("http://10.0.0.7:8080/login?next=/"));
        let response = links().rewrite(response).await;
        assert_eq!(response.headers()[LOCATION], format!("{PREFIX}/login?next=/"));
    }
}
