//! Which kinds the server has, and which of them a word on the command line means.
//!
//! The server's two documents are kept in the cache's folder, in short, with their ETags: while fresh they are not asked
//! for again, and when they are asked for, an unchanged one costs an empty answer.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use api::GroupVersionKind;
use http::header::{ETAG, HeaderMap, IF_NONE_MATCH};
use serde_json::{Value, json};

use crate::client::{Client, Request, name_part, refusal};
use crate::failure::{Failure, quoted};

/// How long what is kept counts, as with the stock kubectl.
const FRESH: Duration = Duration::from_secs(6 * 3600);

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// One kind in one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    pub group: String,
    pub version: String,
    pub plural: String,
    pub singular: String,
    pub kind: String,
    pub namespaced: bool,
    pub verbs: Vec<String>,
    pub short_names: Vec<String>,
    pub categories: Vec<String>,
}

impl Resource {
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `deployments.apps`, `pods`.
    pub fn group_resource(&self) -> String {
        if self.group.is_empty() { self.plural.clone() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// `deployment.apps`, `pod`: how objects are named in what commands print.
    pub fn printed(&self) -> String {
        let kind = self.kind.to_lowercase();
        if self.group.is_empty() { kind } else { format!("{kind}.{}", self.group) }
    }

    /// The path of its objects in a namespace, or of all.
    pub fn path(&self, namespace: Option<&str>) -> String {
        let base = if self.group.is_empty() {
            format!("/api/{}", self.version)
        } else {
            format!("/apis/{}/{}", self.group, self.version)
        };
        match namespace.filter(|_| self.namespaced) {
            Some(namespace) => {
                format!("{base}/namespaces/{}/{}", crate::client::escaped(namespace), self.plural)
            }
            None => format!("{base}/{}", self.plural),
        }
    }

    /// The path of one object.
    ///
    /// # Errors
    /// When the name would lead elsewhere.
    pub fn object_path(&self, namespace: Option<&str>, name: &str) -> Result<String, Failure> {
        Ok(format!("{}/{}", self.path(namespace), name_part(name)?))
    }

    pub fn gvk(&self) -> GroupVersionKind {
        GroupVersionKind::new(&self.group, &self.version, &self.kind)
    }

    pub fn has_verb(&self, verb: &str) -> bool {
        self.verbs.iter().any(|v| v == verb)
    }

    fn is_called(&self, name: &str) -> bool {
        self.plural == name || self.singular == name
    }
}

/// All kinds, the preferred version of each group first.
#[derive(Debug, Default, Clone)]
pub struct Catalogue {
    pub resources: Vec<Resource>,
    /// Every group with its versions, in the server's order, those without resources too.
    pub versions: Vec<(String, String)>,
    /// Groups whose server was not reached.
    pub stale: Vec<String>,
}

impl Catalogue {
    /// What is kept, if it is fresh; else what the server says.
    ///
    /// # Errors
    /// When the server does not say.
    pub fn load(client: &Client, folder: &Path) -> Result<Self, Failure> {
        let file = cache_file(folder, client.address());
        let fresh =
            std::fs::metadata(&file).ok().and_then(|m| m.modified().ok()).and_then(|at| at.elapsed().ok());
        if fresh.is_some_and(|age| age < FRESH)
            && let Some(kept) = kept(&file)
        {
            return Ok(Self::of(&kept));
        }
        Self::ask(client, folder)
    }

    /// What the server says now.
    ///
    /// # Errors
    /// When it does not say.
    pub fn ask(client: &Client, folder: &Path) -> Result<Self, Failure> {
        let file = cache_file(folder, client.address());
        let old = kept(&file).unwrap_or_default();
        let mut parts = serde_json::Map::new();
        for root in ["/api", "/apis"] {
            parts.insert(root.into(), part(client, root, &old[root])?);
        }
        let new = Value::Object(parts);
        let catalogue = Self::of(&new);
        if catalogue.stale.is_empty() {
            // A cache that cannot be written costs time alone.
            let _ = keep(&file, &new);
        }
        Ok(catalogue)
    }

    fn of(document: &Value) -> Self {
        let mut all = Self::default();
        for root in ["/api", "/apis"] {
            for group in document[root]["groups"].as_array().into_iter().flatten() {
                let name = group["g"].as_str().unwrap_or_default();
                for version in group["v"].as_array().into_iter().flatten() {
                    let number = version["v"].as_str().unwrap_or_default();
                    all.versions.push((name.to_owned(), number.to_owned()));
                    if version["stale"] == true {
                        all.stale.push(format!("{name}/{number}"));
                    }
                    let resources = version["r"].as_array().into_iter().flatten();
                    all.resources.extend(resources.map(|resource| restored(name, number, resource)));
                }
            }
        }
        all
    }

    /// The kind that `word` means: `pods`, `po`, `deployments.apps`, `deployments.v1.apps`.
    pub fn resolve(&self, word: &str) -> Option<&Resource> {
        let (given, word) = (word, word.to_lowercase());
        if word.matches('.').count() >= 2 {
            let mut parts = word.splitn(3, '.');
            let (name, version, group) = (parts.next()?, parts.next()?, parts.next()?);
            let exact =
                self.resources.iter().find(|r| r.is_called(name) && r.version == version && r.group == group);
            if let Some(exact) = exact {
                return Some(exact);
            }
        }
        let (name, group) = word.split_once('.').unwrap_or((&word, ""));
        // Short names are what they are, in lower case.
        let short = given.split('.').next().unwrap_or_default();
        self.named(name, short, group)
    }

    fn named(&self, name: &str, short: &str, group: &str) -> Option<&Resource> {
        let within = |r: &&Resource| group.is_empty() || r.group == group;
        let prefix = |r: &&Resource| group.is_empty() || r.group.starts_with(group);
        let by_name = |r: &&Resource| r.is_called(name);
        let by_short = |r: &&Resource| r.short_names.iter().any(|known| known == short);
        let all = || self.resources.iter();
        all()
            .filter(within)
            .find(by_name)
            .or_else(|| all().filter(prefix).find(by_name))
            .or_else(|| all().filter(prefix).find(by_short))
    }

    /// The kind of an object.
    pub fn of_kind(&self, api_version: &str, kind: &str) -> Option<&Resource> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        self.resources.iter().find(|r| r.kind == kind && r.version == version && r.group == group)
    }

    /// The kinds of a category (`all`), in the server's order, each in its preferred version.
    pub fn category(&self, name: &str) -> Vec<&Resource> {
        let mut found: Vec<&Resource> = Vec::new();
        for resource in &self.resources {
            let seen = |r: &&Resource| r.group == resource.group && r.plural == resource.plural;
            if resource.categories.iter().any(|c| c == name) && !found.iter().any(seen) {
                found.push(resource);
            }
        }
        found
    }
}

/// What is said of a word that means no kind.
pub fn unknown(word: &str) -> Failure {
    let name = word.split('.').next().unwrap_or_default();
    Failure::message(format!("the server doesn't have a resource type {}", quoted(name)))
}

fn cache_file(folder: &Path, address: &str) -> PathBuf {
    let host = address.split("://").nth(1).unwrap_or(address);
    let name: String =
        host.chars().map(|c| if c.is_ascii_alphanumeric() || "_-.".contains(c) { c } else { '_' }).collect();
    folder.join("discovery").join(name).join("knarr.json")
}

fn kept(file: &Path) -> Option<Value> {
    let value: Value = serde_json::from_slice(&std::fs::read(file).ok()?).ok()?;
    (value["/api"].is_object() && value["/apis"].is_object()).then_some(value)
}

/// Written beside and renamed, since several programs write at the same time.
fn keep(file: &Path, document: &Value) -> std::io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut fresh = tempfile::NamedTempFile::new_in(folder)?;
    fresh.write_all(document.to_string().as_bytes())?;
    fresh.persist(file).map(|_| ()).map_err(|e| e.error)
}

