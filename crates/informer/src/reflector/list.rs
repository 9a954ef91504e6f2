//! [`objects`]: all objects of a collection by pages, from servers whose watches do not begin with them.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use kube::Client;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::cache::Item;

/// How many objects are asked for at a time.
const PAGE: usize = 500;
/// The largest page taken, in bytes.
const MAX_PAGE_BYTES: usize = 64 << 20;
/// The largest list taken, all pages together, in bytes.
const MAX_LIST_BYTES: usize = 512 << 20;
/// How long a page may take.
const PAGE_PATIENCE: Duration = Duration::from_secs(60);
/// The metadata alone is enough, for servers that know how to leave the rest out.
const METADATA: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
/// The same for the objects of a watch.
pub(super) const METADATA_EVENTS: &str =
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";

#[derive(Deserialize)]
struct List<'a> {
    metadata: Meta,
    #[serde(borrow, default)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    #[serde(default)]
    resource_version: String,
    #[serde(default, rename = "continue")]
    rest: String,
}

/// The objects, and the version from which a watch continues.
///
/// # Errors
/// Why they cannot be had.
pub(super) async fn objects(client: &Client, path: &str) -> Result<(Vec<Item>, String), String> {
    let mut items = Vec::new();
    let mut rest = String::new();
    let mut bytes = 0;
    loop {
        let page = tokio::time::timeout(PAGE_PATIENCE, page(client, path, &rest)).await;
        let page = page.map_err(|_| "a page of the list takes too long".to_owned())??;
        bytes += page.len();
        if bytes > MAX_LIST_BYTES {
            return Err(format!("the list is larger than {MAX_LIST_BYTES} bytes"));
        }
        let list: List<'_> = serde_json::from_slice(&page).map_err(|error| format!("no list: {error}"))?;
        for item in list.items.into_iter().flatten() {
            match Item::read(Bytes::copy_from_slice(item.get().as_bytes())) {
                Ok(item) => items.push(item),
                Err(error) => tracing::error!(path, %error, "an object is odd and is left out"),
            }
        }
        if list.metadata.rest.is_empty() {
            return Ok((items, list.metadata.resource_version));
        }
        if list.metadata.rest == rest {
            return Err("the list does not go on: the token of its rest is the last one's".to_owned());
        }
        rest = list.metadata.rest;
    }
}

async fn page(client: &Client, path: &str, rest: &str) -> Result<Bytes, String> {
    let mut uri = format!("{path}?limit={PAGE}");
    if !rest.is_empty() {
        // The token is base64 in its form for URLs, or comes from a server that says what it likes.
        let safe = rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_=.~".contains(&byte));
        if !safe {
            return Err("the token of the rest of a list is odd".to_owned());
        }
        uri.push_str("&continue=");
        uri.push_str(rest);
    }
    let request = http::Request::get(uri)
        .header(http::header::ACCEPT, METADATA)
        .body(kube::client::Body::empty())
        .map_err(|error| error.to_string())?;
    let response = client.send(request).await.map_err(|error| error.to_string())?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_PAGE_BYTES).collect().await;
    let body = body.map_err(|error| error.to_string())?.to_bytes();
    if status.is_success() { Ok(body) } else { Err(format!("status {status}")) }
}
