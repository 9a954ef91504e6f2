//! Which taints a toleration covers.

use k8s_openapi::api::core::v1::{Taint, Toleration};

/// Whether a toleration covers a taint (`k8s.io/api/core/v1/toleration.go`). The operators `Gt` and `Lt` belong to a
/// feature that v1.36 does not serve by default, and cover nothing.
pub fn tolerates(toleration: &Toleration, key: &str, value: &str, effect: &str) -> bool {
    let given = |field: Option<&String>, other: &str| field.is_none_or(|t| t.is_empty() || t == other);
    if !given(toleration.effect.as_ref(), effect) || !given(toleration.key.as_ref(), key) {
        return false;
    }
    match toleration.operator.as_deref().unwrap_or("") {
        "Exists" => true,
        // An empty key goes with `Exists` alone.
        "" | "Equal" => {
            toleration.key.as_ref().is_some_and(|key| !key.is_empty())
                && toleration.value.as_deref().unwrap_or("") == value
        }
        _ => false,
    }
}

/// The same for a taint of a node.
pub fn tolerates_taint(toleration: &Toleration, taint: &Taint) -> bool {
    tolerates(toleration, &taint.key, taint.value.as_deref().unwrap_or(""), &taint.effect)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toleration(key: &str, operator: &str, value: &str, effect: &str) -> Toleration {
        let text = |t: &str| Some(t.to_owned()).filter(|t| !t.is_empty());
        Toleration {
            key: text(key),
            operator: text(operator),
            value: text(value),
            effect: text(effect),
            toleration_seconds: None,
        }
    }

    #[test]
    fn tolerations_match_as_upstream() {
        let taint =
            Taint { key: "k".into(), value: Some("v".into()), effect: "NoExecute".into(), time_added: None };
        for yes in [
            toleration("k", "Equal", "v", "NoExecute"),
            toleration("k", "", "v", ""),
            toleration("k", "Exists", "", ""),
            toleration("", "Exists", "", ""),
        ] {
            assert!(tolerates_taint(&yes, &taint), "{yes:?}");
        }
        for no in [
            toleration("k", "Equal", "w", ""),
            toleration("l", "Exists", "", ""),
            toleration("k", "Exists", "", "NoSchedule"),
            toleration("", "Equal", "v", ""),
            toleration("k", "Gt", "1", ""),
        ] {
            assert!(!tolerates_taint(&no, &taint), "{no:?}");
        }
    }
}
