//! What goes to a conversion webhook and what comes back: `ConversionReview` of `apiextensions.k8s.io`. Pure.

use api::Object;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The versions of reviews.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V1,
    V1Beta1,
}

impl Version {
    /// The first that is known.
    pub(super) fn first(names: &[String]) -> Option<Self> {
        names.iter().find_map(|name| match name.as_str() {
            "v1" => Some(Self::V1),
            "v1beta1" => Some(Self::V1Beta1),
            _ => None,
        })
    }

    const fn api_version(self) -> &'static str {
        match self {
            Self::V1 => "apiextensions.k8s.io/v1",
            Self::V1Beta1 => "apiextensions.k8s.io/v1beta1",
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Review<'a> {
    kind: &'static str,
    api_version: &'static str,
    request: Request<'a>,
}

#[derive(Serialize)]
struct Request<'a> {
    uid: &'a str,
    #[serde(rename = "desiredAPIVersion")]
    desired: &'a str,
    objects: &'a [&'a Object],
}

/// The body of a call that wants objects in version `to`.
pub(super) fn body(
    version: Version,
    uid: &str,
    to: &str,
    objects: &[&Object],
) -> Result<Vec<u8>, serde_json::Error> {
    let request = Request { uid, desired: to, objects };
    serde_json::to_vec(&Review { kind: "ConversionReview", api_version: version.api_version(), request })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answered {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    api_version: String,
    response: Option<Response>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    #[serde(default)]
    uid: String,
    #[serde(default)]
    converted_objects: Vec<Object>,
    #[serde(default)]
    result: Map<String, Value>,
}

/// The converted objects in the order of what was sent, with the metadata that they had but for labels and annotations.
///
/// # Errors
/// What is wrong, as it follows the words "conversion webhook for KIND".
pub(super) fn read(
    version: Version,
    uid: &str,
    to: &str,
    sent: &[&Object],
    answer: &[u8],
) -> Result<Vec<Object>, String> {
    let review: Answered = serde_json::from_slice(answer)
        .map_err(|error| format!("failed: the answer is no ConversionReview: {error}"))?;
    let invalid = |why: String| format!("returned an invalid response: {why}");
    let response = review.response.ok_or_else(|| invalid("no response provided".to_owned()))?;
    if version == Version::V1 {
        if (review.api_version.as_str(), review.kind.as_str()) != (version.api_version(), "ConversionReview")
        {
            return Err(invalid(format!(
                "expected webhook response of {}, Kind=ConversionReview, got {}, Kind={}",
                version.api_version(),
                review.api_version,
                review.kind
            )));
        }
        if response.uid != uid {
            return Err(invalid(format!("expected response.uid={uid:?}, got {:?}", response.uid)));
        }
    }
    let said = |key: &str| response.result.get(key).and_then(Value::as_str).unwrap_or("");
    if said("status") != "Success" {
        return Err(match said("message") {
            "" => "failed: no reason given".to_owned(),
            message => format!("failed: {message}"),
        });
    }
    let converted = response.converted_objects;
    if converted.len() != sent.len() {
        return Err(format!("returned {} objects, expected {}", converted.len(), sent.len()));
    }
    let restored = converted.into_iter().zip(sent).enumerate().map(|(index, (converted, original))| {
        restore(converted, original, to)
            .map_err(|why| format!("returned invalid converted object at index {index}: {why}"))
    });
    restored.collect()
}

/// Of the metadata a webhook may change labels and annotations.
fn restore(mut converted: Object, original: &Object, to: &str) -> Result<Object, String> {
    if converted.api_version() != to {
        return Err(format!("invalid groupVersion (expected {to}, received {})", converted.api_version()));
    }
    if converted.kind() != original.kind() {
        return Err(format!("invalid kind (expected {}, received {})", original.kind(), converted.kind()));
    }
    for key in ["name", "namespace", "uid"] {
        let (new, old) = (converted.meta_str(key), original.meta_str(key));
        if new != old {
            return Err(format!("must have the same {key}: {new} != {old}"));
        }
    }
    let free = ["labels", "annotations"];
    let mut metadata = original.metadata().cloned().unwrap_or_default();
    for key in free {
        match converted.metadata_mut().remove(key) {
            Some(value) => metadata.insert(key.to_owned(), value),
            None => metadata.remove(key),
        };
    }
    converted.0.insert("metadata".to_owned(), metadata.into());
    Ok(converted)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(response: Value) -> Result<Value, String> {
        let original = Object::from_value(json!({"apiVersion": "e/v1", "kind": "K",
            "metadata": {"name": "a", "uid": "1", "labels": {"a": "b"}, "generation": 2}}));
        let answer = json!({"kind": "ConversionReview", "apiVersion": "apiextensions.k8s.io/v1", "response": response});
        let original = original.expect("an object");
        let read = read(Version::V1, "u", "e/v2", &[&original], answer.to_string().as_bytes());
        read.map(|objects| json!(objects))
    }

    #[test]
    fn answers_are_held_to_what_was_sent() {
        let good = |object: Value| json!({"uid": "u", "result": {"status": "Success"}, "convertedObjects": [object]});
        let object = json!({"apiVersion": "e/v2", "kind": "K", "metadata": {"name": "a", "uid": "1",
            "annotations": {"c": "d"}, "generation": 9}, "spec": 1});
        assert_eq!(
            told(good(object.clone())),
            Ok(json!([{"apiVersion": "e/v2", "kind": "K", "spec": 1, "metadata":
                {"name": "a", "uid": "1", "annotations": {"c": "d"}, "generation": 2}}]))
        );
        let changed = |pointer: &str, to: &str| {
            let mut changed = object.clone();
            *changed.pointer_mut(pointer).expect("a field") = to.into();
            told(good(changed)).unwrap_err()
        };
        let at = "returned invalid converted object at index 0: ";
        assert_eq!(changed("/metadata/name", "b"), format!("{at}must have the same name: b != a"));
        assert_eq!(
            changed("/apiVersion", "e/v3"),
            format!("{at}invalid groupVersion (expected e/v2, received e/v3)")
        );
        assert_eq!(
            told(json!({"uid": "u", "result": {"status": "Success"}})).unwrap_err(),
            "returned 0 objects, expected 1"
        );
        let failed = json!({"uid": "u", "result": {"status": "Failure", "message": "no such version"}});
        assert_eq!(told(failed).unwrap_err(), "failed: no such version");
        assert_eq!(told(json!({"uid": "u", "result": {}})).unwrap_err(), "failed: no reason given");
    }
}
