//! [`object`]: whatever the server answers with, in protobuf; [`read`]: what it has answered. The kinds of objects are
//! found by what the objects say.

use api::codec::Limits;
use api::codec::protobuf::{decode, enveloped, field_head, type_of};
use api::{GroupVersion, GroupVersionKind};
use serde_json::{Map, Value};

use crate::schema::Schema;
use crate::schema_data::{schema_of_kind, schema_of_structure};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.";

/// An object in its envelope.
///
/// # Errors
/// When the kind has no message, or the object is not as its schema says.
pub fn object(value: &Value) -> Result<Vec<u8>, String> {
    let fields = value.as_object().ok_or("it is no object")?;
    let text = |key: &str| fields.get(key).and_then(Value::as_str).unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let message = match kind {
        "PartialObjectMetadata" => metadata_only(fields)?,
        "PartialObjectMetadataList" => {
            let items = fields.get("items").and_then(Value::as_array).into_iter().flatten();
            let items = items.filter_map(Value::as_object).map(metadata_only);
            list(fields.get("metadata"), &items.collect::<Result<Vec<_>, _>>()?)?
        }
        _ => {
            let version = GroupVersion::parse(api_version).ok_or("its version is no version")?;
            let gvk = GroupVersionKind::new(&version.group, &version.version, kind);
            let schema = schema_of_kind(&gvk).ok_or_else(|| format!("{gvk} has no message"))?;
            schema.message(fields)?
        }
    };
    Ok(enveloped(api_version, kind, &message))
}

/// Reads an object in its envelope.
///
/// # Errors
/// When it is none, or its kind has no message.
pub fn read(bytes: &[u8]) -> Result<Value, String> {
    let (api_version, kind) = type_of(bytes)?;
    let version = GroupVersion::parse(&api_version).ok_or("its version is no version")?;
    let gvk = GroupVersionKind::new(&version.group, &version.version, &kind);
    let unknown = || format!("{gvk} has no message");
    let schema = schema_of_kind(&gvk).ok_or_else(unknown)?;
    let messages = schema.messages().ok_or_else(unknown)?;
    let limits = Limits { bytes: usize::MAX, ..Limits::default() };
    let object = decode(schema.types(), messages, schema.id(), bytes, &limits);
    object.map(|object| Value::Object(object.0)).map_err(|error| error.message)
}

/// The metadata of a list as a field of the list's message; the items follow as fields with the number
/// [`LIST_ITEM`].
///
/// # Errors
/// When it is not as its schema says.
pub fn list_metadata(metadata: Option<&Value>) -> Result<Vec<u8>, String> {
    Ok(numbered(1, &of_structure("ListMeta", metadata)?))
}

/// The number of the items in lists of all kinds.
pub const LIST_ITEM: u32 = 2;

fn list(metadata: Option<&Value>, items: &[Vec<u8>]) -> Result<Vec<u8>, String> {
    let mut out = list_metadata(metadata)?;
    for item in items {
        out.extend(field_head(LIST_ITEM, item.len()));
        out.extend_from_slice(item);
    }
    Ok(out)
}

/// No definition names the message: it has the metadata for its only field.
fn metadata_only(fields: &Map<String, Value>) -> Result<Vec<u8>, String> {
    Ok(numbered(1, &of_structure("ObjectMeta", fields.get("metadata"))?))
}

fn of_structure(name: &str, value: Option<&Value>) -> Result<Vec<u8>, String> {
    let schema: Schema =
        schema_of_structure(&format!("{META}{name}")).ok_or_else(|| format!("{name} has no structure"))?;
    let nothing = Map::new();
    schema.message(value.and_then(Value::as_object).unwrap_or(&nothing))
}

fn numbered(number: u32, message: &[u8]) -> Vec<u8> {
    let mut out = field_head(number, message.len());
    out.extend_from_slice(message);
    out
}

#[cfg(test)]
mod tests;
