//! What goes to a webhook and what comes back: `AdmissionReview` of `admission.k8s.io`. Pure. Upstream:
//! `k8s.io/apiserver/pkg/admission/plugin/webhook/request/admissionreview.go`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use api::Object;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::configured::Version;
use super::seen::Seen;
use crate::admission::rule::or_default;

const JSON_PATCH: &str = "JSONPatch";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Review<'a> {
    kind: &'static str,
    api_version: &'static str,
    request: Request<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    #[serde(flatten)]
    asked: &'a Map<String, Value>,
    object: Option<&'a Object>,
    old_object: Option<&'a Object>,
}

/// The body of a call.
pub(super) fn body(version: Version, seen: &Seen<'_>) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&Review {
        kind: "AdmissionReview",
        api_version: version.api_version(),
        request: Request {
            asked: &seen.request,
            object: seen.object.as_deref(),
            old_object: seen.old.as_deref(),
        },
    })
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
    allowed: bool,
    status: Option<Map<String, Value>>,
    #[serde(default, deserialize_with = "or_default")]
    patch: String,
    patch_type: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    audit_annotations: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "or_default")]
    warnings: Vec<String>,
}

/// What a webhook has decided.
#[derive(Debug)]
pub(super) struct Verdict {
    pub allowed: bool,
    /// The `Status` of a refusal.
    pub status: Option<Map<String, Value>>,
    /// A JSON patch; empty where nothing is to be changed.
    pub patch: Vec<u8>,
    pub audit_annotations: BTreeMap<String, String>,
    pub warnings: Vec<String>,
}

/// Why an answer is none.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// It cannot be read at all.
    Unreadable(String),
    /// It is no answer to what was asked.
    Invalid(String),
    /// The patch is of a type that nobody knows.
    PatchType(String),
}

/// Reads an answer to the request `uid`.
pub(super) fn read(version: Version, mutating: bool, uid: &str, body: &Bytes) -> Result<Verdict, Wrong> {
    let review: Answered = serde_json::from_slice(body)
        .map_err(|error| Wrong::Unreadable(format!("the answer is no AdmissionReview: {error}")))?;
    let response = review.response.ok_or_else(|| invalid("webhook response was absent"))?;
    if version == Version::V1 {
        if response.uid != uid {
            return Err(invalid(format!("expected response.uid={uid:?}, got {:?}", response.uid)));
        }
        if (review.api_version.as_str(), review.kind.as_str()) != (version.api_version(), "AdmissionReview") {
            return Err(invalid(format!(
                "expected webhook response of {}, Kind=AdmissionReview, got {}, Kind={}",
                version.api_version(),
                review.api_version,
                review.kind
            )));
        }
        check_patch(mutating, &response)?;
    }
    let patch = if mutating { Cow::Borrowed(response.patch.as_str()) } else { Cow::default() };
    let patch = STANDARD
        .decode(&*patch)
        .map_err(|error| Wrong::Unreadable(format!("response.patch is no base64: {error}")))?;
    if version == Version::V1
        && let Some(other) = response.patch_type.filter(|of| of != JSON_PATCH)
    {
        return Err(Wrong::PatchType(other));
    }
    Ok(Verdict {
        allowed: response.allowed,
        status: response.status,
        patch,
        audit_annotations: response.audit_annotations,
        warnings: response.warnings,
    })
}

fn check_patch(mutating: bool, response: &Response) -> Result<(), Wrong> {
    let (patch, of) = (!response.patch.is_empty(), response.patch_type.as_deref());
    match (mutating, patch, of) {
        (true, true, None) => Err(invalid("webhook returned response.patch but not response.patchType")),
        (true, false, Some(_)) => Err(invalid("webhook returned response.patchType but not response.patch")),
        (true, _, Some("")) => Err(invalid("webhook returned invalid response.patchType of \"\"")),
        (false, true, _) => Err(invalid("validating webhook may not return response.patch")),
        (false, _, Some(_)) => Err(invalid("validating webhook may not return response.patchType")),
        _ => Ok(()),
    }
}

fn invalid(why: impl Into<String>) -> Wrong {
    Wrong::Invalid(why.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(version: Version, mutating: bool, review: &Value) -> Result<(bool, usize), String> {
        let read = read(version, mutating, "u", &review.to_string().into());
        read.map(|verdict| (verdict.allowed, verdict.patch.len())).map_err(|wrong| match wrong {
            Wrong::Unreadable(why) | Wrong::Invalid(why) | Wrong::PatchType(why) => why,
        })
    }

    #[test]
    fn answers_are_held_to_what_was_asked() {
        let review = |response: Value| {
            let mut review = json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1"});
            review["response"] = response;
            review
        };
        let v1 = |mutating, response: Value| told(Version::V1, mutating, &review(response));
        assert_eq!(v1(false, json!({"uid": "u", "allowed": true})), Ok((true, 0)));
        let patch = |of: Value| json!({"uid": "u", "allowed": true, "patch": "W10=", "patchType": of});
        assert_eq!(v1(true, patch("JSONPatch".into())), Ok((true, 2)));
        for (mutating, response, why) in [
            (true, Value::Null, "webhook response was absent"),
            (true, json!({"uid": "x"}), "expected response.uid=\"u\", got \"x\""),
            (true, patch(Value::Null), "webhook returned response.patch but not response.patchType"),
            (true, patch("Merge".into()), "Merge"),
            (false, patch(Value::Null), "validating webhook may not return response.patch"),
            (
                false,
                json!({"uid": "u", "patchType": "JSONPatch"}),
                "validating webhook may not return response.patchType",
            ),
            (
                true,
                json!({"uid": "u", "patchType": "JSONPatch"}),
                "webhook returned response.patchType but not response.patch",
            ),
        ] {
            assert_eq!(v1(mutating, response).unwrap_err(), why);
        }
        let mut other = review(json!({"uid": "u"}));
        other["kind"] = "Pod".into();
        assert_eq!(
            told(Version::V1, true, &other).unwrap_err(),
            "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got admission.k8s.io/v1, Kind=Pod"
        );
    }

    #[test]
    fn the_older_version_says_less() {
        let review = json!({"response": {"allowed": true, "patch": "W10="}});
        assert_eq!(told(Version::V1Beta1, true, &review), Ok((true, 2)));
        assert_eq!(Version::first(&["v2".into(), "v1beta1".into(), "v1".into()]), Some(Version::V1Beta1));
    }
}
