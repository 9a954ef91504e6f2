//! `/openapi/v2` and `/openapi/v3`: documents made from the kind table on demand and kept compressed. What other servers
//! serve is in the first as they say it (`merge`), and named in the index of the second, whose documents they answer for.

mod merge;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

use api::{Error, GroupVersion, Reason};
use arc_swap::ArcSwapOption;
use bytes::Bytes;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, ETAG, EXPIRES, IF_NONE_MATCH, VARY,
};
use http::{HeaderValue, StatusCode};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use resources::{KindTable, ResourceSource, openapi};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::OnceCell;

use crate::aggregator::Aggregator;
use crate::aggregator::discovered::Discovered;
use crate::aggregator::registry::Registry;
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

/// The documents of one state of what is served, made when first asked for.
struct Documents {
    served: Served,
    made: Mutex<HashMap<Name, Arc<OnceCell<Document>>>>,
}

/// What this server serves, and others.
#[derive(Clone)]
struct Served {
    table: Arc<KindTable>,
    registry: Arc<Registry>,
    discovered: Arc<Discovered>,
}

/// Why no document is kept.
enum Unkept {
    Failed(Error),
    /// Another server does not say its part.
    Partial(Document),
}

/// Makes and keeps the documents.
#[derive(Default)]
pub(crate) struct OpenApi {
    current: ArcSwapOption<Documents>,
}

impl OpenApi {
    fn documents(&self, table: Arc<KindTable>, aggregator: Option<&Aggregator>) -> Arc<Documents> {
        let registry = aggregator.map(Aggregator::registry).unwrap_or_default();
        let discovered = aggregator.map(Aggregator::discovered).unwrap_or_default();
        let current = self.current.load_full();
        let same_table = current.filter(|current| Arc::ptr_eq(&current.served.table, &table));
        if let Some(current) = &same_table
            && (aggregator.is_none()
                || Arc::ptr_eq(&current.served.registry, &registry)
                    && Arc::ptr_eq(&current.served.discovered, &discovered))
        {
            return Arc::clone(current);
        }
        // What other servers say is in none of the documents about what is served here.
        let kept = same_table.map_or_else(HashMap::new, |before| {
            let made = before.made.lock().unwrap_or_else(PoisonError::into_inner);
            let own = made.iter().filter(|(name, _)| matches!(name, Name::V3(_)));
            own.map(|(name, cell)| (name.clone(), Arc::clone(cell))).collect()
        });
        let served = Served { table, registry, discovered };
        let fresh = Arc::new(Documents { served, made: Mutex::new(kept) });
        self.current.store(Some(Arc::clone(&fresh)));
        fresh
    }

    /// Answers a path below `/openapi`; `parts` are its segments.
    pub(crate) async fn answer(
        &self,
        source: &dyn ResourceSource,
        aggregator: Option<&Aggregator>,
        call: &Call,
        parts: &[&str],
        now: Timestamp,
    ) -> Outcome {
        let documents = self.documents(source.table(), aggregator);
        let (name, content_type) = match parts {
            ["openapi", "v2"] if accepted(call, &openapi::V2_PROTOBUF_ACCEPTED)? => {
                (Name::V2Protobuf, openapi::V2_PROTOBUF)
            }
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
        let cell = documents.cell(&name)?;
        let mut forever = None;
        if let Name::V3(gv) = &name {
            accepted(call, &[])?;
            if let Some(hash) = call.query.non_empty("hash") {
                let present = openapi::v3_url(&documents.served.table, gv);
                if !present.ends_with(&format!("?hash={hash}")) {
                    return respond::moved(&present);
                }
                forever = Some(now);
            }
        }
        match cell.get_or_try_init(|| documents.served.make(aggregator, name)).await {
            Ok(document) => document.respond(call, content_type, forever),
            Err(Unkept::Partial(document)) => document.respond(call, content_type, forever),
            Err(Unkept::Failed(error)) => Err(error),
        }
    }
}

impl Documents {
    /// The place of a document; 404 for versions that are not served.
    fn cell(&self, name: &Name) -> Result<Arc<OnceCell<Document>>, Error> {
        if let Name::V3(gv) = name
            && !self.served.table.group_versions().contains(gv)
        {
            return Err(Error::no_such_path());
        }
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(made.entry(name.clone()).or_default()))
    }
}

impl Served {
    /// Makes a document.
    async fn make(&self, aggregator: Option<&Aggregator>, name: Name) -> Result<Document, Unkept> {
        let about_all = matches!(name, Name::V2 | Name::V2Protobuf);
        let others = match aggregator.filter(|_| about_all) {
            Some(aggregator) => self.others(aggregator).await,
            None => Vec::new(),
        };
        let is_whole = others.iter().all(|(_, document)| document.is_some());
        let document = make(self.clone(), name, others).await.map_err(Unkept::Failed)?;
        if is_whole { Ok(document) } else { Err(Unkept::Partial(document)) }
    }