fn part(client: &Client, root: &str, old: &Value) -> Result<Value, Failure> {
    let mut request = Request::get(root).with("timeout", "32s");
    request.accept = AGGREGATED;
    let mut headers = HeaderMap::new();
    if let Some(tag) = old["etag"].as_str().and_then(|tag| tag.parse().ok()) {
        headers.insert(IF_NONE_MATCH, tag);
    }
    let answer = client.send_with(&request, headers)?;
    match answer.code {
        304 => Ok(old.clone()),
        400.. => Err(refusal(&answer)),
        _ => {
            let document = answer.json()?;
            if document["kind"] != "APIGroupDiscoveryList" {
                return plain(client, root, &document);
            }
            let tag = answer.headers.get(ETAG).and_then(|tag| tag.to_str().ok()).unwrap_or_default();
            let groups = document["items"].as_array().into_iter().flatten().map(shortened);
            Ok(json!({"etag": tag, "groups": groups.collect::<Vec<_>>()}))
        }
    }
}

fn shortened(group: &Value) -> Value {
    let versions = group["versions"].as_array().into_iter().flatten().map(|version| {
        let resources = version["resources"].as_array().into_iter().flatten().map(|r| {
            json!([
                r["resource"],
                r["singularResource"],
                r["responseKind"]["kind"],
                r["scope"] == "Namespaced",
                r["verbs"],
                r["shortNames"],
                r["categories"]
            ])
        });
        let stale = version["freshness"] == "Stale";
        json!({"v": version["version"], "stale": stale, "r": resources.collect::<Vec<_>>()})
    });
    json!({"g": group["metadata"]["name"], "v": versions.collect::<Vec<_>>()})
}

