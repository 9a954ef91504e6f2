//! OpenAPI documents of the served kinds: version 2 for all of them ([`v2`], [`v2_protobuf`]),
//! version 3 for each group and version ([`v3`], listed by [`v3_index`]).
//!
//! Made from the kind table, the type facts and the descriptions whenever asked, which takes tens
//! of milliseconds: who serves them keeps the (compressed) result. Clients read from them which
//! query parameters a PATCH knows, how lists merge, and what fields mean. Nothing here does IO.

mod custom;
mod dialect;
mod discovery;
mod gnostic;
mod identifiers;
mod operations;
mod parameters;
mod schemas;

use std::sync::Arc;

use serde_json::{Map, Value, json};

use api::GroupVersion;

use crate::docs::Docs;
use crate::embedded;
use crate::table::KindTable;
use dialect::Dialect;
use operations::Operation;
use schemas::Schemas;

/// The media type of [`v2_protobuf`] in responses.
pub const V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// The names under which clients ask for [`V2_PROTOBUF`]; the second is what kubectl sends, though
/// it is no valid media type.
pub const V2_PROTOBUF_ACCEPTED: [&str; 2] =
    [V2_PROTOBUF, "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"];

/// The OpenAPI v2 document of all rows of a table.
pub fn v2(table: &KindTable) -> Value {
    let docs = Docs::load();
    let mut definitions: Map<String, Value> = Map::new();
    for types in schemas::sets(table.rows()) {
        definitions.extend(Schemas::new(table, types, &docs, Dialect::V2).all());
    }
    let mut paths: Map<String, Value> = Map::new();
    for operation in table.rows().flat_map(|row| operations::of_row(row)) {
        let item = paths.entry(operation.path.clone()).or_insert_with(|| path_item_v2(&operation));
        item[operation.method] = operation_v2(&operation);
    }
    for document in discovery::of_table(table) {
        paths.insert(document.path.clone(), json!({"get": document.v2()}));
    }
    let security = json!({"BearerToken": {"description": "Bearer Token authentication",
        "in": "header", "name": "authorization", "type": "apiKey"}});
    json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": api::TRACKED_VERSION},
        "paths": paths,
        "definitions": definitions,
        "parameters": shared_parameters(),
        "securityDefinitions": security,
        "security": [{"BearerToken": []}],
    })
}

/// A document of [`v2`] in gnostic's protobuf encoding, which kubectl asks for.
pub fn v2_protobuf(document: &Value) -> Vec<u8> {
    gnostic::encode(document)
}

/// The OpenAPI v3 document of one group and version; `None` when nothing is served in it.
pub fn v3(table: &KindTable, gv: &GroupVersion) -> Option<Value> {
    let rows = table.rows_of(gv);
    if rows.is_empty() {
        return None;
    }
    let docs = Docs::load();
    let mut paths: Map<String, Value> = Map::new();
    let mut components: Map<String, Value> = Map::new();
    for types in schemas::sets(rows.iter().copied()) {
        let mut roots = Vec::new();
        let of_set = rows.iter().filter(|row| Arc::ptr_eq(row.schema.shared_types(), types));
        for operation in of_set.flat_map(|row| operations::of_row(row)) {
            roots.extend(operation.schemas().map(str::to_owned));
            let item = paths.entry(operation.path.clone()).or_insert_with(|| path_item_v3(&operation));
            item[operation.method] = operation_v3(&operation);
        }
        components.extend(Schemas::new(table, types, &docs, Dialect::V3).reachable(&roots));
    }
    let resources = discovery::of_version(gv);
    paths.insert(resources.path.clone(), json!({"get": resources.v3()}));
    let builtin = Schemas::new(table, schemas::builtin(), &docs, Dialect::V3);
    components.extend(builtin.reachable(&[resources.answer_name().to_owned()]));
    let security = json!({"BearerToken": {"description": "Bearer Token authentication",
        "in": "header", "name": "authorization", "type": "apiKey"}});
    Some(json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": api::TRACKED_VERSION},
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": security},
        "security": [{"BearerToken": []}],
    }))
}

/// The response of `/openapi/v3`: where each group and version's document is, under an address that
/// changes with its content.
pub fn v3_index(table: &KindTable) -> Value {
    let mut paths = Map::new();
    for gv in table.group_versions() {
        let path = api_path(gv);
        paths.insert(path, json!({"serverRelativeURL": v3_url(table, gv)}));
    }
    json!({"paths": paths})
}

