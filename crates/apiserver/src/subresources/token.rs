//! Tokens of service accounts.

use api::field::{FieldError, Path};
use api::{Error, GroupKind, GroupVersionKind, Object};
use http::StatusCode;
use serde_json::{Value, json};

use super::companion;
use crate::admission::Operation;
use crate::handlers::decode;
use crate::handlers::exchange::{companion, read_body};
use crate::handlers::metadata::seconds;
use crate::handlers::options::WriteOptions;
use crate::handlers::storage::Target;
use crate::identity::{BoundObject, TokenDemand};
use crate::request::call::Call;
use crate::respond::Outcome;
use crate::respond::negotiate::Answer;

const DEFAULT_EXPIRATION_S: i64 = 3600;
const MIN_EXPIRATION_S: i64 = 600;
const MAX_EXPIRATION_S: i64 = 1 << 32;

/// POST of a TokenRequest.
pub(super) async fn create(target: Target, mut call: Call) -> Outcome {
    let answer = Answer::without_table(&call.headers)?;
    let issuer = target
        .context
        .deps
        .tokens
        .clone()
        .ok_or_else(|| Error::not_implemented("issuing service account tokens"))?;
    let options = WriteOptions::parse("CreateOptions", &call.query, &call.headers, false)?;
    let bytes = read_body(&target, &mut call).await?;
    let mut request = decode::companion(
        &call,
        &bytes,
        &GroupVersionKind::new("authentication.k8s.io", "v1", "TokenRequest"),
    )?;
    let account = target.read_existing(&call.info.namespace, &call.info.name).await?.object;
    // Some may ask for certain tokens only: a node for those of its pods.
    companion::admit(&target, &call.attributes(), Operation::Create, &mut request, Some(&options)).await?;
    let demand = demand(&target, &request, account)?;
    let issued = issuer.issue(&demand)?;
    request.set_type(&GroupVersionKind::new("authentication.k8s.io", "v1", "TokenRequest"));
    request.set_meta_str("name", call.info.name.as_str());
    request.set_meta_str("namespace", call.info.namespace.as_str());
    request.set_meta_str("creationTimestamp", seconds(target.context.deps.clock.now()));
    request.set_at(&["spec", "audiences"], issued.audiences.into());
    request.set_at(&["spec", "expirationSeconds"], demand.expiration_s.into());
    let status = json!({"token": issued.token, "expirationTimestamp": seconds(issued.expires)});
    request.0.insert("status".into(), status);
    companion(StatusCode::CREATED, answer, request)
}

fn demand(target: &Target, request: &Object, account: Object) -> Result<TokenDemand, Error> {
    let path = Path::root("spec");
    let path = path.child("expirationSeconds");
    let expiration_s =
        request.at(&["spec", "expirationSeconds"]).and_then(Value::as_i64).unwrap_or(DEFAULT_EXPIRATION_S);
    let fault = if expiration_s < MIN_EXPIRATION_S {
        Some("may not specify a duration less than 10 minutes")
    } else if expiration_s > MAX_EXPIRATION_S {
        Some("may not specify a duration larger than 2^32 seconds")
    } else {
        None
    };
    if let Some(fault) = fault {
        let kind = GroupKind::new("authentication.k8s.io", "TokenRequest");
        return Err(Error::invalid(&kind, "", &vec![FieldError::invalid(&path, expiration_s, fault)]));
    }
    let audiences = request.at(&["spec", "audiences"]).and_then(Value::as_array);
    let audiences = audiences.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    let bound = request.at(&["spec", "boundObjectRef"]).filter(|r| !r.is_null());
    let bound = bound.map(|reference| bound_object(target, reference, &account)).transpose()?;
    Ok(TokenDemand { account, audiences, expiration_s, bound })
}

/// The object the token is bound to, which must exist with the uid named.
fn bound_object(target: &Target, reference: &Value, account: &Object) -> Result<BoundObject, Error> {
    let text = |key: &str| reference.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
    let (api_version, kind, name, mut uid) = (text("apiVersion"), text("kind"), text("name"), text("uid"));
    let (prefix, namespace) = match (api_version.as_str(), kind.as_str()) {
        ("v1" | "", "Pod") => ("pods", account.namespace()),
        ("v1" | "", "Secret") => ("secrets", account.namespace()),
        ("v1" | "", "Node") => ("minions", ""),
        _ => {
            return Err(Error::bad_request(format!(
                "cannot bind token for serviceaccount {:?} to object of type {api_version}, Kind={kind}",
                account.name()
            )));
        }
    };
    let read = |prefix: &str, namespace: &str, name: &str| -> Result<Option<Object>, Error> {
        let entry = target.context.deps.cache.resource(prefix).and_then(|c| c.get(namespace, name));
        entry.map(|e| serde_json::from_slice(&e.json.lean()).map_err(Error::internal)).transpose()
    };
    let plural = if prefix == "minions" { "nodes" } else { prefix };
    let resource = api::GroupResource::new("", plural);
    let object = read(prefix, namespace, &name)?.ok_or_else(|| Error::not_found(&resource, &name))?;
    if uid.is_empty() {
        object.uid().clone_into(&mut uid);
    }
    if uid != object.uid() {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
        );
        return Err(Error::conflict(&resource, &name, &why));
    }
    let mut node = None;
    if prefix == "pods" {
        let bound_account = object.str_at(&["spec", "serviceAccountName"]).unwrap_or("");
        if bound_account != account.name() {
            return Err(Error::bad_request(format!(
                "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.",
                account.name()
            )));
        }
        let node_name = object.str_at(&["spec", "nodeName"]).unwrap_or("");
        if !node_name.is_empty() {
            let uid = read("minions", "", node_name)?.map(|n| n.uid().to_owned()).unwrap_or_default();
            node = Some((node_name.to_owned(), uid));
        }
    }
    Ok(BoundObject { api_version: "v1".to_owned(), kind, name, uid, node })
}