/// A server that knows no aggregated discovery: a document for each group and version.
fn plain(client: &Client, root: &str, document: &Value) -> Result<Value, Failure> {
    let mut groups = Vec::new();
    if root == "/api" {
        let versions = document["versions"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let versions = versions.map(|v| of_version(client, &format!("/api/{v}"), v));
        groups.push(json!({"g": "", "v": versions.collect::<Result<Vec<_>, _>>()?}));
    }
    for group in document["groups"].as_array().into_iter().flatten() {
        let name = group["name"].as_str().unwrap_or_default();
        let preferred = &group["preferredVersion"]["version"];
        let mut versions: Vec<&Value> = group["versions"].as_array().into_iter().flatten().collect();
        versions.sort_by_key(|v| v["version"] != *preferred);
        let versions = versions.into_iter().filter_map(|v| v["version"].as_str());
        let versions = versions.map(|v| of_version(client, &format!("/apis/{name}/{v}"), v));
        groups.push(json!({"g": name, "v": versions.collect::<Result<Vec<_>, _>>()?}));
    }
    Ok(json!({"etag": "", "groups": groups}))
}

fn of_version(client: &Client, path: &str, version: &str) -> Result<Value, Failure> {
    let Ok(list) = client.json(&Request::get(path)) else {
        return Ok(json!({"v": version, "stale": true, "r": []}));
    };
    let resources = list["resources"].as_array().into_iter().flatten();
    let resources = resources.filter(|r| !r["name"].as_str().unwrap_or_default().contains('/')).map(|r| {
        json!([
            r["name"],
            r["singularName"],
            r["kind"],
            r["namespaced"],
            r["verbs"],
            r["shortNames"],
            r["categories"]
        ])
    });
    Ok(json!({"v": version, "stale": false, "r": resources.collect::<Vec<_>>()}))
}

fn restored(group: &str, version: &str, resource: &Value) -> Resource {
    let text = |index: usize| resource[index].as_str().unwrap_or_default().to_owned();
    let texts = |index: usize| {
        let values = resource[index].as_array().into_iter().flatten();
        values.filter_map(|value| value.as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    let kind = text(2);
    let singular = if text(1).is_empty() { kind.to_lowercase() } else { text(1) };
    Resource {
        group: group.to_owned(),
        version: version.to_owned(),
        plural: text(0),
        singular,
        kind,
        namespaced: resource[3] == true,
        verbs: texts(4),
        short_names: texts(5),
        categories: texts(6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalogue() -> Catalogue {
        let resource = |plural: &str, kind: &str, short: Value| {
            json!({"resource": plural, "responseKind": {"kind": kind}, "scope": "Namespaced",
                "singularResource": "", "verbs": ["get"], "shortNames": short, "categories": ["all"]})
        };
        let core = json!({"metadata": {}, "versions": [{"version": "v1", "resources":
            [resource("events", "Event", json!(["ev"])), resource("pods", "Pod", json!(["po"]))]}]});
        let other = json!({"metadata": {"name": "events.k8s.io"}, "versions": [
            {"version": "v1", "resources": [resource("events", "Event", json!(["ev"]))]},
            {"version": "v1beta1", "resources": [resource("events", "Event", json!(["ev"]))]}]});
        Catalogue::of(
            &json!({"/api": {"groups": [shortened(&core)]}, "/apis": {"groups": [shortened(&other)]}}),
        )
    }

    #[test]
    fn words_mean_the_preferred_kind() {
        let catalogue = catalogue();
        let found = |word: &str| catalogue.resolve(word).map(|r| format!("{} {}", r.api_version(), r.plural));
        assert_eq!(found("events").as_deref(), Some("v1 events"));
        assert_eq!(found("Event.events.k8s.io").as_deref(), Some("events.k8s.io/v1 events"));
        assert_eq!(found("events.v1beta1.events.k8s.io").as_deref(), Some("events.k8s.io/v1beta1 events"));
        assert_eq!(found("ev.events").as_deref(), Some("events.k8s.io/v1 events"));
        assert_eq!(found("POD").as_deref(), Some("v1 pods"));
        assert_eq!(found("PO"), None);
        assert_eq!(found("pods.foo"), None);
        assert_eq!(catalogue.category("all").len(), 3);
    }
}
