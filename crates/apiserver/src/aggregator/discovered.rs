//! What other servers say they serve: [`Discovered`] is all of it, [`Document`] reads a server's answer. Pure.

use std::collections::HashMap;

use api::GroupVersion;
use serde::Deserialize;

/// What other servers serve, by group and version: those that were asked at least once.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Discovered {
    versions: HashMap<GroupVersion, Version>,
}

/// A group and version as its server described it last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Version {
    pub resources: Vec<Resource>,
    /// Whether the server did not answer when it was asked last.
    pub is_stale: bool,
    /// Where it has its OpenAPI document, as it says; empty where it has none.
    pub openapi: String,
}

/// A kind of resource, as discovery shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Resource {
    pub resource: String,
    pub response_kind: Kind,
    pub scope: String,
    pub singular_resource: String,
    pub verbs: Vec<String>,
    pub short_names: Vec<String>,
    pub categories: Vec<String>,
    pub subresources: Vec<Subresource>,
}

/// A subresource of one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Subresource {
    pub subresource: String,
    pub response_kind: Kind,
    pub verbs: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Kind {
    pub group: String,
    pub version: String,
    pub kind: String,
}

impl Resource {
    pub fn namespaced(&self) -> bool {
        self.scope == NAMESPACED
    }
}

impl Discovered {
    pub fn new(versions: HashMap<GroupVersion, Version>) -> Self {
        Self { versions }
    }

    pub fn get(&self, gv: &GroupVersion) -> Option<&Version> {
        self.versions.get(gv)
    }
}

const NAMESPACED: &str = "Namespaced";

/// What a server says of the versions it serves.
pub(super) type Document = HashMap<GroupVersion, Vec<Resource>>;

/// Reads the document of all groups (`APIGroupDiscoveryList`).
///
/// # Errors
/// When it is another one.
pub(super) fn aggregated(json: &[u8]) -> Result<Document, serde_json::Error> {
    #[derive(Deserialize)]
    struct List {
        #[serde(default)]
        items: Vec<Group>,
    }
    #[derive(Deserialize)]
    struct Group {
        metadata: Metadata,
        #[serde(default)]
        versions: Vec<Served>,
    }
    #[derive(Deserialize)]
    struct Metadata {
        name: String,
    }
    #[derive(Deserialize)]
    struct Served {
        version: String,
        #[serde(default)]
        resources: Vec<Resource>,
    }
    let list: List = serde_json::from_slice(json)?;
    let each = list.items.into_iter().flat_map(|group| {
        let name = group.metadata.name;
        group
            .versions
            .into_iter()
            .map(move |served| (GroupVersion::new(&name, &served.version), served.resources))
    });
    Ok(each.collect())
}

/// Reads the document of one group and version (`APIResourceList`) of servers that have no other.
///
/// # Errors
/// When it is another one.
pub(super) fn legacy(json: &[u8], gv: &GroupVersion) -> Result<Vec<Resource>, serde_json::Error> {
    #[derive(Deserialize)]
    struct List {
        #[serde(default)]
        resources: Vec<Listed>,
    }
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Listed {
        name: String,
        singular_name: String,
        namespaced: bool,
        group: String,
        version: String,
        kind: String,
        verbs: Vec<String>,
        short_names: Vec<String>,
        categories: Vec<String>,
    }
    let list: List = serde_json::from_slice(json)?;
    let or = |own: String, other: &str| if own.is_empty() { other.to_owned() } else { own };
    let mut resources: Vec<Resource> = Vec::new();
    let mut parts: Vec<(String, bool, Subresource)> = Vec::new();
    for listed in list.resources {
        let response_kind = Kind {
            group: or(listed.group, &gv.group),
            version: or(listed.version, &gv.version),
            kind: listed.kind,
        };
        if let Some((of, part)) = listed.name.split_once('/') {
            let subresource =
                Subresource { subresource: part.to_owned(), response_kind, verbs: listed.verbs };
            parts.push((of.to_owned(), listed.namespaced, subresource));
            continue;
        }
        resources.push(Resource {
            resource: listed.name,
            response_kind,
            scope: scope(listed.namespaced),
            singular_resource: listed.singular_name,
            verbs: listed.verbs,
            short_names: listed.short_names,
            categories: listed.categories,
            subresources: Vec::new(),
        });
    }
    let mut places: HashMap<String, usize> = HashMap::new();
    for (place, resource) in resources.iter().enumerate() {
        places.entry(resource.resource.clone()).or_insert(place);
    }
    for (of, namespaced, part) in parts {
        // Servers of metrics list nothing but parts.
        let place = *places.entry(of.clone()).or_insert_with(|| {
            resources.push(Resource { resource: of, scope: scope(namespaced), ..Resource::default() });
            resources.len() - 1
        });
        resources[place].subresources.push(part);
    }
    Ok(resources)
}

fn scope(namespaced: bool) -> String {
    if namespaced { NAMESPACED } else { "Cluster" }.to_owned()
}

/// Where a server has the OpenAPI documents of the groups and versions it serves, out of its index.
///
/// # Errors
/// When it is another document.
pub(super) fn openapi(json: &[u8]) -> Result<HashMap<String, String>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Index {
        #[serde(default)]
        paths: HashMap<String, Place>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Place {
        #[serde(rename = "serverRelativeURL", default)]
        server_relative_url: String,
    }
    let index: Index = serde_json::from_slice(json)?;
    Ok(index.paths.into_iter().map(|(path, place)| (path, place.server_relative_url)).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_sorts_of_documents_say_the_same() {
        let gv = GroupVersion::new("a.example.com", "v1");
        let kind = json!({"group": "a.example.com", "version": "v1", "kind": "Flunder"});
        let newer = json!({"items": [{"metadata": {"name": "a.example.com"}, "versions": [{"version": "v1",
            "resources": [{"resource": "flunders", "responseKind": kind, "scope": "Namespaced",
                "singularResource": "flunder", "verbs": ["get"], "shortNames": ["fl"], "categories": ["all"],
                "subresources": [{"subresource": "status", "responseKind": kind, "verbs": ["get"]}]}]}]}]});
        let older = json!({"resources": [
            {"name": "flunders/status", "namespaced": true, "kind": "Flunder", "verbs": ["get"]},
            {"name": "flunders", "singularName": "flunder", "namespaced": true, "kind": "Flunder", "verbs": ["get"],
                "shortNames": ["fl"], "categories": ["all"]},
            {"name": "pods/hits", "namespaced": true, "kind": "MetricValueList", "verbs": ["get"]}]});
        let mut of_older = legacy(older.to_string().as_bytes(), &gv).unwrap();
        let pods = of_older.pop().unwrap();
        assert_eq!((pods.resource.as_str(), pods.verbs.len()), ("pods", 0));
        assert_eq!(pods.subresources[0].subresource, "hits");
        assert_eq!(aggregated(newer.to_string().as_bytes()).unwrap()[&gv], of_older);
        assert!(of_older[0].namespaced());
        assert!(aggregated(b"{\"items\": 1}").is_err() && legacy(b"1", &gv).is_err());
    }

    #[test]
    fn an_index_says_where_documents_are() {
        let index = json!({"paths": {"apis/a/v1": {"serverRelativeURL": "/openapi/v3/apis/a/v1?hash=1"}}});
        let found = openapi(index.to_string().as_bytes()).unwrap();
        assert_eq!(found["apis/a/v1"], "/openapi/v3/apis/a/v1?hash=1");
    }
}