    /// What other servers say of the versions they serve; `None` of those that do not.
    async fn others(&self, aggregator: &Aggregator) -> Vec<(GroupVersion, Option<Bytes>)> {
        let fresh = |gv: &GroupVersion| self.discovered.get(gv).is_some_and(|version| !version.is_stale);
        let asked = self.registry.remotes().iter().filter(|registered| fresh(&registered.gv)).map(
            |registered| async {
                let remote = registered.remote.as_ref()?;
                let document = aggregator.openapi_v2(&remote.server).await;
                let document = document.inspect_err(|why| {
                    tracing::info!(name = registered.name, why, "another server does not describe its API");
                });
                Some((registered.gv.clone(), document.ok()))
            },
        );
        futures::future::join_all(asked).await.into_iter().flatten().collect()
    }

    /// The document of version 2, with what other servers say.
    fn v2(&self, others: &[(GroupVersion, Option<Bytes>)]) -> Value {
        let mut document = openapi::v2(&self.table);
        for registered in self.registry.remotes() {
            let prefix = format!("/{}", openapi::api_path(&registered.gv));
            merge::remove(&mut document, &prefix);
            let other =
                others.iter().find(|(gv, _)| *gv == registered.gv).and_then(|(_, json)| json.as_ref());
            let Some(json) = other else { continue };
            match serde_json::from_slice(json) {
                Ok(other) => merge::add(&mut document, &other, &prefix),
                Err(error) => {
                    tracing::info!(name = registered.name, %error, "another server describes its API oddly");
                }
            }
        }
        document
    }

    /// Where the documents of version 3 are.
    fn index(&self) -> Value {
        let mut index = openapi::v3_index(&self.table);
        if let Some(paths) = index.get_mut("paths").and_then(Value::as_object_mut) {
            for registered in self.registry.remotes() {
                let path = openapi::api_path(&registered.gv);
                paths.remove(&path);
                let version =
                    self.discovered.get(&registered.gv).filter(|version| !version.openapi.is_empty());
                if let Some(version) = version {
                    paths.insert(path, json!({"serverRelativeURL": version.openapi}));
                }
            }
        }
        index
    }
}

/// Makes a document on a thread where that may take its time.
async fn make(
    served: Served,
    name: Name,
    others: Vec<(GroupVersion, Option<Bytes>)>,
) -> Result<Document, Error> {
    let made = tokio::task::spawn_blocking(move || {
        let bytes = match name {
            Name::V2 => serde_json::to_vec(&served.v2(&others)).map_err(Error::internal)?,
            Name::V2Protobuf => openapi::v2_protobuf(&served.v2(&others)),
            Name::Index => serde_json::to_vec(&served.index()).map_err(Error::internal)?,
            Name::V3(gv) => {
                let document = openapi::v3(&served.table, &gv).ok_or_else(Error::no_such_path)?;
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
    /// `forever`: the present time, where the document is asked for by what it holds.
    fn respond(&self, call: &Call, content_type: &'static str, forever: Option<Timestamp>) -> Outcome {
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
        if let Some(now) = forever {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
            let in_a_year = now.to_zoned(TimeZone::UTC).saturating_add(1.year());
            let text = in_a_year.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
            headers.insert(EXPIRES, HeaderValue::from_str(&text).map_err(Error::internal)?);
        }
        Ok(response)
    }
}

/// Whether a client wants protobuf, under one of the names, before JSON.
///
/// # Errors
/// 406 for who takes neither: a document in another form would be misread.
fn accepted(call: &Call, protobuf: &[&str]) -> Result<bool, Error> {
    let accept = call.headers.get(ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or("");
    if accept.is_empty() {
        return Ok(false);
    }
    let is_json = |media: &str| matches!(media, "application/json" | "application/*" | "*/*");
    let mut clauses: Vec<Clause<'_>> = accept.split(',').map(Clause::parse).collect();
    clauses.sort_by_key(|clause| std::cmp::Reverse(clause.quality()));
    let known = |clause: &&Clause<'_>| is_json(clause.media) || protobuf.contains(&clause.media);
    let first = clauses.iter().filter(|clause| clause.quality() > 0).find(known);
    let media: Vec<&str> = std::iter::once("application/json").chain(protobuf.iter().copied()).collect();
    let refusal = || {
        let message = format!("only the following media types are accepted: {}", media.join(", "));
        Error::new(Reason::NotAcceptable, message)
    };
    first.map(|clause| !is_json(clause.media)).ok_or_else(refusal)
}
