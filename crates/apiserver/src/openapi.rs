//! `/openapi/v2` and `/openapi/v3`: documents made from the kind table on demand and kept compressed.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

use api::{Error, GroupVersion};
use arc_swap::ArcSwapOption;
use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use http::header::{ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, ETAG, IF_NONE_MATCH, VARY};
use http::{HeaderValue, StatusCode};
use resources::{KindTable, ResourceSource, openapi};
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;

use crate::body::Body;
use crate::request::call::Call;
use crate::respond::negotiate::Clause;
use crate::respond::{self, Outcome};

/// A document's bytes, compressed.
struct Document {
    gzip: Bytes,
    etag: HeaderValue,
}

/// Which document.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Name {
    V2,
    V2Protobuf,
    Index,
    V3(GroupVersion),
}

/// The documents of one state of the kind table, made when first asked for.
struct Documents {
    table: Arc<KindTable>,
    made: Mutex<HashMap<Name, Arc<OnceCell<Document>>>>,
}

/// Makes and keeps the documents.
#[derive(Default)]
pub(crate) struct OpenApi {
    current: ArcSwapOption<Documents>,
}

impl OpenApi {
    fn documents(&self, table: Arc<KindTable>) -> Arc<Documents> {
        if let Some(current) = self.current.load_full()
            && Arc::ptr_eq(&current.table, &table)
        {
            return current;
        }
        let fresh = Arc::new(Documents { table, made: Mutex::default() });
        self.current.store(Some(Arc::clone(&fresh)));
        fresh
    }

    /// Answers a path below `/openapi`; `parts` are its segments.
    pub(crate) async fn answer(&self, source: &dyn ResourceSource, call: &Call, parts: &[&str]) -> Outcome {
        let documents = self.documents(source.table());
        let (name, content_type) = match parts {
            ["openapi", "v2"] if wants_protobuf(call) => (Name::V2Protobuf, openapi::V2_PROTOBUF),
            ["openapi", "v2"] => (Name::V2, "application/json"),
            ["openapi", "v3"] => (Name::Index, "application/json"),
            ["openapi", "v3", "api", version] => {
                (Name::V3(GroupVersion::new("", version)), "application/json")
            }
            ["openapi", "v3", "apis", group, version] => {
                (Name::V3(GroupVersion::new(group, version)), "application/json")
            }
            _ => return Err(Error::no_such_path()),
        };
        let forever = matches!(name, Name::V3(_)) && call.query.get("hash").is_some();
        let cell = documents.cell(&name)?;
        let document = cell.get_or_try_init(|| make(Arc::clone(&documents.table), name)).await?;
        document.respond(call, content_type, forever)
    }
}

impl Documents {
    /// The place of a document; 404 for versions that are not served.
    fn cell(&self, name: &Name) -> Result<Arc<OnceCell<Document>>, Error> {
        if let Name::V3(gv) = name
            && !self.table.group_versions().contains(gv)
        {
            return Err(Error::no_such_path());
        }
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(made.entry(name.clone()).or_default()))
    }
}

/// Makes a document on a thread where that may take its time.
async fn make(table: Arc<KindTable>, name: Name) -> Result<Document, Error> {
    let made = tokio::task::spawn_blocking(move || {
        let bytes = match name {
            Name::V2 => serde_json::to_vec(&openapi::v2(&table)).map_err(Error::internal)?,
            Name::V2Protobuf => openapi::v2_protobuf(&table),
            Name::Index => serde_json::to_vec(&openapi::v3_index(&table)).map_err(Error::internal)?,
            Name::V3(gv) => {
                let document = openapi::v3(&table, &gv).ok_or_else(Error::no_such_path)?;
                serde_json::to_vec(&document).map_err(Error::internal)?
            }
        };
        let mut etag = String::from("\"");
        for byte in Sha256::digest(&bytes) {
            etag.push_str(&format!("{byte:02X}"));
        }
        etag.push('"');
        let etag = HeaderValue::from_str(&etag).map_err(Error::internal)?;
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&bytes).map_err(Error::internal)?;
        let gzip = Bytes::from(encoder.finish().map_err(Error::internal)?);
        Ok(Document { gzip, etag })
    });
    made.await.map_err(Error::internal)?
}

impl Document {
    fn respond(&self, call: &Call, content_type: &'static str, forever: bool) -> Outcome {
        let unchanged = call.headers.get(IF_NONE_MATCH).is_some_and(|tag| *tag == self.etag);
        let takes_gzip = call
            .headers
            .get(ACCEPT_ENCODING)
            .and_then(|v| v.to_str().ok())
            .is_some_and(|v| v.contains("gzip"));
        let mut response = if unchanged {
            respond::with_type(StatusCode::NOT_MODIFIED, content_type, Body::Empty)
        } else if takes_gzip {
            let mut response = respond::with_type(StatusCode::OK, content_type, self.gzip.clone());
            response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            response
        } else {
            let mut plain = Vec::new();
            GzDecoder::new(&self.gzip[..]).read_to_end(&mut plain).map_err(Error::internal)?;
            respond::with_type(StatusCode::OK, content_type, plain)
        };
        let headers = response.headers_mut();
        headers.insert(ETAG, self.etag.clone());
        headers.insert(VARY, HeaderValue::from_static("Accept-Encoding, Accept"));
        if forever {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
        }
        Ok(response)
    }
}

fn wants_protobuf(call: &Call) -> bool {
    let accept = call.headers.get(ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or("");
    let first = accept.split(',').map(Clause::parse).find(|clause| {
        clause.media == "application/json"
            || clause.media == "*/*"
            || openapi::V2_PROTOBUF_ACCEPTED.contains(&clause.media)
    });
    first.is_some_and(|clause| openapi::V2_PROTOBUF_ACCEPTED.contains(&clause.media))
}
