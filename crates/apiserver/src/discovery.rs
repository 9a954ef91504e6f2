//! Discovery: which groups, versions and resources are served, in the legacy documents (`legacy`)
//! and the aggregated ones (`aggregated`). All made from the kind table and from what other servers say of themselves
//! (`view`), once for each state of both.

mod aggregated;
mod documents;
mod legacy;
mod view;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use api::{Error, GroupVersion};
use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::header::{ACCEPT, ETAG, IF_NONE_MATCH, VARY};
use http::{HeaderValue, StatusCode};
use resources::ResourceSource;
use sha2::{Digest, Sha256};

use crate::aggregator::Aggregator;
use crate::body::Body;
use crate::request::call::Call;
use crate::respond::negotiate::{Answer, Clause, Format};
use crate::respond::{self, Outcome};
use view::View;

/// A ready document and its tag.
#[derive(Clone)]
struct Document {
    json: Bytes,
    etag: HeaderValue,
}

impl Document {
    fn new(value: &impl serde::Serialize) -> Self {
        let mut json = serde_json::to_vec(value).expect("discovery's documents are JSON");
        json.push(b'\n');
        let json = Bytes::from(json);
        let mut etag = String::with_capacity(66);
        etag.push('"');
        for byte in Sha256::digest(&json) {
            etag.push_str(&format!("{byte:02X}"));
        }
        etag.push('"');
        let etag = HeaderValue::from_str(&etag).expect("hex digits and quotes are valid in a header");
        Self { json, etag }
    }
}

/// The documents of one state of what is served.
struct Documents {
    view: View,
    core: Document,
    groups: Document,
    group: HashMap<String, Document>,
    resources: HashMap<GroupVersion, Document>,
    /// By API version (`v2`, `v2beta1`) and whether of the core group.
    aggregated: [OnceLock<Document>; 4],
}

/// Makes and keeps discovery documents.
#[derive(Default)]
pub(crate) struct Discovery {
    current: ArcSwapOption<Documents>,
}

/// The aggregated versions a client may ask for.
const AGGREGATED: [&str; 2] = ["v2", "v2beta1"];
const AGGREGATED_TYPES: [&str; 2] = [
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
];

impl Discovery {
    fn documents(&self, source: &dyn ResourceSource, aggregator: Option<&Aggregator>) -> Arc<Documents> {
        let table = source.table();
        if let Some(current) = self.current.load_full()
            && current.view.is_current(&table, aggregator)
        {
            return current;
        }
        let view = View::of(Arc::clone(&table), aggregator);
        let made = Arc::new(Documents {
            core: Document::new(&legacy::core_versions()),
            groups: Document::new(&legacy::groups(&view.versions)),
            group: legacy::each_group(&view.versions)
                .map(|group| (group.name.clone(), Document::new(&group)))
                .collect(),
            resources: table
                .group_versions()
                .iter()
                .map(|gv| (gv.clone(), Document::new(&legacy::resources(&table, gv))))
                .collect(),
            aggregated: Default::default(),
            view,
        });
        self.current.store(Some(Arc::clone(&made)));
        made
    }

    /// Answers `/api`, `/api/v1`, `/apis`, `/apis/GROUP`, `/apis/GROUP/VERSION`; `parts` are the
    /// path's segments.
    pub(crate) fn answer(
        &self,
        source: &dyn ResourceSource,
        aggregator: Option<&Aggregator>,
        call: &Call,
        parts: &[&str],
    ) -> Outcome {
        let documents = self.documents(source, aggregator);
        let (document, content_type) = match parts {
            ["api"] => match wants_aggregated(call) {
                Some(index) => (documents.aggregated(index, true), AGGREGATED_TYPES[index]),
                None => (&documents.core, "application/json"),
            },
            ["apis"] => match wants_aggregated(call) {
                Some(index) => (documents.aggregated(index, false), AGGREGATED_TYPES[index]),
                None => (&documents.groups, "application/json"),
            },
            ["api", version] => (documents.of_version("", version)?, "application/json"),
            ["apis", group] => {
                (documents.group.get(*group).ok_or_else(Error::no_such_path)?, "application/json")
            }
            ["apis", group, version] => (documents.of_version(group, version)?, "application/json"),
            _ => return Err(Error::no_such_path()),
        };
        // Asked for aggregated documents, the type is among those accepted.
        if content_type == "application/json" {
            let answer = Answer::plain(&call.headers)?;
            if answer.format == Format::Yaml {
                return respond::object(StatusCode::OK, answer, document.json.clone());
            }
        }
        let unchanged = call.headers.get(IF_NONE_MATCH).is_some_and(|tag| *tag == document.etag);
        let mut response = if unchanged {
            respond::with_type(StatusCode::NOT_MODIFIED, content_type, Body::Empty)
        } else {
            respond::with_type(StatusCode::OK, content_type, document.json.clone())
        };
        response.headers_mut().insert(ETAG, document.etag.clone());
        response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
        Ok(response)
    }

    /// The paths that `/` lists for groups and versions.
    pub(crate) fn paths(&self, source: &dyn ResourceSource, aggregator: Option<&Aggregator>) -> Vec<String> {
        let mut paths = vec!["/api".to_owned(), "/apis".to_owned()];
        let documents = self.documents(source, aggregator);
        for gv in &documents.view.versions {
            if gv.group.is_empty() {
                paths.push(format!("/api/{}", gv.version));
            } else {
                paths.push(format!("/apis/{}", gv.group));
                paths.push(format!("/apis/{gv}"));
            }
        }
        paths
    }
}

impl Documents {
    fn of_version(&self, group: &str, version: &str) -> Result<&Document, Error> {
        self.resources.get(&GroupVersion::new(group, version)).ok_or_else(Error::no_such_path)
    }

    fn aggregated(&self, index: usize, core: bool) -> &Document {
        self.aggregated[index * 2 + usize::from(core)]
            .get_or_init(|| Document::new(&aggregated::list(&self.view, AGGREGATED[index], core)))
    }
}

/// The index of the aggregated version asked for, if one is.
fn wants_aggregated(call: &Call) -> Option<usize> {
    let accept = call.headers.get(ACCEPT)?.to_str().ok()?;
    accept.split(',').map(Clause::parse).find_map(|clause| {
        if clause.media != "application/json" {
            return None;
        }
        match (clause.parameter("g"), clause.parameter("as")) {
            (Some("apidiscovery.k8s.io"), Some("APIGroupDiscoveryList")) => {
                AGGREGATED.iter().position(|v| clause.parameter("v") == Some(v))
            }
            _ => None,
        }
    })
}
