//! The operations that are about no kind: discovery, the version, and what verifiers of tokens read.

use api::GroupVersion;
use serde_json::{Value, json};

use super::identifiers::{camel_group, tag, upper_first};
use crate::table::KindTable;

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";
const OBJECTS: [&str; 3] = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];

/// A document that is read.
pub(super) struct Document {
    pub path: String,
    id: String,
    tag: String,
    description: &'static str,
    answer: Answer,
}

/// What the document is.
enum Answer {
    /// Of this structure, in any format of objects.
    Object(String),
    /// The same, as JSON alone.
    Json(String),
    /// Text in this media type.
    Text(&'static str),
}

/// All of them.
pub(super) fn of_table(table: &KindTable) -> Vec<Document> {
    let mut documents = vec![
        text("/.well-known/openid-configuration/", "getServiceAccountIssuerOpenIDConfiguration", "WellKnown"),
        Document {
            answer: Answer::Text("application/jwk-set+json"),
            ..text("/openid/v1/jwks/", "getServiceAccountIssuerOpenIDKeyset", "openid")
        },
        object("/api/", "getCoreAPIVersions", "core", "lists the versions of the core group", "APIVersions"),
        object("/apis/", "getAPIVersions", "apis", "lists the groups", "APIGroupList"),
        Document {
            path: "/version/".to_owned(),
            id: "getCodeVersion".to_owned(),
            tag: "version".to_owned(),
            description: "reads the version of the server",
            answer: Answer::Json("io.k8s.apimachinery.pkg.version.Info".to_owned()),
        },
    ];
    let mut groups: Vec<&str> = Vec::new();
    for gv in table.group_versions() {
        documents.push(of_version(gv));
        if !gv.group.is_empty() && !groups.contains(&gv.group.as_str()) {
            groups.push(&gv.group);
        }
    }
    documents.extend(groups.into_iter().map(of_group));
    documents
}

/// The resources of a group and version.
pub(super) fn of_version(gv: &GroupVersion) -> Document {
    let id = format!("get{}{}APIResources", camel_group(&gv.group), upper_first(&gv.version));
    let path = format!("/{}/", super::api_path(gv));
    let description = "lists the resources of the group and version";
    object(&path, &id, &tag(&gv.group, &gv.version), description, "APIResourceList")
}

fn of_group(group: &str) -> Document {
    let id = format!("get{}APIGroup", camel_group(group));
    let path = format!("/apis/{group}/");
    object(&path, &id, &tag(group, ""), "reads the versions of the group", "APIGroup")
}

fn object(path: &str, id: &str, tag: &str, description: &'static str, structure: &str) -> Document {
    let answer = Answer::Object(format!("{META}.{structure}"));
    Document { path: path.to_owned(), id: id.to_owned(), tag: tag.to_owned(), description, answer }
}

fn text(path: &str, id: &str, tag: &str) -> Document {
    let description = "reads what verifiers of service account tokens need to know";
    let answer = Answer::Text("application/json");
    Document { path: path.to_owned(), id: id.to_owned(), tag: tag.to_owned(), description, answer }
}

impl Document {
    /// The structure of the answer; empty for a text.
    pub fn answer_name(&self) -> &str {
        match &self.answer {
            Answer::Object(name) | Answer::Json(name) => name,
            Answer::Text(_) => "",
        }
    }

    fn produces(&self) -> Vec<&'static str> {
        match &self.answer {
            Answer::Object(_) => OBJECTS.to_vec(),
            Answer::Json(_) => vec![OBJECTS[0]],
            Answer::Text(media) => vec![media],
        }
    }

    fn schema(&self, place: &str) -> Value {
        match self.answer_name() {
            "" => json!({"type": "string"}),
            name => json!({"$ref": format!("#/{place}/{name}")}),
        }
    }

    fn common(&self) -> Value {
        json!({"operationId": self.id, "description": self.description, "tags": [self.tag]})
    }

    pub fn v2(&self) -> Value {
        let mut value = self.common();
        match &self.answer {
            Answer::Object(_) => value["consumes"] = json!(OBJECTS),
            Answer::Json(_) => value["consumes"] = json!([OBJECTS[0]]),
            Answer::Text(_) => {}
        }
        value["produces"] = json!(self.produces());
        value["schemes"] = json!(["https"]);
        value["responses"] = json!({
            "200": {"description": "OK", "schema": self.schema("definitions")},
            "401": {"description": "Unauthorized"},
        });
        value
    }

    pub fn v3(&self) -> Value {
        let schema = self.schema("components/schemas");
        let content = self.produces().into_iter().map(|media| (media.to_owned(), json!({"schema": schema})));
        let content: serde_json::Map<String, Value> = content.collect();
        let mut value = self.common();
        value["responses"] = json!({
            "200": {"description": "OK", "content": content},
            "401": {"description": "Unauthorized"},
        });
        value
    }
}
