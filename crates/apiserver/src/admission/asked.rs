//! What webhooks and expressions are told of a request: an `AdmissionRequest` of `admission.k8s.io` without the
//! objects. Upstream: `k8s.io/apiserver/pkg/admission/plugin/webhook/request`.

use api::{GroupVersionKind, Object};
use resources::Resource;
use serde_json::{Map, Value, json};

use super::plugin::{Operation, Review};

const GROUP: &str = "admissionregistration.k8s.io";

/// Whether the request is about what says who is asked: nobody is, so that a mistake can be mended.
pub(super) fn is_exempt(review: &Review<'_>) -> bool {
    let row = review.resource;
    row.group == GROUP
        && matches!(
            &*row.plural,
            "validatingwebhookconfigurations"
                | "mutatingwebhookconfigurations"
                | "validatingadmissionpolicies"
                | "validatingadmissionpolicybindings"
                | "mutatingadmissionpolicies"
                | "mutatingadmissionpolicybindings"
        )
}

/// The kind of the object that a request about `row` carries.
pub(super) fn kind(review: &Review<'_>, row: &Resource) -> GroupVersionKind {
    row.part(&review.attributes.subresource).map_or_else(|| row.gvk(), |part| part.kind.clone())
}

/// The namespace of the request; that of a namespace is itself.
pub(super) fn namespace<'r>(review: &'r Review<'_>, object: Option<&'r Object>) -> &'r str {
    let given = review.attributes.namespace.as_str();
    if given.is_empty() && review.is_about("", "namespaces") { review.given_name(object) } else { given }
}

/// The request as one about `row`, which is another than the review's where the versions of a kind are alike.
pub(super) fn request(review: &Review<'_>, row: &Resource, object: Option<&Object>) -> Map<String, Value> {
    let attributes = review.attributes;
    let subresource = &attributes.subresource;
    let (asked, meant) = (review.resource, row);
    let kind = |row: &Resource| {
        let GroupVersionKind { group, version, kind } = kind(review, row);
        json!({"group": group, "version": version, "kind": kind})
    };
    let resource =
        |row: &Resource| json!({"group": row.group, "version": row.version, "resource": row.plural});
    let mut request = Map::new();
    let mut set = |key: &str, value: Value| request.insert(key.to_owned(), value);
    set("uid", base::random::uuid().into());
    set("kind", kind(meant));
    set("resource", resource(meant));
    set("requestKind", kind(asked));
    set("requestResource", resource(asked));
    if !subresource.is_empty() {
        set("subResource", subresource.as_str().into());
        set("requestSubResource", subresource.as_str().into());
    }
    for (key, text) in [("name", review.given_name(object)), ("namespace", namespace(review, object))] {
        if !text.is_empty() {
            set(key, text.into());
        }
    }
    set("operation", review.operation.as_str().into());
    set("userInfo", attributes.user.info());
    set("dryRun", review.dry_run.into());
    set("options", options(review));
    request
}

/// The options of the operation, which are of the kind of the operation: those of a patch are those of the update or
/// creation that comes of it.
fn options(review: &Review<'_>) -> Value {
    let kind = match review.operation {
        Operation::Create => "CreateOptions",
        Operation::Update => "UpdateOptions",
        Operation::Delete => "DeleteOptions",
        Operation::Connect => return Value::Null,
    };
    let mut options = review.options.map_or_else(Map::new, super::plugin::RequestOptions::shown);
    options.insert("kind".to_owned(), kind.into());
    options.insert("apiVersion".to_owned(), "meta.k8s.io/v1".into());
    Value::Object(options)
}