/// Where the document of [`v3`] is as it is now.
pub fn v3_url(table: &KindTable, gv: &GroupVersion) -> String {
    format!("/openapi/v3/{}?hash={:016X}", api_path(gv), content_hash(table, gv))
}

/// A number that changes when the document of [`v3`] does.
pub fn content_hash(table: &KindTable, gv: &GroupVersion) -> u64 {
    let rows = table.rows_of(gv);
    let mut hash = embedded::fingerprint();
    for row in &rows {
        let told = format!("{row:?} {} {:?} {:?} {:?}", row.kind, row.scope, row.verbs, row.parts);
        hash = embedded::fnv(hash, told.as_bytes());
    }
    for row in &rows {
        if let Some(custom) = row.schema.custom() {
            hash = embedded::fnv(hash, custom.published.as_bytes());
            hash = embedded::fnv(hash, row.list_kind.as_bytes());
        }
    }
    // The fingerprint knows the types of the built-in kinds.
    for types in schemas::sets(rows.iter().copied()).into_iter().skip(1) {
        for (_, structure) in types.iter() {
            hash = embedded::fnv(hash, format!("{structure:?}").as_bytes());
        }
    }
    hash
}

/// `api/v1` or `apis/GROUP/VERSION`.
pub fn api_path(gv: &GroupVersion) -> String {
    if gv.group.is_empty() { format!("api/{}", gv.version) } else { format!("apis/{gv}") }
}

/// The parameters operations refer to, by name.
fn shared_parameters() -> Map<String, Value> {
    let shared = parameters::PARAMETERS.iter().filter(|p| !p.inline);
    shared.map(|p| (p.key.to_owned(), p.v2())).collect()
}

fn path_item_v2(operation: &Operation<'_>) -> Value {
    let parameters: Vec<Value> = operation.path_parameters().map(|p| p.v2_or_reference()).collect();
    json!({"parameters": parameters})
}

fn path_item_v3(operation: &Operation<'_>) -> Value {
    let parameters: Vec<Value> = operation.path_parameters().map(|p| p.v3()).collect();
    json!({"parameters": parameters})
}

fn operation_v2(operation: &Operation<'_>) -> Value {
    let mut parameters: Vec<Value> = Vec::new();
    if let Some(body) = &operation.body {
        let schema = json!({"$ref": format!("#/definitions/{body}")});
        parameters.push(
            json!({"in": "body", "name": "body", "required": operation.body_required(), "schema": schema}),
        );
    }
    parameters.extend(operation.query_parameters().map(|p| p.v2_or_reference()));
    let mut responses = Map::new();
    for code in operation.codes() {
        let schema = match &operation.answer {
            Some(answer) => json!({"$ref": format!("#/definitions/{answer}")}),
            None => json!({"type": "string"}),
        };
        responses.insert((*code).into(), json!({"description": operations::meaning(code), "schema": schema}));
    }
    responses.insert("401".into(), json!({"description": "Unauthorized"}));
    let mut value = operation.common();
    value["consumes"] = operation.consumes().into();
    value["produces"] = operation.produces().into();
    value["schemes"] = json!(["https"]);
    value["parameters"] = parameters.into();
    value["responses"] = responses.into();
    value
}

fn operation_v3(operation: &Operation<'_>) -> Value {
    let content = |types: &[&str], schema: &Value| -> Map<String, Value> {
        types.iter().map(|t| ((*t).to_owned(), json!({"schema": schema}))).collect()
    };
    let mut responses = Map::new();
    for code in operation.codes() {
        let schema = match &operation.answer {
            Some(answer) => json!({"$ref": format!("#/components/schemas/{answer}")}),
            None => json!({"type": "string"}),
        };
        let answer = json!({"description": operations::meaning(code),
            "content": content(operation.produces(), &schema)});
        responses.insert((*code).into(), answer);
    }
    responses.insert("401".into(), json!({"description": "Unauthorized"}));
    let mut value = operation.common();
    value["parameters"] = operation.query_parameters().map(|p| p.v3()).collect();
    value["responses"] = responses.into();
    if let Some(body) = &operation.body {
        let schema = json!({"$ref": format!("#/components/schemas/{body}")});
        let mut request = json!({"content": content(operation.consumes(), &schema)});
        if operation.body_required() {
            request["required"] = true.into();
        }
        value["requestBody"] = request;
    }
    value
}

#[cfg(test)]
mod tests;
